/**
 * Times this library against jax-js and TensorFlow.js on the same adapter, or with `--device cpu` against jax-js on WebAssembly
 * and PyTorch, in one run.
 *
 *   deno task bench:peers --model small --model mlp --rounds 3
 *   deno task bench:peers --device cpu
 *
 * Same networks, start weights, batches, Adam and cross-entropy; the losses of the first steps must
 * agree, or the run fails. Each library works in a process of its own and they take turns. Shader
 * caches on disk are off, so that every first step compiles, unless --shader-cache is given. All are timed alike: some steps, then
 * one read of the loss, whose wait counts.
 */

import { parseArgs } from "@std/cli/parse-args";
import { countOf, refuse, valuesOf } from "./flags.ts";
import { modelOf, models } from "./models.ts";
import { digits, textTable } from "./text_table.ts";
import { runTorch, type TorchOptions } from "./torch.ts";
import { type Measurement, median } from "./trainer.ts";

/** What a child prints. */
interface Report extends Measurement {
  readonly model: string;
  readonly library: string;
  readonly adapter: string;
}

/** A library on a model: its reports, and why it failed where it did. */
interface Entry {
  readonly model: string;
  readonly name: string;
  readonly reports: Report[];
  failure: string | null;
}

/** What is printed of an entry. */
interface Summary {
  readonly model: string;
  readonly library: string;
  readonly adapter: string;
  readonly msPerStep: number;
  readonly msPerStepBest: number;
  /** Median time over that of this library. */
  readonly ratio: number;
  readonly dispatches: number;
  readonly submits: number;
  readonly bindGroups: number;
  readonly firstStepMs: number;
  readonly loss: number;
  /** Largest relative distance of the first losses from those of this library. */
  readonly lossDistance: number;
}

/** Keeps Mesa and NVIDIA drivers from remembering compiled shaders. */
const NO_SHADER_CACHE = {
  MESA_SHADER_CACHE_DISABLE: "true",
  __GL_SHADER_DISK_CACHE: "0",
  NO_COLOR: "1",
};
/** Losses may differ by so much, relative: they come from other orders of summation. */
const LOSS_TOLERANCE = 1e-3;

/** Runs a library on a model in a process of its own. */
async function runChild(name: string, model: string, options: ChildOptions): Promise<Report> {
  const start = performance.now();
  const { success, stdout, stderr } =
    await (name === "torch"
      ? runTorch(modelOf(model), options)
      : denoChild(name, model, options).output());
  const decoder = new TextDecoder();
  const line = decoder.decode(stdout).split("\n").findLast((text) => text.startsWith("{"));
  if (success && line !== undefined) return JSON.parse(line);
  if (performance.now() - start >= options.timeout * 1000) {
    throw new Error(`no result within ${options.timeout} s`);
  }
  const text = decoder.decode(stderr);
  const reason = text.split("\n").findLast((l) => /error:/i.test(l)) ??
    text.trim().split("\n").at(-1);
  throw new Error(reason?.replace(/^.*?error:\s*(Uncaught )?(\(in promise\) )?/i, "") ?? "");
}

function denoChild(name: string, model: string, options: ChildOptions): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--unstable-webgpu",
      new URL("peer_child.ts", import.meta.url).href,
      `--library=${name}`,
      `--model=${model}`,
      `--repeats=${options.repeats}`,
      `--device=${options.device}`,
      ...(options.eager ? ["--eager"] : []),
    ],
    cwd: new URL("../..", import.meta.url),
    env: options.shaderCache ? { NO_COLOR: "1" } : NO_SHADER_CACHE,
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(options.timeout * 1000),
  });
}

interface ChildOptions extends TorchOptions {
  readonly device: string;
  readonly eager: boolean;
  readonly shaderCache: boolean;
}

/** Runs all libraries in turn, round by round. */
async function runModel(
  model: string,
  libraries: readonly string[],
  rounds: number,
  options: ChildOptions,
): Promise<Entry[]> {
  const entries = libraries.map((name): Entry => ({ model, name, reports: [], failure: null }));
  for (let round = 0; round < rounds; round++) {
    for (const entry of entries) {
      if (entry.failure !== null) continue;
      console.error(`${model}: ${entry.name}, round ${round + 1} of ${rounds}`);
      try {
        entry.reports.push(await runChild(entry.name, model, options));
      } catch (error) {
        entry.failure = error instanceof Error ? error.message : String(error);
      }
    }
  }
  return entries;
}

function lossDistance(a: readonly number[], b: readonly number[]): number {
  const distances = a.map((loss, i) => Math.abs(loss - b[i]) / Math.abs(b[i]));
  return distances.some(Number.isNaN) ? Infinity : Math.max(...distances);
}

