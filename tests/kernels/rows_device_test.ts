import { assert, assertEquals } from "@std/assert";
import { apply, constant, differentiate, type Expr, input, substitute } from "../../kernels/expr.ts";
import { coerced, evaluator } from "../../kernels/expr_code.ts";
import type { Row } from "../../kernels/rows/row.ts";
import { table } from "../../kernels/table.ts";
import type { DType } from "../../kernels/types.ts";
import { agrees, allowedBy, argumentsOf, flushed, INTEGERS, keyed } from "./points.ts";
import { type Column, floats, hasAdapter, Runner } from "./runner.ts";

const rows = Object.entries(table) as [string, Row][];
const POINTS = 4096;

/** Runs a test on a device, or skips it by name where there is no adapter. */
function onDevice(name: string, fn: (runner: Runner, t: Deno.TestContext) => Promise<void>): void {
  Deno.test({
    name,
    ignore: !hasAdapter,
    fn: async (t) => {
      const runner = await Runner.open();
      try {
        await fn(runner, t);
      } finally {
        runner.close();
      }
    },
  });
}

function typesOf(row: Row): DType[] {
  return Array.from({ length: row.arity }, (_, k) => row.kind === "select" && !k ? "bool" : "f32");
}

function call(name: string, row: Row): Expr {
  return apply(name, ...Array.from({ length: row.arity }, (_, k) => input(k)));
}

function columnsOf(types: readonly DType[], values: readonly (readonly number[])[]): Column[] {
  return values.map((column, k) =>
    types[k] === "bool"
      ? { dtype: "bool", data: Uint8Array.from(column, (x) => (x === 0 ? 0 : 1)) }
      : floats(column)
  );
}

/** Fails with the first disagreements; `check` gives a text for each element that is wrong. */
function assertAll(count: number, check: (i: number) => string | null): void {
  const wrong: string[] = [];
  for (let i = 0; i < count; i++) {
    const text = check(i);
    if (text !== null) wrong.push(text);
  }
  const shown = wrong.slice(0, 8).join("\n");
  assert(wrong.length === 0, `${wrong.length} of ${count} results are wrong:\n${shown}`);
}

/** lerp overflows where the difference of its ends does; f64 does not. */
function outOfRange(name: string, args: readonly number[]): boolean {
  return name === "lerp" && Math.abs(args[1] - args[0]) > 3.4e38 && args.every(Number.isFinite);
}

onDevice("rows match their references on drawn and special values", async (runner, t) => {
  for (const [name, row] of rows) {
    await t.step(name, async () => {
      const types = typesOf(row);
      const values = argumentsOf(name, row.arity, POINTS);
      const columns = columnsOf(types, values);
      const got = await runner.run(call(name, row), columns);
      assertAll(got.length, (i) => {
        const args = columns.map((column) => column.data[i]);
        if (outOfRange(name, args)) return null;
        const wants = flushed(args).map((a) => row.ref(a[0], a[1], a[2]));
        return agrees(got[i], wants, allowedBy(row, args))
          ? null
          : `${name}(${args}) gave ${got[i]}, expected ${wants}`;
      });
    });
  }
});

onDevice("gradient formulas match their references", async (runner, t) => {
  for (const [name, row] of rows) {
    if (typeof row.grad === "string") continue;
    await t.step(name, () => checkGradient(runner, name, row));
  }
});

/** Runs the gradient as backward does, with the result of the forward run at hand, at 4 times the tolerance of the row. */
async function checkGradient(runner: Runner, name: string, row: Row): Promise<void> {
  const n = row.arity;
  const types = typesOf(row);
  const root = call(name, row);
  const columns = columnsOf(types, argumentsOf(name, n, POINTS));
  const count = columns[0].data.length;
  const g = floats(Array.from({ length: count }, (_, i) => 4 * keyed(99, i) - 2));
  const y = floats(await runner.run(root, columns) as Float32Array);
  const all = [...columns, g, y];
  const gradients = differentiate(root, types, input(n));
  for (let k = 0; k < n; k++) {
    const gradient = gradients[k];
    if (gradient === null) continue;
    const reference = evaluator(gradient, [...types, "f32"]);
    const onResult = substitute(gradient, (e) => e.key === root.key ? input(n + 1) : undefined);
    const got = await runner.run(onResult, all);
    const { rel, abs } = row.tolerance;
    const bounds = [4 * Math.max(abs, 1e-7), 4 * Math.max(rel, 1.2e-7)];
    assertAll(count, (i) => {
      const args = all.slice(0, n + 1).map((column) => column.data[i]);
      const wants = flushed(args).map((a) => reference(a, []));
      if (!wants.every(Number.isFinite)) return null;
      return agrees(got[i], wants, (want) => bounds[0] + bounds[1] * Math.abs(want))
        ? null
        : `argument ${k} of ${name}(${args.slice(0, n)}), g ${args[n]}: ${got[i]}, expected ${wants}`;
    });
  }
}
