/**
 * Four trees of the same form as one tree on four lanes: `vec4(f(v.x, s), f(v.y, s), f(v.z, s), f(v.w, s))` is `f(v, s)`, with
 * every operation on all components at once.
 */

import { affineOf, arrayOf, foldable, placeOf, rootOf, sameTerms } from "./addresses.ts";
import { callBuiltin, isBuiltin } from "./builtins.ts";
import { callFunction, isWidenable } from "./calls.ts";
import type { Context } from "./context.ts";
import { bitcast, convert } from "./conversions.ts";
import { lowerExpression, quadOfVector } from "./expressions.ts";
import { type Code, get } from "../instructions.ts";
import { loadApart, loadVector } from "./loads.ts";
import { binary, unary } from "./operators.ts";
import type { Binding, LaneBinding, Load, LoadBinding, Place } from "./scope.ts";
import { concrete, unifyAll } from "./shapes.ts";
import { component, computed, constantOf, gathered, held, lanesOf, type Value } from "./value.ts";
import {
  type CallNode,
  type Expression,
  type IndexNode,
  type MemberNode,
  sameCallee,
  sameExpression,
} from "./ast.ts";
import { isTypeName, resolveValueType, sizeOfName, strideOf } from "./types.ts";

/** Four trees. */
export type Four = readonly Expression[];

/** Four scalars as the lanes of one, or as one number where they are the same; null where they are no scalars. */
export function lowerQuad(c: Context, four: Four): Value | null {
  if (four.every((e) => sameExpression(four[0], e))) {
    const one = lowerExpression(c, four[0]);
    return one.size === 1 && one.lanes === 1 ? one : null;
  }
  return together(c, four) ?? apart(c, four);
}

function all<K extends Expression["kind"]>(
  four: Four,
  kind: K,
): readonly Extract<Expression, { kind: K }>[] | null {
  return four.every((e) => e.kind === kind) ? four as never : null;
}

/** The lanes by one tree; null where the four differ in form. */
function together(c: Context, four: Four): Value | null {
  const [first] = four;
  switch (first.kind) {
    case "literal": {
      const literals = all(four, "literal");
      if (literals === null || literals.some((e) => e.scalar !== first.scalar)) return null;
      const numbers = constantOf(first.scalar, literals.map((e) => e.value));
      return lanesOf(concrete(numbers));
    }
    case "name":
      return all(four, "name") && ofNames(c, four.map((e) => c.scope.find((e as never)["name"])));
    case "unary": {
      const parts = all(four, "unary");
      if (parts === null || parts.some((e) => e.op !== first.op)) return null;
      const of = lowerQuad(c, parts.map((e) => e.of));
      return of && unary(first.op, of, first.line);
    }
    case "binary": {
      const parts = all(four, "binary");
      if (parts === null || parts.some((e) => e.op !== first.op)) return null;
      const left = lowerQuad(c, parts.map((e) => e.left));
      const right = left && lowerQuad(c, parts.map((e) => e.right));
      return left && right && binary(c.w, first.op, left, right, first.line);
    }
    case "member":
      return ofMembers(c, all(four, "member"));
    case "index":
      return ofIndices(c, all(four, "index"));
    case "call":
      return ofCalls(c, all(four, "call"));
  }
}

/** The lanes computed one by one. */
function apart(c: Context, four: Four): Value | null {
  const values = four.map((e) => c.w.keep(lowerExpression(c, e)));
  if (values.some((v) => v.size !== 1 || v.lanes !== 1)) return null;
  const vector = commonOrigin(values);
  if (vector !== null) return lanesOf(vector);
  const same = unifyAll(c.w, values).map((v) => concrete(v));
  const { scalar } = same[0];
  return computed(scalar, 1, 4, [gathered(scalar, same.map((v) => v.parts[0]))]);
}

/** The vector whose components the values are, in order. */
function commonOrigin(values: readonly Value[]): Value | null {
  const first = values[0].origin;
  if (first === null) return null;
  const code = String(first.vector.parts[0]);
  const inOrder = values.every(({ origin }, n) =>
    origin !== null && origin.component === n && String(origin.vector.parts[0]) === code
  );
  return inOrder ? first.vector : null;
}

function ofNames(c: Context, bindings: readonly (Binding | undefined)[]): Value | null {
  if (bindings.every((b) => b?.kind === "load")) return ofLoads(c, bindings as LoadBinding[]);
  if (bindings.every((b) => b?.kind === "lane")) return ofLanes(bindings as LaneBinding[]);
  return null;
}

function ofLanes(bindings: readonly LaneBinding[]): Value | null {
  const { vector, type } = bindings[0];
  if (!bindings.every((b, n) => b.vector.index === vector.index && b.lane === n)) return null;
  return held({ scalar: type.scalar, size: 1, lanes: 4 }, [get(vector)], false);
}

