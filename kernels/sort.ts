/**
 * Stable sorting of lines by merging: the first kernel sorts short blocks, each further one merges
 * neighbouring runs. Every element finds its own place by counting what comes before it, so nothing
 * is exchanged and nobody waits.
 *
 * With `keep` below the length runs are cut to their first `keep` elements, which is all that a
 * top-k needs.
 */

import { operandKey, type StridedOperand } from "./map.ts";
import { compareNumbers, type OrderedType, orderKey } from "./order_key.ts";
import {
  type DeviceTraits,
  intern,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, addressesOf, coordinates, grid, perThread, shader, u32 } from "./wgsl.ts";

/** Parameters of the first kernel: sorts blocks of each line. */
export interface SortBlocksParams {
  readonly outer: Shape;
  /** Elements of a line. */
  readonly length: number;
  /** Strides over `[...outer, line]`; not f16. */
  readonly input: StridedOperand;
  /** Elements of a block; the last one of a line may be shorter. */
  readonly block: number;
  /** Elements of a sorted run that are kept at most. */
  readonly keep: number;
  readonly descending: boolean;
}

/** Parameters of a further kernel: merges the sorted runs of each line in pairs. */
export interface MergeRunsParams {
  readonly lines: number;
  /** Elements of a line. */
  readonly length: number;
  /** Elements of a run; the last one of a line may be shorter. */
  readonly run: number;
  /** Elements of a merged run that are kept at most. */
  readonly keep: number;
  readonly dtype: OrderedType;
  readonly descending: boolean;
}

/** Elements of a line that remain when runs of `run` elements are cut to `keep`. */
export function cutLength(length: number, run: number, keep: number): number {
  const whole = Math.max(0, Math.ceil(length / run) - 1);
  return whole * Math.min(run, keep) + Math.min(length - whole * run, keep);
}

/**
 * Sorts blocks. Outputs, dense `[...outer, cutLength]`: the values, and i32 where in their line
 * they come from.
 */
export function sortBlocksKernel(params: SortBlocksParams): Kernel {
  const { outer, length, input, block, keep, descending } = params;
  const key = `sortBlocks|${outer}|${length}|${operandKey(input)}|${block}|${keep}|${descending}`;
  return intern(key, () => ({
    op: "sortBlocks",
    key,
    params,
    inputs: [input.dtype],
    outputs: [input.dtype, "i32"],
    scalars: [],
    wgsl: (traits) => sortBlocksProgram(params, traits),
    reference: ([x], [values, indices]) => sortBlocksReference(params, x, values, indices),
  }));
}

/** Merges runs. Inputs and outputs: dense `[lines, …]` values and indices. */
export function mergeRunsKernel(params: MergeRunsParams): Kernel {
  const { lines, length, run, keep, dtype, descending } = params;
  const key = `mergeRuns|${lines}|${length}|${run}|${keep}|${dtype}|${descending}`;
  return intern(key, () => ({
    op: "mergeRuns",
    key,
    params,
    inputs: [dtype, "i32"],
    outputs: [dtype, "i32"],
    scalars: [],
    wgsl: (traits) => mergeRunsProgram(params, traits),
    reference: (inputs, outputs) => mergeRunsReference(params, inputs, outputs),
  }));
}

function sortBlocksProgram(params: SortBlocksParams, traits: DeviceTraits): WgslProgram {
  const { outer, length, input, block, keep, descending } = params;
  const count = sizeOf(outer) * length;
  const dtype = input.dtype as OrderedType;
  const stride = u32(input.strides.at(-1)!);
  const kept = Math.min(block, keep);
  const body = [
    `  let o = i / ${length}u;`,
    `  let j = i % ${length}u;`,
    coordinates("o", outer, "c"),
    `  let base = ${address("c", input.strides.slice(0, -1), input.offset)};`,
    `  let low = j / ${block}u * ${block}u;`,
    `  let high = min(low + ${block}u, ${length}u);`,
    `  let value = x[base + j * ${stride}];`,
    `  let key = order_key(value);`,
    `  var rank = 0u;`,
    `  for (var k = low; k < high; k++) {`,
    `    let other = order_key(x[base + k * ${stride}]);`,
    `    rank += select(0u, 1u, other < key || (other == key && k < j));`,
    `  }`,
    `  if (rank >= ${kept}u) { return; }`,
    `  let place = o * ${cutLength(length, block, keep)}u + j / ${block}u * ${kept}u + rank;`,
    `  values[place] = value;`,
    `  indices[place] = i32(j);`,
  ].join("\n");
  return {
    code: shader(
      [{ name: "x", dtype }],
      [{ name: "values", dtype }, { name: "indices", dtype: "i32" }],
      [],
      orderKey(dtype, descending) + "\n" + perThread(count, body),
    ),
    groups: grid(count, traits),
  };
}

