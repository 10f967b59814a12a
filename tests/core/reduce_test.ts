import { assertEquals, assertThrows } from "@std/assert";
import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import { assertClose, randomValues } from "../util.ts";
import { devices, hardwareKernels, kernelSets } from "./devices.ts";
import { indices, laidOut, type LayoutName, layoutNames, type Plain, plainOf } from "./plain.ts";

const all = hardwareKernels === null ? devices : [...devices, hardwareKernels];
const label = (device: Device) =>
  device === hardwareKernels ? "webgpu with the kernels for hardware" : device.kind;

type Fold = (values: readonly number[]) => number;

const sum: Fold = (v) => v.reduce((a, b) => a + b, 0);
const mean: Fold = (v) => sum(v) / v.length;
const variance = (v: readonly number[], correction: number) =>
  sum(v.map((x) => (x - mean(v)) ** 2)) / Math.max(0, v.length - correction);

interface Reduction {
  readonly name: string;
  readonly op: (t: Tensor, dim: readonly number[], keepdim: boolean) => Tensor;
  readonly fold: Fold;
}

const reductions: Reduction[] = [
  { name: "sum", op: (t, d, keepdim) => t.sum(d, { keepdim }), fold: sum },
  { name: "mean", op: (t, d, keepdim) => t.mean(d, { keepdim }), fold: mean },
  {
    name: "prod",
    op: (t, d, keepdim) => t.prod(d, { keepdim }),
    fold: (v) => v.reduce((a, b) => a * b, 1),
  },
  { name: "max", op: (t, d, keepdim) => t.max(d, { keepdim }), fold: (v) => Math.max(...v) },
  { name: "min", op: (t, d, keepdim) => t.min(d, { keepdim }), fold: (v) => Math.min(...v) },
  { name: "var", op: (t, d, keepdim) => t.var(d, { keepdim }), fold: (v) => variance(v, 1) },
  {
    name: "std",
    op: (t, d, keepdim) => t.std(d, { keepdim, correction: 0 }),
    fold: (v) => Math.sqrt(variance(v, 0)),
  },
  {
    name: "logsumexp",
    op: (t, d, keepdim) => t.logsumexp(d, { keepdim }),
    fold: (v) => Math.log(sum(v.map(Math.exp))),
  },
  {
    name: "any",
    op: (t, d, keepdim) => t.gt(0.9).any(d, { keepdim }),
    fold: (v) => Number(v.some((x) => x > 0.9)),
  },
  {
    name: "all",
    op: (t, d, keepdim) => t.lt(0.9).all(d, { keepdim }),
    fold: (v) => Number(v.every((x) => x < 0.9)),
  },
];

/** The fold of every line along the axes, in row-major order of the other axes. */
function folded(x: Plain, axes: readonly number[], fold: Fold): number[] {
  const kept = x.shape.map((n, d) => axes.includes(d) ? 1 : n);
  const lines = x.shape.map((n, d) => axes.includes(d) ? n : 1);
  return indices(kept).map((base) =>
    fold(indices(lines).map((step) => x.at(base.map((i, d) => i + step[d]))))
  );
}

const subsets = Array.from(
  { length: 16 },
  (_, bits) => [0, 1, 2, 3].filter((d) => bits >> d & 1),
).slice(1);

const folds = new Map<string, number[]>();

async function check(
  device: Device,
  { name, op, fold }: Reduction,
  x: Plain,
  axes: readonly number[],
  layout: LayoutName,
): Promise<void> {
  const keepdim = axes.length % 2 === 0;
  const out = op(laidOut(device, x, layout), axes, keepdim);
  const shape = x.shape.flatMap((n, d) => axes.includes(d) ? keepdim ? [1] : [] : [n]);
  assertEquals([...out.shape], shape, name);
  const text = `${name} over [${axes}] of [${x.shape}], ${layout}`;
  const key = `${name} ${axes} ${x.shape}`;
  const want = folds.get(key) ?? folded(x, axes, fold);
  folds.set(key, want);
  assertClose(await out.data(), want, { rel: 4e-6, abs: 4e-6 }, `${text} on ${label(device)}`);
}

const few = [[0, 1, 2, 3], [1, 3], [0], [2]];

// Lines this short are folded by the same kernels on hardware.
for (const device of devices) {
  Deno.test(`reductions over subsets of 4 axes agree with plain folds on ${label(device)}`, async () => {
    const shape = [3, 5, 4, 6];
    const x = plainOf(shape, randomValues(360, 3));
    for (const [n, reduction] of reductions.entries()) {
      const layouts: LayoutName[] = reduction.name === "sum"
        ? ["row-major", "transposed", "reversed"]
        : [layoutNames[n % layoutNames.length]];
      const axes = ["sum", "max"].includes(reduction.name) ? subsets : few;
      await Promise.all(
        layouts.flatMap((layout) => axes.map((a) => check(device, reduction, x, a, layout))),
      );
    }
  });
}

