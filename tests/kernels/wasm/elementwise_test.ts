import {
  apply,
  cast,
  computeType,
  constant,
  differentiate,
  dtypeOf,
  type Expr,
  input,
  scalar,
  substitute,
  topological,
} from "../../../kernels/expr.ts";
import { coerced, evaluator } from "../../../kernels/expr_code.ts";
import { mapKernel, type StridedOperand } from "../../../kernels/map.ts";
import type { Row } from "../../../kernels/rows/row.ts";
import { table } from "../../../kernels/table.ts";
import type { DType } from "../../../kernels/types.ts";
import { agrees, allowedBy, argumentsOf, flushed, INTEGERS, keyed } from "../points.ts";
import {
  assertAll,
  check,
  dense,
  HALF,
  integers,
  SAME,
  strided,
  values,
  valuesOf,
} from "./cases.ts";
import { rounded, runKernel } from "./runner.ts";

const rows = Object.entries(table) as [string, Row][];
const POINTS = 1024;
const LARGEST = 3.4e38;

function typesOf(row: Row, dtype: DType = "f32"): DType[] {
  return Array.from({ length: row.arity }, (_, k) => row.kind === "select" && !k ? "bool" : dtype);
}

function call(name: string, row: Row): Expr {
  return apply(name, ...Array.from({ length: row.arity }, (_, k) => input(k)));
}

/** The formula over dense columns: so many elements that it runs on four lanes, or one less. */
function run(
  root: Expr,
  types: readonly DType[],
  columns: readonly ArrayLike<number>[],
  wide: boolean,
) {
  const length = columns[0].length;
  const count = length - length % 4 - (wide ? 0 : 1);
  const output: StridedOperand = dense([count], dtypeOf(root, types));
  const kernel = mapKernel({
    expr: root,
    shape: [count],
    inputs: types.map((t) => dense([count], t)),
    output,
    scalars: [],
  });
  const inputs = columns.map((c) => Array.from(c).slice(0, count));
  return runKernel(kernel, { inputs, outputs: [new Float64Array(count)] })[0];
}

for (const wide of [true, false]) {
  const how = wide ? "on four lanes" : "one by one";

  Deno.test(`rows match their references ${how}`, async (t) => {
    for (const [name, row] of rows) {
      await t.step(name, () => {
        const types = typesOf(row);
        const columns = argumentsOf(name, row.arity, POINTS)
          .map((column, k) =>
            rounded(types[k], column.map((x) => types[k] === "bool" ? Number(x !== 0) : x))
          );
        const got = run(call(name, row), types, columns, wide);
        assertAll(got.length, (i) => {
          const args = columns.map((column) => column[i]);
          if (name === "lerp" && overflows(args)) return null;
          const wants = flushed(args).map((a) => row.ref(a[0], a[1], a[2]));
          return agrees(got[i], wants, allowedBy(row, args))
            ? null
            : `${name}(${args}) gave ${got[i]}, expected ${wants}`;
        });
      });
    }
  });

  Deno.test(`gradient formulas match their references ${how}`, async (t) => {
    for (const [name, row] of rows) {
      if (typeof row.grad !== "string") await t.step(name, () => checkGradients(name, row, wide));
    }
  });

  for (const dtype of ["i32", "u32", "bool"] as const) {
    Deno.test(`rows that take integers are exact on ${dtype} ${how}`, async (t) => {
      for (const [name, row] of rows) {
        if (row.kind !== "float") await t.step(name, () => checkIntegers(name, row, dtype, wide));
      }
    });
  }
}

/** `a + c·(b − a)` overflows where `b − a` does, as in PyTorch. */
function overflows([a, b, c]: readonly number[]): boolean {
  const largest = Math.abs(b - a) * Math.max(1, Math.abs(c), Math.abs(1 - c));
  return largest > LARGEST && largest < Infinity;
}

