import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { crossEntropy, referenceDevice, type Tensor, tensor } from "../../core/mod.ts";
import {
  classificationCollate,
  decodeImage,
  decodeSafetensors,
  type ImageDataset,
  safetensorsValues,
  shapes,
} from "../../data/mod.ts";
import { Node, zooNames } from "../../nn/mod.ts";
import { readRun } from "../../track/mod.ts";
import { canRun, lastJson, runExample } from "./command.ts";

const file = "examples/cifar10.ts";
const ignore = !canRun;
const small = ["--device", "cpu", "--batch-size", "16", "--json"];

/** A folder as CIFAR-10 is distributed, with few images; a label may be wrong. */
async function cifarFolder(label = 0): Promise<string> {
  const dir = await Deno.makeTempDir();
  const names = ["test_batch", ...[1, 2, 3, 4, 5].map((i) => `data_batch_${i}`)];
  for (const [n, name] of names.entries()) {
    const records = Array.from({ length: 10 }, (_, i) => {
      const pixels = Uint8Array.from({ length: 3072 }, (_, at) => (at * (i + 1) + 31 * n) % 256);
      return [i === 0 ? label : i, ...pixels];
    });
    await Deno.writeFile(`${dir}/${name}.bin`, Uint8Array.from(records.flat()));
  }
  return dir;
}

/** Loss and share of right classes of the saved model, in double precision. */
async function evaluated(artifacts: string, images: ImageDataset): Promise<[number, number]> {
  const device = referenceDevice();
  const json = JSON.parse(await Deno.readTextFile(`${artifacts}/model.json`));
  const model = Node.fromJSON(json).build({ device, inputShape: images.shape });
  const { tensors } = decodeSafetensors(await Deno.readFile(`${artifacts}/model.safetensors`));
  const values = [...tensors].map(([name, entry]): [string, Tensor] => {
    const data = safetensorsValues(entry);
    assert(data instanceof Float32Array || data instanceof Int32Array, name);
    return [name, tensor(data, { shape: entry.shape, device })];
  });
  model.loadStateDict(Object.fromEntries(values));
  model.eval();
  const items = Array.from({ length: images.count }, (_, i) => images.get(i));
  const collate = classificationCollate({ normalization: images.normalization });
  const { inputs, targets } = collate(items)(device);
  const scores = model.forward(inputs);
  const loss = await crossEntropy(scores, targets, { labelSmoothing: 0.1 }).item();
  const right = await scores.argmax(1).eq(targets).where(1, 0).sum().item();
  return [loss, right / images.count];
}

Deno.test({
  name: "cifar10.ts learns shapes, and leaves curves, a confusion matrix, pictures and the model",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const sizes = ["--dataset", "shapes", "--limit", "96", "--test-limit", "20", "--epochs", "6"];
    const more = ["--augment", "none", "--ema", "0.8", "--summary", "1", "--lr", "0.05"];
    const args = [...sizes, ...more, "--runs", runs, ...small];
    const { code, stdout, stderr } = await runExample(file, args);
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /^shapes train: 96 images, 20 for tests; cpu: .+ \(asked for\)$/m);
    assertMatch(stderr, /^ {2}backbone +Sequential +129,536 +\[1, 32, 16, 16\]/m);
    const result = lastJson(stdout);
    assertEquals(Object.keys(result), [
      "dataset",
      "model",
      "device",
      "parameters",
      "steps",
      "trainLoss",
      "testLoss",
      "testAccuracy",
      "testTop5",
      "seconds",
      "runDir",
    ]);
    const { dataset, model, parameters, steps, testAccuracy, testTop5, trainLoss } = result;
    assertEquals([dataset, model, parameters, steps], [
      "shapes",
      "CNN__MLP_tiny_32x32",
      131_114,
      36,
    ]);
    // Guessing has 2.3
    assert((trainLoss as number) < 2.15 && testTop5! >= testAccuracy!, stdout);

    const { meta, scalars } = readRun(result.runDir as string);
    assertEquals([meta.status, meta.params.augment, meta.params.ema], [
      "completed",
      "none",
      0.8,
    ]);
    const values = (key: string) => scalars.filter((row) => row.key === key).map((r) => r.value);
    // The kept weights are the averages, whose accuracy is not that of the weights themselves
    assertEquals(values("ema/accuracy").at(-1), testAccuracy as number);
    assertEquals([values("test/top5_accuracy").length, values("train/loss").length], [6, 6]);

    const artifacts = `${result.runDir}/artifacts`;
    const text = (name: string) => Deno.readTextFileSync(`${artifacts}/${name}`);
    for (const metric of ["loss", "accuracy"]) {
      const svg = text(`${metric}.svg`);
      assertMatch(svg, new RegExp(`^<svg [^]+<title>${metric}</title>[^]+</svg>\\s*$`));
      for (const name of ["train", "test", "ema"]) assertStringIncludes(svg, `>${name}</text>`);
    }
    const test = shapes({ split: "test", count: 20, seed: 42 });
    for (const name of test.classes) assertStringIncludes(text("confusion.svg"), `>${name}</text>`);

    const png = await Deno.readFile(`${artifacts}/wrong.png`);
    assertEquals([...png.subarray(0, 8)], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    const wrong = Math.round(20 * (1 - (testAccuracy as number)));
    const { width, height, channels } = await decodeImage(png);
    assertEquals([width, height, channels], [
      8 * (3 * 32 + 2) + 2,
      Math.ceil(wrong / 8) * (3 * 32 + 2) + 2,
      3,
    ]);

    const [loss, accuracy] = await evaluated(artifacts, test);
    assertEquals(accuracy, testAccuracy as number);
    assertAlmostEquals(loss, result.testLoss as number, 1e-5);
  },
});

