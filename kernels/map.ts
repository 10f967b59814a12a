/** Elementwise kernels: formulas over any number of strided inputs; also every strided copy. */

import { dtypeOf, type Expr } from "./expr.ts";
import { coerced, evaluator, exprFunction } from "./expr_code.ts";
import {
  type DeviceTraits,
  type DType,
  intern,
  type Kernel,
  type ScalarType,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import {
  address,
  addressesOf,
  type Binding,
  coordinates,
  grid,
  loaded,
  perThread,
  shader,
  stored,
  u32,
} from "./wgsl.ts";

/** One operand of a kernel that iterates over a shape. */
export interface StridedOperand {
  readonly dtype: DType;
  /** In elements, one for each axis of the iteration shape. */
  readonly strides: readonly number[];
  /** In elements, from the start of the bound range. */
  readonly offset: number;
}

/** Parameters of an elementwise kernel. */
export interface MapParams {
  readonly expr: Expr;
  readonly shape: Shape;
  readonly inputs: readonly StridedOperand[];
  readonly output: StridedOperand;
  readonly scalars: readonly ScalarType[];
  /** Whether input 0 of the formula is what the output holds, and `inputs` begin with input 1. @default {false} */
  readonly inPlace?: boolean;
  /** Further formulas of the same inputs, and where they go. @default {none} */
  readonly also?: readonly MapOutput[];
}

/** A formula and where its values go. */
export interface MapOutput {
  readonly expr: Expr;
  readonly output: StridedOperand;
}

/** All formulas of a kernel with their places. */
function outputsOf({ expr, output, also = [] }: MapParams): MapOutput[] {
  return [{ expr, output }, ...also];
}

/** Text that identifies an operand. */
export function operandKey(o: StridedOperand): string {
  return `${o.dtype}:${o.strides}:${o.offset}`;
}

/** The elementwise kernel of these parameters. */
export function mapKernel(params: MapParams): Kernel {
  const { expr, shape, inputs, output, scalars, inPlace = false, also = [] } = params;
  const more = also.map((o) => `|also ${o.expr.key}>${operandKey(o.output)}`).join("");
  const key = `map|${inPlace ? "in place|" : ""}${expr.key}|${shape}|${
    inputs.map(operandKey).join(";")
  }|${operandKey(output)}|${scalars}${more}`;
  return intern(key, () => ({
    op: "map",
    key,
    params,
    inputs: inputs.map((i) => i.dtype),
    outputs: [output.dtype, ...also.map((o) => o.output.dtype)],
    scalars,
    wgsl: (traits) => mapProgram(params, traits),
    reference: (ins, outs, values) => mapReference(params, ins, outs, values),
  }));
}

/** What the inputs of the formula are read from: names of bindings and how the elements lie there. */
function sources({ inputs, output, inPlace }: MapParams): [string, StridedOperand][] {
  const bound = inputs.map((o, n): [string, StridedOperand] => [`x${n}`, o]);
  return inPlace ? [["y", output], ...bound] : bound;
}

/** Whether four neighbours along the last axis lie in one aligned vec4. */
function vectorised(o: StridedOperand): boolean {
  const last = o.strides.length - 1;
  return last >= 0 && o.strides[last] === 1 && o.offset % 4 === 0 &&
    o.strides.every((s, d) => d === last || s % 4 === 0);
}

function mapProgram(params: MapParams, traits: DeviceTraits): WgslProgram {
  const { shape, inputs, scalars } = params;
  const targets = outputsOf(params);
  const read = sources(params);
  const count = sizeOf(shape);
  const last = shape.length - 1;
  const wide = last >= 0 && shape[last] % 4 === 0 &&
    targets.every(({ output }) => vectorised(output));
  const width = wide ? 4 : 1;
  const steps = wide ? [...shape.slice(0, last), shape[last] / 4] : shape;
  const bindings: Binding[] = inputs.map((o, n) => ({
    name: `x${n}`,
    dtype: o.dtype,
    width: wide && vectorised(o) ? 4 : 1,
  }));
  const bound = targets.map(({ output }, n): Binding => ({
    name: targetName(n),
    dtype: output.dtype,
    width,
  }));
  const loads = read.map(([name, o], n) => load(name, o, n, wide));
  const lines = [coordinates("i", steps, "c"), ...loads];
  const perLane = read.map(([, o], n) => laneNames(o, n, wide));
  targets.forEach(({ output }, n) => {
    const calls = Array.from(
      { length: width },
      (_, lane) => stored(output.dtype, `f${n}(${perLane.map((names) => names[lane]).join(", ")})`),
    );
    const value = wide ? `vec4(${calls.join(", ")})` : calls[0];
    // All is computed before anything is stored, since a result may lie where an input lay.
    lines.push(`  let r${n} = ${value};`);
  });
  targets.forEach(({ output }, n) =>
    lines.push(`  ${targetName(n)}[${addressOf(output, wide, true)}] = r${n};`)
  );
  const types = read.map(([, o]) => o.dtype);
  const functions = targets.map(({ expr }, n) => exprFunction(`f${n}`, expr, types));
  const text = [...functions, perThread(count / width, lines.join("\n"))].join("\n");
  return {
    code: shader(bindings, bound, scalars, text),
    groups: grid(count / width, traits),
  };
}

function targetName(n: number): string {
  return n === 0 ? "y" : `y${n}`;
}

/** Address of the thread's first element; in vec4 units for vectorised operands. */
function addressOf(o: StridedOperand, wide: boolean, vector: boolean): string {
  const last = o.strides.length - 1;
  if (!wide) return address("c", o.strides, o.offset);
  if (vector) return address("c", o.strides.map((s, d) => d === last ? 1 : s / 4), o.offset / 4);
  return address("c", o.strides.map((s, d) => d === last ? s * 4 : s), o.offset);
}

function load(name: string, o: StridedOperand, n: number, wide: boolean): string {
  const vector = wide && vectorised(o);
  const stride = o.strides.at(-1) ?? 0;
  if (!wide || vector || stride === 0) {
    return `  let v${n} = ${name}[${addressOf(o, wide, vector)}];`;
  }
  const base = `  let p${n} = ${addressOf(o, wide, false)};`;
  const lanes = [0, 1, 2, 3].map((lane) =>
    `  let v${n}_${lane} = ${name}[p${n} + ${u32(lane * stride)}];`
  );
  return [base, ...lanes].join("\n");
}

function laneNames(o: StridedOperand, n: number, wide: boolean): string[] {
  const vector = wide && vectorised(o);
  const names = vector
    ? [..."xyzw"].map((component) => `v${n}.${component}`)
    : !wide || o.strides.at(-1) === 0
    ? [`v${n}`, `v${n}`, `v${n}`, `v${n}`]
    : [0, 1, 2, 3].map((lane) => `v${n}_${lane}`);
  return names.map((name) => loaded(o.dtype, name));
}

function mapReference(
  params: MapParams,
  bound: readonly Float64Array[],
  outs: readonly Float64Array[],
  scalars: readonly number[],
): void {
  const { shape } = params;
  const ins = params.inPlace ? [outs[0], ...bound] : bound;
  const inputs = sources(params).map(([, o]) => o);
  const types = inputs.map((o) => o.dtype);
  const from = inputs.map((o) => addressesOf(shape, o.strides, o.offset));
  const targets = outputsOf(params).map(({ expr, output }) => ({
    value: evaluator(expr, types),
    type: dtypeOf(expr, types),
    to: addressesOf(shape, output.strides, output.offset),
  }));
  const x = new Float64Array(inputs.length);
  for (let i = 0; i < sizeOf(shape); i++) {
    for (let n = 0; n < x.length; n++) x[n] = ins[n][from[n][i]];
    targets.forEach(({ value, type, to }, k) => outs[k][to[i]] = coerced(value(x, scalars), type));
  }
}
