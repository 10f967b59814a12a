/** Elementwise formulas as data: one form that renders to WGSL, runs in double precision and differentiates itself. */

import type { DType, ScalarType } from "./types.ts";
import type { Row } from "./rows/row.ts";
import { table } from "./table.ts";

/** A formula over the inputs of an elementwise kernel. Equal formulas have equal keys. */
export type Expr =
  | { readonly kind: "input"; readonly index: number; readonly key: string }
  | {
    readonly kind: "scalar";
    readonly index: number;
    readonly type: ScalarType;
    readonly key: string;
  }
  | { readonly kind: "const"; readonly value: number; readonly type: DType; readonly key: string }
  | {
    readonly kind: "cast";
    readonly to: DType;
    readonly args: readonly Expr[];
    readonly key: string;
  }
  | {
    readonly kind: "op";
    readonly op: string;
    readonly args: readonly Expr[];
    readonly key: string;
  };

// Equal formulas are one object, so that caches can go by identity.
const formulas = new Map<string, Expr>();

function unique(key: string, make: (key: string) => Expr): Expr {
  let known = formulas.get(key);
  if (known === undefined) {
    known = make(key);
    formulas.set(key, known);
  }
  return known;
}

/** The value of the n-th input. */
export function input(index: number): Expr {
  return unique(`i${index}`, (key) => ({ kind: "input", index, key }));
}

/** The n-th run-time scalar. */
export function scalar(index: number, type: ScalarType): Expr {
  return unique(`s${index}${type}`, (key) => ({ kind: "scalar", index, type, key }));
}

/** A number that is part of the formula. */
export function constant(value: number, type: DType = "f32"): Expr {
  const text = Object.is(value, -0) ? "-0" : String(value);
  return unique(`${text}${type}`, (key) => ({ kind: "const", value, type, key }));
}

/** The value converted to another element type. */
export function cast(value: Expr, to: DType): Expr {
  return unique(`${to}(${value.key})`, (key) => ({ kind: "cast", to, args: [value], key }));
}

/** A row of the table applied to formulas. */
export function apply(op: string, ...args: Expr[]): Expr {
  let text = `${op}(${args[0].key}`;
  for (let i = 1; i < args.length; i++) text += `,${args[i].key}`;
  return unique(`${text})`, (key) => ({ kind: "op", op, args, key }));
}

/** The row of this name. */
export function rowOf(op: string): Row {
  const row = (table as Record<string, Row>)[op];
  if (row === undefined) throw new Error(`internal: no row "${op}" in the elementwise table`);
  return row;
}

const resultTypes = new Map<Expr, Map<string, DType>>();

/** The element type of a formula, from those of its inputs. */
export function dtypeOf(expr: Expr, inputTypes: readonly DType[]): DType {
  if (expr.kind !== "op") return inferType(expr, inputTypes);
  const key = inputTypes.join();
  let ofExpr = resultTypes.get(expr);
  if (ofExpr === undefined) resultTypes.set(expr, ofExpr = new Map());
  let type = ofExpr.get(key);
  if (type === undefined) ofExpr.set(key, type = inferType(expr, inputTypes));
  return type;
}

function inferType(expr: Expr, inputTypes: readonly DType[]): DType {
  switch (expr.kind) {
    case "input":
      return inputTypes[expr.index] === "f16" ? "f32" : inputTypes[expr.index];
    case "scalar":
    case "const":
      return expr.type;
    case "cast":
      return expr.to;
    case "op":
      return resultType(rowOf(expr.op), expr.args.map((a) => dtypeOf(a, inputTypes)));
  }
}

/** The type in which a row computes: its arguments are converted to it first. */
export function computeType(row: Row, types: readonly DType[]): DType {
  const rank: readonly DType[] = ["bool", "u32", "i32", "f32"];
  const wide = (ts: readonly DType[]) =>
    ts.reduce(
      (
        a,
        b,
      ) => (rank.indexOf(b === "f16" ? "f32" : b) > rank.indexOf(a)
        ? (b === "f16" ? "f32" : b)
        : a),
      "bool",
    );
  switch (row.kind) {
    case "float":
      return "f32";
    case "logic":
      return "bool";
    case "numeric":
      return wide(types) === "bool" ? "i32" : wide(types);
    case "compare":
      return wide(types) === "bool" ? "u32" : wide(types);
    case "select":
      return wide(types.slice(1));
  }
}

function resultType(row: Row, types: readonly DType[]): DType {
  return row.kind === "compare" || row.kind === "logic" ? "bool" : computeType(row, types);
}

/** Every distinct subformula, arguments before their users. */
export function topological(root: Expr): Expr[] {
  const order: Expr[] = [];
  const seen = new Set<string>();
  const visit = (e: Expr) => {
    if (seen.has(e.key)) return;
    seen.add(e.key);
    if (e.kind === "op" || e.kind === "cast") e.args.forEach(visit);
    order.push(e);
  };
  visit(root);
  return order;
}

/** The formula with inputs (and whole subformulas) replaced: `replace` gives the new one, or undefined to keep it. */
export function substitute(root: Expr, replace: (e: Expr) => Expr | undefined): Expr {
  const done = new Map<string, Expr>();
  const visit = (e: Expr): Expr => {
    const known = done.get(e.key);
    if (known) return known;
    let out = replace(e);
    if (out === undefined) {
      out = e.kind === "op"
        ? apply(e.op, ...e.args.map(visit))
        : e.kind === "cast"
        ? cast(visit(e.args[0]), e.to)
        : e;
    }
    done.set(e.key, out);
    return out;
  };
  return visit(root);
}

/** Which inputs a formula reads, in increasing order. */
export function inputsOf(root: Expr): number[] {
  const used = new Set<number>();
  for (const e of topological(root)) if (e.kind === "input") used.add(e.index);
  return [...used].sort((a, b) => a - b);
}

/**
 * Reverse-mode derivative of a formula: for each input the cotangent formula, or null where none flows.
 *
 * @param root the formula
 * @param inputTypes element types of its inputs; only f32 and f16 inputs receive a cotangent
 * @param g the cotangent of the result
 */
export function differentiate(root: Expr, inputTypes: readonly DType[], g: Expr): (Expr | null)[] {
  const cotangents = new Map<string, Expr>([[root.key, g]]);
  const add = (e: Expr, value: Expr) => {
    const old = cotangents.get(e.key);
    cotangents.set(e.key, old ? apply("add", old, value) : value);
  };
  for (const e of topological(root).reverse()) {
    const cotangent = cotangents.get(e.key);
    if (cotangent === undefined) continue;
    if (e.kind === "cast" && e.to === "f32") add(e.args[0], cotangent);
    if (e.kind !== "op") continue;
    const { grad } = rowOf(e.op);
    if (typeof grad === "string") continue;
    grad(cotangent, e.args, e).forEach((part, i) => {
      if (part !== null && dtypeOf(e.args[i], inputTypes) === "f32") add(e.args[i], part);
    });
  }
  return inputTypes.map((type, i) =>
    type === "f32" || type === "f16" ? cotangents.get(input(i).key) ?? null : null
  );
}
