/** The operators of WGSL on values. */

import { type Code, f32, f32x4, i32, i32x4, select, v128 } from "../instructions.ts";
import { type Scalar, unsupported } from "./ast.ts";
import { concrete, conform, lanewise, mapParts, unify } from "./shapes.ts";
import {
  computed,
  constantOf,
  isFloatScalar,
  isWide,
  type Sequence,
  type Value,
  wordOf,
} from "./value.ts";
import type { Writer } from "./writer.ts";

type Binary = (a: Code, b: Code) => Code;

/** An instruction for one number, and for four. */
type Pair = readonly [Binary, Binary];

const floatMath: Readonly<Record<string, Pair>> = {
  "+": [f32.add, f32x4.add],
  "-": [f32.sub, f32x4.sub],
  "*": [f32.mul, f32x4.mul],
  "/": [f32.div, f32x4.div],
};

const floatOrder: Readonly<Record<string, Pair>> = {
  "==": [f32.eq, f32x4.eq],
  "!=": [f32.ne, f32x4.ne],
  "<": [f32.lt, f32x4.lt],
  "<=": [f32.le, f32x4.le],
  ">": [f32.gt, f32x4.gt],
  ">=": [f32.ge, f32x4.ge],
};

const intMath: Readonly<Record<string, Pair>> = {
  "+": [i32.add, i32x4.add],
  "-": [i32.sub, i32x4.sub],
  "*": [i32.mul, i32x4.mul],
  "&": [i32.and, v128.and],
  "|": [i32.or, v128.or],
  "^": [i32.xor, v128.xor],
};

const signedOrder: Readonly<Record<string, Pair>> = {
  "==": [i32.eq, i32x4.eq],
  "!=": [i32.ne, i32x4.ne],
  "<": [i32.lt_s, i32x4.lt_s],
  "<=": [i32.le_s, i32x4.le_s],
  ">": [i32.gt_s, i32x4.gt_s],
  ">=": [i32.ge_s, i32x4.ge_s],
};

const unsignedOrder: Readonly<Record<string, Pair>> = {
  ...signedOrder,
  "<": [i32.lt_u, i32x4.lt_u],
  "<=": [i32.le_u, i32x4.le_u],
  ">": [i32.gt_u, i32x4.gt_u],
  ">=": [i32.ge_u, i32x4.ge_u],
};

/** `a op b`. */
export function binary(w: Writer, op: string, a: Value, b: Value, line: number): Value {
  if (a.sequence === null && b.sequence === null) return binaryOf(w, op, a, b, line);
  const [x, y] = [w.keep(a), w.keep(b)];
  const sequence = combined(w, op, x, y);
  return { ...binaryOf(w, op, x, y, line), sequence };
}

/** What a sum, difference or product of even steps is, where its steps are even. */
function combined(w: Writer, op: string, a: Value, b: Value): Sequence | null {
  const step = stepOf(op, a, b);
  if (step === null) return null;
  const [x, y] = [a, b].map((v) => v.sequence === null ? v : firstOf(v, v.sequence));
  return { first: binaryOf(w, op, x, y, 0).parts[0], step };
}

function firstOf({ scalar }: Value, { first }: Sequence): Value {
  return { ...computed(scalar, 1, 1, [first]), cheap: true };
}

function stepOf(op: string, a: Value, b: Value): number | null {
  // Lanes that differ without even steps.
  if ([a, b].some((v) => v.lanes === 4 && v.sequence === null)) return null;
  const [p, q] = [a.sequence?.step ?? 0, b.sequence?.step ?? 0];
  if (op === "+") return (p + q) | 0;
  if (op === "-") return (p - q) | 0;
  if (op !== "*") return null;
  const by = a.constants?.[0] ?? b.constants?.[0];
  return by === undefined ? null : Math.imul(p + q, by);
}

function binaryOf(w: Writer, op: string, a: Value, b: Value, line: number): Value {
  if (op === "<<" || op === ">>") return shift(w, op, a, concrete(b, "u32"));
  [a, b] = unify(w, a, b);
  const known = foldBinary(op, a, b);
  if (known !== null) return known;
  const { scalar } = a;
  const float = isFloatScalar(scalar);
  if (!float) {
    const shorter = simplified(w, op, a, b);
    if (shorter !== null) return shorter;
    if (op === "/" || op === "%") return divided(w, op, a, b);
  }
  const order = float ? floatOrder : scalar === "i32" ? signedOrder : unsignedOrder;
  const logic = op === "&&" ? "&" : op === "||" ? "|" : op;
  const pair = order[op] ?? (float ? floatMath : intMath)[logic];
  if (pair === undefined) throw unsupported(`"${op}" of ${scalar}`, line);
  return mapParts(op in order ? "bool" : scalar, [a, b], ([x, y]) => pair[isWide(a) ? 1 : 0](x, y));
}

