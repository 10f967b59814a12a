/** `legoml runs compare`. */

import type { JsonValue } from "../json_values.ts";
import { meanChart, overlaidChart } from "../report_charts.ts";
import type { Series } from "../report_series.ts";
import { flatConfig, showSetting, showValue } from "../report_state.ts";
import { denoFileOps } from "../file_ops.ts";
import { trackError } from "../errors.ts";
import { writeWhole } from "../writing.ts";
import {
  type Command,
  dirFlag,
  type Input,
  jsonFlag,
  jsonText,
  naming,
  type Output,
  textTable,
} from "./command.ts";
import { checkMetric, findRun, keysOf, type LoadedRun, loadRun, summaryOf } from "./runs.ts";

/** Compares runs. */
export const compare: Command = {
  usage: "RUN RUN…",
  purpose: "Compares runs: the settings that differ, then last and best values of all metrics",
  count: [2, 50],
  flags: {
    metric: { value: "NAME", help: "only this metric", many: true },
    out: { value: "FOLDER", help: "draw a chart of each metric into this folder, as SVG" },
    by: { value: "SETTING", help: "one curve for each value of it, with mean ± deviation" },
    dir: dirFlag,
    json: jsonFlag,
  },
  run(input: Input, { out, err }: Output): number {
    const dir = input.text("dir") ?? "runs";
    const [folder, by] = [input.text("out"), input.text("by")];
    if (by !== undefined && folder === undefined) {
      throw new TypeError("Cannot use --by: expected --out FOLDER as well, for the charts");
    }
    const folders = [...new Set(input.args.map((word) => findRun(dir, word)))];
    if (folders.length < 2) {
      throw new RangeError(`Cannot compare ${folders[0]} with itself: expected two runs`);
    }
    const now = new Date();
    const runs = folders.map((folder) => loadRun(folder, now));
    const wanted = input.all("metric");
    for (const metric of wanted) checkMetric(runs, metric, "these runs");
    const metrics = wanted.length > 0 ? [...wanted] : keysOf(runs);
    const differences = configDifferences(runs);
    const charts = folder === undefined ? [] : drawAll(folder, runs, metrics, by);
    if (input.has("json")) {
      out(
        jsonText({ runs: runs.map(({ id }) => id), ...tables(runs, differences, metrics), charts }),
      );
      return 0;
    }
    out(configTable(runs, differences));
    if (metrics.length > 0) out(`\n${metricTable(runs, metrics)}`);
    for (const path of charts) err(`wrote ${path}`);
    return 0;
  },
};

/** Settings that are not the same in all runs, with their value in each. */
export function configDifferences(
  runs: readonly LoadedRun[],
): Map<string, (JsonValue | undefined)[]> {
  const configs = runs.map(({ meta }) => flatConfig(meta.params));
  const names = [...new Set(configs.flatMap((config) => [...config.keys()]))];
  return new Map(
    names.map((name) => [name, configs.map((config) => config.get(name))] as const)
      .filter(([, values]) => new Set(values.map((value) => JSON.stringify(value))).size > 1),
  );
}

function tables(
  runs: readonly LoadedRun[],
  differences: ReadonlyMap<string, readonly (JsonValue | undefined)[]>,
  metrics: readonly string[],
) {
  const byRun = <T>(of: (run: LoadedRun, i: number) => T) =>
    Object.fromEntries(runs.map((run, i) => [run.id, of(run, i)]));
  return {
    config: Object.fromEntries(
      [...differences].map(([name, values]) => [name, byRun((_, i) => values[i] ?? null)]),
    ),
    metrics: Object.fromEntries(
      metrics.map((key) => [key, byRun((run) => summaryOf(run, key))]),
    ),
  };
}

function configTable(
  runs: readonly LoadedRun[],
  differences: ReadonlyMap<string, readonly (JsonValue | undefined)[]>,
): string {
  if (differences.size === 0) return "The settings are the same.";
  const rows = [...differences].map(([name, values]) => [name, ...values.map(showSetting)]);
  return textTable([["setting", ...runs.map(({ id }) => id)], ...rows]);
}

/** Last and best value in each run, and for two runs the change of the last. */
function metricTable(runs: readonly LoadedRun[], metrics: readonly string[]): string {
  const two = runs.length === 2;
  const head = ["metric", ...runs.flatMap(({ id }) => [id, "best"]), ...two ? ["change"] : []];
  const rows = metrics.map((key) => {
    const summaries = runs.map((run) => summaryOf(run, key));
    const [a, b] = summaries.map((summary) => summary?.last ?? null);
    return [
      key,
      ...summaries.flatMap((summary) => [
        showValue(summary?.last ?? null),
        showValue(summary?.best?.value ?? null),
      ]),
      ...two ? [a === null || b === null ? "–" : signed(b - a)] : [],
    ];
  });
  return textTable([head, ...rows], head.map((_, i) => i).slice(1));
}

function signed(value: number): string {
  return value > 0 ? `+${showValue(value)}` : showValue(value);
}

function drawAll(
  folder: string,
  runs: readonly LoadedRun[],
  metrics: readonly string[],
  by: string | undefined,
): string[] {
  const groups = by === undefined ? null : groupsBy(runs, by);
  try {
    Deno.mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw trackError("make folder", folder, error);
  }
  const taken = new Set<string>();
  return metrics.map((key) => {
    const chart = groups === null ? chartOfRuns(key, runs) : chartOfGroups(key, groups);
    const path = `${folder}/${fileName(key, taken)}.svg`;
    writeWhole(denoFileOps, path, new TextEncoder().encode(chart));
    return path;
  });
}

function chartOfRuns(key: string, runs: readonly LoadedRun[]): string {
  const curves = new Map<string, Series>();
  for (const run of runs) for (const series of seriesIn([run], key)) curves.set(run.id, series);
  return overlaidChart(key, curves);
}

function chartOfGroups(key: string, groups: ReadonlyMap<string, readonly LoadedRun[]>): string {
  const curves = [...groups].map(([name, runs]) => [name, seriesIn(runs, key)] as const);
  return meanChart(key, new Map(curves.filter(([, series]) => series.length > 0)));
}

function seriesIn(runs: readonly LoadedRun[], key: string): Series[] {
  return runs.flatMap(({ scalars }) => scalars.series(key) ?? []);
}

/** The runs by the value of a setting, as the legend calls it. */
function groupsBy(runs: readonly LoadedRun[], setting: string): Map<string, LoadedRun[]> {
  const groups = Map.groupBy(
    runs,
    ({ meta }) => `${setting} ${showSetting(flatConfig(meta.params).get(setting))}`,
  );
  const names = new Set(runs.flatMap(({ meta }) => [...flatConfig(meta.params).keys()]));
  if (names.has(setting)) return groups;
  const there = names.size === 0 ? "there are none" : `there are ${naming([...names])}`;
  throw new RangeError(`Cannot group by the setting ${setting}: ${there}`);
}

/** A metric as the name of a file that no other has. */
function fileName(key: string, taken: Set<string>): string {
  const clean = key.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+/, "").slice(0, 80) ||
    "metric";
  let name = clean;
  for (let i = 2; taken.has(name.toLowerCase()); i++) name = `${clean}-${i}`;
  taken.add(name.toLowerCase());
  return name;
}
