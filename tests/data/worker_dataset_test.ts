import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Context, Engine, manualSeed, SGD, supervisedStep } from "../../core/mod.ts";
import {
  type ClassificationBatch,
  DataLoader,
  digits,
  ImageLoader,
  type LabelledItem,
  take,
  type WorkerDataset,
  workerDataset,
  WorkerError,
} from "../../data/mod.ts";
import { DatasetWorker, startWebThread, workerErrorOf } from "../../data/worker_thread.ts";
import { crossEntropy, Flatten, Linear, Sequential } from "../../nn/mod.ts";
import { canRun } from "../examples/command.ts";
import { f32Devices, reference } from "../util.ts";
import type { ModuleArgs } from "./worker_module.ts";

const url = new URL("./worker_module.ts", import.meta.url);
const read = await Deno.permissions.query({ name: "read" });
const ignore = read.state !== "granted";

function open(args: ModuleArgs, workers: number): Promise<WorkerDataset<LabelledItem>> {
  return workerDataset<LabelledItem>(url, { workers, args });
}

for (const device of f32Devices) {
  Deno.test({
    name: `training is the same to the bit with 0, 1, 2 and 3 loader workers (${device.kind})`,
    ignore,
    fn: async () => {
      const end = async (kind: "DataLoader" | "ImageLoader", workers: number, prefetch: number) => {
        using dataset = await open({ count: 50 }, workers);
        manualSeed(3);
        const model = new Sequential(new Flatten(), new Linear(784, 10, { device }));
        using optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
        const options = { batchSize: 8, shuffle: true, seed: 5, device, prefetch };
        const loader = kind === "DataLoader"
          ? new DataLoader(dataset, options)
          : new ImageLoader(dataset, { ...options, residentBytes: 0, augment: { cropPadding: 2 } });
        const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
        const trainer = new Engine(supervisedStep<ClassificationBatch>(), context);
        await trainer.loop(loader as AsyncIterable<ClassificationBatch>, {
          maxEpochs: 3,
          signals: false,
        });
        if (loader instanceof ImageLoader) loader.dispose();
        return (await Promise.all(model.parameters().map((p) => p.array()))).flat(2).join();
      };
      for (const kind of ["DataLoader", "ImageLoader"] as const) {
        const want = await end(kind, 0, 2);
        for (const [workers, prefetch] of [[1, 2], [2, 2], [2, 0], [3, 5]]) {
          assertEquals(await end(kind, workers, prefetch), want, `${kind}, ${workers} workers`);
        }
      }
    },
  });
}

Deno.test({
  name: "workers give the items that the data set gives, in the order asked for",
  ignore,
  fn: async () => {
    using dataset = await open({ count: 20 }, 3);
    assertEquals([dataset.length, dataset.workers], [20, 3]);
    const indices = [5, 19, 0, 5, 7, 3, 11];
    const plain = digits({ split: "train", count: 20, seed: 1 });
    const want = indices.map((i) => plain.get(i));
    assertEquals(await dataset.getItems(indices), want);
    assertEquals(await take(dataset, 12).getItems(indices.filter((i) => i < 12)), [
      ...want.filter((_, i) => indices[i] < 12),
    ]);
    assertEquals(await dataset.getItems([]), []);
    assertEquals(dataset.get(5), want[0]);
  },
});

Deno.test({
  name: "a loader with workers goes on from a saved position, and hands out what it says",
  ignore,
  fn: async () => {
    using dataset = await open({ count: 30 }, 2);
    const options = { batchSize: 4, shuffle: true, seed: 9, device: reference, prefetch: 3 };
    const labels = async (loader: DataLoader) => {
      const found: string[] = [];
      for await (const { targets } of loader) found.push(String(await targets.array()));
      return found;
    };
    const want = await labels(
      new DataLoader(digits({ split: "train", count: 30, seed: 1 }), options),
    );
    const loader = new DataLoader(dataset, options);
    let position = 0;
    for await (const _ of loader) if (++position === 3) break;
    assertEquals([loader.state().epoch, loader.state().position], [0, 3]);
    loader.load({ epoch: 0, position: 3 });
    assertEquals(await labels(loader), want.slice(3));
    assertEquals(loader.state().epoch, 1);
  },
});

