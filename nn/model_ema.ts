/** Moving averages of a whole model: parameters by its optimizer, buffers here. */

import { currentCapture, effect, uncaptured } from "../core/backend/capture.ts";
import { noGrad, type ParameterAverages, type Tensor, zeros, zerosLike } from "../core/mod.ts";
import { copyInto } from "../core/tensor/in_place.ts";
import { denseOperand } from "../core/tensor/launch.ts";
import { contiguousStrides } from "../core/tensor/shape.ts";
import { apply, input, scalar } from "../kernels/expr.ts";
import { mapKernel } from "../kernels/map.ts";
import { isFloat, type Kernel } from "../kernels/types.ts";
import type { Module } from "./module.ts";
import { loadInto, type LoadOptions, type LoadReport } from "./state_dict.ts";

/**
 * What becomes of buffers such as running statistics: averaged like parameters (integers are
 * copied), taken from the model when it is evaluated, or kept as they were first or re-estimated
 * last.
 */
export type BufferPolicy = "average" | "copy" | "keep";

/** The part of an optimizer that a `ModelEma` needs. */
export interface AveragingOptimizer {
  /** Its parameters. */
  readonly groups: readonly { readonly params: readonly Tensor[] }[];
  /** Their averages; null without the option `ema`. */
  readonly ema: ParameterAverages | null;
}

/** How a `ModelEma` is made. */
export interface ModelEmaOptions {
  /** What becomes of buffers. @default {"average"} */
  readonly buffers?: BufferPolicy;
}

/** A persistent buffer of the model with its counterpart. */
interface BufferPair {
  readonly live: Tensor;
  /** None with the policy "copy". */
  readonly average: Tensor | null;
  /** Where the live values wait while the average is in their place. */
  aside: Tensor | null;
  kernel: Kernel | null;
}

/** `a + share · (b − a)`. */
const towards = apply(
  "add",
  input(0),
  apply("mul", scalar(0, "f32"), apply("sub", input(1), input(0))),
);

/**
 * Exponential moving averages of a model: `average ← d · average + (1 − d) · value`.
 *
 * Parameters are averaged by the optimizer's own step, at almost no cost: make it with the option
 * `ema`, which also sets decay and warm-up. This class adds what a model has beside parameters,
 * swaps both at once, and gives the averages the keys of the model. Call `update()` after each step
 * for the buffers; an `EmaCallback` does. Parameters that no optimizer trains are their own average.
 *
 * The first averages are the values at the time when the class is made (parameters: at the
 * optimizer's first step).
 *
 * @example Train, then evaluate with the averages in place
 * ```ts
 * import { BatchNorm1d, Linear, ModelEma, Sequential } from "@legoml/legoml/nn";
 * import { referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const bn = new BatchNorm1d(1, { momentum: 1, device });
 * const model = new Sequential(bn, new Linear(1, 1, { device }));
 * using optimizer = new SGD(model.parameters(), { lr: 0.1, ema: { decay: 0.75 } });
 * using ema = new ModelEma(model, optimizer);
 *
 * model.forward(tensor([[2], [6]], { device })).square().sum().backward();
 * optimizer.step();
 * ema.update();
 * assertEquals(await bn.running_mean!.array(), [4]);
 * {
 *   using _ = ema.applied();
 *   assertAlmostEquals((await bn.running_mean!.array() as number[])[0], 1); // a quarter of 4
 * }
 * assertEquals(await bn.running_mean!.array(), [4]);
 * ```
 */
export class ModelEma implements Disposable {
  /** The model whose averages these are. */
  readonly model: Module;
  /** What becomes of buffers. */
  readonly buffers: BufferPolicy;
  readonly #optimizers: readonly AveragingOptimizer[];
  readonly #pairs: readonly BufferPair[];
  #updates = 0;
  #applied = false;

