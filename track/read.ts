/** Reading runs back: their records, scalars and events. */

import { trackError } from "./errors.ts";
import { denoFileOps, type FileOps } from "./file_ops.ts";
import type { JsonValue } from "./json_values.ts";
import { parseMeta, type RunMeta } from "./meta.ts";
import { isRunId } from "./names.ts";
import { parseScalars, type ScalarRow } from "./scalars.ts";
import type { RunSegment } from "./segments.ts";
import { folderOf } from "./writing.ts";

/** How to read. */
export interface ReadOptions {
  /** File operations; by default those of the real file system. */
  files?: FileOps;
}

/** One line of `events.jsonl`. */
export interface EventRow {
  /** When it was logged. */
  time: Date;
  /** What happened. */
  event: string;
  /** Details. */
  fields: Record<string, JsonValue>;
}

/** What the folder of a run holds. */
export interface RunRecord {
  /** The folder. */
  dir: string;
  /** The content of `meta.json`. */
  meta: RunMeta;
  /** The rows of `scalars.csv`; empty where nothing was logged. */
  scalars: ScalarRow[];
  /** The lines of `events.jsonl`; empty where nothing was logged. */
  events: EventRow[];
}

/** One run among others. */
export interface RunListing {
  /** The folder. */
  dir: string;
  /** The content of `meta.json`, or null where it cannot be read. */
  meta: RunMeta | null;
  /** Why it cannot be read, or null. */
  problem: string | null;
}

/**
 * Reads a `scalars.csv`.
 *
 * A last line without its line end, as a killed process may leave it, is skipped. Rows that a resumed
 * run went back behind are there, and marked as superseded; `currentScalars` leaves them out. Which
 * these are stands in the `meta.json` of the run, beside the folder of the file.
 *
 * @param path the file
 * @param options how to read
 * @returns its rows, in the order in which they were logged
 * @throws {TrackError} if a file cannot be read
 * @throws {SyntaxError} naming line and column of what is not as it should be, or if there are rows of
 * a resumed run and no `meta.json`
 *
 * @example The course of one value
 * ```ts
 * import { readScalars, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await using session = await run({ dir });
 * for (const step of [1, 2, 3]) session.logScalars({ loss: 1 / step }, { step });
 * const rows = readScalars(`${session.dir}/logs/scalars.csv`);
 * assert(rows.map((row) => row.value).join() === [1, 1 / 2, 1 / 3].join());
 * ```
 */
export function readScalars(path: string, options: ReadOptions = {}): ScalarRow[] {
  const bytes = readFile(path, options);
  return parseScalars(bytes, path, segmentsOf(path, options));
}

// read after the rows, so that it knows the segments of all of them
function segmentsOf(path: string, options: ReadOptions): readonly RunSegment[] | null {
  const { files = denoFileOps } = options;
  const metaPath = `${parentOf(folderOf(path))}/meta.json`;
  let bytes: Uint8Array;
  try {
    bytes = files.read(metaPath);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw trackError("read", metaPath, error);
  }
  return parseMeta(bytes, metaPath).segments;
}

function parentOf(folder: string): string {
  return /(^|\/)\.{0,2}$/.test(folder) ? `${folder}/..` : folderOf(folder);
}

/**
 * Reads the folder of a run, also of one that still runs.
 *
 * @param dir the folder
 * @param options how to read
 * @returns its record, scalars and events
 * @throws {TrackError} if a file cannot be read
 * @throws {SyntaxError} if a file is not as the tracker writes it
 */
export function readRun(dir: string, options: ReadOptions = {}): RunRecord {
  const logs = ["scalars.csv", "events.jsonl"].map((name) => `${dir}/logs/${name}`);
  const [scalarBytes, eventBytes] = logs.map((path) => readIfThere(path, options));
  // read after the rows, so that it knows the segments of all of them
  const metaPath = `${dir}/meta.json`;
  const meta = parseMeta(readFile(metaPath, options), metaPath);
  const scalars = parseScalars(scalarBytes, logs[0], meta.segments);
  return { dir, meta, scalars, events: parseEvents(eventBytes, logs[1]) };
}

/**
 * Lists the runs in a folder, oldest first.
 *
 * A folder with a run's name whose record is missing or broken is listed with the problem; others
 * without a `meta.json` are no runs, and left out.
 *
 * @param dir the folder of the runs; one that does not exist holds none
 * @param options how to read
 * @returns the runs
 * @throws {TrackError} if the folder cannot be read
 */
export function listRuns(dir: string = "runs", options: ReadOptions = {}): RunListing[] {
  const { files = denoFileOps } = options;
  let names: string[];
  try {
    names = files.list(dir).filter((entry) => entry.isFolder).map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw trackError("list", dir, error);
  }
  return names.sort().flatMap((name) => listing(`${dir}/${name}`, isRunId(name), options));
}

function listing(dir: string, mustBeRun: boolean, options: ReadOptions): RunListing[] {
  const path = `${dir}/meta.json`;
  try {
    return [{ dir, meta: parseMeta(readFile(path, options), path), problem: null }];
  } catch (error) {
    const { message, cause } = error as Error;
    if (!mustBeRun && cause instanceof Deno.errors.NotFound) return [];
    return [{ dir, meta: null, problem: message }];
  }
}

function readFile(path: string, { files = denoFileOps }: ReadOptions): Uint8Array {
  try {
    return files.read(path);
  } catch (error) {
    throw trackError("read", path, error);
  }
}

function readIfThere(path: string, { files = denoFileOps }: ReadOptions): Uint8Array {
  try {
    return files.read(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Uint8Array();
    throw trackError("read", path, error);
  }
}

// as in scalars.csv, a last line without its line end is skipped
function parseEvents(bytes: Uint8Array, path: string): EventRow[] {
  const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(whole);
  } catch (error) {
    throw new SyntaxError(`Cannot read ${path}: expected UTF-8`, { cause: error });
  }
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line, i) => parseEvent(line, `${path}, line ${i + 1}`));
}

function parseEvent(line: string, where: string): EventRow {
  let parsed: { time?: unknown; event?: unknown; fields?: unknown } | null;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new SyntaxError(`Cannot read ${where}: ${(error as Error).message}`, { cause: error });
  }
  const { time, event, fields } = parsed ?? {};
  const date = new Date(String(time));
  const valid = typeof event === "string" && typeof fields === "object" && fields !== null &&
    !Number.isNaN(date.getTime());
  if (valid) return { time: date, event, fields: fields as Record<string, JsonValue> };
  throw new SyntaxError(`Cannot read ${where}: expected an object with time, event and fields`);
}
