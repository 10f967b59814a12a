import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { decodeImage, decodeSafetensors } from "../../data/mod.ts";
import { AutoencoderNode, Node, VAENode } from "../../nn/mod.ts";
import { readRun, type RunRecord } from "../../track/mod.ts";
import { canRun, lastJson, runExample } from "./command.ts";

const ignore = !canRun;

interface Trained {
  readonly result: Record<string, unknown>;
  readonly stderr: string;
  readonly record: RunRecord;
  /** The bytes of an artifact. */
  readonly read: (name: string) => Promise<Uint8Array>;
  /** The values of a scalar, in their order. */
  readonly course: (key: string) => number[];
}

/** Runs an example on a few drawn digits. */
async function train(file: string, ...more: string[]): Promise<Trained> {
  const runs = await Deno.makeTempDir();
  const args = ["--dataset", "digits", "--device", "cpu", "--runs", runs, "--json", ...more];
  const { code, stdout, stderr } = await runExample(file, args);
  assertEquals(code, 0, stderr);
  const result = lastJson(stdout);
  const record = readRun(result.runDir as string);
  assertEquals(record.meta.status, "completed");
  return {
    result,
    stderr,
    record,
    read: (name) => Deno.readFile(`${result.runDir}/artifacts/${name}`),
    course: (key) => record.scalars.filter((row) => row.key === key).map((row) => row.value!),
  };
}

/** Asserts that a picture is a grid of 28×28 images at twice their size. */
async function assertGrid(file: Uint8Array, columns: number, rows: number): Promise<Uint8Array> {
  const { width, height, data } = await decodeImage(file);
  assertEquals([width, height], [columns * 58 + 2, rows * 58 + 2]);
  assert(new Set(data).size > 20, "shades of grey");
  return data;
}

function assertChart(file: Uint8Array, ...words: string[]): void {
  const text = new TextDecoder().decode(file);
  assertMatch(text, /^<svg [^]*<\/svg>\s*$/);
  for (const word of words) assert(text.includes(word), `no ${word} in ${text}`);
}

async function assertRefusals(file: string, cases: [string[], RegExp][]): Promise<void> {
  const runs = await Deno.makeTempDir();
  for (const [args, message] of cases) {
    const drawn = ["--dataset", "digits", "--device", "cpu", "--runs", runs];
    const { code, stdout, stderr } = await runExample(file, [...drawn, ...args]);
    assertEquals([code, stdout], [1, ""], stderr);
    assertMatch(stderr, message);
    assertEquals(stderr.match(/^error: /gm)?.length, 1, stderr);
    assertEquals([...Deno.readDirSync(runs)].length, 0);
  }
}

Deno.test({
  name:
    "autoencoder.ts draws digits again, better in each epoch, and leaves pictures and the model",
  ignore,
  fn: async () => {
    const small = ["--limit", "512", "--batch-size", "16", "--epochs", "3"];
    const { result, course, read } = await train("examples/autoencoder.ts", ...small);
    const { testLoss, testVariance, seconds: _seconds, runDir: _dir, ...others } = result;
    assertEquals(Object.keys(others), ["dataset", "device", "parameters", "steps", "trainLoss"]);
    assertEquals([others.dataset, others.steps], ["digits", 96]);
    const losses = course("test/loss");
    assertEquals([losses.length, losses[2]], [3, testLoss as number]);
    assert(losses[2] < losses[0] && losses[2] < 0.7 * (testVariance as number), `${losses}`);

    const [first, last] = await Promise.all(
      [1, 3].map(async (n) => await assertGrid(await read(`epoch-00${n}.png`), 16, 2)),
    );
    // The upper row shows the images themselves, the lower one what changes from epoch to epoch.
    const upper = first.length / 118 * 60;
    assertEquals(first.subarray(0, upper), last.subarray(0, upper));
    const error = (data: Uint8Array) => {
      let sum = 0;
      for (let i = 0; i < upper - first.length / 118 * 2; i++) {
        sum += (data[i] - data[i + first.length / 118 * 58]) ** 2;
      }
      return sum;
    };
    assert(error(last) < error(first));
    assertChart(await read("loss.svg"), "train/loss", "test/loss");
    const node = Node.fromJSON(JSON.parse(new TextDecoder().decode(await read("model.json"))));
    assert(node instanceof AutoencoderNode);
    const { tensors } = decodeSafetensors(await read("model.safetensors"));
    assert([...tensors.keys()].some((key) => key.startsWith("decoder.")));
  },
});

