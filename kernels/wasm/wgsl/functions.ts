/** WGSL functions, such as formulas, written out inside of hand-made code. */

import type { ScalarType } from "../../types.ts";
import { callFunction } from "./calls.ts";
import { Context, type Surroundings } from "./context.ts";
import { type Code, f32, getGlobal, i32 } from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import { argOffsets } from "../program.ts";
import { computed, held, type Lanes, splat, type Value } from "./value.ts";
import { unsupported } from "./ast.ts";
import { Source } from "./source.ts";
import { resolveValueType } from "./types.ts";
import { Writer } from "./writer.ts";

/** Where run-time numbers are read from. */
export interface ScalarAccess {
  /** The global variable that holds the address of `args`. */
  readonly global: number;
  /** Operands of the kernel, whose addresses stand before the numbers. */
  readonly operands: number;
  /** Types of the numbers `u.s0`, `u.s1` …. */
  readonly types: readonly ScalarType[];
}

/** A call that is written out. */
export interface Inlined {
  /** Statements that come first. */
  readonly before: Code;
  /** The result, which may be read any number of times until the arguments change; a mask for truth values of lanes. */
  readonly value: Code;
}

/** The functions of a WGSL text. */
export class WgslFunctions {
  readonly #at: Surroundings;

  /**
   * @param module where functions with loops are put
   * @param text the functions, with all that they call
   */
  constructor(module: ModuleBuilder, text: string, scalars: ScalarAccess) {
    this.#at = {
      source: new Source(text),
      module,
      arrays: new Map(),
      called: new Map(),
      scalar: (n) => scalarOf(scalars, n),
    };
  }

  /**
   * A call of the function `name`, which takes and gives scalars.
   *
   * @param args one i32 (0 or 1 for truth values) or f32 each; with 4 lanes one v128 each, masks for truth values
   * @param lanes elements that are computed at once
   */
  inline(fn: FunctionBuilder, name: string, args: readonly Code[], lanes: Lanes): Inlined {
    const { source } = this.#at;
    const callee = source.function(name);
    if (callee === undefined) throw unsupported(`the function ${name}`, 0);
    const w = new Writer(fn);
    const c = new Context(this.#at, w);
    const values = callee.params.map((p, n): Value => {
      const { scalar, size } = resolveValueType(p.type, source.aliases, 0);
      if (size > 1) throw unsupported(`a vector as an argument of ${name}`, 0);
      return isVariable(args[n])
        ? held({ scalar, size, lanes }, [args[n]], false)
        : computed(scalar, 1, lanes, [args[n]]);
    });
    const result = callFunction(c, callee, values, values.map(() => true), 0);
    if (result?.size !== 1) throw unsupported(`a call of ${name}`, 0);
    const kept = w.keep(result);
    const [part] = kept.parts;
    const value = lanes === 4 && kept.lanes === 1 ? splat(kept.scalar, part) : part;
    return { before: w.take(), value };
  }
}

/** Whether code reads a variable. */
function isVariable(code: Code): boolean {
  return typeof code !== "number" && code.length === 2 && code[0] === 0x20;
}

function scalarOf({ global, operands, types }: ScalarAccess, n: number): Value {
  const type = types[n];
  const load = type === "f32" ? f32.load : i32.load;
  const code = load(getGlobal(global), argOffsets.scalar(n, operands));
  return { ...computed(type, 1, 1, [code]), cheap: true, stable: true };
}