/** As backward runs them, on the forward result, at 4 times the row's tolerance. */
function checkGradients(name: string, row: Row, wide: boolean): void {
  const n = row.arity;
  const types = typesOf(row);
  const root = call(name, row);
  const columns = argumentsOf(name, n, POINTS)
    .map((column, k) =>
      rounded(types[k], column.map((x) => types[k] === "bool" ? Number(x !== 0) : x))
    );
  const count = columns[0].length - columns[0].length % 4;
  const g = rounded("f32", Array.from({ length: count }, (_, i) => 4 * keyed(99, i) - 2));
  const y = run(root, types, columns, true);
  const all = [...columns, g, y].map((column) => column.slice(0, count));
  const withG: DType[] = [...types, "f32"];
  const [rel, abs] = [
    4 * Math.max(row.tolerance.rel, 1.2e-7),
    4 * Math.max(row.tolerance.abs, 1e-7),
  ];
  differentiate(root, types, input(n)).forEach((gradient, k) => {
    if (gradient === null) return;
    const reference = evaluator(gradient, withG);
    const onResult = substitute(gradient, (e) => e.key === root.key ? input(n + 1) : undefined);
    const got = run(onResult, [...withG, "f32"], all, wide);
    assertAll(got.length, (i) => {
      const args = all.slice(0, n + 1).map((column) => column[i]);
      const wants = flushed(args).map((a) => reference(a, []));
      const large = topological(gradient).some((e) => {
        const value = Math.abs(evaluator(e, withG)(args, []));
        return value > LARGEST && value < Infinity;
      });
      if (large || !wants.every(Number.isFinite)) return null;
      return agrees(got[i], wants, (want) => abs + rel * Math.abs(want))
        ? null
        : `argument ${k} of ${name}(${args}) gave ${got[i]}, expected ${wants}`;
    });
  });
}

function checkIntegers(name: string, row: Row, dtype: DType, wide: boolean): void {
  const types = typesOf(row, dtype);
  const some = INTEGERS.filter((_, i) => row.arity < 3 || i % 2 === 0);
  const columns = types.map((type, k) =>
    rounded(
      type,
      Array.from({ length: some.length ** row.arity }, (_, n) => {
        const value = some[Math.floor(n / some.length ** k) % some.length];
        return type === "bool" ? Number(value !== 0) : value;
      }),
    )
  );
  const got = run(call(name, row), types, columns, wide);
  const within = computeType(row, types);
  assertAll(got.length, (i) => {
    const args = columns.map((column) => column[i]);
    const inType = args.map((a, k) =>
      row.kind === "logic" || (row.kind === "select" && k === 0)
        ? Number(a !== 0)
        : coerced(a, within)
    );
    const value = (row.refInt ?? row.ref)(inType[0], inType[1], inType[2]);
    const want = row.kind === "compare" || row.kind === "logic" ? value : coerced(value, within);
    return got[i] === want ? null : `${name} of ${types}(${args}) gave ${got[i]}, expected ${want}`;
  });
}

/** A longer formula of several rows. */
const formula = apply(
  "add",
  apply("mul", apply("sigmoid", input(0)), input(1)),
  apply("where", apply("gt", input(0), input(1)), constant(2), apply("exp", input(1))),
);

Deno.test("maps read any strides and offsets, backwards too", () => {
  const shapes: [number[], StridedOperand[], StridedOperand][] = [
    [[7, 13], [dense([7, 13]), strided([0, 1], 2)], dense([7, 13])],
    [[7, 12], [strided([16, 1], 4), strided([1, 7])], dense([7, 12])],
    [[7, 12], [strided([13, 1], 3), strided([0, 0], 1)], strided([12, 1], 8)],
    [[5, 4, 3], [strided([12, 3, 1]), strided([1, 5, 20])], strided([1, 5, 20])],
    [[6, 8], [strided([-8, -1], 47), strided([8, 1])], dense([6, 8])],
    [[1], [dense([1]), dense([1])], dense([1])],
    [[], [strided([], 3), strided([])], strided([])],
    [[257], [dense([257]), strided([2])], dense([257])],
  ];
  for (const [shape, inputs, output] of shapes) {
    check({
      kernel: mapKernel({ expr: formula, shape, inputs, output, scalars: [] }),
      inputs: [values(800, 1), values(800, 2)],
      outputs: [600],
    });
  }
});

