/**
 * Metrics: numbers about many steps, kept on the device until an epoch ends.
 *
 * @example Make a metric of one's own: the largest loss
 * ```ts
 * import { Context, Engine, type StepOutput } from "@legoml/legoml/core";
 * import { type Metric, MetricsCallback } from "@legoml/legoml/metrics";
 *
 * class Largest implements Metric {
 *   readonly name = "largest";
 *   readonly keys = ["largest"];
 *   readonly better = "down";
 *   #value = -Infinity;
 *   reset(): void {
 *     this.#value = -Infinity;
 *   }
 *   update(output: StepOutput): void {
 *     this.#value = Math.max(this.#value, output.get("loss") as number);
 *   }
 *   compute(): Record<string, number> {
 *     return { largest: this.#value };
 *   }
 *   state(): number {
 *     return this.#value;
 *   }
 *   load(state: unknown): void {
 *     this.#value = state as number;
 *   }
 * }
 *
 * const engine = new Engine((_engine, loss: number) => ({ loss }), new Context({ model: null }), {
 *   callbacks: [new MetricsCallback([new Largest()])],
 * });
 * const { metrics } = await engine.loop([1, 3, 2]);
 * console.assert(metrics.largest === 3);
 * ```
 *
 * @module
 */

export { BinaryAccuracy, MultiClassAccuracy, type MultiClassAccuracyOptions } from "./accuracy.ts";
export { MetricsCallback } from "./callback.ts";
export type { SavedSum } from "./device_sum.ts";
export { BinaryF1, MacroF1, type MacroF1Options } from "./f1.ts";
export type { BinaryOptions } from "./labels.ts";
export { MeanLoss, type MeanLossOptions } from "./mean_loss.ts";
export { type Metric, MetricInputError } from "./metric.ts";
