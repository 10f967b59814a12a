/** What the examples that train share: how a run is opened or goes on, how it is watched, how it ends. */

import type { Callback, Engine } from "../core/mod.ts";
import { ProgressBarCallback } from "../core/mod.ts";
import {
  type ChartSeries,
  currentScalars,
  readRun,
  type RunOptions,
  type RunSession,
  TrackError,
} from "../track/mod.ts";
import {
  choiceFlag,
  common,
  type Earlier,
  type Flag,
  free,
  program,
  switchFlag,
  textFlag,
  type Values,
} from "./program.ts";

/** Flags of every example that trains. */
export const training = {
  ...common,
  resume: free(textFlag(null, "go on in this run folder, with its flags; --epochs may change")),
  progress: free(choiceFlag(["auto", "live", "plain", "json", "none"], "auto", "how it is shown")),
  report: free(switchFlag("write report.html into the run folder when it ends")),
} as const;

type TrainingFlags = typeof training & Readonly<Record<string, Flag<unknown>>>;

/**
 * Runs an example that trains: with `--resume DIR` it has the flags of that run, and goes on in its folder.
 * A first Ctrl-C ends training after the running step; the result is printed and saved all the same.
 *
 * @param name what run folders are called
 * @param purpose what the example does, for --help
 * @param flags the flags by name, with those of `training`
 * @param main the example; gets the values of the flags, and how to open its run
 */
export async function trainingProgram<F extends TrainingFlags>(
  name: string,
  purpose: string,
  flags: F,
  main: (values: Values<F>, opening: RunOptions) => Promise<Record<string, unknown>>,
): Promise<void> {
  const start = (values: Values<F>) => {
    const { resume, progress: _, report, runs: dir, ...config } = values as Values<typeof training>;
    return main(values, { name, dir, resume, report, config });
  };
  await program(purpose, flags, start, ({ resume }) => earlierRun(name, resume));
}

/** The flags of a run that goes on. */
function earlierRun(name: string, dir: string | undefined): Earlier | null {
  if (dir === undefined) return null;
  try {
    const { meta } = readRun(dir);
    if (meta.name === name) return { name: dir, settings: meta.params };
    throw new RangeError(`Cannot resume ${dir}: expected a run of ${name}, found ${meta.name}`);
  } catch (error) {
    if (!(error instanceof TrackError) || error.code !== "ENOENT") throw error;
    throw new RangeError(`Cannot resume ${dir}: expected the folder of a run, found no meta.json`);
  }
}

/**
 * Goes on from the last checkpoint of the run. Where there is none yet it saves the first one, so that a
 * run can go on whenever it is stopped.
 *
 * @param trainer an engine with a CheckpointCallback
 * @returns where the trainer stands
 */
export async function goOn<S extends { readonly globalStep: number }>(
  trainer: Pick<Engine, "resume" | "saveCheckpoint"> & { readonly state: S },
): Promise<S> {
  const found = await trainer.resume();
  if (found === null) await trainer.saveCheckpoint();
  else console.error(`resumed after step ${trainer.state.globalStep}`);
  return trainer.state;
}

/**
 * Callbacks that show how training goes, as `--progress` says, and that make a signal which ended it known
 * to whoever started the program: exit code 130 after Ctrl-C, 143 after SIGTERM, which are 128 and the
 * signal's number.
 *
 * @param values the value of `--progress`
 * @param loss the name of the loss in the step's output
 */
export function display(
  { progress }: Pick<Values<typeof training>, "progress">,
  loss = "loss",
): Callback[] {
  const exitCode: Callback = {
    name: "exit code",
    onEngineEnd({ reason, detail }) {
      if (reason === "interrupted") Deno.exitCode = detail === "SIGTERM" ? 143 : 130;
    },
  };
  if (progress === "none") return [exitCode];
  const mode = progress === "auto" ? undefined : progress;
  return [new ProgressBarCallback({ mode, loss }), exitCode];
}

/**
 * The course of scalars, for a chart; those that were not logged are left out.
 *
 * @param session the run
 * @param keys names of the scalars
 * @param x what is counted along the axis
 * @param name what to call a line; by default like its scalar
 */
export function courses(
  session: RunSession,
  keys: readonly string[],
  x: "step" | "epoch",
  name = (key: string) => key,
): ChartSeries[] {
  const rows = currentScalars(readRun(session.dir).scalars);
  return keys.map((key) => {
    const points = rows.filter((row) => row.key === key);
    return { name: name(key), x: points.map((row) => row[x]!), y: points.map((row) => row.value!) };
  }).filter((series) => series.x.length > 0);
}
