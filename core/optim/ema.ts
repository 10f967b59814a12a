/** Moving averages of parameters, which an optimizer keeps. */

import { currentCapture, effect, uncaptured } from "../backend/capture.ts";
import { copyInto } from "../tensor/in_place.ts";
import { noGrad } from "../tensor/tape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Arena, placeOf } from "./arena.ts";
import type { EmaOptions } from "./options.ts";

/** Where averages lie beside the slots of a method, and their name in a state dict. */
export const AVERAGE = "ema";

/** Where parameters wait while their averages are in their place. */
const ASIDE = "ema.aside";

/**
 * Exponential moving averages `average ← d · average + (1 − d) · parameter`, updated by the same
 * kernel as the parameters, in f32.
 *
 * They start as the parameters are before their first step. A parameter without gradient keeps its
 * average, and a skipped step changes none.
 *
 * @example
 * ```ts
 * import { referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([1], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new SGD([x], { lr: 1, ema: { decay: 0.75 } });
 * x.sum().backward();
 * optimizer.step();
 * {
 *   using _ = optimizer.ema!.applied();
 *   assertAlmostEquals(await x.item(), 0.75);
 * }
 * assertAlmostEquals(await x.item(), 0);
 * ```
 */
export class ParameterAverages {
  readonly #arenas: () => readonly Arena[];
  readonly #options: EmaOptions;
  #applied = false;

  /**
   * Made by optimizers with the option `ema`.
   *
   * @param arenas the flat memory of the parameters
   * @param options decay and warm-up
   */
  constructor(arenas: () => readonly Arena[], options: EmaOptions) {
    this.#arenas = arenas;
    this.#options = { ...options };
  }

  /** d, how much of an average is kept. */
  get decay(): number {
    return this.#options.decay;
  }

  /** Whether the first averages are shorter: step t takes `min(d, (1 + t) / (10 + t))`. */
  get warmup(): boolean {
    return this.#options.warmup ?? false;
  }

  /** True while the averages are in the place of the parameters. */
  get isApplied(): boolean {
    const found = this.#applied;
    currentCapture()?.guard(() => this.#applied === found);
    return found;
  }

  /** The share of the average that step `t`, from 1 on, renews: `1 − d`. */
  share(t: number): number {
    const share = 1 - this.#options.decay;
    return this.warmup ? Math.max(share, 9 / (10 + t)) : share;
  }

  /** Puts the averages in the place of the parameters, or the parameters back. */
  swap(): void {
    const applied = this.isApplied;
    using _ = noGrad();
    for (const arena of this.#arenas()) {
      const average = averagesOf(arena);
      const aside = arena.slot(ASIDE);
      if (!applied) copyInto(aside, arena.values);
      copyInto(arena.values, applied ? aside : average);
    }
    effect(() => void (this.#applied = !applied), () => void (this.#applied = applied));
  }

  /** Puts the averages in place until the result is disposed: `using _ = optimizer.ema.applied()`. */
  applied(): Disposable {
    if (this.isApplied) {
      throw new Error("Cannot apply averages of parameters: they are in place already");
    }
    this.swap();
    return { [Symbol.dispose]: () => void (this.isApplied && this.swap()) };
  }

  /** Starts again from the parameters as they are. */
  reset(): void {
    if (this.isApplied) {
      throw new Error("Cannot reset averages of parameters that are in place: swap() back first");
    }
    using _ = noGrad();
    for (const arena of this.#arenas()) copyInto(averagesOf(arena), arena.values);
  }

  /**
   * The average of one parameter: a view of the living one, so read it before the next step.
   *
   * @param parameter one that the optimizer holds
   * @returns f32, of the shape of the parameter
   * @throws {TypeError} if the optimizer does not hold it
   */
  of(parameter: Tensor): Tensor {
    const place = placeOf(parameter);
    if (place === null || !this.#arenas().includes(place.arena)) {
      throw new TypeError(
        `Cannot give the average of ${parameter}: the optimizer does not hold this parameter`,
      );
    }
    return place.arena.view(averagesOf(place.arena), place.index);
  }
}

/** The flat averages of an arena; the parameters themselves where they are new. */
export function averagesOf(arena: Arena): Tensor {
  if (arena.hasSlot(AVERAGE)) return arena.slot(AVERAGE);
  const slot = arena.slot(AVERAGE);
  uncaptured(() => noGrad(() => copyInto(slot, arena.values)));
  return slot;
}
