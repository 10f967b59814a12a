import { assert, assertEquals } from "@std/assert";
import { VirtualBuffer } from "../../../core/backend/capture.ts";
import type { Device, KernelCall } from "../../../core/mod.ts";
import { jit, noGrad, type Tensor, tensor } from "../../../core/mod.ts";
import { mergeEqual, removeDead } from "../../../core/program/prune.ts";
import type { StepCall } from "../../../core/program/recording.ts";
import { apply, constant, type Expr, input } from "../../../kernels/expr.ts";
import { mapKernel } from "../../../kernels/map.ts";
import { randomValues, reference } from "../../util.ts";

const value = (count = 8) => new VirtualBuffer(count, "f32", "value");

/** An elementwise call over whole buffers. */
function callOf(
  expr: Expr,
  inputs: readonly unknown[],
  output: unknown,
  options: { inPlace?: boolean; live?: boolean; scalars?: readonly number[] } = {},
): StepCall {
  const operand = { dtype: "f32" as const, strides: [1], offset: 0 };
  const kernel = mapKernel({
    expr,
    shape: [8],
    inputs: inputs.map(() => operand),
    output: operand,
    scalars: [],
    inPlace: options.inPlace,
  });
  const range = (buffer: unknown) => ({ buffer, offset: 0, size: 8 });
  const values = options.scalars ?? [];
  const live = options.live ? () => values : undefined;
  const cells = options.live || options.scalars ? [{ values, live }] : [];
  return { kernel, inputs: inputs.map(range), outputs: [range(output)], cells };
}

const negated = apply("neg", input(0));
const sum = apply("add", input(0), input(1));
const more = apply("add", input(0), constant(1));

Deno.test("removeDead() keeps what leads to memory that matters, and no more", () => {
  const [a, b, c, result] = [value(), value(), value(), value()];
  const outside = {};
  const first = callOf(negated, [a], b);
  const dead = callOf(negated, [b], c);
  const last = callOf(negated, [b], result);
  const lasting = callOf(negated, [a], outside);
  assertEquals(removeDead([first, dead, last, lasting], new Set([result])), [first, last, lasting]);
  assertEquals(removeDead([first, dead, last], new Set()), []);
});

Deno.test("removeDead() keeps changes of a value before it is used, not those behind", () => {
  const [a, b, result] = [value(), value(), value()];
  const make = callOf(negated, [a], b);
  const change = callOf(more, [], b, { inPlace: true });
  const use = callOf(negated, [b], result);
  assertEquals(removeDead([make, change, use], new Set([result])), [make, change, use]);
  assertEquals(removeDead([make, use, change], new Set([result])), [make, use]);
});

Deno.test("mergeEqual() does equal work once, and lets its users share the value", () => {
  const [a, b, c, d, result] = [value(), value(), value(), value(), value()];
  const calls = [
    callOf(negated, [a], b),
    callOf(negated, [a], c),
    callOf(negated, [c], d),
    callOf(sum, [b, d], result),
  ];
  const merged = mergeEqual(calls, new Set([a, result]));
  assertEquals(merged.length, 3);
  assertEquals(merged[1].inputs[0].buffer, b);
  assert(merged[2].inputs[0].buffer === b && merged[2].inputs[1].buffer === d);
});

Deno.test("mergeEqual() keeps work apart that is not equal", () => {
  const outside = {};
  const [a, b, c] = [value(), value(), value()];
  const kept = (calls: StepCall[], observable: unknown[] = []) =>
    assertEquals(mergeEqual(calls, new Set(observable)), calls);
  // What is read changes in between.
  kept([
    callOf(negated, [outside], b),
    callOf(more, [], outside, { inPlace: true }),
    callOf(negated, [outside], c),
  ]);
  // One of the results matters after the step, or changes later.
  kept([callOf(negated, [a], b), callOf(negated, [a], c)], [c]);
  kept([
    callOf(negated, [a], b),
    callOf(negated, [a], c),
    callOf(more, [], c, { inPlace: true }),
  ]);
  // Numbers differ, or come anew with every replay.
  kept([callOf(negated, [a], b, { scalars: [1] }), callOf(negated, [a], c, { scalars: [2] })]);
  kept([callOf(negated, [a], b, { live: true }), callOf(negated, [a], c, { live: true })]);
  // Both change numbers of the host in place.
  b.data = new Float32Array(8);
  c.data = new Float32Array(8).fill(1);
  kept([
    callOf(sum, [a], b, { inPlace: true }),
    callOf(sum, [a], c, { inPlace: true }),
  ]);
});