/** The figures of an entry that ran, beside those of this library. */
function summarise({ model, reports }: Entry, ours: Entry): Summary {
  const middle = (of: (report: Report) => number) => median(reports.map(of));
  const msPerStep = middle((r) => r.msPerStep);
  const [{ library, adapter, counts, losses }] = reports;
  const base = ours.reports[0];
  return {
    model,
    library,
    adapter,
    msPerStep,
    msPerStepBest: Math.min(...reports.flatMap((r) => r.repeats)),
    ratio: msPerStep / median(ours.reports.map((r) => r.msPerStep)),
    dispatches: counts.dispatches,
    submits: counts.submits,
    bindGroups: counts.bindGroups,
    firstStepMs: middle((r) => r.firstStepMs),
    loss: losses[losses.length - 1],
    lossDistance: base === undefined ? NaN : lossDistance(losses, base.losses),
  };
}

/** What makes the comparison worthless. */
function problemsOf(summaries: readonly Summary[]): string[] {
  const [ours] = summaries;
  return summaries.flatMap(({ model, library, adapter, lossDistance: distance }) => {
    const found: string[] = [];
    if (!(distance <= LOSS_TOLERANCE)) {
      found.push(
        `${model}: the losses of ${library} are not those of ${ours.library}: relative distance ` +
          `${distance.toExponential(1)}, expected at most ${LOSS_TOLERANCE}`,
      );
    }
    if (flags.device === "webgpu" && adapter !== ours.adapter) {
      found.push(`${model}: ${library} ran on "${adapter}", ${ours.library} on "${ours.adapter}"`);
    }
    return found;
  });
}

function rowOf(summary: Summary): string[] {
  const { model, library, msPerStep, msPerStepBest, ratio, loss, lossDistance } = summary;
  return [
    model,
    library,
    digits(msPerStep),
    digits(msPerStepBest),
    `${digits(ratio)} ×`,
    digits(summary.dispatches).replace(/\.0+$/, ""),
    digits(summary.submits).replace(/\.0+$/, ""),
    summary.firstStepMs.toFixed(0),
    loss.toFixed(5),
    Number.isNaN(lossDistance) ? "–" : lossDistance.toExponential(0),
  ];
}

const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  webgpu: ["ours", "jax-js", "tfjs"],
  cpu: ["ours", "jax-js", "torch"],
};
const HEAD = [
  "model",
  "library",
  "ms/step",
  "best",
  "time vs ours",
  "dispatches",
  "submits",
  "first step ms",
  "loss",
  "loss differs",
];

const flags = parseArgs(Deno.args, {
  string: ["model", "library", "rounds", "repeats", "timeout", "device", "python"],
  boolean: ["json", "eager", "shader-cache"],
  default: {
    rounds: "3",
    repeats: "3",
    timeout: "300",
    device: "webgpu",
    python: "/usr/bin/python3",
  },
  unknown: refuse(
    `--model ${Object.keys(models).join("|")} --library jax-js|tfjs|torch --rounds --repeats ` +
      "--device webgpu|cpu --python PATH --timeout SECONDS --eager --shader-cache --json",
  ),
});
const named = valuesOf(Deno.args, "model");
const chosen = named.length > 0 ? new Set(named) : Object.keys(models);
for (const name of chosen) modelOf(name);
const peers = valuesOf(Deno.args, "library");
if (LIBRARIES[flags.device] === undefined) {
  throw new RangeError(`Cannot use --device ${flags.device}: expected webgpu or cpu`);
}
const libraries = LIBRARIES[flags.device].filter((l) =>
  l === "ours" || peers.length === 0 || peers.includes(l)
);
const options: ChildOptions = {
  repeats: countOf("repeats", flags.repeats),
  timeout: countOf("timeout", flags.timeout),
  device: flags.device,
  python: flags.python,
  eager: flags.eager,
  shaderCache: flags["shader-cache"],
};

const summaries: Summary[] = [];
const failures: { model: string; library: string; reason: string }[] = [];
const problems: string[] = [];
for (const model of chosen) {
  const entries = await runModel(model, libraries, countOf("rounds", flags.rounds), options);
  const done = entries.filter((e) => e.failure === null).map((e) => summarise(e, entries[0]));
  summaries.push(...done);
  if (entries[0].failure === null) problems.push(...problemsOf(done));
  else problems.push(`${model}: nothing to compare the others with`);
  for (const { name, failure } of entries) {
    if (failure !== null) failures.push({ model, library: name, reason: failure });
  }
}
if (flags.json) {
  console.log(JSON.stringify({ results: summaries, failures, problems }));
} else {
  console.log(`${summaries[0]?.adapter ?? "no adapter"}, Deno ${Deno.version.deno}\n`);
  if (summaries.length > 0) console.log(textTable(HEAD, summaries.map(rowOf), 2));
  for (const { model, library, reason } of failures) {
    console.log(`\n${model}: ${library} did not run: ${reason}`);
  }
  for (const problem of problems) console.log(`\n${problem}`);
}
if (problems.length > 0) Deno.exit(1);