for (const device of all) {
  Deno.test(`reductions of lines long enough for teams agree with plain folds on ${label(device)}`, async () => {
    const cases: [number[], number[], LayoutName][] = [
      [[400], [0], "unaligned"],
      [[257, 3], [0], "row-major"],
      [[3, 257], [1], "reversed"],
      [[3, 11, 29], [1, 2], "with gaps"],
      [[17, 5, 19], [0, 2], "row-major"],
      // From here on in slices.
      [[5003], [0], "with gaps"],
      [[2, 2003], [1], "row-major"],
      [[20, 2, 20, 20], [0, 2, 3], "row-major"],
      [[20, 2, 20, 20], [0, 2, 3], "transposed"],
    ];
    const chosen = reductions.filter((r) => ["sum", "min", "var", "all"].includes(r.name));
    for (const [shape, axes, layout] of cases) {
      const x = plainOf(shape, randomValues(shape.reduce((a, b) => a * b), 5, -0.5, 0.901));
      await Promise.all(chosen.map((r) => check(device, r, x, axes, layout)));
    }
  });
}

for (const device of all) {
  Deno.test(`sum(), mean() and max() of a million elements on ${label(device)} are good to 1e-6 of the sum of sizes`, async () => {
    const count = 1_000_003;
    const values = randomValues(count, 11, -1, 3);
    const x = tensor(values, { device, shape: [count] });
    const [total, average, top, square] = await Promise.all(
      [x.sum(), x.mean(), x.max(), x.mul(x).sum()].map((t) => t.item()),
    );
    let [want, sizes, squares] = [0, 0, 0];
    for (const v of values) {
      want += v;
      sizes += Math.abs(v);
      squares += v * v;
    }
    assertClose([total], [want], { rel: 0, abs: 1e-6 * sizes });
    assertClose([average], [want / count], { rel: 0, abs: 1e-6 * sizes / count });
    assertEquals(top, values.reduce((a, b) => Math.max(a, b)));
    assertClose([square], [squares], { rel: 1e-6, abs: 0 });
  });
}

for (const [name, axis] of [["rows", 1], ["columns", 0]] as const) {
  Deno.test({
    name: `sum() of long ${name} is good to 1e-6 of the sum of sizes`,
    fn: async () => {
      const shape = axis === 1 ? [7, 30_011] : [30_011, 7];
      const values = randomValues(7 * 30_011, 13, 0, 1);
      const want = new Float64Array(7);
      values.forEach((v, i) => want[axis === 1 ? Math.floor(i / 30_011) : i % 7] += v);
      for (const device of all) {
        const t = tensor(values, { device, shape });
        assertClose(await t.sum(axis).data(), want, { rel: 1e-6, abs: 0 }, device.kind);
      }
    },
  });
}

for (const [which, device] of kernelSets) {
  Deno.test({
    name: `reductions give the same bits 20 times, ${which}`,
    ignore: device === null,
    fn: async () => {
      const x = tensor(randomValues(60_000, 17), { device: device!, shape: [200, 300] });
      const runs = await Promise.all(
        Array.from(
          { length: 20 },
          () => Promise.all([x.sum(), x.sum(0), x.var(1), x.softmax(1)].map((t) => t.data())),
        ),
      );
      for (const run of runs.slice(1)) {
        run.forEach((data, i) => assertEquals(data, runs[0][i]));
      }
    },
  });
}

const specials: [string, number[]][] = [NaN, Infinity, -Infinity].flatMap((value) =>
  [5, 700, 3001].flatMap((n) =>
    [0, n >> 1, n - 1].map((at): [string, number[]] => [
      `${value} at ${at} of ${n}`,
      Array.from({ length: n }, (_, i) => i === at ? value : (i % 7) / 8),
    ])
  )
);

