/** Several metrics as one. */

import type { OutputReader, StepOutput } from "../core/engine/mod.ts";
import { showJson } from "./accumulator.ts";
import type { CollectionKey, Metrics, ReadsOf } from "./collection_names.ts";
import { type Better, betterOf, type Metric, type ValuesByName } from "./metric.ts";

/** Options of `MetricCollection`. */
export interface MetricCollectionOptions<P extends string = string> {
  /** What the names of all values start with, before a slash. @default {nothing} */
  prefix?: P;
  /** What errors and saved states call it. @default {the prefix, or else "metrics"} */
  name?: string;
}

/** One metric of a collection, with the names of its values outside and inside. */
interface Member {
  readonly label: string;
  readonly metric: Metric;
  readonly keys: ReadonlyMap<string, string>;
}

/**
 * Several metrics that are updated, computed, saved and merged as one.
 *
 * Metrics in an array keep the names of their values. In an object the names that are given there
 * take the place of the metrics' own: with `{ top1: new MultiClassAccuracy() }` the value is
 * `top1`, with `{ spam: new BinaryF1() }` the values are `spam`, `spam/precision` and
 * `spam/recall`; a value whose name does not start with that of its metric gets the given name and
 * a slash in front.
 *
 * @example Metrics of the training data
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MacroF1, MeanLoss, MetricCollection, MultiClassAccuracy } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metrics = new MetricCollection(
 *   { loss: new MeanLoss(), top1: new MultiClassAccuracy(), f1: new MacroF1({ numClasses: 2 }) },
 *   { prefix: "train" },
 * );
 * metrics.update(
 *   new SupervisedStepOutput({
 *     loss: tensor(0.5, { device }),
 *     predictions: tensor([[2, -1], [0, 1]], { device }),
 *     targets: tensor([0, 1], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals(await metrics.compute(), { "train/loss": 0.5, "train/top1": 1, "train/f1": 1 });
 * ```
 */
export class MetricCollection<
  const M extends Metrics = readonly Metric[],
  const P extends string = never,
