/** Opening a run: its folder, its record, its session. */

import { getLogger } from "@logtape/logtape";
import { readEnvironment, readGitState, thisProcess } from "./environment.ts";
import { TrackError, trackError } from "./errors.ts";
import { denoFileOps, type FileOps } from "./file_ops.ts";
import { describeValue, type JsonValue, toJsonObject } from "./json_values.ts";
import { RUN_SCHEMA, type RunMeta, writeMeta } from "./meta.ts";
import { runId } from "./names.ts";
import { writeReport } from "./report.ts";
import { reopen } from "./resume.ts";
import { RunSession } from "./session.ts";
import type { SessionParts } from "./session_parts.ts";
import type { RunSink } from "./sink.ts";
import { removeAfter } from "./writing.ts";

const MAX_TRIES = 100;

/** How to open a run. */
export interface RunOptions {
  /** What to call it; becomes part of the folder's name. */
  name?: string;
  /**
   * The folder that holds the runs; made where absent.
   *
   * @default {"runs"}
   */
  dir?: string;
  /** Labels to find it by. */
  tags?: Readonly<Record<string, string>>;
  /** Free text. */
  notes?: string;
  /** Settings of the program, of values that JSON can hold; the first params of the run. */
  config?: Readonly<Record<string, unknown>>;
  /**
   * The folder of a run to go on with, in place of a new one: `name` and `dir` are not used then,
   * `config`, `tags` and `notes` replace what has the same name.
   */
  resume?: string;
  /**
   * Resume even a run that may still be written to: one that says "running", and whose process is not
   * known to be gone and has been silent for less than ten minutes.
   *
   * @default {false}
   */
  force?: boolean;
  /**
   * Write `report.html` when the run ends, also where it failed or was interrupted. It is read and
   * written on the real file system; where that fails there is a warning, and an event.
   *
   * @default {false}
   */
  report?: boolean;
  /** Other places that the scalars go to, such as `tensorBoardSink()`. */
  sinks?: readonly RunSink[];
  /** How to write; by default on the real file system. */
  files?: FileOps;
  /** The clock; by default the real one. */
  now?: () => Date;
}

/**
 * Opens a run: makes a folder of its own for it, writes `meta.json`, and returns the session.
 *
 * With `resume` it goes on in the folder of an earlier run. Nothing in it is lost: scalars of the
 * new segment follow those that are there, `RunSession.resumeFrom` says which of them no longer
 * count, and only a last line that a crash tore is cut off. A run that still runs is refused, and
 * of several processes that resume one at the same time one goes on.
 *
 * The folder is `<dir>/<UTC stamp>-<4 hex>[-name]`; no two runs ever share one, not even those that
 * start at the same time in several processes. It needs the permissions to read and to write that
 * folder (renaming takes both); host name and commit are recorded where the program may ask for
 * them, else null.
 *
 * @param options name, folder, tags, notes, settings
 * @returns the open session; `await using` closes it
 * @throws {TypeError} if an option has the wrong type, or a setting no JSON form
 * @throws {RangeError} if the folder's name is empty
 * @throws {TrackError} if the folder or its record cannot be written, or the run to resume is none, or
 * still runs
 * @throws {SyntaxError} if a file of the run to resume is not as the tracker writes it
 *
 * @example A run that closes itself
 * ```ts
 * import { readRun, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * let folder: string;
 * {
 *   await using session = await run({ dir, name: "mnist", config: { lr: 1e-3 } });
 *   session.logScalars({ loss: 0.25 }, { step: 10, epoch: 0, samples: 640, split: "train" });
 *   folder = session.dir;
 * }
 * const { meta, scalars } = readRun(folder);
 * assert(meta.status === "completed" && meta.params.lr === 1e-3);
 * assert(scalars[0].key === "train/loss" && scalars[0].step === 10);
 * ```
 *
 * @example Go on in the folder of a run
 * ```ts
 * import { readRun, run } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const folder = await run({ dir }, (session) => {
 *   session.logScalars({ loss: 0.5 }, { step: 1 });
 *   session.interrupt("SIGTERM");
 *   return session.dir;
 * });
 * assertEquals(readRun(folder).meta.status, "interrupted");
 * await run({ resume: folder }, (session) => session.logScalars({ loss: 0.25 }, { step: 2 }));
 * const { meta, scalars } = readRun(folder);
 * assertEquals([meta.status, meta.segments.length], ["completed", 2]);
 * assertEquals(scalars.map((row) => [row.segment, row.value]), [[1, 0.5], [2, 0.25]]);
 * ```
 */
export function run(options?: RunOptions): Promise<RunSession>;
/**
 * Opens a run, calls a function with it, and closes it with the status that fits.
 *
 * @param options name, folder, tags, notes, settings
 * @param fn what to do with the session; an error that it throws is stored in `meta.json`, ends the
 * run as "failed" and is thrown on
 * @returns what the function returns
 * @throws {TypeError} if an option has the wrong type, or a setting no JSON form
 * @throws {TrackError} if something cannot be written
 * @throws {AggregateError} if the function threw and the run could not be closed either; its errors
 * are both of them
 *
 * @example The error of the function ends the run as failed
 * ```ts
 * import { listRuns, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const failing = run({ dir }, () => {
 *   throw new Error("no data");
 * });
 * await failing.catch((error) => assert(error.message === "no data"));
 * const [{ meta }] = listRuns(dir);
 * assert(meta?.status === "failed" && meta.error?.message === "no data");
 * ```
 */
export function run<T>(
  options: RunOptions,
  fn: (session: RunSession) => T | Promise<T>,
): Promise<T>;
export async function run<T>(
  options: RunOptions = {},
  fn?: (session: RunSession) => T | Promise<T>,
): Promise<RunSession | T> {
  const session = await open(options);
  return fn === undefined ? session : await enclose(session, fn);
}