Deno.test({
  name: "cifar10.ts reads CIFAR-10's binary files with any network of the zoo",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const args = ["--data", await cifarFolder(), "--limit", "40", "--epochs", "1"];
    const network = ["--model", "ResNetPreActBlock_tiny_32x32"];
    const outcome = await runExample(file, [...args, ...network, "--runs", runs, ...small]);
    assertEquals(outcome.code, 0, outcome.stderr);
    assertMatch(outcome.stderr, /^cifar-10 train: 40 images, 10 for tests; /m);
    const { dataset, model, steps, runDir } = lastJson(outcome.stdout);
    assertEquals([dataset, model, steps], ["cifar-10", "ResNetPreActBlock_tiny_32x32", 3]);
    const confusion = await Deno.readTextFile(`${runDir}/artifacts/confusion.svg`);
    assertStringIncludes(confusion, ">airplane</text>");
    assertEquals(confusion.includes(">ema<"), false);
  },
});

Deno.test({
  name: "cifar10.ts takes shapes where nothing can be downloaded, unless CIFAR-10 was asked for",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const offline = { LEGOML_CACHE: `${runs}/cache`, HTTPS_PROXY: "http://127.0.0.1:9" };
    const args = ["--limit", "16", "--test-limit", "8", "--epochs", "1", "--runs", `${runs}/runs`];
    const more = [...args, ...small, "--augment", "randaugment"];
    const chosen = await runExample(file, more, offline);
    assertEquals(chosen.code, 0, chosen.stderr);
    assertMatch(chosen.stderr, /^CIFAR-10 cannot be downloaded here \([^]+\); using shapes\.$/m);
    assertEquals(lastJson(chosen.stdout).dataset, "shapes");
    const asked = await runExample(file, [...args, ...small, "--dataset", "cifar10"], offline);
    assertEquals([asked.code, asked.stdout], [1, ""]);
    assertMatch(asked.stderr, /^error: .*cifar-10-binary\.tar\.gz/m);
  },
});

Deno.test({
  name: "cifar10.ts refuses bad input in one sentence with exit code 1 and makes no run",
  ignore,
  fn: async (t) => {
    const runs = await Deno.makeTempDir();
    const corrupt = await cifarFolder();
    await Deno.writeFile(`${corrupt}/test_batch.bin`, new Uint8Array(3000));
    const shapes = ["--dataset", "shapes", "--limit", "8", "--test-limit", "8"];
    const cases: [string, string[], RegExp][] = [
      ["an unknown model", ["--model", "ResNet-50"], new RegExp(zooNames.join(", "))],
      ["an unknown augmentation", ["--augment", "heavy"], /expected none, light, randaugment/],
      ["an unknown flag", ["--momentum", "0.9"], /Cannot understand "--momentum"/],
      ["a rate of 0", ["--lr", "0"], /Cannot use --lr 0: expected a number of at least 1e-9/],
      ["a decay of 1", [...shapes, "--ema", "1"], /ema\.decay 1: expected a number from 0/],
      ["a missing folder", ["--data", `${runs}/nowhere`], /nowhere/],
      ["a corrupt file", ["--data", corrupt], /test_batch\.bin.+3073/],
      ["a label out of range", ["--data", await cifarFolder(77)], /77/],
    ];
    for (const [name, args, message] of cases) {
      await t.step(name, async () => {
        const { code, stdout, stderr } = await runExample(file, [...args, "--runs", runs]);
        assertEquals([code, stdout], [1, ""], stderr);
        assertMatch(stderr, message);
        assertEquals(stderr.match(/^error: /gm)?.length, 1, stderr);
        assertEquals([...Deno.readDirSync(runs)].length, 0);
      });
    }
  },
});
