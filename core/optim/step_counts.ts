/** Numbers of steps where the device decides which steps count. */

import { effect, uncaptured } from "../backend/capture.ts";
import { fullOn } from "../tensor/fill.ts";
import { copyInto, fillInto } from "../tensor/in_place.ts";
import { noGrad } from "../tensor/tape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Arena, placeOf } from "./arena.ts";
import type { ParamState } from "./options.ts";

/**
 * The host counts the steps that it asked for, the device those of them that it skipped. Which
 * parameters share both numbers is known to the host by their history alone.
 */
export class StepCounts {
  readonly #skips = new Map<Arena, Tensor>();
  /** Histories from 1 on are new ones; -n is that of n steps without a skip. */
  #next = 1;

  /** @param states what is known of all parameters, of which no step was skipped until now */
  constructor(states: Iterable<ParamState>) {
    for (const state of states) state.history = 0 - state.steps;
  }

  /** The flat counts of skipped steps, one for each parameter of an arena. */
  skipsOf(arena: Arena): Tensor {
    let skips = this.#skips.get(arena);
    if (skips === undefined) {
      const { device } = arena.values;
      const shape = [arena.tensors.length];
      skips = uncaptured(() => noGrad(() => fullOn(device, shape, "i32", 0)).keep());
      this.#skips.set(arena, skips);
    }
    return skips;
  }

  /** Gives parameters that step together a new history: one for each that they had. */
  advance(states: readonly ParamState[]): void {
    let before: number[] = [];
    const run = () => {
      before = states.map((state) => state.history);
      const renamed = new Map<number, number>();
      for (const state of states) {
        const known = renamed.get(state.history) ?? this.#next++;
        renamed.set(state.history, known);
        state.history = known;
      }
    };
    effect(run, () => states.forEach((state, i) => state.history = before[i]));
  }

  /** The number of steps that a parameter took, as i32 on the device, in memory of its own. */
  stepOf(parameter: Tensor, state: ParamState): Tensor {
    using skips = this.#viewOf(parameter);
    return noGrad(() => skips.neg().add(state.steps));
  }

  /** Takes over the number of steps that a parameter took, and with whom it took them. */
  restore(
    parameter: Tensor,
    state: ParamState,
    step: number | Tensor,
    history: number | null,
  ): void {
    using skips = this.#viewOf(parameter);
    if (typeof step === "number") {
      state.steps = step;
      state.history = 0 - step;
      fillInto(skips, 0);
    } else {
      state.steps = 0;
      state.history = history ?? this.#next;
      copyInto(skips, step.to("i32").neg().reshape([]));
    }
    this.#next = Math.max(this.#next, state.history + 1);
  }

  /** Gives the memory back. */
  dispose(): void {
    for (const skips of this.#skips.values()) skips.dispose();
    this.#skips.clear();
  }

  #viewOf(parameter: Tensor): Tensor {
    const { arena, index } = placeOf(parameter)!;
    return this.skipsOf(arena).alias({ shape: [], strides: [], offset: index });
  }
}
