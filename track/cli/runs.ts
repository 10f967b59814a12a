/** Finding the runs that a command line means, and their numbers. */

import { trackError } from "../errors.ts";
import { listRuns, type RunListing } from "../read.ts";
import {
  type Direction,
  directionOf,
  type Extreme,
  extremeOf,
  finalValue,
  readSeries,
  type RunSeries,
} from "../report_series.ts";
import { readHead, type RunHead } from "../report_state.ts";
import { naming } from "./command.ts";

/** A run with its scalars. */
export interface LoadedRun extends RunHead {
  readonly id: string;
  readonly scalars: RunSeries;
}

/** What matters of a metric. */
export interface MetricSummary {
  readonly last: number | null;
  readonly best: Extreme | null;
  readonly direction: Direction | null;
  readonly count: number;
}

const idOf = (dir: string) => dir.slice(dir.lastIndexOf("/") + 1);

/**
 * The folder of the run that a word means: the beginning of its folder's name, the name it was given,
 * "latest", or a path to it.
 *
 * @throws {RangeError} if none or more than one fits, listing what there is
 */
export function findRun(dir: string, word: string): string {
  const listed = listRuns(dir);
  if (/[/\\]/.test(word)) {
    const path = word.replace(/[/\\]+$/, "");
    try {
      Deno.statSync(`${path}/meta.json`);
      return path;
    } catch {
      throw new RangeError(`Cannot find a run at ${word}: expected a folder with a meta.json`);
    }
  }
  if (listed.length === 0) {
    throw new RangeError(`Cannot find the run ${word}: ${dir} holds no runs`);
  }
  if (word === "latest") return listed[listed.length - 1].dir;
  const fits = (test: (run: RunListing) => boolean) => listed.filter(test);
  const found = [
    fits((run) => idOf(run.dir) === word),
    fits((run) => idOf(run.dir).startsWith(word)),
    fits((run) => run.meta?.name === word),
  ].find((list) => list.length > 0) ?? [];
  if (found.length === 1) return found[0].dir;
  if (found.length === 0) {
    const names = naming(listed.map((run) => idOf(run.dir)).reverse());
    throw new RangeError(`Cannot find the run ${word} in ${dir}: there are ${names}`);
  }
  throw new RangeError(
    `Cannot tell which run ${word} is: it may be ${naming(found.map((run) => idOf(run.dir)))}`,
  );
}

/** Reads a run. */
export function loadRun(dir: string, now: Date = new Date()): LoadedRun {
  return { ...readHead(dir, now), id: idOf(dir), scalars: readSeries(dir) };
}

/** Scalars that were read before, by the folder of their run, with the state of the file then. */
export type SeriesCache = Map<string, { readonly stamp: string; readonly scalars: RunSeries }>;

function cachedSeries(dir: string, cache: SeriesCache): RunSeries {
  const stamp = stampOf(`${dir}/logs/scalars.csv`);
  const before = cache.get(dir);
  if (before !== undefined && before.stamp === stamp) return before.scalars;
  const scalars = readSeries(dir);
  cache.set(dir, { stamp, scalars });
  return scalars;
}

function stampOf(path: string): string {
  try {
    const { size, mtime, ino } = Deno.statSync(path);
    return `${size} ${mtime?.getTime()} ${ino}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "absent";
    throw trackError("read", path, error);
  }
}

/**
 * Reads the runs of a folder; those that cannot be read are given with the reason.
 *
 * @param dir the folder
 * @param now the present time
 * @param cache scalars of files that have not changed are taken from here
 */
export function loadAll(
  dir: string,
  now: Date = new Date(),
  cache: SeriesCache = new Map(),
): { readonly runs: LoadedRun[]; readonly broken: { id: string; dir: string; problem: string }[] } {
  const runs: LoadedRun[] = [];
  const broken: { id: string; dir: string; problem: string }[] = [];
  for (const { dir: folder } of listRuns(dir)) {
    try {
      const scalars = cachedSeries(folder, cache);
      runs.push({ ...readHead(folder, now), id: idOf(folder), scalars });
    } catch (error) {
      broken.push({ id: idOf(folder), dir: folder, problem: (error as Error).message });
    }
  }
  return { runs, broken };
}

/** Last and best value of a metric; null where the run has none of that name. */
export function summaryOf(
  { scalars }: LoadedRun,
  key: string,
  direction: Direction | null = directionOf(key),
): MetricSummary | null {
  const series = scalars.series.get(key);
  if (series === undefined) return null;
  return {
    last: finalValue(series),
    best: direction === null ? null : extremeOf(series, direction),
    direction,
    count: series.values.length,
  };
}

/** All metrics of a run by name, in the order of their names, those of steps last. */
export function summariesOf(run: LoadedRun): Record<string, MetricSummary> {
  const keys = keysOf([run]);
  return Object.fromEntries(keys.map((key) => [key, summaryOf(run, key)!]));
}

/** The names of all metrics of some runs, those of steps last. */
export function keysOf(runs: readonly LoadedRun[]): string[] {
  const keys = new Set(runs.flatMap(({ scalars }) => [...scalars.series.keys()]));
  const isStep = (key: string) => Number(key.startsWith("step/"));
  return [...keys].sort((a, b) => isStep(a) - isStep(b) || (a < b ? -1 : 1));
}

/** Completed epochs as far as the values say; null where they do not. */
export function epochsOf({ scalars }: LoadedRun): number | null {
  const last = [...scalars.series.values()].flatMap(({ epochs }) => epochs.slice(-1))
    .filter((epoch) => !Number.isNaN(epoch));
  return last.length === 0 ? null : Math.max(...last);
}

/** Refuses a metric that no run has. @throws {RangeError} listing those that there are */
export function checkMetric(runs: readonly LoadedRun[], key: string, where: string): void {
  const keys = keysOf(runs);
  if (keys.includes(key)) return;
  const there = keys.length === 0 ? "there are none" : `there are ${naming(keys)}`;
  throw new RangeError(`Cannot find the metric ${key} in ${where}: ${there}`);
}
