/** Values of a step that callbacks give to whoever records steps. */

import type { StepEndEvent } from "./events.ts";
import type { TensorLike } from "./tensor_like.ts";

/**
 * A callback that knows numbers of a step, such as a learning rate or a norm of gradients.
 *
 * A `TrackingCallback` of the same engine asks for them at the steps that it records, and writes
 * them as `step/<name>`; at other steps nothing is computed.
 *
 * @example A value of one's own in the run
 * ```ts
 * import { type Callback, Context, Engine, type StepScalars } from "@legoml/legoml/core";
 * import { readRun, run, TrackingCallback } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const temperature: Callback & StepScalars = {
 *   onEngineStart() {},
 *   stepScalars: ({ state }) => ({ temperature: 1 / state.globalStep }),
 * };
 * const dir = await run({ dir: await Deno.makeTempDir() }, async (session) => {
 *   const tracking = new TrackingCallback(session, { every: 2 });
 *   const engine = new Engine(() => {}, new Context({ model: null }), {
 *     callbacks: [temperature, tracking],
 *   });
 *   await engine.loop([0, 0, 0, 0]);
 *   return session.dir;
 * });
 * const rows = readRun(dir).scalars.map(({ key, value }) => [key, value]);
 * assertEquals(rows, [["step/temperature", 0.5], ["step/temperature", 0.25]]);
 * ```
 */
export interface StepScalars {
  /**
   * The values of the step that has just ended, by name.
   *
   * @param event the end of the step
   * @returns numbers, and scalar tensors that are not read yet
   */
  stepScalars(event: StepEndEvent): Readonly<Record<string, number | TensorLike>>;
}

/**
 * The values that the callbacks of an engine know of a step.
 *
 * @param event the end of the step
 * @returns name and value, in the order of the callbacks
 * @throws {Error} if two callbacks give a value of the same name
 */
export function stepScalarsOf(event: StepEndEvent): [string, number | TensorLike][] {
  const found = event.engine.callbacks.flatMap((callback) =>
    hasStepScalars(callback) ? Object.entries(callback.stepScalars(event)) : []
  );
  const names = new Set<string>();
  for (const [name] of found) {
    if (names.has(name)) {
      throw new Error(
        `Cannot record "${name}" of step ${event.state.globalStep}: expected one callback that gives ` +
          "it, found two",
      );
    }
    names.add(name);
  }
  return found;
}

function hasStepScalars(value: object): value is StepScalars {
  return typeof (value as Partial<StepScalars>).stepScalars === "function";
}
