/** Statements in the making, with the variables that they need. */

import {
  br,
  brIf,
  type Code,
  get,
  type Local,
  set,
  type ValueType as CodeType,
} from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";
import { codeType, held, partCount, type Sequence, type Value } from "./value.ts";

/** Collects the statements of a function. */
export class Writer {
  #code: Code[] = [];
  #depth = 0;

  /** @param fn whose variables are used */
  constructor(readonly fn: FunctionBuilder) {}

  /** Appends statements. */
  emit(...code: readonly Code[]): void {
    this.#code.push(...code);
  }

  /** What has been appended, which is then forgotten. */
  take(): Code {
    const code = this.#code;
    this.#code = [];
    return code;
  }

  /** The statements that `build` appends, for use inside of so many further constructs. */
  nested(build: () => void, levels = 1): Code {
    const outer = this.#code;
    this.#code = [];
    this.#depth += levels;
    build();
    const inner = this.#code;
    this.#code = outer;
    this.#depth -= levels;
    return inner;
  }

  /** How many constructs enclose the next statement; names the construct that comes next. */
  get label(): number {
    return this.#depth;
  }

  /** Leaves (or repeats) the construct that was named so. */
  jump(label: number): void {
    this.emit(br(this.#depth - label - 1));
  }

  /** As jump(), where the condition is not 0. */
  jumpIf(label: number, condition: Code): void {
    this.emit(brIf(this.#depth - label - 1, condition));
  }

  /** A new variable. */
  local(type: CodeType): Local {
    return this.fn.local(type);
  }

  /** New variables for the parts of such a value. */
  localsFor(v: Pick<Value, "scalar" | "size" | "lanes">): Local[] {
    return this.fn.locals(partCount(v), codeType(v));
  }

  /** Gives variables the parts of a value. */
  assign(locals: readonly Local[], v: Value): void {
    // All parts are computed before any is stored, since they may read what is stored to.
    if (locals.length === 1 || v.stable) {
      locals.forEach((local, n) => this.emit(set(local, v.parts[n])));
    } else {
      this.emit(v.parts, [...locals].reverse().map((local) => set(local, [])));
    }
  }

  /** The same value in variables that do not change. */
  hold(v: Value): Value {
    if (v.stable) return v;
    const locals = this.localsFor(v);
    locals.forEach((local, n) => this.emit(set(local, v.parts[n])));
    return {
      ...held(v, locals.map(get), true),
      origin: v.origin,
      sequence: v.sequence && this.#heldSequence(v.sequence),
    };
  }

  #heldSequence({ first, step }: Sequence): Sequence {
    const local = this.local("i32");
    this.emit(set(local, first));
    return { first: get(local), step };
  }

  /** The same value as code that may stand in several places of a statement. */
  keep(v: Value): Value {
    return v.cheap ? v : this.hold(v);
  }
}
