/** What metrics that consist of accumulators have in common. */

import { currentCapture } from "../core/backend/capture.ts";
import type { KnownFields, OutputReader, StepOutput } from "../core/engine/mod.ts";
import {
  type Accumulator,
  numbersOf,
  savedNumbers,
  type SavedSum,
  showJson,
} from "./accumulator.ts";
import type { Better, Metric, ValuesByName } from "./metric.ts";

/** What a `DeviceMetric` is made of. */
export interface MetricParts<K extends string = string> {
  /** What it gathers, in the order in which it is saved; only the last one may grow. */
  readonly parts: readonly Accumulator[];
  /** The names of the values. @default {the name of the metric alone} */
  readonly keys?: readonly K[];
  /** Whether larger or smaller values are better. @default {"up"} */
  readonly better?: Better;
  /** Whether captured steps may repeat updates. @default {true} */
  readonly capturable?: boolean;
  /** What must be the same in metrics that are merged. @default {nothing} */
  readonly options?: Readonly<Record<string, unknown>>;
}

/**
 * Base of the metrics: resets, saves, loads and merges the accumulators that a metric consists of,
 * so that a class only says how a step changes them and which values they give.
 *
 * `N` is the type of the metric's name, `K` that of the names of its values, by default the name
 * alone, and `F` that of the names of what it reads in step outputs; an engine whose steps return
 * none of such a name then does not take the metric.
 *
 * @example The largest number of samples in a step, and how many there were
 * ```ts
 * import { DictStepOutput, type StepOutput } from "@legoml/legoml/core";
 * import { DeviceMetric, HostSum } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * class Samples extends DeviceMetric<"samples"> {
 *   #count: HostSum;
 *   constructor() {
 *     const count = new HostSum();
 *     super("samples", { parts: [count], better: null });
 *     this.#count = count;
 *   }
 *   update(output: StepOutput): void {
 *     this.#count.add(output.size);
 *   }
 *   async compute(): Promise<Record<"samples", number>> {
 *     return this.values((await this.read())[0][0]);
 *   }
 * }
 *
 * const [here, there] = [new Samples(), new Samples()];
 * here.update(new DictStepOutput({ count: 3 }));
 * there.update(new DictStepOutput({ count: 4 }));
 * await here.merge(there);
 * assertEquals((await here.compute()).samples, 7);
 * ```
 */
export abstract class DeviceMetric<
  N extends string = string,
  K extends string = N,
  F extends string = string,
> implements Metric<K>, OutputReader<F> {
  // NoInfer: in an array of metrics, `new MeanLoss()` would else be one of any name.
  /** What errors and saved states call it, and what the names of its values start with. */
  readonly name: NoInfer<N>;
  /** The names of the values that `compute` gives. */
  readonly keys: readonly NoInfer<K>[];
  /** Never there at run time: it tells the compiler what the metric reads in step outputs. */
  declare readonly reads?: KnownFields<NoInfer<F>>;
  /** Whether larger or smaller values are better. */
  readonly better: Better;
  /** Whether captured steps may repeat updates. */
  readonly capturable: boolean;
  readonly #parts: readonly Accumulator[];
  readonly #options: string;

  /**
   * Makes the metric, without samples.
   *
   * @param name what errors and saved states call it
   * @param parts accumulators, names of values and more
   */
  constructor(name: N, parts: MetricParts<K>) {
    this.name = name;
    this.keys = parts.keys ?? [name as string as K];
    this.better = parts.better === undefined ? "up" : parts.better;
    this.capturable = parts.capturable ?? true;
    this.#parts = parts.parts;
    this.#options = JSON.stringify(parts.options ?? {});
  }

  /** Takes in the output of a step. */
  abstract update(output: StepOutput): void;

  /** The values so far, by name. */
  abstract compute(): Promise<ValuesByName<K>>;

  /** Forgets everything. @throws {CaptureError} inside a captured step */
  reset(): void {
    this.#outside("reset");
    for (const part of this.#parts) part.reset();
  }

  /** What must be saved to continue later, as JSON values. */
  async state(): Promise<SavedSum> {
    return (await this.read()).flatMap((values) => savedNumbers(values));
  }

  /**
   * Takes back what `state` gave.
   *
   * @throws {TypeError} if it is something else, or of a metric with other options
   * @throws {CaptureError} inside a captured step
   */
  load(state: unknown): void {
    this.#outside("load");
    const values = numbersOf(state);
    const parts = values === null ? null : this.#split(values);
    if (parts === null || !this.#parts.every((part, i) => part.accepts(parts[i]))) {
      const fixed = this.#parts.reduce((sum, { length }) => sum + (length ?? 0), 0);
      const grows = this.#parts.some(({ length }) => length === null);
      throw new TypeError(
        `Cannot load metric "${this.name}": expected ${grows ? "rows of" : fixed} numbers as ` +
          `state() gives them, found ${showJson(state)}`,
      );
    }
    this.#parts.forEach((part, i) => part.load(parts[i]));
  }

  /**
   * Takes in what another metric has seen.
   *
   * @param other a metric of the same class and options; it stays as it is
   * @throws {TypeError} if it is something else
   * @throws {CaptureError} inside a captured step
   */
  async merge(other: Metric): Promise<void> {
    this.#outside("merge");
    if (
      !(other instanceof DeviceMetric) || other.constructor !== this.constructor ||
      other.#options !== this.#options || other.#parts.length !== this.#parts.length
    ) {
      const of = (metric: Metric) =>
        `${metric.constructor.name} ${metric instanceof DeviceMetric ? metric.#options : ""}`;
      throw new TypeError(
        `Cannot merge metric "${other.name}" into "${this.name}": expected the same class and ` +
          `options (${of(this).trim()}), found ${of(other).trim()}`,
      );
    }
    const values = await other.read();
    this.#parts.forEach((part, i) => part.absorb(values[i]));
  }

  /** Numbers by the names of the values, in the order of `keys`. */
  protected values(...numbers: readonly number[]): ValuesByName<K> {
    const named = this.keys.map((key, i) => [key, numbers[i]]);
    return Object.fromEntries(named) as ValuesByName<K>;
  }

  /** The numbers of all accumulators, of one moment. */
  protected read(): Promise<ArrayLike<number>[]> {
    return Promise.all(this.#parts.map((part) => part.read()));
  }

  #split(values: readonly number[]): number[][] | null {
    let at = 0;
    const parts = this.#parts.map(({ length }) =>
      values.slice(at, at += length ?? values.length - at)
    );
    const fits = at === values.length &&
      parts.every((part, i) => part.length === (this.#parts[i].length ?? part.length));
    return fits ? parts : null;
  }

  #outside(action: string): void {
    const reason = "its counts live on between steps; do it outside";
    currentCapture()?.refuse(`${action} metric "${this.name}"`, reason);
  }
}
