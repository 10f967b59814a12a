/** Statements for one element, with branches and loops as they stand. */

import {
  affineOf,
  arrayOf,
  foldable,
  heldPlace,
  keyOfTerms,
  mayWrap,
  placeOf,
} from "./addresses.ts";
import { callFunction } from "./calls.ts";
import type { Context } from "./context.ts";
import { convert } from "./conversions.ts";
import { lowerExpression, typed, valueOfBinding } from "./expressions.ts";
import { block, type Code, get, i32, ifElse, loop, set } from "../instructions.ts";
import { loadPlace, storePlace } from "./loads.ts";
import { binary, choose } from "./operators.ts";
import { lowerQuadAssignment, lowerQuadDeclaration } from "./quad_variables.ts";
import type { Load, LoadBinding, VariableBinding } from "./scope.ts";
import { initial } from "./symbolic.ts";
import { lowerWideIf } from "./threads.ts";
import { lowerQuadStore, lowerWhole } from "./together.ts";
import { insert, type Value, widened } from "./value.ts";
import {
  type Assignment,
  type CallStatement,
  type Declaration,
  eachStatement,
  type Expression,
  type IfNode,
  type LoopNode,
  type ReturnNode,
  type Statement,
  unsupported,
} from "./ast.ts";
import { strideOf, valueType } from "./types.ts";

/** Statements with names of their own. */
export function lowerBody(c: Context, statements: readonly Statement[]): void {
  c.scoped(() => lowerStatements(c, statements));
}

/** Statements in the present scope. */
export function lowerStatements(c: Context, statements: readonly Statement[]): void {
  for (let at = 0; at < statements.length; at++) {
    const together = lowerQuadDeclaration(c, statements, at) ||
      lowerQuadAssignment(c, statements, at) || lowerQuadStore(c, statements, at);
    if (together) at += 3;
    else lowerStatement(c, statements[at]);
  }
}

/** A statement. */
export function lowerStatement(c: Context, s: Statement): void {
  switch (s.kind) {
    case "let":
      return lowerLet(c, s);
    case "var":
      return lowerVar(c, s);
    case "assign":
      return lowerAssignment(c, s);
    case "if":
      return lowerIf(c, s);
    case "loop":
      return lowerLoop(c, s);
    case "block":
      return lowerBody(c, s.body);
    case "return":
      return lowerReturn(c, s);
    case "do":
      return lowerDo(c, s);
    case "break":
    case "continue": {
      const labels = c.loops.at(-1);
      if (labels === undefined) throw unsupported(`${s.kind} outside of a loop`, s.line);
      return c.w.jump(s.kind === "break" ? labels.broken : labels.continued);
    }
  }
}

function lowerLet(c: Context, s: Declaration): void {
  const load = s.type === null && c.wide === null ? loadOf(c, s.value!) : null;
  if (load !== null) return declareLoad(c, s.name, load);
  const value = c.w.hold(initial(c, s));
  const wraps = value.scalar !== "f32" && mayWrap(c, s.value!);
  c.scope.declare(s.name, { kind: "value", value, wraps });
}

/** The load that an expression is: of one number, maybe of 16 bits, from a place whose address stays. */
function loadOf(c: Context, e: Expression): Load | null {
  const converted = e.kind === "call" && e.name === "f32" && e.args.length === 1;
  const element = converted ? e.args[0] : e;
  if (element.kind !== "index") return null;
  const array = arrayOf(c, element.of);
  const type = array?.type.element;
  if (type?.kind !== "value" || type.size !== 1) return null;
  if (converted !== (type.scalar === "f16")) return null;
  const index = affineOf(element.index);
  const terms = keyOfTerms(c, index);
  if (terms === null || !foldable(c, index, strideOf(type))) return null;
  return { place: placeOf(c, element), type, key: `${array!.name}:${terms}` };
}

function declareLoad(c: Context, name: string, load: Load): void {
  let value: Value | null = null;
  const binding: LoadBinding = {
    kind: "load",
    load,
    value: () => {
      if (value !== null) return value;
      c.loaded(binding);
      const scalar = load.type.scalar === "f16" ? "f32" : load.type.scalar;
      value = c.w.hold(convert(c.w, loadPlace(c, load.place), scalar, 0));
      return value;
    },
  };
  c.declareLoad(name, binding);
}

function lowerVar(c: Context, s: Declaration): void {
  const differs = c.wide?.varying.has(s.name) ?? false;
  const value = differs ? widened(c.w.keep(initial(c, s))) : initial(c, s);
  const type = valueType(value.scalar, value.size);
  const locals = c.w.localsFor(value);
  c.w.assign(locals, value);
  const wraps = value.scalar !== "f32" &&
    (c.frame.free.has(s.name) || (s.value !== null && mayWrap(c, s.value)));
  c.scope.declare(s.name, { kind: "variable", type, lanes: value.lanes, locals, wraps });
}

