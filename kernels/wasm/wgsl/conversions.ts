/** Conversions between the scalar types of WGSL. */

import { type Code, f32, f32x4, i32, i32x4, select, v128 } from "../instructions.ts";
import { type Scalar, unsupported } from "./ast.ts";
import { concrete, mapParts } from "./shapes.ts";
import {
  constantOf,
  isFloatScalar,
  isWide,
  numberOfWord,
  type Value,
  wordOf,
  wrapped,
} from "./value.ts";
import type { Writer } from "./writer.ts";

/** The largest floats that an integer type holds. */
const LARGEST = { i32: 2147483520, u32: 4294967040 } as const;

/** Constants that stand for the same word in all lanes. */
function everywhere(word: number): Code {
  return v128.const([word, word, word, word]);
}

/** A value as another type: numbers by their value, truth values as 0 and 1. */
export function convert(w: Writer, v: Value, to: Scalar, line: number): Value {
  if (v.scalar === "int" || v.scalar === "float") return converted(w, concrete(v, to), to, line);
  return converted(w, v, to, line);
}

function converted(w: Writer, v: Value, to: Scalar, line: number): Value {
  const from = v.scalar;
  if (from === to) return v;
  if (v.constants !== null) {
    return constantOf(to, v.constants.map((n) => convertNumber(n, from, to)));
  }
  const wide = isWide(v);
  if (to === "f16" && from === "f32") return { ...v, scalar: "f16", origin: null };
  if (from === "f16" && to === "f32") return asScalar(v, "f32");
  if (to === "bool") return mapParts(to, [v], ([x]) => isTrue(x, from, wide));
  if (to === "f32") return mapParts(to, [v], ([x]) => toFloat(x, from, wide));
  if (from === "f32" && (to === "i32" || to === "u32")) {
    return mapParts(to, [v], ([x]) => toInteger(w, x, to, wide));
  }
  if (from === "bool" && wide) {
    return mapParts(to, [v], ([x]) => v128.and(x, everywhere(1)));
  }
  if (isFloatScalar(to) || isFloatScalar(from)) throw unsupported(`${to} of ${from}`, line);
  return asScalar(v, to);
}

/** The same code under another type; where it comes from is not lost. */
function asScalar(v: Value, scalar: Scalar): Value {
  if (v.origin === null) return { ...v, scalar };
  const { vector, component } = v.origin;
  return { ...v, scalar, origin: { vector: { ...vector, scalar }, component } };
}

function convertNumber(n: number, from: Scalar, to: Scalar): number {
  if (!isFloatScalar(from) || (to !== "i32" && to !== "u32")) return wrapped(to, n);
  const least = to === "i32" ? -2147483648 : 0;
  return Math.max(least, Math.min(LARGEST[to], Math.trunc(n))) || 0;
}

function isTrue(x: Code, from: Scalar, wide: boolean): Code {
  if (isFloatScalar(from)) {
    return wide ? f32x4.ne(x, everywhere(0)) : f32.ne(x, f32.const(0));
  }
  return wide ? i32x4.ne(x, everywhere(0)) : i32.ne(x, i32.const(0));
}

function toFloat(x: Code, from: Scalar, wide: boolean): Code {
  if (from === "bool") {
    return wide ? v128.and(x, everywhere(wordOf("f32", 1))) : f32.convert_i32_u(x);
  }
  if (from === "i32") return wide ? f32x4.convert_i32x4_s(x) : f32.convert_i32_s(x);
  return wide ? f32x4.convert_i32x4_u(x) : f32.convert_i32_u(x);
}

/** Towards zero, held to the floats that the type can hold; NaN gives 0. */
function toInteger(w: Writer, x: Code, to: "i32" | "u32", wide: boolean): Code {
  const signed = to === "i32";
  const most = LARGEST[to];
  if (wide) {
    return signed
      ? i32x4.min_s(i32x4.trunc_sat_f32x4_s(x), everywhere(most))
      : i32x4.min_u(i32x4.trunc_sat_f32x4_u(x), everywhere(most));
  }
  const whole = w.hold({
    ...constantOf(to, [0]),
    parts: [signed ? i32.trunc_sat_f32_s(x) : i32.trunc_sat_f32_u(x)],
    cheap: false,
    stable: false,
    constants: null,
  }).parts[0];
  const below = signed ? i32.lt_s : i32.lt_u;
  return select(whole, i32.const(most), below(whole, i32.const(most)));
}

/** The bits of a value as another type of 32 bits. */
export function bitcast(value: Value, to: Scalar): Value {
  const v = concrete(value);
  if (v.scalar === to) return v;
  const known = v.constants?.map((n) => numberOfWord(to, wordOf(v.scalar, n)));
  // The bits of a NaN survive only in code.
  if (known !== undefined && !known.some(Number.isNaN)) return constantOf(to, known);
  if (isWide(v)) return { ...v, scalar: to, constants: null, origin: null, sequence: null };
  const [from, into] = [isFloatScalar(v.scalar), isFloatScalar(to)];
  if (from === into) return { ...v, scalar: to, constants: null, origin: null };
  return mapParts(to, [v], ([x]) => into ? f32.reinterpret_i32(x) : i32.reinterpret_f32(x));
}
