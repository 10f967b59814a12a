/** Four neighbouring elements of an operand as a vector, whatever their type and distance. */

import type { DType } from "../../types.ts";
import { type Code, f32, get, i32, i32x4, type Local, set, v128 } from "../instructions.ts";
import { floatOfHalf, floatsOfHalves, halfOfFloat, halvesOfFloats } from "../half.ts";
import type { FunctionBuilder } from "../module.ts";

/** Where the elements are: bytes behind the address, bytes from one to the next, and how many of the four there are. */
export interface Four {
  readonly offset: number;
  readonly step: number;
  readonly count: number;
}

/** Four words; lanes that are not there hold anything. Reads up to 12 bytes behind the last element where they are dense. */
function loadWords(address: Code, { offset, step, count }: Four): Code {
  if (step === 0) return v128.load32_splat(address, offset);
  if (step === 4) return v128.load(address, offset);
  let value = v128.load32_zero(address, offset);
  for (let lane = 1; lane < count; lane++) {
    value = i32x4.replace_lane(value, lane, i32.load(address, offset + lane * step));
  }
  return value;
}

/** Statements that store the first words of a vector. */
function storeWords(address: Code, value: Local, { offset, step, count }: Four): Code {
  if (step === 4 && count === 4) return v128.store(address, get(value), offset);
  return Array.from(
    { length: count },
    (_, lane) => v128.store32_lane(address, get(value), lane, offset + lane * step),
  );
}

/**
 * Four elements as a vector of f32 (also for f16), i32, u32, or a mask for bool. Lanes that are not there hold anything; up to
 * 12 bytes behind the last element may be read.
 */
export function loadFour(
  fn: FunctionBuilder,
  dtype: DType,
  address: Code,
  four: Four,
): Code {
  if (dtype === "f16") return floatsOfHalves(fn, loadHalves(address, four));
  const words = loadWords(address, four);
  return dtype === "bool" ? i32x4.ne(words, v128.const([0, 0, 0, 0])) : words;
}

function loadHalves(address: Code, { offset, step, count }: Four): Code {
  const half = (lane: number) => i32.load16_u(address, offset + lane * step);
  let value = i32x4.splat(half(0));
  for (let lane = 1; step !== 0 && lane < count; lane++) {
    value = i32x4.replace_lane(value, lane, half(lane));
  }
  return value;
}

/** Statements that store the first elements of a vector, which holds what loadFour() gives. */
export function storeFour(
  fn: FunctionBuilder,
  dtype: DType,
  address: Code,
  value: Local,
  four: Four,
): Code {
  if (dtype !== "f16" && dtype !== "bool") return storeWords(address, value, four);
  const words = fn.local("v128");
  const { offset, step, count } = four;
  if (dtype === "bool") {
    const ones = v128.and(get(value), v128.const([1, 1, 1, 1]));
    return [set(words, ones), storeWords(address, words, four)];
  }
  const stores = Array.from(
    { length: count },
    (_, lane) => i32.store16(address, i32x4.extract_lane(get(words), lane), offset + lane * step),
  );
  return [set(words, halvesOfFloats(fn, get(value))), stores];
}

/** One element as f32 (also for f16), i32, u32, or 0 or 1 for bool. */
export function loadOne(fn: FunctionBuilder, dtype: DType, address: Code): Code {
  switch (dtype) {
    case "f32":
      return f32.load(address);
    case "f16":
      return floatOfHalf(fn, i32.load16_u(address));
    case "bool":
      return i32.ne(i32.load(address), i32.const(0));
    default:
      return i32.load(address);
  }
}

/** A statement that stores one element, which is what loadOne() gives. */
export function storeOne(fn: FunctionBuilder, dtype: DType, address: Code, value: Code): Code {
  if (dtype === "f32") return f32.store(address, value);
  if (dtype === "f16") return i32.store16(address, halfOfFloat(fn, value));
  return i32.store(address, value);
}
