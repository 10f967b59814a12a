import { assertEquals } from "@std/assert";
import { apply, constant, type Expr, input, scalar } from "../../../kernels/expr.ts";
import { evaluator, exprFunction } from "../../../kernels/expr_code.ts";
import { helpersFor } from "../../../kernels/math_wgsl.ts";
import { table } from "../../../kernels/table.ts";
import type { DType } from "../../../kernels/types.ts";
import { type Code, f32, get, i32, setGlobal, v128 } from "../../../kernels/wasm/instructions.ts";
import { withConstantsAhead } from "../../../kernels/wasm/constants.ts";
import { argOffsets } from "../../../kernels/wasm/program.ts";
import { WgslFunctions } from "../../../kernels/wasm/wgsl/functions.ts";
import { assertNear, values } from "./cases.ts";
import { machine } from "./machine.ts";

const OPERANDS = 3;
const ARGS = 4096;
const SCALARS = [0.75, -2] as const;

function textOf(expr: Expr, types: readonly DType[]): string {
  const text = exprFunction("f", expr, types);
  return `${helpersFor(text)}\n${text}`;
}

/** The two columns that formulas are run on. */
const X = [values(8, 1, -3, 3), values(8, 2, -3, 3)].map((column) => column.map(Math.fround));

/** A formula of two floats, inlined for so many lanes at a time. */
function run(expr: Expr, lanes: 1 | 4, bool = false): number[] {
  const { f, memory } = machine(["i32"], null, (fn, module) => {
    const global = module.global();
    const access = { global, operands: OPERANDS, types: ["f32", "f32"] as const };
    const functions = new WgslFunctions(module, textOf(expr, ["f32", "f32"]), access);
    const at = get(fn.params[0]);
    const load = lanes === 4 ? v128.load : f32.load;
    const store = lanes === 4 ? v128.store : bool ? i32.store : f32.store;
    const code: Code[] = [setGlobal(global, i32.const(ARGS))];
    for (let n = 0; n < 8; n += lanes) {
      const args = [0, 64].map((base) => load(at, base + 4 * n));
      const { before, value } = functions.inline(fn, "f", args, lanes);
      code.push(before, store(at, value, 128 + 4 * n));
    }
    return withConstantsAhead(fn, code);
  });
  X.forEach((column, k) => column.forEach((v, n) => memory.setFloat32(64 * k + 4 * n, v, true)));
  SCALARS.forEach((s, n) => memory.setFloat32(ARGS + argOffsets.scalar(n, OPERANDS), s, true));
  f(0);
  return Array.from(
    { length: 8 },
    (_, n) => bool ? memory.getInt32(128 + 4 * n, true) : memory.getFloat32(128 + 4 * n, true),
  );
}

function wanted(expr: Expr): number[] {
  const f = evaluator(expr, ["f32", "f32"]);
  return Array.from({ length: 8 }, (_, n) => f([X[0][n], X[1][n]], SCALARS));
}

Deno.test("formulas are inlined for one element and for four", () => {
  for (const name of Object.keys(table) as (keyof typeof table)[]) {
    const row = table[name];
    if (row.kind !== "float" || row.arity > 2) continue;
    const expr = row.arity === 1 ? apply(name, input(0)) : apply(name, input(0), input(1));
    for (const lanes of [1, 4] as const) {
      assertNear(run(expr, lanes), wanted(expr), { rel: 2e-5, abs: 2e-5 }, `${name} on ${lanes}`);
    }
  }
});

Deno.test("inlined formulas read run-time numbers and constants", () => {
  const expr = apply(
    "add",
    apply("mul", input(0), scalar(0, "f32")),
    apply("mul", scalar(1, "f32"), constant(3)),
  );
  for (const lanes of [1, 4] as const) {
    assertNear(run(expr, lanes), wanted(expr), { rel: 1e-6, abs: 1e-6 }, `${lanes}`);
  }
  const still = apply("mul", scalar(0, "f32"), constant(2));
  for (const lanes of [1, 4] as const) assertEquals(run(still, lanes), new Array(8).fill(1.5));
});

Deno.test("inlined conditions give masks on lanes, 0 and 1 for one element", () => {
  const expr = apply(
    "logicalOr",
    apply("gt", input(0), input(1)),
    apply("lt", input(0), constant(-2)),
  );
  assertEquals(run(expr, 1, true), wanted(expr));
  assertEquals(run(expr, 4, true), wanted(expr).map((truth) => -truth));
});

Deno.test("truth values are taken as masks on lanes, as 0 and 1 for one element", () => {
  const text = textOf(apply("where", input(0), input(1), constant(-1)), ["bool", "f32"]);
  for (const lanes of [1, 4] as const) {
    const { f, memory } = machine(["i32"], null, (fn, module) => {
      const functions = new WgslFunctions(module, text, {
        global: module.global(),
        operands: 0,
        types: [],
      });
      const at = get(fn.params[0]);
      const args = lanes === 4
        ? [v128.const([0, 0xffffffff, 0, 0xffffffff]), v128.load(at)]
        : [i32.const(1), f32.load(at, 4)];
      const { before, value } = functions.inline(fn, "f", args, lanes);
      return [before, lanes === 4 ? v128.store(at, value, 64) : f32.store(at, value, 68)];
    });
    [5, 6, 7, 8].forEach((v, n) => memory.setFloat32(4 * n, v, true));
    f(0);
    const got = [0, 4, 8, 12].map((n) => memory.getFloat32(64 + n, true));
    assertEquals(got, lanes === 4 ? [-1, 6, -1, 8] : [0, 6, 0, 0]);
  }
});
