/** Reopening a run: who may, what of its files stays, and what its record says from then on. */

import { getLogger } from "@logtape/logtape";
import { processLives, readGitState, thisProcess } from "./environment.ts";
import { TrackError, trackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import type { JsonValue } from "./json_values.ts";
import { readMeta, RUN_SCHEMA, type RunMeta, writeMeta } from "./meta.ts";
import { lockForResume } from "./resume_lock.ts";
import type { LogLengths } from "./run_logs.ts";
import { runState, silenceOf } from "./run_state.ts";
import { FIRST_COLUMNS, parseScalars, scalarHeader } from "./scalars.ts";
import { AppendFile, removeAfter, writeWhole } from "./writing.ts";

const LINE_END = 0x0a;

/** What `reopen` needs. */
export interface ReopenParts {
  /** The folder of the run. */
  readonly dir: string;
  /** Whether to take it even from a process that may still write. */
  readonly force: boolean;
  /** Settings, labels and a text that replace those of the same name. */
  readonly params: Record<string, JsonValue>;
  readonly tags: Record<string, string>;
  readonly notes: string | undefined;
  readonly files: FileOps;
  readonly now: () => Date;
}

/** A run that was reopened. */
export interface Reopened {
  readonly meta: RunMeta;
  readonly lengths: LogLengths;
}

/**
 * Reopens the folder of a run: its record says "running" again and names one segment more, and torn
 * last lines of its logs are cut off. Whatever fails, the run stays as it was, but for these lines.
 *
 * @throws {TrackError} if it is no run, still runs, or something cannot be read or written
 * @throws {SyntaxError} if a file is not as the tracker writes it
 */
export async function reopen(parts: ReopenParts): Promise<Reopened> {
  const { dir, files, now } = parts;
  checkEnded(readRecord(files, dir), parts);
  const git = await readGitState();
  const lock = await lockForResume(files, dir, now);
  try {
    // another one may have resumed it before the lock was made
    const before = readRecord(files, dir);
    checkEnded(before, parts);
    removeTemporaries(files, dir, before);
    const cut: Record<string, number> = {};
    const bytes = cutTornLines(files, `${dir}/logs`, cut);
    const rows = prepareScalars(files, dir, before, bytes);
    const meta = recordOf(before, parts);
    noteReopening(files, dir, bytes, before, meta, { git, cut });
    replaceMeta(files, dir, before, meta);
    return { meta, lengths: { rows, bytes } };
  } finally {
    lock.release().forEach(warn);
  }
}

/** Writes the event of it, before the record: what comes after may fail no more. */
function noteReopening(
  files: FileOps,
  dir: string,
  lengths: Map<string, number>,
  { status, endedAt, error }: RunMeta,
  { segments, heartbeatAt: time }: RunMeta,
  more: Record<string, unknown>,
): void {
  const problem = error === null ? null : `${error.name}: ${error.message}`;
  const before = { status, endedAt, error: problem };
  const fields = { segment: segments.length, ...thisProcess(), before, ...more };
  const line = new TextEncoder().encode(JSON.stringify({ time, event: "reopened", fields }) + "\n");
  const length = lengths.get("events.jsonl") ?? 0;
  const events = new AppendFile(files, `${dir}/logs/events.jsonl`, length);
  try {
    events.append(line);
  } finally {
    events.close();
  }
  lengths.set("events.jsonl", length + line.length);
}

function replaceMeta(files: FileOps, dir: string, before: RunMeta, meta: RunMeta): void {
  try {
    writeMeta(files, dir, meta);
  } catch (error) {
    try {
      writeMeta(files, dir, before);
    } catch (second) {
      const { message, path, code } = error as TrackError;
      const both = `${message}; ${(second as Error).message}`;
      throw new TrackError(both, { path, code, cause: error });
    }
    throw error;
  }
}

function recordOf(before: RunMeta, { params, tags, notes, now }: ReopenParts): RunMeta {
  const startedAt = now().toISOString();
  const segment = { segment: before.segments.length + 1, startedAt, from: null, ...thisProcess() };
  return {
    ...before,
    schema: RUN_SCHEMA,
    status: "running",
    endedAt: null,
    error: null,
    reason: null,
    heartbeatAt: startedAt,
    segments: [...before.segments, segment],
    params: { ...before.params, ...params },
    tags: { ...before.tags, ...tags },
    notes: notes ?? before.notes,
  };
}

function readRecord(files: FileOps, dir: string): RunMeta {
  try {
    return readMeta(files, dir);
  } catch (error) {
    const { cause } = error as Error;
    if (!(cause instanceof Deno.errors.NotFound)) throw error;
    throw new TrackError(
      `Cannot resume ${dir}: expected the folder of a run, found no meta.json in it`,
      { path: dir, cause },
    );
  }
}

function checkEnded(meta: RunMeta, { dir, force, now }: ReopenParts): void {
  const time = now();
  const last = meta.segments[meta.segments.length - 1];
  // a process that lives may write again, however long it has been silent
  const lives = meta.status === "running" && processLives(last, last.startedAt) === true;
  if (force || (runState(meta, time) !== "running" && !lives)) return;
  const { pid, hostname } = last;
  const seconds = Math.max(0, Math.round(silenceOf(meta, time) / 1000));
  const where = hostname === null ? "" : ` on ${hostname}`;
  throw new TrackError(
    `Cannot resume ${dir}: expected a run that has ended, found that process ${pid}${where} was at ` +
      `work ${seconds} s ago; use force if it is gone`,
    { path: dir },
  );
}

/** Removes what processes of this run have left half written. */
function removeTemporaries(files: FileOps, dir: string, { segments }: RunMeta): void {
  const pids = new Set(segments.map(({ pid }) => String(pid)));
  const visit = (folder: string) => {
    for (const { name, isFolder } of listIfThere(files, folder)) {
      const [, pid] = name.match(/^\.tmp-(\d+)-\d+$/) ?? [];
      if (isFolder && folder !== dir) visit(`${folder}/${name}`);
      else if (pids.has(pid)) warn(removeAfter(files, `${folder}/${name}`));
    }
  };
  for (const folder of [dir, `${dir}/artifacts`]) visit(folder);
}

function warn(note: string): void {
  if (note !== "") getLogger(["legoml", "track"]).warn("{note}", { note });
}

/** Cuts off last lines without a line end; gives the lengths of all logs. */
function cutTornLines(
  files: FileOps,
  folder: string,
  cut: Record<string, number>,
): Map<string, number> {
  const lengths = new Map<string, number>();
  for (const { name, isFolder } of listIfThere(files, folder)) {
    if (isFolder || !/^(scalars\.csv|events\.jsonl|.+\.txt)$/.test(name)) continue;
    const path = `${folder}/${name}`;
    const bytes = readLog(files, path);
    const length = bytes.lastIndexOf(LINE_END) + 1;
    if (length < bytes.length) {
      shorten(files, path, length);
      cut[name] = bytes.length - length;
    }
    lengths.set(name, length);
  }
  return lengths;
}

function shorten(files: FileOps, path: string, length: number): void {
  try {
    const file = files.open(path, "append");
    try {
      file.truncate(length);
      file.sync();
    } finally {
      file.close();
    }
  } catch (error) {
    throw trackError("cut the torn last line of", path, error);
  }
}

/** Checks the rows that are there and counts them; gives a file of the first layout its new column. */
function prepareScalars(
  files: FileOps,
  dir: string,
  { segments }: RunMeta,
  lengths: Map<string, number>,
): number {
  if (!lengths.has("scalars.csv")) return 0;
  const path = `${dir}/logs/scalars.csv`;
  const bytes = readLog(files, path);
  const rows = parseScalars(bytes, path, segments).length;
  const text = new TextDecoder().decode(bytes);
  const end = text.indexOf("\n") + 1;
  if (end > 0 && text.slice(0, end).trimEnd() === FIRST_COLUMNS.join()) {
    const converted = scalarHeader() + text.slice(end).replaceAll(/^([^,\n]*),/gm, "$1,1,");
    const whole = new TextEncoder().encode(converted);
    writeWhole(files, path, whole);
    lengths.set("scalars.csv", whole.length);
  }
  return rows;
}

function readLog(files: FileOps, path: string): Uint8Array {
  try {
    return files.read(path);
  } catch (error) {
    throw trackError("read", path, error);
  }
}

function listIfThere(files: FileOps, folder: string): ReturnType<FileOps["list"]> {
  try {
    return files.list(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw trackError("list", folder, error);
  }
}
