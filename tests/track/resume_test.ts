import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  AdamW,
  Context,
  type Device,
  Engine,
  GradientAccumulator,
  LrScheduleCallback,
  manualSeed,
  schedule,
  SGD,
  supervisedStep,
  type Tensor,
} from "../../core/mod.ts";
import { DataLoader, digits } from "../../data/mod.ts";
import { MeanLoss, MetricsCallback, MultiClassAccuracy, RunningMean } from "../../metrics/mod.ts";
import {
  BatchNorm1d,
  crossEntropy,
  Dropout,
  type DropPath,
  Flatten,
  Linear,
  ReLU,
  ResidualAdd,
  Sequential,
} from "../../nn/mod.ts";
import {
  captureTraining,
  CheckpointCallback,
  CheckpointStore,
  restoreTraining,
} from "../../track/mod.ts";
import { f32Devices, reference } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";

const images = digits({ split: "train", count: 44, seed: 1 });
const EPOCHS = 3;
/** Batches of 8 of 44 images: the last of an epoch is ragged. */
const STEPS = 6 * EPOCHS;

interface Options {
  readonly accumulate?: boolean;
  readonly momentum?: boolean;
}

/** A training run made anew: as much as can go wrong when it is resumed. */
function setUp(device: Device, store: CheckpointStore, { accumulate, momentum }: Options = {}) {
  manualSeed(7);
  const block = new Sequential(new Linear(12, 12, { device }), new ReLU());
  const model = new Sequential(
    new Flatten(),
    new Linear(784, 12, { device }),
    new BatchNorm1d(12, { device }),
    new Dropout(0.25),
    new ResidualAdd({ block, dropPath: 0.3 }),
    new Linear(12, 10, { device }),
  );
  const controls = { maxGradNorm: 1, ema: { decay: 0.9, warmup: true }, skipNonFinite: true };
  const optimizer = momentum
    ? new SGD(model.parameters(), { lr: 0.1, momentum: 0.9, ...controls })
    : new AdamW(model.parameters(), { lr: 0.02, weightDecay: 0.1, ...controls });
  const loader = new DataLoader(images, { batchSize: 8, shuffle: true, seed: 3, device });
  const accumulator = accumulate ? new GradientAccumulator(optimizer as AdamW, { every: 4 }) : null;
  const checkpoints = new CheckpointCallback(store, {
    parts: { loader, ...(accumulator && { accumulator }) },
    everySteps: 1,
    everyEpochs: null,
  });
  const trainer = new Engine(
    supervisedStep({ accumulator }),
    new Context({ model, optimizer, lossFn: crossEntropy, device }),
    {
      callbacks: [
        new MetricsCallback([
          new MultiClassAccuracy(),
          new MeanLoss(),
          new RunningMean({ field: "loss", name: "mean" }),
        ]),
        new LrScheduleCallback(schedule.cosine({ tMax: STEPS })),
        checkpoints,
      ],
    },
  );
  const parts = { engine: trainer, model, parts: { optimizer, loader } };
  return { model, optimizer, trainer, loader, checkpoints, parts };
}

function memoryStore(files = new MemoryFiles()) {
  return new CheckpointStore("/run/checkpoints", { files, last: 100 });
}

/** All that a checkpoint holds, but for the time at which it was saved. */
async function contentOf(store: CheckpointStore, which: "last" | number) {
  const { tensors, state, entry } = await store.load(which);
  return { tensors, state, step: entry.step, epoch: entry.epoch, metrics: entry.metrics };
}

for (const device of f32Devices) {
  for (const options of [{}, { accumulate: true }, { momentum: true }] as Options[]) {
    const name = Object.keys(options).join() || "plain";
    Deno.test(`a run resumed after any step ends with the bits of one that never stopped (${name}, ${device.kind})`, async () => {
      const whole = memoryStore();
      const { trainer, loader } = setUp(device, whole, options);
      await trainer.loop(loader, { maxEpochs: EPOCHS, signals: false });
      const want = await contentOf(whole, "last");
      assertEquals(want.step, STEPS);
      const wanted = JSON.stringify(want, spelled);
      const cuts = device.kind === "cpu" ? range(1, STEPS) : [1, 5, 6, 7, 11, 16];
      for (const cut of cuts) {
        const store = memoryStore();
        const first = setUp(device, store, options);
        await first.trainer.loop(first.loader, {
          maxSteps: cut,
          maxEpochs: EPOCHS,
          signals: false,
        });
        manualSeed(1000 + cut);
        const second = setUp(device, store, options);
        manualSeed(99);
        assertEquals((await second.checkpoints.resume(second.trainer))?.step, cut);
        const { epoch } = second.trainer.state;
        await second.trainer.loop(second.loader, { maxEpochs: EPOCHS - epoch, signals: false });
        const got = await contentOf(store, "last");
        assertEquals(JSON.stringify(got, spelled), wanted, `after step ${cut}`);
      }
    });
  }
}

