/** Expressions of WGSL as values. */

import { mayWrap, placeOf } from "./addresses.ts";
import { callBuiltin, isBuiltin } from "./builtins.ts";
import { callFunction } from "./calls.ts";
import type { Context } from "./context.ts";
import { bitcast, convert } from "./conversions.ts";
import { get, i32, ifElse } from "../instructions.ts";
import { loadPlace } from "./loads.ts";
import { binary, unary } from "./operators.ts";
import { lowerQuad } from "./quads.ts";
import type { Binding } from "./scope.ts";
import { concrete, shaped, swizzled, unifyAll } from "./shapes.ts";
import {
  component,
  computed,
  constantOf,
  extract,
  held,
  lanesOf,
  packedOf,
  type Value,
  vectorOf,
} from "./value.ts";
import {
  type BinaryNode,
  type CallNode,
  eachExpression,
  type Expression,
  type MemberNode,
  type Name,
  unsupported,
} from "./ast.ts";
import { isTypeName, resolveValueType, sizeOfName, type ValueType } from "./types.ts";

/** The value of an expression; statements that it needs go to the writer. */
export function lowerExpression(c: Context, e: Expression): Value {
  const known = c.ahead.get(e);
  if (known !== undefined) return known;
  switch (e.kind) {
    case "literal":
      return constantOf(e.scalar, [e.value]);
    case "name":
      return valueOfName(c, e);
    case "unary":
      return unary(e.op, lowerExpression(c, e.of), e.line);
    case "binary":
      return lowerBinary(c, e);
    case "member":
      return lowerMember(c, e);
    case "index":
      return loadPlace(c, placeOf(c, e));
    case "call":
      return lowerCall(c, e);
  }
}

/** The value of an expression as a type. */
export function lowerAs(c: Context, e: Expression, type: ValueType): Value {
  return typed(c, lowerExpression(c, e), type, e.line);
}

/** A value as a type that it already has, up to literals. */
export function typed(c: Context, v: Value, type: ValueType, line: number): Value {
  const value = concrete(v, type.scalar);
  if (value.scalar === type.scalar && value.size === type.size) return value;
  if (value.size === 1 && value.constants !== null && v.scalar === "int") {
    return convert(c.w, value, type.scalar, line);
  }
  throw unsupported(`${value.scalar}×${value.size} as ${type.scalar}×${type.size}`, line);
}

function valueOfName(c: Context, e: Name): Value {
  const binding = c.scope.find(e.name);
  if (binding === undefined) throw unsupported(`the name ${e.name}`, e.line);
  return valueOfBinding(binding);
}

/** What a name holds at this point. */
export function valueOfBinding(binding: Binding): Value {
  switch (binding.kind) {
    case "value":
    case "symbol":
      return binding.value;
    case "variable":
      return held({ ...binding.type, lanes: binding.lanes }, binding.locals.map(get), false);
    case "load":
      return binding.value();
    case "parts":
      return vectorOf(binding.parts);
    case "lane": {
      const { type, vector, lane } = binding;
      const code = extract(type.scalar, get(vector), lane);
      return { ...computed(type.scalar, 1, 1, [code]), cheap: true };
    }
  }
}

function lowerBinary(c: Context, e: BinaryNode): Value {
  const left = lowerExpression(c, e.left);
  if ((e.op === "&&" || e.op === "||") && loadsIn(c, e.right)) {
    if (left.lanes === 4) throw unsupported("a load for some lanes", e.line);
    return shortCircuit(c, e, left);
  }
  return binary(c.w, e.op, left, lowerExpression(c, e.right), e.line);
}

/** The right side runs only where the left one does not decide, since it may read outside of memory. */
function shortCircuit(c: Context, e: BinaryNode, left: Value): Value {
  c.settle();
  const condition = c.w.keep(left).parts[0];
  let right = left;
  const before = c.w.nested(() => right = lowerExpression(c, e.right));
  const other = [before, right.parts[0]];
  const code = e.op === "&&"
    ? ifElse(condition, other, i32.const(0), "i32")
    : ifElse(condition, i32.const(1), other, "i32");
  return c.w.hold(computed("bool", 1, 1, [code]));
}

function loadsIn(c: Context, e: Expression): boolean {
  let loads = false;
  eachExpression(e, (part) => {
    if (part.kind === "index") loads = true;
    const callee = part.kind === "call" ? c.at.source.function(part.name) : undefined;
    if (callee !== undefined && c.at.source.factsOf(callee).loads) loads = true;
  });
  return loads;
}

