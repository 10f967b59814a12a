/** The trials of a sweep: one child process each, one file each. */

import { trackError } from "../errors.ts";
import { denoFileOps } from "../file_ops.ts";
import type { JsonValue } from "../json_values.ts";
import { writeWhole } from "../writing.ts";
import type { Settings } from "./sweep_settings.ts";

/** One run of the program. */
export interface Trial {
  /** Hash of all that it is started with; the name of its files. */
  readonly id: string;
  readonly settings: Settings;
  readonly seed: string | null;
  /** What stands behind the program's name. */
  readonly args: readonly string[];
}

/** How a trial ended. */
export interface Outcome {
  readonly id: string;
  readonly settings: Settings;
  readonly seed: string | null;
  readonly args: readonly string[];
  readonly status: "completed" | "failed";
  readonly code: number;
  readonly seconds: number;
  /** The JSON object on the last line of stdout; null for a failed one. */
  readonly result: Readonly<Record<string, JsonValue>> | null;
  /** Why it failed, in a sentence; null for a completed one. */
  readonly problem: string | null;
}

/** All trials: every setting with every seed. */
export async function trialsOf(
  program: string,
  settings: readonly Settings[],
  seeds: readonly (string | null)[],
  fixed: readonly string[],
): Promise<Trial[]> {
  const trials = settings.flatMap((each) =>
    seeds.map(async (seed) => {
      const own = Object.entries(each).flatMap(([name, value]) => [`--${name}`, value]);
      const args = [...own, ...seed === null ? [] : ["--seed", seed], ...fixed];
      const digest = await crypto.subtle.digest(
        "SHA-256",
        new TextEncoder().encode(JSON.stringify([program, args])),
      );
      return { id: new Uint8Array(digest).toHex().slice(0, 12), settings: each, seed, args };
    })
  );
  return await Promise.all(trials);
}

/** How a trial ended before; null where it did not, or what is there is not such a file. */
export function readOutcome(folder: string, { id }: Trial): Outcome | null {
  const path = `${folder}/trials/${id}.json`;
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw trackError("read", path, error);
  }
  try {
    const found = JSON.parse(text) as Outcome | null;
    return found?.id === id && found.status === "completed" ? found : null;
  } catch {
    return null;
  }
}

/** Runs a trial; its outcome is written unless it was stopped, which gives null. */
export async function runTrial(
  folder: string,
  program: string,
  trial: Trial,
  stop: { readonly gently: AbortSignal; readonly atOnce: AbortSignal },
): Promise<Outcome | null> {
  const log = `${folder}/trials/${trial.id}.log`;
  const started = performance.now();
  // In a group of its own a child hears of Ctrl-C once: from here, not from the terminal as well.
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--unstable-webgpu", program, ...trial.args, "--json"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: Deno.build.os !== "windows",
  }).spawn();
  const send = (signal: Deno.Signal) => () => {
    try {
      child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended by itself
    }
  };
  const [ask, force] = [send("SIGINT"), send("SIGKILL")];
  stop.gently.addEventListener("abort", ask);
  stop.atOnce.addEventListener("abort", force);
  if (stop.gently.aborted) ask();
  const [stdout, stderr, { code }] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.status,
  ]);
  stop.gently.removeEventListener("abort", ask);
  stop.atOnce.removeEventListener("abort", force);
  if (stop.gently.aborted) return null;
  write(log, `${stderr}${stdout}`);
  const outcome = outcomeOf(trial, { code, stdout, stderr }, performance.now() - started);
  write(`${folder}/trials/${trial.id}.json`, JSON.stringify(outcome, null, 2) + "\n");
  return outcome;
}

function write(path: string, text: string): void {
  writeWhole(denoFileOps, path, new TextEncoder().encode(text));
}

function outcomeOf(
  trial: Trial,
  { code, stdout, stderr }: { code: number; stdout: string; stderr: string },
  milliseconds: number,
): Outcome {
  const seconds = Math.round(milliseconds / 10) / 100;
  const failed = (problem: string): Outcome => ({
    ...trial,
    status: "failed",
    code,
    seconds,
    result: null,
    problem,
  });
  if (code !== 0) return failed(lastLine(stderr) ?? `it ended with exit code ${code}`);
  const line = lastLine(stdout);
  try {
    const result: unknown = JSON.parse(line ?? "");
    if (typeof result === "object" && result !== null && !Array.isArray(result)) {
      const values = result as Record<string, JsonValue>;
      return { ...trial, status: "completed", code, seconds, result: values, problem: null };
    }
  } catch {
    // What is no JSON is told of below.
  }
  return failed("expected one JSON object as the last line of its output");
}

function lastLine(text: string): string | undefined {
  // deno-lint-ignore no-control-regex -- colours of the terminal
  return text.replaceAll(/\u001b\[[\d;]*m/g, "").trimEnd().split("\n").at(-1)?.trim() || undefined;
}
