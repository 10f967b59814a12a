import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { CheckpointStore, currentScalars, readRun } from "../../track/mod.ts";
import { canRun, lastJson, runExample } from "./command.ts";
import { assertResumes, stopped, weightsOf } from "./resume.ts";

const ignore = !canRun || Deno.build.os === "windows";
const digits = ["--dataset", "digits"];

Deno.test({
  name: "mnist.ts, stopped by Ctrl-C and resumed, gives the weights of a run that never stopped",
  ignore,
  fn: async () => {
    const args = [...digits, "--limit", "512", "--batch-size", "8", "--epochs", "2"];
    const { first, whole, resumed } = await assertResumes("examples/mnist.ts", args);
    assertEquals(whole.steps, 128);
    const steps = first.steps as number;
    assert(steps > 0 && steps < 128, `stopped after ${steps} steps`);
    const store = new CheckpointStore(`${resumed.runDir}/checkpoints`);
    const { metrics } = (await store.load("best")).entry;
    assertEquals(metrics["test/accuracy"], resumed.testAccuracy as number);
  },
});

Deno.test({
  name: "cifar10.ts resumes with its augmentation and its averages",
  ignore,
  fn: async () => {
    const sizes = ["--dataset", "shapes", "--limit", "192", "--test-limit", "12"];
    const more = ["--batch-size", "4", "--epochs", "2", "--augment", "randaugment", "--ema", "0.8"];
    await assertResumes("examples/cifar10.ts", [...sizes, ...more]);
  },
});

Deno.test({
  name: "csv_classifier.ts resumes",
  ignore,
  fn: async () => {
    const file = `${await Deno.makeTempDir()}/spirals.csv`;
    const epochs = ["--epochs", "50", "--file", file];
    const { whole } = await assertResumes("examples/csv_classifier.ts", epochs);
    // What is compared is no constant.
    const args = [...epochs, "--seed", "43", "--device", "cpu", "--json"];
    const outcome = await runExample("examples/csv_classifier.ts", [
      ...args,
      ...["--runs", await Deno.makeTempDir()],
    ]);
    assertNotEquals(await weightsOf(lastJson(outcome.stdout)), await weightsOf(whole));
  },
});

Deno.test({
  name: "autoencoder.ts and vae.ts resume",
  ignore,
  fn: async () => {
    const args = [...digits, "--limit", "256", "--batch-size", "4", "--epochs", "2"];
    await assertResumes("examples/autoencoder.ts", args);
    await assertResumes("examples/vae.ts", [...args, "--latent", "4", "--warmup", "1.5"]);
  },
});

Deno.test({
  name: "char_gpt.ts resumes in the midst of the windows that it draws",
  ignore,
  fn: async () => {
    const model = ["--window", "16", "--layers", "1", "--heads", "2", "--width", "16"];
    const args = [...model, "--dropout", "0.1", "--sample", "8", "--steps", "500"];
    const { first } = await assertResumes("examples/char_gpt.ts", [...args, "--eval-every", "150"]);
    assert((first.steps as number) < 500);
  },
});

Deno.test({
  name: "pretrain_finetune.ts resumes in the part in which it was stopped",
  ignore,
  fn: async () => {
    const args = [...digits, "--limit", "256", "--labels", "60", "--pretrain", "2"];
    const more = ["--epochs", "120", "--unfreeze", "1"];
    const file = "examples/pretrain_finetune.ts";
    const { first, resumed } = await assertResumes(file, [...args, ...more], 2);
    assertEquals(Object.keys(first), ["labels", "runDir"]);
    assert("unfrozen" in resumed);
  },
});

Deno.test({
  name: "an example that SIGTERM ends has exit code 143, and prints and saves its result",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const args = ["--epochs", "1000", "--device", "cpu", "--runs", runs];
    const file = "examples/csv_classifier.ts";
    const { code, stdout, stderr } = await stopped(file, args, { signal: "SIGTERM" });
    assertEquals(code, 143, stderr);
    const { runDir, epochs } = lastJson(stdout);
    assert((epochs as number) < 1000);
    const { meta } = readRun(runDir as string);
    assertEquals([meta.status, meta.reason], ["interrupted", "SIGTERM"]);
  },
});

Deno.test({
  name: "a run that was done goes on for more epochs, and does nothing where none is left",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const file = "examples/csv_classifier.ts";
    const begin = ["--epochs", "2", "--device", "cpu", "--runs", runs, "--json"];
    const { runDir } = lastJson((await runExample(file, begin)).stdout) as { runDir: string };
    const more = await runExample(file, ["--resume", runDir, "--epochs", "3", "--json"]);
    assertEquals([more.code, lastJson(more.stdout).epochs], [0, 3], more.stderr);
    const epochs = () =>
      currentScalars(readRun(runDir).scalars).filter(({ key }) => key === "test/accuracy")
        .map(({ epoch }) => epoch);
    assertEquals(epochs(), [1, 2, 3]);
    // Nothing is left to do, and nothing is logged twice.
    const again = await runExample(file, ["--resume", runDir, "--json"]);
    assertEquals([again.code, lastJson(again.stdout).epochs], [0, 3], again.stderr);
    assertEquals(epochs(), [1, 2, 3]);
  },
});

Deno.test({
  name: "--resume refuses what is no run of the example, and flags that contradict it",
  ignore,
  fn: async (t) => {
    const runs = await Deno.makeTempDir();
    const file = "examples/csv_classifier.ts";
    const begin = ["--epochs", "1", "--device", "cpu", "--runs", runs, "--json"];
    const { runDir } = lastJson((await runExample(file, begin)).stdout) as { runDir: string };
    const before = Deno.readTextFileSync(`${runDir}/meta.json`);
    const cases: [string, string, string[], RegExp][] = [
      [
        "no folder",
        file,
        ["--resume", `${runs}/nowhere`],
        /Cannot resume .*nowhere: expected the /,
      ],
      ["another example", "examples/mnist.ts", ["--resume", runDir], /a run of mnist, found csv$/m],
      ["another rate", file, ["--resume", runDir, "--lr", "1"], /--lr 1: expected --lr 0\.01, as/],
      [
        "another seed",
        file,
        ["--resume", runDir, "--seed", "1"],
        /expected --seed 42, as it began/,
      ],
      ["a bad word", file, ["--resume", runDir, "--progress", "x"], /expected auto, live, plain,/],
    ];
    for (const [name, example, args, message] of cases) {
      await t.step(name, async () => {
        const { code, stdout, stderr } = await runExample(example, args);
        assertEquals([code, stdout], [1, ""], stderr);
        assertMatch(stderr, message);
        assertEquals(stderr.match(/^error: /gm)?.length, 1, stderr);
        assertEquals(Deno.readTextFileSync(`${runDir}/meta.json`), before);
      });
    }
  },
});