for (const device of all) {
  Deno.test(`reductions hand NaN and infinities on from any place, ${label(device)}`, async () => {
    const names = ["sum", "mean", "max", "min", "logsumexp", "any", "all"];
    const chosen = reductions.filter((r) => names.includes(r.name));
    for (const [text, values] of specials) {
      const t = tensor(values, { device });
      const outs = await Promise.all(chosen.map((r) => r.op(t, [0], false).item()));
      const want = chosen.map((r) => r.fold(values));
      assertClose(outs, want, 1e-4, `${text}, ${names}`);
    }
  });

  Deno.test(`reductions of integers and bool keep their types, ${label(device)}`, async () => {
    const i32 = tensor([-5, 2147483647, 7, -2147483648], { device, dtype: "i32" });
    const u32 = tensor([5, 4294967295, 7, 2147483648], { device, dtype: "u32" });
    const bool = tensor([true, false, true, true], { device });
    const cases: [Tensor, string, number][] = [
      [i32.sum(), "i32", 1],
      [i32.prod(), "i32", Number(BigInt.asIntN(32, -5n * 2147483647n * 7n * -2147483648n))],
      [i32.narrow(0, 0, 3).prod(), "i32", Number(BigInt.asIntN(32, -35n * 2147483647n))],
      [i32.max(), "i32", 2147483647],
      [i32.min(), "i32", -2147483648],
      [u32.sum(), "u32", Number(BigInt.asUintN(32, 5n + 4294967295n + 7n + 2147483648n))],
      [u32.narrow(0, 0, 3).prod(), "u32", Number(BigInt.asUintN(32, 35n * 4294967295n))],
      [u32.max(), "u32", 4294967295],
      [u32.min(), "u32", 5],
      [bool.sum(), "i32", 3],
      [bool.prod(), "i32", 0],
      [bool.max(), "bool", 1],
      [bool.min(), "bool", 0],
      [bool.any(), "bool", 1],
      [bool.all(), "bool", 0],
      [i32.eq(7).any(), "bool", 1],
      [u32.all(), "bool", 1],
      [tensor([0, 0], { device, dtype: "i32" }).any(), "bool", 0],
      [tensor([0, NaN], { device }).any(), "bool", 1],
    ];
    const got = await Promise.all(cases.map(([t]) => t.item()));
    cases.forEach(([t, dtype, want], i) => assertEquals([t.dtype, got[i]], [dtype, want], `${i}`));
  });

  Deno.test(`reductions over nothing give the neutral value, ${label(device)}`, async () => {
    const none = tensor(new Float64Array(0), { device, shape: [3, 0] });
    const row = (v: number) => [v, v, v];
    const got = await Promise.all(
      [
        none.sum(1),
        none.prod(1),
        none.any(1),
        none.all(1),
        none.mean(1),
        none.var(1),
        none.logsumexp(1),
      ].map((t) => t.array()),
    );
    const want = [0, 1, 0, 1, NaN, NaN, -Infinity].map(row);
    assertEquals(got, want);
    assertEquals(await Promise.all([none.sum(), none.prod()].map((t) => t.item())), [0, 1]);
    assertEquals(none.sum(0).shape, [0]);
    assertEquals(none.max(0).shape, [0]);
    assertEquals(none.sum(1, { keepdim: true }).shape, [3, 1]);
    assertEquals(none.softmax(1).shape, [3, 0]);
    assertEquals(none.logSoftmax(0).shape, [3, 0]);
    assertThrows(() => none.max(1), RangeError, "Cannot take the max of [3, 0] over no elements");
    assertThrows(() => none.min(), RangeError, "Cannot take the min of [3, 0] over no elements");
  });

  Deno.test(`reductions of scalars and over no axes give the elements, ${label(device)}`, async () => {
    const scalar = tensor(3, { device });
    const x = tensor([[1, 2], [3, 4]], { device });
    const outs = [scalar.sum(), scalar.max(), scalar.prod(), scalar.logsumexp()];
    assertClose(await Promise.all(outs.map((t) => t.item())), [3, 3, 3, 3], 1e-6);
    assertEquals(await x.sum([]).array(), [[1, 2], [3, 4]]);
    assertEquals(await x.max([]).array(), [[1, 2], [3, 4]]);
  });
}

Deno.test("var() and std() divide by the count less the correction", async () => {
  for (const device of all) {
    const x = tensor([1, 2, 3, 4], { device });
    const got = await Promise.all([
      x.var(),
      x.var(null, { correction: 0 }),
      x.var(0, { correction: 2 }),
      x.std(),
      x.var(null, { correction: 4 }),
      x.narrow(0, 0, 1).var(),
      x.narrow(0, 0, 1).var(null, { correction: 0 }),
    ].map((t) => t.item()));
    assertClose(got, [5 / 3, 1.25, 2.5, Math.sqrt(5 / 3), NaN, NaN, 0], 1e-6, device.kind);
  }
});

Deno.test("var() stays exact where the mean is large", async () => {
  const values = Float64Array.from({ length: 5000 }, (_, i) => 10_000 + (i % 5) - 2);
  for (const device of all) {
    const t = tensor(values, { device, shape: [5000] });
    assertClose([await t.var(0, { correction: 0 }).item()], [2], 5e-6, device.kind);
  }
});

Deno.test("reductions refuse what they cannot do, and allocate nothing", () => {
  for (const device of devices) {
    const x = tensor([[1, 2], [3, 4]], { device });
    const n = tensor([[1, 2], [3, 4]], { device, dtype: "i32" });
    const calls: [() => Tensor, ErrorConstructor, string][] = [
      [() => x.sum(2), RangeError, "Cannot sum along dim 2: expected an integer from -2 to 1"],
      [() => x.sum([0, -2]), RangeError, "Cannot sum along dims [0,-2]: an axis is named twice"],
      [() => x.max(1.5), RangeError, "Cannot max along dim 1.5"],
      [() => x.prod(-3), RangeError, "Cannot prod along dim -3"],
      [() => x.any(9), RangeError, "Cannot any along dim 9"],
      [() => x.softmax(2), RangeError, "along dim 2"],
      [
        () => n.mean(),
        TypeError,
        "Cannot take the mean of a tensor of dtype i32: expected f32 or f16",
      ],
      [() => n.var(), TypeError, "Cannot take the variance of a tensor of dtype i32"],
      [() => n.logsumexp(0), TypeError, "Cannot take the logsumexp of a tensor of dtype i32"],
      [() => n.softmax(0), TypeError, "of dtype i32"],
    ];
    const before = device.memory().liveBuffers;
    for (const [call, kind, message] of calls) assertThrows(call, kind, message);
    assertEquals(device.memory().liveBuffers, before);
  }
});
