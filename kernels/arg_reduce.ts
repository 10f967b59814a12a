/**
 * Where the largest or smallest value of each line lies.
 *
 * Long lines run in two stages: the first finds the place in each slice, the second compares the
 * slices. Earlier elements win ties in both.
 */

import { operandKey, type StridedOperand } from "./map.ts";
import { type OrderedType, orderKey } from "./order_key.ts";
import {
  type DeviceTraits,
  type DType,
  intern,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, addressesOf, coordinates, grid, perThread, shader, u32 } from "./wgsl.ts";

/** Parameters of a search for extremes. */
export interface ArgReduceParams {
  readonly fold: "max" | "min";
  /** The lines; one result each. */
  readonly outer: Shape;
  /** Elements of a line, at least 1. */
  readonly length: number;
  /** Strides over `[...outer, line]`; not f16. */
  readonly input: StridedOperand;
  /** Elements of a slice; all of the line where there is one slice. */
  readonly chunk: number;
  /**
   * True for the second stage, whose second input holds the places that the first found, `[slices,
   * ...outer]`.
   */
  readonly merge: boolean;
}

/** Slices that a line is cut into. */
function slicesOf({ length, chunk }: ArgReduceParams): number {
  return Math.ceil(length / chunk);
}

/**
 * The search of these parameters; gives i32 `[slices, ...outer]`, or `[...outer]` where it merges.
 */
export function argReduceKernel(params: ArgReduceParams): Kernel {
  const { fold, outer, length, input, chunk, merge } = params;
  const key = `arg|${fold}|${outer}|${length}|${operandKey(input)}|${chunk}|${merge}`;
  const inputs: readonly DType[] = merge ? [input.dtype, "i32"] : [input.dtype];
  return intern(key, () => ({
    op: "argReduce",
    key,
    params,
    inputs,
    outputs: ["i32"],
    scalars: [],
    wgsl: (traits) => argReduceProgram(params, traits),
    reference: (ins, outs) => argReduceReference(params, ins, outs[0]),
  }));
}

function argReduceProgram(params: ArgReduceParams, traits: DeviceTraits): WgslProgram {
  const { fold, outer, length, input, chunk, merge } = params;
  const lines = sizeOf(outer);
  const count = merge ? lines : lines * slicesOf(params);
  const dtype = input.dtype as OrderedType;
  const stride = u32(input.strides.at(-1)!);
  const at = (k: string) => merge ? `u32(places[${k} * ${lines}u + o])` : k;
  const body = [
    `  let o = i % ${lines}u;`,
    coordinates("o", outer, "c"),
    `  let base = ${address("c", input.strides.slice(0, -1), input.offset)};`,
    merge ? "  let low = 0u;" : `  let low = (i / ${lines}u) * ${chunk}u;`,
    merge ? `  let high = ${slicesOf(params)}u;` : `  let high = min(low + ${chunk}u, ${length}u);`,
    `  var best = ${at("low")};`,
    `  var top = order_key(x[base + best * ${stride}]);`,
    `  for (var k = low + 1u; k < high; k++) {`,
    `    let place = ${at("k")};`,
    `    let key = order_key(x[base + place * ${stride}]);`,
    `    best = select(best, place, key > top);`,
    `    top = max(top, key);`,
    `  }`,
    `  y[i] = i32(best);`,
  ];
  const places = merge ? [{ name: "places", dtype: "i32" } as const] : [];
  const text = orderKey(dtype, fold === "min", true) + "\n" + perThread(count, body.join("\n"));
  return {
    code: shader([{ name: "x", dtype }, ...places], [{ name: "y", dtype: "i32" }], [], text),
    groups: grid(count, traits),
  };
}

function argReduceReference(
  params: ArgReduceParams,
  [x, places]: readonly Float64Array[],
  out: Float64Array,
): void {
  const { fold, outer, length, input, chunk, merge } = params;
  const starts = addressesOf(outer, input.strides.slice(0, -1), input.offset);
  const stride = input.strides.at(-1)!;
  const slices = slicesOf(params);
  const wins = (a: number, b: number) =>
    Number.isNaN(a) ? !Number.isNaN(b) : fold === "max" ? a > b : a < b;
  starts.forEach((start, o) => {
    const better = (a: number, b: number) => wins(x[start + a * stride], x[start + b * stride]);
    for (let s = 0; s < slices; s++) {
      const at = merge ? o : s * starts.length + o;
      const first = merge ? places[s * starts.length + o] : s * chunk;
      const until = merge ? first + 1 : Math.min(length, first + chunk);
      if (s === 0 || !merge) out[at] = first;
      for (let k = first; k < until; k++) if (better(k, out[at])) out[at] = k;
    }
  });
}