/** `op a`. */
export function unary(op: string, a: Value, line: number): Value {
  a = op === "-" && a.constants !== null ? a : concrete(a);
  const { scalar, constants } = a;
  const at = isWide(a) ? 1 : 0;
  if (op === "-") {
    if (constants !== null) return constantOf(scalar, constants.map((n) => -n));
    if (isFloatScalar(scalar)) return mapParts(scalar, [a], ([x]) => [f32.neg, f32x4.neg][at](x));
    return mapParts(scalar, [a], ([x]) => at ? i32x4.neg(x) : i32.sub(i32.const(0), x));
  }
  if (op === "!" && scalar === "bool") {
    if (constants !== null) return constantOf("bool", constants.map((n) => 1 - n));
    return mapParts(scalar, [a], ([x]) => at ? v128.not(x) : i32.eqz(x));
  }
  if (op !== "~" || isFloatScalar(scalar)) throw unsupported(`"${op}" of ${scalar}`, line);
  if (constants !== null) return constantOf(scalar, constants.map((n) => ~n));
  return mapParts(scalar, [a], ([x]) => at ? v128.not(x) : i32.xor(x, i32.const(-1)));
}

function shift(w: Writer, op: string, a: Value, b: Value): Value {
  a = concrete(a);
  const { scalar } = a;
  if (a.constants !== null && b.constants !== null) {
    const by = (n: number) => b.constants![b.size === 1 ? 0 : n] & 31;
    return constantOf(
      scalar,
      a.constants.map((x, n) =>
        op === "<<" ? x << by(n) : scalar === "i32" ? x >> by(n) : x >>> by(n)
      ),
    );
  }
  const signed = scalar === "i32";
  const narrow = op === "<<" ? i32.shl : signed ? i32.shr_s : i32.shr_u;
  const wide = op === "<<" ? i32x4.shl : signed ? i32x4.shr_s : i32x4.shr_u;
  const amount = b.constants?.every((n) => n === b.constants![0]) ? b.constants[0] : null;
  if (isWide(a) && (amount !== null || (b.size === 1 && b.lanes === 1))) {
    const by = amount !== null ? i32.const(amount) : w.keep(b).parts[0];
    return mapParts(scalar, [a], ([x]) => wide(x, by));
  }
  const [x, y] = conform(w, [a, b]);
  if (isWide(x)) return lanewise(w, scalar, x, y, narrow);
  return mapParts(scalar, [x, y], ([p, q]) => narrow(p, q));
}

/** Quotients and remainders of integers as WGSL defines them: what cannot be divided by counts as divided by 1. */
function divided(w: Writer, op: string, a: Value, b: Value): Value {
  const signed = a.scalar === "i32";
  const divide = op === "/" ? (signed ? i32.div_s : i32.div_u) : (signed ? i32.rem_s : i32.rem_u);
  const safe = b.constants?.every((n) => n !== 0 && n !== -1) ?? false;
  const narrow: Binary = safe ? divide : (x, y) => divide(x, divisor(signed, x, y));
  if (isWide(a)) return lanewise(w, a.scalar, a, b, narrow, !safe);
  const [x, y] = safe ? [a, b] : [w.keep(a), w.keep(b)];
  return mapParts(a.scalar, [x, y], ([p, q]) => narrow(p, q));
}

function divisor(signed: boolean, x: Code, y: Code): Code {
  if (!signed) return i32.or(y, i32.eqz(y));
  const overflows = i32.and(i32.eq(x, i32.const(-0x80000000)), i32.eq(y, i32.const(-1)));
  return select(i32.const(1), y, i32.or(i32.eqz(y), overflows));
}

