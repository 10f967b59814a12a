import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { crossEntropy, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import {
  decodeSafetensors,
  safetensorsValues,
  TokenWindows,
  vocabularyFrom,
  type VocabularyState,
} from "../../data/mod.ts";
import { type GPT, Node } from "../../nn/mod.ts";
import { readRun } from "../../track/mod.ts";
import { reference } from "../util.ts";
import { canRun, lastJson, runExample } from "./command.ts";

const file = "examples/char_gpt.ts";
const context = 16;
const tiny = ["--device", "cpu", "--window", `${context}`, "--layers", "1", "--heads", "2"];
tiny.push("--width", "16", "--sample", "24", "--warmup", "10", "--json");

/** The model of a run, built again from its files, on the reference device. */
async function modelOf(dir: string): Promise<GPT> {
  const json = JSON.parse(await Deno.readTextFile(`${dir}/artifacts/model.json`));
  const model = Node.fromJSON(json).build({ device: reference, seed: 0 }) as GPT;
  const { tensors } = decodeSafetensors(await Deno.readFile(`${dir}/artifacts/model.safetensors`));
  const values = [...tensors].map(([key, entry]): [string, Tensor] => {
    const data = safetensorsValues(entry) as Float32Array<ArrayBuffer>;
    return [key, tensor(data, { shape: entry.shape, device: reference })];
  });
  model.loadStateDict(Object.fromEntries(values));
  return model;
}

/** Nats of a character, the mean over windows that lie behind each other. */
async function lossOf(model: GPT, tokens: Int32Array): Promise<number> {
  const windows = new TokenWindows(tokens, { length: context });
  const items = Array.from({ length: windows.length }, (_, i) => windows.get(i));
  const batch = (rows: readonly Int32Array[]) =>
    tensor(rows.map((row) => [...row]), { dtype: "i32", device: reference });
  using _ = noGrad();
  const logits = model.forward(batch(items.map(({ inputs }) => inputs)));
  const targets = batch(items.map(({ targets }) => targets));
  return await crossEntropy(logits.flatten(0, 1), targets.flatten()).item();
}

Deno.test({
  name: "char_gpt.ts learns what follows what, and leaves files that give the model again",
  ignore: !canRun,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    // All letters are equally frequent, so that their frequencies tell nothing: log 10 nats.
    const text = "abcdefghij".repeat(200);
    await Deno.writeTextFile(`${runs}/text.txt`, text);
    const flags = "--steps 90 --eval-every 40 --lr 0.02 --prompt cd --temperature 0".split(" ");
    const args = [...tiny, ...flags, "--text", `${runs}/text.txt`, "--runs", runs];
    const { code, stdout, stderr } = await runExample(file, args);
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /text\.txt: 1800\+200 characters; cpu: WebAssembly .+ \(asked for\)$/m);
    const result = lastJson(stdout) as Record<string, number> & { runDir: string };
    const counts = ["device", "parameters", "steps", "trainLoss", "validationLoss"];
    assertEquals(Object.keys(result), [...counts, "validationBits", "seconds", "runDir"]);
    assertEquals(result.steps, 90);
    assert(result.validationLoss < 0.1 * Math.log(10), stdout);
    assertAlmostEquals(result.validationBits, Math.log2(Math.exp(result.validationLoss)), 1e-9);

    const { meta, scalars } = readRun(result.runDir);
    assertEquals(meta.status, "completed");
    const losses = scalars.filter((row) => row.key === "validation/loss");
    assertEquals(losses.map((row) => row.step), [40, 80, 90]);
    assertEquals(losses[2].value, result.validationLoss);
    const perplexity = scalars.findLast((row) => row.key === "validation/perplexity")!.value!;
    assertAlmostEquals(Math.log(perplexity), result.validationLoss, 1e-5);
    const rates = scalars.filter((row) => row.key === "train/lr").map((row) => row.value!);
    // Steps 0 to 9 rise; the last one, 89, is the 79th of the 80 of the cosine from 0.02 to 0.002.
    assertAlmostEquals(rates[2], 0.002 + 0.009 * (1 + Math.cos(Math.PI * 79 / 80)), 1e-9);

    const read = (name: string) => Deno.readTextFile(`${result.runDir}/${name}`);
    const samples = (await read("logs/samples.txt")).split(/--- step \d+ ---\n/);
    assertEquals(samples.length, 4);
    assertEquals(samples[3].trimEnd(), "cdefghijabcdefghijabcdefgh");
    assertMatch(await read("artifacts/loss.svg"), /^<svg[^]*validation\/loss[^]*<\/svg>\s*$/);
    const state = JSON.parse(await read("artifacts/vocabulary.json")) as VocabularyState;
    const tokens = vocabularyFrom(state).encode(text).subarray(1800);
    const model = await modelOf(result.runDir);
    assertEquals(model.parameterCount, result.parameters);
    assertAlmostEquals(await lossOf(model, tokens), result.validationLoss, 1e-5);
  },
});

