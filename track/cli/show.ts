/** `legoml runs show`. */

import { flatConfig, showSetting, showValue } from "../report_state.ts";
import type { RunSegment } from "../segments.ts";
import {
  columns,
  type Command,
  dirFlag,
  type Input,
  jsonFlag,
  jsonText,
  type Output,
  plain,
  textTable,
} from "./command.ts";
import { findRun, loadRun, type MetricSummary, summariesOf } from "./runs.ts";

/** Shows one run. */
export const show: Command = {
  usage: "RUN",
  purpose: "Shows a run: how it stands, its settings, the last and best values of its metrics",
  details: ["RUN is the beginning of its folder's name, its own name, a path, or latest."],
  count: [1, 1],
  flags: { dir: dirFlag, json: jsonFlag },
  run(input: Input, { out }: Output): number {
    const run = loadRun(findRun(input.text("dir") ?? "runs", input.args[0]));
    const metrics = summariesOf(run);
    const { id, dir, state, meta, events } = run;
    const { lastEpoch: epochs, rows, superseded } = run.scalars;
    if (input.has("json")) {
      out(jsonText({ id, dir, state, epochs, rows, superseded, metrics, meta, events }));
      return 0;
    }
    const facts = [
      ["run", id],
      ["name", meta.name ?? "–"],
      ["state", state],
      ["began", meta.createdAt],
      ["ended", meta.endedAt ?? "–"],
      ...meta.reason === null ? [] : [["reason", meta.reason]],
      ["epochs", showValue(epochs)],
      ["rows", superseded === 0 ? String(rows) : `${rows}, of which ${superseded} superseded`],
      [
        "commit",
        meta.git === null ? "–" : meta.git.commit + (meta.git.dirty ? ", with changes" : ""),
      ],
      ...meta.error === null ? [] : [["error", `${meta.error.name}: ${meta.error.message}`]],
      ...Object.entries(meta.tags),
    ];
    const settings = [...flatConfig(meta.params)].map((
      [name, value],
    ) => [name, showSetting(value)]);
    const parts = [
      columns(facts.map((row) => row.map(plain))).join("\n"),
      ...settings.length === 0 ? [] : [columns(settings.map((row) => row.map(plain))).join("\n")],
      ...meta.segments.length === 1 ? [] : [segmentTable(meta.segments)],
      ...Object.keys(metrics).length === 0 ? [] : [metricTable(metrics)],
    ];
    out(parts.join("\n\n"));
    return 0;
  },
};

/** When the run was started, and where each start went on. */
function segmentTable(segments: readonly RunSegment[]): string {
  const rows = segments.map(({ segment, startedAt, from, pid, hostname }) => [
    String(segment),
    startedAt,
    showValue(from?.step ?? null),
    showValue(from?.epoch ?? null),
    showValue(from?.rows ?? null),
    String(pid),
    hostname ?? "–",
  ]);
  const head = ["segment", "began", "from step", "epoch", "row", "process", "machine"];
  return textTable([head, ...rows], [2, 3, 4, 5]);
}

function metricTable(metrics: Readonly<Record<string, MetricSummary>>): string {
  const rows = Object.entries(metrics).map(([key, { last, best, count }]) => [
    key,
    showValue(last),
    showValue(best?.value ?? null),
    showValue(best?.step ?? null),
    showValue(best?.epoch ?? null),
    String(count),
  ]);
  return textTable([["metric", "last", "best", "at step", "at epoch", "values"], ...rows], [
    1,
    2,
    3,
    4,
    5,
  ]);
}
