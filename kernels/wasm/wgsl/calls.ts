/** Calls of WGSL functions: written out in place, for single elements or for four at a time. */

import { freelyAssigned } from "./addresses.ts";
import { Context } from "./context.ts";
import { typed } from "./expressions.ts";
import { block, call, get } from "../instructions.ts";
import { Scope } from "./scope.ts";
import { lowerBody } from "./statements.ts";
import { Symbolic } from "./symbolic.ts";
import { codeType, component, computed, extract, gathered, held, type Value } from "./value.ts";
import { type FunctionNode, unsupported } from "./ast.ts";
import { resolveValueType, type ValueType } from "./types.ts";
import { Writer } from "./writer.ts";

/**
 * Whether a function may be computed for four elements at a time: it has no loops and changes nothing. Where four threads run
 * at once it may read memory, unless for some of them alone.
 */
export function isWidenable(c: Context, fn: FunctionNode): boolean {
  const { loops, branches, loads, stores, barriers } = c.at.source.factsOf(fn);
  return !loops && !stores && !barriers && (!loads || (c.wide !== null && !branches));
}

/**
 * The result of a call, or null where the function has none.
 *
 * @param wraps whether the arguments may be numbers that wrapped round
 */
export function callFunction(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  wraps: readonly boolean[],
  line: number,
): Value | null {
  const typedArgs = fn.params.map((p, n) =>
    typed(c, args[n], resolveValueType(p.type, c.at.source.aliases, line), line)
  );
  const result = fn.result && resolveValueType(fn.result, c.at.source.aliases, line);
  if (typedArgs.some((v) => v.lanes === 4)) {
    return isWidenable(c, fn)
      ? symbolicCall(c, fn, typedArgs, wraps, result, line)
      : fourCalls(c, fn, typedArgs, result, line);
  }
  const { loops, branches, loads, stores, scalars } = c.at.source.factsOf(fn);
  if (result !== null && !loops && !branches && !stores) {
    return symbolicCall(c, fn, typedArgs, wraps, result, line);
  }
  const scalar = result?.size === 1 && typedArgs.every((v) => v.size === 1);
  if (loops && !loads && !stores && !scalars && scalar) {
    return moduleCall(c, fn, typedArgs, result!);
  }
  return blockCall(c, fn, typedArgs, wraps, result);
}

/** Runs with the names of a function alone. */
function inFunction<T>(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  wraps: readonly boolean[],
  run: () => T,
): T {
  return c.scoped(() => {
    fn.params.forEach((p, n) =>
      c.scope.declare(p.name, { kind: "value", value: c.w.keep(args[n]), wraps: wraps[n] })
    );
    return run();
  }, new Scope(null));
}

function symbolicCall(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  wraps: readonly boolean[],
  result: ValueType | null,
  line: number,
): Value {
  if (result === null) throw unsupported(`a call of ${fn.name} on lanes`, line);
  const { single } = c;
  c.single = single && args.every((v) => v.lanes === 1);
  const value = inFunction(c, fn, args, wraps, () => {
    const body = new Symbolic(c, result);
    body.run(fn.body, null);
    return body.result(fn.name, line);
  });
  c.single = single;
  return value;
}

/** The body as a construct that `return` leaves. */
function blockCall(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  wraps: readonly boolean[],
  result: ValueType | null,
): Value | null {
  c.settle();
  const locals = result === null ? [] : c.w.localsFor({ ...result, lanes: 1 });
  const { frame, wide, single } = c;
  c.wide = null;
  c.single = true;
  inFunction(c, fn, args, wraps, () => {
    c.frame = { label: c.w.label, result: locals, type: result, free: freelyAssigned(fn) };
    c.w.emit(block(c.w.nested(() => lowerBody(c, fn.body))));
  });
  Object.assign(c, { frame, wide, single });
  return result && held({ ...result, lanes: 1 }, locals.map(get), true);
}

/** Four calls, one for each lane. */
function fourCalls(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  result: ValueType | null,
  line: number,
): Value {
  if (result === null) throw unsupported(`a call of ${fn.name} on lanes`, line);
  const kept = args.map((v) => c.w.keep(v));
  const wraps = args.map(() => true);
  const results = [0, 1, 2, 3].map((lane) => {
    const own = kept.map((v) => v.lanes === 1 ? v : laneOf(v, lane));
    return c.w.hold(callFunction(c, fn, own, wraps, line)!);
  });
  const parts = Array.from({ length: result.size }, (_, n) =>
    gathered(
      result.scalar,
      results.map((v) => component(v, n).parts[0]),
    ));
  return computed(result.scalar, result.size, 4, parts);
}

function laneOf(v: Value, lane: number): Value {
  const parts = v.parts.map((part) => extract(v.scalar, part, lane));
  return parts.length === 4
    ? computed(v.scalar, 4, 1, [gathered(v.scalar, parts)])
    : computed(v.scalar, v.size, 1, parts);
}

/** A call of a function of the module, which is made at its first call. */
function moduleCall(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  result: ValueType,
): Value {
  let index = c.at.called.get(fn.name);
  if (index === undefined) {
    index = moduleFunction(c, fn, args, result);
    c.at.called.set(fn.name, index);
  }
  return computed(result.scalar, 1, 1, [call(index, ...args.map((v) => v.parts[0]))]);
}

function moduleFunction(
  c: Context,
  fn: FunctionNode,
  args: readonly Value[],
  result: ValueType,
): number {
  const made = c.at.module.function(
    args.map(codeType),
    codeType({ ...result, lanes: 1 }),
  );
  const inner = new Context(c.at, new Writer(made));
  const params = made.params.map((p, n) => held(args[n], [get(p)], true));
  const value = blockCall(inner, fn, params, params.map(() => true), result)!;
  made.emit(inner.w.take(), value.parts[0]);
  return made.index;
}
