import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { apply, differentiate, type Expr, input } from "../../kernels/expr.ts";
import { evaluator } from "../../kernels/expr_code.ts";
import type { Row } from "../../kernels/rows/row.ts";
import { erf, erfc, roundHalfEven } from "../../kernels/special.ts";
import { table } from "../../kernels/table.ts";
import type { DType } from "../../kernels/types.ts";
import { keyed } from "./points.ts";

const rows = Object.entries(table) as [string, Row][];
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

function typesOf(row: Row): DType[] {
  const types: DType[] = ["f32", "f32", "f32"];
  if (row.kind === "select") types[0] = "bool";
  return types.slice(0, row.arity);
}

/** Central difference along one coordinate. */
function slope(f: (x: readonly number[]) => number, x: readonly number[], k: number): number {
  const h = 1e-5 * Math.max(1, Math.abs(x[k]));
  const at = (d: number) => f(x.map((v, i) => (i === k ? v + d : v)));
  return (at(h) - at(-h)) / (2 * h);
}

/** Compares gradients with central differences of `f` times the cotangent, the last of `x`. */
function checkGradients(
  name: string,
  f: (x: readonly number[]) => number,
  gradients: readonly (Expr | null)[],
  types: readonly DType[],
  x: readonly number[],
): void {
  gradients.forEach((gradient, k) => {
    if (types[k] !== "f32") return assertEquals(gradient, null);
    const cotangent = x[x.length - 1];
    const want = slope((v) => f(v) * cotangent, x.slice(0, -1), k);
    const got = gradient === null ? 0 : evaluator(gradient, [...types, "f32"])(x, []);
    const bound = 1e-6 * Math.max(1, Math.abs(want));
    assertAlmostEquals(got, want, bound, `${name} in argument ${k} at [${x}]`);
  });
}

Deno.test("table holds at least 60 rows, each with a sentence, samples and a source", () => {
  assert(rows.length >= 60, `${rows.length} rows`);
  for (const [name, row] of rows) {
    assert(row.doc.endsWith("."), `${name}: ${row.doc}`);
    assert(row.source.length > 0 && row.samples.length > 0, name);
    for (const sample of row.samples) assertEquals(sample.length, row.arity, name);
  }
});

Deno.test("table differentiates every row as central differences do, twice", async (t) => {
  for (const [name, row] of rows) {
    if (typeof row.grad === "string") continue;
    await t.step(name, () => {
      const types = typesOf(row);
      const n = row.arity;
      const root = apply(name, ...types.map((_, k) => input(k)));
      const first = differentiate(root, types, input(n));
      const withG: DType[] = [...types, "f32"];
      for (const sample of row.samples) {
        const f = (v: readonly number[]) => row.ref(v[0], v[1], v[2]);
        checkGradients(name, f, first, types, [...sample, 0.7]);
        for (const gradient of first) {
          if (gradient === null) continue;
          const g = evaluator(gradient, withG);
          const second = differentiate(gradient, withG, input(n + 1));
          const x = [...sample, 0.7, -1.3];
          checkGradients(`${name} twice`, (v) => g(v, []), second, withG, x);
        }
      }
    });
  }
});

Deno.test("table gives a reason where it has no rule, for discrete results alone", () => {
  const without = rows.filter(([, row]) => typeof row.grad === "string").map(([name]) => name);
  const comparisons = ["eq", "ne", "gt", "ge", "lt", "le"];
  const logic = ["logicalAnd", "logicalOr", "logicalXor", "logicalNot"];
  assertEquals(without, [...comparisons, ...logic, "isNan", "isInf", "isFinite"]);
});

