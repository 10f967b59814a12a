/** Runs the processes of `resume_program.ts`, two at a time. */

import { runDeno } from "../examples/command.ts";
import { differences, type Digest } from "./resume_digest.ts";
import type { Done, Job } from "./resume_program.ts";

const LANES = 2;
const waiting: (() => void)[] = [];
let running = 0;

/** Runs jobs in a process of their own, one after the other, and says what came of each. */
export async function perform(...jobs: readonly Job[]): Promise<Done[]> {
  const { code, stdout, stderr } = await inLane(() => start(jobs));
  if (code !== 0) throw new Error(`${JSON.stringify(jobs)} ended with ${code}: ${stderr}`);
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as Done);
}

/** Runs a job that kills itself. */
export async function performKilled(job: Job): Promise<void> {
  const { code, stderr } = await inLane(() => start([job]));
  // 128 + SIGKILL
  if (code !== 137) throw new Error(`${JSON.stringify(job)} ended with ${code}: ${stderr}`);
}

function start(jobs: readonly Job[]) {
  const args = jobs.map((job) => JSON.stringify(job));
  return runDeno([
    "run",
    "-A",
    "--no-check",
    "--unstable-webgpu",
    "tests/track/resume_program.ts",
    ...args,
  ]);
}

async function inLane<T>(work: () => Promise<T>): Promise<T> {
  while (running >= LANES) await new Promise<void>((go) => waiting.push(go));
  running++;
  try {
    return await work();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

/** The names of what differs from the whole run; the scalars with their first difference. */
export function differing(whole: Digest | null, other: Digest | null): string[] {
  if (whole === null || other === null) return ["a run without an end"];
  return differences(whole, other).map((name) =>
    name === "scalars" ? `scalars: ${firstDifference(whole.scalars, other.scalars)}` : name
  );
}

function firstDifference(a: string, b: string): string {
  const [x, y] = [a.split("\n"), b.split("\n")];
  const at = x.findIndex((line, i) => line !== y[i]);
  return at < 0 ? `${y.length - x.length} more lines` : `line ${at}, ${x[at]} and ${y[at]}`;
}
