/** Places in arrays: addresses with what is constant of them as an offset. */

import { get, i32, set } from "../instructions.ts";
import type { Context } from "./context.ts";
import { lowerExpression } from "./expressions.ts";
import { binary } from "./operators.ts";
import type { ArrayInMemory, Place } from "./scope.ts";
import { concrete } from "./shapes.ts";
import { constantOf, type Value } from "./value.ts";
import {
  eachStatement,
  type Expression,
  type FunctionNode,
  type IndexNode,
  sameExpression,
  unsupported,
} from "./ast.ts";
import { strideOf } from "./types.ts";

/** An index as a sum of terms, each times a number, and a constant. */
export interface Affine {
  readonly terms: readonly Term[];
  readonly constant: number;
}

interface Term {
  readonly of: Expression;
  readonly factor: number;
}

/** Offsets below this are folded into instructions. */
const LARGEST_OFFSET = 2 ** 28;

/** The sum that an index is. */
export function affineOf(e: Expression): Affine {
  if (e.kind === "literal") return { terms: [], constant: e.value | 0 };
  if (e.kind === "binary" && e.op === "+") {
    const [a, b] = [affineOf(e.left), affineOf(e.right)];
    return { terms: [...a.terms, ...b.terms], constant: (a.constant + b.constant) | 0 };
  }
  if (e.kind === "binary" && e.op === "*") {
    const [of, by] = e.left.kind === "literal" ? [e.right, e.left] : [e.left, e.right];
    if (by.kind === "literal") return scaled(of, by.value);
  }
  return { terms: [{ of: e, factor: 1 }], constant: 0 };
}

function scaled(of: Expression, factor: number): Affine {
  const { terms, constant } = affineOf(of);
  if (terms.length > 1 && constant === 0) return { terms: [{ of, factor }], constant: 0 };
  return {
    terms: terms.map((t) => ({ of: t.of, factor: Math.imul(t.factor, factor) })),
    constant: Math.imul(constant, factor),
  };
}

/** Whether two sums differ by their constants alone. */
export function sameTerms(a: Affine, b: Affine): boolean {
  return a.terms.length === b.terms.length &&
    a.terms.every((t, n) => t.factor === b.terms[n].factor && sameExpression(t.of, b.terms[n].of));
}

/** The place that an index leads to, its constant part in the offset where that is safe. */
export function placeOf(c: Context, e: IndexNode): Place {
  const outer = e.of.kind === "index" ? placeOf(c, e.of) : rootOf(c, e.of);
  const { type } = outer;
  if (type.kind !== "array") throw unsupported("an index of a vector", e.line);
  return placeAt(c, { ...outer, type: type.element }, affineOf(e.index));
}

/** The start of an array. */
export function rootOf(c: Context, e: Expression): Place {
  const array = arrayOf(c, e);
  if (array === null) throw unsupported("an index of something else than an array", e.line);
  return { array, type: array.type, address: array.address(), offset: 0, spread: null };
}

/** The array that a name stands for, if it is one. */
export function arrayOf(c: Context, e: Expression): ArrayInMemory | null {
  if (e.kind !== "name" || c.scope.find(e.name) !== undefined) return null;
  return c.at.arrays.get(e.name) ?? null;
}

/** The place of an element, from where elements begin. */
function placeAt(c: Context, from: Place, index: Affine): Place {
  const stride = strideOf(from.type);
  const fits = foldable(c, index, stride);
  const rest = sumOf(c, index, fits ? 0 : index.constant);
  const offset = from.offset + (fits ? index.constant * stride : 0);
  if (rest === null) return { ...from, offset };
  const bytes = binary(c.w, "*", rest, constantOf("u32", [stride]), 0);
  if (bytes.lanes === 4 || from.spread !== null) {
    const spread = from.spread === null ? bytes : binary(c.w, "+", from.spread, bytes, 0);
    return { ...from, offset, spread };
  }
  return { ...from, address: i32.add(from.address, bytes.parts[0]), offset };
}

/**
 * Whether the constant of an index may be added by the instruction. That one does not wrap round, so no other part may be
 * negative.
 */
export function foldable(c: Context, index: Affine, stride: number): boolean {
  const { terms, constant } = index;
  return constant >= 0 && constant * stride < LARGEST_OFFSET &&
    terms.every((t) => t.factor > 0 && !mayWrap(c, t.of));
}

/** The sum of the terms and a constant; null where it is 0. */
function sumOf(c: Context, { terms }: Affine, constant: number): Value | null {
  let sum: Value | null = constant === 0 ? null : constantOf("u32", [constant]);
  for (const { of, factor } of terms) {
    const value = asUnsigned(lowerExpression(c, of));
    const term = binary(c.w, "*", value, constantOf("u32", [factor]), of.line);
    sum = sum === null ? term : binary(c.w, "+", term, sum, of.line);
  }
  return sum;
}

function asUnsigned(v: Value): Value {
  const value = concrete(v, "u32");
  return value.scalar === "i32" ? { ...value, scalar: "u32" } : value;
}

/**
 * Text that stands for the terms of an index of which all are variables that do not change; null where others occur.
 */
export function keyOfTerms(c: Context, { terms }: Affine): string | null {
  const keys: string[] = [];
  for (const { of, factor } of terms) {
    const binding = of.kind === "name" ? c.scope.find(of.name) : undefined;
    if (binding?.kind !== "value" || !binding.value.stable) return null;
    keys.push(`${factor}*${binding.value.parts[0]}`);
  }
  return keys.join("+");
}

/** Whether a whole number may be negative, or one that wrapped round. */
export function mayWrap(c: Context, e: Expression): boolean {
  switch (e.kind) {
    case "literal":
      return e.value < 0 || e.value >= 2 ** 31;
    case "name": {
      const binding = c.scope.find(e.name);
      if (binding?.kind === "value" || binding?.kind === "variable") return binding.wraps;
      return binding?.kind !== "load";
    }
    case "binary":
      if (["/", "%", ">>"].includes(e.op)) return mayWrap(c, e.left);
      if (e.op === "&") return mayWrap(c, e.left) && mayWrap(c, e.right);
      return e.op === "-" || mayWrap(c, e.left) || mayWrap(c, e.right);
    case "call":
      return e.args.some((arg) => mayWrap(c, arg));
    case "index":
      return false;
    case "member":
      return e.of.kind !== "name" || c.scope.find(e.of.name)?.kind !== "parts";
    case "unary":
      return true;
  }
}

const assigned = new WeakMap<FunctionNode, ReadonlySet<string>>();

/** Variables of a function that are not only counted up. */
export function freelyAssigned(fn: FunctionNode): ReadonlySet<string> {
  const known = assigned.get(fn);
  if (known !== undefined) return known;
  const names = new Set<string>();
  eachStatement(fn.body, (s) => {
    if (s.kind !== "assign" || s.target.kind !== "name") return;
    const counts = s.value.kind === "literal" && ["+", "/", ">>"].includes(s.op ?? "");
    if (!counts) names.add(s.target.name);
  });
  assigned.set(fn, names);
  return names;
}

/** The address of a place as code that may stand in several places. */
export function heldPlace(c: Context, place: Place): Place {
  const local = c.w.local("i32");
  c.w.emit(set(local, place.address));
  return { ...place, address: get(local), spread: place.spread && c.w.hold(place.spread) };
}
