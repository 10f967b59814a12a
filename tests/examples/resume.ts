/** Stops an example by a signal, goes on in a new process, and compares with a run that never stopped. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { currentScalars, readRun } from "../../track/mod.ts";
import { lastJson, type Outcome, runExample } from "./command.ts";

const root = new URL("../..", import.meta.url);

/** Runs an example, and sends a signal as soon as so many loops have begun and one more step is done. */
export async function stopped(
  file: string,
  args: readonly string[],
  { signal = "SIGINT", loops = 1 }: { signal?: Deno.Signal; loops?: number } = {},
): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--unstable-webgpu", file, ...args, "--progress", "json", "--json"],
    cwd: root,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const deadline = setTimeout(() => child.kill("SIGKILL"), 120_000);
  const stderr = new Response(child.stderr).text();
  let [sent, stdout] = [false, ""];
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += part;
    const begun = stdout.split('{"event":"start"');
    if (sent || begun.length <= loops || !begun[loops].includes('{"event":"step"')) continue;
    sent = true;
    child.kill(signal);
  }
  const { code } = await child.status;
  clearTimeout(deadline);
  return { code, stdout, stderr: await stderr };
}

/** The scalars that count, without when and in which process they were logged. */
function scalarsOf(dir: string): unknown[] {
  return currentScalars(readRun(dir).scalars).map(({ time: _t, segment: _s, ...row }) => row);
}

/** The hash of the weights that a run has saved; files that differ would make a very long message. */
export async function weightsOf({ runDir }: Record<string, unknown>): Promise<string> {
  const bytes = await Deno.readFile(`${runDir}/artifacts/model.safetensors`);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** What both runs have in common in the end. */
export interface Both {
  /** What the stopped run printed. */
  readonly first: Record<string, unknown>;
  /** What the run printed that was resumed. */
  readonly resumed: Record<string, unknown>;
  /** What the run printed that never stopped. */
  readonly whole: Record<string, unknown>;
}

/**
 * Asserts that a run which was stopped and resumed gives the weights, the scalars and the numbers of
 * one that never stopped.
 *
 * @param file the example
 * @param args its flags, for a run of at least a second
 * @param loops stop in this loop
 */
export async function assertResumes(
  file: string,
  args: readonly string[],
  loops: number = 1,
): Promise<Both> {
  const runs = await Deno.makeTempDir();
  const settings = [...args, "--device", "cpu", "--runs", runs];
  const [whole, [first, resumed]] = await Promise.all([
    runExample(file, [...settings, "--json"]),
    stopAndGoOn(file, settings, loops),
  ]);
  assertEquals(whole.code, 0, whole.stderr);
  const [a, b] = [lastJson(whole.stdout), resumed];
  const ignored = { seconds: 0, runDir: "" };
  assertEquals({ ...b, ...ignored }, { ...a, ...ignored });
  assertEquals(await weightsOf(b), await weightsOf(a));
  const [expected, found] = [a, b].map(({ runDir }) => scalarsOf(runDir as string));
  assert(expected.length > 3, `${expected.length} rows`);
  assertEquals(found, expected);
  assertEquals([...Deno.readDirSync(runs)].filter(({ isDirectory }) => isDirectory).length, 2);
  return { first, resumed, whole: a };
}

async function stopAndGoOn(file: string, settings: readonly string[], loops: number) {
  const stop = await stopped(file, settings, { loops });
  assertEquals(stop.code, 130, stop.stderr + stop.stdout);
  const first = lastJson(stop.stdout);
  const dir = first.runDir as string;
  assertEquals(readRun(dir).meta.status, "interrupted");
  const outcome = await runExample(file, ["--resume", dir, "--json"]);
  assertEquals(outcome.code, 0, outcome.stderr);
  assertMatch(outcome.stderr, /^resumed after step \d+$/m);
  const resumed = lastJson(outcome.stdout);
  const { meta } = readRun(dir);
  assertEquals([resumed.runDir, meta.status], [dir, "completed"]);
  assert(meta.segments.length >= 2);
  return [first, resumed];
}