/** Gradients of PyTorch 1.13 where a derivative is a choice: row, arguments, gradients. */
const corners: [string, number[], (number | null)[]][] = [
  ["maximum", [1, 1], [0.5, 0.5]],
  ["maximum", [2, 0], [1, 0]],
  ["minimum", [1, 1], [0.5, 0.5]],
  ["abs", [0], [0]],
  ["sign", [0], [0]],
  ["relu", [0], [0]],
  ["relu6", [0], [0]],
  ["relu6", [6], [0]],
  ["hardtanh", [-1], [0]],
  ["hardtanh", [1], [0]],
  ["hardsigmoid", [-3], [0]],
  ["hardsigmoid", [3], [0]],
  ["hardswish", [-3], [-0.5]],
  ["hardswish", [3], [1.5]],
  ["hardswish", [-3.0001], [0]],
  ["hardswish", [3.0001], [1]],
  ["leakyRelu", [0, 0.25], [0.25, 0]],
  ["leakyRelu", [-1, 0.25], [0.25, -1]],
  ["elu", [0, 0.5], [0.5, 0]],
  ["celu", [0, 0.5], [1, 0]],
  ["selu", [0], [1.7580993408473768]],
  ["hardshrink", [0.5, 0.5], [0, 0]],
  ["softshrink", [-0.5, 0.5], [0, 0]],
  ["clamp", [1, 1, 2], [1, 0, 0]],
  ["clamp", [2, 1, 2], [1, 0, 0]],
  ["clamp", [0, 1, 2], [0, 1, 0]],
  ["clamp", [3, 1, 2], [0, 0, 1]],
  ["clamp", [5, 3, 1], [0, 0, 1]],
  ["clamp", [0.5, 2, 1], [0, 0, 1]],
  ["pow", [0, 2], [0, 0]],
  ["pow", [0, 1], [1, 0]],
  ["pow", [0, 0], [0, 0]],
  ["pow", [0, 0.5], [inf, 0]],
  ["pow", [-2, 2], [-4, nan]],
  ["pow", [2, 0], [0, 0.6931471805599453]],
  ["xlogy", [0, 0], [0, nan]],
  ["xlogy", [0, 2], [0.6931471805599453, 0]],
  ["remainder", [5.5, 2], [1, -2]],
  ["remainder", [-5.5, 2], [1, 3]],
  ["fmod", [-5.5, 2], [1, 2]],
  ["floorDivide", [5.5, 2], [0, 0]],
  ["round", [1.5], [0]],
  ["frac", [1.5], [1]],
  ["sqrt", [0], [inf]],
];

Deno.test("gradients take PyTorch's choice at kinks and poles", async (t) => {
  for (const [name, args, want] of corners) {
    await t.step(`${name}(${args})`, () => {
      const types: DType[] = args.map(() => "f32");
      const root = apply(name, ...args.map((_, k) => input(k)));
      const got = differentiate(root, types, input(args.length))
        .map((e) => e && evaluator(e, [...types, "f32"])([...args, 1], []));
      got.forEach((value, k) => assertAlmostEquals(value ?? nan, want[k] ?? nan, 1e-12));
    });
  }
});

Deno.test("hypot() has the derivative 0 at the origin", () => {
  const gradients = differentiate(apply("hypot", input(0), input(1)), ["f32", "f32"], input(2));
  for (const e of gradients) assertEquals(evaluator(e!, ["f32", "f32", "f32"])([0, 0, 1], []), 0);
});

/** Results of PyTorch 1.13 at special values: row, arguments, result. */
const results: [string, number[], number][] = [
  ["sign", [nan], 0],
  ["sign", [-inf], -1],
  ["remainder", [5, inf], 5],
  ["remainder", [-5, inf], inf],
  ["remainder", [inf, 2], nan],
  ["remainder", [5, 0], nan],
  ["remainder", [-5.5, 2], 0.5],
  ["remainder", [5.5, -2], -0.5],
  ["fmod", [-5, inf], -5],
  ["fmod", [-5.5, 2], -1.5],
  ["floorDivide", [-5, inf], -1],
  ["floorDivide", [5, -inf], -1],
  ["floorDivide", [5, 0], inf],
  ["floorDivide", [-5, 0], -inf],
  ["floorDivide", [0, 0], nan],
  ["pow", [1, nan], 1],
  ["pow", [nan, 0], 1],
  ["pow", [-1, inf], 1],
  ["pow", [-1, -inf], 1],
  ["pow", [-0, -1], -inf],
  ["pow", [-0, -2], inf],
  ["pow", [inf, -1], 0],
  ["pow", [-inf, 3], -inf],
  ["pow", [-inf, 2], inf],
  ["pow", [-2, 0.5], nan],
  ["hypot", [inf, nan], inf],
  ["logaddexp", [inf, inf], inf],
  ["logaddexp", [-inf, -inf], -inf],
  ["logaddexp", [inf, -inf], inf],
  ["xlogy", [0, nan], nan],
  ["xlogy", [0, -1], 0],
  ["xlogy", [0, inf], 0],
  ["xlogy", [1, 0], -inf],
  ["atan2", [0, -0], 3.141592653589793],
  ["atan2", [inf, -inf], 2.356194490192345],
  ["clamp", [1, nan, 2], nan],
  ["clamp", [1, 0, nan], nan],
  ["clamp", [5, 3, 1], 1],
  ["frac", [inf], nan],
  ["gelu", [-inf], nan],
  ["silu", [-inf], nan],
  ["mish", [-inf], nan],
  ["mish", [inf], inf],
  ["logSigmoid", [-inf], -inf],
  ["softplus", [inf], inf],
  ["softsign", [inf], nan],
  ["hardswish", [-inf], nan],
  ["tanhshrink", [-1000], -999],
  ["elu", [-inf, 1], -1],
  ["round", [0.5], 0],
  ["round", [-2.5], -2],
  ["round", [3.5], 4],
  ["logicalNot", [nan], 0],
  ["logicalXor", [nan, 0], 1],
];

