/** `legoml sweep`: one program with many settings. */

import { TrackError, trackError } from "../errors.ts";
import { denoFileOps } from "../file_ops.ts";
import { directionOf } from "../report_series.ts";
import { writeWhole } from "../writing.ts";
import {
  type Command,
  type Input,
  jsonFlag,
  jsonText,
  naming,
  type Output,
  wholeNumber,
} from "./command.ts";
import { whenStopped } from "./signals.ts";
import { seedsOf, settingsOf } from "./sweep_settings.ts";
import { type SettingRow, settingRows, settingsTable, trialsCsv } from "./sweep_tables.ts";
import { type Outcome, readOutcome, runTrial, type Trial, trialsOf } from "./sweep_trials.ts";

/** Exit code of a program that was stopped by Ctrl-C. */
const INTERRUPTED = 130;

/** Runs a program with many settings. */
export const sweep: Command = {
  usage: "FILE.ts [-- FLAGS]",
  purpose: "Runs a program with every setting of a grid and with draws from ranges",
  details: [
    "The program takes its settings as flags, --seed where there are --seeds, and --json, upon which the",
    "last line that it prints is one JSON object, as the examples do. FLAGS are given to every run.",
    "Settings and results go to trials.csv in the folder of the sweep. Started again, a sweep runs what",
    "has not been completed. Ctrl-C stops the children too; a second one ends them at once.",
  ],
  count: [1, 1],
  flags: {
    grid: { value: "NAME=A,B", help: "a flag and its values", many: true },
    random: {
      value: "NAME=A..B",
      help: "a flag and a range; log:A..B for even exponents, int:A..B for whole numbers",
      many: true,
    },
    samples: { value: "N", help: "draws for each point of the grid (8)" },
    "draw-seed": { value: "N", help: "seed of the draws (0)" },
    seeds: { value: "A,B", help: "values of --seed, as 1,2,3 or 1..5" },
    jobs: { value: "N", help: "runs at once (1)" },
    metric: { value: "NAME", help: "the result by which settings are ordered" },
    min: { value: "", help: "small values of it are good (else its name says which)" },
    max: { value: "", help: "large values of it are good" },
    out: { value: "FOLDER", help: "the folder of the sweep (sweeps/ and the program's name)" },
    again: { value: "", help: "also run what has been completed" },
    json: jsonFlag,
  },
  async run(input: Input, output: Output): Promise<number> {
    const [program] = input.args;
    checkProgram(program);
    const settings = settingsOf({
      grid: input.all("grid"),
      random: input.all("random"),
      samples: wholeNumber(input, "samples", 8),
      drawSeed: wholeNumber(input, "draw-seed", 0, [0, Number.MAX_SAFE_INTEGER]),
    });
    const trials = await trialsOf(program, settings, seedsOf(input.text("seeds")), input.rest);
    const jobs = wholeNumber(input, "jobs", 1, [1, 256]);
    const sign = signOf(input);
    const name = program.slice(program.lastIndexOf("/") + 1).replace(/\.[^.]*$/, "");
    const folder = (input.text("out") ?? `sweeps/${name}`).replace(/(?<=.)\/+$/, "");
    makeFolder(`${folder}/trials`);
    const { outcomes, stopped } = await runAll(folder, program, trials, {
      jobs,
      again: input.has("again"),
      output,
    });
    const rows = ordered(settingRows(outcomes), input.text("metric"), sign);
    const failed = outcomes.filter(({ status }) => status === "failed");
    if (input.has("json")) output.out(jsonText({ folder, settings: rows, trials: outcomes }));
    else if (rows.length > 0) output.out(settingsTable(rows, input.text("metric")));
    if (stopped) {
      const left = trials.length - outcomes.length;
      output.err(`stopped with ${left} of ${trials.length} runs left; start it again to go on`);
      return INTERRUPTED;
    }
    if (failed.length === 0) return 0;
    const logs = naming(failed.map(({ id }) => `${folder}/trials/${id}.log`));
    output.err(`error: ${failed.length} of ${trials.length} runs failed: see ${logs}`);
    return 1;
  },
};

