/** The numbers of workgroups and threads. */

import type { Context } from "./context.ts";
import { binary } from "./operators.ts";
import { constantOf, type Value } from "./value.ts";
import { type FunctionNode, type Parameter, unsupported } from "./ast.ts";

/** Sizes along x, y and z. */
export type Grid = readonly [number, number, number];

/** Declares what is the same for all threads of a workgroup. */
export function declareGroups(c: Context, entry: FunctionNode, groups: Grid, group: Value): void {
  for (const p of entry.params) {
    if (p.builtin === "workgroup_id") declareParts(c, p, placeIn(c, groups, group));
    else if (p.builtin === "num_workgroups") {
      declareParts(c, p, groups.map((n) => constantOf("u32", [n])));
    } else if (!isOfThread(p)) throw unsupported(`the builtin ${p.builtin}`, 1);
  }
}

/** Declares what differs from thread to thread. */
export function declareThread(c: Context, entry: FunctionNode, lane: Value): void {
  for (const p of entry.params) {
    if (p.builtin === "local_invocation_id") {
      declareParts(c, p, placeIn(c, entry.workgroup!, lane));
    } else if (isOfThread(p)) {
      c.scope.declare(p.name, { kind: "value", value: c.w.hold(lane), wraps: false });
    }
  }
}

function isOfThread({ builtin }: Parameter): boolean {
  return builtin === "local_invocation_id" || builtin === "local_invocation_index";
}

function declareParts(c: Context, { name }: Parameter, parts: readonly Value[]): void {
  c.scope.declare(name, { kind: "parts", parts: parts.map((v) => c.w.hold(v)) });
}

/** The place of a number in a grid, counted through from the first axis on. */
function placeIn(c: Context, [x, y, z]: Grid, at: Value): Value[] {
  const zero = constantOf("u32", [0]);
  if (y === 1 && z === 1) return [x === 1 ? zero : at, zero, zero];
  const by = (op: string, v: Value, n: number) =>
    c.w.hold(binary(c.w, op, v, constantOf("u32", [n]), 0));
  const rest = by("/", at, x);
  const first = by("%", at, x);
  return z === 1 ? [first, rest, zero] : [first, by("%", rest, y), by("/", rest, y)];
}
