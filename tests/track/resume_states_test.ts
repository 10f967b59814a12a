import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Callback,
  Context,
  EarlyStoppingCallback,
  Engine,
  EvalOnEpochEndCallback,
  evaluationStep,
  keepIn,
  LrScheduleCallback,
  manualSeed,
  Plateau,
  SGD,
  supervisedStep,
} from "../../core/mod.ts";
import { DataLoader, digits, StreamLoader } from "../../data/mod.ts";
import { MeanLoss, MetricsCallback } from "../../metrics/mod.ts";
import {
  BatchNorm1d,
  crossEntropy,
  EmaCallback,
  Flatten,
  Linear,
  ModelEma,
  Sequential,
} from "../../nn/mod.ts";
import { captureTraining, CheckpointCallback, CheckpointStore } from "../../track/mod.ts";
import { cpu, reference } from "../util.ts";
import { sha256 } from "../../track/checkpoint_seal.ts";
import { MemoryFiles } from "./memory_files.ts";

// The reference device computes in double precision, which checkpoints round.
const device = cpu ?? reference;
const ignore = cpu === null;

/** A test that compares bits. */
function bits(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

function modelOf(): Sequential {
  return new Sequential(
    new Flatten(),
    new Linear(784, 8, { device }),
    new BatchNorm1d(8, { device }),
    new Linear(8, 10, { device }),
  );
}

const images = digits({ split: "train", count: 20, seed: 1 });
const tests = digits({ split: "test", count: 12, seed: 1 });

interface Options {
  readonly callbacks?: (model: Sequential, optimizer: SGD) => Callback[];
  readonly stream?: boolean;
  readonly ema?: boolean;
  readonly evaluationStep?: () => void;
}

/** A run of 3 batches an epoch, the last of them ragged. */
function setUp(files: MemoryFiles, options: Options = {}) {
  manualSeed(2);
  const model = modelOf();
  const ema = options.ema ? { decay: 0.8 } : undefined;
  const optimizer = new SGD(model.parameters(), { lr: 0.3, momentum: 0.9, ema });
  async function* source() {
    for (let i = 0; i < images.length; i++) yield await Promise.resolve(images.get(i));
  }
  const loader = options.stream
    ? new StreamLoader(source, { batchSize: 8, shuffleBuffer: 5, device })
    : new DataLoader(images, { batchSize: 8, shuffle: true, device });
  const store = new CheckpointStore("/checkpoints", { files, last: 99 });
  const checkpoints = new CheckpointCallback(store, { parts: { loader } });
  const trainer = new Engine(
    supervisedStep(),
    new Context({ model, optimizer, lossFn: crossEntropy, device }),
    { callbacks: [...options.callbacks?.(model, optimizer) ?? [], checkpoints] },
  );
  return { model, optimizer, loader, store, checkpoints, trainer };
}

function evaluatorOf(model: Sequential, onStep: () => void = () => {}): Engine {
  const context = new Context({ model, lossFn: crossEntropy, device });
  const evaluator = new Engine(evaluationStep(), context, {
    callbacks: [new MetricsCallback([new MeanLoss()])],
  }) as Engine;
  evaluator.on("stepEnd", onStep);
  return evaluator;
}

function testLoader(): DataLoader {
  return new DataLoader(tests, { batchSize: 4, shuffle: true, seed: 2, device });
}

/** What a checkpoint holds, in a form that can be compared. */
async function savedIn(run: ReturnType<typeof setUp>, which: "last" | number = "last") {
  const { tensors, state } = await run.store.load(which);
  const hashes = await Promise.all(
    Object.entries(tensors).map(async ([name, { data }]) =>
      `${name} ${await sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))}`
    ),
  );
  return { hashes, state: JSON.parse(JSON.stringify(state)) };
}

Deno.test("a run resumed between epochs, evaluated every two, does not log an old evaluation again", async () => {
  const make = (files: MemoryFiles) =>
    setUp(files, {
      callbacks: (model) => [
        new EvalOnEpochEndCallback(evaluatorOf(model), testLoader(), { every: 2 }),
      ],
    });
  const seen: string[] = [];
  const files = new MemoryFiles();
  const first = make(files);
  await first.trainer.loop(first.loader, { maxEpochs: 2, signals: false });
  assert(first.trainer.state.metrics["eval/loss"] > 0);
  const second = make(files);
  await second.trainer.resume();
  second.trainer.on("epochEnd", ({ state }) => void seen.push(Object.keys(state.metrics).join()));
  await second.trainer.loop(second.loader, { maxEpochs: 2, signals: false });
  assertEquals(seen, ["", "eval/loss"]);
});

Deno.test("an evaluation at the end of a partial epoch leaves what is saved of the evaluator as it was", async () => {
  const callbacks: EvalOnEpochEndCallback[] = [];
  const run = setUp(new MemoryFiles(), {
    callbacks: (model) => {
      callbacks.push(new EvalOnEpochEndCallback(evaluatorOf(model), testLoader()) as never);
      return [callbacks[0]];
    },
  });
  await run.trainer.loop(run.loader, { maxEpochs: 2, signals: false });
  const saved = async () => {
    const { written: _, ...state } = await callbacks[0].state() as Record<string, unknown>;
    return JSON.stringify(state);
  };
  const before = await saved();
  await run.trainer.loop(run.loader, { maxSteps: 1, signals: false });
  assert(run.trainer.state.metrics["eval/loss"] > 0, "it was evaluated");
  assertEquals(await saved(), before);
  await run.trainer.loop(run.loader, { maxEpochs: 1, signals: false });
  const { evaluator, loader } = JSON.parse(await saved());
  assertEquals([evaluator.state.epoch, loader.epoch], [4, 4]);
});

bits("a checkpoint of an epoch that was cut short is that of its last step", async () => {
  const flushes = (trainer: ReturnType<typeof setUp>["trainer"]) =>
    trainer.on("epochEnd", ({ context }) => {
      // As a flush of accumulated gradients, or anything else that changes the run
      (context.model as Sequential).parameters()[1].detach().fill_(7);
    });
  const [byStep, atEnd] = [setUp(new MemoryFiles()), setUp(new MemoryFiles())];
  byStep.trainer.on("stepEnd", () => byStep.checkpoints.save(byStep.trainer).then(() => {}), {
    once: 2,
  });
  await byStep.trainer.loop(byStep.loader, { maxSteps: 2, signals: false });
  flushes(atEnd.trainer);
  await atEnd.trainer.loop(atEnd.loader, { maxSteps: 2, signals: false });
  assertEquals(await savedIn(atEnd), await savedIn(byStep));
  assertEquals(await atEnd.model.parameters()[1].array(), Array(8).fill(7));
});

for (const stream of [false, true]) {
  bits(
    `a run that ends with the last batch of an epoch has ended the epoch${
      stream ? ", also of a stream" : ""
    }`,
    async () => {
      const whole = setUp(new MemoryFiles(), { stream });
      await whole.trainer.loop(whole.loader, { maxEpochs: 2, maxSteps: 6, signals: false });
      const files = new MemoryFiles();
      const first = setUp(files, { stream });
      let complete: boolean | null = null;
      first.trainer.on("epochEnd", (event) => void (complete = event.complete));
      await first.trainer.loop(first.loader, { maxSteps: 3, signals: false });
      assertEquals([complete, first.trainer.state.epoch], [true, 1]);
      const second = setUp(files, { stream });
      await second.trainer.resume();
      await second.trainer.loop(second.loader, { maxSteps: 3, signals: false });
      assertEquals(await savedIn(second), await savedIn(whole));
    },
  );
}

bits("a resumed run goes on with the batch that it learns by heart", async () => {
  const options = { overfitBatch: 4, signals: false };
  const whole = setUp(new MemoryFiles());
  await whole.trainer.loop(whole.loader, { ...options, maxSteps: 6 });
  const files = new MemoryFiles();
  const first = setUp(files);
  await first.trainer.loop(first.loader, { ...options, maxSteps: 3 });
  const second = setUp(files);
  await second.trainer.resume();
  await second.trainer.loop(second.loader, { ...options, maxSteps: 3 });
  assertEquals((await savedIn(second)).hashes, (await savedIn(whole)).hashes);
});

/** A run that decides by its evaluations; the trainer is interrupted in the step of one of them. */
function deciding(files: MemoryFiles, at: number) {
  let steps = 0;
  const run = setUp(files, {
    callbacks: (model) => [
      new EvalOnEpochEndCallback(
        evaluatorOf(model, () => void (++steps === at && run.trainer.stop("interrupted"))),
        testLoader(),
      ),
      new LrScheduleCallback(new Plateau({ mode: "min", patience: 0, threshold: 0.3 }), {
        monitor: "eval/loss",
      }),
      new EarlyStoppingCallback({ monitor: "eval/loss", mode: "min", patience: 9 }),
    ],
  });
  return run;
}

bits(
  "an interruption during an evaluation neither fails the run nor loses the evaluation",
  async () => {
    const whole = deciding(new MemoryFiles(), Infinity);
    await whole.trainer.loop(whole.loader, { maxEpochs: 3, signals: false });
    for (const inNewEngine of [true, false]) {
      const files = new MemoryFiles();
      const first = deciding(files, 5);
      const { epoch, stopReason } = await first.trainer.loop(first.loader, {
        maxEpochs: 3,
        signals: false,
      });
      assertEquals([epoch, stopReason], [1, "interrupted"]);
      const second = inNewEngine ? deciding(files, Infinity) : first;
      if (inNewEngine) await second.trainer.resume();
      const seen: unknown[] = [];
      for (const event of ["epochStart", "epochEnd"] as const) {
        second.trainer.on(event, ({ state }) => void seen.push([event, state.current.epoch]));
      }
      await second.trainer.loop(second.loader, { maxEpochs: 2, signals: false });
      assertEquals(seen, [["epochEnd", 2], ["epochStart", 3], ["epochEnd", 3]]);
      if (inNewEngine) assertEquals(await savedIn(second), await savedIn(whole));
    }
  },
);

bits(
  "a signal in the last step of an epoch does not lose the evaluation of the epoch",
  async () => {
    const whole = deciding(new MemoryFiles(), Infinity);
    await whole.trainer.loop(whole.loader, { maxEpochs: 3, signals: false });
    const files = new MemoryFiles();
    const first = deciding(files, Infinity);
    first.trainer.on("stepEnd", ({ engine }) => engine.stop("interrupted"), { once: 6 });
    await first.trainer.loop(first.loader, { maxEpochs: 3, signals: false });
    const second = deciding(files, Infinity);
    await second.trainer.resume();
    await second.trainer.loop(second.loader, { maxEpochs: 2, signals: false });
    assertEquals(await savedIn(second), await savedIn(whole));
  },
);

bits(
  "a resumed run ends with the best weights, although the best epoch was before it",
  async () => {
    const losses = [3, 1, 2, 4, 5];
    const make = (files: MemoryFiles) =>
      setUp(files, {
        callbacks: (model) => [
          {
            phase: "metrics",
            onEpochEnd: ({ state }) => void (state.metrics.loss = losses[state.current.epoch - 1]),
          },
          new EarlyStoppingCallback({
            monitor: "loss",
            mode: "min",
            patience: 3,
            restoreBest: keepIn(model, modelOf()),
          }),
        ],
      });
    const weights = ({ model }: ReturnType<typeof setUp>) =>
      Promise.all(Object.values(model.stateDict()).map(async (t) => [...await t.data()]));
    const whole = make(new MemoryFiles());
    const perEpoch: unknown[] = [];
    whole.trainer.on("epochEnd", async () => void perEpoch.push(await weights(whole)));
    await whole.trainer.loop(whole.loader, { maxEpochs: 5, signals: false });
    assertEquals(await weights(whole), perEpoch[1], "that of the second epoch");
    const files = new MemoryFiles();
    const first = make(files);
    await first.trainer.loop(first.loader, { maxSteps: 10, signals: false });
    const second = make(files);
    await second.trainer.resume();
    const { epoch } = await second.trainer.loop(second.loader, { maxEpochs: 2, signals: false });
    assertEquals([epoch, await weights(second)], [5, perEpoch[1]]);
  },
);

Deno.test("averages of buffers are saved with the callback that keeps them", async () => {
  const emas: ModelEma[] = [];
  const make = (files: MemoryFiles) =>
    setUp(files, {
      ema: true,
      callbacks: (model, optimizer) => {
        emas.unshift(new ModelEma(model, optimizer));
        return [new EmaCallback(emas[0]) as Callback];
      },
    });
  const files = new MemoryFiles();
  const first = make(files);
  await first.trainer.loop(first.loader, { maxSteps: 4, signals: false });
  const { tensors } = await first.store.load("last");
  const own = Object.keys(tensors).filter((name) => name.startsWith("EmaCallback"));
  assertEquals(own, [
    "EmaCallback ema.averages/2.running_mean",
    "EmaCallback ema.averages/2.running_var",
    "EmaCallback ema.averages/2.num_batches_tracked",
  ]);
  const second = make(files);
  await second.trainer.resume();
  const means = await Promise.all(
    emas.map((ema) => ema.stateDict()["2.running_mean"].to("f32").data()),
  );
  assertEquals(means.map((mean) => [...mean].map(Math.fround))[0], [...means[1]].map(Math.fround));
  assert(Math.abs(means[1][0]) > 0);
});

Deno.test("states with NaN, minus zero and long lists come back as they were", async () => {
  const long = Array.from({ length: 5000 }, (_, i) => i === 7 ? NaN : Math.sin(i));
  const value = { long, odd: [NaN, -Infinity, -0, 0], text: "NaN", none: null };
  let got: unknown = null;
  const holder: Callback = {
    name: "holder",
    onStepEnd() {},
    state: () => value,
    load: (state) => void (got = state),
  };
  const files = new MemoryFiles();
  const first = setUp(files, { callbacks: () => [holder] });
  await first.trainer.loop(first.loader, { maxSteps: 1, signals: false });
  const { tensors } = await first.store.load("last");
  assertEquals(tensors["engine/callbacks.holder.long"].shape, [5000, 2]);
  const second = setUp(files, { callbacks: () => [holder] });
  await second.trainer.resume();
  assertEquals(got, value);
  assert(Object.is((got as typeof value).odd[2], -0));
});

Deno.test("two parts whose tensors would have one name are refused", async () => {
  const { trainer, model, optimizer } = setUp(new MemoryFiles());
  const weight = model.parameters()[0];
  const parts = {
    optimizer,
    a: { stateDict: () => ({ "b/c": weight }), loadStateDict: () => {} },
    "a/b": { stateDict: () => ({ c: weight }), loadStateDict: () => {} },
  };
  await assertRejects(
    () => captureTraining({ engine: trainer, model, parts }),
    TypeError,
    'found "a/b/c" twice',
  );
});

Deno.test("the rate of a plateau is logged with its own epoch, not one late", async () => {
  const losses = [3, 3, 3];
  const run = setUp(new MemoryFiles(), {
    callbacks: () => [
      {
        phase: "metrics",
        onEpochEnd: ({ state }) => void (state.metrics.loss = losses[state.current.epoch - 1]),
      },
      new LrScheduleCallback(new Plateau({ mode: "min", patience: 0, factor: 0.5 }), {
        monitor: "loss",
      }),
    ],
  });
  const logged: number[] = [];
  run.trainer.on("epochEnd", ({ state }) => void logged.push(state.metrics.lr));
  await run.trainer.loop(run.loader, { maxEpochs: 3, signals: false });
  assertEquals(logged, [0.3, 0.3, 0.15]);
});