function checkProgram(program: string): void {
  try {
    if (Deno.statSync(program).isFile) return;
  } catch (error) {
    throw trackError("run a sweep of", program, error);
  }
  throw new RangeError(`Cannot run a sweep of ${program}: expected a file`);
}

function makeFolder(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true });
  } catch (error) {
    throw trackError("make folder", path, error);
  }
}

/** −1 where large values of the metric come first, 1 where small ones do; null without a metric. */
function signOf(input: Input): -1 | 1 | null {
  const metric = input.text("metric");
  const [min, max] = [input.has("min"), input.has("max")];
  if (metric === undefined) {
    if (min || max) {
      throw new TypeError("Cannot use --min or --max: expected --metric NAME as well");
    }
    return null;
  }
  if (min && max) throw new TypeError("Cannot use --min and --max together: expected one of them");
  const direction = min ? "min" : max ? "max" : directionOf(metric);
  if (direction !== null) return direction === "min" ? 1 : -1;
  throw new TypeError(`Cannot tell which values of ${metric} are good: expected --min or --max`);
}

function ordered(
  rows: SettingRow[],
  metric: string | undefined,
  sign: -1 | 1 | null,
): SettingRow[] {
  if (metric === undefined || sign === null) return rows;
  const names = new Set(rows.flatMap(({ results }) => Object.keys(results)));
  if (names.size > 0 && !names.has(metric)) {
    throw new RangeError(
      `Cannot order by ${metric}: the results that are numbers are ${naming([...names])}`,
    );
  }
  // What has no value, or NaN, comes last.
  const rank = ({ results }: SettingRow) => {
    const mean = results[metric]?.mean ?? NaN;
    return Number.isNaN(mean) ? Infinity : sign * mean;
  };
  return rows.toSorted((a, b) => rank(a) - rank(b) || 0);
}

async function runAll(
  folder: string,
  program: string,
  trials: readonly Trial[],
  { jobs, again, output }: {
    readonly jobs: number;
    readonly again: boolean;
    readonly output: Output;
  },
): Promise<{ readonly outcomes: Outcome[]; readonly stopped: boolean }> {
  const done = new Map<string, Outcome>();
  for (const trial of trials) {
    const before = again ? null : readOutcome(folder, trial);
    if (before !== null) done.set(trial.id, before);
  }
  if (done.size > 0) output.err(`${done.size} of ${trials.length} runs were completed before`);
  const inOrder = () => trials.flatMap(({ id }) => done.get(id) ?? []);
  const save = () =>
    writeWhole(
      denoFileOps,
      `${folder}/trials.csv`,
      new TextEncoder().encode(trialsCsv(inOrder())),
    );
  const [gently, atOnce] = [new AbortController(), new AbortController()];
  using stopping = whenStopped();
  stopping.first.then(() => gently.abort());
  stopping.second.then(() => atOnce.abort());
  const stop = { gently: gently.signal, atOnce: atOnce.signal };
  const waiting = trials.filter(({ id }) => !done.has(id));
  const worker = async () => {
    while (waiting.length > 0 && !gently.signal.aborted) {
      const trial = waiting.shift()!;
      const outcome = await runTrial(folder, program, trial, stop);
      if (outcome === null) return;
      done.set(trial.id, outcome);
      save();
      output.err(progressLine(outcome, done.size, trials.length));
    }
  };
  try {
    await Promise.all(Array.from({ length: jobs }, worker));
  } catch (error) {
    // One of them could not write; the others' children are not left behind.
    gently.abort();
    throw error instanceof TrackError ? error : trackError("run a sweep in", folder, error);
  }
  save();
  return { outcomes: inOrder(), stopped: gently.signal.aborted };
}

function progressLine(outcome: Outcome, done: number, all: number): string {
  const { settings, seed, status, seconds, problem } = outcome;
  const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  if (seed !== null) words.push(`seed=${seed}`);
  const end = status === "completed" ? `${seconds} s` : `failed: ${problem}`;
  return `[${done}/${all}] ${[...words, end].join(" ")}`;
}
