import { WebGpuBackend } from "../../core/backend/webgpu.ts";
import { Device, grad, type Tensor, tensor } from "../../core/mod.ts";
import {
  crossEntropy,
  type CrossEntropyOptions,
  nllLoss,
  type Reduction,
} from "../../core/tensor/cross_entropy.ts";
import { assertEquals, assertThrows } from "@std/assert";
import {
  assertClose,
  compareWithReference,
  devices,
  evaluate,
  gpu,
  gradcheck,
  randomValues,
  reference,
  type Sample,
  sample,
  testOnDevices,
} from "../util.ts";
import {
  type GoldenTensor,
  type LossCase,
  lossCases,
  typedValues,
  values,
} from "../golden/load.ts";

function place(device: Device, golden: GoldenTensor): Tensor {
  const data = typedValues(golden);
  return tensor(data instanceof Float32Array ? Float64Array.from(data) : data, {
    device,
    shape: golden.shape,
  });
}

async function follow(device: Device, golden: LossCase): Promise<void> {
  const logits = place(device, golden.inputs.input);
  logits.requiresGrad = true;
  const targets = place(device, golden.inputs.target);
  const weight = golden.inputs.weight && place(device, golden.inputs.weight);
  const options = { ...golden.options, weight } as CrossEntropyOptions;
  const loss = golden.loss === "nllLoss"
    ? nllLoss(logits, targets, options)
    : crossEntropy(logits, targets, options);
  assertEquals([...loss.shape], [...golden.outputs.output.shape]);
  loss.backward({ gradient: place(device, golden.cotangents.output), retainGraph: true });
  const bounds = device === reference ? 2e-8 : { rel: 2e-6, abs: 2e-6 };
  assertClose(await loss.data(), values(golden.outputs.output), bounds, `${golden.name} forward`);
  const want = values(golden.grads.input);
  assertClose(await logits.grad!.data(), want, bounds, `${golden.name} backward`);
  if (device !== reference) return;
  const [composed] = grad(loss, [logits], {
    gradient: place(device, golden.cotangents.output),
    createGraph: true,
  });
  assertClose(await composed.data(), want, bounds, `${golden.name} backward with createGraph`);
}

const golden = lossCases.filter((c) => c.loss === "crossEntropy" || c.loss === "nllLoss");
for (const device of devices) {
  for (const vectors of golden) {
    Deno.test(`${vectors.name} as in PyTorch (${device.kind})`, () => follow(device, vectors));
  }
}

Deno.test("the vectors hold cross-entropy and nll-loss", () => {
  assertEquals(golden.length > 50, true);
});

/** Class numbers by keyed draws, some of them `ignored`. */
function targetsOf(
  shape: readonly number[],
  classes: number,
  seed: number,
  ignored: number,
): Sample {
  const size = shape.reduce((a, b) => a * b, 1);
  const data = randomValues(size, seed, 0, classes * 1.2)
    .map((v) => v >= classes ? ignored : Math.floor(v));
  return { shape, data, dtype: "i32" };
}

const reductions: readonly Reduction[] = ["mean", "sum", "none"];
const variants: readonly CrossEntropyOptions[] = reductions.flatMap((reduction) => [
  { reduction },
  { reduction, ignoreIndex: 1 },
  { reduction, labelSmoothing: 0.2, ignoreIndex: -7 },
]);

const shapes = [[5, 4], [3, 1], [4, 17], [2, 5, 3], [2, 3, 4, 5], [1, 16], [7, 131]];

function losses(options: CrossEntropyOptions, classes: number, weighted: boolean) {
  const weightOn = (device: Device) =>
    weighted ? tensor(randomValues(classes, 9, 0.2, 2), { device }) : undefined;
  return {
    cross: (x: Tensor, t: Tensor) => crossEntropy(x, t, { ...options, weight: weightOn(x.device) }),
    nll: (x: Tensor, t: Tensor) => nllLoss(x, t, { ...options, weight: weightOn(x.device) }),
  };
}