> implements Metric<CollectionKey<M, P>>, OutputReader<ReadsOf<M>> {
  /** What errors and saved states call it. */
  readonly name: string;
  /** The names of all values. */
  readonly keys: readonly CollectionKey<M, P>[];
  /** Never there at run time: it tells the compiler what the metrics read in step outputs. */
  declare readonly reads?: ReadsOf<M>;
  /** Whether larger or smaller values are better, where all values agree; else null. */
  readonly better: Better;
  /** Whether captured steps may repeat the updates of all metrics. */
  readonly capturable: boolean;
  readonly #members: readonly Member[];

  /**
   * Makes a metric of several.
   *
   * @param metrics the metrics, under new names or under their own
   * @param options what the names of the values start with
   * @throws {Error} if two of them give a value of the same name
   * @throws {RangeError} if there is no metric
   */
  constructor(metrics: M, options: MetricCollectionOptions<P> = {}) {
    const { prefix, name = prefix ?? "metrics" } = options;
    const start = prefix === undefined ? "" : `${prefix}/`;
    const named: [string | null, Metric][] = Array.isArray(metrics)
      ? metrics.map((metric) => [null, metric])
      : Object.entries(metrics);
    if (named.length === 0) {
      throw new RangeError(
        `Cannot make metric "${name}": expected at least one metric, found none`,
      );
    }
    this.#members = named.map(([given, metric]) => ({
      label: given ?? metric.keys[0] ?? metric.name,
      metric,
      keys: new Map(
        metric.keys.map((key) => [key, `${start}${renamed(key, metric.name, given)}`]),
      ),
    }));
    this.name = name;
    const keys: string[] = this.#members.flatMap(({ keys }) => [...keys.values()]);
    this.keys = keys as CollectionKey<M, P>[];
    checkDifferent(`make metric "${name}"`, this.keys);
    const directions = new Set(
      this.#members.flatMap(({ metric }) => metric.keys.map((key) => betterOf(metric, key))),
    );
    this.better = directions.size === 1 ? [...directions][0] : null;
    this.capturable = named.every(([, metric]) => metric.capturable === true);
  }

  /** The metrics, in the order given. */
  get metrics(): readonly Metric[] {
    return this.#members.map(({ metric }) => metric);
  }

  /**
   * Whether larger or smaller values are better for one of the values.
   *
   * @throws {RangeError} if there is none of that name
   */
  betterOf(key: string): Better {
    for (const { metric, keys } of this.#members) {
      for (const [inside, outside] of keys) if (outside === key) return betterOf(metric, inside);
    }
    throw new RangeError(
      `Cannot tell which values of "${key}" are better: expected one of ${this.keys.join(", ")}`,
    );
  }

  /** Forgets everything. */
  reset(): void {
    for (const { metric } of this.#members) metric.reset();
  }

  /** Takes in the output of a step. @throws {MetricInputError} if it lacks what a metric needs */
  update(output: StepOutput): void {
    for (const { metric } of this.#members) metric.update(output);
  }

  /** The values of all metrics, read together. */
  async compute(): Promise<ValuesByName<CollectionKey<M, P>>> {
    const values = await Promise.all(this.#members.map(({ metric }) => metric.compute()));
    const named = this.#members.flatMap(({ keys }, i) =>
      Object.entries(values[i]).map(([key, value]) => [keys.get(key) ?? key, value])
    );
    return Object.fromEntries(named) as ValuesByName<CollectionKey<M, P>>;
  }

  /** The states of the metrics, by the names given or of their first values. */
  async state(): Promise<Record<string, unknown>> {
    const states = await Promise.all(this.#members.map(({ metric }) => metric.state()));
    return Object.fromEntries(this.#members.map(({ label }, i) => [label, states[i]]));
  }

  /**
   * Takes back what `state` gave.
   *
   * @throws {TypeError} if a metric's state is missing or of another kind
   */
  load(state: unknown): void {
    const saved = statesOf(`load metric "${this.name}"`, state, this.#labels());
    for (const { label, metric } of this.#members) metric.load(saved[label]);
  }

  /**
   * Takes in what the metrics of another collection have seen, each the one of the same name.
   *
   * @throws {TypeError} if it is no collection of the same metrics, or one of them cannot be merged
   */
  async merge(other: Metric): Promise<void> {
    const same = other instanceof MetricCollection &&
      String(other.#labels()) === String(this.#labels());
    if (!same) {
      throw new TypeError(
        `Cannot merge metric "${other.name}" into "${this.name}": expected a collection of ` +
          `${this.#labels().join(", ")}`,
      );
    }
    const fixed = this.#members.find(({ metric }) => metric.merge === undefined);
    if (fixed !== undefined) {
      throw new TypeError(
        `Cannot merge metric "${this.name}": expected metrics with merge(), found ` +
          `"${fixed.label}" without`,
      );
    }
    await Promise.all(
      this.#members.map(({ metric }, i) => metric.merge!(other.#members[i].metric)),
    );
  }

  #labels(): string[] {
    return this.#members.map(({ label }) => label);
  }
}

function renamed(key: string, own: string, given: string | null): string {
  if (given === null) return key;
  if (key === own || key.startsWith(`${own}/`)) return `${given}${key.slice(own.length)}`;
  return `${given}/${key}`;
}

/** Refuses a name that occurs twice. @throws {Error} naming it */
export function checkDifferent(action: string, keys: readonly string[]): void {
  const twice = keys.find((key, i) => keys.indexOf(key) < i);
  if (twice === undefined) return;
  throw new Error(
    `Cannot ${action}: expected one value of each name, found two of ` +
      `"${twice}"; give one of them another name`,
  );
}

/**
 * Saved states by name.
 *
 * @throws {TypeError} if the names are others
 */
export function statesOf(
  action: string,
  state: unknown,
  names: readonly string[],
): Readonly<Record<string, unknown>> {
  const plain = typeof state === "object" && state !== null && !Array.isArray(state);
  const saved = (plain ? state : {}) as Record<string, unknown>;
  const there = Object.keys(saved);
  if (plain && JSON.stringify([...names].sort()) === JSON.stringify(there.toSorted())) return saved;
  throw new TypeError(
    `Cannot ${action}: expected states of ${names.join(", ") || "none"}, found ${
      there.join(", ") || (plain ? "none" : showJson(state))
    }`,
  );
}