Deno.test("references give PyTorch's results at special values", () => {
  for (const [name, args, want] of results) {
    const row = (table as Record<string, Row>)[name];
    assertAlmostEquals(row.ref(args[0], args[1], args[2]), want, 1e-15, `${name}(${args})`);
  }
});

Deno.test("erf() and erfc() match values of 30 digits", () => {
  const values = [
    [1e-10, 1.1283791670955126e-10, 0.99999999988716208],
    [0.5, 0.52049987781304654, 0.47950012218695346],
    [1, 0.84270079294971487, 0.15729920705028513],
    [2.4, 0.99931148610335492, 0.00068851389664507857],
    [2.6, 0.99976396558347065, 0.00023603441652934921],
    [5, 0.99999999999846254, 1.5374597944280349e-12],
    [10, 1, 2.0884875837625448e-45],
  ];
  for (const [x, e, ec] of values) {
    assertAlmostEquals(erf(x), e, 2e-16 + 1e-15 * e);
    assertAlmostEquals(erf(-x), -e, 2e-16 + 1e-15 * e);
    assertAlmostEquals(erfc(x), ec, 1e-12 * ec);
    assertAlmostEquals(erfc(-x), 1 + e, 1e-15);
  }
  assertEquals([erf(0), erf(inf), erf(-inf), erfc(inf), erfc(-inf)], [0, 1, -1, 0, 2]);
  assertEquals([erf(nan), erfc(nan)], [nan, nan]);
});

Deno.test("roundHalfEven() keeps large numbers and NaN", () => {
  const values = [2 ** 53 - 1, -(2 ** 52) - 1, 1e300, inf, -inf, nan];
  assertEquals(values.map(roundHalfEven), values);
});

/** A formula of smooth rows over three inputs, in which subformulas are used again. */
function smoothFormula(seed: number): Expr {
  const unary = ["tanh", "sin", "sigmoid", "atan", "erf", "softplus", "asinh", "cos", "gelu"];
  const binary = ["add", "sub", "mul", "logaddexp", "hypot"];
  const pool: Expr[] = [input(0), input(1), input(2)];
  const pick = <T>(from: readonly T[], n: number) => from[Math.floor(keyed(seed, n) * from.length)];
  for (let n = 0; n < 7; n++) {
    const [a, b] = [pick(pool, 10 * n), pick(pool, 10 * n + 1)];
    pool.push(
      keyed(seed, 10 * n + 2) < 0.5
        ? apply(pick(unary, 10 * n + 3), a)
        : apply(pick(binary, 10 * n + 4), a, b),
    );
  }
  return apply("add", pool[pool.length - 1], apply("mul", pool[pool.length - 2], pool[3]));
}

Deno.test("differentiate() holds for 300 random formulas with shared parts", () => {
  const types: DType[] = ["f32", "f32", "f32"];
  for (let seed = 0; seed < 300; seed++) {
    const root = smoothFormula(seed);
    const f = evaluator(root, types);
    const x = [0.4, -1.1, 0.8].map((v, i) => v + 0.5 * keyed(seed, 100 + i));
    const gradients = differentiate(root, types, input(3));
    const name = `seed ${seed}: ${root.key}`;
    checkGradients(name, (v) => f(v, []), gradients, types, [...x, 1.5]);
  }
});