function lowerMember(c: Context, e: MemberNode): Value {
  const binding = e.of.kind === "name" ? c.scope.find(e.of.name) : undefined;
  if (binding?.kind === "parts" && e.name.length === 1) {
    return binding.parts["xyz".indexOf(e.name)];
  }
  if (e.of.kind === "name" && binding === undefined) {
    const number = /^s(\d+)$/.exec(e.name);
    if (e.of.name !== "u" || number === null) throw unsupported(`${e.of.name}.${e.name}`, e.line);
    return c.at.scalar(Number(number[1]));
  }
  const parts = swizzled(c.w, lowerExpression(c, e.of), e.name);
  return parts.length === 1 ? parts[0] : vectorOf(parts);
}

function lowerCall(c: Context, e: CallNode): Value {
  const { source } = c.at;
  if (e.name === "bitcast") {
    const { scalar } = resolveValueType(e.type!.args[0], source.aliases, e.line);
    return bitcast(lowerExpression(c, e.args[0]), scalar);
  }
  if (isTypeName(e.name, source.aliases)) return construct(c, e);
  const callee = source.function(e.name);
  if (callee === undefined && !isBuiltin(e.name)) {
    throw unsupported(`the function ${e.name}`, e.line);
  }
  const args = e.args.map((arg) => lowerExpression(c, arg));
  if (callee === undefined) return callBuiltin(c.w, e.name, args, e.line);
  const wraps = e.args.map((arg) => mayWrap(c, arg));
  const result = callFunction(c, callee, args, wraps, e.line);
  if (result === null) throw unsupported(`the value of ${e.name}`, e.line);
  return result;
}

/** The type that a constructor names; without a component type, that of its arguments. */
function constructed(c: Context, e: CallNode): Omit<ValueType, "scalar"> & Partial<ValueType> {
  const { aliases } = c.at.source;
  if (e.type !== null) return resolveValueType(e.type, aliases, e.line);
  const size = sizeOfName(e.name);
  if (size > 1) return { kind: "value", size };
  return resolveValueType({ name: e.name, args: [], count: null }, aliases, e.line);
}

function construct(c: Context, e: CallNode): Value {
  const { scalar, size } = constructed(c, e);
  if (e.args.length === 0) return constantOf(scalar ?? "f32", new Array(size).fill(0));
  if (size === 4 && e.args.length === 4 && c.single) {
    const quad = lowerQuad(c, e.args);
    if (quad !== null) return fromQuad(c, quad, scalar, e.line);
  }
  const args = e.args.map((arg) => lowerExpression(c, arg));
  if (args.length === 1) {
    const one = scalar === undefined ? concrete(args[0]) : convert(c.w, args[0], scalar, e.line);
    return shaped(c.w, one, size, one.lanes);
  }
  const flat = args.flatMap((arg) => componentsOf(c, arg));
  if (flat.length !== size) throw unsupported(`${flat.length} components in ${e.name}`, e.line);
  return vectorOf(alike(c, flat, scalar, e.line));
}

/** Four lanes, or one number for all of them, as a vec4. */
export function fromQuad(
  c: Context,
  quad: Value,
  scalar: ValueType["scalar"] | undefined,
  line: number,
): Value {
  const v = scalar === undefined ? concrete(quad) : convert(c.w, quad, scalar, line);
  return v.lanes === 4 ? packedOf(v) : shaped(c.w, v, 4, 1);
}

function componentsOf(c: Context, v: Value): Value[] {
  const all = v.size === 4 ? c.w.hold(v) : v;
  return Array.from({ length: v.size }, (_, n) => component(all, n));
}

/** Scalars as one type and number of lanes. */
function alike(
  c: Context,
  parts: readonly Value[],
  scalar: ValueType["scalar"] | undefined,
  line: number,
): Value[] {
  const same = scalar === undefined
    ? unifyAll(c.w, parts).map((v) => concrete(v))
    : parts.map((v) => convert(c.w, v, scalar, line));
  return unifyAll(c.w, same);
}

/** A vec4 whose components are the lanes of this one, as four lanes of a scalar. */
export function quadOfVector(c: Context, v: Value): Value {
  return lanesOf(c.w.hold(v));
}
