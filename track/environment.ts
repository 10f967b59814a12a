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
    hostname: granted({ name: "sys", kind: "hostname" }) ? Deno.hostname() : null,
    pid: Deno.pid,
    cwd: workingFolder(),
    command: [Deno.mainModule, ...Deno.args],
  };
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
  const commit = await git(["rev-parse", "HEAD"]);
  if (commit === null) return null;
  const changes = await git(["--no-optional-locks", "status", "--porcelain"]);
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
