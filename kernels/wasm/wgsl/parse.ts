/** The parser of WGSL functions and types. */

import {
  type Block,
  type CallNode,
  type Expression,
  type FunctionNode,
  type LoopNode,
  type Parameter,
  type Statement,
  type TypeNode,
  unsupported,
} from "./ast.ts";
import { numberOf, type Token, tokensOf } from "./tokens.ts";

/** How tightly operators bind; higher numbers bind first. */
const PRECEDENCE: Readonly<Record<string, number>> = {
  "||": 1,
  "&&": 2,
  "|": 3,
  "^": 4,
  "&": 5,
  "==": 6,
  "!=": 6,
  "<": 7,
  ">": 7,
  "<=": 7,
  ">=": 7,
  "<<": 8,
  ">>": 8,
  "+": 9,
  "-": 9,
  "*": 10,
  "/": 10,
  "%": 10,
};

const ASSIGNMENTS = ["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="];
/** Names that arguments in angle brackets may follow. */
const GENERIC = ["vec2", "vec3", "vec4", "array", "bitcast"];

/** Reads a text from its start. */
export class Parser {
  readonly #tokens: Token[];
  #at = 0;

  /** @param line number of the first line of the text */
  constructor(text: string, line: number) {
    this.#tokens = tokensOf(text, line);
  }