for (const options of variants) {
  const label = JSON.stringify(options);
  Deno.test(`crossEntropy() and nllLoss() with ${label}: gradient of the reference`, async () => {
    for (const shape of shapes.slice(0, 5)) {
      for (const weighted of [false, true]) {
        const rows = shape.filter((_, d) => d !== 1);
        const targets = targetsOf(rows, shape[1], 3, options.ignoreIndex ?? -100);
        // At least one target has to count.
        (targets.data as Float64Array)[0] = 0;
        const { cross, nll } = losses(options, shape[1], weighted);
        const samples = [sample(shape, 1, -3, 3), targets];
        await gradcheck(cross, samples, `crossEntropy of [${shape}]`, { secondOrder: true });
        await gradcheck(nll, samples, `nllLoss of [${shape}]`);
      }
    }
  });

  testOnDevices({
    name: `crossEntropy() and nllLoss() with ${label}: the device agrees with the reference`,
    fn: async (device) => {
      for (const [i, shape] of [...shapes, [0, 3], [300, 10]].entries()) {
        const rows = shape.filter((_, d) => d !== 1);
        const targets = targetsOf(rows, shape[1], 3 + i, options.ignoreIndex ?? -100);
        const { cross, nll } = losses(options, shape[1], i % 2 === 1);
        const samples = [sample(shape, i, -4, 4), targets];
        const sums = options.reduction === "sum" && shape[0] === 300;
        const bounds = { rel: 2e-6, abs: sums ? 1e-3 : 5e-6 };
        await compareWithReference(device, cross, samples, bounds, `crossEntropy of [${shape}]`);
        await compareWithReference(device, nll, samples, bounds, `nllLoss of [${shape}]`);
      }
    },
  });
}

testOnDevices({
  name: "crossEntropy() takes logits and targets in any memory order",
  fn: async (device) => {
    const arrangements: readonly ((x: Tensor, t: Tensor) => Tensor)[] = [
      (x, t) =>
        crossEntropy(x.transpose(1, 3).contiguous().transpose(1, 3), t, { reduction: "none" }),
      (x, t) => crossEntropy(x.permute([1, 2, 3, 0]).contiguous().permute([3, 0, 1, 2]), t),
      (x, t) => crossEntropy(x.flip([1, 2]), t.flip([0, 2]), { labelSmoothing: 0.1 }),
      (x, t) => crossEntropy(x.slice(null, { start: 1 }, { step: 2 }), t.slice(null, { step: 2 })),
      (x, t) => crossEntropy(x, t.transpose(1, 2).contiguous().transpose(1, 2)),
    ];
    for (const [i, fn] of arrangements.entries()) {
      const samples = [sample([2, 6, 4, 5], 1), targetsOf([2, 4, 5], 5, 2, -100)];
      await compareWithReference(device, fn, samples, 4e-6, `arrangement ${i}`);
    }
  },
});

