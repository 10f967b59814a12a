/** Finding the runs that a command line means, and their numbers. */

import { trackError } from "../errors.ts";
import { listRuns, type RunListing } from "../read.ts";
import {
  type Direction,
  directionIn,
  type Extreme,
  extremeOf,
  finalValue,
  mainMetric,
  type Series,
} from "../report_series.ts";
import { readHead, type RunHead } from "../report_state.ts";
import { type RunScalars, scanRun } from "../scalar_scan.ts";
import { naming } from "./command.ts";

/** What every command knows of a run. */
export interface KnownRun extends RunHead {
  readonly id: string;
  /** The names of its metrics. */
  readonly keys: readonly string[];
}

/** A run with its scalars. */
export interface LoadedRun extends KnownRun {
  readonly scalars: RunScalars;
}

/** A run among many, with the numbers of one metric, so that not all of them are kept. */
export interface ListedRun extends KnownRun {
  readonly epochs: number | null;
  /** The metric that was asked for, else the one that the run is judged by; null where it has none. */
  readonly metric: string | null;
  /** What matters of it; null where the run has none of that name. */
  readonly range: MetricRange | null;
}

/** What matters of a metric, whichever values are good. */
export interface MetricRange {
  readonly last: number | null;
  readonly least: Extreme | null;
  readonly largest: Extreme | null;
  readonly count: number;
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
  const scalars = scanRun(dir);
  return { ...readHead(dir, now), id: idOf(dir), keys: scalars.keys, scalars };
}

type ListedScalars = Pick<ListedRun, "keys" | "epochs" | "metric" | "range">;

/** Numbers that were read before, by the folder of their run, with the state of the files then. */
export type ListCache = Map<string, { readonly stamp: string; readonly scalars: ListedScalars }>;

function listedScalars(dir: string, wanted: string | undefined, cache: ListCache): ListedScalars {
  const files = [`${dir}/logs/scalars.csv`, `${dir}/meta.json`];
  const stamp = [wanted, ...files.map(stampOf)].join(" ");
  const before = cache.get(dir);
  if (before !== undefined && before.stamp === stamp) return before.scalars;
  const { keys, lastEpoch, series } = scanRun(dir);
  const metric = wanted ?? mainMetric(keys);
  const found = metric === null ? undefined : series(metric);
  const range = found === undefined ? null : rangeOf(found);
  const scalars = { keys, epochs: lastEpoch, metric, range };
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

/** Which runs `loadAll` gives, and with what. */
export interface LoadOptions {
  /** The present time. */
  readonly now?: Date;
  /** The metric whose numbers are wanted; by default the one that each run is judged by. */
  readonly metric?: string;
  /** Numbers of files that have not changed are taken from here. */
  readonly cache?: ListCache;
}

/**
 * Reads the runs of a folder; those that cannot be read are given with the reason.
 *
 * @param dir the folder
 * @param options time, metric, cache
 */
export function loadAll(
  dir: string,
  { now = new Date(), metric, cache = new Map() }: LoadOptions = {},
): { readonly runs: ListedRun[]; readonly broken: { id: string; dir: string; problem: string }[] } {
  const runs: ListedRun[] = [];
  const broken: { id: string; dir: string; problem: string }[] = [];
  for (const { dir: folder } of listRuns(dir)) {
    try {
      const scalars = listedScalars(folder, metric, cache);
      runs.push({ ...readHead(folder, now), id: idOf(folder), ...scalars });
    } catch (error) {
      broken.push({ id: idOf(folder), dir: folder, problem: (error as Error).message });
    }
  }
  return { runs, broken };
}

function rangeOf(series: Series): MetricRange {
  return {
    last: finalValue(series),
    least: extremeOf(series, "min"),
    largest: extremeOf(series, "max"),
    count: series.values.length,
  };
}

/** Which value of a metric is the best; null where nobody knows which are good. */
export function bestOf(range: MetricRange, direction: Direction | null): Extreme | null {
  return direction === null ? null : direction === "min" ? range.least : range.largest;
}

/** Last and best value of a metric; null where the run has none of that name. */
export function summaryOf(run: LoadedRun, key: string): MetricSummary | null {
  const series = run.scalars.series(key);
  if (series === undefined) return null;
  const [range, direction] = [rangeOf(series), directionIn([run], key)];
  return { last: range.last, best: bestOf(range, direction), direction, count: range.count };
}

/** All metrics of a run by name, in the order of their names, those of steps last. */
export function summariesOf(run: LoadedRun): Record<string, MetricSummary> {
  const keys = keysOf([run]);
  return Object.fromEntries(keys.map((key) => [key, summaryOf(run, key)!]));
}

/** The names of all metrics of some runs, those of steps last. */
export function keysOf(runs: readonly KnownRun[]): string[] {
  const all = new Set(runs.flatMap(({ keys }) => keys));
  const isStep = (key: string) => Number(key.startsWith("step/"));
  return [...all].sort((a, b) => isStep(a) - isStep(b) || (a < b ? -1 : 1));
}

/** Refuses a metric that no run has. @throws {RangeError} listing those that there are */
export function checkMetric(runs: readonly KnownRun[], key: string, where: string): void {
  const keys = keysOf(runs);
  if (keys.includes(key)) return;
  const there = keys.length === 0 ? "there are none" : `there are ${naming(keys)}`;
  throw new RangeError(`Cannot find the metric ${key} in ${where}: ${there}`);
}
