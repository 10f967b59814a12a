/**
 * Numbers as unsigned words that compare as the numbers do, so that no device rounds, flushes or
 * folds a comparison.
 */

import type { DType } from "./types.ts";

/** Element types that order_key() takes. */
export type OrderedType = Exclude<DType, "f16">;

/** How a loaded storage word of this type stands in a variable; bool stays a word. */
export function orderedType(dtype: OrderedType): string {
  return dtype === "bool" ? "u32" : dtype;
}

/**
 * The WGSL function `order_key(v) -> u32`: larger numbers give larger words, 0 and -0 the same, NaN
 * the largest.
 *
 * @param dtype type of the storage words that it takes
 * @param reversed larger numbers give smaller words instead
 * @param nanOnTop with `reversed`: NaN still gives the largest word
 */
export function orderKey(dtype: OrderedType, reversed: boolean, nanOnTop = false): string {
  const not = reversed ? "~" : "";
  const head = `fn order_key(v: ${orderedType(dtype)}) -> u32 {`;
  if (dtype === "i32") return `${head} return ${not}(bitcast<u32>(v) ^ 0x80000000u); }`;
  if (dtype !== "f32") return `${head} return ${not}v; }`;
  return `${head}
  let bits = bitcast<u32>(v);
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return ${reversed && !nanOnTop ? "0u" : "0xffffffffu"}; }
  if (size == 0u) { return ${not}0x80000000u; }
  return ${not}select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}`;
}

/**
 * Compares as sorting does, NaN above everything: negative where `a` comes first, 0 for equal
 * numbers.
 */
export function compareNumbers(a: number, b: number): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
  if (Number.isNaN(b)) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}