for (const device of devices) {
  const losses = (rows: number[][], targets: number[], options: CrossEntropyOptions = {}) => {
    const logits = tensor(rows, { device, requiresGrad: true });
    const t = tensor(targets, { device, dtype: "i32" });
    return { logits, loss: crossEntropy(logits, t, { reduction: "none", ...options }) };
  };

  Deno.test(`crossEntropy() gives NaN for targets that are no class (${device.kind})`, async () => {
    const { logits, loss } = losses([[1, 2], [1, 2], [1, 2], [1, 2]], [0, 2, -1, -100]);
    const [first, ...rest] = await loss.data();
    assertClose([first], [Math.log(1 + Math.E)], 1e-6);
    assertEquals(rest, [NaN, NaN, 0]);
    loss.sum().backward();
    const gradient = await logits.grad!.data();
    assertEquals(Array.from(gradient.slice(2)), [NaN, NaN, NaN, NaN, 0, 0]);
    const mean = losses([[1, 2], [1, 2]], [0, 2], { reduction: "mean" });
    assertEquals(await mean.loss.item(), NaN);
  });

  Deno.test(`crossEntropy() over nothing is NaN with gradient 0 (${device.kind})`, async () => {
    const { logits, loss } = losses([[1, 2], [3, 4]], [-100, -100], { reduction: "mean" });
    assertEquals(await loss.item(), NaN);
    loss.backward();
    assertEquals(await logits.grad!.array(), [[0, 0], [0, 0]]);
    const none = tensor([], { device, shape: [0, 3] });
    const noTargets = tensor(new Int32Array(0), { device });
    assertEquals(await crossEntropy(none, noTargets).item(), NaN);
    assertEquals(await crossEntropy(none, noTargets, { reduction: "sum" }).item(), 0);
  });

  Deno.test(`crossEntropy() is stable for large logits and masks (${device.kind})`, async () => {
    const far = losses([[1e4, -1e4, 9999], [-3e4, -3e4, -3e4], [700, 701, 702]], [0, 1, 2]);
    const e = Math.E;
    const want = [Math.log(1 + 1 / e), Math.log(3), Math.log(1 + 1 / e + 1 / e ** 2)];
    assertClose(await far.loss.data(), want, 1e-6);
    far.loss.sum().backward();
    const p = (k: number) => e ** k / (1 + e + e ** 2);
    const gradient = [-1 / (1 + e), 0, 1 / (1 + e), 1 / 3, -2 / 3, 1 / 3, p(0), p(1), p(2) - 1];
    assertClose(await far.logits.grad!.data(), gradient, 1e-6);
    const low = -Infinity;
    const masked = losses([[low, 0, 0], [low, 0, 0], [low, low, low], [Infinity, 0, 0]], [
      1,
      0,
      0,
      0,
    ]);
    const [kept, lost, ...none] = await masked.loss.data();
    assertClose([kept], [Math.log(2)], 1e-6);
    assertEquals([lost, ...none], [Infinity, NaN, NaN]);
    masked.loss.sum().backward();
    const got = Array.from(await masked.logits.grad!.data());
    assertClose(got.slice(0, 6), [0, -0.5, 0.5, -1, 0.5, 0.5], 1e-6);
    assertEquals(got.slice(6, 9), [NaN, NaN, NaN]);
  });

  Deno.test(`crossEntropy() does not change when all logits are shifted (${device.kind})`, async () => {
    const row = [0.5, -1.25, 3.75, 0.125];
    const at = (by: number) => losses([row.map((v) => v + by)], [1]).loss.item();
    const start = await at(0);
    for (const by of [1000, -1000, 8192]) assertClose([await at(by)], [start], 1e-6, `shift ${by}`);
  });

  Deno.test(`crossEntropy() of one row without a batch axis (${device.kind})`, async () => {
    const logits = tensor([1, 2, 3], { device });
    const target = tensor(2, { device, dtype: "i32" });
    const want = Math.log(1 + Math.exp(-1) + Math.exp(-2));
    for (const reduction of reductions) {
      const loss = crossEntropy(logits, target, { reduction });
      assertEquals(loss.shape.length, 0);
      assertClose([await loss.item()], [want], 1e-6);
    }
  });

  Deno.test(`crossEntropy() of f16 logits is f32 with an f16 gradient (${device.kind})`, async () => {
    if (!device.traits.f16) return;
    const logits = tensor([[1, 2, 4]], { device, dtype: "f16" });
    logits.requiresGrad = true;
    const loss = crossEntropy(logits, tensor(Uint32Array.of(2), { device }));
    loss.backward();
    assertEquals([loss.dtype, logits.grad!.dtype], ["f32", "f16"]);
    const sum = Math.exp(-3) + Math.exp(-2) + 1;
    assertClose([await loss.item()], [Math.log(sum)], 1e-6);
    const want = [Math.exp(-3) / sum, Math.exp(-2) / sum, 1 / sum - 1];
    assertClose(await logits.grad!.data(), want, 1e-3);
  });

  for (const [rows, classes, forward] of [[64, 10, 1], [2000, 10, 2], [64, 20, 2]]) {
    const size = `${rows} rows of ${classes} classes`;
    Deno.test(`crossEntropy() of ${size} is ${forward} dispatches, and one backward (${device.kind})`, () => {
      const logits = tensor(randomValues(rows * classes, 1), {
        device,
        shape: [rows, classes],
        requiresGrad: true,
      });
      const targets = tensor(new Int32Array(rows), { device });
      const before = device.work().dispatches;
      const loss = crossEntropy(logits, targets);
      assertEquals(device.work().dispatches - before, forward);
      const between = device.work().dispatches;
      grad(loss, [logits]);
      // One more makes the gradient 1 of the loss.
      assertEquals(device.work().dispatches - between, 2);
    });
  }

  Deno.test(`crossEntropy() of few rows is that of its rows one by one (${device.kind})`, async () => {
    const rows = 150;
    const values = randomValues(rows * 7, 5, -9, 9);
    // Ignored rows, two logits that are -Infinity, and strides that are not row-major.
    const labels = Int32Array.from({ length: rows }, (_, i) => i % 11 === 0 ? -100 : i % 7);
    values[3] = values[40] = -Infinity;
    const weight = tensor([1, 2, 0.5, 1, 3, 0, 1], { device });
    const logits = tensor(values, { device, shape: [7, rows], requiresGrad: true });
    const targets = tensor(labels, { device });
    const mean = crossEntropy(logits.t(), targets, { weight });
    const rowsOf = crossEntropy(logits.t(), targets, { weight, reduction: "none" });
    const each: number[] = [...await rowsOf.data()];
    const shares = labels.map((t) => t < 0 ? 0 : [2, 4, 1, 2, 6, 0, 2][t]);
    const total = shares.reduce((a, b) => a + b, 0) / 2;
    assertClose([await mean.item()], [each.reduce((a, b) => a + b, 0) / total], 1e-6);
    const [whole] = grad(mean, [logits]);
    const sum = crossEntropy(logits.t(), targets, { weight, reduction: "sum" });
    const [parts] = grad(sum, [logits]);
    const want = Array.from(await parts.data(), (g) => g / total);
    assertClose(await whole.data(), want, { rel: 2e-6, abs: 1e-9 });
  });
}

