/** Constants in variables: machines take several instructions to make one, and would do so in every turn of a loop. */

import type { Code, ValueType } from "./instructions.ts";
import { Prologue } from "./wgsl/prologue.ts";
import type { FunctionBuilder } from "./module.ts";

/**
 * Code whose float and vector constants are read from variables.
 *
 * @param prologue where these get their values
 */
export function constantsAhead(prologue: Prologue, code: Code): Code {
  if (typeof code === "number") return code;
  const type = constantType(code);
  if (type !== null) return prologue.value(`constant ${code}`, type, () => code);
  let changed = false;
  const parts = code.map((part) => {
    const other = constantsAhead(prologue, part);
    changed ||= other !== part;
    return other;
  });
  return changed ? parts : code;
}

/** Statements of a function with their constants ahead of them. */
export function withConstantsAhead(fn: FunctionBuilder, code: Code): Code {
  const prologue = new Prologue(fn);
  const body = constantsAhead(prologue, code);
  return [prologue.code, body];
}

/** The type of a constant that is worth a variable: others are made by one instruction. */
function constantType(code: readonly Code[]): ValueType | null {
  if (code.length !== 2) return null;
  const [op, bytes] = code;
  if (typeof bytes === "number") return null;
  if (op === 0x43) return bytes.every((b) => b === 0) ? null : "f32";
  if (typeof op === "number" || op.length !== 2 || op[0] !== 0xfd || op[1] !== 12) return null;
  return bytes.every((b) => b === 0) || bytes.every((b) => b === 255) ? null : "v128";
}