  get #next(): Token {
    return this.#tokens[this.#at];
  }

  /** The number of the line that is read. */
  get line(): number {
    return this.#next.line;
  }

  #take(): Token {
    return this.#tokens[this.#at++];
  }

  /** Takes the next token where it is this one. */
  accept(text: string): boolean {
    if (this.#next.text !== text) return false;
    this.#at++;
    return true;
  }

  /** Takes a token that must be there. */
  expect(text: string): void {
    // `>>` may close two types.
    if (text === ">" && this.#next.text === ">>") {
      this.#tokens[this.#at] = { ...this.#next, text: ">" };
      return;
    }
    if (!this.accept(text)) {
      throw unsupported(`"${this.#next.text}" in place of "${text}"`, this.line);
    }
  }

  /** Takes a name. */
  word(): string {
    const token = this.#take();
    if (token.kind !== "word") throw unsupported(`"${token.text}" as a name`, token.line);
    return token.text;
  }

  /** Takes a whole number. */
  integer(): number {
    const token = this.#take();
    if (token.kind !== "number") throw unsupported(`"${token.text}" as a size`, token.line);
    return numberOf(token.text).value;
  }

  /** A type. */
  type(): TypeNode {
    const name = this.word();
    if (!this.accept("<")) return { name, args: [], count: null };
    const args = [this.type()];
    const count = this.accept(",") ? this.integer() : null;
    this.expect(">");
    return { name, args, count };
  }

  /** A function, from its attributes on. */
  function(): FunctionNode {
    let workgroup: [number, number, number] | null = null;
    while (this.accept("@")) {
      if (this.word() === "workgroup_size") workgroup = this.#sizes();
    }
    this.expect("fn");
    const name = this.word();
    const params = this.#parameters();
    const result = this.accept("->") ? this.type() : null;
    return { name, params, result, body: this.#block(), workgroup };
  }

  #sizes(): [number, number, number] {
    this.expect("(");
    const sizes: [number, number, number] = [this.integer(), 1, 1];
    for (let n = 1; this.accept(","); n++) sizes[n] = this.integer();
    this.expect(")");
    return sizes;
  }

  #parameters(): Parameter[] {
    const params: Parameter[] = [];
    this.expect("(");
    while (!this.accept(")")) {
      let builtin: string | null = null;
      if (this.accept("@")) {
        this.expect("builtin");
        this.expect("(");
        builtin = this.word();
        this.expect(")");
      }
      const name = this.word();
      this.expect(":");
      params.push({ name, type: this.type(), builtin });
      this.accept(",");
    }
    return params;
  }

  #block(): Statement[] {
    this.expect("{");
    const body: Statement[] = [];
    while (!this.accept("}")) {
      if (!this.accept(";")) body.push(this.#statement());
    }
    return body;
  }

  #statement(): Statement {
    const { text, line } = this.#next;
    switch (text) {
      case "{":
        return { kind: "block", line, body: this.#block() };
      case "if":
        return this.#if();
      case "for":
        return this.#for();
      case "while":
        this.#at++;
        return this.#loop(line, null, this.expression(), null);
      case "break":
      case "continue":
        this.#at++;
        this.expect(";");
        return { kind: text, line };
      case "return": {
        this.#at++;
        const value = this.#next.text === ";" ? null : this.expression();
        this.expect(";");
        return { kind: "return", line, value };
      }
    }
    const simple = this.#simple();
    this.expect(";");
    return simple;
  }

  /** A declaration, assignment or call, without its semicolon. */
  #simple(): Statement {
    const { text, line } = this.#next;
    if (text === "let" || text === "var") {
      this.#at++;
      const name = this.word();
      const type = this.accept(":") ? this.type() : null;
      const value = this.accept("=") ? this.expression() : null;
      return { kind: text, line, name, type, value };
    }
    const target = this.#unary();
    if (target.kind === "call") return { kind: "do", line, call: target };
    const sign = this.#take().text;
    if (sign === "++" || sign === "--") {
      const value: Expression = { kind: "literal", line, scalar: "int", value: 1 };
      return { kind: "assign", line, target, op: sign[0], value };
    }
    if (!ASSIGNMENTS.includes(sign)) throw unsupported(`"${sign}" behind an expression`, line);
    const op = sign === "=" ? null : sign.slice(0, -1);
    return { kind: "assign", line, target, op, value: this.expression() };
  }

  #if(): Statement {
    const { line } = this.#take();
    const condition = this.expression();
    const then = this.#block();
    const otherwise = !this.accept("else")
      ? []
      : this.#next.text === "if"
      ? [this.#if()]
      : this.#block();
    return { kind: "if", line, condition, then, otherwise };
  }

  #for(): Statement {
    const { line } = this.#take();
    this.expect("(");
    const init = this.#next.text === ";" ? null : this.#simple();
    this.expect(";");
    const condition = this.#next.text === ";" ? null : this.expression();
    this.expect(";");
    const step = this.#next.text === ")" ? null : this.#simple();
    this.expect(")");
    return this.#loop(line, init, condition, step);
  }

  #loop(
    line: number,
    init: Statement | null,
    condition: Expression | null,
    step: Statement | null,
  ): LoopNode | Block {
    return { kind: "loop", line, init, condition, step, body: this.#block() };
  }

  /** An expression whose operators bind at least so tightly. */
  expression(least = 1): Expression {
    let left = this.#unary();
    while (true) {
      const { kind, text: op, line } = this.#next;
      const binding = kind === "sign" ? PRECEDENCE[op] : undefined;
      if (binding === undefined || binding < least) return left;
      this.#at++;
      left = { kind: "binary", line, op, left, right: this.expression(binding + 1) };
    }
  }

  #unary(): Expression {
    const { text: op, line } = this.#next;
    if (op !== "-" && op !== "!" && op !== "~") return this.#postfix(this.#primary());
    this.#at++;
    const of = this.#unary();
    // A sign belongs to the number, so that -0.0 and -2147483648 are literals.
    if (op === "-" && of.kind === "literal") return { ...of, value: -of.value };
    return { kind: "unary", line, op, of };
  }

  #postfix(e: Expression): Expression {
    while (true) {
      const { line } = this.#next;
      if (this.accept(".")) e = { kind: "member", line, of: e, name: this.word() };
      else if (this.accept("[")) {
        e = { kind: "index", line, of: e, index: this.expression() };
        this.expect("]");
      } else return e;
    }
  }

  #primary(): Expression {
    const { kind, text, line } = this.#take();
    if (text === "(") {
      const inside = this.expression();
      this.expect(")");
      return inside;
    }
    if (kind === "number") return { kind: "literal", line, ...numberOf(text) };
    if (kind !== "word") throw unsupported(`"${text}" as a value`, line);
    if (text === "true" || text === "false") {
      return { kind: "literal", line, scalar: "bool", value: Number(text === "true") };
    }
    if (GENERIC.includes(text) && this.#next.text === "<") return this.#typedCall(text, line);
    if (this.accept("(")) return { kind: "call", line, name: text, type: null, args: this.#args() };
    return { kind: "name", line, name: text };
  }

  #typedCall(name: string, line: number): CallNode {
    this.#at--;
    const type = this.type();
    this.expect("(");
    return { kind: "call", line, name, type, args: this.#args() };
  }

  #args(): Expression[] {
    const args: Expression[] = [];
    while (!this.accept(")")) {
      args.push(this.expression());
      this.accept(",");
    }
    return args;
  }
}
