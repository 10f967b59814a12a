/** Binds metrics to the events of an engine. */

import type {
  Callback,
  EngineEvent,
  EpochEndEvent,
  KnownFields,
  MetricSource,
  OutputReader,
  Phase,
  StepEndEvent,
  StepOutput,
} from "../core/engine/mod.ts";
import { jit, type Jitted } from "../core/mod.ts";
import { checkDifferent, MetricCollection, statesOf } from "./collection.ts";
import { type Better, betterOf, type Metric } from "./metric.ts";

/**
 * Resets metrics when an epoch starts, updates them after each step, and writes their values into
 * `state.metrics` when the epoch ends, also a partial one.
 *
 * Values of other writers stay. All metrics are read together, which waits for the device once.
 *
 * `K` are the names of the values, which the engine's type takes over, and `F` those of what the
 * metrics read: an engine whose steps return none of such a name does not take the callback.
 *
 * @example Accuracy and mean loss of an epoch
 * ```ts
 * import { Context, Engine, referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MeanLoss, MetricsCallback, MultiClassAccuracy } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const evaluator = new Engine(
 *   (_engine, label: number) =>
 *     new SupervisedStepOutput({
 *       loss: tensor(label, { device }),
 *       predictions: tensor([[1, 0]], { device }),
 *       targets: tensor([label], { dtype: "i32", device }),
 *     }),
 *   new Context({ model: null, device }),
 *   { callbacks: [new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()])] },
 * );
 * const { metrics } = await evaluator.loop([0, 0, 0, 1]);
 * assertEquals([metrics.accuracy, metrics.loss], [0.75, 0.25]);
 * ```
 */
export class MetricsCallback<
  K extends string = string,
  F extends string = string,
> implements Callback, MetricSource<K>, OutputReader<F> {
  /** How errors, plans and saved states call it. */
  readonly name: string = "MetricsCallback";
  /** First, so that every other handler finds the values. */
  readonly phase: Phase = "metrics";
  /** The names of all values. */
  readonly metricKeys: readonly K[];
  /** Never there at run time: it tells the compiler what the metrics read in step outputs. */
  declare readonly reads?: KnownFields<F>;
  #metrics: readonly Metric[];
  /** Those whose updates cannot be captured. */
  #others: readonly Metric[];
  #anyCaptured: boolean;
  #captured: Jitted<[StepOutput], void>;

  /**
   * Makes the callback.
   *
   * @param metrics what to keep up to date
   * @throws {Error} if two of them give a value of the same name
   */
  constructor(metrics: readonly (Metric<K> & OutputReader<F>)[]) {
    this.metricKeys = metrics.flatMap((metric) => metric.keys);
    checkDifferent("use these metrics together", this.metricKeys);
    this.#metrics = [...metrics];
    const single = this.#metrics.flatMap(membersOf);
    const capturable = single.filter((metric) => metric.capturable);
    this.#others = single.filter((metric) => !metric.capturable);
    this.#anyCaptured = capturable.length > 0;
    this.#captured = jit((output: StepOutput) => {
      for (const metric of capturable) metric.update(output);
    });
  }

  /** The metrics, in the order given. */
  get metrics(): readonly Metric[] {
    return this.#metrics;
  }

  /** Whether larger or smaller values are better; null also for a name that is none of its own. */
  betterOf(key: string): Better {
    const metric = this.#metrics.find(({ keys }) => keys.includes(key));
    return metric === undefined ? null : betterOf(metric, key);
  }

  /** Reserves the names of the values. @throws {Error} if another callback writes one of them */
  onEngineStart({ state }: EngineEvent): void {
    state.claimMetrics(this, this.metricKeys);
  }

  /** Resets the metrics. */
  onEpochStart(): void {
    for (const metric of this.#metrics) metric.reset();
  }

  /** Updates the metrics. */
  onStepEnd({ output }: StepEndEvent): void {
    // Without a tensor there is no device work to capture.
    const captures = this.#anyCaptured && output.tensors().length > 0;
    if (captures) this.#captured(output);
    for (const metric of captures ? this.#others : this.#metrics) metric.update(output);
  }

  /** Reads the metrics and writes their values. */
  async onEpochEnd({ state }: EpochEndEvent): Promise<void> {
    const values = await Promise.all(this.#metrics.map((metric) => metric.compute()));
    for (const record of values) {
      state.claimMetrics(this, Object.keys(record));
      Object.assign(state.metrics, record);
    }
  }

  /** Gives the memory of captured updates back. */
  onEngineEnd(): void {
    this.#captured.reset();
  }

  /** The states of the metrics, by name of their first value. */
  async state(): Promise<Record<string, unknown>> {
    const states = await Promise.all(this.#metrics.map((metric) => metric.state()));
    return Object.fromEntries(this.#metrics.map((metric, i) => [metric.keys[0], states[i]]));
  }

  /**
   * Takes back what `state` gave.
   *
   * @throws {TypeError} if a metric's state is missing or of another kind
   */
  load(state: unknown): void {
    const names = this.#metrics.map((metric) => metric.keys[0]);
    const saved = statesOf("load metrics", state ?? {}, names);
    for (const metric of this.#metrics) metric.load(saved[metric.keys[0]]);
  }
}

/** The metrics of a collection, and of those in it; another metric alone. */
function membersOf(metric: Metric): Metric[] {
  return metric instanceof MetricCollection ? metric.metrics.flatMap(membersOf) : [metric];
}
