/** A training run with a fixed clock, whose display tests look at. */

import {
  type Callback,
  Context,
  Engine,
  type EngineStateJson,
  type LoopOptions,
  type MetricSource,
  ProgressBarCallback,
  type ProgressBarOptions,
} from "../../../../core/engine/mod.ts";
import { FakeDevice } from "../fakes.ts";

export interface Show extends Omit<ProgressBarOptions, "now" | "write" | "loss"> {
  /** Takes the text. */
  write?: (text: string) => void;
  /** What a step takes. */
  stepMs?: number;
  /** The loss of each step. */
  loss?: (step: number) => number;
  /** Metrics of the evaluation at the end of each epoch. */
  evaluation?: (epoch: number) => Record<string, number>;
  /** Whether the loader tells its length. */
  known?: boolean;
  /** Completed counts of a run that is resumed. */
  from?: Partial<EngineStateJson>;
  loop?: LoopOptions;
  /** Called before each step. */
  onStep?: (step: number, engine: Engine) => void;
  /** What the context's optimizer is. */
  optimizer?: unknown;
}

/** What was written in a run of ten steps of 64 samples an epoch, and how often a loss was read. */
export async function show(options: Show): Promise<{ text: string[]; reads: number }> {
  const {
    stepMs = 250,
    loss: lossOf = () => 0.5,
    known = true,
    evaluation,
    from,
    loop,
    onStep,
    optimizer,
    ...own
  } = options;
  let clock = 0;
  let reads = 0;
  const text: string[] = [];
  const write = (part: string) => {
    text.push(part);
    options.write?.(part);
  };
  const bar = new ProgressBarCallback({ ...own, write, now: () => clock });
  const device = new FakeDevice();
  const engine = new Engine(
    (engine, _b: number): object => {
      onStep?.(engine.state.globalStep + 1, engine as Engine);
      clock += stepMs;
      const loss = device.make(lossOf(engine.state.globalStep + 1));
      const { item } = loss;
      loss.item = () => {
        reads++;
        return item.call(loss);
      };
      return { loss, count: 64 };
    },
    new Context({ model: null, device, optimizer }),
    { callbacks: [...evaluation === undefined ? [] : [evaluationOf(evaluation)], bar] },
  );
  // The state's own clock is that of the machine; a twentieth of the time went by without a batch.
  Object.defineProperties(engine.state, {
    loopSeconds: { get: () => clock / 1000 },
    waitSeconds: { get: () => clock / 20_000, set: () => {} },
  });
  if (from !== undefined) {
    const zero = { epoch: 0, globalStep: 0, localStep: 0, samples: 0, backwards: 0, metrics: {} };
    engine.state.restore({ ...zero, ...from });
  }
  await engine.loop(known ? Array(10).fill(0) : batches, loop);
  return { text, reads };
}

const batches = {
  *[Symbol.iterator]() {
    for (let i = 0; i < 10; i++) yield i;
  },
};

function evaluationOf(
  metricsOf: (epoch: number) => Record<string, number>,
): Callback & MetricSource {
  let written: string[] = [];
  return {
    name: "evaluation",
    phase: "evaluate",
    metricKeys: ["test/loss", "test/accuracy", "accuracy"],
    betterOf: (key) => key.endsWith("accuracy") ? "up" : key.endsWith("loss") ? "down" : null,
    onEpochStart: ({ state }) => written.forEach((key) => delete state.metrics[key]),
    onEpochEnd({ state }) {
      const metrics = metricsOf(state.current.epoch);
      written = Object.keys(metrics);
      Object.assign(state.metrics, metrics);
    },
  };
}
