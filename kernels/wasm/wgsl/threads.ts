/**
 * Threads four at a time: entry points that compute single numbers, with the numbers of four neighbouring threads in the lanes
 * of vectors. Where one of the four returns early they run one by one.
 */

import { freelyAssigned } from "./addresses.ts";
import { Context, type WideThreads } from "./context.ts";
import { costOfStatements } from "./cost.ts";
import { type Code, get, i32x4, type Local, v128 } from "../instructions.ts";
import { binary, unary } from "./operators.ts";
import { lowerBody } from "./statements.ts";
import { computed, type Value } from "./value.ts";
import {
  eachExpression,
  eachStatement,
  type Expression,
  type FunctionNode,
  type IfNode,
  partsOf,
  type Statement,
  Unsupported,
  unsupported,
} from "./ast.ts";
import type { Source } from "./source.ts";
import { Writer } from "./writer.ts";

/** Operations that a division of vectors, and a load of lanes one by one, must be accompanied by to be worth it. */
const PER_DIVISION = 5;
const PER_APART = 3;
const LEAST = 4;

/**
 * The code of four threads; null where an entry point does not lend itself to it.
 *
 * The code stands inside of two blocks: leaving the inner one means that the threads must run one by one.
 *
 * @param declare declares the numbers of the threads, of which `first` is the first one's
 */
export function lowerFourThreads(
  c: Context,
  entry: FunctionNode,
  declare: (c: Context) => void,
): Code | null {
  if (!isScalar(c.at.source, entry)) return null;
  const inner = new Context(c.at, new Writer(c.w.fn));
  const wide: WideThreads = {
    varying: varyingNames(entry),
    leave: 1,
    mask: null,
    stores: false,
    apart: 0,
  };
  inner.wide = wide;
  inner.single = false;
  inner.scope = c.scope;
  inner.frame = { label: 0, result: [], type: null, free: freelyAssigned(entry) };
  try {
    const code = inner.w.nested(() => {
      inner.scoped(() => {
        declare(inner);
        lowerBody(inner, entry.body);
      });
      inner.w.jump(0);
    }, 2);
    return pays(c.at.source, entry, wide) ? code : null;
  } catch (error) {
    if (error instanceof Unsupported) return null;
    throw error;
  }
}

/** The numbers of four threads from the first one's. */
export function fourNumbers(first: Local): Value {
  const steps = v128.const([0, 1, 2, 3]);
  const part = i32x4.add(i32x4.splat(get(first)), steps);
  return { ...computed("u32", 1, 4, [part]), sequence: { first: get(first), step: 1 } };
}

/** Whether an entry point works on single numbers alone. */
function isScalar(source: Source, entry: FunctionNode): boolean {
  if (source.workgroup.length > 0) return false;
  if (source.storage.some(({ type }) => type.args[0].name === "vec4")) return false;
  let vectors = false;
  eachStatement(entry.body, (s) => {
    for (const part of partsOf(s).expressions) {
      eachExpression(part, (e) => vectors ||= e.kind === "call" && e.name === "vec4");
    }
  });
  return !vectors;
}

/** Whether lanes save more than what is done one by one costs. */
function pays(source: Source, entry: FunctionNode, { apart }: WideThreads): boolean {
  const divisions = divisionsIn(entry.body);
  const operations = costOfStatements(source, entry.body, new Map()) - divisions - apart;
  return operations >= LEAST + PER_DIVISION * divisions + PER_APART * apart;
}

/** Divisions by numbers that are no powers of two. */
function divisionsIn(statements: readonly Statement[]): number {
  let count = 0;
  eachStatement(statements, (s) => {
    for (const part of partsOf(s).expressions) {
      eachExpression(part, (e) => {
        if (e.kind !== "binary" || (e.op !== "/" && e.op !== "%")) return;
        const { right } = e;
        if (right.kind === "literal" && right.scalar === "float") return;
        if (right.kind !== "literal" || !Number.isInteger(Math.log2(right.value))) count++;
      });
    }
  });
  return count;
}

/** Names that may be different in different threads, found by going over the text until no more are. */
function varyingNames(entry: FunctionNode): ReadonlySet<string> {
  const varying = new Set<string>();
  for (const p of entry.params) if (p.builtin!.startsWith("local")) varying.add(p.name);
  const varies = (e: Expression) => {
    let found = false;
    eachExpression(e, (part) => found ||= part.kind === "name" && varying.has(part.name));
    return found;
  };
  const visit = (statements: readonly Statement[], inside: boolean) => {
    for (const s of statements) {
      if ((s.kind === "let" || s.kind === "var") && s.value !== null && varies(s.value)) {
        varying.add(s.name);
      }
      if (s.kind === "assign" && s.target.kind === "name" && (inside || varies(s.value))) {
        varying.add(s.target.name);
      }
      const branches = s.kind === "if" && varies(s.condition);
      visit(partsOf(s).statements, inside || branches);
    }
  };
  for (let before = -1; before < varying.size;) {
    before = varying.size;
    visit(entry.body, false);
  }
  return varying;
}

/** A branch that threads take differently. */
export function lowerWideIf(c: Context, s: IfNode, condition: Value): void {
  const wide = c.wide;
  if (wide === null) throw unsupported("a branch on lanes", s.line);
  const [first] = s.then;
  if (first?.kind === "return" && s.then.length === 1 && s.otherwise.length === 0) {
    if (wide.stores || wide.mask !== null || c.loops.length > 0) {
      throw unsupported("a late return of some threads", s.line);
    }
    return c.w.jumpIf(wide.leave, v128.any_true(condition.parts[0]));
  }
  const before = wide.mask;
  const held = c.w.hold(condition);
  const under = (mask: Value) =>
    before === null ? mask : c.w.hold(binary(c.w, "&&", before, mask, s.line));
  for (const [branch, mask] of [[s.then, held], [s.otherwise, null]] as const) {
    if (branch.length === 0) continue;
    if (!branch.every(isMaskable)) throw unsupported("a branch of some threads", s.line);
    wide.mask = under(mask ?? c.w.hold(unary("!", held, s.line)));
    lowerBody(c, branch);
  }
  wide.mask = before;
}

/** Whether a statement may run for threads that do not take it, as long as they keep their variables. */
function isMaskable(s: Statement): boolean {
  if (!["let", "var", "assign", "if", "block"].includes(s.kind)) return false;
  const { expressions, statements } = partsOf(s);
  let loads = false;
  for (const e of expressions) eachExpression(e, (part) => loads ||= part.kind === "index");
  return !loads && statements.every(isMaskable);
}
