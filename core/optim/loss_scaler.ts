/** A loss scale that follows the gradients, for values that are stored as f16. */

import type { Operand } from "../../kernels/types.ts";
import { lossScaleKernel } from "../../kernels/verdict.ts";
import { effect, uncaptured } from "../backend/capture.ts";
import { type Device, deviceOr } from "../backend/device.ts";
import { fullOn } from "../tensor/fill.ts";
import { copyInto, copyOf, fillInto } from "../tensor/in_place.ts";
import { denseOperand } from "../tensor/launch.ts";
import { noGrad } from "../tensor/tape.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Optimizer } from "./optimizer.ts";
import type { OptimizerOptions } from "./options.ts";

/** How the scale changes. */
export interface LossScalerOptions {
  /** The scale at first, above 0. @default {65536} */
  readonly initScale?: number;
  /** What the scale is multiplied by after `growthInterval` good steps, at least 1. @default {2} */
  readonly growthFactor?: number;
  /** What it is multiplied by after a bad step, above 0 and below 1. @default {0.5} */
  readonly backoffFactor?: number;
  /** Good steps in a row until it grows, at least 1. @default {2000} */
  readonly growthInterval?: number;
  /** Where the losses are. @default {the default device} */
  readonly device?: Device;
}

/** The state of a LossScaler, under the names of `torch.amp.GradScaler`. */
export interface LossScalerStateDict {
  /** The scale; a number from PyTorch. */
  readonly scale: number | Tensor;
  /** Factor of growth. */
  readonly growth_factor: number;
  /** Factor after a bad step. */
  readonly backoff_factor: number;
  /** Good steps until it grows. */
  readonly growth_interval: number;
  /** Good steps since it changed; a number from PyTorch. */
  readonly _growth_tracker: number | Tensor;
}

type Factors = Required<Omit<LossScalerOptions, "device" | "initScale">>;

/**
 * Dynamic loss scaling, as `torch.amp.GradScaler`: the loss is multiplied by a scale so that small
 * gradients do not vanish in f16, the optimizer divides by it, and a step with a NaN or infinite
 * gradient is skipped and makes the scale smaller.
 *
 * All state lies on the device and nothing is read. `optimizer.maxGradNorm` limits the norm of the
 * true gradients; the gradients themselves stay scaled, so there is no `unscale_`.
 *
 * @example
 * ```ts
 * import { LossScaler, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([3], { device, requiresGrad: true });
 * const optimizer = new SGD([x], { lr: 0.5 });
 * const scaler = new LossScaler({ device });
 * scaler.scale(x.square().sum()).backward();
 * scaler.step(optimizer);
 * scaler.update();
 * assertEquals(await x.item(), 0);
 * assertEquals(await scaler.getScale().item(), 65536);
 * ```
 */
export class LossScaler implements Disposable {
  readonly #scale: Tensor;
  readonly #tracker: Tensor;
  readonly #found: Tensor;
  #factors: Factors;
  #stepped = false;

  /**
   * Puts the scale on the device.
   *
   * @param options the first scale, and how it changes
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: LossScalerOptions = {}) {
    const { initScale = 65536, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000 } =
      options;
    const device = deviceOr(options.device);
    checkScale(initScale);
    this.#factors = checked({ growthFactor, backoffFactor, growthInterval });
    [this.#scale, this.#tracker, this.#found] = uncaptured(() => [
      fullOn(device, [1], "f32", initScale).keep(),
      fullOn(device, [1], "i32", 0).keep(),
      fullOn(device, [1], "f32", 0).keep(),
    ]);
  }

  /** What the scale is multiplied by after `growthInterval` good steps. */
  get growthFactor(): number {
    return this.#factors.growthFactor;
  }

  /** What the scale is multiplied by after a bad step. */
  get backoffFactor(): number {
    return this.#factors.backoffFactor;
  }

  /** Good steps in a row until the scale grows. */
  get growthInterval(): number {
    return this.#factors.growthInterval;
  }