/** Typed arrays as lists, for a comparison of all bits. */
function spelled(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) ? [...new Uint8Array(value.buffer)].join() : value;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

Deno.test("the test of resumption fails where a part is not put back", async () => {
  const device = reference;
  const cut = 8;
  /** The weights at the end of a run that was resumed, with something spoilt. */
  const endOf = async (spoil: (run: ReturnType<typeof setUp>) => void | Promise<void>) => {
    const store = memoryStore();
    const first = setUp(device, store);
    await first.trainer.loop(first.loader, { maxSteps: cut, maxEpochs: EPOCHS, signals: false });
    const second = setUp(device, store);
    await second.checkpoints.resume(second.trainer);
    await spoil(second);
    await second.trainer.loop(second.loader, { maxEpochs: EPOCHS - 1, signals: false });
    return JSON.stringify(await second.model.parameters()[0].array());
  };
  const want = await endOf(() => {});
  const spoilt: Record<string, (run: ReturnType<typeof setUp>) => void | Promise<void>> = {
    "the place in the data": ({ loader }) => loader.load({ epoch: 1, position: 3 }),
    "the order of the data": ({ loader }) => loader.load({ epoch: 2, position: 2 }),
    "draws of dropout": ({ model }) => void ((model.at(3) as Dropout).position = 0),
    "draws of depth": ({ model }) => {
      ((model.at(4) as ResidualAdd).dropPath as DropPath).position = 3;
    },
    "slots of the optimizer": ({ optimizer }) => {
      const { state, param_groups } = optimizer.stateDict();
      const empty = Object.fromEntries(
        Object.entries(state).map(([n, { step, exp_avg, ema }]) => [n, {
          step,
          exp_avg,
          ema,
          exp_avg_sq: (exp_avg as Tensor).mul(0),
        }]),
      );
      optimizer.loadStateDict({ state: empty, param_groups });
    },
    "counters of the engine": ({ trainer }) => void (trainer.state.globalStep = 3),
  };
  for (const [name, spoil] of Object.entries(spoilt)) {
    assertNotEquals(await endOf(spoil), want, name);
  }
});

Deno.test("an epoch that is resumed in its middle starts once and ends once", async () => {
  const store = memoryStore();
  const first = setUp(reference, store);
  await first.trainer.loop(first.loader, { maxSteps: 8, maxEpochs: EPOCHS, signals: false });
  const { trainer, loader, checkpoints } = setUp(reference, store);
  const seen: string[] = [];
  trainer.on("epochStart", ({ state }) => void seen.push(`start ${state.current.epoch}`));
  trainer.on("epochEnd", ({ state, complete }) => {
    seen.push(`end ${state.current.epoch} after ${state.localStep}, ${complete}`);
  });
  await checkpoints.resume(trainer);
  await trainer.loop(loader, { maxEpochs: 2, signals: false });
  assertEquals(seen, ["end 2 after 6, true", "start 3", "end 3 after 6, true"]);
});

Deno.test("resuming refuses a checkpoint of other parts, and says which", async () => {
  const store = memoryStore();
  const { trainer, loader, parts, model } = setUp(reference, store);
  await trainer.loop(loader, { maxSteps: 2, signals: false });
  const saved = await store.load("last");
  await assertRejects(
    () => restoreTraining({ ...parts, parts: {} }, saved),
    TypeError,
    "expected the parts none, found those of loader, optimizer",
  );
  const other = Object.assign(new Sequential({ a: new Linear(2, 2, { device: reference }) }));
  await assertRejects(
    () => restoreTraining({ ...parts, model: other }, saved),
    TypeError,
    "layers that draw",
  );
  await assertRejects(
    () => restoreTraining(parts, { ...saved, state: { step: 3 } }),
    TypeError,
    "expected the state of a training run",
  );
  await assertRejects(
    () => captureTraining({ engine: trainer, model, parts: { clock: {} as never } }),
    TypeError,
    'Cannot save part "clock"',
  );
  assert((await memoryStore().load("last").catch((e) => e)) instanceof Error);
});
