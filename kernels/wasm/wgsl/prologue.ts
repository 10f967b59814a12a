/** What a function of a module computes once, before all other code. */

import { type Code, get, type Local, set, type ValueType } from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";

/** Values that are the same everywhere in a function, each in a variable. */
export class Prologue {
  readonly #fn: FunctionBuilder;
  readonly #locals = new Map<string, Local>();
  readonly #code: Code[] = [];

  /** @param fn whose variables are used */
  constructor(fn: FunctionBuilder) {
    this.#fn = fn;
  }

  /** The statements that compute all values. */
  get code(): Code {
    return this.#code;
  }

  /** The value of this key, which is made when it is first asked for. */
  value(key: string, type: ValueType, make: () => Code): Code {
    let local = this.#locals.get(key);
    if (local === undefined) {
      const code = make();
      local = this.#fn.local(type);
      this.#locals.set(key, local);
      this.#code.push(set(local, code));
    }
    return get(local);
  }
}