Deno.test({
  name: "char_gpt.ts without a text learns its own stories, the same ones from the same seed",
  ignore: !canRun,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const flags = ["--steps", "60", "--eval-every", "30", "--lr", "0.01", "--runs", runs];
    const outcomes = await Promise.all([0, 1].map(() => runExample(file, [...tiny, ...flags])));
    const [first, second] = outcomes.map(({ code, stdout, stderr }) => {
      assertEquals(code, 0, stderr);
      return { ...lastJson(stdout), seconds: 0, runDir: "" } as Record<string, unknown>;
    });
    assertEquals(first, second);
    assertMatch(outcomes[0].stderr, /stories made by code: 1800\d\d\+200\d\d characters/);
    // By the frequencies of its letters alone, such a text takes 2.98 nats a character.
    assert(first.validationLoss as number < 2.7, `${first.validationLoss}`);
  },
});

Deno.test({
  name: "char_gpt.ts refuses what it cannot learn in one sentence and makes no run",
  ignore: !canRun,
  fn: async (t) => {
    const [runs, dir] = [await Deno.makeTempDir(), await Deno.makeTempDir()];
    const write = async (name: string, text: string | Uint8Array) => {
      const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
      await Deno.writeFile(`${dir}/${name}`, bytes);
      return ["--text", `${dir}/${name}`];
    };
    const good = await write("good.txt", "to be or not to be ".repeat(20));
    const short = await write("short.txt", "x".repeat(169));
    const cases: [string, string[], RegExp][] = [
      ["an empty text", await write("empty.txt", ""), /empty\.txt by windows .* 170 .* found 0$/m],
      ["a text shorter than the context", short, /expected at least 170 characters, found 169$/m],
      ["no UTF-8", await write("bad.txt", new Uint8Array([255, 254])), /not valid UTF-8/],
      ["a missing file", ["--text", `${dir}/none.txt`], /none\.txt" as there is no such file/],
      ["a prompt of other characters", [...good, "--prompt", "to é"], /has no "é"/],
      ["an empty prompt", [...good, "--prompt", ""], /an empty --prompt: expected characters/],
      ["heads that do not fit", [...good, "--heads", "3"], /width 16 and 3 heads/],
      ["a dropout above 1", [...good, "--dropout", "2"], /dropout.* 2/],
      ["no steps", [...good, "--steps", "0"], /--steps 0: expected a whole number of at least 1/],
    ];
    for (const [name, args, message] of cases) {
      await t.step(name, async () => {
        const { code, stdout, stderr } = await runExample(file, [...tiny, "--runs", runs, ...args]);
        assertEquals(code, 1, stderr);
        assertEquals(stdout, "");
        assertMatch(stderr, message);
        assertEquals(stderr.match(/^error: /gm)?.length, 1, stderr);
        assertEquals([...Deno.readDirSync(runs)].length, 0);
      });
    }
  },
});
