/** Norms of gradients as training goes on. */

import type { Callback, Phase } from "./engine/callback.ts";
import type { EngineStartEvent, EpochEndEvent, StepEndEvent } from "./engine/events.ts";
import type { MetricSource } from "./engine/metric_source.ts";
import type { StepScalars } from "./engine/step_scalars.ts";
import { describeValue } from "./engine/tensor_like.ts";
import { clipGradNorm } from "./optim/clip.ts";
import { fullOn } from "./tensor/fill.ts";
import { noGrad } from "./tensor/tape.ts";
import type { Tensor } from "./tensor/tensor.ts";

/** The part of an optimizer that the norms need. */
export interface GradNormOptimizer {
  /** Its groups. */
  readonly groups: readonly { readonly params: readonly Tensor[] }[];
  /** The 2-norm that it has found itself; null where it does not look. */
  readonly gradNorm: Tensor | null;
}

/** Options of `GradNormCallback`. */
export interface GradNormOptions {
  /** Whose parameters. @default {the context's optimizer} */
  readonly optimizer?: GradNormOptimizer;
  /**
   * Beside the norm of all gradients, those of each layer or each parameter, by the model's names.
   * @default {null, none}
   */
  readonly each?: "layer" | "parameter" | null;
  /** p of the p-norm: any number above 0, or Infinity for the largest size. @default {2} */
  readonly normType?: number;
  /**
   * Whether the largest norm of the epoch becomes the metric `maxGradNorm`, so that none is missed
   * between the steps that are recorded; it costs a few kernels for each step. @default {false}
   */
  readonly epochMax?: boolean;
}

/** The metric of `GradNormCallback`. */
const METRIC = "maxGradNorm";

/**
 * Gives the norm of the gradients of each recorded step to the `TrackingCallback` of the same engine:
 * `step/gradNorm` over all of them as one vector, and with `each` also `step/gradNorm/<name>`.
 *
 * Norms are those of the update, before an optimizer's `maxGradNorm` limits them; where it does, or
 * where a loss scale is taken out, `gradNorm` is what the optimizer has found itself. Others are
 * measured after the step, also after a captured one, as `clipGradNorm` does, of the gradients as
 * they lie in memory: with a loss scale in them, and clipped where the step has clipped them by
 * itself. Values stay on the device until they are read with all others. In the midst of a window of a
 * `GradientAccumulator` they are those of the sums so far.
 *
 * @example The norms of a run, and its largest one in each epoch
 * ```ts
 * import { Context, Engine, GradNormCallback, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { readRun, run, TrackingCallback } from "@legoml/legoml/track";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([3, 4], { device, requiresGrad: true });
 * const optimizer = new SGD([x], { lr: 0.25 });
 * const step = () => {
 *   optimizer.zeroGrad();
 *   x.square().sum().backward(); // the gradient is 2x
 *   optimizer.step(); // which halves x
 * };
 * const dir = await run({ dir: await Deno.makeTempDir() }, async (session) => {
 *   const engine = new Engine(step, new Context({ model: null, optimizer, device }), {
 *     callbacks: [
 *       new GradNormCallback({ epochMax: true }),
 *       new TrackingCallback(session, { every: 2 }),
 *     ],
 *   });
 *   const { metrics } = await engine.loop([0, 0]);
 *   assertAlmostEquals(metrics.maxGradNorm!, 10);
 *   return session.dir;
 * });
 * const [row] = readRun(dir).scalars;
 * assertAlmostEquals(row.value!, 5);
 * ```
 */
export class GradNormCallback implements Callback, StepScalars, MetricSource<"maxGradNorm"> {
  /** How errors, plans and saved states call it. */
  readonly name: string = "GradNormCallback";
  /** Before whoever records. */
  readonly phase: Phase = "metrics";
  /** "maxGradNorm", where it is asked for. */
  readonly metricKeys: readonly "maxGradNorm"[];
  readonly #options: GradNormOptions;
  #optimizer: GradNormOptimizer | null = null;
  #parts: readonly (readonly [string, readonly Tensor[]])[] = [];
  #max: Tensor | null = null;
  #loaded = 0;

  /**
   * Makes the callback.
   *
   * @param options whose gradients, which norms
   * @throws {RangeError} if `normType` is no number above 0, or `each` is none of its words
   */
  constructor(options: GradNormOptions = {}) {
    const { normType = 2, each = null, epochMax = false } = options;
    if (!(normType > 0)) {
      throw new RangeError(
        `Cannot follow norms of gradients: expected normType to be a number above 0, found ${normType}`,
      );
    }
    if (each !== null && each !== "layer" && each !== "parameter") {
      throw new RangeError(
        `Cannot follow norms of gradients: expected each to be "layer", "parameter" or null, found ` +
          `${JSON.stringify(each)}`,
      );
    }
    this.#options = { ...options, normType, each, epochMax };
    this.metricKeys = epochMax ? [METRIC] : [];
  }