function lowerAssignment(c: Context, s: Assignment): void {
  const { target } = s;
  if (target.kind === "index") return lowerStore(c, s);
  const name = target.kind === "member" ? target.of : target;
  const binding = name.kind === "name" ? c.scope.find(name.name) : undefined;
  if (binding?.kind === "lane") {
    const { vector, lane, type } = binding;
    const value = typed(c, assigned(c, s), type, s.line);
    return c.w.emit(set(vector, insert(type.scalar, get(vector), lane, value.parts[0])));
  }
  if (binding?.kind !== "variable") throw unsupported("this assignment", s.line);
  if (target.kind !== "member") return assignVariable(c, s, binding);
  if (binding.lanes === 4) throw unsupported("a component as a target on lanes", s.line);
  const at = "xyzw".indexOf(target.name);
  if (target.name.length !== 1 || at < 0) throw unsupported(`.${target.name} as a target`, s.line);
  const part = typed(c, assigned(c, s), valueType(binding.type.scalar), s.line).parts[0];
  const [first] = binding.locals;
  c.w.emit(
    binding.type.size === 4
      ? set(first, insert(binding.type.scalar, get(first), at, part))
      : set(binding.locals[at], part),
  );
}

/** Gives a variable a value, for the threads that run. */
function assignVariable(c: Context, s: Assignment, binding: VariableBinding): void {
  const value = typed(c, assigned(c, s), binding.type, s.line);
  if (binding.lanes === 1) {
    if (value.lanes === 4) throw unsupported("a number that differs between threads", s.line);
    return c.w.assign(binding.locals, value);
  }
  const mask = c.wide?.mask ?? null;
  const all = mask === null ? value : choose(c.w, valueOfBinding(binding), c.w.keep(value), mask);
  c.w.assign(binding.locals, widened(c.w.keep(all)));
}

/** What an assignment gives its target. */
function assigned(c: Context, s: Assignment): Value {
  const right = lowerWhole(c, s.value);
  return s.op === null ? right : binary(c.w, s.op, lowerExpression(c, s.target), right, s.line);
}

function lowerStore(c: Context, s: Assignment): void {
  if (s.target.kind !== "index") throw unsupported("this target", s.line);
  if (s.op === null) {
    const value = lowerWhole(c, s.value);
    const place = placeOf(c, s.target);
    c.settle();
    return storePlace(c, place, value, s.line);
  }
  const place = heldPlace(c, placeOf(c, s.target));
  const value = binary(c.w, s.op, loadPlace(c, place), lowerExpression(c, s.value), s.line);
  c.settle();
  storePlace(c, place, value, s.line);
}

function lowerIf(c: Context, s: IfNode): void {
  const condition = lowerExpression(c, s.condition);
  if (condition.constants !== null) {
    return lowerBody(c, condition.constants[0] ? s.then : s.otherwise);
  }
  if (condition.lanes === 4) return lowerWideIf(c, s, condition);
  c.settle();
  const then = c.w.nested(() => lowerBody(c, s.then));
  const otherwise = s.otherwise.length === 0 ? null : c.w.nested(() => lowerBody(c, s.otherwise));
  c.w.emit(ifElse(condition.parts[0], then, otherwise));
}

/** The condition is tested in front of the loop and behind each turn. */
function lowerLoop(c: Context, s: LoopNode): void {
  c.scoped(() => {
    if (s.init !== null) lowerStatement(c, s.init);
    c.settle();
    const broken = c.w.label;
    c.w.emit(block(c.w.nested(() => {
      if (s.condition !== null) {
        c.w.jumpIf(broken, i32.eqz(lowerCondition(c, s.condition)));
      }
      const again = c.w.label;
      c.w.emit(loop(c.w.nested(() => {
        lowerTurn(c, s, broken);
        if (s.step !== null) lowerStatement(c, s.step);
        if (s.condition === null) c.w.jump(again);
        else c.w.jumpIf(again, lowerCondition(c, s.condition));
      })));
    })));
  });
}

/** A condition that is the same for all threads that run. */
function lowerCondition(c: Context, e: Expression): Code {
  const condition = lowerExpression(c, e);
  if (condition.lanes === 4) throw unsupported("a loop whose turns differ between threads", e.line);
  return condition.parts[0];
}

function lowerTurn(c: Context, s: LoopNode, broken: number): void {
  if (!continues(s.body)) {
    c.loops.push({ broken, continued: -1 });
    lowerBody(c, s.body);
  } else {
    c.loops.push({ broken, continued: c.w.label });
    c.w.emit(block(c.w.nested(() => lowerBody(c, s.body))));
  }
  c.loops.pop();
}

function continues(body: readonly Statement[]): boolean {
  let found = false;
  eachStatement(body, (s) => found ||= s.kind === "continue");
  return found;
}

function lowerReturn(c: Context, s: ReturnNode): void {
  const { result, type, label } = c.frame;
  if (s.value !== null) {
    if (type === null) throw unsupported("a value of a function without a result", s.line);
    const value = typed(c, lowerWhole(c, s.value), type, s.line);
    c.w.assign(result, value);
  }
  c.w.jump(label);
}

function lowerDo(c: Context, { call, line }: CallStatement): void {
  if (c.wide !== null) throw unsupported("a call for its effects on lanes", line);
  // One thread alone waits for nobody; barriers of more are taken out before.
  if (call.name === "workgroupBarrier") return;
  const callee = c.at.source.function(call.name);
  if (callee === undefined) throw unsupported(`a call of ${call.name} as a statement`, line);
  const wraps = call.args.map((arg) => mayWrap(c, arg));
  const args = call.args.map((arg) => lowerExpression(c, arg));
  callFunction(c, callee, args, wraps, line);
}

/** Runs the body of an entry point, which `return` leaves. */
export function lowerEntry(
  c: Context,
  statements: readonly Statement[],
  free: ReadonlySet<string>,
) {
  const label = c.w.label;
  c.frame = { label, result: [], type: null, free };
  c.w.emit(block(c.w.nested(() => lowerBody(c, statements))));
}
