/** From what a look noticed to what is told of it. */

import { noticed, type NumericFault, originWords } from "./guard_fault.ts";
import type { HeldStep } from "./guard_held.ts";
import { findOrigin, type Replay } from "./guard_replay.ts";

/** What a look noticed. */
export interface Noticed {
  /** What it was. */
  readonly kind: NumericFault["kind"];
  /** At which step. */
  readonly step: HeldStep;
  /** The loss of the step. */
  readonly loss: number | null;
  /** The limit that it exceeds, for a spike. */
  readonly limit?: number;
}

/**
 * Tells what was noticed, with its origin where that is looked for.
 *
 * @param found what was noticed
 * @param held the steps since the last look
 * @param replay how to run them again; null where that is not wanted
 */
export async function traceFault(
  found: Noticed,
  held: readonly HeldStep[],
  replay: Replay | null,
): Promise<NumericFault> {
  const { kind, loss, limit } = found;
  const { step, epoch } = found.step;
  const plain = { kind, step, epoch, loss, origin: null, reproduced: false, sampleIds: [] };
  const told = (message: string): NumericFault => ({ ...plain, message });
  if (kind === "spike") {
    return told(
      `Loss ${brief(loss!)} at step ${step} (epoch ${epoch}) is a spike: expected at most ` +
        brief(limit!),
    );
  }
  if (replay === null) return told(noticed(plain));
  const result = await findOrigin(replay, held, found.step).catch((error: unknown) => error);
  if (result === null) {
    return told(
      `${noticed(plain)}: run again, the steps since the last look are finite, so something else ` +
        "than model, loss and optimizer has changed the values",
    );
  }
  if (!isFound(result)) {
    // The fault is what matters; that it could not be traced is told with it.
    const reason = result instanceof Error ? result.message : String(result);
    return told(`${noticed(plain)}; its batch cannot be run again: ${reason}`);
  }
  const { origin, reproduced, sampleIds } = result;
  const at = { step: result.step.step, epoch: result.step.epoch };
  const own = { ...plain, ...at, loss: at.step === step ? loss : null };
  const fault = { ...own, origin, reproduced, sampleIds };
  return { ...fault, message: noticed(plain) + since(at.step, step) + originWords(fault) };
}

/** Says where the origin lies before what was noticed. */
function since(origin: number, step: number): string {
  return origin === step ? "" : `, from step ${origin} on`;
}

function isFound(value: unknown): value is NonNullable<Awaited<ReturnType<typeof findOrigin>>> {
  return typeof value === "object" && value !== null && "origin" in value;
}

function brief(value: number): string {
  return `${Number(value.toPrecision(5))}`;
}
