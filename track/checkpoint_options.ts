/** How a `CheckpointCallback` is made, and what it checks beforehand. */

import type { Context, MetricSource } from "../core/mod.ts";
import { modeIn } from "../core/engine/metric_source.ts";
import type { BestRule } from "./checkpoint_retention.ts";
import { describeValue } from "./json_values.ts";
import type { ResumableEngine, TrainingParts } from "./training_state.ts";

/** By which value checkpoints are compared. */
export interface BestOptions {
  /** The metric in `state.metrics`, such as "eval/loss". */
  readonly monitor: string;
  /**
   * Whether smaller or larger values are better. @default {what the callback says that writes the
   * metric}
   */
  readonly mode?: "min" | "max";
  /** How many of the best are kept beside the last ones. @default {1} */
  readonly keep?: number;
}

/** When checkpoints are saved, and what they hold beside model and optimizer. */
export interface CheckpointOptions {
  /**
   * All else that changes while the run goes on: loader, loss scaler, accumulator, augmentation.
   * Model and optimizer come from the engine's context, and callbacks bring their own.
   */
  readonly parts?: TrainingParts["parts"];
  /** Save whenever so many steps are complete. @default {null, not by steps} */
  readonly everySteps?: number | null;
  /** Save whenever so many epochs are complete. @default {1} */
  readonly everyEpochs?: number | null;
  /** Save at the end of a step when so many seconds have passed. @default {null, not by time} */
  readonly everySeconds?: number | null;
  /**
   * Save when the loop ends, also where a signal or `stop` ended it, but not after an error.
   * @default {true}
   */
  readonly atEnd?: boolean;
  /**
   * What the best checkpoint is, for a store that was made without. Values are compared where a
   * checkpoint is saved: at the ends of epochs, for metrics of an epoch. @default {none is best}
   */
  readonly best?: BestOptions;
  /** The time in milliseconds. */
  readonly now?: () => number;
}

/** An engine with a context, and with callbacks that know what is better, as the callback needs it. */
export type CheckpointedEngine = ResumableEngine & MetricSource & { readonly context: Context };

/** Throws where an option is out of its range. */
export function checkCheckpointOptions(options: CheckpointOptions): void {
  const what = "Cannot make CheckpointCallback";
  const { everySteps = null, everyEpochs = 1, everySeconds = null, best } = options;
  for (const [name, n] of Object.entries({ everySteps, everyEpochs })) {
    if (n === null || (Number.isSafeInteger(n) && n >= 1)) continue;
    throw new RangeError(
      `${what} with ${name} ${n}: expected an integer of at least 1, or null`,
    );
  }
  if (everySeconds !== null && !(everySeconds > 0)) {
    throw new RangeError(
      `${what} with everySeconds ${everySeconds}: expected a number above 0, or null`,
    );
  }
  if (best === undefined) return;
  const { monitor, mode } = best;
  if (typeof monitor !== "string" || monitor === "") {
    throw new TypeError(
      `${what}: expected best.monitor to name a metric, found ${describeValue(monitor)}`,
    );
  }
  if (mode !== undefined && mode !== "min" && mode !== "max") {
    throw new TypeError(
      `${what}: expected best.mode to be "min" or "max", found ${describeValue(mode)}`,
    );
  }
}

/** The rule for a store; the engine's callbacks know the direction where the options do not say. */
export function bestRuleOf(
  { monitor, mode, keep }: BestOptions,
  engine: MetricSource,
): BestRule & { readonly keep?: number } {
  const direction = mode ?? modeIn(engine, monitor, `tell the best checkpoint by "${monitor}"`);
  return { metric: monitor, mode: direction, keep };
}

/**
 * Refuses a loader that knows its position and is not saved: a resumed run would begin its epoch
 * again, and see some batches twice.
 */
export function checkHasLoader(loader: unknown, parts: Readonly<Record<string, unknown>>): void {
  const { state, load } = (loader ?? {}) as { state?: unknown; load?: unknown };
  const moves = typeof state === "function" && typeof load === "function";
  if (!moves || Object.values(parts).includes(loader)) return;
  throw new TypeError(
    `Cannot save checkpoints that go on in the midst of an epoch: expected the loader among the ` +
      `parts, found ${
        Object.keys(parts).join(", ") || "none"
      }; parts: { loader } saves its position`,
  );
}
