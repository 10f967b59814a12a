/**
 * Calls that single threads compute four at a time: those of one function in an expression, and those of stores that follow each
 * other.
 */

import { affineOf, arrayOf, foldable, placeOf, sameTerms } from "./addresses.ts";
import { isWidenable } from "./calls.ts";
import type { Context } from "./context.ts";
import { costOfExpression, costOfFunction } from "./cost.ts";
import { lowerExpression } from "./expressions.ts";
import { get, set, v128 } from "../instructions.ts";
import { lowerQuad } from "./quads.ts";
import { shaped } from "./shapes.ts";
import { component, packedOf, type Value } from "./value.ts";
import {
  type Assignment,
  type CallNode,
  childrenOf,
  eachExpression,
  type Expression,
  type IndexNode,
  sameCallee,
  type Statement,
} from "./ast.ts";
import { strideOf } from "./types.ts";

/** Operations of a function that is worth to be computed on lanes. */
const WORTH_LANES = 8;
const FOUR = [0, 1, 2, 3];

/** The value of a whole expression, with like calls in it computed together. */
export function lowerWhole(c: Context, e: Expression): Value {
  const groups = c.single ? groupsOf(c, e) : [];
  const ahead = groups.flatMap((calls) => computeAhead(c, calls));
  const value = lowerExpression(c, e);
  for (const call of ahead) c.ahead.delete(call);
  return value;
}

/** Calls of the same costly function, none inside of another. */
function groupsOf(c: Context, e: Expression): CallNode[][] {
  if (e.kind !== "binary" && e.kind !== "call") return [];
  const byName = new Map<string, CallNode[]>();
  if (!collect(c, e, byName)) return [];
  return [...byName.values()].filter((calls) => calls.length > 1);
}

/** Collects calls; false where some of the expression may not run. */
function collect(c: Context, e: Expression, byName: Map<string, CallNode[]>): boolean {
  if (e.kind === "binary" && (e.op === "&&" || e.op === "||")) return false;
  // A vec4 sees to its own components.
  if (e.kind === "call" && e.name === "vec4") return true;
  if (e.kind === "call" && isCostly(c, e)) {
    byName.set(e.name, [...byName.get(e.name) ?? [], e]);
    return true;
  }
  return childrenOf(e).every((child) => collect(c, child, byName));
}

function isCostly(c: Context, e: CallNode): boolean {
  const { source } = c.at;
  const fn = source.function(e.name);
  return fn !== undefined && fn.result?.args.length === 0 && isWidenable(c, fn) &&
    !source.factsOf(fn).loads && costOfFunction(source, fn) >= WORTH_LANES;
}

/** Computes calls in fours, the last of them repeated where some are missing; gives those that are known then. */
function computeAhead(c: Context, calls: readonly CallNode[]): CallNode[] {
  const known: CallNode[] = [];
  for (let at = 0; at + 1 < calls.length; at += 4) {
    const some = calls.slice(at, at + 4);
    const quad = lowerQuad(c, FOUR.map((n) => some[Math.min(n, some.length - 1)]));
    if (quad === null || quad.lanes === 1) continue;
    const vector = packedOf(c.w.hold(quad));
    some.forEach((call, lane) => c.ahead.set(call, component(vector, lane)));
    known.push(...some);
  }
  return known;
}

/**
 * Lowers the four stores that begin at `at` as one, where they store like calls to one array.
 *
 * @returns whether they do
 */
export function lowerQuadStore(c: Context, statements: readonly Statement[], at: number): boolean {
  if (!c.single) return false;
  const four = FOUR.map((n) => statements[at + n]);
  if (!four.every((s): s is Assignment => s?.kind === "assign" && s.op === null)) return false;
  const targets = four.map((s) => s.target);
  if (!targets.every((e): e is IndexNode => e.kind === "index")) return false;
  const offsets = offsetsOf(c, targets);
  const values = four.map((s) => s.value);
  if (offsets === null || costOfExpression(c.at.source, values[0]) < WORTH_LANES) return false;
  if (!sameForm(values) || values.some((e) => readsArray(c, e, targets[0].of))) return false;
  const quad = lowerQuad(c, values);
  if (quad === null || (quad.scalar !== "f32" && quad.scalar !== "i32" && quad.scalar !== "u32")) {
    return false;
  }
  const vector = c.w.local("v128");
  c.w.emit(set(vector, shaped(c.w, quad, 1, 4).parts[0]));
  const { address, offset } = placeOf(c, targets[0]);
  c.settle();
  const local = c.w.local("i32");
  c.w.emit(set(local, address));
  offsets.forEach((step, lane) =>
    c.w.emit(v128.store32_lane(get(local), get(vector), lane, offset + step))
  );
  return true;
}

/** Bytes from the first of four places in one array to each; null where they are not known. */
function offsetsOf(c: Context, targets: readonly IndexNode[]): number[] | null {
  const [first] = targets;
  const array = arrayOf(c, first.of);
  if (array === null || array.type.element.kind !== "value") return null;
  const { element } = array.type;
  if (element.size !== 1 || element.scalar === "f16") return null;
  if (targets.some((t) => arrayOf(c, t.of) !== array)) return null;
  const sums = targets.map((t) => affineOf(t.index));
  const bytes = strideOf(element);
  const alike = sums.every((s) => sameTerms(sums[0], s) && foldable(c, s, bytes));
  return alike ? sums.map((s) => (s.constant - sums[0].constant) * bytes) : null;
}

/** Whether trees are calls of one function, or operations of one kind. */
function sameForm([first, ...others]: readonly Expression[]): boolean {
  if (first.kind === "call") return others.every((e) => e.kind === "call" && sameCallee(first, e));
  return first.kind === "binary" && others.every((e) => e.kind === "binary" && e.op === first.op);
}

/** Whether an expression may read an array. */
function readsArray(c: Context, e: Expression, array: Expression): boolean {
  let found = false;
  eachExpression(e, (part) => {
    found ||= part.kind === "name" && array.kind === "name" && part.name === array.name;
    const callee = part.kind === "call" ? c.at.source.function(part.name) : undefined;
    found ||= callee !== undefined && c.at.source.factsOf(callee).loads;
  });
  return found;
}
