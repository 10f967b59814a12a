/**
 * Trains a small GPT to write text character by character, and lets it write while it learns. Without
 * a file it learns little stories made by code, of who has how many of what.
 *
 *   deno run -A --unstable-webgpu examples/char_gpt.ts --text FILE
 */

import * as core from "../core/mod.ts";
import * as data from "../data/mod.ts";
import { MeanLoss, MetricsCallback, Perplexity } from "../metrics/mod.ts";
import * as nn from "../nn/mod.ts";
import * as track from "../track/mod.ts";
import { common, countFlag, numberFlag, program, textFlag, type Values } from "./program.ts";

const flags = {
  text: textFlag(null, "the text, a file in UTF-8; its last tenth is for validation"),
  context: countFlag(1, 128, "characters that the model sees"),
  layers: countFlag(1, 4, "blocks"),
  heads: countFlag(1, 4, "heads of a block, which divide the width"),
  width: countFlag(1, 128, "numbers for each character"),
  dropout: numberFlag(0, 0, "probability with which numbers are dropped in training"),
  steps: countFlag(1, 2000, "training steps"),
  batchSize: countFlag(1, 16, "windows of the text in a step"),
  lr: numberFlag(0, 2e-3, "largest learning rate of AdamW; it falls to a tenth"),
  warmup: countFlag(1, 100, "steps in which the learning rate rises"),
  evalEvery: countFlag(1, 200, "steps between two validations, each with a sample"),
  prompt: textFlag(null, "what samples begin with (the start of the validation text)"),
  sample: countFlag(0, 200, "characters of a sample"),
  temperature: numberFlag(0, 0.8, "what logits are divided by; 0 takes the likeliest character"),
  topK: countFlag(1, 40, "draw among so many likeliest characters"),
  ...common,
};

const people = ["Anna", "Ben", "Clara", "David", "Emma", "Frank", "Irene", "Oscar"];
const colors = ["red", "green", "yellow", "old", "small", "heavy"];
const things = ["apple", "book", "candle", "drum", "lamp", "spoon", "stone", "ticket"];
const numbers = "no one two three four five six seven eight nine".split(" ");

/** Text of at least some length, whose pronouns, plurals and numbers agree. */
function stories(seed: number, length: number): string {
  const { k0, k1 } = new core.Key(seed).fold("stories");
  let [draws, text] = [0, ""];
  const below = (n: number) => core.threefry2x32(k0, k1, draws++, 0)[0] % n;
  while (text.length < length) {
    const [giver, other, had] = [below(8), 1 + below(7), 1 + below(9)];
    const [what, given] = [`${colors[below(6)]} ${things[below(8)]}`, 1 + below(had)];
    const some = (n: number) => `${numbers[n]} ${what}${n === 1 ? "" : "s"}`;
    text += `${people[giver]} has ${some(had)}, and ${giver % 2 ? "he" : "she"} gives ` +
      `${numbers[given]} to ${people[(giver + other) % 8]}. ` +
      `Now ${some(had - given)} ${had - given === 1 ? "is" : "are"} left.\n`;
  }
  return text;
}

/** The text as tokens, in two parts, and the tokens that samples begin with. */
async function loadText({ text: path, context, prompt, seed }: Values<typeof flags>) {
  const text = path === undefined ? stories(seed, 200_000) : await data.readText(path);
  const [source, length] = [path ?? "stories made by code", [...text].length];
  // The shorter part must hold a window and the character behind it.
  if (length < 10 * (context + 1)) {
    throw new RangeError(
      `Cannot learn ${source} by windows of ${context} characters: expected at least ` +
        `${10 * (context + 1)} characters, found ${length}`,
    );
  }
  const vocabulary = data.CharVocabulary.of(text);
  const [train, validation] = data.splitTokens(vocabulary.encode(text));
  const start = prompt === undefined ? validation.slice(0, 16) : vocabulary.encode(prompt);
  if (start.length === 0) throw new RangeError("Cannot use an empty --prompt: expected characters");
  return { source, vocabulary, train, validation, start };
}

