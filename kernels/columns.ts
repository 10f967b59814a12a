/**
 * Two sums at once over the rows of every column: how batch statistics and gradients of scales and
 * shifts are folded.
 *
 * Long columns are cut into slices, whose sums a second kernel of the same kind folds; always in
 * the same order. On adapters that run on CPU cores a lane takes four columns of a slice, and
 * neighbours take neighbouring columns; on hardware the rows of a slice are shared out, too, and
 * what the lanes found is folded in workgroup memory.
 */

import { LOOP_LIMIT } from "./loop_limit.ts";
import type { StridedOperand } from "./map.ts";
import {
  type DeviceTraits,
  type ScalarType,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, type Binding, coordinates, loaded, shader, u32 } from "./wgsl.ts";

/** Columns, the rows that are folded, and what is read of them. */
export interface ColumnParams {
  /** Axes that stay; results lie in their row-major order. */
  readonly outer: Shape;
  /** Axes that are folded, at least one. */
  readonly reduced: Shape;
  /** Strides over `[...outer, ...reduced]`. */
  readonly inputs: readonly StridedOperand[];
  /** Pieces that the rows are cut into, none of them empty; results are `[slices, ...outer]`. */
  readonly slices: number;
}

/** What is folded, as text on values of the type `T`, f32 or vec4<f32>. */
export interface ColumnFold {
  readonly names: readonly string[];
  /** Inputs behind those of the columns, which only the other texts read. */
  readonly extra: readonly Binding[];
  readonly outputs: readonly Omit<Binding, "width">[];
  /** Outputs that hold four columns in one element where the inputs do. */
  readonly wide: boolean;
  readonly scalars: readonly ScalarType[];
  /** Functions that the other texts call. */
  readonly functions: string;
  /**
   * Whether the slice is sampled before it is summed, so that terms can be taken relative to that:
   * values `k0`, `k1` … of the inputs in its first row, or in the mean of the first rows of the
   * lanes that share the slice.
   */
  readonly first: boolean;
  /**
   * What row `r` adds to the sums `a` and `b`, from the values of the inputs; per component where
   * `width` is 4.
   */
  readonly terms: (values: readonly string[], width: 1 | 4) => readonly [string, string];
  /** Statements that store the sums `a` and `b` of element `o`, of the columns from `c` on. */
  readonly store: (width: 1 | 4) => string;
}

/** Rows of a slice. */
export function rowsOfSlice(rows: number, slices: number): number {
  return Math.ceil(rows / slices);
}

/** Columns that a lane takes. */
function widthOf({ outer, inputs }: ColumnParams): 1 | 4 {
  const last = outer.at(-1) ?? 1;
  return last % 4 === 0 && inputs.some((o) => vectorised(o, outer)) ? 4 : 1;
}

/** Whether four neighbouring columns lie in one aligned vec4. */
function vectorised(o: StridedOperand, outer: Shape): boolean {
  const at = outer.length - 1;
  return at >= 0 && o.strides[at] === 1 && o.offset % 4 === 0 &&
    o.strides.every((s, d) => d === at || s % 4 === 0);
}

/** Lanes that a software adapter runs as one, and rows from which on it cuts columns. */
const VECTOR = 8;
const SOFTWARE_ROWS = 64;
const SOFTWARE_LANES = 2048;
/**
 * Lanes of a workgroup on hardware, workgroups wanted, and rows of a lane below which cutting does
 * not pay.
 */
const TEAM = 256;
const HARDWARE_GROUPS = 512;
const HARDWARE_ROWS = 8;

/** In how many slices the rows are cut: enough to keep the device busy, and none of them empty. */
export function columnSlices(params: Omit<ColumnParams, "slices">, traits: DeviceTraits): number {
  const full = { ...params, slices: 1 };
  const rows = sizeOf(params.reduced);
  const units = sizeOf(params.outer) / widthOf(full);
  const [x, y] = lanesOf(full, traits, units);
  const wanted = traits.software
    ? Math.min(rows / SOFTWARE_ROWS, SOFTWARE_LANES / units)
    : Math.min(rows / (y * HARDWARE_ROWS), HARDWARE_GROUPS / Math.ceil(units / x));
  const least = rows / (LOOP_LIMIT / 2);
  const slices = Math.max(1, Math.ceil(Math.max(wanted, least)));
  return Math.ceil(rows / rowsOfSlice(rows, slices));
}

