import { assertEquals } from "@std/assert";
import {
  apply,
  constant,
  differentiate,
  dtypeOf,
  type Expr,
  input,
  substitute,
  topological,
} from "../../kernels/expr.ts";
import { evaluator } from "../../kernels/expr_code.ts";
import type { Row } from "../../kernels/rows/row.ts";
import { table } from "../../kernels/table.ts";
import type { DType } from "../../kernels/types.ts";
import { agrees, allowedBy, argumentsOf, flushed, keyed, SMALLEST, SPECIALS } from "./points.ts";
import { assertAll, columnsOf, floats, onDevice, type Runner } from "./runner.ts";

const rows = Object.entries(table) as [string, Row][];
const POINTS = 4096;
const LARGEST = 3.4e38;

function typesOf(row: Row): DType[] {
  return Array.from({ length: row.arity }, (_, k) => row.kind === "select" && !k ? "bool" : "f32");
}

function call(name: string, row: Row): Expr {
  return apply(name, ...Array.from({ length: row.arity }, (_, k) => input(k)));
}

/** True where a step of the formula leaves the range of f32. */
function overflows(root: Expr, types: readonly DType[], args: readonly number[]): boolean {
  return topological(root).some((e) => {
    const value = Math.abs(evaluator(e, types)(args, []));
    return value > LARGEST && value < Infinity;
  });
}

/** The formula on a device that takes every subnormal number that arises on the way as 0. */
function flushing(root: Expr, types: readonly DType[]): (args: readonly number[]) => number {
  const order = topological(root);
  const at = new Map(order.map((e, n) => [e.key, n]));
  const steps = order.map((e) => {
    if (e.kind !== "op") return { from: null, f: evaluator(e, types) };
    const row = apply(e.op, ...e.args.map((_, k) => input(k)));
    const f = evaluator(row, e.args.map((a) => dtypeOf(a, types)));
    return { from: e.args.map((a) => at.get(a.key)!), f };
  });
  return (args) => {
    const values: number[] = [];
    for (const { from, f } of steps) {
      const value = f(from === null ? args : from.map((n) => values[n]), []);
      values.push(Math.abs(value) < SMALLEST ? 0 * value : value);
    }
    return values[values.length - 1];
  };
}

/** `a + c·(b − a)` overflows where `b − a` does, as in PyTorch. */
function lerpOverflows([a, b, c]: readonly number[]): boolean {
  const largest = Math.abs(b - a) * Math.max(1, Math.abs(c), Math.abs(1 - c));
  return largest > LARGEST && largest < Infinity;
}

onDevice("rows match their references on drawn and special values", async (runner, t) => {
  for (const [name, row] of rows) {
    await t.step(name, async () => {
      const columns = columnsOf(typesOf(row), argumentsOf(name, row.arity, POINTS));
      const got = await runner.run(call(name, row), columns);
      assertAll(got.length, (i) => {
        const args = columns.map((column) => column.data[i]);
        if (name === "lerp" && lerpOverflows(args)) return null;
        // PyTorch refuses an α of 0, and devices take subnormal ones for it.
        if (name === "celu" && Math.abs(args[1]) < SMALLEST) return null;
        const wants = flushed(args).map((a) => row.ref(a[0], a[1], a[2]));
        return agrees(got[i], wants, allowedBy(row, args))
          ? null
          : `${name}(${args}) gave ${got[i]}, expected ${wants}`;
      });
    });
  }
});

onDevice(
  "rows of all sizes: sin(), cos() and tan() reduce arguments up to 3e38",
  async (runner) => {
    const x = Array.from(
      { length: POINTS },
      (_, n) => (n % 2 ? 1 : -1) * 10 ** (38.5 * keyed(5, n)),
    );
    for (const name of ["sin", "cos", "tan"] as const) {
      const column = floats(x);
      const got = await runner.run(apply(name, input(0)), [column]);
      const allowed = (want: number) => 1e-6 * Math.abs(want);
      assertAll(POINTS, (i) => {
        const want = table[name].ref(column.data[i], 0, 0);
        return agrees(got[i], [want], allowed)
          ? null
          : `${name}(${column.data[i]}) gave ${got[i]}, expected ${want}`;
      });
    }
  },
);

onDevice("gradient formulas match their references", async (runner, t) => {
  for (const [name, row] of rows) {
    if (typeof row.grad === "string") continue;
    await t.step(name, () => checkGradient(runner, name, row));
  }
});

/** Runs the gradient as backward does, on the forward result, at 4 times the row's tolerance. */
async function checkGradient(runner: Runner, name: string, row: Row): Promise<void> {
  const n = row.arity;
  const types = typesOf(row);
  const root = call(name, row);
  const columns = columnsOf(types, argumentsOf(name, n, POINTS));
  const count = columns[0].data.length;
  const g = floats(Array.from({ length: count }, (_, i) => 4 * keyed(99, i) - 2));
  const y = floats(await runner.run(root, columns));
  const all = [...columns, g, y];
  const gradients = differentiate(root, types, input(n));
  const withG: DType[] = [...types, "f32"];
  const [rel, abs] = [
    4 * Math.max(row.tolerance.rel, 1.2e-7),
    4 * Math.max(row.tolerance.abs, 1e-7),
  ];
  for (let k = 0; k < n; k++) {
    const gradient = gradients[k];
    if (gradient === null) continue;
    const reference = evaluator(gradient, withG);
    const onHardware = flushing(gradient, withG);
    const onResult = substitute(gradient, (e) => e.key === root.key ? input(n + 1) : undefined);
    const got = await runner.run(onResult, all);
    assertAll(count, (i) => {
      const args = all.slice(0, n + 1).map((column) => column.data[i]);
      const wants = [...flushed(args).map((a) => reference(a, [])), onHardware(args)];
      if (!wants.every(Number.isFinite)) return null;
      const good = agrees(got[i], wants, (want) => abs + rel * Math.abs(want));
      return good || overflows(gradient, withG, args)
        ? null
        : `argument ${k} of ${name}(${args}) gave ${got[i]}, expected ${wants}`;
    });
  }
}