async function main(values: Values<typeof flags>): Promise<Record<string, unknown>> {
  const started = performance.now();
  const { context: length, layers, heads, width, batchSize, lr, steps, seed } = values;
  const { source, vocabulary, train, validation, start } = await loadText(values);
  const device = await core.getDevice({ kind: values.device });
  console.error(`${source}: ${train.length}+${validation.length} characters; ${device.choice}`);
  const sizes = { vocabSize: vocabulary.size, contextLength: length, layers, heads, width };
  const node = new nn.GPTNode({ ...sizes, dropout: values.dropout });
  const model = node.build({ device, seed });
  const groups = nn.defaultGroups(model, { lr, weightDecay: 0.1 });
  const optimizer = new core.AdamW(groups, { betas: [0.9, 0.95], maxGradNorm: 1 });
  const lossFn = (logits: core.Tensor, targets: core.Tensor) =>
    core.crossEntropy(logits.flatten(0, 1), targets.flatten());
  const context = new core.Context({ model, optimizer, lossFn, device });
  const loader = (windows: data.TokenWindows, batchSize: number) =>
    new data.DataLoader(windows, { batchSize, device, collate: data.tokenCollate() });
  const random = { count: steps * batchSize, seed };
  const drawn = loader(new data.TokenWindows(train, { length, random }), batchSize);
  // One pass over the windows, in epochs that end where the model is validated.
  const batches = drawn[Symbol.asyncIterator]();
  const epochs = {
    async *[Symbol.asyncIterator]() {
      for (let step = 0; step < values.evalEvery; step++) yield (await batches.next()).value;
    },
  };
  // At most 200 windows, evenly spread
  const stride = Math.max(length, Math.ceil(validation.length / 200));
  const held = loader(new data.TokenWindows(validation, { length, stride }), 50);
  const callbacks = [new MetricsCallback([new MeanLoss(), new Perplexity()])];
  const evaluator = new core.Engine(core.evaluationStep<data.TokenBatch>(), context, { callbacks });
  const options = { name: "char-gpt", dir: values.runs, config: { ...values } };
  return await track.run(options, async (session) => {
    const cosine = core.schedule.cosine({ etaMin: lr / 10 });
    const trainer = new core.Engine(core.supervisedStep<data.TokenBatch>(), context, {
      callbacks: [
        new MetricsCallback([new MeanLoss()]),
        new core.LrScheduleCallback(core.schedule.warmup(values.warmup).then(cosine)),
        new core.EvalOnEpochEndCallback(evaluator, held, { prefix: "validation" }),
        new track.TrackingCallback(session),
        new core.ProgressBarCallback(),
      ],
    });
    trainer.on("epochEnd", async ({ state: { globalStep } }) => {
      const given = core.tensor([[...start]], { dtype: "i32", device });
      const key = new core.Key(seed).fold(`sample ${globalStep}`);
      const tokens = await model.generate(given, { ...values, maxNewTokens: values.sample, key });
      const text = `--- step ${globalStep} ---\n${vocabulary.decode(await tokens.data())}\n`;
      console.error(text);
      session.logText("samples", text);
    });
    session.saveArtifact("vocabulary.json", vocabulary.state());
    session.saveArtifact("model.json", JSON.stringify(node, null, 2));
    const { metrics, globalStep } = await trainer.loop(epochs, { maxSteps: steps });
    await session.saveModel(model);
    const rows = track.readScalars(`${session.dir}/logs/scalars.csv`);
    const series = ["train/loss", "validation/loss"].map((name) => {
      const points = rows.filter(({ key }) => key === name);
      return { name, x: points.map((row) => row.step!), y: points.map((row) => row.value!) };
    });
    session.saveArtifact("loss.svg", track.lineChart({ series, xLabel: "step", yLabel: "nats" }));
    const result = {
      device: device.name,
      parameters: model.parameterCount,
      steps: globalStep,
      trainLoss: metrics.loss,
      validationLoss: metrics["validation/loss"],
      validationBits: metrics["validation/loss"] / Math.LN2,
      seconds: Math.round((performance.now() - started) / 10) / 100,
      runDir: session.dir,
    };
    session.logEvent("result", result);
    return result;
  });
}

if (import.meta.main) {
  await program("Trains a character-level GPT on a text, and lets it write.", flags, main);
}
