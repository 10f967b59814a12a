import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  AutogradError,
  grad,
  isGradEnabled,
  noGrad,
  setGradEnabled,
  standardize,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { assertClose, gradcheck, reference, sample, testOnDevices } from "../util.ts";
import { devices } from "./devices.ts";

function leaf(values: number | number[] | number[][], device = reference): Tensor {
  return tensor(values, { device, requiresGrad: true });
}

for (const device of devices) {
  Deno.test(`backward() of composite expressions gives the derivative in closed form, ${device.kind}`, async () => {
    const values = [-1.5, -0.3, 0.2, 0.9, 2];
    const cases: [string, (x: Tensor) => Tensor, (x: number) => number][] = [
      [
        "x²·sin x",
        (x) => x.square().mul(x.sin()),
        (x) => 2 * x * Math.sin(x) + x * x * Math.cos(x),
      ],
      ["1 / (1 + e^-x)", (x) => x.neg().exp().add(1).reciprocal(), (x) => {
        const s = 1 / (1 + Math.exp(-x));
        return s * (1 - s);
      }],
      ["log(1 + x²)", (x) => x.mul(x).add(1).log(), (x) => 2 * x / (1 + x * x)],
      ["√(x² + 1) / (x + 3)", (x) => x.square().add(1).sqrt().div(x.add(3)), (x) => {
        const r = Math.sqrt(x * x + 1);
        return x / r / (x + 3) - r / (x + 3) ** 2;
      }],
      ["2 − 3x", (x) => x.mul(-3).add(2), () => -3],
      [
        "where(x > 0, x³, −x)",
        (x) => x.gt(0).where(x.mul(x).mul(x), x.neg()),
        (x) => x > 0 ? 3 * x * x : -1,
      ],
    ];
    for (const [name, fn, derivative] of cases) {
      const x = leaf(values, device);
      fn(x).sum().backward();
      assertClose(await x.grad!.data(), values.map(derivative), { rel: 4e-6, abs: 1e-6 }, name);
    }
  });

  Deno.test(`backward() sums over broadcast axes, ${device.kind}`, async () => {
    const [a, b] = [leaf([[1], [2], [3]], device), leaf([10, 20], device)];
    const c = leaf(5, device);
    a.mul(b).add(c).backward({ gradient: tensor([[1, 2], [3, 4], [5, 6]], { device }) });
    assertEquals(await a.grad!.array(), [[50], [110], [170]]);
    assertEquals(await b.grad!.array(), [22, 28]);
    assertEquals(await c.grad!.item(), 21);
  });

  Deno.test(`backward() adds up over paths and over calls, ${device.kind}`, async () => {
    const x = leaf([2, 3], device);
    // A diamond: both arms end in the same sum.
    const root = () => x.mul(x).add(x.mul(4)).mul(x).sum();
    root().backward();
    // d(x³ + 4x²) = 3x² + 8x
    assertEquals(await x.grad!.array(), [28, 51]);
    root().backward();
    assertEquals(await x.grad!.array(), [56, 102]);
    x.grad = null;
    x.mul(1).sum().backward();
    assertEquals(await x.grad!.array(), [1, 1]);
  });

  Deno.test(`backward() of a deep chain that uses each value twice visits each op once, ${device.kind}`, async () => {
    const x = leaf(1, device);
    let y = x;
    for (let i = 0; i < 20; i++) y = y.add(y);
    const before = device.work().dispatches;
    y.backward();
    assertEquals(await x.grad!.item(), 2 ** 20);
    // 2^20 paths, but 20 sums.
    assert(device.work().dispatches - before < 60);
  });
}

Deno.test("noGrad() stops recording, for a function or until the end of a block", () => {
  const x = leaf([1]);
  assertEquals(noGrad(() => x.mul(2).requiresGrad), false);
  {
    using _ = noGrad();
    assertEquals([isGradEnabled(), x.mul(2).isLeaf], [false, true]);
    using inner = setGradEnabled(true);
    assertEquals([x.mul(2).requiresGrad, inner !== undefined], [true, true]);
  }
  assertEquals([isGradEnabled(), x.mul(2).requiresGrad], [true, true]);
  assertThrows(
    () =>
      noGrad(() => {
        throw new Error("inside");
      }),
    Error,
    "inside",
  );
  assertEquals(isGradEnabled(), true);
});

Deno.test("detach() ends the history and shares memory", async () => {
  const x = leaf([2, 3]);
  const y = x.square();
  const cut = y.detach();
  assertEquals([cut.requiresGrad, cut.isLeaf, cut.storage === y.storage], [false, true, true]);
  x.mul(cut).sum().backward();
  assertEquals(await x.grad!.array(), [4, 9]);
});

