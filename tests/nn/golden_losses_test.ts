import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { type Device, DTypeError, ShapeError, type Tensor, tensor, zeros } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import { lossCases } from "../golden/load.ts";
import {
  type Bounds,
  devices,
  gradcheck,
  reference as device,
  sample,
  testOnDevices,
} from "../util.ts";
import { assertPass, DIGITS, placeInputs } from "./golden.ts";

type Loss = (input: Tensor, target: Tensor, options: Record<string, unknown>) => Tensor;
type LossClass = new (options: Record<string, unknown>) => nn.Module & {
  forward(input: Tensor, target: Tensor): Tensor;
};

const functions = nn as unknown as Record<string, Loss>;
const modules: Record<string, LossClass> = {
  crossEntropy: nn.CrossEntropyLoss,
  nllLoss: nn.NLLLoss,
  binaryCrossEntropyWithLogits: nn.BCEWithLogitsLoss,
  mseLoss: nn.MSELoss,
  l1Loss: nn.L1Loss,
  huberLoss: nn.HuberLoss,
  smoothL1Loss: nn.SmoothL1Loss,
  klDiv: nn.KLDivLoss,
};

async function runLosses(on: Device, bounds: Bounds, asModule: boolean): Promise<void> {
  for (const { name, loss, options, ...pass } of lossCases) {
    const { input, target, ...weights } = placeInputs(pass, on);
    const all = { ...options, ...weights };
    const output = asModule
      ? new modules[loss](all).forward(input, target)
      : functions[loss](input, target, all);
    await assertPass(output, pass, { input, target }, bounds, name);
  }
}

Deno.test("losses give PyTorch's values and gradients, on the reference device", async () => {
  assert(lossCases.length > 100);
  await runLosses(device, DIGITS, false);
});

Deno.test("loss modules give PyTorch's values and gradients, on the reference device", async () => {
  await runLosses(device, DIGITS, true);
});

testOnDevices({
  name: "losses give PyTorch's values and gradients",
  fn: async (device) => {
    await runLosses(device, { rel: 2e-6, abs: 2e-6 }, false);
  },
});

Deno.test("losses have the gradients that differences give, also second ones", async () => {
  const [x, t] = [sample([3, 4], 1), sample([3, 4], 2, 0.1, 0.9)];
  const smooth: Record<string, (x: Tensor, t: Tensor) => Tensor> = {
    mseLoss: nn.mseLoss,
    binaryCrossEntropyWithLogits: nn.binaryCrossEntropyWithLogits,
    klDiv: nn.klDiv,
    "klDiv of logarithms": (x, t) => nn.klDiv(x, t, { logTarget: true }),
  };
  for (const [name, loss] of Object.entries(smooth)) {
    await gradcheck(loss, [x, t], name, { secondOrder: true });
  }
  await gradcheck((x, t) => nn.huberLoss(x, t, { delta: 0.4 }), [x, t], "huberLoss");
  await gradcheck((x, t) => nn.smoothL1Loss(x, t, { beta: 0.4 }), [x, t], "smoothL1Loss");
});

Deno.test("binaryCrossEntropyWithLogits() keeps the digits of small losses", async () => {
  for (const on of devices) {
    const logits = tensor([20, -20, 60], { device: on, requiresGrad: true });
    const target = tensor([1, 0, 1], { device: on });
    const loss = nn.binaryCrossEntropyWithLogits(logits, target, { reduction: "none" });
    loss.sum().backward();
    const [values, gradient] = await Promise.all([loss.data(), logits.grad!.data()]);
    [20, 20, 60].forEach((x, i) => {
      const want = Math.log1p(Math.exp(-x));
      assert(Math.abs(values[i] / want - 1) < 1e-5, `${on.kind}: ${values[i]} for ${want}`);
      const slope = (i === 1 ? 1 : -1) / (1 + Math.exp(x));
      assert(Math.abs(gradient[i] / slope - 1) < 1e-5, `${on.kind}: ${gradient[i]} for ${slope}`);
    });
  }
});

Deno.test("losses of no elements: the mean is NaN, the sum 0", async () => {
  const x = zeros([0, 3], { device });
  for (const loss of [nn.mseLoss, nn.l1Loss, nn.huberLoss, nn.binaryCrossEntropyWithLogits]) {
    assertEquals(await loss(x, x).item(), NaN);
    assertEquals(await loss(x, x, { reduction: "sum" }).item(), 0);
    assertEquals([...loss(x, x, { reduction: "none" }).shape], [0, 3]);
  }
});

Deno.test("losses refuse pairs of different shape, other dtypes and unknown reductions", () => {
  const [a, b] = [zeros([4], { device }), zeros([4, 1], { device })];
  assertThrows(
    () => nn.mseLoss(a, b),
    ShapeError,
    "Cannot compute the mseLoss of [4] and [4, 1]: expected input and target of one shape",
  );
  assertThrows(
    () => nn.l1Loss(a, zeros([4], { dtype: "i32", device })),
    DTypeError,
    "Cannot compute the l1Loss of dtypes f32 and i32: expected f32 or f16",
  );
  assertThrows(
    () => nn.huberLoss(a, a, { reduction: "batchmean" as "mean" }),
    RangeError,
    'Cannot compute the huberLoss with reduction "batchmean": expected mean, sum, none',
  );
  assertThrows(() => nn.huberLoss(a, a, { delta: 0 }), RangeError, "with delta 0");
  assertThrows(() => nn.smoothL1Loss(a, a, { beta: -1 }), RangeError, "with beta -1");
  const weight = zeros([2, 4], { device });
  assertThrows(
    () => nn.binaryCrossEntropyWithLogits(a, a, { weight }),
    ShapeError,
    "Cannot compute the binaryCrossEntropyWithLogits of [4] with a weight of shape [2, 4]",
  );
  const scalar = zeros([], { device });
  assertThrows(() => nn.klDiv(scalar, scalar, { reduction: "batchmean" }), ShapeError, "scalars");
});

Deno.test("loss modules keep their weights as buffers under PyTorch's names", () => {
  const [weight, posWeight] = [zeros([3], { device }), zeros([1], { device })];
  const bce = new nn.BCEWithLogitsLoss({ weight, posWeight });
  assertEquals(Object.keys(bce.stateDict()), ["weight", "pos_weight"]);
  assertStrictEquals(bce.stateDict().pos_weight, posWeight);
  assertEquals(Object.keys(new nn.CrossEntropyLoss({ weight }).stateDict()), ["weight"]);
  assertEquals(new nn.NLLLoss().buffers(), []);
});