  /**
   * The loss times the scale; differentiable.
   *
   * @param loss f32 or f16, of any shape
   * @returns f32, of that shape
   */
  scale(loss: Tensor): Tensor {
    return loss.mul(scalarOf(this.#scale));
  }

  /** The scale of now: a scalar that is not read yet, new at each access. */
  getScale(): Tensor {
    using scale = scalarOf(this.#scale);
    return noGrad(() => copyOf(scale));
  }

  /**
   * Steps an optimizer with gradients of a scaled loss; skipped on the device where one of them is
   * NaN or infinite.
   *
   * @param optimizer on the device of this scaler
   * @throws {TypeError} if it is on another device
   */
  step<O extends OptimizerOptions>(optimizer: Optimizer<O>): void {
    const { device } = this.#scale;
    if (optimizer.groups[0].params[0].device !== device) {
      throw new TypeError(
        `Cannot step an optimizer with a loss scale of another device: expected "${device.name}"`,
      );
    }
    optimizer.step({ scale: { scale: this.#scale, found: this.#found } });
    const before = this.#stepped;
    effect(() => void (this.#stepped = true), () => void (this.#stepped = before));
  }

  /**
   * Changes the scale by what the steps since the last update have found; once an iteration, after
   * all of them.
   *
   * @throws {Error} if there was no step since the last update
   */
  update(): void {
    if (!this.#stepped) {
      throw new Error("Cannot update a loss scale: expected a step() since the last update()");
    }
    effect(() => void (this.#stepped = false), () => void (this.#stepped = true));
    const changed = [this.#scale, this.#tracker, this.#found];
    const live = () => [this.growthFactor, this.backoffFactor, this.growthInterval];
    this.#scale.device.record({
      kernel: lossScaleKernel(),
      inputs: [],
      outputs: changed.map((t): Operand<unknown> => denseOperand(t)),
      scalars: live(),
      live,
    });
    for (const { storage } of changed) storage.version++;
  }

  /** What a checkpoint needs, in memory of its own. */
  stateDict(): LossScalerStateDict {
    using tracker = scalarOf(this.#tracker);
    return {
      scale: this.getScale(),
      growth_factor: this.growthFactor,
      backoff_factor: this.backoffFactor,
      growth_interval: this.growthInterval,
      _growth_tracker: noGrad(() => copyOf(tracker)),
    };
  }

  /**
   * Takes over a state dict of this class or of PyTorch's GradScaler; nothing changes if it does not
   * fit.
   *
   * @param stateDict numbers, or tensors on the device of this scaler
   * @throws {RangeError} if a number is out of its range
   * @throws {TypeError} if an entry is missing or of another type
   */
  loadStateDict(stateDict: LossScalerStateDict): void {
    const { scale, _growth_tracker: tracker } = stateDict;
    const factors = checked({
      growthFactor: stateDict.growth_factor,
      backoffFactor: stateDict.backoff_factor,
      growthInterval: stateDict.growth_interval,
    });
    if (typeof scale === "number") checkScale(scale);
    if (typeof tracker === "number") needInteger("_growth_tracker", tracker, 0);
    for (const [name, value] of Object.entries({ scale, _growth_tracker: tracker })) {
      const fits = typeof value === "number" ||
        (value instanceof Tensor && value.size === 1 && value.device === this.#scale.device);
      if (!fits) {
        throw new TypeError(
          `Cannot load a loss scale with ${name} ${value}: expected a number, on the host or on ` +
            "the device of the scaler",
        );
      }
    }
    this.#factors = factors;
    setTo(this.#scale, scale);
    setTo(this.#tracker, tracker);
    setTo(this.#found, 0);
  }

  /** Gives the memory back. */
  dispose(): void {
    for (const t of [this.#scale, this.#tracker, this.#found]) t.dispose();
  }

  /** Gives the memory back at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The only element as a scalar. */
function scalarOf(t: Tensor): Tensor {
  return t.alias({ shape: [], strides: [], offset: 0 });
}

function setTo(target: Tensor, value: number | Tensor): void {
  noGrad(() =>
    typeof value === "number"
      ? fillInto(target, value)
      : copyInto(target, value.reshape([1]).to(target.dtype))
  );
}

function checkScale(scale: number): void {
  if (!(typeof scale === "number" && scale > 0 && Number.isFinite(Math.fround(scale)))) {
    throw new RangeError(
      `Cannot use a loss scale of ${scale}: expected a number above 0 that is finite in f32`,
    );
  }
}

function needInteger(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least || value >= 2 ** 31) {
    throw new RangeError(
      `Cannot use a loss scale with ${name} ${value}: expected an integer of at least ${least}`,
    );
  }
}

function checked(factors: Factors): Factors {
  const { growthFactor, backoffFactor, growthInterval } = factors;
  if (!(growthFactor >= 1 && growthFactor < Infinity)) {
    throw new RangeError(
      `Cannot use a loss scale with growthFactor ${growthFactor}: expected a number of at least 1`,
    );
  }
  if (!(backoffFactor > 0 && backoffFactor < 1)) {
    throw new RangeError(
      `Cannot use a loss scale with backoffFactor ${backoffFactor}: expected a number above 0 and ` +
        "below 1",
    );
  }
  needInteger("growthInterval", growthInterval, 1);
  return factors;
}