/** Lanes of a workgroup along columns and along rows (on hardware) or slices (in software). */
function lanesOf(params: ColumnParams, traits: DeviceTraits, units: number): [number, number] {
  const size = traits.software ? VECTOR : TEAM;
  const dense = params.inputs.some((o) => o.strides[params.outer.length - 1] === 1);
  const most = traits.software ? VECTOR : dense ? 32 : 1;
  const x = Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, units))));
  return [x, size / x];
}

/** The shader that folds columns. */
export function columnProgram(
  params: ColumnParams,
  fold: ColumnFold,
  traits: DeviceTraits,
): WgslProgram {
  const { outer, reduced, inputs, slices } = params;
  const width = widthOf(params);
  const units = sizeOf(outer) / width;
  const [x, y] = lanesOf(params, traits, units);
  const bindings = inputs.map((o, n): Binding => ({
    name: fold.names[n],
    dtype: o.dtype,
    width: width === 4 && vectorised(o, outer) ? 4 : 1,
  }));
  const outputs = fold.outputs.map((b): Binding => ({ ...b, width: fold.wide ? width : 1 }));
  const chunk = rowsOfSlice(sizeOf(reduced), slices);
  const team = !traits.software;
  const groups: [number, number, number] = [
    Math.ceil(units / x),
    team ? slices : Math.ceil(slices / y),
    1,
  ];
  const slice = team || y === 1 ? "wg.y" : `wg.y * ${y}u + lane / ${x}u`;
  const lines = [
    `  let slice = ${slice};`,
    `  let unit = wg.x * ${x}u + ${x === 1 ? "0u" : x === x * y ? "lane" : `lane % ${x}u`};`,
    team
      // Lanes without a column stay for the barriers.
      ? `  let live = unit < ${units}u;\n  let i = min(unit, ${units - 1}u);`
      : `  if (unit >= ${units}u || slice >= ${slices}u) { return; }\n  let i = unit;`,
    `  let lo = slice * ${chunk}u;`,
    `  let hi = min(lo + ${chunk}u, ${sizeOf(reduced)}u);`,
    columnHead(params, fold, width, team ? x : null),
    team && fold.first ? teamSample(inputs.length, x, y) : "",
    ...sums(params, fold, width, team ? [`lo + lane / ${x}u`, y] : ["lo", 1]),
    team ? teamFold(x, y) : "",
    `  ${team ? `if (live && lane < ${x}u) ` : ""}{`,
    `  let c = i * ${width}u;`,
    `  let o = slice * ${units}u + i;`,
    fold.store(width),
    "  }",
  ];
  const text = `alias T = ${width === 4 ? "vec4<f32>" : "f32"};
${fold.functions}
${team ? `var<workgroup> parts: array<array<T, 2>, ${TEAM}>;` : ""}
@compute @workgroup_size(${x * y})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
${lines.join("\n")}
}`;
  return { code: shader([...bindings, ...fold.extra], outputs, fold.scalars, text), groups };
}

/**
 * Where the columns of each input start, and the values that are the same for all rows.
 *
 * @param x lanes along columns of a workgroup whose other lanes share the rows, or null
 */
function columnHead(
  params: ColumnParams,
  fold: ColumnFold,
  width: 1 | 4,
  x: number | null,
): string {
  const { outer, reduced, inputs } = params;
  const rank = outer.length;
  const steps = width === 4 ? [...outer.slice(0, -1), outer[rank - 1] / 4] : outer;
  const lines = [coordinates("i", steps, "c")];
  inputs.forEach((o, n) => {
    const vector = width === 4 && vectorised(o, outer);
    const strides = o.strides.slice(0, rank).map((s, d) =>
      width === 1 ? s : vector ? (d === rank - 1 ? 1 : s / 4) : (d === rank - 1 ? 4 * s : s)
    );
    lines.push(`  let base${n} = ${address("c", strides, vector ? o.offset / 4 : o.offset)};`);
  });
  const zeros = reduced.map(() => "0u");
  inputs.forEach((o, n) => {
    if (isConstant(o, rank)) lines.push(`  let v${n} = ${valueAt(params, fold, n, width, zeros)};`);
  });
  if (fold.first) {
    lines.push(`  let sample = ${x === null ? "lo" : `min(lo + lane / ${x}u, hi - 1u)`};`);
    lines.push(rowCoordinates(reduced, "sample", "f"));
    const at = reduced.map((_, d) => `f${d}`);
    const kind = x === null ? "let" : "var";
    inputs.forEach((_, n) =>
      lines.push(`  ${kind} k${n} = ${valueAt(params, fold, n, width, at)};`)
    );
  }
  return lines.join("\n");
}

