/** A quick look at `scalars.csv`: which series there are, and the numbers of those that are asked for. */

import { readScalarFile, type RunSeries, type Series, seriesOf } from "./report_series.ts";
import { FIRST_COLUMNS, NUMBER, parseScalars, SCALAR_COLUMNS } from "./scalars.ts";
import { countingRows, type RunSegment } from "./segments.ts";

const LF = 0x0a;
const CR = 0x0d;
const COMMA = 0x2c;
const MINUS = 0x2d;
const QUOTE = 0x22;
const ZERO = 0x30;
const NINE = 0x39;
const NAN = 0x4e;
const INFINITY = 0x49;
const TIME = "0000-00-00T00:00:00.000Z";
const TIME_LENGTH = TIME.length;

/** The rows of a run that count, by series; the numbers of a series are read when they are asked for. */
export interface RunScalars {
  /** The names of the series, in the order in which they appear. */
  readonly keys: readonly string[];
  /** The largest of the completed epochs at the end of each series; null where none has any. */
  readonly lastEpoch: number | null;
  /** Number of rows, with the superseded ones. */
  readonly rows: number;
  /** Number of superseded rows. */
  readonly superseded: number;
  /** A series by name; undefined where there is none. */
  series(key: string): Series | undefined;
}

/**
 * Looks at the scalars of a run.
 *
 * All lines are walked through, none is taken from an index or an earlier look. A file that is not in
 * the simplest form, as one with quotes, goes to the parser of `readScalars`, for its values or its message.
 *
 * @param dir the folder of the run
 * @throws {TrackError} if a file cannot be read
 * @throws {SyntaxError} if it is not as the tracker writes it
 */
export function scanRun(dir: string): RunScalars {
  const file = readScalarFile(dir);
  if (file === null) return ofSeries(seriesOf([]));
  const { path, bytes, segments } = file;
  const parsed = () => ofSeries(seriesOf(parseScalars(bytes, path, segments)));
  const lines = findLines(bytes, segments);
  return lines === null ? parsed() : ofLines(bytes, lines, parsed);
}

function ofSeries({ series, superseded, rows }: RunSeries): RunScalars {
  const epochs = [...series.values()].flatMap(({ epochs }) => epochs.slice(-1));
  return {
    keys: [...series.keys()],
    lastEpoch: largest(epochs),
    rows,
    superseded: [...superseded.values()].reduce((sum, { values }) => sum + values.length, 0),
    series: (key) => series.get(key),
  };
}

function largest(epochs: readonly number[]): number | null {
  const known = epochs.filter((epoch) => !Number.isNaN(epoch));
  return known.length === 0 ? null : Math.max(...known);
}

/** The lines of one series that count. */
interface KeyLines {
  readonly key: string;
  readonly bytes: Uint8Array;
  /** Where the cell `step` of each line begins. */
  readonly at: number[];
  lastEpoch: number;
}

interface Lines {
  readonly keys: readonly KeyLines[];
  readonly rows: number;
  readonly superseded: number;
}

function ofLines(bytes: Uint8Array, { keys, rows, superseded }: Lines, parsed: () => RunScalars) {
  const byName = new Map(keys.map((lines) => [lines.key, lines]));
  return {
    keys: [...byName.keys()],
    lastEpoch: largest(keys.map(({ lastEpoch }) => lastEpoch)),
    rows,
    superseded,
    series(key: string): Series | undefined {
      const lines = byName.get(key);
      // the other parser says what is wrong with a value
      return lines && (numbersOf(bytes, lines) ?? parsed().series(key));
    },
  };
}

/** The numbers of a series; null where a value is none. */
function numbersOf(bytes: Uint8Array, { key, bytes: name, at }: KeyLines): Series | null {
  const series: Series = { key, steps: [], epochs: [], samples: [], values: [] };
  for (const start of at) {
    let p = start;
    for (const list of [series.steps, series.epochs, series.samples]) {
      let count = bytes[p] === COMMA ? NaN : 0;
      for (; bytes[p] !== COMMA; p++) count = 10 * count + bytes[p] - ZERO;
      list.push(count);
      p++;
    }
    p += name.length + 1;
    let cell = "";
    for (; bytes[p] !== LF && bytes[p] !== CR; p++) cell += String.fromCharCode(bytes[p]);
    if (cell !== "" && !NUMBER.test(cell)) return null;
    series.values.push(cell === "" ? null : Number(cell));
  }
  return series;
}

