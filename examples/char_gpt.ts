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
import { countFlag, free, numberFlag, textFlag, type Values } from "./program.ts";
import { stories } from "./stories.ts";
import { courses, display, goOn, training, trainingProgram } from "./training.ts";

const flags = {
  text: textFlag(null, "the text, a file in UTF-8; its last tenth is for validation"),
  window: countFlag(1, 128, "characters that the model sees"),
  layers: countFlag(1, 4, "blocks"),
  heads: countFlag(1, 4, "heads of a block, which divide the width"),
  width: countFlag(1, 128, "numbers for each character"),
  dropout: numberFlag(0, 0, "probability with which numbers are dropped in training"),
  steps: free(countFlag(1, 2000, "training steps")),
  batchSize: countFlag(1, 16, "windows of the text in a step"),
  lr: numberFlag(0, 2e-3, "largest learning rate of AdamW; it falls to a tenth"),
  warmup: countFlag(1, 100, "steps in which the learning rate rises"),
  evalEvery: countFlag(1, 200, "steps between two validations, each with a sample"),
  prompt: textFlag(null, "what samples begin with (the start of the validation text)"),
  sample: countFlag(0, 200, "characters of a sample"),
  temperature: numberFlag(0, 0.8, "what logits are divided by; 0 takes the likeliest character"),
  topK: countFlag(1, 40, "draw among so many likeliest characters"),
  ...training,
};

/** The text as tokens, in two parts, and the tokens that samples begin with. */
async function loadText({ text: path, window, prompt, seed }: Values<typeof flags>) {
  const text = path === undefined ? stories(seed, 200_000) : await data.readText(path);
  const [source, length] = [path ?? "stories made by code", [...text].length];
  // The shorter part must hold a window and the character behind it.
  if (length < 10 * (window + 1)) {
    throw new RangeError(
      `Cannot learn ${source} by windows of ${window} characters: expected at least ` +
        `${10 * (window + 1)} characters, found ${length}`,
    );
  }
  const vocabulary = data.CharVocabulary.of(text);
  const [train, validation] = data.splitTokens(vocabulary.encode(text));
  const start = prompt === undefined ? validation.slice(0, 16) : vocabulary.encode(prompt);
  if (start.length === 0) throw new RangeError("Cannot use an empty --prompt: expected characters");
  return { source, vocabulary, train, validation, start };
}

type Loader = data.DataLoader<data.TokenItem, data.TokenBatch>;

/** One pass of a loader in epochs of some batches, each of which goes on where the last one ended. */
class Epochs {
  constructor(readonly loader: Loader, readonly length: number) {}

  async *[Symbol.asyncIterator]() {
    // A loader begins its pass again, unless it is told where it is.
    this.load(this.state());
    let left = this.length - this.state().position % this.length;
    for await (const batch of this.loader) {
      yield batch;
      if (--left === 0) return;
    }
  }

  state = () => this.loader.state();
  load = (state: data.DataLoaderState) => this.loader.load(state);
}

async function main(values: Values<typeof flags>, opening: track.RunOptions) {
  const started = performance.now();
  const { window: length, layers, heads, width, batchSize, lr, steps, seed } = values;
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
  // One pass over more windows than anybody waits for; the place of each is a function of its number.
  const random = { count: 2 ** 31, seed };
  const windows = new data.TokenWindows(train, { length, random });
  const trainLoader = new Epochs(loader(windows, batchSize), values.evalEvery);
  // At most 200 windows, evenly spread
  const stride = Math.max(length, Math.ceil(validation.length / 200));
  const held = loader(new data.TokenWindows(validation, { length, stride }), 50);
  const callbacks = [new MetricsCallback([new MeanLoss(), new Perplexity()])];
  const evaluator = new core.Engine(core.evaluationStep<data.TokenBatch>(), context, { callbacks });
  return await track.run(opening, async (session) => {
    const store = new track.CheckpointStore(session.checkpointsDir);
    const cosine = core.schedule.cosine({ etaMin: lr / 10 });
    const trainer = new core.Engine(core.supervisedStep<data.TokenBatch>(), context, {
      callbacks: [
        new MetricsCallback([new MeanLoss()]),
        new core.LrScheduleCallback(core.schedule.warmup(values.warmup).then(cosine)),
        new core.EvalOnEpochEndCallback(evaluator, held, { prefix: "validation" }),
        new track.TrackingCallback(session),
        new track.CheckpointCallback(store, {
          parts: { loader: trainLoader },
          best: { monitor: "validation/loss" },
        }),
        ...display(values),
      ],
    });
    trainer.on("epochEnd", async ({ state: { globalStep, stopReason } }) => {
      if (stopReason === "interrupted") return;
      const given = core.tensor([[...start]], { dtype: "i32", device });
      const key = new core.Key(seed).fold(`sample ${globalStep}`);
      const tokens = await model.generate(given, { ...values, maxNewTokens: values.sample, key });
      const text = `--- step ${globalStep} ---\n${vocabulary.decode(await tokens.data())}\n`;
      console.error(text);
      session.logText("samples", text);
    });
    session.saveArtifact("vocabulary.json", vocabulary.state());
    session.saveArtifact("model.json", JSON.stringify(node, null, 2));
    const maxSteps = Math.max(steps - (await goOn(trainer)).globalStep, 0);
    const { metrics, globalStep } = await trainer.loop(trainLoader, { maxSteps });
    await session.saveModel(model);
    const series = courses(session, ["train/loss", "validation/loss"], "step");
    session.saveArtifact("loss.svg", track.lineChart({ series, xLabel: "step", yLabel: "nats" }));
    const result = {
      device: device.name,
      parameters: model.parameterCount,
      steps: globalStep,
      trainLoss: metrics.loss,
      validationLoss: metrics["validation/loss"],
      validationBits: metrics["validation/loss"]! / Math.LN2,
      seconds: Math.round((performance.now() - started) / 10) / 100,
      runDir: session.dir,
    };
    session.logEvent("result", result);
    return result;
  });
}

if (import.meta.main) {
  const purpose = "Trains a character-level GPT on a text, and lets it write.";
  await trainingProgram("char-gpt", purpose, flags, main);
}