Deno.test("backward() a second time is an error that says how to keep the graph", async () => {
  for (const device of devices) {
    const x = leaf([1, 2], device);
    const y = x.exp().sum();
    y.backward();
    assertThrows(
      () => y.backward(),
      AutogradError,
      "Cannot run backward through sum a second time",
    );
    assertThrows(() => y.backward(), AutogradError, "pass { retainGraph: true }");
    // The failed call leaves no scope open.
    assertEquals([device.scopes.length, isGradEnabled()], [0, true]);
    x.grad = null;
    const z = x.square().sum();
    z.backward({ retainGraph: true });
    z.backward();
    assertEquals(await x.grad!.array(), [4, 8]);
  }
});

Deno.test("backward() needs a scalar or a gradient of the root's shape", async () => {
  const x = leaf([1, 2]);
  assertThrows(
    () => x.mul(2).backward(),
    AutogradError,
    "from a tensor of shape [2]: expected a scalar",
  );
  const g = tensor([1, 2, 3], { device: reference });
  assertThrows(() => x.mul(2).backward({ gradient: g }), AutogradError, "found [3]");
  const plain = tensor([1], { device: reference });
  assertThrows(
    () => plain.backward(),
    AutogradError,
    "does not require a gradient and has no history",
  );
  x.mul(3).backward({ gradient: tensor([1, 10], { device: reference }) });
  assertEquals(await x.grad!.array(), [3, 30]);
  x.grad = null;
  x.narrow(0, 0, 1).backward();
  assertEquals(await x.grad!.array(), [1, 0]);
});

Deno.test("backward() refuses values that were changed in place after they were saved", () => {
  const products: [string, (x: Tensor, w: Tensor) => Tensor][] = [
    ["mul", (x, w) => x.mul(w)],
    ["matmul", (x, w) => x.matmul(w)],
  ];
  for (const [op, product] of products) {
    const w = tensor([[1, 0], [0, 1]], { device: reference });
    const y = product(leaf([[1, 2], [3, 4]]), w);
    // A change through a view of the saved value counts.
    w.narrow(0, 0, 1).fill_(5);
    assertThrows(() => y.sum().backward(), AutogradError, `through ${op}: a value that it saved`);
  }
  const x = leaf([1, 2]);
  const y = x.exp();
  noGrad(() => y.fill_(0));
  assertThrows(
    () => y.sum().backward(),
    AutogradError,
    "through exp: a value that it saved (shape [2])",
  );
  const s = standardize(leaf([[1, 2, 4]]), [1], 1e-5);
  s.variance.fill_(1);
  assertThrows(() => s.output.sum().backward(), AutogradError, "through standardize");
});

Deno.test("backward() allows changes of values that no gradient reads", async () => {
  const x = leaf([[1, 2], [3, 4]]);
  const bias = tensor([1, 1], { device: reference });
  const data = tensor([[1, 1]], { device: reference });
  const y = x.add(bias).sub(bias).mul(3).sum();
  const z = data.matmul(x).sum();
  // The gradient of x reads the frozen factor alone.
  const frozen = tensor([10, 20], { device: reference });
  const scaled = x.mul(frozen).sum();
  bias.fill_(100);
  noGrad(() => x.fill_(7));
  y.add(z).add(scaled).backward();
  assertEquals(await x.grad!.array(), [[14, 24], [14, 24]]);
});

Deno.test("in-place changes of tensors that require a gradient are refused while recording", () => {
  const x = leaf([1, 2]);
  const one = tensor([1, 1], { device: reference });
  assertThrows(() => x.fill_(0), AutogradError, "Cannot fill a tensor that requires a gradient");
  assertThrows(() => x.mul(2).copy_(one), AutogradError, "use noGrad()");
  assertThrows(() => x.add_(one), AutogradError, "Cannot add to a tensor");
});

Deno.test("requiresGrad is for floats, and computed tensors cannot stop requiring", () => {
  const n = tensor([1], { device: reference, dtype: "i32" });
  assertThrows(() => n.requiresGrad = true, TypeError, "of dtype i32: expected f32 or f16");
  assertThrows(() => tensor([true], { device: reference, requiresGrad: true }), TypeError, "bool");
  const y = leaf([1]).mul(2);
  assertThrows(() => y.requiresGrad = false, AutogradError, "use detach()");
  const x = leaf([1]);
  x.requiresGrad = false;
  assertEquals(x.mul(2).requiresGrad, false);
});