onDevice("comparisons of a tensor with itself tell NaN apart", async (runner) => {
  const column = floats(SPECIALS);
  const wants: Record<string, (x: number) => boolean> = {
    eq: (x) => !Number.isNaN(x),
    ge: (x) => !Number.isNaN(x),
    le: (x) => !Number.isNaN(x),
    ne: (x) => Number.isNaN(x),
    gt: () => false,
    lt: () => false,
  };
  for (const [name, want] of Object.entries(wants)) {
    const got = await runner.run(apply(name, input(0), input(0)), [column]);
    assertEquals([...got], SPECIALS.map((x) => Number(want(x))), name);
  }
});

onDevice("numbers count as true in conditions unless they are 0", async (runner) => {
  const column = floats(SPECIALS);
  const both = apply("logicalAnd", input(0), input(0));
  const choice = apply("where", input(0), constant(2), constant(-3));
  const truth = SPECIALS.map((x) => Math.abs(x) > 2 ** -126 || Number.isNaN(x));
  const [flags, chosen] = [await runner.run(both, [column]), await runner.run(choice, [column])];
  SPECIALS.forEach((x, i) => {
    if (x !== 0 && Math.abs(x) < 2 ** -126) return;
    assertEquals([flags[i], chosen[i]], truth[i] ? [1, 2] : [0, -3], `${x}`);
  });
});

onDevice("rows of two arguments take a constant on either side", async (runner, t) => {
  const x = Array.from({ length: 256 }, (_, n) => 8 * keyed(3, n) - 4);
  const column = floats(x);
  for (const [name, row] of rows) {
    if (row.arity !== 2) continue;
    await t.step(name, async () => {
      for (const left of [false, true]) {
        for (const value of left ? [-1.5, Infinity] : [-1.5, 0, -Infinity, NaN]) {
          const args = left ? [constant(value), input(0)] : [input(0), constant(value)];
          const got = await runner.run(apply(name, ...args), [column]);
          assertAll(x.length, (i) => {
            const pair = left ? [value, column.data[i]] : [column.data[i], value];
            const want = row.ref(pair[0], pair[1], 0);
            return agrees(got[i], [want], allowedBy(row, pair))
              ? null
              : `${name}(${pair}) gave ${got[i]}, expected ${want}`;
          });
        }
      }
    });
  }
});

/** A formula of exact rows over three columns of small whole numbers; NaN arises on the way. */
function exactFormula(seed: number): Expr {
  const unary = ["neg", "abs", "relu", "sign", "floor", "square", "relu6", "hardtanh"];
  const binary = ["add", "sub", "maximum", "minimum", "fmod", "remainder", "softshrink"];
  const compare = ["eq", "ne", "lt", "le", "gt", "ge"];
  const pick = <T>(from: readonly T[], n: number) => from[Math.floor(keyed(seed, n) * from.length)];
  const numbers: Expr[] = [input(0), input(1), input(2), constant(-3), constant(0)];
  for (let n = 0; n < 10; n++) {
    const [a, b, c] = [0, 1, 2].map((k) => pick(numbers, 10 * n + k));
    const kind = keyed(seed, 10 * n + 3);
    // Compilers take x - x for 0, also where x is NaN.
    const two = a.key === b.key ? "add" : pick(binary, 10 * n + 4);
    const condition = apply(pick(compare, 10 * n + 4), a, b);
    numbers.push(
      kind < 0.35
        ? apply(pick(unary, 10 * n + 4), a)
        : kind < 0.8
        ? apply(two, a, b)
        : apply("where", condition, c, apply("add", a, b)),
    );
  }
  return apply("add", input(0), numbers[numbers.length - 1]);
}

onDevice("40 random formulas of exact rows give the bits of the reference", async (runner) => {
  const types: DType[] = ["f32", "f32", "f32"];
  const columns = types.map((_, k) =>
    floats(Array.from({ length: 1024 }, (_, n) => Math.floor(17 * keyed(k + 1, n)) - 8))
  );
  for (let seed = 0; seed < 40; seed++) {
    const root = exactFormula(seed);
    const f = evaluator(root, types);
    const got = await runner.run(root, columns);
    assertAll(got.length, (i) => {
      const args = columns.map((column) => column.data[i]);
      const want = f(args, []);
      // Above 2^24, sums of whole numbers round.
      return Math.abs(want) > 2 ** 24 || agrees(got[i], [want], () => 0)
        ? null
        : `seed ${seed}, ${root.key} at ${args}: ${got[i]}, expected ${want}`;
    });
  }
});
