/** WGSL text as tokens. */

import type { Scalar } from "./ast.ts";
import { unsupported } from "./ast.ts";

/** A word, number or sign. */
export interface Token {
  readonly kind: "word" | "number" | "sign" | "end";
  readonly text: string;
  readonly line: number;
}

const SIGNS =
  "<<=|>>=|\\+\\+|--|&&|\\|\\||==|!=|<=|>=|<<|>>|->|[-+*/%&|^]=|[-+*/%&|^!~<>=(){}\\[\\],;:.@]";
const TOKEN = new RegExp(
  `(\\s+|//[^\\n]*)|([A-Za-z_]\\w*)|(0[xX][0-9a-fA-F]+[iu]?|(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+]?\\d+)?[fiuh]?)|(${SIGNS})`,
  "y",
);

/**
 * The tokens of a text, the last of kind "end".
 *
 * @param line number of the first line
 */
export function tokensOf(text: string, line: number): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw unsupported(`the character "${text[at]}"`, line);
    const [all, space, word, number] = match;
    if (space !== undefined) line += linesIn(space);
    else {
      const kind = word !== undefined ? "word" : number !== undefined ? "number" : "sign";
      tokens.push({ kind, text: all, line });
    }
  }
  tokens.push({ kind: "end", text: "the end", line });
  return tokens;
}

/** Line breaks in a text. */
export function linesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}

/** The value of a number and its type. */
export function numberOf(text: string): { readonly scalar: Scalar; readonly value: number } {
  const hex = /^0[xX]/.test(text);
  const suffix = text.at(-1)!;
  if (suffix === "u" || suffix === "i") {
    return { scalar: suffix === "u" ? "u32" : "i32", value: Number(text.slice(0, -1)) };
  }
  if (hex) return { scalar: "int", value: Number(text) };
  if (suffix === "f") return { scalar: "f32", value: Math.fround(Number(text.slice(0, -1))) };
  return { scalar: /[.eE]/.test(text) ? "float" : "int", value: Number(text) };
}
