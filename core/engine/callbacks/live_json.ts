/** A running loop as records for programs, one JSON object a line. */

import type { EndReason } from "../events.ts";
import type { EngineState } from "../state.ts";

/** A number as records have it: one that is not finite is a word. */
export type RecordNumber = number | "NaN" | "Infinity" | "-Infinity";

/** The first record of a loop. */
export interface ProgressStart {
  /** What the record tells. */
  readonly event: "start";
  /** Name of the engine. */
  readonly engine: string;
  /** Completed epochs; more than 0 where training goes on. */
  readonly epoch: number;
  /** Completed steps. */
  readonly step: number;
  /** Samples of these steps. */
  readonly samples: number;
  /** Completed epochs at which the loop ends; null without such a limit. */
  readonly maxEpochs: number | null;
  /** Completed steps at which the loop ends; null without such a limit. */
  readonly maxSteps: number | null;
  /** Samples at which the loop ends; null without such a limit. */
  readonly maxSamples: number | null;
  /** Steps of an epoch; null where the loader does not know. */
  readonly stepsPerEpoch: number | null;
}

/** How training goes, at most once in an interval. */
export interface ProgressStep {
  /** What the record tells. */
  readonly event: "step";
  /** Number of the running epoch, from 1. */
  readonly epoch: number;
  /** Completed steps. */
  readonly step: number;
  /** Completed steps of the running epoch. */
  readonly localStep: number;
  /** Samples of all completed steps. */
  readonly samples: number;
  /** Loss of the latest step, not smoothed; null where the step gives none. */
  readonly loss: RecordNumber | null;
  /** Learning rate of the optimizer's first group; null where there is none. */
  readonly lr: RecordNumber | null;
  /** Norm of the gradients, where a callback, the step or the optimizer has it, else null. */
  readonly gradNorm: RecordNumber | null;
  /** Samples per second since the epoch began; null where no time has passed. */
  readonly samplesPerSecond: number | null;
  /** Share of the loop's time in which it waited for batches, from 0 to 1. */
  readonly dataWait: number | null;
  /** Seconds since the loop began. */
  readonly seconds: number;
  /** Seconds until the loop's limit, at its mean speed; null where that is not known. */
  readonly eta: number | null;
}

/** The end of an epoch. */
export interface ProgressEpoch {
  /** What the record tells. */
  readonly event: "epoch";
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** False where the epoch was cut short. */
  readonly complete: boolean;
  /** Completed steps. */
  readonly step: number;
  /** Samples of all completed steps. */
  readonly samples: number;
  /** All metrics by name, those of evaluations as "prefix/name". */
  readonly metrics: Readonly<Record<string, RecordNumber>>;
  /**
   * The best value since the loop began of the metric that is followed, and the epoch that had it; null
   * where no metric has a direction.
   */
  readonly best: { readonly metric: string; readonly value: number; readonly epoch: number } | null;
  /** Seconds since the loop began. */
  readonly seconds: number;
}

/** The last record of a loop. */
export interface ProgressEnd {
  /** What the record tells. */
  readonly event: "end";
  /** Why the loop ended. */
  readonly reason: EndReason;
  /** The text given to `stop`, or the name of the signal; null where there is none. */
  readonly detail: string | null;
  /** The message of the error that ended the loop, else null. */
  readonly error: string | null;
  /** Completed epochs. */
  readonly epoch: number;
  /** Completed steps. */
  readonly step: number;
  /** Samples of all completed steps. */
  readonly samples: number;
  /** Seconds since the loop began. */
  readonly seconds: number;
}

/**
 * A line that `ProgressBarCallback` writes in the mode "json": "start" first, then "step" and "epoch",
 * "end" last, one of each loop. Later versions may add fields.
 */
export type ProgressRecord = ProgressStart | ProgressStep | ProgressEpoch | ProgressEnd;

/** The line of a record, with its line end. */
export function recordLine(record: ProgressRecord): string {
  const words = (_key: string, value: unknown) =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  return `${JSON.stringify(record, words)}\n`;
}

/** The record of a loop that begins. */
export function startRecord(engine: string, state: EngineState): ProgressStart {
  const limit = (value: number) => value === Infinity ? null : value;
  return {
    event: "start",
    engine,
    epoch: state.epoch,
    step: state.globalStep,
    samples: state.samples,
    maxEpochs: limit(state.maxEpochs),
    maxSteps: limit(state.maxSteps),
    maxSamples: limit(state.maxSamples),
    stepsPerEpoch: state.stepsPerEpoch,
  };
}

/** The part of a record that says where training stands. */
export function standing({ globalStep: step, samples }: EngineState): {
  readonly step: number;
  readonly samples: number;
} {
  return { step, samples };
}
