/**
 * Bodies of functions without loops, run on code: variables are what they hold at each point, and branches that lanes take
 * differently are both computed and merged by masks.
 */

import { mayWrap } from "./addresses.ts";
import type { Context } from "./context.ts";
import { costOfStatements } from "./cost.ts";
import { lowerExpression, typed } from "./expressions.ts";
import { get, ifElse, type Local, set, v128 } from "../instructions.ts";
import { binary, choose, unary } from "./operators.ts";
import type { SymbolBinding } from "./scope.ts";
import { concrete } from "./shapes.ts";
import { lowerWhole } from "./together.ts";
import { constantOf, held, type Value, widened } from "./value.ts";
import {
  type Assignment,
  type Declaration,
  eachStatement,
  type Expression,
  type IfNode,
  type Statement,
  unsupported,
} from "./ast.ts";
import { resolveValueType, type ValueType, valueType } from "./types.ts";

/** Operations from which on a branch is skipped where no lane takes it. */
const WORTH_A_TEST = 12;

/** A result, and the lanes that have it; null for all that have no earlier one. */
interface Returned {
  readonly mask: Value | null;
  readonly value: Value;
}

/** One run of a body. */
export class Symbolic {
  readonly #c: Context;
  readonly #type: ValueType;
  readonly #returned: Returned[] = [];

  /** @param type of the result */
  constructor(c: Context, type: ValueType) {
    this.#c = c;
    this.#type = type;
  }

