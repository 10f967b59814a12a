/** What came out of a sweep, as tables. */

import { stringify } from "@std/csv/stringify";
import { showValue } from "../report_state.ts";
import { directionOf } from "../report_series.ts";
import { textTable } from "./command.ts";
import type { Outcome } from "./sweep_trials.ts";
import type { Settings } from "./sweep_settings.ts";

/** A result over the seeds of a setting. */
export interface Spread {
  readonly mean: number;
  /** Sample standard deviation; null for a single value. */
  readonly deviation: number | null;
  readonly count: number;
}

/** One setting with its results over the seeds. */
export interface SettingRow {
  readonly settings: Settings;
  readonly completed: number;
  readonly failed: number;
  readonly results: Readonly<Record<string, Spread>>;
}

/** A row for each trial: its setting, how it ended, all that it gave. */
export function trialsCsv(outcomes: readonly Outcome[]): string {
  const names = namesOf(outcomes.map(({ settings }) => settings));
  const results = namesOf(outcomes.map(({ result }) => result ?? {}));
  const head = [
    "trial",
    ...names,
    "seed",
    "status",
    "code",
    "seconds",
    "problem",
    ...results.map((name) => `result/${name}`),
  ];
  const rows = outcomes.map(({ id, settings, seed, status, code, seconds, problem, result }) => [
    id,
    ...names.map((name) => settings[name]),
    seed,
    status,
    code,
    seconds,
    problem,
    ...results.map((name) => cellOf(result?.[name])),
  ]);
  return stringify([head, ...rows], { headers: false });
}

function cellOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function namesOf(objects: readonly Readonly<Record<string, unknown>>[]): string[] {
  return [...new Set(objects.flatMap((each) => Object.keys(each)))];
}

/**
 * Mean and deviation over the seeds of every setting, of all results that are numbers. JSON has no NaN,
 * so a null among numbers counts as one: a training that diverged does not leave the mean in silence.
 */
export function settingRows(outcomes: readonly Outcome[]): SettingRow[] {
  const given = outcomes.flatMap(({ result }) => result === null ? [] : [result]);
  const numbers = namesOf(given).filter((name) =>
    given.some((result) => typeof result[name] === "number")
  );
  const groups = Map.groupBy(outcomes, ({ settings }) => JSON.stringify(settings));
  return [...groups.values()].map((group) => {
    const own = group.flatMap(({ result }) => result === null ? [] : [result]);
    const results = numbers.flatMap((name) => {
      const values = own.map((result) => result[name] === null ? NaN : result[name])
        .filter((value) => typeof value === "number");
      return values.length === 0 ? [] : [[name, spreadOf(values)] as const];
    });
    return {
      settings: group[0].settings,
      completed: own.length,
      failed: group.length - own.length,
      results: Object.fromEntries(results),
    };
  });
}

/** Mean and sample standard deviation. */
export function spreadOf(values: readonly number[]): Spread {
  const count = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: count < 2 ? null : Math.sqrt(squares / (count - 1)), count };
}

/** The results that tell settings or seeds apart, and are known to be good or bad; else all that vary. */
function tellingResults(rows: readonly SettingRow[]): string[] {
  const names = namesOf(rows.map(({ results }) => results));
  const varying = names.filter((name) => {
    const spreads = rows.flatMap(({ results }) => results[name] ?? []);
    return new Set(spreads.map(({ mean }) => mean)).size > 1 ||
      spreads.some(({ deviation }) => (deviation ?? 0) > 0);
  });
  const judged = varying.filter((name) => directionOf(name) !== null);
  return judged.length > 0 ? judged : varying.length > 0 ? varying : names;
}

/** The settings as a table for the terminal, the best first where a metric is named. */
export function settingsTable(rows: readonly SettingRow[], metric: string | undefined): string {
  const names = namesOf(rows.map(({ settings }) => settings));
  const results = metric === undefined ? tellingResults(rows) : [
    metric,
    ...tellingResults(rows).filter((name) => name !== metric),
  ];
  const head = [...names, "runs", ...results];
  const lines = rows.map(({ settings, completed, failed, results: own }) => [
    ...names.map((name) => settings[name] ?? "–"),
    failed === 0 ? String(completed) : `${completed} of ${completed + failed}`,
    ...results.map((name) => showSpread(own[name])),
  ]);
  return textTable([head, ...lines], head.map((_, i) => i));
}

function showSpread(spread: Spread | undefined): string {
  if (spread === undefined) return "–";
  const { mean, deviation } = spread;
  if (deviation === null || !Number.isFinite(mean)) return showValue(mean);
  return `${showValue(Number(mean.toPrecision(5)))} ± ${Number(deviation.toPrecision(2))}`;
}
