/** Who writes which metrics, and which of their values are better. */

/**
 * Something that writes metrics into an engine's state, and says so: a callback, or an evaluator.
 *
 * `K` is the type of the names, as far as the compiler knows them. An engine joins those of its
 * callbacks, so that it knows what `state.metrics` holds, what can be monitored, and in which
 * direction it gets better.
 *
 * @example A callback that measures something of its own
 * ```ts
 * import { type Callback, Context, Engine, type MetricSource } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const speed: Callback & MetricSource<"speed"> = {
 *   phase: "metrics",
 *   metricKeys: ["speed"],
 *   betterOf: () => "up",
 *   onEpochEnd({ state }) {
 *     state.metrics.speed = 10 * state.epoch;
 *   },
 * };
 * const engine = new Engine(() => {}, new Context({ model: null }), { callbacks: [speed] });
 * engine.earlyStop({ monitor: "speed" }); // any other name does not compile
 * const { metrics } = await engine.loop([0], { maxEpochs: 2 });
 * assertEquals([metrics.speed, engine.betterOf("speed")], [20, "up"]);
 * ```
 */
export interface MetricSource<K extends string = string> {
  /** The names in `state.metrics` that it writes. */
  readonly metricKeys: readonly K[];
  /**
   * Whether larger values are better ("up"), smaller ones ("down"), or neither; null also for a
   * name that it does not write.
   */
  betterOf(key: string): "up" | "down" | null;
}

/**
 * `K` where all names are known, else `string`: where there are none, or some of them follow a
 * pattern such as `f1/${string}`.
 */
export type KnownMetrics<K extends string> = [K] extends [never] ? string
  : K extends unknown ? Record<never, 1> extends Record<K, 1> ? string : K
  : never;

/**
 * What `state.metrics` holds: any number by any name, or, where all names are known, numbers by
 * these. Each may be absent, since an epoch may not have ended yet, or had no evaluation.
 */
export type MetricValues<K extends string = string> = string extends KnownMetrics<K>
  ? Record<string, number>
  : { [P in K]?: number };

/** The names that can be monitored: any, where none is known. */
export type MonitorName<K extends string> = [K] extends [never] ? string : K;

/** Names behind a prefix and a slash; any name behind them, where none is known. */
export type PrefixedName<P extends string, K extends string> = [K] extends [never]
  ? `${P}/${string}`
  : `${P}/${K}`;

/** Whether an object is a metric source. */
export function isMetricSource(object: object): object is MetricSource {
  const { metricKeys, betterOf } = object as Partial<MetricSource>;
  return Array.isArray(metricKeys) && typeof betterOf === "function";
}

/** The names of all sources among some objects; each one once. */
export function metricKeysOf(objects: readonly object[]): string[] {
  return [...new Set(objects.filter(isMetricSource).flatMap(({ metricKeys }) => metricKeys))];
}

/** The direction of a metric according to the first source that writes it, or null. */
export function betterAmong(objects: readonly object[], key: string): "up" | "down" | null {
  const sources = objects.filter(isMetricSource);
  return sources.find(({ metricKeys }) => metricKeys.includes(key))?.betterOf(key) ?? null;
}

/**
 * Whether smaller or larger values of a metric are better, as an engine's callbacks say.
 *
 * @param engine whose callbacks are asked
 * @param monitor the name of the metric
 * @param action what cannot be done otherwise, for the error
 * @throws {RangeError} if no callback says it
 */
export function modeIn(engine: MetricSource, monitor: string, action: string): "min" | "max" {
  const better = engine.betterOf(monitor);
  if (better !== null) return better === "up" ? "max" : "min";
  const known = engine.metricKeys.filter((key) => engine.betterOf(key) !== null);
  throw new RangeError(
    `Cannot ${action}: expected a callback of the engine to say which values of "${monitor}" are ` +
      `better, found it said only of ${known.join(", ") || "no metric"}; mode says it`,
  );
}

/**
 * Refuses to follow a metric in the wrong direction.
 *
 * @param engine whose callbacks are asked which values are better; where none says it, all is well
 * @param monitor the name of the metric
 * @param mode what shall count as better
 * @throws {RangeError} if the callback that writes the metric says the opposite
 */
export function checkMode(engine: MetricSource, monitor: string, mode: "min" | "max"): void {
  const better = engine.betterOf(monitor);
  if (better === null || (better === "up") === (mode === "max")) return;
  throw new RangeError(
    `Cannot follow "${monitor}": expected mode "${mode === "max" ? "min" : "max"}", since its ` +
      `${better === "up" ? "larger" : "smaller"} values are better, found "${mode}"`,
  );
}
