/** The record of a run: who, when, with what, and how it ended. */

import type { GitState, RunEnvironment } from "./environment.ts";
import { TrackError, trackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { describeValue, type JsonValue } from "./json_values.ts";
import type { RunSegment } from "./segments.ts";
import { writeWhole } from "./writing.ts";

/** Version of the layout of a run folder. */
export const RUN_SCHEMA = 2;

const STATUSES: readonly RunStatus[] = ["running", "completed", "interrupted", "failed"];
const MAX_META_BYTES = 10_000_000;

/**
 * How a run says that it stands. One that still says "running" when its process is gone was killed;
 * `runState` tells.
 */
export type RunStatus = "running" | "completed" | "interrupted" | "failed";

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
  /** When it last said that it lives, in ISO 8601, UTC. */
  heartbeatAt: string;
  /** Why it was interrupted, such as the name of a signal; null where it was not. */
  reason: string | null;
  /** The error that ended it, or null. */
  error: RunError | null;
  /** Labels to find it by. */
  tags: Record<string, string>;
  /** Free text. */
  notes: string;
  /** Settings, as given in the options and by `logParams`. */
  params: Record<string, JsonValue>;
  /** Its starts: the first, and one for each time that it went on. */
  segments: RunSegment[];
  /** The program and the machine of the first start. */
  env: RunEnvironment;
  /** The source tree at the first start, or null where git did not say. */
  git: GitState | null;
}

/** Writes `meta.json` of a run's folder, whole or not at all. */
export function writeMeta(files: FileOps, dir: string, meta: RunMeta): void {
  const text = JSON.stringify(meta, null, 2) + "\n";
  writeWhole(files, `${dir}/meta.json`, new TextEncoder().encode(text));
}

/**
 * Reads `meta.json` of a run's folder.
 *
 * @throws {TrackError} if it cannot be read
 * @throws {SyntaxError} if it is not as the tracker writes it
 */
export function readMeta(files: FileOps, dir: string): RunMeta {
  const path = `${dir}/meta.json`;
  try {
    return parseMeta(files.read(path), path);
  } catch (error) {
    throw error instanceof SyntaxError ? error : trackError("read", path, error);
  }
}

/**
 * Refuses to write over the record of a process that has resumed the run, by force, in between. A record
 * that is gone or broken may be written anew.
 *
 * @param files the file operations
 * @param dir the folder of the run
 * @param own the last segments that this process has written, or tried to
 * @throws {TrackError} if another process has the run now
 */
export function checkOwner(files: FileOps, dir: string, own: readonly RunSegment[]): void {
  let found: RunMeta;
  try {
    found = readMeta(files, dir);
  } catch {
    return;
  }
  const last = found.segments[found.segments.length - 1];
  const isLast = ({ segment, startedAt }: RunSegment) =>
    segment === last.segment && startedAt === last.startedAt;
  if (own.some(isLast)) return;
  throw new TrackError(
    `Cannot go on with ${dir}: expected to be the only one, found that process ${last.pid} has resumed ` +
      `it at ${last.startedAt}`,
    { path: dir },
  );
}

/** What a meta.json says of an error. */
export function toRunError(error: unknown): RunError {
  if (!(error instanceof Error)) return { name: typeof error, message: String(error), stack: null };
  return { name: error.name, message: error.message, stack: error.stack ?? null };
}

/**
 * Reads the text of a `meta.json`, also of an earlier version of the layout: what it lacks is
 * filled in as of a run that was started once.
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
  const { schema } = meta;
  if (schema !== 1 && schema !== RUN_SCHEMA) {
    const found = describeValue(schema);
    throw invalid(path, `expected a layout version up to ${RUN_SCHEMA}, found ${found}`);
  }
  const whole = schema === 1 ? { ...addedFields(meta), ...meta } : meta;
  for (const [field, expected, valid] of FIELDS) {
    if (valid(whole[field])) continue;
    const found = describeValue(whole[field]);
    throw invalid(path, `expected "${field}" to be ${expected}, found ${found}`);
  }
  return whole as unknown as RunMeta;
}

/** What version 2 of the layout knows of a run that was written by version 1. */
function addedFields({ createdAt, endedAt, env }: Record<string, unknown>) {
  const { pid, hostname } = isObject(env) ? env : {};
  const segment = { segment: 1, startedAt: createdAt, from: null, pid, hostname };
  return { heartbeatAt: endedAt ?? createdAt, reason: null, segments: [segment] };
}

const FIELDS: readonly [keyof RunMeta, string, (value: unknown) => boolean][] = [
  ["id", "a string", isString],
  ["name", "a string or null", orNull(isString)],
  ["status", `one of ${STATUSES.join(", ")}`, (value) => STATUSES.includes(value as RunStatus)],
  ["createdAt", "a date", isDate],
  ["endedAt", "a date or null", orNull(isDate)],
  ["heartbeatAt", "a date", isDate],
  ["reason", "a string or null", orNull(isString)],
  ["segments", "numbered segments", (value) => Array.isArray(value) && value.every(isSegment)],
  ["error", "an error or null", orNull((value) => isObject(value) && isString(value.message))],
  ["tags", "strings by name", (value) => isObject(value) && Object.values(value).every(isString)],
  ["notes", "a string", isString],
  ["params", "an object", isObject],
  ["env", "an object", isObject],
  ["git", "an object or null", orNull(isObject)],
];

function isSegment(value: unknown, i: number): boolean {
  if (!isObject(value) || value.segment !== i + 1 || !isDate(value.startedAt)) return false;
  const { from } = value;
  return from === null ||
    (isObject(from) && [from.rows, from.step, from.epoch].every(Number.isSafeInteger));
}

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
