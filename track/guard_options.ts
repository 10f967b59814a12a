/** What a guard is told, and what it guards. */

import type { Callback, Context } from "../core/engine/mod.ts";
import type { CheckpointStore } from "./checkpoint_store.ts";
import type { GuardForward } from "./guard_replay.ts";
import type { GuardedParts } from "./guard_snapshot.ts";
import type { SpikeOptions } from "./guard_spike.ts";
import { countBad } from "./guard_values.ts";
import type { WatchedModel } from "./guard_watch.ts";
import { describeValue } from "./json_values.ts";
import type { RunSession } from "./session.ts";
import type { TrainingPart } from "./training_parts.ts";
import type { ResumableModel } from "./training_state.ts";

/** What a guard does about a fault. */
export type GuardPolicy = "stop" | "skip" | "rollback" | "report";

const POLICIES: readonly GuardPolicy[] = ["stop", "skip", "rollback", "report"];

/** Options of `NumericGuardCallback`. */
export interface NumericGuardOptions {
  /**
   * What is done about a fault: throw a `NumericFaultError`, undo the step, go back to the last good
   * state, or only tell. @default {"stop"}
   */
  readonly policy?: GuardPolicy;
  /**
   * How many steps are looked at together, at each end of so many and of an epoch; a look waits for
   * the device. Checkpoints in between may hold what the next look finds. @default {10; 1 for "skip"}
   */
  readonly every?: number;
  /** Whether losses far above those before count as faults, and how far. @default {null, they do not} */
  readonly spike?: SpikeOptions | null;
  /**
   * Whether gradients are watched too; false for trainings with a `LossScaler`, to which infinite ones
   * belong. @default {true}
   */
  readonly gradients?: boolean;
  /** How many faults are traced to their origin, by running steps again; later ones are only told. @default {3} */
  readonly traces?: number;
  /**
   * All else that steps change beside the context's model and optimizer, such as a scaler or an
   * accumulator; the same as those of a `CheckpointCallback`. A loader stays where it is.
   */
  readonly parts?: Readonly<Record<string, TrainingPart>>;
  /** Runs a batch and gives the loss, where that is not `lossFn(model.forward(inputs), targets)`. */
  readonly forward?: GuardForward;
  /** "rollback" goes back to the last checkpoint of this store. @default {to the last look} */
  readonly store?: CheckpointStore;
  /** What "rollback" multiplies all learning rates by, above 0, from then on. @default {1} */
  readonly lrFactor?: number;
  /** After so many rollbacks the next fault stops the run. @default {3} */
  readonly maxRollbacks?: number;
  /** The run that gets an event `numericFault` for each fault. */
  readonly session?: Pick<RunSession, "logEvent">;
}

/** Throws where an option is out of its range, or contradicts the policy. */
export function checkGuardOptions(options: NumericGuardOptions): void {
  const { policy = "stop", every = 1, traces = 0, maxRollbacks = 0, lrFactor = 1 } = options;
  if (!POLICIES.includes(policy)) {
    throw new TypeError(
      `Cannot guard a training: expected policy to be one of ${POLICIES.join(", ")}, found ${
        JSON.stringify(policy)
      }`,
    );
  }
  const counts = [["every", every, 1], ["traces", traces, 0], [
    "maxRollbacks",
    maxRollbacks,
    0,
  ]] as const;
  for (const [name, value, least] of counts) {
    if (Number.isSafeInteger(value) && value >= least) continue;
    throw new RangeError(
      `Cannot guard a training: expected ${name} to be a whole number from ${least}, found ${value}`,
    );
  }
  if (policy === "skip" && every !== 1) {
    throw new RangeError(
      `Cannot guard a training: expected every to be 1 where steps are skipped, found ${every}`,
    );
  }
  if (!(lrFactor > 0 && lrFactor < Infinity)) {
    throw new RangeError(
      `Cannot guard a training: expected lrFactor to be a finite number above 0, found ${lrFactor}`,
    );
  }
}

/** A model as a guard needs it. */
export type GuardedModel = ResumableModel & WatchedModel;

/**
 * What steps change, of an engine's context and of what the options name. A loader keeps its
 * place whatever is put back.
 *
 * @throws {TypeError} if the model is no module
 */
export function guardedParts(
  { model, optimizer }: Context,
  { parts = {} }: NumericGuardOptions,
): GuardedParts & { readonly model: GuardedModel } {
  const methods = ["stateDict", "loadStateDict", "namedModules", "namedParameters"] as const;
  const found = (model ?? {}) as Partial<GuardedModel>;
  if (!methods.every((name) => typeof found[name] === "function")) {
    throw new TypeError(
      `Cannot guard a training: expected the context's model to be a module, found ${
        describeValue(model)
      }`,
    );
  }
  const own = isPart(optimizer) ? { optimizer } : {};
  const all = Object.entries({ ...own, ...parts }).map(([name, part]) => [name, inPlace(part)]);
  return { model: model as GuardedModel, parts: Object.fromEntries(all) };
}

/** The parts of callbacks that do something at steps, such as averages. */
export function partsOfCallbacks(callbacks: readonly Callback[]): Record<string, TrainingPart> {
  const all = callbacks.flatMap((callback, i) => {
    if (callback.onStepEnd === undefined) return [];
    const { parts = {} } = callback as { parts?: NonNullable<NumericGuardOptions["parts"]> };
    return Object.entries(parts).map(([name, part]) => [`callback ${i}.${name}`, inPlace(part)]);
  });
  return Object.fromEntries(all);
}

/** The names of parameters with values that are NaN or infinite. */
export async function badParameters(model: GuardedModel): Promise<string[]> {
  const named = model.namedParameters();
  const bad = await countBad(named.map(([, tensor]) => tensor));
  return named.filter(([, tensor]) => (bad.get(tensor) ?? 0) > 0).map(([name]) => name);
}

function isPart(value: unknown): value is TrainingPart {
  return typeof value === "object" && value !== null && "stateDict" in value;
}

/** A loader that is iterated over must not be moved. */
function inPlace(part: TrainingPart): TrainingPart {
  const iterable = Symbol.iterator in part || Symbol.asyncIterator in part;
  return iterable && "state" in part ? { state: () => part.state(), load() {} } : part;
}