Deno.test("comparisons and integers end the tape", async () => {
  for (const device of devices) {
    const x = leaf([1, -2, 3], device);
    const ends = [
      x.gt(0),
      x.to("i32"),
      x.to("bool"),
      x.isNan(),
      x.eq(1),
      x.gt(0).any(),
      x.gt(0).sum(),
    ];
    for (const t of ends) assertEquals([t.requiresGrad, t.isLeaf], [false, true]);
    const counts = tensor([1, 2, 3], { device, dtype: "i32" });
    const flags = tensor([true, false, true], { device });
    x.mul(counts).add(x.mul(flags)).add(x.to("i32").to("f32")).sum().backward();
    assertEquals(await x.grad!.array(), [2, 2, 4]);
    assertEquals([counts.grad, flags.grad], [null, null]);
  }
});

Deno.test("grad() gives gradients of any tensors and leaves their grad alone", async () => {
  for (const device of devices) {
    const [x, y] = [leaf([1, 2], device), leaf([3, 4], device)];
    const middle = x.mul(y);
    const [gy, gm, gx] = grad(middle.square().sum(), [y, middle, x]);
    assertEquals(await gm.array(), [6, 16]);
    assertEquals(await gx.array(), [18, 64]);
    assertEquals(await gy.array(), [6, 32]);
    assertEquals([x.grad, y.grad], [null, null]);
  }
});

Deno.test("grad() of an input without influence is an error, or zeros", async () => {
  for (const device of devices) {
    const [x, unused] = [leaf([1, 2], device), leaf([[5]], device)];
    const constant = tensor([1], { device });
    const y = x.sum();
    const before = device.memory().liveBuffers;
    const call = () => grad(y, [x, unused], { retainGraph: true });
    assertThrows(call, AutogradError, "Cannot give the gradient of input 1 (Tensor([1, 1], f32");
    assertThrows(() => grad(y, [constant], { retainGraph: true }), AutogradError, "input 0");
    assertEquals(device.memory().liveBuffers, before);
    const gradients = grad(y, [x, unused], { materializeGrads: true });
    assertEquals(await Promise.all(gradients.map((g) => g.array())), [[1, 1], [[0]]]);
  }
});

Deno.test("createGraph gives derivatives of every order: x⁴ down to 24", async () => {
  for (const device of devices) {
    const x = leaf([1, -2, 3], device);
    const square = x.mul(x);
    let y = square.mul(square);
    const orders: number[][] = [];
    for (let order = 1; order <= 4; order++) {
      [y] = grad(y.sum(), [x], { createGraph: true });
      orders.push(Array.from(await y.data()));
    }
    const at = [1, -2, 3];
    assertEquals(orders, [
      at.map((v) => 4 * v ** 3),
      at.map((v) => 12 * v ** 2),
      at.map((v) => 24 * v),
      at.map(() => 24),
    ]);
    // A constant has no history.
    assertThrows(() => grad(y.sum(), [x]), AutogradError, "has no history");
  }
});

Deno.test("createGraph works through exp, whose rule reads its result", async () => {
  const x = leaf(0.5);
  let y = x.mul(2).exp();
  for (let order = 1; order <= 4; order++) {
    [y] = grad(y, [x], { createGraph: true });
    assertClose([await y.item()], [2 ** order * Math.E], 1e-12);
  }
});

Deno.test("backward() with createGraph leaves a grad that can be differentiated", async () => {
  const x = leaf([1, 2]);
  x.mul(x).mul(x).sum().backward({ createGraph: true });
  const first = x.grad!;
  assertEquals([await first.array(), first.requiresGrad], [[3, 12], true]);
  const [second] = grad(first.sum(), [x]);
  assertEquals(await second.array(), [6, 12]);
  assertStrictEquals(x.grad, first);
});

Deno.test("standardize() gradients agree with central differences, to second order", async () => {
  for (const dims of [[0, 2], [1], [-1]]) {
    await gradcheck((x) => standardize(x, dims, 1e-3).output, [sample([3, 4, 5], 1)], `[${dims}]`, {
      secondOrder: true,
    });
  }
});

testOnDevices({
  name: "gradients flow through f16 and back, to second order",
  f16: true,
  fn: async (device) => {
    const x = leaf([1, 2, 4], device);
    const half = x.to("f16");
    const row = tensor([0.5], { device, dtype: "f16", requiresGrad: true });
    const y = half.mul(half).mul(row).to("f32").sum();
    const [gx, gr] = grad(y, [x, row], { createGraph: true });
    assertEquals([gx.dtype, await gx.array()], ["f32", [1, 2, 4]]);
    // Summed over a broadcast axis, then rounded to f16.
    assertEquals([gr.dtype, await gr.array()], ["f16", [21]]);
    const [second] = grad(gr.to("f32").sum(), [x]);
    assertEquals(await second.array(), [2, 4, 8]);
  },
});
