/**
 * Entry points with barriers as flat text: functions that wait are written out in place, blocks around barriers are opened, and
 * every name is declared once, so that what lives across a barrier can be told by its name.
 */

import {
  type CallNode,
  eachExpression,
  type Expression,
  type FunctionNode,
  type Name,
  partsOf,
  type Statement,
  unsupported,
} from "./ast.ts";
import type { Source } from "./source.ts";

/** The function that threads of a workgroup wait in. */
export const BARRIER = "workgroupBarrier";

type Names = Map<string, string>;

/** The body of an entry point as flat text. */
export function flatBody(source: Source, entry: FunctionNode): Statement[] {
  return new Flattening(source).statements(entry.body, new Map());
}

/** Whether a statement waits, in itself or in what it calls. */
export function waits(source: Source, s: Statement): boolean {
  const { expressions, statements } = partsOf(s);
  return expressions.some((e) => waitsIn(source, e)) || statements.some((t) => waits(source, t));
}

function waitsIn(source: Source, e: Expression): boolean {
  let found = false;
  eachExpression(e, (part) => found ||= part.kind === "call" && isWaiting(source, part.name));
  return found;
}

function isWaiting(source: Source, name: string): boolean {
  if (name === BARRIER) return true;
  const callee = source.function(name);
  return callee !== undefined && source.factsOf(callee).barriers;
}

class Flattening {
  readonly #source: Source;
  #count = 0;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Statements under new names; `names` are those in force. */
  statements(list: readonly Statement[], outer: Names): Statement[] {
    const names = new Map(outer);
    return list.flatMap((s) => this.#statement(s, names));
  }

  #fresh(name: string): string {
    return `${name}#${this.#count++}`;
  }

  #statement(s: Statement, names: Names): Statement[] {
    const before: Statement[] = [];
    const expression = (e: Expression) => this.#expression(e, names, before);
    switch (s.kind) {
      case "let":
      case "var": {
        const value = s.value && expression(s.value);
        const name = this.#fresh(s.name);
        names.set(s.name, name);
        return [...before, { ...s, name, value }];
      }
      case "assign": {
        const value = expression(s.value);
        return [...before, { ...s, value, target: expression(s.target) }];
      }
      case "if": {
        if (waits(this.#source, s)) throw unsupported("a barrier inside of a branch", s.line);
        const condition = expression(s.condition);
        const then = this.statements(s.then, names);
        return [{ ...s, condition, then, otherwise: this.statements(s.otherwise, names) }];
      }
      case "block": {
        const body = this.statements(s.body, names);
        return waits(this.#source, s) ? body : [{ ...s, body }];
      }
      case "loop":
        return [this.#loop(s, names)];
      case "return":
        return [{ ...s, value: s.value && expression(s.value) }];
      case "do":
        return this.#do(s, names);
      default:
        return [s];
    }
  }

  #loop(s: Extract<Statement, { kind: "loop" }>, outer: Names): Statement {
    const names = new Map(outer);
    const one = (t: Statement | null) => t === null ? null : this.#statement(t, names)[0];
    const init = one(s.init);
    const condition = s.condition && this.#expression(s.condition, names, null);
    return { ...s, init, condition, step: one(s.step), body: this.statements(s.body, names) };
  }

  #do(s: Extract<Statement, { kind: "do" }>, names: Names): Statement[] {
    if (s.call.name === BARRIER) return [s];
    const before: Statement[] = [];
    if (isWaiting(this.#source, s.call.name)) {
      this.#open(s.call, names, before);
      return before;
    }
    const args = s.call.args.map((arg) => this.#expression(arg, names, before));
    return [...before, { ...s, call: { ...s.call, args } }];
  }

  /** An expression under new names; what it calls and waits is put in front, which must be possible. */
  #expression(e: Expression, names: Names, before: Statement[] | null): Expression {
    const again = (part: Expression) => this.#expression(part, names, before);
    switch (e.kind) {
      case "literal":
        return e;
      case "name":
        return { ...e, name: names.get(e.name) ?? e.name };
      case "unary":
      case "member":
        return { ...e, of: again(e.of) };
      case "binary":
        return { ...e, left: again(e.left), right: again(e.right) };
      case "index":
        return { ...e, of: again(e.of), index: again(e.index) };
      case "call": {
        if (!isWaiting(this.#source, e.name)) return { ...e, args: e.args.map(again) };
        if (before === null) throw unsupported("a barrier in a condition", e.line);
        const result = this.#open(e, names, before);
        if (result === null) throw unsupported(`the value of ${e.name}`, e.line);
        return result;
      }
    }
  }

  /** Writes a function that waits out; gives the name of its result. */
  #open(e: CallNode, names: Names, before: Statement[]): Name | null {
    const { line } = e;
    const fn = this.#source.function(e.name)!;
    const inner: Names = new Map();
    fn.params.forEach((p, n) => {
      const name = this.#fresh(p.name);
      const value = this.#expression(e.args[n], names, before);
      before.push({ kind: "let", line, name, type: p.type, value });
      inner.set(p.name, name);
    });
    const last = fn.body.at(-1);
    const result = last?.kind === "return" ? last : null;
    const body = result === null ? fn.body : fn.body.slice(0, -1);
    before.push(...body.flatMap((s) => this.#statement(s, inner)));
    if (result === null || result.value === null) return null;
    const name = this.#fresh(e.name);
    const value = this.#expression(result.value, inner, before);
    before.push({ kind: "let", line, name, type: fn.result, value });
    return { kind: "name", line, name };
  }
}
