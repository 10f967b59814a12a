/** Artifacts that a report draws: JSON files of a few documented forms. */

import type { ReliabilityBin } from "../metrics/mod.ts";
import type { RunFile } from "./report_files.ts";

/**
 * What a report draws as a confusion matrix: an artifact whose name ends in `.json`, of this form.
 * A file called `confusion….json` may hold the bare matrix as well.
 *
 * @example
 * ```ts
 * import { type ConfusionArtifact, reportHtml, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await using session = await run({ dir });
 * const confusion: ConfusionArtifact = {
 *   kind: "confusionMatrix",
 *   classNames: ["cat", "dog"],
 *   matrix: [[48, 2], [5, 45]],
 * };
 * session.saveArtifact("test.json", confusion);
 * assert(reportHtml(session.dir).includes(">48</text>"));
 * ```
 */
export interface ConfusionArtifact {
  /** The word by which the file is known. */
  kind: "confusionMatrix";
  /** Names of the classes. @default {their numbers} */
  classNames?: readonly string[];
  /** The counts or shares: a row for each target, in it a column for each prediction. */
  matrix: readonly (readonly number[])[];
}

/** One bin of a `CalibrationArtifact`. */
export interface CalibrationBin {
  /** Smallest confidence of the bin. */
  low: number;
  /** Where the next bin begins. */
  high: number;
  /** Number of samples. */
  count: number;
  /** Mean confidence of the samples; null without any. */
  confidence: number | null;
  /** Share of the samples that are right; null without any. */
  accuracy: number | null;
}

/**
 * What a report draws as a reliability diagram: an artifact whose name ends in `.json`, such as
 * `calibration.json`, of this form; `calibrationArtifact` makes it.
 */
export interface CalibrationArtifact {
  /** The word by which the file is known. */
  kind: "calibration";
  /** The bins of confidence, in rising order. */
  bins: readonly CalibrationBin[];
}

/** One sample of a `PredictionsArtifact`. */
export interface PredictionSample {
  /** What the model said. */
  prediction: string | number;
  /** What is right. @default {not known} */
  target?: string | number;
  /** How sure the model is, from 0 to 1. @default {not known} */
  confidence?: number;
  /** What the model was given, as the name of an artifact that is a picture. @default {none} */
  image?: string;
  /** What the model was given, as a text. @default {none} */
  text?: string;
}

/**
 * What a report shows as sample predictions: an artifact whose name ends in `.json`, such as
 * `predictions.json`, of this form.
 *
 * @example
 * ```ts
 * import { type PredictionsArtifact, reportHtml, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * await using session = await run({ dir: await Deno.makeTempDir() });
 * const predictions: PredictionsArtifact = {
 *   kind: "predictions",
 *   samples: [{ text: "what a film", target: "good", prediction: "bad", confidence: 0.6 }],
 * };
 * session.saveArtifact("predictions.json", predictions);
 * assert(reportHtml(session.dir).includes("wrong"));
 * ```
 */
export interface PredictionsArtifact {
  /** The word by which the file is known. */
  kind: "predictions";
  /** The samples, in the order in which they are shown. */
  samples: readonly PredictionSample[];
}

/** An artifact that a report draws. */
export type DrawnArtifact = ConfusionArtifact | CalibrationArtifact | PredictionsArtifact;

/**
 * The curve of a calibration error in the form that a report draws.
 *
 * @param bins what `CalibrationError.curve()` or that of a binary question gave
 * @returns an artifact to save, with null for what bins without samples lack
 *
 * @example Record how well confidences fit
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { CalibrationError } from "@legoml/legoml/metrics";
 * import { calibrationArtifact, reportHtml, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const device = referenceDevice();
 * const error = new CalibrationError({ applySoftmax: false });
 * const predictions = tensor([[0.9, 0.1], [0.3, 0.7]], { device });
 * error.update(
 *   new DictStepOutput({ predictions, targets: tensor([0, 1], { dtype: "i32", device }) }),
 * );
 * await using session = await run({ dir: await Deno.makeTempDir() });
 * session.saveArtifact("calibration.json", calibrationArtifact(await error.curve()));
 * assert(reportHtml(session.dir).includes("Calibration"));
 * ```
 */
export function calibrationArtifact(bins: readonly ReliabilityBin[]): CalibrationArtifact {
  const known = (value: number) => Number.isFinite(value) ? value : null;
  return {
    kind: "calibration",
    bins: bins.map(({ low, high, count, confidence, accuracy }) => ({
      low,
      high,
      count,
      confidence: known(confidence),
      accuracy: known(accuracy),
    })),
  };
}

/** A file with what it holds. */
export interface FoundArtifact<A extends DrawnArtifact = DrawnArtifact> {
  readonly path: string;
  readonly artifact: A;
}

const JSON_BYTES = 1_000_000;

/**
 * The artifacts that a report draws, in the order of their names; files of more than 1 MB are left
 * out.
 *
 * @param files the files of the run
 * @param read reads one of them
 */
export function drawnArtifacts(
  files: readonly RunFile[],
  read: (path: string) => Uint8Array,
): FoundArtifact[] {
  return files.flatMap(({ path, bytes }) => {
    if (!/^artifacts\/.*\.json$/i.test(path) || bytes > JSON_BYTES) return [];
    const artifact = artifactOf(path, read(path));
    return artifact === null ? [] : [{ path, artifact }];
  });
}

/** What a file holds that a report draws; null where it holds something else. */
export function artifactOf(path: string, bytes: Uint8Array): DrawnArtifact | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (Array.isArray(value)) {
    const bare = /^confusion/i.test(name) && isSquare(value);
    return bare ? { kind: "confusionMatrix", matrix: value as number[][] } : null;
  }
  const fields = (value ?? {}) as Record<string, unknown>;
  if (fields.kind === "confusionMatrix") return confusionOf(fields);
  if (fields.kind === "calibration") return isListOf(fields.bins, isBin) ? value as never : null;
  if (fields.kind !== "predictions") return null;
  return isListOf(fields.samples, isSample) ? value as never : null;
}

function confusionOf({ matrix, classNames }: Record<string, unknown>): ConfusionArtifact | null {
  const kind = "confusionMatrix";
  if (!isSquare(matrix)) return null;
  if (classNames === undefined) return { kind, matrix };
  const named = isListOf(classNames, isString) && classNames.length === matrix.length;
  return named ? { kind, matrix, classNames } : { kind, matrix };
}

function isListOf<T>(value: unknown, fits: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.length > 0 && value.every(fits);
}

function isSquare(value: unknown): value is number[][] {
  return isListOf(value, (row) => isListOf(row, isNumber)) &&
    value.every((row) => row.length === value.length);
}

function isBin(value: unknown): value is CalibrationBin {
  const { low, high, count, confidence, accuracy } = (value ?? {}) as Record<string, unknown>;
  return [low, high, count].every(isNumber) &&
    [confidence, accuracy].every((share) => share === null || isNumber(share));
}

function isSample(value: unknown): value is PredictionSample {
  const { prediction, target, confidence, image, text } = (value ?? {}) as Record<string, unknown>;
  const isLabel = (label: unknown) => isString(label) || isNumber(label);
  return isLabel(prediction) && (target === undefined || isLabel(target)) &&
    (confidence === undefined || isNumber(confidence)) &&
    [image, text].every((words) => words === undefined || isString(words));
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}
