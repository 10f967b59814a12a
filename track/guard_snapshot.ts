/** A training's state beside itself on the device: taken without waiting, put back to the bit. */

import { getRngState, noGrad, type RngState, setRngState, type Tensor } from "../core/mod.ts";
import { copyOf } from "../core/tensor/in_place.ts";
import { mapTensors } from "../core/tensor/structure.ts";
import { hasPosition, loadPart, stateOf, type TrainingPart } from "./training_parts.ts";
import type { ResumableModel } from "./training_state.ts";

/** What a snapshot holds the state of. */
export interface GuardedParts {
  /** The model. */
  readonly model: ResumableModel;
  /** All else that steps change, by name. */
  readonly parts: Readonly<Record<string, TrainingPart>>;
}

/** Copies of the tensors of a model and of what trains it, the draws of its layers, and the rest as plain data. */
export class GuardSnapshot {
  readonly #of: GuardedParts;
  readonly #copies: Tensor[] = [];
  readonly #model: unknown;
  readonly #parts: readonly (readonly [string, unknown])[];
  readonly #draws: readonly (readonly [{ position: number }, number])[];
  readonly #rng: RngState = getRngState();

  /**
   * Copies the state as it is now; nothing is read.
   *
   * @param of the parts
   */
  constructor(of: GuardedParts) {
    this.#of = of;
    const { model, parts } = of;
    using _ = noGrad();
    const copied = (state: unknown) => mapTensors(state, (tensor) => this.#copy(tensor));
    this.#model = copied(model.stateDict());
    this.#parts = Object.entries(parts).map(([name, part]) => [name, copied(stateOf(name, part))]);
    this.#draws = model.namedModules().flatMap(([, layer]) =>
      hasPosition(layer) ? [[layer, layer.position] as const] : []
    );
  }

  /** Puts everything back; the snapshot stays as it is. */
  async restore(): Promise<void> {
    const { model, parts } = this.#of;
    await model.loadStateDict(this.#model as never);
    // Parts may keep what they are given.
    for (const [name, state] of this.#parts) {
      await loadPart(
        parts[name],
        mapTensors(state, (t) => t),
      );
    }
    for (const [layer, position] of this.#draws) layer.position = position;
    setRngState(this.#rng);
  }

  /** Gives the memory back. */
  dispose(): void {
    for (const copy of this.#copies.splice(0)) copy.dispose();
  }

  #copy(tensor: Tensor): Tensor {
    const copy = copyOf(tensor.detach()).keep();
    this.#copies.push(copy);
    return copy;
  }
}
