/** The record of a run: who, when, with what, and how it ended. */

import type { GitState, RunEnvironment } from "./environment.ts";
import type { FileOps } from "./file_ops.ts";
import { describeValue, type JsonValue } from "./json_values.ts";
import { writeWhole } from "./writing.ts";

/** Version of the layout of a run folder. */
export const RUN_SCHEMA = 1;

const STATUSES: readonly RunStatus[] = ["running", "completed", "failed"];
const MAX_META_BYTES = 10_000_000;

/**
 * How a run stands. One that still says "running" when its process is gone was killed.
 */
export type RunStatus = "running" | "completed" | "failed";

/** The error that ended a run. */
export interface RunError {
  /** Its class. */
  name: string;
  /** Its message. */
  message: string;
  /** Where it was thrown; null where it carried no stack. */
  stack: string | null;
}

/** The content of `meta.json`. */
export interface RunMeta {
  /** Version of the layout. */
  schema: number;
  /** Name of the folder. */
  id: string;
  /** The name given to the run, or null. */
  name: string | null;
  /** How it stands. */
  status: RunStatus;
  /** When it began, in ISO 8601, UTC. */
  createdAt: string;
  /** When it ended, or null while it has not. */
  endedAt: string | null;
  /** The error that ended it, or null. */
  error: RunError | null;
  /** Labels to find it by. */
  tags: Record<string, string>;
  /** Free text. */
  notes: string;
  /** Settings, as given in the options and by `logParams`. */
  params: Record<string, JsonValue>;
  /** The program and the machine. */
  env: RunEnvironment;
  /** The source tree, or null where git did not say. */
  git: GitState | null;
}

/** Writes `meta.json` of a run's folder, whole or not at all. */
export function writeMeta(files: FileOps, dir: string, meta: RunMeta): void {
  const text = JSON.stringify(meta, null, 2) + "\n";
  writeWhole(files, `${dir}/meta.json`, new TextEncoder().encode(text));
}

/** What a meta.json says of an error. */
export function toRunError(error: unknown): RunError {
  if (!(error instanceof Error)) return { name: typeof error, message: String(error), stack: null };
  return { name: error.name, message: error.message, stack: error.stack ?? null };
}

/**
 * Reads the text of a `meta.json`.
 *
 * @param bytes the content of the file
 * @param path how messages call it
 * @returns the record
 * @throws {SyntaxError} if it is no JSON, lacks a field, or was written by a newer version
 */
export function parseMeta(bytes: Uint8Array, path: string): RunMeta {
  if (bytes.length > MAX_META_BYTES) {
    throw invalid(path, `expected at most ${MAX_META_BYTES} bytes, found ${bytes.length}`);
  }
  let meta: unknown;
  try {
    meta = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(path, `expected JSON: ${(error as Error).message}`, error);
  }
  if (!isObject(meta)) throw invalid(path, `expected an object, found ${describeValue(meta)}`);
  if (meta.schema !== RUN_SCHEMA) {
    const found = describeValue(meta.schema);
    throw invalid(path, `expected the layout version ${RUN_SCHEMA}, found ${found}`);
  }
  for (const [field, expected, valid] of FIELDS) {
    if (valid(meta[field])) continue;
    const found = describeValue(meta[field]);
    throw invalid(path, `expected "${field}" to be ${expected}, found ${found}`);
  }
  return meta as unknown as RunMeta;
}

const FIELDS: readonly [keyof RunMeta, string, (value: unknown) => boolean][] = [
  ["id", "a string", isString],
  ["name", "a string or null", orNull(isString)],
  ["status", `one of ${STATUSES.join(", ")}`, (value) => STATUSES.includes(value as RunStatus)],
  ["createdAt", "a date", isDate],
  ["endedAt", "a date or null", orNull(isDate)],
  ["error", "an error or null", orNull((value) => isObject(value) && isString(value.message))],
  ["tags", "strings by name", (value) => isObject(value) && Object.values(value).every(isString)],
  ["notes", "a string", isString],
  ["params", "an object", isObject],
  ["env", "an object", isObject],
  ["git", "an object or null", orNull(isObject)],
];

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isDate(value: unknown): boolean {
  return isString(value) && !Number.isNaN(Date.parse(value));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function orNull(valid: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => value === null || valid(value);
}

function invalid(path: string, reason: string, cause?: unknown): SyntaxError {
  return new SyntaxError(`Cannot read ${path}: ${reason}`, { cause });
}