function mergeRunsProgram(params: MergeRunsParams, traits: DeviceTraits): WgslProgram {
  const { lines, length, run, keep, dtype, descending } = params;
  const count = lines * length;
  const merged = Math.min(2 * run, keep);
  // Elements of the right run go behind equal ones of the left run.
  const body = [
    `  let o = i / ${length}u;`,
    `  let j = i % ${length}u;`,
    `  let r = j / ${run}u;`,
    `  let right = (r & 1u) == 1u;`,
    `  let start = o * ${length}u;`,
    `  var low = min((r ^ 1u) * ${run}u, ${length}u);`,
    `  let first = low;`,
    `  var high = min(low + ${run}u, ${length}u);`,
    `  let value = x[i];`,
    `  let key = order_key(value);`,
    `  while (low < high) {`,
    `    let middle = (low + high) / 2u;`,
    `    let other = order_key(x[start + middle]);`,
    `    let before = other < key || (right && other == key);`,
    `    low = select(low, middle + 1u, before);`,
    `    high = select(middle, high, before);`,
    `  }`,
    `  let rank = (j - r * ${run}u) + (low - first);`,
    `  if (rank >= ${merged}u) { return; }`,
    `  let place = o * ${cutLength(length, 2 * run, keep)}u + (r >> 1u) * ${merged}u + rank;`,
    `  values[place] = value;`,
    `  indices[place] = origin[i];`,
  ].join("\n");
  return {
    code: shader(
      [{ name: "x", dtype }, { name: "origin", dtype: "i32" }],
      [{ name: "values", dtype }, { name: "indices", dtype: "i32" }],
      [],
      orderKey(dtype, descending) + "\n" + perThread(count, body),
    ),
    groups: grid(count, traits),
  };
}

/**
 * The first `keep` of a run of (value, index) pairs, sorted with equal values in the order of their
 * indices.
 */
function sorted(
  pairs: readonly (readonly [number, number])[],
  descending: boolean,
  keep: number,
): (readonly [number, number])[] {
  const sign = descending ? -1 : 1;
  return pairs.toSorted((a, b) => sign * compareNumbers(a[0], b[0]) || a[1] - b[1]).slice(0, keep);
}

function sortBlocksReference(
  { outer, length, input, block, keep, descending }: SortBlocksParams,
  x: Float64Array,
  values: Float64Array,
  indices: Float64Array,
): void {
  let at = 0;
  for (const start of addressesOf(outer, input.strides.slice(0, -1), input.offset)) {
    for (let low = 0; low < length; low += block) {
      const pairs = Array.from(
        { length: Math.min(block, length - low) },
        (_, k) => [x[start + (low + k) * input.strides.at(-1)!], low + k] as const,
      );
      for (const [value, index] of sorted(pairs, descending, keep)) {
        values[at] = value;
        indices[at++] = index;
      }
    }
  }
}

function mergeRunsReference(
  { lines, length, run, keep, descending }: MergeRunsParams,
  [x, origin]: readonly Float64Array[],
  [values, indices]: readonly Float64Array[],
): void {
  let at = 0;
  for (let o = 0; o < lines; o++) {
    for (let low = 0; low < length; low += 2 * run) {
      const pairs = Array.from(
        { length: Math.min(2 * run, length - low) },
        (_, k) => [x[o * length + low + k], origin[o * length + low + k]] as const,
      );
      for (const [value, index] of sorted(pairs, descending, keep)) {
        values[at] = value;
        indices[at++] = index;
      }
    }
  }
}
