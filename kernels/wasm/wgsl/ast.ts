/** The syntax trees of the WGSL subset that kernels are written in. */

/** Scalars; `int` and `float` are those of literals without a suffix, `f16` is storage only. */
export type Scalar = "f32" | "i32" | "u32" | "bool" | "f16" | "int" | "float";

/** A type as it is written: a name with its arguments. */
export interface TypeNode {
  readonly name: string;
  readonly args: readonly TypeNode[];
  /** Elements of an array, or null where there is no end. */
  readonly count: number | null;
}

/** A number or truth value. */
export interface Literal {
  readonly kind: "literal";
  readonly line: number;
  readonly scalar: Scalar;
  readonly value: number;
}

/** A variable, parameter or binding. */
export interface Name {
  readonly kind: "name";
  readonly line: number;
  readonly name: string;
}

/** An operator in front of its operand. */
export interface UnaryNode {
  readonly kind: "unary";
  readonly line: number;
  readonly op: string;
  readonly of: Expression;
}

/** An operator between its operands. */
export interface BinaryNode {
  readonly kind: "binary";
  readonly line: number;
  readonly op: string;
  readonly left: Expression;
  readonly right: Expression;
}

/** A call of a function or constructor. */
export interface CallNode {
  readonly kind: "call";
  readonly line: number;
  readonly name: string;
  /** The type that is constructed or cast to, where it is written out with arguments. */
  readonly type: TypeNode | null;
  readonly args: readonly Expression[];
}

/** Components of a vector, or a run-time number `u.sN`. */
export interface MemberNode {
  readonly kind: "member";
  readonly line: number;
  readonly of: Expression;
  readonly name: string;
}

/** An element of an array. */
export interface IndexNode {
  readonly kind: "index";
  readonly line: number;
  readonly of: Expression;
  readonly index: Expression;
}

/** What has a value. */
export type Expression =
  | Literal
  | Name
  | UnaryNode
  | BinaryNode
  | CallNode
  | MemberNode
  | IndexNode;

/** `let` and `var`. */
export interface Declaration {
  readonly kind: "let" | "var";
  readonly line: number;
  readonly name: string;
  readonly type: TypeNode | null;
  readonly value: Expression | null;
}

/** `target = value`, or with an operator `target op= value`. */
export interface Assignment {
  readonly kind: "assign";
  readonly line: number;
  readonly target: Expression;
  readonly op: string | null;
  readonly value: Expression;
}

/** A branch. */
export interface IfNode {
  readonly kind: "if";
  readonly line: number;
  readonly condition: Expression;
  readonly then: readonly Statement[];
  readonly otherwise: readonly Statement[];
}

/** `for` and `while`. */
export interface LoopNode {
  readonly kind: "loop";
  readonly line: number;
  readonly init: Statement | null;
  readonly condition: Expression | null;
  readonly step: Statement | null;
  readonly body: readonly Statement[];
}

/** Statements with names of their own. */
export interface Block {
  readonly kind: "block";
  readonly line: number;
  readonly body: readonly Statement[];
}

/** `break` and `continue`. */
export interface Jump {
  readonly kind: "break" | "continue";
  readonly line: number;
}

/** `return`. */
export interface ReturnNode {
  readonly kind: "return";
  readonly line: number;
  readonly value: Expression | null;
}

/** A call for its effects. */
export interface CallStatement {
  readonly kind: "do";
  readonly line: number;
  readonly call: CallNode;
}

/** What is done. */
export type Statement =
  | Declaration
  | Assignment
  | IfNode
  | LoopNode
  | Block
  | Jump
  | ReturnNode
  | CallStatement;

/** A parameter of a function; `builtin` in entry points. */
export interface Parameter {
  readonly name: string;
  readonly type: TypeNode;
  readonly builtin: string | null;
}

/** A function. */
export interface FunctionNode {
  readonly name: string;
  readonly params: readonly Parameter[];
  readonly result: TypeNode | null;
  readonly body: readonly Statement[];
  /** Threads of a workgroup along x, y and z, of an entry point. */
  readonly workgroup: readonly [number, number, number] | null;
}

/** What the compiler does not know, or not in this place. */
export class Unsupported extends Error {
  override readonly name = "Error";

  constructor(what: string, line: number) {
    super(`internal: ${what} in line ${line} is outside of the WGSL subset`);
  }
}

/** The error for what the compiler does not know. */
export function unsupported(what: string, line: number): Unsupported {
  return new Unsupported(what, line);
}

/** Whether two trees are the same text. */
export function sameExpression(a: Expression, b: Expression): boolean {
  if (a === b) return true;
  switch (a.kind) {
    case "literal":
      return b.kind === "literal" && a.scalar === b.scalar && Object.is(a.value, b.value);
    case "name":
      return b.kind === "name" && a.name === b.name;
    case "unary":
      return b.kind === "unary" && a.op === b.op && sameExpression(a.of, b.of);
    case "binary":
      return b.kind === "binary" && a.op === b.op && sameExpression(a.left, b.left) &&
        sameExpression(a.right, b.right);
    case "call":
      return b.kind === "call" && sameCallee(a, b) &&
        a.args.every((arg, n) => sameExpression(arg, b.args[n]));
    case "member":
      return b.kind === "member" && a.name === b.name && sameExpression(a.of, b.of);
    case "index":
      return b.kind === "index" && sameExpression(a.of, b.of) && sameExpression(a.index, b.index);
  }
}

/** Whether two calls are of the same function or type, with as many arguments. */
export function sameCallee(a: CallNode, b: CallNode): boolean {
  return a.name === b.name && a.args.length === b.args.length && sameType(a.type, b.type);
}

function sameType(a: TypeNode | null, b: TypeNode | null): boolean {
  if (a === null || b === null) return a === b;
  return a.name === b.name && a.count === b.count && a.args.length === b.args.length &&
    a.args.every((arg, n) => sameType(arg, b.args[n]));
}

/** The trees directly below one. */
export function childrenOf(e: Expression): readonly Expression[] {
  switch (e.kind) {
    case "literal":
    case "name":
      return [];
    case "unary":
    case "member":
      return [e.of];
    case "binary":
      return [e.left, e.right];
    case "call":
      return e.args;
    case "index":
      return [e.of, e.index];
  }
}

/** The expressions that stand in a statement itself, and the statements inside it. */
export function partsOf(s: Statement): {
  readonly expressions: readonly Expression[];
  readonly statements: readonly Statement[];
} {
  switch (s.kind) {
    case "let":
    case "var":
    case "return":
      return { expressions: s.value === null ? [] : [s.value], statements: [] };
    case "assign":
      return { expressions: [s.target, s.value], statements: [] };
    case "if":
      return { expressions: [s.condition], statements: [...s.then, ...s.otherwise] };
    case "loop": {
      const statements = [s.init, ...s.body, s.step].filter((part) => part !== null);
      return { expressions: s.condition === null ? [] : [s.condition], statements };
    }
    case "block":
      return { expressions: [], statements: s.body };
    case "do":
      return { expressions: [s.call], statements: [] };
    default:
      return { expressions: [], statements: [] };
  }
}

/** Visits all trees of an expression. */
export function eachExpression(e: Expression, visit: (e: Expression) => void): void {
  visit(e);
  for (const child of childrenOf(e)) eachExpression(child, visit);
}

/** Visits all statements, outer ones first. */
export function eachStatement(
  statements: readonly Statement[],
  visit: (s: Statement) => void,
): void {
  for (const s of statements) {
    visit(s);
    eachStatement(partsOf(s).statements, visit);
  }
}