Deno.test({
  name: "vae.ts lets beta rise, and its parts add up to the bound",
  ignore,
  fn: async () => {
    const small = ["--limit", "250", "--batch-size", "32", "--epochs", "4", "--latent", "4"];
    const { result, course, record, read } = await train(
      "examples/vae.ts",
      ...small,
      ...["--beta", "2", "--warmup", "2.5"],
    );
    assertEquals(Object.keys(result), [
      "dataset",
      "parameters",
      "steps",
      "trainLoss",
      "testReconstruction",
      "testKl",
      "testElbo",
      "runDir",
    ]);
    const { testReconstruction, testKl, testElbo } = result as Record<string, number>;
    assertAlmostEquals(testReconstruction + testKl, -testElbo, 1e-3 * Math.abs(testElbo));
    const bound = course("test/total");
    assertEquals([bound.length, bound[3]], [4, -testElbo]);
    // log 2 for each pixel is what grey everywhere costs.
    assert(bound[3] < 0.75 * bound[0] && bound[3] < 784 * Math.LN2, `${bound}`);
    assert(course("train/kl").every((kl) => kl > 0));

    // 8 steps an epoch, so 20 steps of rising; every tenth one is recorded.
    const steps = (key: string) => record.scalars.filter((row) => row.key === `step/${key}`);
    assertEquals(steps("beta").map(({ step, value }) => [step, value]), [
      [10, 0.9],
      [20, 1.9],
      [30, 2],
    ]);
    // The captured step follows: its loss is weighed by the beta of its own step.
    const [total, reconstruction, kl] = ["total", "reconstruction", "kl"].map(steps);
    steps("beta").forEach(({ value: beta }, i) => {
      const expected = reconstruction[i].value! + beta! * kl[i].value!;
      assertAlmostEquals(total[i].value!, expected, 1e-5 * expected);
    });

    await assertGrid(await read("samples.png"), 10, 10);
    await assertGrid(await read("reconstructions.png"), 16, 2);
    await assertGrid(await read("walk.png"), 12, 15);
    assertChart(await read("loss.svg"), "train/reconstruction", "test/kl");
    const node = Node.fromJSON(JSON.parse(new TextDecoder().decode(await read("model.json"))));
    assert(node instanceof VAENode && node.latentDim === 4);
    const { tensors } = decodeSafetensors(await read("model.safetensors"));
    assertEquals(tensors.get("mu.weight")?.shape, [4, 256]);
  },
});

Deno.test({
  name:
    "pretrain_finetune.ts compares classifiers with and without pretraining, the same each time",
  ignore,
  fn: async () => {
    const small = ["--limit", "400", "--labels", "60", "--pretrain", "4", "--epochs", "8"];
    const file = "examples/pretrain_finetune.ts";
    const { result, course, read } = await train(file, ...small, "--unfreeze", "2");
    assertEquals(Object.keys(result), [
      "labels",
      "pretrainLoss",
      "scratch",
      "frozen",
      "unfrozen",
      "runDir",
    ]);
    for (const name of ["scratch", "frozen", "unfrozen"]) {
      // Guessing gives 0.1.
      assert(result[name] as number > 0.2, JSON.stringify(result));
      assertEquals(course(`${name}/test/accuracy`), [result[name] as number]);
      const losses = course(`${name}/loss`);
      assertEquals(losses.length, name === "unfrozen" ? 2 : 8);
      assert(name === "unfrozen" || losses[7] < losses[0], `${losses}`);
    }
    const losses = course("pretrain/loss");
    assertEquals([losses.length, losses[3]], [4, result.pretrainLoss as number]);
    assert(losses[3] < 0.5 * losses[0], `${losses}`);
    await assertGrid(await read("reconstructions.png"), 16, 2);
    assertChart(await read("accuracy.svg"), "scratch", "frozen", "unfrozen");

    const { result: two } = await train(file, ...small);
    assertEquals([two.scratch, two.frozen], [result.scratch, result.frozen]);
    assert(!("unfrozen" in two));
  },
});

Deno.test({
  name: "autoencoder.ts, vae.ts and pretrain_finetune.ts refuse bad flags in one sentence",
  ignore,
  fn: async () => {
    await assertRefusals("examples/autoencoder.ts", [
      [["--code", "0"], /Cannot use --code 0: expected a whole number of at least 1/],
    ]);
    await assertRefusals("examples/vae.ts", [
      [["--beta=-1"], /Cannot use --beta -1: expected a number of at least 0/],
    ]);
    await assertRefusals("examples/pretrain_finetune.ts", [
      [["--labels", "many"], /Cannot use --labels many: expected a whole number/],
      [["--limit", "150"], /Cannot train on 150 images: expected at least 200/],
    ]);
  },
});