testOnDevices({
  name: "crossEntropy() over many rows agrees with the reference",
  fn: async (device) => {
    const samples = [sample([20, 3, 60, 70], 1), targetsOf([20, 60, 70], 3, 2, -100)];
    for (const reduction of ["mean", "sum"] as const) {
      const fn = (x: Tensor, t: Tensor) => crossEntropy(x, t, { reduction });
      const bounds = { rel: 2e-6, abs: 1e-7 };
      await compareWithReference(device, fn, samples, bounds, `${reduction} of 84,000 rows`);
    }
    const rows = 70_000 * 64;
    const logits = tensor(randomValues(rows, 3), { device, shape: [rows, 1] });
    const loss = crossEntropy(logits, tensor(new Int32Array(rows), { device }));
    assertEquals(await loss.item(), 0);
  },
});

testOnDevices({
  name: "crossEntropy() over more classes than a thread has turns",
  fn: async (device) => {
    const classes = 70_001;
    const samples = [sample([3, classes], 1, -5, 5), targetsOf([3], classes, 2, -100)];
    for (const options of [{}, { labelSmoothing: 0.1 }]) {
      const { cross } = losses(options, classes, false);
      const bounds = { rel: 2e-6, abs: 1e-9 };
      await compareWithReference(device, cross, samples, bounds, JSON.stringify(options));
    }
  },
});

Deno.test({
  name: "crossEntropy() with a workgroup for each row, as on hardware",
  ignore: gpu === null,
  fn: async () => {
    const adapter = (await navigator.gpu.requestAdapter())!;
    const traits = { software: false, maxGroups: 65535, f16: false };
    const backend = new WebGpuBackend(
      await adapter.requestDevice(),
      "as hardware",
      traits,
      2 ** 28,
    );
    const device = new Device(backend);
    for (const classes of [256, 1000]) {
      for (const options of [{}, { labelSmoothing: 0.1 }]) {
        const { cross } = losses(options, classes, classes === 1000);
        const samples = [sample([9, classes], 1, -5, 5), targetsOf([9], classes, 2, -100)];
        await compareWithReference(device, cross, samples, 2e-6, `${classes} classes`);
      }
    }
    device.close();
  },
});

Deno.test("crossEntropy() refuses what does not fit", () => {
  const x = tensor([[1, 2], [3, 4]], { device: reference });
  const t = tensor([0, 1], { device: reference, dtype: "i32" });
  assertThrows(() => crossEntropy(x, t.to("bool")), TypeError, "found targets in bool");
  assertThrows(() => crossEntropy(x.to("i32"), t), TypeError, "expected logits in f32 or f16");
  assertThrows(() => crossEntropy(x, t.slice({ start: 1 })), RangeError, "[2, 2] and [1]");
  assertThrows(() => crossEntropy(x.slice(null, { stop: 0 }), t), RangeError, "at least one class");
  assertThrows(() => crossEntropy(x, t, { labelSmoothing: 1.5 }), RangeError, "found 1.5");
  assertThrows(() => crossEntropy(x, t, { ignoreIndex: 0.5 }), RangeError, "found 0.5");
  const reduction = "median" as Reduction;
  assertThrows(() => crossEntropy(x, t, { reduction }), RangeError, "found median");
  const weight = tensor([1, 2, 3], { device: reference });
  assertThrows(
    () => crossEntropy(x, t, { weight }),
    RangeError,
    "each of 2 classes, found f32 [3]",
  );
  const trained = tensor([1, 2], { device: reference, requiresGrad: true });
  assertThrows(
    () => crossEntropy(x, t, { weight: trained }),
    Error,
    "its weight cannot have a gradient",
  );
});

testOnDevices({
  name: "crossEntropy() gives the same bits every time",
  fn: async (device) => {
    const samples = [sample([3000, 10], 1), targetsOf([3000], 10, 2, -100)];
    const fn = (x: Tensor, t: Tensor) => crossEntropy(x, t);
    const first = await evaluate(device, fn, samples);
    for (let i = 0; i < 3; i++) assertEquals(await evaluate(device, fn, samples), first);
  },
});
