/** The scalars of a run by name, and what matters of each: last, least and largest value. */

import { trackError } from "./errors.ts";
import { denoFileOps } from "./file_ops.ts";
import { parseMeta } from "./meta.ts";
import type { EventRow } from "./read.ts";
import { FIRST_COLUMNS, NUMBER, parseScalars, SCALAR_COLUMNS, type ScalarRow } from "./scalars.ts";
import { countingRows, type RunSegment } from "./segments.ts";

/** All values that a run logged under one name, in the order of the file. */
export interface Series {
  /** Name, such as "train/loss". */
  readonly key: string;
  /** Completed steps; NaN where not given. */
  readonly steps: number[];
  /** Completed epochs; NaN where not given. */
  readonly epochs: number[];
  /** Completed samples; NaN where not given. */
  readonly samples: number[];
  /** The values; null for one that was logged as missing. */
  readonly values: (number | null)[];
}

/** The scalars of a run. */
export interface RunSeries {
  /** Series by name, in the order in which the names appear. */
  readonly series: ReadonlyMap<string, Series>;
  /** By name, what was logged behind a checkpoint from which the run later went on: it no longer counts. */
  readonly superseded: ReadonlyMap<string, Series>;
  /** Number of rows, with the superseded ones. */
  readonly rows: number;
  /** When the last row was logged, as the file says it; null without rows. */
  readonly lastTime: string | null;
}

/** Which end of a series is good. */
export type Direction = "min" | "max";

/** A value and where it was logged. */
export interface Extreme {
  readonly value: number;
  readonly step: number | null;
  readonly epoch: number | null;
}

const COUNT = /^\d*$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/**
 * Reads the scalars of a run by name.
 *
 * Files without quotes, which is nearly all, are read by a loop over their lines; whatever that does
 * not understand goes to the parser of `readScalars`, for its values or its message.
 *
 * @param dir the folder of the run
 * @throws {TrackError} if the file cannot be read
 * @throws {SyntaxError} if it is not as the tracker writes it
 */
export function readSeries(dir: string): RunSeries {
  const file = readScalarFile(dir);
  if (file === null) return seriesOf([]);
  const { path, bytes, segments } = file;
  return plainLines(bytes, segments) ?? seriesOf(parseScalars(bytes, path, segments));
}

/** The bytes of a run's `scalars.csv`, and the segments that say which rows count. */
export interface ScalarFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Null where there is no `meta.json`. */
  readonly segments: readonly RunSegment[] | null;
}

/**
 * Reads the scalars of a run without parsing them; null where nothing was logged.
 *
 * @throws {TrackError} if a file cannot be read
 * @throws {SyntaxError} if `meta.json` is not as the tracker writes it
 */
export function readScalarFile(dir: string): ScalarFile | null {
  const path = `${dir}/logs/scalars.csv`;
  const bytes = readIfThere(path);
  if (bytes === null) return null;
  // read after the rows, so that it knows the segments of all of them
  const metaPath = `${dir}/meta.json`;
  const meta = readIfThere(metaPath);
  return { path, bytes, segments: meta === null ? null : parseMeta(meta, metaPath).segments };
}

