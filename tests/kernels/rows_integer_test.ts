import { assert, assertEquals } from "@std/assert";
import { apply, computeType, dtypeOf, input } from "../../kernels/expr.ts";
import { coerced } from "../../kernels/expr_code.ts";
import type { Row } from "../../kernels/rows/row.ts";
import { table } from "../../kernels/table.ts";
import type { DType } from "../../kernels/types.ts";
import { INTEGERS } from "./points.ts";
import { assertAll, type Column, columnsOf, onDevice, type Runner } from "./runner.ts";

const rows = (Object.entries(table) as [string, Row][]).filter(([, row]) => row.kind !== "float");

/** Every combination of the integers in so many columns. */
function combinations(arity: number): number[][] {
  const values = arity === 3 ? INTEGERS.filter((_, i) => i % 2 === 0) : INTEGERS;
  const count = values.length ** arity;
  return Array.from(
    { length: arity },
    (_, k) =>
      Array.from(
        { length: count },
        (_, n) => values[Math.floor(n / values.length ** k) % values.length],
      ),
  );
}

/** What a row gives for elements of integer types, by its reference. */
function expected(row: Row, types: readonly DType[], args: readonly number[]): number {
  const type = computeType(row, types);
  const inType = args.map((a, k) =>
    row.kind === "logic" || (row.kind === "select" && k === 0) ? Number(a !== 0) : coerced(a, type)
  );
  const value = (row.refInt ?? row.ref)(inType[0], inType[1], inType[2]);
  return row.kind === "compare" || row.kind === "logic" ? value : coerced(value, type);
}

async function check(
  runner: Runner,
  name: string,
  row: Row,
  columns: readonly Column[],
): Promise<void> {
  const types = columns.map((c) => c.dtype);
  const root = apply(name, ...types.map((_, k) => input(k)));
  const got = await runner.run(root, columns);
  const label = `${name} of ${types} in ${dtypeOf(root, types)}`;
  assertAll(got.length, (i) => {
    const args = columns.map((c) => c.data[i]);
    const want = expected(row, types, args);
    return got[i] === want ? null : `${label}(${args}) gave ${got[i]}, expected ${want}`;
  });
}

for (const dtype of ["i32", "u32", "bool"] as const) {
  onDevice(`rows that take integers are exact on ${dtype}`, async (runner, t) => {
    for (const [name, row] of rows) {
      await t.step(name, () => {
        const types: DType[] = Array.from({ length: row.arity }, () => dtype);
        if (row.kind === "select") types[0] = "bool";
        return check(runner, name, row, columnsOf(types, combinations(row.arity)));
      });
    }
  });
}

onDevice("rows widen mixed integer types", async (runner) => {
  const values = combinations(2);
  for (const types of [["i32", "u32"], ["u32", "bool"], ["bool", "i32"]] as DType[][]) {
    for (const name of ["add", "mul", "maximum", "lt", "eq", "logicalXor"] as const) {
      await check(runner, name, table[name], columnsOf(types, values));
    }
  }
});

onDevice("float rows convert integers to f32 first", async (runner) => {
  const [a, b] = combinations(2);
  for (const dtype of ["i32", "u32", "bool"] as const) {
    const columns = columnsOf([dtype, dtype], [a, b]);
    const quotients = await runner.run(apply("div", input(0), input(1)), columns);
    const roots = await runner.run(apply("tanh", input(0)), columns);
    assert(quotients instanceof Float32Array && roots instanceof Float32Array);
    const [x, y] = columns.map((c) => Float32Array.from(c.data));
    assertAll(x.length, (i) => {
      const want = Math.fround(x[i] / y[i]);
      const good = Object.is(quotients[i] + 0, want + 0) ||
        Math.abs(quotients[i] - want) <= 6e-7 * Math.abs(want);
      return good ? null : `${x[i]} / ${y[i]} gave ${quotients[i]}, expected ${want}`;
    });
    assertAll(
      x.length,
      (i) =>
        Math.abs(roots[i] - Math.tanh(x[i])) <= 1e-6
          ? null
          : `tanh(${x[i]}) gave ${roots[i]}, expected ${Math.tanh(x[i])}`,
    );
  }
});

/** Results of PyTorch 1.13 on integers. */
const vectors: [string, number[], number[], number[]][] = [
  ["remainder", [7, -7, 7, -7], [2, 2, -2, -2], [1, 1, -1, -1]],
  ["fmod", [7, -7, 7, -7], [2, 2, -2, -2], [1, -1, 1, -1]],
  ["floorDivide", [7, -7, 7, -7], [2, 2, -2, -2], [3, -4, -4, 3]],
  ["pow", [2, -1, -1, 1, 0, -2, 3], [-1, -3, -2, -5, -1, 3, 4], [0, -1, 1, 1, 0, -8, 81]],
];

onDevice("integer division, remainders and powers have PyTorch's signs", async (runner) => {
  for (const [name, a, b, want] of vectors) {
    const columns = columnsOf(["i32", "i32"], [a, b]);
    const got = await runner.run(apply(name, input(0), input(1)), columns);
    assertEquals([...got], want, name);
  }
});