/** The lines by series; null where one is not in the simplest form, or of an unknown segment. */
function findLines(bytes: Uint8Array, segments: readonly RunSegment[] | null): Lines | null {
  const end = bytes.lastIndexOf(LF) + 1;
  if (end === 0) return { keys: [], rows: 0, superseded: 0 };
  const headerEnd = bytes.indexOf(LF);
  const columns = new TextDecoder().decode(bytes.subarray(0, headerEnd)).trimEnd();
  const hasSegments = columns === SCALAR_COLUMNS.join();
  if (!hasSegments && columns !== FIRST_COLUMNS.join()) return null;
  const counting = segments === null ? new Map([[1, Infinity]]) : countingRows(segments);
  const table = new KeyTable();
  let [rows, superseded, segment, limit] = [0, 0, 1, counting.get(1) ?? -1];
  let time = -1;
  for (let p = headerEnd + 1; p < end; rows++) {
    // lines that were logged together have one time
    if (time < 0 || !isRepeated(bytes, time, p)) {
      if (!isTime(bytes, p)) return null;
      time = p;
    }
    p += TIME_LENGTH + 1;
    if (hasSegments) {
      let own = 0;
      for (; isDigit(bytes[p]); p++) own = 10 * own + bytes[p] - ZERO;
      if (bytes[p++] !== COMMA) return null;
      if (own !== segment) limit = counting.get(own) ?? -1;
      segment = own;
    }
    if (limit < 0) return null;
    const start = p;
    let epoch = NaN;
    for (let cell = 0; cell < 3; cell++) {
      const first = p;
      for (; isDigit(bytes[p]); p++);
      if (bytes[p] !== COMMA) return null;
      if (cell === 1 && p > first) epoch = readCount(bytes, first, p);
      p++;
    }
    const name = p;
    for (; bytes[p] !== COMMA; p++) if (bytes[p] === QUOTE || bytes[p] === LF) return null;
    const isCurrent = rows < limit;
    const lines = isCurrent ? table.find(bytes, name, p) : null;
    if (isCurrent && lines === null) return null;
    if (!startsNumber(bytes[++p])) return null;
    for (; bytes[p] !== LF; p++) if (endsCell(bytes, p)) return null;
    p++;
    if (lines === null) {
      superseded++;
      continue;
    }
    lines.at.push(start);
    lines.lastEpoch = epoch;
  }
  return { keys: table.all, rows, superseded };
}

/** The series seen so far; lines that are logged together come in the same order again and again. */
class KeyTable {
  readonly all: KeyLines[] = [];
  #expected = 0;

  /** The series of the name between two places; null where the name is not in UTF-8. */
  find(bytes: Uint8Array, from: number, to: number): KeyLines | null {
    const { length } = this.all;
    for (let i = 0; i < length; i++) {
      const at = (this.#expected + i) % length;
      if (!isSame(this.all[at].bytes, bytes, from, to)) continue;
      this.#expected = (at + 1) % length;
      return this.all[at];
    }
    return this.#add(bytes.slice(from, to));
  }

  #add(name: Uint8Array): KeyLines | null {
    try {
      const key = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(name);
      const lines = { key, bytes: name, at: [], lastEpoch: NaN };
      this.all.push(lines);
      this.#expected = 0;
      return lines;
    } catch {
      return null;
    }
  }
}

function isSame(name: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (name.length !== to - from) return false;
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[from + i]) return false;
  return true;
}

function isRepeated(bytes: Uint8Array, before: number, at: number): boolean {
  for (let i = 0; i <= TIME_LENGTH; i++) if (bytes[before + i] !== bytes[at + i]) return false;
  return true;
}

// "2026-01-31T23:59:59.250Z,"; other forms go to the other parser
function isTime(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < TIME_LENGTH; i++) {
    const mark = TIME.charCodeAt(i);
    const byte = bytes[at + i];
    if (mark === ZERO ? !isDigit(byte) : byte !== mark) return false;
  }
  const text = String.fromCharCode(...bytes.subarray(at, at + TIME_LENGTH));
  return bytes[at + TIME_LENGTH] === COMMA && !Number.isNaN(Date.parse(text));
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

// a carriage return may stand before the line end alone
function endsCell(bytes: Uint8Array, at: number): boolean {
  const byte = bytes[at];
  return byte === COMMA || byte === QUOTE || (byte === CR && bytes[at + 1] !== LF);
}

function startsNumber(byte: number): boolean {
  return isDigit(byte) || byte === MINUS || byte === NAN || byte === INFINITY || byte === CR ||
    byte === LF;
}

function readCount(bytes: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let p = from; p < to; p++) count = 10 * count + bytes[p] - ZERO;
  return count;
}
