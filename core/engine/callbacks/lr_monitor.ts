/** Tells the learning rates that steps were taken with. */

import type { Callback, Phase } from "../callback.ts";
import type { EngineStartEvent, StepEndEvent } from "../events.ts";
import type { StepScalars } from "../step_scalars.ts";
import { describeValue } from "../tensor_like.ts";
import type { Schedulable } from "./lr_schedule.ts";

/** Options of `LrMonitorCallback`. */
export interface LrMonitorOptions {
  /** Whose rates are told. @default {the context's optimizer} */
  readonly optimizer?: Schedulable;
  /** Whether the momentum is told too, for schedules that move it. @default {false} */
  readonly momentum?: boolean;
}

/**
 * Gives the learning rate of each recorded step to the `TrackingCallback` of the same engine,
 * whatever sets it: a schedule, the program, or nobody.
 *
 * The rate of the first group is `step/lr`, that of group i `step/lr/i` where it is another one.
 * With `momentum`, `step/momentum` and `step/momentum/i` are the momentum of the groups, or the first
 * of their betas. (An `LrScheduleCallback` also writes the rate as a metric, once an epoch.)
 *
 * @example
 * ```ts
 * import { Context, Engine, LrMonitorCallback } from "@legoml/legoml/core";
 * import { readRun, run, TrackingCallback } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const optimizer = { groups: [{ lr: 0.1 }] }; // or an SGD
 * const dir = await run({ dir: await Deno.makeTempDir() }, async (session) => {
 *   const engine = new Engine(() => {}, new Context({ model: null, optimizer }), {
 *     callbacks: [new LrMonitorCallback(), new TrackingCallback(session, { every: 1 })],
 *   });
 *   engine.on("stepStart", () => void (optimizer.groups[0].lr /= 2));
 *   await engine.loop([0, 0]);
 *   return session.dir;
 * });
 * const rows = readRun(dir).scalars.map(({ key, value }) => [key, value]);
 * assertEquals(rows, [["step/lr", 0.05], ["step/lr", 0.025]]);
 * ```
 */
export class LrMonitorCallback implements Callback, StepScalars {
  /** How errors and plans call it. */
  readonly name: string = "LrMonitorCallback";
  /** With the schedules. */
  readonly phase: Phase = "schedule";
  #options: LrMonitorOptions;
  #optimizer: Schedulable | null = null;

  /**
   * Makes the callback.
   *
   * @param options whose rates, and whether the momentum too
   */
  constructor(options: LrMonitorOptions = {}) {
    this.#options = { ...options };
  }

  /**
   * Finds the optimizer.
   *
   * @throws {TypeError} if there is none
   */
  onEngineStart({ context }: EngineStartEvent): void {
    const optimizer = this.#options.optimizer ?? context.optimizer;
    const groups: unknown = (optimizer as Partial<Schedulable> | null | undefined)?.groups;
    if (!Array.isArray(groups) || groups.length === 0) {
      throw new TypeError(
        `Cannot monitor learning rates: expected an optimizer with groups in the context, found ${
          describeValue(optimizer)
        }`,
      );
    }
    this.#optimizer = optimizer as Schedulable;
  }

  /** The rates, and where asked for the momenta, with which the step was taken. */
  stepScalars(_event: StepEndEvent): Record<string, number> {
    const groups = this.#optimizer?.groups ?? [];
    const rates = distinct("lr", groups.map(({ lr }) => lr));
    if (this.#options.momentum !== true) return rates;
    const momenta = groups.map(({ momentum, betas }) => momentum ?? betas?.[0]);
    return { ...rates, ...distinct("momentum", momenta) };
  }
}

/** The first value, and those of the others that differ from it, behind their numbers. */
function distinct(name: string, values: readonly (number | undefined)[]): Record<string, number> {
  const [first] = values;
  const others = values.map((value, i) => [i === 0 ? name : `${name}/${i}`, value] as const);
  return Object.fromEntries(
    others.filter((entry, i): entry is readonly [string, number] =>
      entry[1] !== undefined && (i === 0 || entry[1] !== first)
    ),
  );
}
