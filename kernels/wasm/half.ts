/** Floats of 16 bits: their words as f32, and back with rounding to nearest even. */

import {
  type Code,
  f32,
  f32x4,
  get,
  i16x8,
  i32,
  i32x4,
  type Local,
  select,
  set,
  tee,
  v128,
  type ValueType,
} from "./instructions.ts";

/** Who gives out variables: a function of a module, or a writer. */
export interface Locals {
  /** A new variable. */
  local(type: ValueType): Local;
}

/** Bits of an f16 infinity where it stands in an f32, before its exponent is moved. */
const INFINITE = 0x7c00 << 13;
/** The exponents of f32 and f16 differ by 112. */
const SCALE = 2 ** 112;
const F32_INFINITE = 0x7f800000;
/** 2^16, from which on all is infinite, and 2^-14, below which numbers are subnormal. */
const TOO_LARGE = 0x47800000;
const NORMAL = 0x38800000;
/** 0.5, whose last bit is worth that of a subnormal f16. */
const HALF = 0x3f000000;

function four(word: number): Code {
  return v128.const([word, word, word, word]);
}

/** The float that a word of 16 bits stands for. */
export function floatOfHalf(fn: Locals, word: Code): Code {
  const [half, size] = [fn.local("i32"), fn.local("i32")];
  const before = [
    set(half, word),
    set(size, i32.shl(i32.and(get(half), i32.const(0x7fff)), i32.const(13))),
  ];
  const finite = i32.reinterpret_f32(
    f32.mul(f32.reinterpret_i32(get(size)), f32.const(SCALE)),
  );
  const infinite = i32.or(get(size), i32.const(F32_INFINITE));
  const bits = select(finite, infinite, i32.lt_u(get(size), i32.const(INFINITE)));
  const sign = i32.shl(i32.and(get(half), i32.const(0x8000)), i32.const(16));
  return [before, f32.reinterpret_i32(i32.or(bits, sign))];
}

/** Four floats from four words of 16 bits, each in a lane of 32. */
export function floatsOfHalves(fn: Locals, words: Code): Code {
  const [half, size] = [fn.local("v128"), fn.local("v128")];
  const before = [
    set(half, words),
    set(size, i32x4.shl(v128.and(get(half), four(0x7fff)), i32.const(13))),
  ];
  const scaled = f32x4.mul(get(size), f32x4.splat(f32.const(SCALE)));
  const infinite = v128.and(i32x4.ge_s(get(size), four(INFINITE)), four(F32_INFINITE));
  const sign = i32x4.shl(v128.and(get(half), four(0x8000)), i32.const(16));
  return [before, v128.or(v128.or(scaled, infinite), sign)];
}

/** The word of 16 bits that is nearest to a float. */
export function halfOfFloat(fn: Locals, value: Code): Code {
  const [bits, size] = [fn.local("i32"), fn.local("i32")];
  const before = [
    set(bits, i32.reinterpret_f32(value)),
    set(size, i32.and(get(bits), i32.const(0x7fffffff))),
  ];
  const shifted = f32.add(f32.reinterpret_i32(get(size)), f32.const(0.5));
  const subnormal = i32.sub(i32.reinterpret_f32(shifted), i32.const(HALF));
  const odd = i32.and(i32.shr_u(get(size), i32.const(13)), i32.const(1));
  const rebased = i32.add(get(size), i32.const(0xfff - (112 << 23)));
  const normal = i32.shr_u(i32.add(rebased, odd), i32.const(13));
  const special = select(
    i32.const(0x7e00),
    i32.const(0x7c00),
    i32.gt_u(get(size), i32.const(F32_INFINITE)),
  );
  const finite = select(subnormal, normal, i32.lt_u(get(size), i32.const(NORMAL)));
  const word = select(special, finite, i32.ge_u(get(size), i32.const(TOO_LARGE)));
  const sign = i32.and(i32.shr_u(get(bits), i32.const(16)), i32.const(0x8000));
  return [before, i32.or(word, sign)];
}

/** Four words of 16 bits, each in a lane of 32, that are nearest to four floats. */
export function halvesOfFloats(fn: Locals, values: Code): Code {
  const [bits, size] = [fn.local("v128"), fn.local("v128")];
  const before = [set(bits, values), set(size, v128.and(get(bits), four(0x7fffffff)))];
  const subnormal = i32x4.sub(f32x4.add(get(size), four(HALF)), four(HALF));
  const odd = v128.and(i32x4.shr_u(get(size), i32.const(13)), four(1));
  const rebased = i32x4.add(get(size), four(0xfff - (112 << 23)));
  const normal = i32x4.shr_u(i32x4.add(rebased, odd), i32.const(13));
  const nan = i32x4.gt_s(get(size), four(F32_INFINITE));
  const special = v128.or(four(0x7c00), v128.and(nan, four(0x200)));
  const finite = v128.bitselect(subnormal, normal, i32x4.lt_s(get(size), four(NORMAL)));
  const word = v128.bitselect(special, finite, i32x4.ge_s(get(size), four(TOO_LARGE)));
  const sign = v128.and(i32x4.shr_u(get(bits), i32.const(16)), four(0x8000));
  return [before, v128.or(word, sign)];
}

/** Four floats from four neighbouring words of 16 bits in memory. */
export function loadHalves(fn: Locals, address: Code, offset = 0): Code {
  return floatsOfHalves(fn, i32x4.extend_low_i16x8_u(v128.load64_zero(address, offset)));
}

/** Stores four floats as neighbouring words of 16 bits. */
export function storeHalves(fn: Locals, address: Code, values: Code, offset = 0): Code {
  const words = fn.local("v128");
  const packed = i16x8.narrow_i32x4_u(
    tee(words, halvesOfFloats(fn, values)),
    get(words),
  );
  return v128.store64_lane(address, packed, 0, offset);
}
