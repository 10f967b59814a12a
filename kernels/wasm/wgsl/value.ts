/**
 * Values as code. A value holds the components of a scalar or vector, for one element or for four
 * neighbouring ones at a time ("lanes").
 */

import { type Code, f32, f32x4, i32, i32x4, v128, type ValueType } from "../instructions.ts";
import type { Scalar } from "./ast.ts";
import type { Size } from "./types.ts";

/** Elements that a value holds its components for. */
export type Lanes = 1 | 4;

/** Code that computes a scalar or vector. */
export interface Value {
  readonly scalar: Scalar;
  readonly size: Size;
  readonly lanes: Lanes;
  /**
   * One piece of code for each component; but a vec4 for a single element is one v128. With four
   * lanes each piece is a v128. Truth values are 0 or 1, and masks in a v128.
   */
  readonly parts: readonly Code[];
  /** Whether the code may stand in several places, as constants and variables may. */
  readonly cheap: boolean;
  /** Whether the code gives the same wherever it stands. */
  readonly stable: boolean;
  /** The components, where they are known. */
  readonly constants: readonly number[] | null;
  /** The component of a vec4 that this is. */
  readonly origin: Origin | null;
  /** Of four lanes with a whole number: that of the first lane, and the step from lane to lane. */
  readonly sequence: Sequence | null;
}

/** Whole numbers in even steps. */
export interface Sequence {
  readonly first: Code;
  readonly step: number;
}

/** A component of a vector that does not change. */
export interface Origin {
  readonly vector: Value;
  readonly component: number;
}

/** Whether a vec4 for a single element, in one v128. */
export function isPacked(v: { readonly size: Size; readonly lanes: Lanes }): boolean {
  return v.size === 4 && v.lanes === 1;
}

/** Whether the parts of such values are v128. */
export function isWide(v: { readonly size: Size; readonly lanes: Lanes }): boolean {
  return v.size === 4 || v.lanes === 4;
}

/** Number of parts of such a value. */
export function partCount(v: { readonly size: Size; readonly lanes: Lanes }): number {
  return isPacked(v) ? 1 : v.size;
}

/** Whether values of this type are floats in code. */
export function isFloatScalar(scalar: Scalar): boolean {
  return scalar === "f32" || scalar === "f16" || scalar === "float";
}

/** The type of the parts of such a value. */
export function codeType(v: Pick<Value, "scalar" | "size" | "lanes">): ValueType {
  return isWide(v) ? "v128" : isFloatScalar(v.scalar) ? "f32" : "i32";
}

/** A value whose code is evaluated once. */
export function computed(scalar: Scalar, size: Size, lanes: Lanes, parts: readonly Code[]): Value {
  return {
    scalar,
    size,
    lanes,
    parts,
    cheap: false,
    stable: false,
    constants: null,
    origin: null,
    sequence: null,
  };
}

/** A value that variables hold; `stable` where these do not change. */
export function held(
  { scalar, size, lanes }: Pick<Value, "scalar" | "size" | "lanes">,
  parts: readonly Code[],
  stable: boolean,
): Value {
  return { ...computed(scalar, size, lanes, parts), cheap: true, stable };
}

/** A known value, one number for each component. */
export function constantOf(scalar: Scalar, numbers: readonly number[]): Value {
  const size = numbers.length as Size;
  const constants = numbers.map((n) => wrapped(scalar, n));
  const words = constants.map((n) => wordOf(scalar, n));
  const parts = size === 4
    ? [v128.const([words[0], words[1], words[2], words[3]])]
    : constants.map((n) => isFloatScalar(scalar) ? f32.const(n) : i32.const(n));
  return { ...held({ scalar, size, lanes: 1 }, parts, true), constants };
}

/** A number brought into the range of its type. */
export function wrapped(scalar: Scalar, n: number): number {
  switch (scalar) {
    case "f32":
    case "f16":
      return Math.fround(n);
    case "i32":
      return n | 0;
    case "u32":
      return n >>> 0;
    case "bool":
      return n !== 0 ? 1 : 0;
    default:
      return n;
  }
}

