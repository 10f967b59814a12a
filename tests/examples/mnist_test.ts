import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { encodeIdx } from "../../data/mod.ts";
import { readRun } from "../../track/mod.ts";
import { canRun, lastJson, noAdapter, runExample } from "./command.ts";

const file = "examples/mnist.ts";
const ignore = !canRun;

async function mnistFolder(labels: readonly number[]): Promise<string> {
  const dir = await Deno.makeTempDir();
  const write = async (name: string, shape: number[], data: Uint8Array<ArrayBuffer>) =>
    await Deno.writeFile(`${dir}/${name}`, encodeIdx({ dtype: "u8", shape, data }));
  for (const part of ["train", "t10k"]) {
    await write(`${part}-images-idx3-ubyte`, [4, 28, 28], new Uint8Array(4 * 784));
    await write(`${part}-labels-idx1-ubyte`, [labels.length], Uint8Array.from(labels));
  }
  return dir;
}

Deno.test({
  name: "mnist.ts trains on drawn digits and leaves a run that can be read",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const args = [
      "--dataset",
      "digits",
      "--limit",
      "128",
      "--epochs",
      "2",
      "--runs",
      runs,
      "--json",
    ];
    const { code, stdout, stderr } = await runExample(file, args);
    assertEquals(code, 0, stderr);
    assertMatch(
      stderr,
      /test images; (webgpu: .+ \(hardware adapter\)|cpu: WebAssembly .+ \(.+\))$/m,
    );
    const result = lastJson(stdout);
    assertEquals(Object.keys(result), [
      "dataset",
      "device",
      "parameters",
      "epochs",
      "steps",
      "trainLoss",
      "testLoss",
      "testAccuracy",
      "seconds",
      "runDir",
    ]);
    assertEquals(result.dataset, "digits");
    assertEquals([result.parameters, result.epochs, result.steps], [241994, 2, 4]);
    assert((result.trainLoss as number) < 2.3, `the loss fell below that of guessing: ${stdout}`);
    const { meta, scalars } = readRun(result.runDir as string);
    assertEquals(meta.status, "completed");
    const accuracy = scalars.filter((row) => row.key === "test/accuracy");
    assertEquals(accuracy.length, 2);
    assertEquals(accuracy[1].value, result.testAccuracy as number);
    assert((await Deno.stat(`${result.runDir}/artifacts/model.safetensors`)).size > 4 * 241994);
  },
});

Deno.test({
  name: "mnist.ts refuses bad input in one sentence with exit code 1 and makes no run",
  ignore,
  fn: async (t) => {
    const runs = await Deno.makeTempDir();
    const corrupt = await mnistFolder([1, 2, 3, 4]);
    await Deno.writeFile(`${corrupt}/train-images-idx3-ubyte`, new Uint8Array([0, 0, 8, 3, 0, 0]));
    const cases: [string, string[], RegExp][] = [
      ["an unknown flag", ["--epoch", "3"], /Cannot understand "--epoch"/],
      ["a bad number", ["--epochs", "none"], /Cannot use --epochs none: expected a whole number/],
      ["an unknown data set", ["--dataset", "cats"], /expected mnist, fashion, digits/],
      ["an unknown device", ["--device", "tpu"], /expected auto, webgpu, cpu, reference/],
      ["a missing folder", ["--data", `${runs}/nowhere`], /nowhere/],
      ["a corrupt file", ["--data", corrupt], /train-images-idx3-ubyte/],
      ["a label out of range", ["--data", await mnistFolder([1, 2, 3, 77])], /77/],
      ["labels that do not match", ["--data", await mnistFolder([1, 2])], /4.*2|2.*4/],
    ];
    for (const [name, args, message] of cases) {
      await t.step(name, async () => {
        const { code, stdout, stderr } = await runExample(file, [...args, "--runs", runs]);
        assertEquals(code, 1, stderr);
        assertEquals(stdout, "");
        assertMatch(stderr, message);
        assertEquals(stderr.match(/^error: /gm)?.length, 1, stderr);
        assertEquals([...Deno.readDirSync(runs)].length, 0);
      });
    }
  },
});

Deno.test({
  name: "mnist.ts without an adapter trains on the CPU, or says what to install if it shall not",
  ignore: !canRun,
  fn: async () => {
    const args = ["--dataset", "digits", "--limit", "64", "--epochs", "1"];
    const { code, stderr } = await runExample(file, [...args, "--device", "webgpu"], noAdapter);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "no WebGPU adapter was found; install a Vulkan driver");
    const runs = await Deno.makeTempDir();
    const chosen = await runExample(file, [...args, "--runs", runs], noAdapter);
    assertEquals(chosen.code, 0, chosen.stderr);
    assertMatch(chosen.stderr, /; cpu: WebAssembly .+ \(no WebGPU adapter was found\)$/m);
  },
});

Deno.test({
  name: "mnist.ts names the folder of runs that it cannot write",
  ignore,
  fn: async () => {
    const args = ["--dataset", "digits", "--limit", "64", "--runs", "/dev/null/runs"];
    const { code, stderr } = await runExample(file, args);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "/dev/null/runs");
  },
});

Deno.test({
  name: "mnist.ts prints its flags with --help",
  ignore: !canRun,
  fn: async () => {
    const { code, stdout } = await runExample(file, ["--help"]);
    assertEquals(code, 0);
    for (const flag of ["--epochs", "--data", "--device", "--runs", "--json"]) {
      assertStringIncludes(stdout, flag);
    }
  },
});
