/** Reading and writing at places that an index tensor names along one axis. */

import { operandKey, type StridedOperand } from "./map.ts";
import {
  type DeviceTraits,
  intern,
  isFloat,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import {
  address,
  addressesOf,
  coordinates,
  grid,
  loaded,
  perThread,
  shader,
  stored,
  u32,
  valueType,
} from "./wgsl.ts";

/** Parameters of a gather: `y[…, i, …] = source[…, index[…, i, …], …]`. */
export interface GatherParams {
  /** Of the result, which is dense and row-major. */
  readonly shape: Shape;
  /** The axis that the index is about. */
  readonly dim: number;
  /** Elements of the source along that axis. */
  readonly size: number;
  /** Strides over the axes of the result; along `dim` the step of the source. */
  readonly source: StridedOperand;
  /** Strides over the axes of the result; i32 or u32. */
  readonly index: StridedOperand;
  /** What stands where the index lies outside: NaN (0 for integers, false for bool), or 0. */
  readonly outside: "nan" | "zero";
}

/**
 * Parameters of a placement: `y[…, index[…, i, …], …] = source[…, i, …]`, where no place is named
 * twice.
 */
export interface PlaceParams {
  /** Of the source and the index. */
  readonly shape: Shape;
  readonly dim: number;
  /** Elements of the result along that axis. */
  readonly size: number;
  readonly source: StridedOperand;
  readonly index: StridedOperand;
  /** Strides of the result over the axes of the source. */
  readonly output: StridedOperand;
}

/** The gather of these parameters. Inputs: source, index. */
export function gatherKernel(params: GatherParams): Kernel {
  const { shape, dim, size, source, index, outside } = params;
  const key = `gather|${shape}|${dim}|${size}|${operandKey(source)}|${
    operandKey(index)
  }|${outside}`;
  return intern(key, () => ({
    op: "gather",
    key,
    params,
    inputs: [source.dtype, index.dtype],
    outputs: [source.dtype],
    scalars: [],
    wgsl: (traits) => gatherProgram(params, traits),
    reference: (ins, outs) => gatherReference(params, ins, outs[0]),
  }));
}

/**
 * The placement of these parameters. Inputs: source, index. Elements of the result that no index
 * names stay as they are.
 */
export function placeKernel(params: PlaceParams): Kernel {
  const { shape, dim, size, source, index, output } = params;
  const key = `place|${shape}|${dim}|${size}|${operandKey(source)}|${operandKey(index)}|${
    operandKey(output)
  }`;
  return intern(key, () => ({
    op: "place",
    key,
    params,
    inputs: [source.dtype, index.dtype],
    outputs: [source.dtype],
    scalars: [],
    wgsl: (traits) => placeProgram(params, traits),
    reference: (ins, outs) => placeReference(params, ins, outs[0]),
  }));
}

/** Strides without the step along an axis. */
function across(strides: readonly number[], dim: number): number[] {
  return strides.map((s, d) => d === dim ? 0 : s);
}

function gatherProgram(params: GatherParams, traits: DeviceTraits): WgslProgram {
  const { shape, dim, size, source, index, outside } = params;
  const { dtype } = source;
  const zero = dtype === "bool" ? "false" : `${valueType(dtype)}(0)`;
  const other = outside === "nan" && isFloat(dtype) ? "nan()" : zero;
  const base = address("c", across(source.strides, dim), source.offset);
  const body = [
    coordinates("i", shape, "c"),
    `  let k = u32(places[${address("c", index.strides, index.offset)}]);`,
    `  var value = ${other};`,
    `  if (k < ${size}u) {`,
    `    value = ${loaded(dtype, `x[${base} + k * ${u32(source.strides[dim])}]`)};`,
    `  }`,
    `  y[i] = ${stored(dtype, "value")};`,
  ].join("\n");
  const inputs = [{ name: "x", dtype }, { name: "places", dtype: index.dtype }];
  return {
    code: shader(inputs, [{ name: "y", dtype }], [], perThread(sizeOf(shape), body)),
    groups: grid(sizeOf(shape), traits),
  };
}

function placeProgram(params: PlaceParams, traits: DeviceTraits): WgslProgram {
  const { shape, dim, size, source, index, output } = params;
  const { dtype } = source;
  const base = address("c", across(output.strides, dim), output.offset);
  const body = [
    coordinates("i", shape, "c"),
    `  let k = u32(places[${address("c", index.strides, index.offset)}]);`,
    `  if (k < ${size}u) {`,
    `    y[${base} + k * ${u32(output.strides[dim])}] = x[${
      address("c", source.strides, source.offset)
    }];`,
    `  }`,
  ].join("\n");
  const inputs = [{ name: "x", dtype }, { name: "places", dtype: index.dtype }];
  return {
    code: shader(inputs, [{ name: "y", dtype }], [], perThread(sizeOf(shape), body)),
    groups: grid(sizeOf(shape), traits),
  };
}

function gatherReference(
  { shape, dim, size, source, index, outside }: GatherParams,
  [x, places]: readonly Float64Array[],
  out: Float64Array,
): void {
  const bases = addressesOf(shape, across(source.strides, dim), source.offset);
  const at = addressesOf(shape, index.strides, index.offset);
  const other = outside === "nan" && isFloat(source.dtype) ? NaN : 0;
  bases.forEach((base, i) => {
    const k = places[at[i]];
    out[i] = k >= 0 && k < size ? x[base + k * source.strides[dim]] : other;
  });
}

function placeReference(
  { shape, dim, size, source, index, output }: PlaceParams,
  [x, places]: readonly Float64Array[],
  out: Float64Array,
): void {
  const bases = addressesOf(shape, across(output.strides, dim), output.offset);
  const from = addressesOf(shape, source.strides, source.offset);
  const at = addressesOf(shape, index.strides, index.offset);
  bases.forEach((base, i) => {
    const k = places[at[i]];
    if (k >= 0 && k < size) out[base + k * output.strides[dim]] = x[from[i]];
  });
}