Deno.test("maps of four lanes gather what does not lie in vectors", () => {
  for (const dtype of ["f32", "i32", "u32", "bool", "f16"] as const) {
    for (const [step, offset] of [[1, 1], [3, 0], [-1, 63], [0, 5]]) {
      check({
        kernel: mapKernel({
          expr: apply("mul", input(0), input(1)),
          shape: [64],
          inputs: [dense([64]), strided([step], offset, dtype)],
          output: dense([64]),
          scalars: [],
        }),
        inputs: [values(64, 1), valuesOf(dtype, 256, 2)],
        outputs: [64],
      });
    }
  }
});

Deno.test("maps convert between all types", () => {
  const types: DType[] = ["f32", "f16", "i32", "u32", "bool"];
  for (const from of types) {
    for (const to of types) {
      for (const count of [64, 31]) {
        const isFloat = from === "f32" || from === "f16";
        const drawn = valuesOf(from, count, 3).map((x) => isFloat ? 40 * x : x);
        const safe = to === "u32" ? drawn.map(Math.abs) : drawn;
        check({
          kernel: mapKernel({
            expr: cast(input(0), to === "f16" ? "f32" : to),
            shape: [count],
            inputs: [dense([count], from)],
            output: dense([count], to),
            scalars: [],
          }),
          inputs: [safe],
          outputs: [count],
          bounds: to === "f16" ? HALF : SAME,
        });
      }
    }
  }
});

Deno.test("maps read run-time numbers, work in place and store several results", () => {
  for (const count of [32, 29]) {
    const o = dense([count]);
    const expr = apply("add", apply("mul", input(0), scalar(0, "f32")), scalar(1, "f32"));
    check({
      kernel: mapKernel({ expr, shape: [count], inputs: [o], output: o, scalars: ["f32", "f32"] }),
      inputs: [values(count, 1)],
      outputs: [count],
      scalars: [2.5, -0.75],
    });
    const also = [{ expr: apply("sub", input(1), input(0)), output: dense([count]) }];
    check({
      kernel: mapKernel({
        expr: apply("add", input(0), input(1)),
        shape: [count],
        inputs: [o],
        output: o,
        scalars: [],
        inPlace: true,
        also,
      }),
      inputs: [values(count, 1)],
      outputs: [values(count, 2), count],
    });
  }
});

Deno.test("maps of 16-bit floats round to nearest even", () => {
  for (const count of [256, 251]) {
    check({
      kernel: mapKernel({
        expr: apply("mul", input(0), input(1)),
        shape: [count],
        inputs: [dense([count], "f16"), dense([count], "f16")],
        output: dense([count], "f16"),
        scalars: [],
      }),
      inputs: [values(count, 1, -300, 300), values(count, 2, -300, 300)],
      outputs: [count],
      bounds: SAME,
    });
  }
});

Deno.test("the results of four lanes are the bits of single elements", () => {
  for (const name of ["exp", "log", "tanh", "erf", "sin", "gelu", "asinh", "softplus"]) {
    const x = [...argumentsOf(name, 1, POINTS)[0], ...integers(64, 5, -9, 9)];
    const root = apply(name, input(0));
    const [wide, single] = [true, false].map((lanes) =>
      run(root, ["f32"], [rounded("f32", x)], lanes)
    );
    assertAll(
      single.length,
      (i) => Object.is(single[i], wide[i]) ? null : `${name}(${x[i]}): ${single[i]} or ${wide[i]}`,
    );
  }
});