/** Integer operations with a constant that need less than the general instruction. */
function simplified(w: Writer, op: string, a: Value, b: Value): Value | null {
  if (op === "&&" || op === "||") return logical(op, a, b);
  if (a.constants !== null && (op === "+" || op === "*")) return simplified(w, op, b, a);
  const n = uniform(b);
  if (n === null) return null;
  if (n === 0 && ["+", "-", "|", "^"].includes(op)) return a;
  if (n === 0 && (op === "*" || op === "&")) return b;
  if (n === 1 && (op === "*" || op === "/")) return a;
  if (n === 1 && op === "%") return constantOf(a.scalar, [0]);
  const power = Math.log2(n);
  if (n <= 1 || !Number.isInteger(power)) return null;
  const unsigned = a.scalar === "u32";
  if (op === "*") return shift(w, "<<", a, constantOf("u32", [power]));
  if (op === "/" && unsigned) return shift(w, ">>", a, constantOf("u32", [power]));
  if (op !== "%" || !unsigned) return null;
  return binary(w, "&", a, constantOf("u32", [n - 1]), 0);
}

function logical(op: string, a: Value, b: Value): Value | null {
  const constant = uniform(a) !== null ? a : uniform(b) !== null ? b : null;
  if (constant === null) return null;
  const absorbs = uniform(constant) === (op === "&&" ? 0 : 1);
  return absorbs ? constant : constant === a ? b : a;
}

/** The constant that all components are, if they are. */
function uniform({ constants }: Value): number | null {
  return constants !== null && constants.every((n) => n === constants[0]) ? constants[0] : null;
}

function foldBinary(op: string, a: Value, b: Value): Value | null {
  if (a.constants === null || b.constants === null) return null;
  const { scalar } = a;
  const results = a.constants.map((x, n) => foldNumbers(op, scalar, x, b.constants![n]));
  if (results.some((r) => r === null)) return null;
  const order = op in floatOrder;
  return constantOf(order ? "bool" : scalar, results.map(Number));
}

/** The result on two numbers; null where that is left to the machine. */
function foldNumbers(op: string, scalar: Scalar, x: number, y: number): number | boolean | null {
  switch (op) {
    case "==":
      return x === y;
    case "!=":
      return x !== y;
    case "<":
      return x < y;
    case "<=":
      return x <= y;
    case ">":
      return x > y;
    case ">=":
      return x >= y;
    case "&&":
      return x !== 0 && y !== 0;
    case "||":
      return x !== 0 || y !== 0;
  }
  // Rounding a double afterwards gives the f32 result of these four, and integers stay below 2^53 but in products.
  if (op === "+") return x + y;
  if (op === "-") return x - y;
  if (op === "*") return isFloatScalar(scalar) ? x * y : Math.imul(x, y);
  if (isFloatScalar(scalar)) return op === "/" ? x / y : null;
  if (op === "&") return x & y;
  if (op === "|") return x | y;
  if (op === "^") return x ^ y;
  if (y === 0) return op === "/" ? x : 0;
  return op === "/" ? Math.trunc(x / y) : x % y;
}

/** `yes` where the condition holds, else `no`; both conform to each other. */
export function choose(w: Writer, no: Value, yes: Value, condition: Value): Value {
  if (condition.size === 1 && condition.constants !== null) {
    return condition.constants[0] ? yes : no;
  }
  [no, yes] = unify(w, no, yes).map((v) => concrete(v));
  if (condition.size === 1 && condition.lanes === 1) {
    const c = w.keep(condition).parts[0];
    return mapParts(yes.scalar, [yes, no], ([x, y]) => select(x, y, c));
  }
  [yes, no, condition] = conform(w, [yes, no, condition]);
  if (!isWide(condition)) {
    return mapParts(yes.scalar, [yes, no, condition], ([x, y, c]) => select(x, y, c));
  }
  if (isZero(no)) return mapParts(yes.scalar, [yes, condition], ([x, c]) => v128.and(x, c));
  if (isZero(yes)) return mapParts(no.scalar, [no, condition], ([x, c]) => v128.andnot(x, c));
  return mapParts(yes.scalar, [yes, no, condition], ([x, y, c]) => v128.bitselect(x, y, c));
}

function isZero({ scalar, constants }: Value): boolean {
  return constants !== null && constants.every((n) => wordOf(scalar, n) === 0);
}

/** Whether any (or all) components of a vector of truth values hold. */
export function anyOrAll(w: Writer, every: boolean, v: Value): Value {
  if (v.size === 4 && v.lanes === 1) {
    const part = v.parts[0];
    return computed("bool", 1, 1, [every ? i32x4.all_true(part) : v128.any_true(part)]);
  }
  const op = every ? "&&" : "||";
  const parts = v.parts.map((part) => computed("bool", 1, v.lanes, [part]));
  return parts.reduce((a, b) => binary(w, op, a, b, 0));
}