/** Loads that wait for their first use, at once. */
function ofLoads(c: Context, bindings: readonly LoadBinding[]): Value | null {
  const loads = bindings.map((b) => b.load);
  const [{ key, place, type }] = loads;
  if (!loads.every((l) => l.key === key)) return null;
  return atOffsets(c, place, loads.map((l) => l.place.offset), type.scalar);
}

function atOffsets(
  c: Context,
  place: Place,
  offsets: readonly number[],
  scalar: Load["type"]["scalar"],
): Value | null {
  const [first] = offsets;
  const bytes = strideOf(place.type);
  if (offsets.every((offset, n) => offset === first + n * bytes)) {
    return computed(scalar, 1, 4, [loadVector(c, { ...place, offset: first }, bytes === 2)]);
  }
  if (bytes !== 4) return null;
  const address: Code = heldAddress(c, place);
  return computed(scalar, 1, 4, [loadApart(address, offsets)]);
}

function heldAddress(c: Context, place: Place): Code {
  const address = computed("u32", 1, 1, [place.address]);
  return c.w.hold(address).parts[0];
}

function ofMembers(c: Context, members: readonly MemberNode[] | null): Value | null {
  if (members === null) return null;
  const [first] = members;
  if (!members.every((e) => sameExpression(e.of, first.of))) return null;
  if (first.of.kind === "name" && c.scope.find(first.of.name) === undefined) return null;
  const places = members.map((e) => "xyzw".indexOf(e.name));
  if (members.some((e, n) => e.name.length !== 1 || places[n] < 0)) return null;
  const vector = lowerExpression(c, first.of);
  if (vector.lanes !== 1) return null;
  if (vector.size === 4 && places.every((place, n) => place === n)) return quadOfVector(c, vector);
  const whole = c.w.hold(vector);
  const parts = places.map((place) => component(whole, place).parts[0]);
  return computed(vector.scalar, 1, 4, [gathered(vector.scalar, parts)]);
}

/** Elements of one array whose places differ by constants. */
function ofIndices(c: Context, elements: readonly IndexNode[] | null): Value | null {
  if (elements === null) return null;
  const [first] = elements;
  if (!elements.every((e) => sameExpression(e.of, first.of))) return null;
  const root = arrayOf(c, first.of) === null ? null : rootOf(c, first.of);
  if (root?.type.kind !== "array" || root.type.element.kind !== "value") return null;
  const { element } = root.type;
  if (element.size !== 1) return null;
  const sums = elements.map((e) => affineOf(e.index));
  if (!sums.every((sum) => sameTerms(sums[0], sum))) return null;
  const bytes = strideOf(element);
  const steps = sums.map((sum) => (sum.constant - sums[0].constant) * bytes);
  const place = placeOf(c, first);
  const apart = steps.every((step, n) => step === n * bytes);
  if (!apart && !sums.every((sum) => foldable(c, sum, bytes))) return null;
  return atOffsets(c, place, steps.map((step) => place.offset + step), element.scalar);
}

/** Calls of one function, builtin or conversion, whose arguments are lanes each. */
function ofCalls(c: Context, calls: readonly CallNode[] | null): Value | null {
  if (calls === null) return null;
  const [first] = calls;
  const apply = calls.every((e) => sameCallee(first, e)) ? callee(c, first) : null;
  if (apply === null) return null;
  const args: Value[] = [];
  for (let n = 0; n < first.args.length; n++) {
    const arg = lowerQuad(c, calls.map((e) => e.args[n]));
    if (arg === null) return null;
    args.push(arg);
  }
  const result = apply(args);
  return result?.size === 1 ? result : null;
}

/** What a call does with the lanes of its arguments; null where lanes are no use to it. */
function callee(c: Context, e: CallNode): ((args: readonly Value[]) => Value | null) | null {
  const { name, line } = e;
  const { source } = c.at;
  const fn = source.function(name);
  if (fn !== undefined) {
    if (!isWidenable(c, fn)) return null;
    return (args) => callFunction(c, fn, args, args.map(() => true), line);
  }
  if (name === "bitcast") {
    const { scalar, size } = resolveValueType(e.type!.args[0], source.aliases, line);
    return size === 1 ? ([arg]) => bitcast(arg, scalar) : null;
  }
  if (!isTypeName(name, source.aliases)) {
    return isBuiltin(name) ? (args) => callBuiltin(c.w, name, args, line) : null;
  }
  if (e.type !== null || sizeOfName(name) > 1 || e.args.length !== 1) return null;
  const { scalar, size } = resolveValueType({ name, args: [], count: null }, source.aliases, line);
  return size === 1 ? ([arg]) => convert(c.w, arg, scalar, line) : null;
}
