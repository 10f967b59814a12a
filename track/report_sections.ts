/** The parts of a report that tell of a run in words and numbers. */

import type { JsonValue } from "./json_values.ts";
import type { EventRow } from "./read.ts";
import { chartOf, groupsOf, isOptimization } from "./report_charts.ts";
import {
  type Cell,
  escapeText,
  type Markup,
  note,
  pairs,
  section,
  table,
  tag,
} from "./report_html.ts";
import {
  directionOf,
  extremeOf,
  finalValue,
  mainMetric,
  recordedDirections,
  type RunSeries,
} from "./report_series.ts";
import { flatConfig, type RunHead, showSetting, showSpan, showValue } from "./report_state.ts";

const SHOWN_EVENTS = 300;
const SHOWN_CHARTS = 60;
/** Words of names of events, and severities, that tell of trouble. */
const ALARMING =
  /^(alert|exception|warning|critical|fatal|errors?|fail(ed|ure)?|faults?|fallback|guard|nan|spike|lost|corrupt(ed)?|damaged|skipped|roll(ed)?|rollback|diverged)$/i;

/** Name, state and times, the device and the commit. */
export function summarySection({ meta, events, state }: RunHead, { lastTime }: RunSeries): Markup {
  const config = flatConfig(meta.params);
  const known = (...names: string[]) => names.map((name) => config.get(name)).find(isGiven);
  const device = known("context.device", "device");
  const until = meta.endedAt ?? lastTime ?? events.at(-1)?.time.toISOString();
  const span = until === undefined ? null : Date.parse(until) - Date.parse(meta.createdAt);
  const rows: [string, Cell][] = [
    ["run", meta.id],
    ["state", { markup: tag("b", { class: state }, escapeText(state)) }],
    ...meta.reason === null ? [] : [["reason", meta.reason] as [string, Cell]],
    ["began", meta.createdAt],
    [meta.endedAt === null ? "last value" : "ended", until ?? "–"],
    ["duration", span === null ? "–" : showSpan(span)],
    ["epochs", showValue(epochsOf(events, config))],
    ["device", device === undefined ? "–" : showSetting(device)],
    ["commit", commitOf(meta.git)],
    ["seed", showSetting(known("seed"))],
    ...meta.segments.length < 2
      ? []
      : [["restarts", String(meta.segments.length - 1)] as [string, Cell]],
    ...Object.entries(meta.tags),
  ];
  const parts = [pairs(rows)];
  if (meta.notes !== "") parts.push(tag("pre", {}, escapeText(meta.notes)));
  return section("summary", "Summary", ...parts);
}

function isGiven(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null;
}

function commitOf(git: RunHead["meta"]["git"]): string {
  if (git === null) return "–";
  const dirty = git.dirty === null ? ", state unknown" : git.dirty ? ", with changes" : "";
  return git.commit + dirty;
}

function epochsOf(events: readonly EventRow[], config: ReadonlyMap<string, JsonValue>) {
  const end = events.findLast(({ fields }) => typeof fields.epoch === "number")?.fields.epoch;
  const planned = config.get("epochs");
  return typeof end === "number" ? end : typeof planned === "number" ? planned : null;
}

/** The error that ended the run, and what was logged as an alarm. */
export function alertsSection({ meta, events }: RunHead): Markup {
  const parts: Markup[] = [];
  if (meta.error !== null) {
    const { name, message, stack } = meta.error;
    parts.push(tag("p", { class: "alert" }, escapeText(`${name}: ${message}`)));
    if (stack !== null) parts.push(tag("pre", {}, escapeText(stack)));
  }
  const alarms = events.filter(isAlarm);
  if (alarms.length > 0) parts.push(eventTable(alarms, meta.createdAt));
  return parts.length === 0 ? "" : section("alerts", "Alerts and errors", ...parts);
}

function isAlarm({ event, fields }: EventRow): boolean {
  const words = event.replaceAll(/([a-z])([A-Z])/g, "$1 $2").split(/[^A-Za-z]+/);
  return [...words, String(fields.severity ?? fields.level ?? "")].some((word) =>
    ALARMING.test(word)
  );
}

/** All settings, those in settings by dotted names. */
export function configSection({ meta }: RunHead): Markup {
  const rows = [...flatConfig(meta.params)]
    .map(([name, value]): [string, string] => [name, showSetting(value)]);
  const content = rows.length === 0 ? note("No settings were recorded.") : pairs(rows);
  return section("config", "Settings", content);
}

/** The program and the machine. */
export function environmentSection({ meta }: RunHead): Markup {
  const rows = Object.entries(meta.env).map(([name, value]): [string, string] => [
    name,
    Array.isArray(value) ? value.join(" ") : value === null ? "–" : String(value),
  ]);
  return section("environment", "Environment", pairs(rows));
}