  /** The result of all lanes: that of the first `return` which each comes to. */
  result(name: string, line: number): Value {
    const last = this.#returned.at(-1);
    if (last === undefined) throw unsupported(`${name} without a result`, line);
    return this.#returned.slice(0, -1).reduceRight(
      (later, { mask, value }) => mask === null ? value : this.#merged(later, value, mask),
      last.value,
    );
  }

  /**
   * Runs statements for the lanes of a mask.
   *
   * @param mask null for all lanes
   * @returns whether none of these lanes goes on
   */
  run(statements: readonly Statement[], mask: Value | null): boolean {
    return this.#c.scoped(() => {
      for (const s of statements) if (this.#statement(s, mask)) return true;
      return false;
    });
  }

  #statement(s: Statement, mask: Value | null): boolean {
    switch (s.kind) {
      case "let":
        this.#let(s);
        return false;
      case "var":
        this.#var(s);
        return false;
      case "assign":
        this.#assign(s, mask);
        return false;
      case "if":
        return this.#if(s, mask);
      case "block":
        return this.run(s.body, mask);
      case "return":
        if (s.value === null) throw unsupported("a return without a value", s.line);
        this.#returned.push({ mask, value: this.#return(s.value) });
        return true;
      default:
        throw unsupported(`"${s.kind}" on lanes`, s.line);
    }
  }

  #return(e: Expression): Value {
    return this.#c.w.keep(typed(this.#c, lowerWhole(this.#c, e), this.#type, e.line));
  }

  #let(s: Declaration): void {
    const c = this.#c;
    const value = c.w.hold(initial(c, s));
    const wraps = value.scalar !== "f32" && mayWrap(c, s.value!);
    c.scope.declare(s.name, { kind: "value", value, wraps });
  }

  #var(s: Declaration): void {
    const value = this.#c.w.hold(initial(this.#c, s));
    const type = valueType(value.scalar, value.size);
    this.#c.scope.declare(s.name, { kind: "symbol", type, value });
  }

  #assign(s: Assignment, mask: Value | null): void {
    const c = this.#c;
    const binding = s.target.kind === "name" ? c.scope.find(s.target.name) : undefined;
    if (binding?.kind !== "symbol") throw unsupported("this assignment on lanes", s.line);
    const right = lowerWhole(c, s.value);
    const value = s.op === null ? right : binary(c.w, s.op, binding.value, right, s.line);
    const next = typed(c, value, binding.type, s.line);
    binding.value = c.w.hold(
      mask === null ? next : this.#merged(binding.value, c.w.keep(next), mask),
    );
  }

  #merged(no: Value, yes: Value, mask: Value): Value {
    return this.#c.w.hold(choose(this.#c.w, no, yes, mask));
  }

  #if(s: IfNode, mask: Value | null): boolean {
    const { w } = this.#c;
    const condition = w.hold(concrete(lowerExpression(this.#c, s.condition)));
    if (condition.constants !== null) {
      return this.run(condition.constants[0] ? s.then : s.otherwise, mask);
    }
    const within = (part: Value) =>
      mask === null ? part : w.hold(binary(w, "&&", mask, part, s.line));
    const then = this.#branch(s.then, within(condition));
    if (s.otherwise.length === 0) return false;
    const other = this.#branch(s.otherwise, within(w.hold(unary("!", condition, s.line))));
    return then && other;
  }

  #branch(statements: readonly Statement[], mask: Value): boolean {
    const cost = costOfStatements(this.#c.at.source, statements, new Map());
    if (mask.lanes === 1 || cost < WORTH_A_TEST) return this.run(statements, mask);
    return this.#tested(statements, mask);
  }

  /** Runs a branch only where any lane takes it. */
  #tested(statements: readonly Statement[], mask: Value): boolean {
    const { w } = this.#c;
    const changed = this.#assigned(statements).map((binding) => {
      const before = widened(binding.value);
      const locals = w.localsFor(before);
      w.assign(locals, before);
      return { binding, locals };
    });
    const inner = new Symbolic(this.#c, this.#type);
    const result = w.localsFor({ ...this.#type, lanes: 4 });
    const returnMask = w.local("v128");
    w.emit(set(returnMask, v128.const([0, 0, 0, 0])));
    this.#c.settle();
    let ends = false;
    const body = w.nested(() => {
      ends = inner.run(statements, mask);
      for (const { binding, locals } of changed) w.assign(locals, widened(w.keep(binding.value)));
      inner.#leave(result, returnMask);
    });
    w.emit(ifElse(v128.any_true(mask.parts[0]), body));
    for (const { binding, locals } of changed) binding.value = lanes(binding.type, locals);
    if (inner.#returned.length > 0) {
      const own = lanes(valueType("bool"), [returnMask]);
      this.#returned.push({ mask: own, value: lanes(this.#type, result) });
    }
    return ends;
  }

  /** Puts what has been returned, and by which lanes, into variables. */
  #leave(result: readonly Local[], mask: Local): void {
    if (this.#returned.length === 0) return;
    const { w } = this.#c;
    w.assign(result, widened(w.keep(this.result("a branch", 0))));
    const masks = this.#returned.map((r) => widened(w.keep(r.mask!)));
    w.assign([mask], masks.reduce((a, b) => binary(w, "||", a, b, 0)));
  }

  /** The variables from outside that some statements assign. */
  #assigned(statements: readonly Statement[]): SymbolBinding[] {
    const found = new Set<SymbolBinding>();
    eachStatement(statements, (s) => {
      if (s.kind !== "assign" || s.target.kind !== "name") return;
      const binding = this.#c.scope.find(s.target.name);
      if (binding?.kind === "symbol") found.add(binding);
    });
    return [...found];
  }
}

function lanes(type: ValueType, locals: readonly Local[]): Value {
  return held({ ...type, lanes: 4 }, locals.map(get), true);
}

/** The value that a declaration begins with. */
export function initial(c: Context, s: Declaration): Value {
  const type = s.type && resolveValueType(s.type, c.at.source.aliases, s.line);
  if (s.value === null) {
    if (type === null) throw unsupported("a variable without a type", s.line);
    return constantOf(type.scalar, new Array(type.size).fill(0));
  }
  const value = lowerWhole(c, s.value);
  return type === null ? concrete(value) : typed(c, value, type, s.line);
}