  /**
   * Takes the buffers as they are for the first averages.
   *
   * @param model the model
   * @param optimizer the optimizer of its parameters, or all of them, made with the option `ema`
   * @param options what becomes of buffers
   * @throws {TypeError} if an optimizer keeps no averages
   * @throws {RangeError} if a parameter that requires a gradient is in no optimizer, or the policy
   * is unknown
   */
  constructor(
    model: Module,
    optimizer: AveragingOptimizer | readonly AveragingOptimizer[],
    options: ModelEmaOptions = {},
  ) {
    const { buffers = "average" } = options;
    if (!["average", "copy", "keep"].includes(buffers)) {
      throw new RangeError(
        `Cannot make ModelEma with buffers ${buffers}: expected "average", "copy" or "keep"`,
      );
    }
    this.model = model;
    this.buffers = buffers;
    this.#optimizers = [optimizer].flat();
    if (this.#optimizers.length === 0 || this.#optimizers.some(({ ema }) => ema === null)) {
      throw new TypeError(
        "Cannot make ModelEma of an optimizer that keeps no averages: expected one that was made " +
          "with the option ema: { decay }",
      );
    }
    this.#checkTrained();
    const parameters = new Set(model.parameters());
    const own = new Set(Object.values(model.stateDict()).filter((t) => !parameters.has(t)));
    this.#pairs = [...own].map((live) => ({
      live,
      average: buffers === "copy" ? null : twin(live),
      aside: null,
      kernel: null,
    }));
  }

  /** How often buffers were averaged: t of the warm-up. May be set, to continue a run. */
  get updates(): number {
    return this.#updates;
  }

  set updates(value: number) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(
        `Cannot set the updates of ModelEma to ${value}: expected a whole number from 0`,
      );
    }
    this.#updates = value;
  }

  /** True while the averages are in the place of the model's values. */
  get isApplied(): boolean {
    const found = this.#applied;
    currentCapture()?.guard(() => this.#applied === found);
    return found;
  }

  /**
   * Averages the buffers; call it after each step of the optimizer, which has averaged the
   * parameters already. With "copy" and "keep" it only counts.
   *
   * @throws {Error} while averages are in place
   */
  update(): void {
    this.#needRaw("update");
    effect(() => void this.#updates++, () => void this.#updates--);
    if (this.buffers !== "average") return;
    const share = () => this.#optimizers[0].ema!.share(this.#updates);
    for (const pair of this.#pairs) moveTowards(pair, share);
  }

  /**
   * Puts averages into the model, or the model's own values back. What was changed in buffers in
   * between, as by `estimateBatchNorm()`, then belongs to the averages.
   */
  swap(): void {
    const applied = this.isApplied;
    for (const { ema } of this.#optimizers) {
      if (ema!.isApplied === applied) continue;
      throw new Error(
        "Cannot swap the averages of a model: those of an optimizer were swapped by themselves",
      );
    }
    for (const { ema } of this.#optimizers) ema!.swap();
    using _ = noGrad();
    for (const pair of this.#pairs) {
      const { live, average } = pair;
      pair.aside ??= twin(live);
      if (!applied) copyInto(pair.aside, live);
      if (average !== null) copyInto(applied ? average : live, applied ? live : average);
      if (applied) copyInto(live, pair.aside);
    }
    effect(() => void (this.#applied = !applied), () => void (this.#applied = applied));
  }

  /**
   * Puts averages into the model until the result is disposed: `using _ = ema.applied()`.
   *
   * @returns puts every value back exactly as it was, whatever happens
   * @throws {Error} if averages are in place already
   */
  applied(): Disposable {
    this.#needRaw("apply");
    this.swap();
    return { [Symbol.dispose]: () => void (this.isApplied && this.swap()) };
  }

  /**
   * Starts the averages anew from the values of a model, as after the first part of a training.
   *
   * @param source a model with the same keys
   * @throws {StateDictError} if its keys or shapes are others
   * @throws {Error} while averages are in place
   */
  copyFrom(source: Module = this.model): void {
    this.loadStateDict(source.stateDict());
  }

  /**
   * The averages under the keys of the model, to be saved, or loaded into another model.
   *
   * @returns the living tensors, not copies: read them before the next step
   */
  stateDict(): Record<string, Tensor> {
    const averages = this.#averages();
    const entries = Object.entries(this.model.stateDict());
    return Object.fromEntries(entries.map(([key, t]) => [key, averages.get(t) ?? t]));
  }

  /**
   * Takes over averages; what no optimizer trains, and buffers with the policy "copy", stay as they
   * are in the model.
   *
   * @param dict tensors by key, as `stateDict()` of this class or of a model gives them
   * @param options whether missing and unexpected keys are refused
   * @returns the keys without a value, and the keys without a place
   * @throws {StateDictError} if the dict does not fit; then nothing was changed
   * @throws {Error} while averages are in place
   */
  loadStateDict(dict: Readonly<Record<string, Tensor>>, options: LoadOptions = {}): LoadReport {
    this.#needRaw("load");
    const averages = this.#averages();
    const scratch: Tensor[] = [];
    const own = Object.entries(this.model.stateDict()).map(([key, t]): [string, Tensor] => {
      const average = averages.get(t);
      if (average === undefined) scratch.push(zerosLike(t).detach());
      return [key, average ?? scratch[scratch.length - 1]];
    });
    try {
      return loadInto("ModelEma", Object.fromEntries(own), dict, options);
    } finally {
      for (const t of scratch) t.dispose();
    }
  }

  /** Frees the averages of buffers; those of parameters belong to the optimizer. */
  dispose(): void {
    for (const { average, aside } of this.#pairs) {
      average?.dispose();
      aside?.dispose();
    }
  }

  /** Frees the averages of buffers at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The counterparts of the model's tensors; those that are not in it are their own average. */
  #averages(): Map<Tensor, Tensor> {
    const averages = new Map<Tensor, Tensor>();
    for (const { groups, ema } of this.#optimizers) {
      for (const parameter of groups.flatMap(({ params }) => params)) {
        averages.set(parameter, ema!.of(parameter));
      }
    }
    for (const { live, average } of this.#pairs) {
      if (average !== null && !this.#applied) averages.set(live, average);
    }
    return averages;
  }

  #checkTrained(): void {
    const held = new Set(
      this.#optimizers.flatMap(({ groups }) => groups.flatMap(({ params }) => params)),
    );
    const missing = this.model.namedParameters().filter(([, p]) => p.requiresGrad && !held.has(p));
    if (missing.length === 0) return;
    throw new RangeError(
      `Cannot make ModelEma: expected every trained parameter in an optimizer, found none for ${
        missing.map(([key]) => key).join(", ")
      }`,
    );
  }

  #needRaw(action: string): void {
    if (!this.isApplied) return;
    throw new Error(
      `Cannot ${action} the averages of a model while they are in place: swap() back first`,
    );
  }
}

/** A tensor of its own with the same values, that outlives the step; floats become f32. */
function twin(live: Tensor): Tensor {
  return uncaptured(() => {
    const dtype = isFloat(live.dtype) ? "f32" : live.dtype;
    const own = zeros(live.shape, { dtype, device: live.device }).keep();
    noGrad(() => copyInto(own, live));
    return own;
  });
}

/** Moves an average by a share, which captured steps ask for anew; other types are copied. */
function moveTowards(pair: BufferPair, share: () => number): void {
  using _ = noGrad();
  const { live, average } = pair as BufferPair & { average: Tensor };
  if (!isFloat(live.dtype)) return void copyInto(average, live);
  if (live.size === 0) return;
  const strides = contiguousStrides(live.shape);
  const source = live.contiguous();
  pair.kernel ??= mapKernel({
    expr: towards,
    shape: live.shape,
    inputs: [{ dtype: live.dtype, strides, offset: 0 }],
    output: { dtype: average.dtype, strides, offset: 0 },
    scalars: ["f32"],
    inPlace: true,
  });
  average.storage.version++;
  average.device.record({
    kernel: pair.kernel,
    inputs: [denseOperand(source)],
    outputs: [denseOperand(average)],
    scalars: [share()],
    live: () => [share()],
  });
  if (source !== live) source.dispose();
}
