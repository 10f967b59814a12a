import { assertEquals, assertThrows } from "@std/assert";
import { AutogradError, grad, type Tensor, tensor } from "../../core/mod.ts";
import { customFunction } from "../../core/tensor/custom.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices } from "./devices.ts";

type Two = readonly [Tensor, Tensor];

/** x²·y with its gradient by hand. */
const squareTimes = customFunction<Two>(
  "squareTimes",
  (x, y) => x.mul(x).mul(y),
  (g, { inputs: [x, y] }) => [g.mul(x).mul(y).mul(2), g.mul(x).mul(x)],
);

/** e^x, whose gradient reads the result. */
const exponential = customFunction(
  "exponential",
  (x) => x.exp(),
  (g, { output }) => [g.mul(output)],
);

Deno.test("customFunction() gives values and gradients of its own, to second order", async () => {
  await gradcheck(squareTimes, [sample([3, 2], 1), sample([3, 2], 2)], "squareTimes", {
    secondOrder: true,
  });
  await gradcheck(exponential, [sample([4], 3)], "exponential", { secondOrder: true });
});

testOnDevices({
  name: "customFunction() on the device agrees with the reference",
  fn: (device) =>
    compareWithReference(
      device,
      squareTimes,
      [sample([5, 3], 1), sample([5, 3], 2)],
      1e-6,
      "custom",
    ),
});

Deno.test("customFunction() asks the backward given, not the ops of the forward", async () => {
  for (const device of devices) {
    const calls: string[] = [];
    const clipped = customFunction(
      "clipped",
      (x) => {
        calls.push(`forward ${x.mul(2).requiresGrad}`);
        return x.clamp(-1, 1);
      },
      (g) => {
        calls.push("backward");
        return [g.mul(10)];
      },
    );
    const x = tensor([-3, 0.5, 3], { device, requiresGrad: true });
    const y = clipped(x);
    assertEquals(await y.array(), [-1, 0.5, 1]);
    y.sum().backward();
    assertEquals(await x.grad!.array(), [10, 10, 10]);
    assertEquals(calls, ["forward false", "backward"]);
    assertEquals(clipped(tensor([1], { device })).requiresGrad, false);
  }
});

Deno.test("customFunction() hands saved tensors to the backward, and notices their changes", async () => {
  const scaled = customFunction(
    "scaled",
    (x) => {
      const scale = x.abs().max();
      return { output: x.div(scale), saved: [scale] };
    },
    (g, { saved: [scale] }) => [g.div(scale)],
  );
  const x = tensor([1, -4], { device: reference, requiresGrad: true });
  scaled(x).sum().backward();
  assertEquals(await x.grad!.array(), [0.25, 0.25]);

  let kept: Tensor | undefined;
  const leaking = customFunction(
    "leaking",
    (x) => ({ output: x.mul(2), saved: [kept = x.add(0)] }),
    (g, { saved: [k] }) => [g.mul(k)],
  );
  const y = leaking(x);
  kept!.fill_(0);
  assertThrows(() => y.sum().backward(), AutogradError, "through leaking: a value that it saved");
});

Deno.test("customFunction() may give an input back, and gradients for some inputs only", async () => {
  for (const device of devices) {
    const reversed = customFunction<Two>("reversed", (x) => x, (g) => [g.neg(), null]);
    const x = tensor([1, 2], { device, requiresGrad: true });
    const other = tensor([3, 4], { device, requiresGrad: true });
    const y = reversed(x, other);
    assertEquals([y === x, y.isLeaf, x.isLeaf], [false, false, true]);
    y.mul(3).sum().backward();
    assertEquals([await x.grad!.array(), other.grad], [[-3, -3], null]);
    // Also an input that requires no gradient must not become part of the tape.
    const fixed = tensor([1, 2], { device });
    assertEquals([reversed(fixed, other).requiresGrad, fixed.requiresGrad], [true, false]);
    // The gradient handed on as it came belongs to the input alone.
    const same = customFunction("same", (x) => x, (g) => [g]);
    const g = tensor([5, 6], { device });
    x.grad = null;
    same(x).backward({ gradient: g });
    assertEquals([await x.grad!.array(), await g.array()], [[5, 6], [5, 6]]);
  }
});

Deno.test("customFunction() gives gradients the dtype of their inputs, and integers none", async () => {
  const picked = customFunction<Two>(
    "picked",
    (x, index) => x.mul(index),
    (g, { inputs: [, index] }) => [g.mul(index), g],
  );
  const x = tensor([1, 2], { device: reference, requiresGrad: true });
  const n = tensor([3, 4], { device: reference, dtype: "i32" });
  picked(x, n).sum().backward();
  assertEquals([await x.grad!.array(), n.grad], [[3, 4], null]);
  const counting = customFunction("counting", (x) => x.gt(1).to("i32"), (g) => [g]);
  assertEquals(counting(x).requiresGrad, false);
});

testOnDevices({
  name: "customFunction() rounds gradients of f16 inputs to f16",
  f16: true,
  fn: async (device) => {
    const wide = customFunction("wide", (x) => x.to("f32"), (g) => [g]);
    const x = tensor([1, 2], { device, dtype: "f16", requiresGrad: true });
    wide(x).mul(3).sum().backward();
    assertEquals([x.grad!.dtype, await x.grad!.array()], ["f16", [3, 3]]);
  },
});

Deno.test("customFunction() refuses gradients that do not fit its inputs", () => {
  const x = tensor([1, 2, 3], { device: reference, requiresGrad: true });
  const few = customFunction("few", (x) => x.mul(2), () => []);
  assertThrows(
    () => few(x).sum().backward(),
    AutogradError,
    "Cannot run backward through few: expected 1 gradients, one for each input, found 0",
  );
  const wrong = customFunction("wrong", (x) => x.mul(2), (g) => [g.sum()]);
  assertThrows(
    () => wrong(x).sum().backward(),
    AutogradError,
    "expected the gradient of input 0 to have the shape [3], found []",
  );
  assertEquals(reference.scopes.length, 0);
});

Deno.test("customFunction() takes part in expressions like any op", async () => {
  const x = tensor([0.5, 1], { device: reference, requiresGrad: true });
  const y = exponential(x.mul(2)).mul(x).sum();
  const [first] = grad(y, [x], { createGraph: true });
  // (x·e^2x)' = (1 + 2x)·e^2x, (…)'' = (4 + 4x)·e^2x
  const at = [0.5, 1];
  assertClose(await first.data(), at.map((v) => (1 + 2 * v) * Math.exp(2 * v)), 1e-12);
  const [second] = grad(first.sum(), [x]);
  assertClose(await second.data(), at.map((v) => (4 + 4 * v) * Math.exp(2 * v)), 1e-12);
});