async function open(options: RunOptions): Promise<RunSession> {
  const dir = checkOptions(options);
  const { files = denoFileOps, now = () => new Date(), report = false, sinks = [] } = options;
  const params = toJsonObject(options.config ?? {}, "config");
  const common = {
    files,
    now,
    sinks,
    report: report ? (path: string) => void writeReport(path) : null,
  };
  if (options.resume !== undefined) return await goOn(options, params, common);
  const git = await readGitState();
  const started = now();
  const id = makeRunFolder(files, dir, started, options.name);
  const startedAt = started.toISOString();
  const meta: RunMeta = {
    schema: RUN_SCHEMA,
    id,
    name: options.name ?? null,
    status: "running",
    createdAt: startedAt,
    endedAt: null,
    heartbeatAt: startedAt,
    reason: null,
    error: null,
    tags: { ...options.tags },
    notes: options.notes ?? "",
    params,
    segments: [{ segment: 1, startedAt, from: null, ...thisProcess() }],
    env: readEnvironment(),
    git,
  };
  const runDir = `${dir}/${id}`;
  fillRunFolder(files, runDir, meta);
  log().info("Run {id} started in {dir}", { id, dir: runDir });
  return new RunSession({ ...common, dir: runDir, meta });
}

async function goOn(
  { resume, force = false, tags, notes }: RunOptions,
  params: Record<string, JsonValue>,
  common: Pick<SessionParts, "files" | "now" | "sinks" | "report">,
): Promise<RunSession> {
  const dir = withoutSlash(resume!);
  const own = { dir, force, params, tags: { ...tags }, notes };
  const { meta, lengths } = await reopen({ ...own, files: common.files, now: common.now });
  const session = new RunSession({ ...common, dir, meta, lengths });
  const { id, segment } = session;
  log().info("Run {id} goes on in {dir}, segment {segment}", { id, dir, segment });
  return session;
}

function checkOptions({ name, notes, tags, dir = "runs", resume, ...more }: RunOptions): string {
  for (const [what, text] of Object.entries({ name, notes, dir, resume })) {
    if (text !== undefined && typeof text !== "string") throw wrongType(what, "a string", text);
  }
  const wrong = Object.entries(tags ?? {}).find(([, text]) => typeof text !== "string");
  if (wrong !== undefined) throw wrongType(`tag "${wrong[0]}"`, "a string", wrong[1]);
  for (const what of ["report", "force"] as const) {
    const flag: unknown = more[what] ?? false;
    if (typeof flag !== "boolean") throw wrongType(what, "a boolean", flag);
  }
  const { sinks = [] } = more;
  if (!Array.isArray(sinks) || !sinks.every(isSink)) throw wrongType("sinks", "sinks", sinks);
  if (dir === "") throw new RangeError("Cannot open a run: expected a folder in dir, found none");
  if (resume === "") {
    throw new RangeError("Cannot resume a run: expected a folder in resume, found none");
  }
  return withoutSlash(dir);
}

function isSink(value: unknown): boolean {
  const { name, open, scalars, close } = (value ?? {}) as Partial<RunSink>;
  return typeof name === "string" &&
    [open, scalars, close].every((each) => typeof each === "function");
}

function withoutSlash(dir: string): string {
  return dir.replace(/(?<=.)\/+$/, "");
}

function log(): ReturnType<typeof getLogger> {
  return getLogger(["legoml", "track"]);
}

function wrongType(what: string, expected: string, found: unknown): TypeError {
  return new TypeError(
    `Cannot open a run: expected ${what} to be ${expected}, found ${describeValue(found)}`,
  );
}

// making a folder that exists is an error, so whoever makes it owns it
function makeRunFolder(files: FileOps, dir: string, time: Date, name: string | undefined): string {
  makeFolder(files, dir, true);
  for (let tries = 1; tries < MAX_TRIES; tries++) {
    const id = runId(time, crypto.getRandomValues(new Uint16Array(1))[0], name);
    if (makeFolder(files, `${dir}/${id}`, false)) return id;
  }
  const id = runId(time, 0, name);
  throw trackError("make a folder of its own for the run", `${dir}/${id}`, "every name is taken");
}

function makeFolder(files: FileOps, path: string, parents: boolean): boolean {
  try {
    files.makeFolder(path, { parents });
    return true;
  } catch (error) {
    if (!parents && error instanceof Deno.errors.AlreadyExists) return false;
    throw trackError("make folder", path, error);
  }
}

function fillRunFolder(files: FileOps, runDir: string, meta: RunMeta): void {
  try {
    makeFolder(files, `${runDir}/logs`, true);
    writeMeta(files, runDir, meta);
  } catch (error) {
    const made = [`${runDir}/meta.json`, `${runDir}/logs`, runDir];
    const notes = made.map((path) => removeAfter(files, path)).filter(Boolean);
    if (notes.length === 0 || !(error instanceof TrackError)) throw error;
    const { message, path, code } = error;
    throw new TrackError([message, ...notes].join("; "), { path, code, cause: error });
  }
}

async function enclose<T>(
  session: RunSession,
  fn: (session: RunSession) => T | Promise<T>,
): Promise<T> {
  let result: T;
  try {
    result = await fn(session);
  } catch (error) {
    await endFailed(session, error);
    throw error;
  }
  await session.close();
  return result;
}

async function endFailed(session: RunSession, error: unknown): Promise<void> {
  session.fail(error);
  try {
    await session[Symbol.asyncDispose]();
  } catch (second) {
    const first = error instanceof Error ? error.message : String(error);
    throw new AggregateError([error, second], `${first}; ${(second as Error).message}`);
  }
}
