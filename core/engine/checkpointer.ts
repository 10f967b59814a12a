/** Callbacks that save an engine and bring it back. */

import type { Callback } from "./callback.ts";
import type { Engine } from "./engine.ts";

/** Which checkpoint: the latest one, the best one, or that of a step. */
export type CheckpointChoice = "last" | "best" | number;

/**
 * What saves all that a run needs to go on, and goes on from there. As a callback of an engine it
 * is what `engine.saveCheckpoint()` and `engine.resume()` work with.
 */
export interface Checkpointer {
  /**
   * Saves a checkpoint now.
   *
   * @param engine the engine that it belongs to
   * @returns what is known of the checkpoint
   */
  save(engine: Engine): Promise<unknown>;
  /**
   * Puts a checkpoint back into the engine and everything else that belongs to the run.
   *
   * @param engine the engine that it belongs to, idle
   * @param which the checkpoint; the latest one where absent
   * @returns what is known of the checkpoint, or null where there is none
   */
  resume(engine: Engine, which?: CheckpointChoice): Promise<unknown>;
}

/**
 * The one callback that can save and resume.
 *
 * @param callbacks of an engine
 * @param action what it is needed for, for errors
 * @throws {Error} if there is none, or more than one
 */
export function checkpointerAmong(callbacks: readonly Callback[], action: string): Checkpointer {
  const found = callbacks.filter(isCheckpointer);
  if (found.length === 1) return found[0];
  throw new Error(
    `Cannot ${action}: expected one callback with save and resume, such as a CheckpointCallback, ` +
      `found ${found.length === 0 ? "none" : found.length}`,
  );
}

function isCheckpointer(callback: Callback): callback is Callback & Checkpointer {
  const { save, resume } = callback as Partial<Checkpointer>;
  return typeof save === "function" && typeof resume === "function";
}