/** The starts of a run that was resumed, and where each went on. */
export function segmentsSection({ meta }: RunHead, { superseded }: RunSeries): Markup {
  if (meta.segments.length < 2) return "";
  const rows = meta.segments.map(({ segment, startedAt, from, pid, hostname }) => [
    String(segment),
    startedAt,
    from === null ? "–" : String(from.step),
    from === null ? "–" : String(from.epoch),
    `${pid} on ${hostname ?? "an unknown machine"}`,
  ]);
  const lost = [...superseded.values()].reduce((sum, { values }) => sum + values.length, 0);
  const words = lost === 0
    ? "No values were superseded."
    : `${lost} values behind the checkpoints that were loaded are superseded: they are drawn faint, ` +
      "and count nowhere.";
  const headings = ["segment", "began", "from step", "from epoch", "process"];
  return section("segments", "Restarts", table(headings, rows, [0, 2, 3]), note(words));
}

/** Last and best value of every metric. */
export function metricsSection({ events }: RunHead, scalars: RunSeries): Markup {
  const all = [...scalars.series.values()];
  if (all.length === 0) return section("metrics", "Metrics", note("No values were logged."));
  const recorded = recordedDirections(events);
  const main = mainMetric(scalars.series.keys());
  const place = (key: string) => key === main ? 0 : key.startsWith("step/") ? 2 : 1;
  all.sort((a, b) => place(a.key) - place(b.key) || (a.key < b.key ? -1 : 1));
  const rows = all.map((one) => {
    const direction = recorded.get(one.key) ?? directionOf(one.key);
    const best = direction === null ? null : extremeOf(one, direction);
    const odd = one.values.filter((value) => !Number.isFinite(value)).length;
    return [
      one.key,
      showValue(finalValue(one)),
      best === null ? "–" : showValue(best.value),
      direction === null ? "–" : direction === "min" ? "least" : "largest",
      showValue(best?.step ?? null),
      showValue(best?.epoch ?? null),
      String(one.values.length),
      odd === 0 ? "" : String(odd),
    ];
  });
  const headings = ["metric", "last", "best", "best is", "at step", "at epoch", "values"];
  const judged = all.filter(({ key }) => recorded.has(key)).length;
  return section(
    "metrics",
    "Metrics",
    table([...headings, "missing or not finite"], rows, [1, 2, 4, 5, 6, 7]),
    note(
      `Which end is best was recorded by the run for ${judged} of ${all.length} metrics; ` +
        'of the others their names tell, as "loss" or "accuracy", if anything does.',
    ),
  );
}

/** The curves of all metrics. */
export function curvesSection({ meta }: RunHead, scalars: RunSeries): Markup {
  const groups = groupsOf(scalars);
  const [rates, others] = [true, false]
    .map((which) => groups.filter(({ name }) => isOptimization(name) === which));
  const shown = others.slice(0, SHOWN_CHARTS);
  const figures = (list: typeof groups) => {
    const charts = list.map((group) => tag("figure", {}, chartOf(group, meta.segments)) + "\n");
    return tag("div", { class: "charts" }, "\n", ...charts);
  };
  const more = others.length - shown.length;
  return [
    shown.length === 0 ? "" : section(
      "curves",
      "Curves",
      figures(shown),
      ...more > 0 ? [note(`and ${more} more metrics`)] : [],
    ),
    rates.length === 0
      ? ""
      : section("optimization", "Learning rate and gradients", figures(rates)),
  ].join("");
}

/** What happened, in order. */
export function eventsSection({ meta, events }: RunHead): Markup {
  if (events.length === 0) return "";
  const half = SHOWN_EVENTS / 2;
  const parts = events.length <= SHOWN_EVENTS ? [eventTable(events, meta.createdAt)] : [
    eventTable(events.slice(0, half), meta.createdAt),
    note(`${events.length - SHOWN_EVENTS} events are left out here`),
    eventTable(events.slice(-half), meta.createdAt),
  ];
  return section("events", "Events", ...parts);
}

function eventTable(events: readonly EventRow[], start: string): Markup {
  const rows = events.map((row) => {
    const seconds = (row.time.getTime() - Date.parse(start)) / 1000;
    const fields = Object.entries(row.fields)
      .map(([name, value]) => `${name} ${showSetting(value)}`).join(", ");
    const name = isAlarm(row)
      ? tag("b", { class: "alert" }, escapeText(`!\u00a0${row.event}`))
      : escapeText(row.event);
    return [`${seconds.toFixed(1)} s`, { markup: name }, fields];
  });
  return table(["after", "event", "details"], rows, [0]);
}
