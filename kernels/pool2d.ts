/**
 * What the pooling kernels share: the windows along an axis, and threads that own one place and
 * four channels.
 *
 * Results lie channels-last, so neighbouring threads own neighbouring channels; where the number of
 * channels is a multiple of 4 each thread works on a vec4 of them.
 */

import type { StridedOperand } from "./map.ts";
import { type DeviceTraits, type DType, intern, type Kernel } from "./types.ts";
import {
  address,
  type Binding,
  coordinates,
  grid,
  perThread,
  shader,
  storageType,
  u32,
} from "./wgsl.ts";

/** Windows of equal length along an axis. */
export interface WindowAxis {
  readonly kind: "window";
  /** Elements of the input. */
  readonly size: number;
  /** Windows, which are elements of the output. */
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

/**
 * Windows that share an axis out evenly: window o reaches from `⌊o·size/out⌋` to before
 * `⌈(o+1)·size/out⌉`.
 */
export interface BinAxis {
  readonly kind: "bins";
  readonly size: number;
  readonly out: number;
}

/** Images and their windows. */
export interface PoolShape<Axis> {
  readonly batch: number;
  readonly channels: number;
  readonly h: Axis;
  readonly w: Axis;
}

/** Taps up to this number are written out, more become loops. */
const UNROLLED = 16;

/** Statements for every pair of places of a window, `rows` × `columns` at most. */
export interface Taps {
  readonly rows: number;
  readonly columns: number;
  /** Text of the first row (column) and of that after the last one. */
  readonly rowLow: string;
  readonly rowHigh: string;
  readonly columnLow: string;
  readonly columnHigh: string;
  /** Whether a window may have fewer places than `rows` and `columns`. */
  readonly ragged: boolean;
}

/**
 * The statements of `body`, which works on the place (`row`, `column`), for all places of a window.
 */
export function forTaps(taps: Taps, body: string): string {
  const { rows, columns, rowLow, rowHigh, columnLow, columnHigh, ragged } = taps;
  if (rows * columns > UNROLLED) {
    return `  for (var row = ${rowLow}; row < ${rowHigh}; row++) {
  for (var column = ${columnLow}; column < ${columnHigh}; column++) {
${body}
  }
  }`;
  }
  const lines: string[] = [];
  for (let a = 0; a < rows; a++) {
    for (let b = 0; b < columns; b++) {
      const guard = ragged ? `if (row < ${rowHigh} && column < ${columnHigh}) ` : "";
      lines.push(
        `  {`,
        `    let row = ${rowLow} + ${a}u;`,
        `    let column = ${columnLow} + ${b}u;`,
        `    ${guard}{`,
        body,
        `    }`,
        `  }`,
      );
    }
  }
  return lines.join("\n");
}

/** An input of a pooling kernel: strides over [batch, channel, row, column]. */
export interface PoolInput {
  readonly name: string;
  readonly operand: StridedOperand;
}

/** Strides of a dense channels-last image tensor over [batch, channel, row, column]. */
export function channelsLast(channels: number, rows: number, columns: number): number[] {
  return [rows * columns * channels, 1, columns * channels, channels];
}

function isVector({ strides: [n, c, h, w], offset }: StridedOperand): boolean {
  return c === 1 && [n, h, w, offset].every((s) => s % 4 === 0);
}

/** `load_<name>(n, c, row, column)`: one value, or four channels from group c on. */
function loader({ name, operand }: PoolInput, width: 1 | 4): string {
  const { strides, offset, dtype } = operand;
  const type = storageType(dtype);
  const head = `fn load_${name}(a0: u32, a1: u32, a2: u32, a3: u32)`;
  if (width === 1) {
    return `${head} -> ${type} { return ${name}[${address("a", strides, offset)}]; }`;
  }
  if (isVector(operand)) {
    const quarter = strides.map((s, d) => d === 1 ? 1 : s / 4);
    return `${head} -> vec4<${type}> { return ${name}[${address("a", quarter, offset / 4)}]; }`;
  }
  const steps = strides.map((s, d) => d === 1 ? 4 * s : s);
  const lanes = [0, 1, 2, 3].map((lane) => `${name}[p + ${u32(lane * strides[1])}]`);
  return `${head} -> vec4<${type}> {
  let p = ${address("a", steps, offset)};
  return vec4(${lanes.join(", ")});
}`;
}

/** Text of a type for one value or four channels. */
export type Wide = (type: string) => string;

/** A pooling kernel in the making. */
export interface PoolProgram {
  /** Places that threads own: of the output of the kernel. */
  readonly batch: number;
  readonly channels: number;
  readonly rows: number;
  readonly columns: number;
  readonly inputs: readonly PoolInput[];
  readonly outputs: readonly { readonly name: string; readonly dtype: DType }[];
  /** Whether four channels may share a thread. */
  readonly vector: boolean;
  /** Functions that the body calls. */
  readonly functions: string;
  /** Statements of the thread that owns (`c0`, `c3`, `c1`, `c2`); its outputs are at `[i]`. */
  body(wide: Wide): string;
}

/** The code and geometry of a pooling kernel. */
export function poolProgram(
  program: PoolProgram,
  traits: DeviceTraits,
): { code: string; groups: [number, number, number] } {
  const { batch, channels, rows, columns, inputs, outputs } = program;
  const width = program.vector && channels % 4 === 0 ? 4 : 1;
  const wide: Wide = (type) => width === 4 ? `vec4<${type}>` : type;
  const places = [batch, rows, columns, channels / width];
  const threads = places.reduce((a, b) => a * b, 1);
  const bind = (name: string, dtype: DType, vector: boolean): Binding => ({
    name,
    dtype,
    width: vector ? 4 : 1,
  });
  const text = [
    ...inputs.map((input) => loader(input, width)),
    program.functions,
    perThread(threads, `${coordinates("i", places, "c")}\n${program.body(wide)}`),
  ].join("\n");
  return {
    code: shader(
      inputs.map(({ name, operand }) =>
        bind(name, operand.dtype, width === 4 && isVector(operand))
      ),
      outputs.map(({ name, dtype }) => bind(name, dtype, width === 4)),
      [],
      text,
    ),
    groups: grid(threads, traits),
  };
}

/** A kernel without scalars, made once for each key. */
export function poolKernel(
  key: string,
  params: unknown,
  make: () => PoolProgram,
  reference: Kernel["reference"],
): Kernel {
  return intern(key, () => {
    const program = make();
    return {
      op: "pool2d",
      key,
      params,
      inputs: program.inputs.map((input) => input.operand.dtype),
      outputs: program.outputs.map((output) => output.dtype),
      scalars: [],
      wgsl: (traits) => poolProgram(program, traits),
      reference,
    };
  });
}

/** The most elements of one window. */
export function longestWindow(axis: WindowAxis | BinAxis): number {
  return axis.kind === "window" ? axis.kernel : longestShare(axis.size, axis.out);
}

/** The most windows that reach one element, those that reach it with a gap included. */
export function windowsOver(axis: WindowAxis | BinAxis): number {
  if (axis.kind === "bins") return longestShare(axis.out, axis.size);
  return Math.ceil((axis.dilation * (axis.kernel - 1) + 1) / axis.stride);
}

/** The longest of the ranges from `⌊o·size/parts⌋` to before `⌈(o+1)·size/parts⌉`. */
function longestShare(size: number, parts: number): number {
  let most = 0;
  for (let o = 0; o < parts; o++) {
    most = Math.max(most, Math.ceil((o + 1) * size / parts) - Math.floor(o * size / parts));
  }
  return most;
}

/**
 * Functions `first_<name>(i)` and `end_<name>(i)`: the windows of an axis that reach element i.
 * Dilated windows are taken with their gaps.
 */
export function windowsFunctions(name: string, axis: WindowAxis | BinAxis): string {
  const { size, out } = axis;
  if (axis.kind === "bins") {
    return `fn first_${name}(i: u32) -> u32 { return i * ${u32(out)} / ${u32(size)}; }
fn end_${name}(i: u32) -> u32 { return ((i + 1u) * ${u32(out)} + ${u32(size - 1)}) / ${
      u32(size)
    }; }`;
  }
  const { kernel, stride, padding, dilation } = axis;
  const reach = u32(dilation * (kernel - 1) + 1);
  return `fn first_${name}(i: u32) -> u32 {
  let q = i + ${u32(padding)};
  return select(0u, (q - ${reach}) / ${u32(stride)} + 1u, q >= ${reach});
}
fn end_${name}(i: u32) -> u32 {
  return min((i + ${u32(padding)}) / ${u32(stride)} + 1u, ${u32(out)});
}`;
}

/** All windows that reach the thread's element (`c1`, `c2`). */
export function windowTaps(h: WindowAxis | BinAxis, w: WindowAxis | BinAxis): Taps {
  return {
    rows: windowsOver(h),
    columns: windowsOver(w),
    rowLow: "first_h(c1)",
    rowHigh: "end_h(c1)",
    columnLow: "first_w(c2)",
    columnHigh: "end_w(c2)",
    ragged: true,
  };
}
