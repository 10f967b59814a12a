/** What a run records of the machine and of the source tree that it runs on. */

import { getLogger } from "@logtape/logtape";
import { reasonOf } from "./errors.ts";

const GIT_TIMEOUT_MS = 5_000;

/** The program and the machine of a run. */
export interface RunEnvironment {
  /** Version of Deno. */
  deno: string;
  /** Version of V8. */
  v8: string;
  /** Version of TypeScript. */
  typescript: string;
  /** Operating system, such as "linux". */
  os: string;
  /** Processor architecture, such as "x86_64". */
  arch: string;
  /** Name of the machine; null without the permission to ask for it. */
  hostname: string | null;
  /** Number of the process. */
  pid: number;
  /** Working folder; null where it cannot be asked for, or has been removed. */
  cwd: string | null;
  /** The main module and the arguments of the program. */
  command: string[];
}

/** The state of the source tree around the working folder. */
export interface GitState {
  /** Hash of the commit that is checked out. */
  commit: string;
  /** Whether files differ from that commit, untracked ones included; null where git did not say. */
  dirty: boolean | null;
}

/** Asks for nothing that needs a permission the program does not have, and never prompts. */
export function readEnvironment(): RunEnvironment {
  return {
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    typescript: Deno.version.typescript,
    os: Deno.build.os,
    arch: Deno.build.arch,
    ...thisProcess(),
    cwd: workingFolder(),
    command: [Deno.mainModule, ...Deno.args],
  };
}

/** A process on a machine. */
export interface ProcessOfRun {
  /** Its number. */
  pid: number;
  /** Name of the machine; null without the permission to ask for it. */
  hostname: string | null;
}

/** The process that asks. */
export function thisProcess(): ProcessOfRun {
  const named = granted({ name: "sys", kind: "hostname" });
  return { pid: Deno.pid, hostname: named ? Deno.hostname() : null };
}

/**
 * Whether a process lives that did something at a time; null where that cannot be known, as for
 * another machine.
 */
export function processLives({ pid, hostname }: ProcessOfRun, time: string): boolean | null {
  if (hostname === null || hostname !== thisProcess().hostname) return null;
  if (pid === Deno.pid) return !beganAfter(Date.parse(time));
  if (Deno.build.os !== "linux") return null;
  try {
    // the state stands behind the name, which may hold anything; Z is a process that nobody has waited for
    const [state] = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ").at(-1)!;
    return state !== "Z" && state !== "X";
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? false : null;
  }
}

// in a container that was started again, the program has the number that it had before
function beganAfter(time: number): boolean {
  // a worker only knows when it began itself
  return !("DedicatedWorkerGlobalScope" in globalThis) && performance.timeOrigin > time + 1000;
}

function workingFolder(): string | null {
  try {
    return Deno.cwd();
  } catch (error) {
    log().debug("No working folder: {reason}", { reason: reasonOf(error) });
    return null;
  }
}

/** The commit and whether the tree is dirty; null without git, the permission, or a repository. */
export async function readGitState(): Promise<GitState | null> {
  if (!granted({ name: "run", command: "git" })) return null;
  const [commit, changes] = await Promise.all([
    git(["rev-parse", "HEAD"]),
    git(["--no-optional-locks", "status", "--porcelain"]),
  ]);
  if (commit === null) return null;
  return { commit: commit.trim(), dirty: changes === null ? null : changes !== "" };
}

async function git(args: string[]): Promise<string | null> {
  try {
    const command = new Deno.Command("git", {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(GIT_TIMEOUT_MS),
    });
    const { success, stdout, stderr } = await command.output();
    if (success) return new TextDecoder().decode(stdout);
    const reason = new TextDecoder().decode(stderr).trim();
    log().debug("No answer from git {args}: {reason}", { args, reason });
  } catch (error) {
    log().debug("No answer from git {args}: {reason}", { args, reason: reasonOf(error) });
  }
  return null;
}

function granted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

function log(): ReturnType<typeof getLogger> {
  return getLogger(["legoml", "track"]);
}
