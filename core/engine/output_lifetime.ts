/** Keeps the tensors of the latest step output alive, and no others. */

import type { StepOutput } from "./step_output.ts";
import type { ScopeLike, TensorLike } from "./tensor_like.ts";

/** The tensors of the latest output that the engine must release. */
export class OutputLifetime {
  #held = new Set<TensorLike>();

  /** Releases what only the outputs before this one hold. */
  replace(output: StepOutput): void {
    const tensors = new Set(output.tensors());
    const old = this.#held.difference(tensors);
    this.#held = this.#held.intersection(tensors);
    for (const tensor of old) tensor.dispose();
  }

  /**
   * Takes the output's tensors out of the scope that is about to close.
   *
   * Tensors of others (parameters, tensors that a handler kept) are left alone.
   */
  take(output: StepOutput, scope: ScopeLike): void {
    for (const tensor of output.tensors()) {
      if (!scope.owns(tensor)) continue;
      scope.keep(tensor);
      this.#held.add(tensor);
    }
  }

  /** Releases what is held. */
  release(): void {
    const held = this.#held;
    this.#held = new Set();
    for (const tensor of held) tensor.dispose();
  }
}