Deno.test({
  name: "an item that a worker cannot make is an error of its batch, with the worker's words",
  ignore,
  fn: async () => {
    using dataset = await open({ count: 20, fails: "item" }, 2);
    const options = { batchSize: 3, device: reference, prefetch: 4 };
    const seen: number[] = [];
    const error = await assertRejects(
      async () => {
        for await (const { size } of new DataLoader(dataset, options)) seen.push(size);
      },
      WorkerError,
      "as SyntaxError was thrown: digit 7 is smudged",
    );
    assertMatch(String((error.cause as { stack: string }).stack), /worker_module\.ts/);
    assertEquals(seen, [3, 3]);
    // The worker goes on.
    assertEquals((await dataset.getItems([6, 8])).length, 2);
  },
});

Deno.test({
  name: "a worker that ends fails what was asked of it, and what is asked later",
  ignore,
  fn: async () => {
    using dataset = await open({ count: 20, fails: "worker" }, 1);
    const loop = async () => {
      for (let i = 0; i < 1000; i++) await dataset.getItems([7]);
    };
    await assertRejects(loop, WorkerError, "as it ended: ");
    await assertRejects(async () => void await dataset.getItems([1]), WorkerError, "as it ended: ");
    assertEquals(dataset.get(1).classCount, 10);
  },
});

Deno.test({
  name: "a module that cannot be opened in workers says so",
  ignore,
  fn: async () => {
    const refused: [ModuleArgs, string][] = [
      [{ count: 3, fails: "open" }, "no digits are left"],
      [{ count: 3, fails: "length" }, "got 3 items here and 4 in a worker"],
    ];
    for (const [args, message] of refused) {
      await assertRejects(() => open(args, 2), RangeError, message);
    }
    const other = new URL("./permissions.ts", import.meta.url);
    await assertRejects(() => workerDataset(other), TypeError, "must be a function: got undefined");
    await assertRejects(() => open({ count: 3 }, 65), RangeError, "workers must be a whole number");
    const args = { count: 3, call: () => {} };
    await assertRejects(() => workerDataset(url, { args }), WorkerError, "cannot be cloned");
  },
});

Deno.test({
  name: "a data set that was disposed answers what was asked with an error",
  ignore,
  fn: async () => {
    const dataset = await open({ count: 9 }, 2);
    const asked = Promise.resolve(dataset.getItems([1, 2, 3]));
    dataset.dispose();
    dataset.dispose();
    await assertRejects(() => asked, WorkerError, "as the data set was disposed");
  },
});

Deno.test({
  name: "workers of the web's kind, as in browsers, give the same items",
  ignore,
  fn: async () => {
    const worker = new DatasetWorker(url.href, { count: 12 }, startWebThread);
    assertEquals(await worker.ready, 12);
    const plain = digits({ split: "train", count: 12, seed: 1 });
    assertEquals(await worker.items([11, 0]), [plain.get(11), plain.get(0)]);
    worker.end(workerErrorOf("it was ended"));
    await assertRejects(() => worker.items([1]), WorkerError, "it was ended");
  },
});

Deno.test({
  name: "a program with workers that it does not dispose ends by itself",
  ignore: !canRun,
  fn: async () => {
    const code = `import { workerDataset } from "${new URL("../../data/mod.ts", import.meta.url)}";
      const dataset = await workerDataset("${url}", { workers: 2, args: { count: 5 } });
      console.log((await dataset.getItems([1, 2, 3])).length);`;
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(path, code);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const args = ["run", "-A", "--no-check", "--config", config, path];
    const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "piped" });
    const { code: exit, stdout, stderr } = await child.output();
    assertEquals(exit, 0, new TextDecoder().decode(stderr));
    assert(new TextDecoder().decode(stdout).trim() === "3");
  },
});
