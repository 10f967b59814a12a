/** A lock that lets one process alone reopen a run, and that no crash leaves valid for ever. */

import { processLives, type ProcessOfRun, thisProcess } from "./environment.ts";
import { TrackError, trackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { removeAfter } from "./writing.ts";

/** Milliseconds after which the lock of a process that nobody can look for counts as left behind. */
const STALE_MS = 60_000;
/** How long a lock may stay without its owner's name in it, which is written right after it is made. */
const UNSIGNED_TRIES = 20;
const UNSIGNED_WAIT_MS = 50;

/** A lock that this process holds. */
export interface ResumeLock {
  /** Removes it, and those that others left behind; gives notes of what could not be removed. */
  release(): string[];
}

/**
 * Takes the lock of a run: makes `resume-<n>.lock` in its folder, with the owner in it.
 *
 * Making a file that exists is an error, so one process makes each. A lock whose process is gone, or
 * that is older than a minute where that cannot be told, is passed over for the one with the next
 * number, never taken away: two that find it at once meet again at the next one. Who holds a lock
 * has to look at the run once more, since another one may have been here in between.
 *
 * @param files the file operations
 * @param dir the folder of the run
 * @param now the clock
 * @throws {TrackError} if another process is about to resume, or the lock cannot be written
 */
export async function lockForResume(
  files: FileOps,
  dir: string,
  now: () => Date,
): Promise<ResumeLock> {
  const passed: string[] = [];
  for (let n = 1;; n++) {
    const path = `${dir}/resume-${n}.lock`;
    if (make(files, path, now())) {
      const release = () => [path, ...passed].map((one) => removeAfter(files, one)).filter(Boolean);
      return { release };
    }
    const owner = await ownerOf(files, path);
    if (owner !== null && holds(owner, now())) throw taken(dir, path, owner);
    passed.push(path);
  }
}

interface Owner extends ProcessOfRun {
  readonly time: string;
}

function make(files: FileOps, path: string, now: Date): boolean {
  let made = false;
  try {
    const file = files.open(path, "create");
    made = true;
    try {
      const owner: Owner = { ...thisProcess(), time: now.toISOString() };
      file.write(new TextEncoder().encode(JSON.stringify(owner)));
    } finally {
      file.close();
    }
    return true;
  } catch (error) {
    if (!made && error instanceof Deno.errors.AlreadyExists) return false;
    throw trackError("lock", path, error, made ? removeAfter(files, path) : "");
  }
}

/** Who made a lock; null where it is gone, or was left before it was signed. */
async function ownerOf(files: FileOps, path: string): Promise<Owner | null> {
  for (let tries = 0; tries < UNSIGNED_TRIES; tries++) {
    try {
      const owner = JSON.parse(new TextDecoder().decode(files.read(path)));
      if (typeof owner?.pid === "number" && typeof owner.time === "string") return owner;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      if (!(error instanceof SyntaxError)) throw trackError("read", path, error);
    }
    await new Promise((resolve) => setTimeout(resolve, UNSIGNED_WAIT_MS));
  }
  return null;
}

function holds(owner: Owner, now: Date): boolean {
  return processLives(owner, owner.time) ?? now.getTime() - Date.parse(owner.time) <= STALE_MS;
}

function taken(dir: string, path: string, { pid, hostname }: Owner): TrackError {
  const where = hostname === null ? "" : ` on ${hostname}`;
  return new TrackError(
    `Cannot resume ${dir}: expected to be the only one, found that process ${pid}${where} is about ` +
      `to resume it, by ${path}`,
    { path: dir },
  );
}
