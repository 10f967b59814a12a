/** `legoml runs list`. */

import type { JsonValue } from "../json_values.ts";
import { directionIn } from "../report_series.ts";
import { flatConfig, showSetting, showSpan, showValue } from "../report_state.ts";
import {
  type Command,
  dirFlag,
  type Input,
  jsonFlag,
  jsonText,
  type Output,
  textTable,
} from "./command.ts";
import { bestOf, checkMetric, type KnownRun, type ListedRun, loadAll } from "./runs.ts";

const USUAL = ["lr", "batchSize", "epochs", "seed"];
const SHOWN_SETTINGS = 4;

/** The settings that tell the runs apart, else the usual ones. */
export function keySettings(runs: readonly KnownRun[]): string[] {
  const configs = runs.map(({ meta }) => flatConfig(meta.params));
  const names = [...new Set(configs.flatMap((config) => [...config.keys()]))]
    .filter((name) => !name.startsWith("context."));
  const texts = (name: string) =>
    new Set(configs.map((config) => JSON.stringify(config.get(name))));
  const place = (name: string) => USUAL.includes(name) ? USUAL.indexOf(name) : USUAL.length;
  const differing = runs.length > 1 ? names.filter((name) => texts(name).size > 1) : [];
  const chosen = differing.length > 0 ? differing : names.filter((name) => USUAL.includes(name));
  return chosen.sort((a, b) => place(a) - place(b)).slice(0, SHOWN_SETTINGS);
}

/** Lists the runs of a folder, the newest first. */
export const list: Command = {
  usage: "",
  purpose: "Lists runs, the newest first: state, age, epochs, best value, the settings that differ",
  details: [
    'A run is "crashed" where it says "running" but its process is gone, or silent for ten minutes.',
  ],
  count: [0, 0],
  flags: {
    dir: dirFlag,
    metric: { value: "NAME", help: "the metric to show (one of evaluation, else of training)" },
    json: jsonFlag,
  },
  run(input: Input, { out, err }: Output): number {
    const dir = input.text("dir") ?? "runs";
    const now = new Date();
    const metric = input.text("metric");
    const { runs, broken } = loadAll(dir, { now, metric });
    runs.reverse();
    if (metric !== undefined) checkMetric(runs, metric, dir);
    const rows = runs.map(rowOf);
    if (input.has("json")) {
      out(jsonText([...rows, ...broken.map((run) => ({ ...run, state: "unreadable" }))]));
      return 0;
    }
    if (rows.length > 0) out(tableOf(rows, keySettings(runs), now));
    else if (broken.length === 0) err(`${dir} holds no runs`);
    for (const { id, problem } of broken) err(`${id} cannot be read: ${problem}`);
    return 0;
  },
};

interface Row {
  readonly id: string;
  readonly dir: string;
  readonly name: string | null;
  readonly state: string;
  readonly createdAt: string;
  readonly endedAt: string | null;
  readonly segments: number;
  readonly epochs: number | null;
  readonly metric: string | null;
  readonly best: number | null;
  readonly last: number | null;
  readonly config: Readonly<Record<string, JsonValue>>;
}

function rowOf(run: ListedRun): Row {
  const { id, dir, meta, state, epochs, metric, range } = run;
  const best = range === null || metric === null ? null : bestOf(range, directionIn([run], metric));
  return {
    id,
    dir,
    name: meta.name,
    state,
    createdAt: meta.createdAt,
    endedAt: meta.endedAt,
    segments: meta.segments.length,
    epochs,
    metric,
    best: best?.value ?? null,
    last: range?.last ?? null,
    config: meta.params,
  };
}

function tableOf(rows: readonly Row[], settings: readonly string[], now: Date): string {
  const head = ["run", "state", "age", "epochs", "metric", "best", "last", ...settings];
  const lines = rows.map((row) => {
    const config = flatConfig(row.config);
    return [
      row.id,
      row.state,
      showSpan(now.getTime() - Date.parse(row.createdAt)),
      showValue(row.epochs),
      row.metric ?? "–",
      showValue(row.best),
      showValue(row.last),
      ...settings.map((name) => shorten(showSetting(config.get(name)))),
    ];
  });
  return textTable([head, ...lines], [2, 3, 5, 6]);
}

function shorten(text: string): string {
  const letters = [...text];
  return letters.length > 32 ? `${letters.slice(0, 31).join("")}…` : text;
}
