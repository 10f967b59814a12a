/**
 * Four variables that are declared alike and go through the same steps, such as the interleaved sums `a0` … `a3`, kept as the
 * lanes of one vector.
 */

import type { Context } from "./context.ts";
import { typed } from "./expressions.ts";
import { type Local, set } from "../instructions.ts";
import { lowerQuad } from "./quads.ts";
import type { LaneBinding } from "./scope.ts";
import { initial } from "./symbolic.ts";
import { shaped } from "./shapes.ts";
import {
  type Assignment,
  type Declaration,
  eachExpression,
  type Expression,
  sameExpression,
  type Statement,
} from "./ast.ts";
import { valueType } from "./types.ts";

const FOUR = [0, 1, 2, 3];

/**
 * Lowers the four declarations that begin at `at`, where they are those of one vector.
 *
 * @returns whether they are
 */
export function lowerQuadDeclaration(
  c: Context,
  statements: readonly Statement[],
  at: number,
): boolean {
  if (c.wide !== null) return false;
  const four = FOUR.map((n) => statements[at + n]);
  if (!four.every((s): s is Declaration => s?.kind === "var" && s.value !== null)) return false;
  const [first] = four;
  const stem = first.name.replace(/0$/, "");
  const alike = four.every((s, n) =>
    s.name === `${stem}${n}` && sameExpression(s.value!, first.value!) &&
    s.type?.name === first.type?.name
  );
  const names = four.map((s) => s.name);
  if (!alike || !stepsTogether(statements.slice(at + 4), names)) return false;
  const value = initial(c, first);
  if (value.size !== 1 || value.lanes !== 1) return false;
  const vector = c.w.local("v128");
  c.w.emit(set(vector, shaped(c.w, value, 4, 1).parts[0]));
  const type = valueType(value.scalar);
  names.forEach((name, lane) => c.scope.declare(name, { kind: "lane", type, vector, lane }));
  return true;
}

/** Whether the four names are assigned one after another anywhere in some statements. */
function stepsTogether(statements: readonly Statement[], names: readonly string[]): boolean {
  return statements.some((s, n) =>
    FOUR.every((k) => assignedName(statements[n + k]) === names[k]) ||
    (s.kind === "loop" || s.kind === "block" ? stepsTogether(s.body, names) : false)
  );
}

function assignedName(s: Statement | undefined): string | null {
  return s?.kind === "assign" && s.target.kind === "name" ? s.target.name : null;
}

/**
 * Lowers the four assignments that begin at `at` as one, where they are of the lanes of one vector.
 *
 * @returns whether they are
 */
export function lowerQuadAssignment(
  c: Context,
  statements: readonly Statement[],
  at: number,
): boolean {
  const vector = vectorOfTargets(c, statements, at);
  if (vector === null) return false;
  const four = FOUR.map((n) => statements[at + n] as Assignment);
  const values = four.map(valueOf);
  if (readsOthers(four, values)) return false;
  const quad = lowerQuad(c, values);
  if (quad === null) return false;
  const { type } = c.scope.find(assignedName(four[0])!) as LaneBinding;
  const value = typed(c, quad, type, four[0].line);
  c.w.emit(set(vector, (value.lanes === 4 ? value : shaped(c.w, value, 4, 1)).parts[0]));
  return true;
}

function vectorOfTargets(c: Context, statements: readonly Statement[], at: number): Local | null {
  let vector: Local | null = null;
  for (const n of FOUR) {
    const name = assignedName(statements[at + n]);
    const binding = name === null ? undefined : c.scope.find(name);
    if (binding?.kind !== "lane" || binding.lane !== n) return null;
    vector ??= binding.vector;
    if (binding.vector !== vector) return null;
  }
  return vector;
}

/** What an assignment gives its target, as an expression. */
function valueOf({ op, target: left, value: right, line }: Assignment): Expression {
  return op === null ? right : { kind: "binary", op, left, right, line };
}

/** Whether an assignment reads what another one of the four writes. */
function readsOthers(four: readonly Assignment[], values: readonly Expression[]): boolean {
  const names = four.map((s) => assignedName(s)!);
  return values.some((value, n) => {
    let found = false;
    eachExpression(
      value,
      (e) => found ||= e.kind === "name" && names.includes(e.name) && e.name !== names[n],
    );
    return found;
  });
}