function readIfThere(path: string): Uint8Array | null {
  try {
    return denoFileOps.read(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw trackError("read", path, error);
  }
}

/** The series of rows that were read before. */
export function seriesOf(rows: readonly ScalarRow[]): RunSeries {
  const [series, superseded] = [new Map<string, Series>(), new Map<string, Series>()];
  for (const row of rows) {
    const to = of(row.superseded ? superseded : series, row.key);
    add(to, row.step ?? NaN, row.epoch ?? NaN, row.samples ?? NaN, row.value);
  }
  const lastTime = rows.at(-1)?.time.toISOString() ?? null;
  return { series, superseded, rows: rows.length, lastTime };
}

function of(series: Map<string, Series>, key: string): Series {
  let found = series.get(key);
  if (found === undefined) {
    found = { key, steps: [], epochs: [], samples: [], values: [] };
    series.set(key, found);
  }
  return found;
}

function add(to: Series, step: number, epoch: number, samples: number, value: number | null): void {
  to.steps.push(step);
  to.epochs.push(epoch);
  to.samples.push(samples);
  to.values.push(value);
}

/** Lines without quotes; null where a line is not in the simplest form, or its segment not known. */
function plainLines(bytes: Uint8Array, segments: readonly RunSegment[] | null): RunSeries | null {
  let text: string;
  try {
    const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
    text = new TextDecoder("utf-8", { fatal: true }).decode(whole);
  } catch {
    // The other parser says so.
    return null;
  }
  if (text.includes('"')) return null;
  const header = text.indexOf("\n");
  if (header < 0) return seriesOf([]);
  const columns = text.slice(0, header).trimEnd();
  const hasSegments = columns === SCALAR_COLUMNS.join();
  if (!hasSegments && columns !== FIRST_COLUMNS.join()) return null;
  const counting = segments === null ? new Map([[1, Infinity]]) : countingRows(segments);
  const [series, superseded] = [new Map<string, Series>(), new Map<string, Series>()];
  // Lines that follow each other share most of their cells, so each text is read once.
  const last = { time: "", counts: "", limit: NaN, step: NaN, epoch: NaN, samples: NaN };
  let rows = 0;
  for (let start = header + 1;;) {
    const end = text.indexOf("\n", start);
    if (end < 0) break;
    const a = text.indexOf(",", start);
    const b = hasSegments ? text.indexOf(",", a + 1) : a;
    const c = text.indexOf(",", text.indexOf(",", b + 1) + 1);
    const d = text.indexOf(",", c + 1);
    const e = text.indexOf(",", d + 1);
    if (a < 0 || b < 0 || c < 0 || d < 0 || e < 0 || e > end) return null;
    const time = text.slice(start, a);
    if (time !== last.time) {
      if (!TIME.test(time)) return null;
      last.time = time;
    }
    const counts = text.slice(a + 1, d);
    if (counts !== last.counts || rows === 0) {
      const cells = counts.split(",");
      if (!cells.every((cell) => COUNT.test(cell))) return null;
      const limit = counting.get(hasSegments ? Number(cells.shift()) : 1);
      if (limit === undefined) return null;
      last.limit = limit;
      [last.step, last.epoch, last.samples] = cells.map((cell) => cell === "" ? NaN : Number(cell));
      last.counts = counts;
    }
    const cell = text.slice(e + 1, text[end - 1] === "\r" ? end - 1 : end);
    if (cell !== "" && !NUMBER.test(cell)) return null;
    const value = cell === "" ? null : Number(cell);
    const to = of(rows >= last.limit ? superseded : series, text.slice(d + 1, e));
    add(to, last.step, last.epoch, last.samples, value);
    rows++;
    start = end + 1;
  }
  const lastTime = rows === 0 ? null : new Date(last.time).toISOString();
  return { series, superseded, rows, lastTime };
}

/** The last value, which may be NaN, or null where the last row is a missing one. */
export function finalValue({ values }: Series): number | null {
  return values.length === 0 ? null : values[values.length - 1];
}

/** The first of the least or largest finite values; null where there is none. */
export function extremeOf({ values, steps, epochs }: Series, direction: Direction): Extreme | null {
  const sign = direction === "min" ? -1 : 1;
  let best = -1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value === null || !Number.isFinite(value)) continue;
    if (best < 0 || sign * value > sign * values[best]!) best = i;
  }
  if (best < 0) return null;
  const count = (list: readonly number[]) => Number.isNaN(list[best]) ? null : list[best];
  return { value: values[best]!, step: count(steps), epoch: count(epochs) };
}

const SMALL =
  /(^|[/_ ])(loss|error|err|perplexity|ppl|mae|mse|rmse|nll|brier|ece|wer|cer|fid|bpc|distance)([/_ ]|\d*$)/i;
const LARGE =
  /(^|[/_ ])(accuracy|acc|precision|recall|f1|auc|auroc|auprc|map|iou|dice|bleu|rouge|r2|psnr|ssim|reward|return|score)([/_ @]|\d*$)/i;

/** A name with capitals taken apart, as "trainLoss" to "train_Loss". */
function words(key: string): string {
  return key.replace(/([a-z])([A-Z])/g, "$1_$2");
}

/** Which end of a metric is good, by its name; null where the name does not say. */
export function directionOf(key: string): Direction | null {
  if (SMALL.test(words(key))) return "min";
  return LARGE.test(words(key)) ? "max" : null;
}

/**
 * Which ends of metrics are good, as the run itself recorded it: in the field `better` of its events,
 * names with "up" or "down".
 *
 * @param events the events of the run; later ones count
 */
export function recordedDirections(events: readonly EventRow[]): Map<string, Direction> {
  const directions = new Map<string, Direction>();
  for (const { fields: { better } } of events) {
    if (typeof better !== "object" || better === null || Array.isArray(better)) continue;
    for (const [key, word] of Object.entries(better)) {
      if (word === "up" || word === "down") directions.set(key, word === "up" ? "max" : "min");
    }
  }
  return directions;
}

/** Which end of a metric is good: as one of the runs recorded it, else by its name; null where neither says. */
export function directionIn(
  runs: readonly { readonly events: readonly EventRow[] }[],
  key: string,
): Direction | null {
  const recorded = runs.map(({ events }) => recordedDirections(events).get(key));
  return recorded.find((direction) => direction !== undefined) ?? directionOf(key);
}

/** What stands before the first slash of a name; "" without one. */
export function splitOf(key: string): string {
  const slash = key.indexOf("/");
  return slash < 0 ? "" : key.slice(0, slash);
}

/** A name without what stands before its first slash. */
export function baseOf(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

/**
 * The metric that a run is judged by where nobody says: with a good end that is known, of the
 * evaluation rather than of the training, and a score rather than a loss; null where there is none.
 */
export function mainMetric(keys: Iterable<string>): string | null {
  const rank = (key: string): number => {
    const split = splitOf(key);
    const place = split === "step" ? 4 : split === "train" || split === "" ? 2 : 0;
    return place + (directionOf(key) === "max" ? 0 : 1);
  };
  const known = [...keys].filter((key) => directionOf(key) !== null);
  known.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return known[0] ?? null;
}
