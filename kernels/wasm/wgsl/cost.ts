/** Rough costs of a text, in operations. */

import {
  type CallNode,
  childrenOf,
  type Expression,
  type FunctionNode,
  type LoopNode,
  sameCallee,
  type Statement,
} from "./ast.ts";
import type { Source } from "./source.ts";

/** Turns of a loop whose bounds are not known. */
const TURNS = 16;
/** What is known of names: the numbers that they are at most. */
type Bounds = Map<string, number>;

const known = new WeakMap<FunctionNode, { readonly source: Source; readonly cost: number }>();

/** Operations of one run of a function. */
export function costOfFunction(source: Source, fn: FunctionNode): number {
  const before = known.get(fn);
  if (before?.source === source) return before.cost;
  const cost = costOfStatements(source, fn.body, new Map());
  known.set(fn, { source, cost });
  return cost;
}

/** Operations of some statements. */
export function costOfStatements(
  source: Source,
  statements: readonly Statement[],
  bounds: Bounds,
): number {
  return statements.reduce((sum, s) => sum + costOf(source, s, bounds), 0);
}

function costOf(source: Source, s: Statement, bounds: Bounds): number {
  switch (s.kind) {
    case "let":
    case "var": {
      const most = s.value === null ? null : mostOf(s.value, bounds);
      if (most !== null) bounds.set(s.name, most);
      return s.value === null ? 0 : costOfExpression(source, s.value);
    }
    case "assign":
      return costOfExpression(source, s.target) + costOfExpression(source, s.value) +
        (s.op === null ? 0 : 1);
    case "if":
      return 1 + costOfExpression(source, s.condition) + Math.max(
        costOfStatements(source, s.then, bounds),
        costOfStatements(source, s.otherwise, bounds),
      );
    case "loop":
      return costOfLoop(source, s, bounds);
    case "block":
      return costOfStatements(source, s.body, bounds);
    case "return":
      return s.value === null ? 0 : costOfExpression(source, s.value);
    case "do":
      return costOfExpression(source, s.call);
    default:
      return 1;
  }
}

function costOfLoop(source: Source, s: LoopNode, bounds: Bounds): number {
  const turns = turnsOf(s, bounds);
  return turns * (2 + costOfStatements(source, s.body, bounds));
}

function turnsOf({ init, condition, step }: LoopNode, bounds: Bounds): number {
  const comparison = condition?.kind === "binary" ? condition : null;
  if (comparison === null || step?.kind !== "assign" || step.value.kind !== "literal") return TURNS;
  if (step.op !== "+") return step.op === "/" ? 7 : TURNS;
  const start = init?.kind === "var" && init.value !== null ? init.value : null;
  const end = mostOf(comparison.right, bounds);
  if (end === null) return TURNS;
  const from = start?.kind === "literal" ? start.value : 0;
  return Math.max(1, Math.ceil((end - from) / step.value.value));
}

/** The number that an expression is at most, where that can be seen. */
function mostOf(e: Expression, bounds: Bounds): number | null {
  if (e.kind === "literal") return e.value;
  if (e.kind === "name") return bounds.get(e.name) ?? null;
  if (e.kind !== "call" || e.name !== "min") return null;
  const known = e.args.map((arg) => mostOf(arg, bounds)).filter((most) => most !== null);
  // The end of a slice: `min(low + size, all)`.
  const [slice] = e.args;
  if (slice.kind === "binary" && slice.right.kind === "literal") known.push(slice.right.value);
  return known.length === 0 ? null : Math.min(...known);
}

/** Operations of an expression, with what it calls. */
export function costOfExpression(source: Source, e: Expression): number {
  if (e.kind === "call") return costOfCall(source, e);
  const own = e.kind === "binary" || e.kind === "unary" || e.kind === "index" ? 1 : 0;
  return childrenOf(e).reduce((sum, child) => sum + costOfExpression(source, child), own);
}

function costOfCall(source: Source, e: CallNode): number {
  const [first] = e.args;
  const lanes = e.name === "vec4" && e.args.length === 4 && first.kind === "call" &&
    e.args.every((arg) => arg.kind === "call" && sameCallee(arg, first));
  if (lanes) return 1 + costOfExpression(source, first);
  const callee = source.function(e.name);
  const own = callee === undefined ? 1 : costOfFunction(source, callee);
  return e.args.reduce((sum, arg) => sum + costOfExpression(source, arg), own);
}