function isConstant(o: StridedOperand, rank: number): boolean {
  return o.strides.slice(rank).every((s) => s === 0);
}

function rowCoordinates(rows: Shape, from: string, prefix: string): string {
  return rows.length === 1 ? `  let ${prefix}0 = ${from};` : coordinates(from, rows, prefix);
}

/** Text of an input's value in the row at these coordinates. */
function valueAt(
  { outer, inputs }: ColumnParams,
  { names }: ColumnFold,
  n: number,
  width: 1 | 4,
  row: readonly string[],
): string {
  const o = inputs[n];
  const rank = outer.length;
  const vector = width === 4 && vectorised(o, outer);
  const terms = o.strides.slice(rank).flatMap((s, d) =>
    s === 0 ? [] : [`${row[d]} * ${u32(vector ? s / 4 : s)}`]
  );
  const at = [`base${n}`, ...terms].join(" + ");
  if (vector) return `vec4<f32>(${names[n]}[${at}])`;
  const own = o.strides[rank - 1] ?? 0;
  const element = (j: number) => loaded(o.dtype, `${names[n]}[${at} + ${u32(j * own)}]`);
  if (width === 1 || own === 0) return `T(${element(0)})`;
  return `vec4(${[0, 1, 2, 3].map(element).join(", ")})`;
}

/** Statements that leave the sums of the lane's rows in `a` and `b`, in the order of the rows. */
function sums(
  params: ColumnParams,
  fold: ColumnFold,
  width: 1 | 4,
  [start, step]: readonly [string, number],
): string[] {
  const { outer, reduced, inputs } = params;
  const at = reduced.map((_, d) => `q${d}`);
  const values = inputs.map((o, n) => isConstant(o, outer.length) ? `v${n}` : `x${n}`);
  const loads = inputs.flatMap((o, n) =>
    isConstant(o, outer.length) ? [] : [`    let x${n} = ${valueAt(params, fold, n, width, at)};`]
  );
  const [a, b] = fold.terms(values, width);
  return [
    "  var a = T();",
    "  var b = T();",
    `  for (var r = ${start}; r < hi; r += ${step}u) {`,
    `  ${rowCoordinates(reduced, "r", "q")}`,
    ...loads,
    `    a += ${a};`,
    `    b += ${b};`,
    "  }",
  ];
}

/** Folds the sums of the `y` lanes that share a column, each `x` lanes from the next. */
function teamFold(x: number, y: number): string {
  return `  parts[lane][0] = a;
  parts[lane][1] = b;
${teamTree(x, y)}
  a = parts[lane][0];
  b = parts[lane][1];`;
}

function teamTree(x: number, y: number): string {
  return `  workgroupBarrier();
  for (var k = ${x * y / 2}u; k >= ${x}u; k /= 2u) {
    if (lane < k) {
      parts[lane][0] += parts[lane + k][0];
      parts[lane][1] += parts[lane + k][1];
    }
    workgroupBarrier();
  }`;
}

/** Brings the samples of all lanes that share a column to their mean; of at most two inputs. */
function teamSample(inputs: number, x: number, y: number): string {
  const each = Array.from({ length: inputs }, (_, n) => n);
  return `${each.map((n) => `  parts[lane][${n}] = k${n} * ${1 / y};`).join("\n")}
${teamTree(x, y)}
${each.map((n) => `  k${n} = parts[lane % ${x}u][${n}];`).join("\n")}
  workgroupBarrier();`;
}
