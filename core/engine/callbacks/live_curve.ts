/** Curves of braille dots: two by four in a character. */

/** So many points of a curve become half as many, each the mean of two. */
const MOST_POINTS = 512;
/** Largest value over the smallest from which on the axis is logarithmic. */
const LOG_FROM = 20;
/** Bits of the dots of a braille character: rows from the top, left and right. */
const DOTS = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/** A value over steps, of bounded size however long a run is. */
export class Course {
  #x: number[] = [];
  #y: number[] = [];
  /** How many values a point stands for. */
  #span = 1;
  #pending: number[] = [];

  /** Adds a value; one that is not finite leaves a gap. */
  add(x: number, y: number): void {
    this.#pending.push(y);
    if (this.#pending.length < this.#span) return;
    this.#x.push(x);
    this.#y.push(meanOf(this.#pending));
    this.#pending = [];
    if (this.#x.length === MOST_POINTS) this.#halve();
  }

  /** The points in their order. */
  get points(): readonly (readonly [x: number, y: number])[] {
    return this.#x.map((x, i) => [x, this.#y[i]]);
  }

  #halve(): void {
    const pairs = Array.from({ length: MOST_POINTS / 2 }, (_, i) => 2 * i);
    [this.#x, this.#y] = [
      pairs.map((i) => this.#x[i + 1]),
      pairs.map((i) => meanOf([this.#y[i], this.#y[i + 1]])),
    ];
    this.#span *= 2;
  }
}

/** The mean of the finite values, else NaN. */
function meanOf(values: readonly number[]): number {
  const finite = values.filter(Number.isFinite);
  return finite.reduce((a, b) => a + b, 0) / finite.length;
}

/** One row of a drawn chart: cells, and the kind of each of them. */
export interface ChartRow {
  /** What stands on the axis; "" for none. */
  readonly label: string;
  /** Runs of cells of one kind. */
  readonly parts: readonly { readonly text: string; readonly kind: "line" | "mark" | "none" }[];
}

/**
 * Draws a line, and marks on the same axes.
 *
 * The vertical axis is logarithmic where all values are above 0 and far apart; the label of a row
 * says so.
 *
 * @param line its points, by x
 * @param marks points that are drawn as "o"
 * @param width cells
 * @param height rows
 * @param show the text of a value
 * @returns rows from the top, or null where no value is finite
 */
export function drawChart(
  line: readonly (readonly [number, number])[],
  marks: readonly (readonly [number, number])[],
  width: number,
  height: number,
  show: (value: number) => string,
): ChartRow[] | null {
  const all = [...line, ...marks].filter(([, y]) => Number.isFinite(y));
  if (all.length === 0) return null;
  const [xs, ys] = [all.map(([x]) => x), all.map(([, y]) => y)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const log = low > 0 && high / low >= LOG_FROM;
  const scale = log ? Math.log : (y: number) => y;
  const across = placer(Math.min(...xs), Math.max(...xs), 2 * width);
  const down = placer(scale(high), scale(low), 4 * height);
  const grid = new DotGrid(width, height);
  const place = ([x, y]: readonly [number, number]) => [across(x), down(scale(y))] as const;
  line.forEach((point, i) => {
    if (!Number.isFinite(point[1])) return;
    const before = i > 0 && Number.isFinite(line[i - 1][1]) ? line[i - 1] : point;
    grid.join(place(before), place(point));
  });
  for (const point of marks) if (Number.isFinite(point[1])) grid.mark(place(point));
  return grid.rows((row) => {
    if (row === 0) return show(high);
    if (row === height - 1) return show(low);
    return log && row === height - 2 ? "log" : "";
  });
}

/** Places of values from `first` (0) to `last` (`count` − 1). */
function placer(first: number, last: number, count: number): (value: number) => number {
  const range = last - first;
  return (value) => range === 0 ? 0 : Math.round((value - first) / range * (count - 1));
}

class DotGrid {
  readonly #cells: number[][];
  readonly #marks = new Set<string>();

  constructor(width: number, height: number) {
    this.#cells = Array.from({ length: height }, () => Array(width).fill(0));
  }

  /** Dots from one place to another, one above the other where it is steep. */
  join([x0, y0]: readonly [number, number], [x1, y1]: readonly [number, number]): void {
    let from = y0;
    for (let x = x0; x <= x1; x++) {
      const to = x1 === x0 ? y1 : Math.round(y0 + (y1 - y0) * (x - x0) / (x1 - x0));
      for (let y = Math.min(from, to); y <= Math.max(from, to); y++) {
        this.#cells[y >> 2][x >> 1] |= DOTS[y & 3][x & 1];
      }
      from = to;
    }
  }

  mark([x, y]: readonly [number, number]): void {
    this.#marks.add(`${y >> 2} ${x >> 1}`);
  }

  rows(label: (row: number) => string): ChartRow[] {
    return this.#cells.map((cells, row) => {
      const parts: { text: string; kind: "line" | "mark" | "none" }[] = [];
      cells.forEach((dots, column) => {
        const kind = this.#marks.has(`${row} ${column}`) ? "mark" : dots === 0 ? "none" : "line";
        const text = { mark: "o", line: String.fromCharCode(0x2800 + dots), none: " " }[kind];
        const last = parts.at(-1);
        if (last?.kind === kind) last.text += text;
        else parts.push({ text, kind });
      });
      if (parts.at(-1)?.kind === "none") parts.pop();
      return { label: label(row), parts };
    });
  }
}