/** Kernel calls of a replay. */
function callsOf(device: Device, run: () => unknown): KernelCall<unknown>[] {
  const calls: KernelCall<unknown>[] = [];
  const stop = device.intercept({
    record: (call) => {
      calls.push(call);
      const written = call.outputs.map((o) => o.buffer);
      assert(!call.inputs.some((o) => written.includes(o.buffer)), call.kernel.key);
      device.backend.run(call);
    },
  });
  run();
  stop();
  return calls;
}

const matrix = (seed: number, ...shape: number[]) =>
  tensor(randomValues(shape.reduce((a, b) => a * b, 1), seed), { device: reference, shape });

/** Kinds of kernels that a replay runs, after it was compared with the function itself. */
async function kindsOf(fn: (...args: Tensor[]) => Tensor[], args: Tensor[]): Promise<string[]> {
  const step = jit(fn);
  const want = await Promise.all(fn(...args).map((t) => t.data()));
  step(...args);
  let got: Tensor[] = [];
  const calls = callsOf(reference, () => got = step(...args));
  assertEquals(await Promise.all(got.map((t) => t.data())), want);
  return calls.map((call) => call.kernel.op);
}

Deno.test("jit() runs a chain of elementwise work as one kernel", async () => {
  const args = [matrix(1, 4, 6), matrix(2, 6), matrix(3, 4, 1)];
  const kinds = await kindsOf(
    (x, row, column) => [x.add(row).mul(column).tanh().sub(x.t().t())],
    args,
  );
  assertEquals(kinds, ["map"]);
});

Deno.test("jit() takes elementwise work into loads and stores of reductions", async () => {
  const kinds = await kindsOf((x) => [x.mul(2).square().sum(1).neg()], [matrix(1, 4, 6)]);
  assertEquals(kinds, ["reduce"]);
});

Deno.test("jit() takes elementwise work into the stores of products", async () => {
  const kinds = await kindsOf(
    (x, w, b) => [x.matmul(w).add(b).relu()],
    [matrix(1, 4, 6), matrix(2, 6, 5), matrix(3, 5)],
  );
  assertEquals(kinds, ["matmul"]);
});

Deno.test("jit() lets a kernel write where its result would be copied to", async () => {
  const kinds = await kindsOf((x, y) => {
    const rows = tensor(new Float32Array(128 * 2), { device: reference, shape: [2, 128] });
    rows.select(0, 0).copy_(x.cumsum(0));
    rows.select(0, 1).copy_(y.cumsum(0));
    return [rows];
  }, [matrix(1, 128), matrix(2, 128)]);
  assertEquals(kinds, ["scan", "scan"]);
});

Deno.test("jit() copies where a reader of the result writes beside it", async () => {
  const kinds = await kindsOf((x) => {
    const rows = tensor(new Float32Array(128 * 2).fill(1), { device: reference, shape: [2, 128] });
    const sums = x.cumsum(0);
    rows.select(0, 0).copy_(sums);
    rows.select(0, 1).add_(sums);
    return [rows];
  }, [matrix(1, 128)]);
  assertEquals(kinds, ["scan", "map", "map"]);
});

Deno.test("jit() copies where the old content is still read", async () => {
  const state = matrix(5, 64);
  const step = (x: Tensor) =>
    noGrad(() => {
      const next = x.cumsum(0);
      const old = state.cumsum(0);
      state.copy_(next);
      return [old, next.add(state)];
    });
  const captured = jit(step);
  const seen: number[][] = [];
  for (const fn of [step, captured]) {
    state.copy_(matrix(5, 64));
    for (let turn = 0; turn < 3; turn++) {
      for (const t of fn(matrix(6 + turn, 64))) seen.push([...await t.data()]);
      seen.push([...await state.data()]);
    }
  }
  assertEquals(seen.slice(9), seen.slice(0, 9));
});

Deno.test("jit() runs what never changes once", async () => {
  const step = jit((x: Tensor) => {
    const table = tensor([1, 2, 3, 4], { device: reference }).cumsum(0).cumsum(0);
    return x.outer(table);
  });
  const x = matrix(1, 4);
  const first = await step(x).data();
  const calls = callsOf(reference, () => step(x));
  assertEquals(calls.map((call) => call.kernel.op), ["map"]);
  assertEquals(await step(x).data(), first);
  assertEquals(await step.eager(x).data(), first);
});