  /** Smaller norms are no better than larger ones. */
  betterOf(_key: string): null {
    return null;
  }

  /**
   * Finds the optimizer and the names of its parameters.
   *
   * @throws {TypeError} if there is no optimizer
   */
  onEngineStart({ context, state }: EngineStartEvent): void {
    const optimizer = this.#options.optimizer ?? context.optimizer;
    if (!isOptimizer(optimizer)) {
      throw new TypeError(
        `Cannot follow norms of gradients: expected an optimizer with groups in the context, found ${
          describeValue(optimizer)
        }`,
      );
    }
    this.#optimizer = optimizer;
    this.#parts = partsOf(optimizer, context.model, this.#options.each!);
    state.claimMetrics(this, this.metricKeys);
    if (this.#options.epochMax) this.#max ??= maximumOn(optimizer, this.#loaded);
  }

  /** Takes the norm into the largest of the epoch. */
  onStepEnd(): void {
    if (this.#max === null) return;
    using _ = noGrad();
    this.#max.copy_(this.#max.maximum(this.#total()));
  }

  /** Writes the largest norm of the epoch. */
  async onEpochEnd({ state, complete }: EpochEndEvent): Promise<void> {
    if (this.#max === null) return;
    state.metrics[METRIC] = await this.#max.item();
    if (complete) noGrad(() => void this.#max!.fill_(0));
  }

  /** The norms of the step. */
  stepScalars(_event: StepEndEvent): Record<string, Tensor> {
    const parts = this.#parts.filter(([, params]) => params.some(({ grad }) => grad !== null));
    const named = parts.map(([name, params]) => [`gradNorm/${name}`, this.#measure(params)]);
    return { gradNorm: this.#total(), ...Object.fromEntries(named) };
  }

  /** The largest norm of the epoch so far; null where it is not followed. */
  async state(): Promise<unknown> {
    const max = await this.#max?.item() ?? null;
    return { max: max === null || Number.isFinite(max) ? max : String(max) };
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  load(state: unknown): void {
    const { max } = (state ?? {}) as { max?: unknown };
    const value = max === null ? 0 : typeof max === "string" ? Number(max) : max;
    if (typeof value !== "number") {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected max to be a number or null, found ${
          JSON.stringify(state)
        }`,
      );
    }
    this.#loaded = value;
    noGrad(() => void this.#max?.fill_(value));
  }

  /** The norm of all gradients; the optimizer's own where it has one of this kind. */
  #total(): Tensor {
    const optimizer = this.#optimizer!;
    const own = this.#options.normType === 2 ? optimizer.gradNorm : null;
    return own ?? this.#measure(optimizer.groups.flatMap(({ params }) => params));
  }

  #measure(params: readonly Tensor[]): Tensor {
    return clipGradNorm(params, Infinity, { normType: this.#options.normType });
  }
}

function isOptimizer(value: unknown): value is GradNormOptimizer {
  const { groups } = (value ?? {}) as { groups?: unknown };
  return Array.isArray(groups) && groups.length > 0 && Array.isArray(groups[0]?.params);
}

/** The parameters of each part whose norm is taken, by name. */
function partsOf(
  { groups }: GradNormOptimizer,
  model: unknown,
  each: "layer" | "parameter" | null,
): [string, Tensor[]][] {
  if (each === null) return [];
  const own = new Set(groups.flatMap(({ params }) => params));
  const named = namesIn(model).filter(([, tensor]) => own.has(tensor));
  const known = new Set(named.map(([, tensor]) => tensor));
  const others = [...own].filter((tensor) => !known.has(tensor));
  const all = [...named, ...others.map((tensor, i) => [`other.${i}`, tensor] as const)];
  const partOf = (name: string) =>
    each === "parameter" ? name : name.split(".").slice(0, -1).join(".") || "model";
  const parts = Map.groupBy(all, ([name]) => partOf(name));
  return [...parts].map(([name, entries]) => [name, entries.map(([, tensor]) => tensor)]);
}

function namesIn(model: unknown): readonly (readonly [string, Tensor])[] {
  const { namedParameters } = (model ?? {}) as { namedParameters?: unknown };
  return typeof namedParameters === "function" ? namedParameters.call(model) : [];
}

function maximumOn({ groups }: GradNormOptimizer, value: number): Tensor {
  return fullOn(groups[0].params[0].device, [], "f32", value).keep();
}
