/** Opening a run: its folder, its record, its session. */

import { getLogger } from "@logtape/logtape";
import { readEnvironment, readGitState } from "./environment.ts";
import { TrackError, trackError } from "./errors.ts";
import { denoFileOps, type FileOps } from "./file_ops.ts";
import { describeValue, toJsonObject } from "./json_values.ts";
import { RUN_SCHEMA, type RunMeta, writeMeta } from "./meta.ts";
import { runId } from "./names.ts";
import { RunSession } from "./session.ts";
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
  /** How to write; by default on the real file system. */
  files?: FileOps;
  /** The clock; by default the real one. */
  now?: () => Date;
}

/**
 * Opens a run: makes a folder of its own for it, writes `meta.json`, and returns the session.
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
 * @throws {TrackError} if the folder or its record cannot be written
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
  const { files = denoFileOps, now = () => new Date(), name } = options;
  const dir = checkOptions(options);
  const params = toJsonObject(options.config ?? {}, "config");
  const tags = { ...options.tags };
  const git = await readGitState();
  const started = now();
  const id = makeRunFolder(files, dir, started, name);
  const meta: RunMeta = {
    schema: RUN_SCHEMA,
    id,
    name: name ?? null,
    status: "running",
    createdAt: started.toISOString(),
    endedAt: null,
    error: null,
    tags,
    notes: options.notes ?? "",
    params,
    env: readEnvironment(),
    git,
  };
  const runDir = `${dir}/${id}`;
  fillRunFolder(files, runDir, meta);
  getLogger(["legoml", "track"]).info("Run {id} started in {dir}", { id, dir: runDir });
  return new RunSession({ dir: runDir, meta, files, now });
}

function checkOptions({ name, notes, tags, dir = "runs" }: RunOptions): string {
  for (const [what, text] of Object.entries({ name, notes, dir })) {
    if (text !== undefined && typeof text !== "string") throw wrongType(what, text);
  }
  const wrong = Object.entries(tags ?? {}).find(([, text]) => typeof text !== "string");
  if (wrong !== undefined) throw wrongType(`tag "${wrong[0]}"`, wrong[1]);
  if (dir === "") throw new RangeError("Cannot open a run: expected a folder in dir, found none");
  return dir.replace(/(?<=.)\/+$/, "");
}

function wrongType(what: string, found: unknown): TypeError {
  return new TypeError(
    `Cannot open a run: expected ${what} to be a string, found ${describeValue(found)}`,
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