const word = new DataView(new ArrayBuffer(4));

/** The 32 bits of a component in a vector. */
export function wordOf(scalar: Scalar, n: number): number {
  if (scalar === "bool") return n ? 0xffffffff : 0;
  if (!isFloatScalar(scalar)) return n >>> 0;
  word.setFloat32(0, n);
  return word.getUint32(0);
}

/** The number that 32 bits stand for. */
export function numberOfWord(scalar: Scalar, bits: number): number {
  word.setUint32(0, bits);
  return isFloatScalar(scalar) ? word.getFloat32(0) : wrapped(scalar, bits);
}

/** A component in all lanes of a v128, from its code; truth values become masks. */
export function splat(scalar: Scalar, part: Code): Code {
  if (isFloatScalar(scalar)) return f32x4.splat(part);
  return i32x4.splat(scalar === "bool" ? i32.sub(i32.const(0), part) : part);
}

/** One lane of a v128; of masks, a truth value. */
export function extract(scalar: Scalar, part: Code, lane: number): Code {
  if (isFloatScalar(scalar)) return f32x4.extract_lane(part, lane);
  const word = i32x4.extract_lane(part, lane);
  return scalar === "bool" ? i32.and(word, i32.const(1)) : word;
}

/** A v128 with one lane replaced. */
export function insert(scalar: Scalar, part: Code, lane: number, value: Code): Code {
  if (isFloatScalar(scalar)) return f32x4.replace_lane(part, lane, value);
  return i32x4.replace_lane(part, lane, scalar === "bool" ? i32.sub(i32.const(0), value) : value);
}

/** A v128 from four components. */
export function gathered(scalar: Scalar, parts: readonly Code[]): Code {
  return parts.slice(1).reduce<Code>(
    (all, part, n) => insert(scalar, all, n + 1, part),
    splat(scalar, parts[0]),
  );
}

/** Component `c` of a value that may stand in several places. */
export function component(v: Value, c: number): Value {
  if (v.size === 1) return v;
  if (v.constants !== null) return constantOf(v.scalar, [v.constants[c]]);
  if (!isPacked(v)) {
    return { ...v, size: 1, parts: [v.parts[c]], constants: null, origin: null };
  }
  const one = computed(v.scalar, 1, 1, [extract(v.scalar, v.parts[0], c)]);
  return v.stable ? { ...one, origin: { vector: v, component: c } } : one;
}

/** A vector of scalars of one type and number of lanes; pieces that are used once. */
export function vectorOf(parts: readonly Value[]): Value {
  const { scalar, lanes } = parts[0];
  const size = parts.length as Size;
  if (parts.every((p) => p.constants !== null)) {
    return constantOf(scalar, parts.map((p) => p.constants![0]));
  }
  const codes = parts.map((p) => p.parts[0]);
  const value = computed(
    scalar,
    size,
    lanes,
    isPacked({ size, lanes }) ? [gathered(scalar, codes)] : codes,
  );
  return { ...value, cheap: !isPacked(value) && parts.every((p) => p.cheap) };
}

/** The same components for four lanes; the value may stand in several places. */
export function widened(v: Value): Value {
  if (v.lanes === 4) return v;
  const { scalar, size } = v;
  if (v.constants !== null) {
    const parts = v.constants.map((n) => {
      const bits = wordOf(scalar, n);
      return v128.const([bits, bits, bits, bits]);
    });
    return { ...v, lanes: 4, parts, origin: null };
  }
  const parts = Array.from(
    { length: size },
    (_, c) => splat(scalar, component(v, c).parts[0]),
  );
  return computed(scalar, size, 4, parts);
}

/** Four scalars as the lanes of one scalar. */
export function lanesOf(packed: Value): Value {
  const { scalar, parts, cheap, stable } = packed;
  return { ...computed(scalar, 1, 4, parts), cheap, stable };
}

/** The lanes of a scalar as a vec4. */
export function packedOf(v: Value): Value {
  return { ...v, size: 4, lanes: 1, origin: null, constants: null, sequence: null };
}
