import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { DTypeError, ShapeError, type Tensor, tensor, zeros } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import {
  assertClose,
  devices,
  gradcheck,
  reference as device,
  type Sample,
  sample,
  type TensorFunction,
} from "../util.ts";

Deno.test("further losses have right gradients of first and second order", async () => {
  const [x, y, z] = [1, 2, 3].map((seed) => sample([3, 4], seed));
  const inside = sample([3, 4], 4, 0.1, 0.9);
  const data = [1, -1, 1, -1, 1, 1, -1, -1, 1, -1, -1, 1];
  const signs = { shape: [3, 4], data, differentiable: false };
  const smooth: [unknown, Sample[]][] = [
    [nn.binaryCrossEntropy, [inside, sample([3, 4], 5, 0.1, 0.9)]],
    [nn.poissonNllLoss, [x, inside]],
    [nn.gaussianNllLoss, [x, y, inside]],
    [nn.softMarginLoss, [x, signs]],
    [nn.multilabelSoftMarginLoss, [x, inside]],
    [nn.cosineSimilarity, [x, y]],
    [nn.pairwiseDistance, [x, y]],
    [nn.tripletMarginLoss, [x, y, z]],
    [nn.marginRankingLoss, [x, y, signs]],
    [nn.hingeEmbeddingLoss, [x, signs]],
  ];
  for (const [loss, samples] of smooth) {
    await gradcheck(loss as TensorFunction, samples, (loss as TensorFunction).name, {
      secondOrder: true,
    });
  }
});

Deno.test("binaryCrossEntropy() is that of logits", async () => {
  for (const on of devices) {
    const logits = tensor([-3, -0.5, 0, 2, 8], { device: on });
    const target = tensor([0, 1, 0.25, 1, 0], { device: on });
    const want = await nn.binaryCrossEntropyWithLogits(logits, target).item();
    const found = await nn.binaryCrossEntropy(logits.sigmoid(), target).item();
    // 1 − sigmoid(8) is 3e-4 with the rounding of 1.
    assertClose([found], [want], 4e-5, on.kind);
  }
});

Deno.test("tripletMarginLoss() broadcasts, and means over all triplets", async () => {
  const anchor = tensor([[0, 0]], { device });
  const positive = tensor([[3, 4], [0, 1]], { device });
  const negative = tensor([[0, 5], [0, 5]], { device });
  const loss = nn.tripletMarginLoss(anchor, positive, negative, { eps: 0 });
  assertEquals(await loss.item(), 0.5); // 5 − 5 + 1 and max(0, 1 − 5 + 1)
});

Deno.test("distances of equal vectors and cosines of zeros have finite gradients", async () => {
  for (const on of devices) {
    const x = zeros([2, 3], { device: on, requiresGrad: true });
    nn.pairwiseDistance(x, zeros([2, 3], { device: on }), { eps: 0 }).sum().backward();
    nn.cosineSimilarity(x, x.detach().add(1)).sum().backward();
    const gradient = await x.grad!.data();
    assertEquals(gradient.every(Number.isFinite), true, on.kind);
  }
});

Deno.test("further losses of no elements: the mean is NaN, the sum 0", async () => {
  const x = zeros([0, 3], { device });
  const losses: ((options: nn.LossOptions) => Tensor)[] = [
    (o) => nn.binaryCrossEntropy(x, x, o),
    (o) => nn.poissonNllLoss(x, x, o),
    (o) => nn.softMarginLoss(x, x, o),
    (o) => nn.multilabelSoftMarginLoss(x, x, o),
    (o) => nn.tripletMarginLoss(x, x, x, o),
  ];
  for (const loss of losses) {
    assertEquals(await loss({}).item(), NaN);
    assertEquals(await loss({ reduction: "sum" }).item(), 0);
  }
});

Deno.test("further losses refuse what does not fit, and say what they expected", () => {
  const [a, b] = [zeros([4], { device }), zeros([4, 1], { device })];
  const rows = zeros([2, 3], { device });
  const whole = zeros([2], { dtype: "i32", device });
  const shapes: [() => unknown, string][] = [
    [
      () => nn.binaryCrossEntropy(a, b),
      "binaryCrossEntropy of [4] and [4, 1]: expected input and target",
    ],
    [() => nn.binaryCrossEntropy(a, a, { weight: rows }), "axis -1 has sizes 3 and 4"],
    [() => nn.gaussianNllLoss(rows, rows, a), "with a variance of shape [4]"],
    [() => nn.marginRankingLoss(a, a, b), "expected x1, x2 and target of one shape"],
    [() => nn.multilabelSoftMarginLoss(rows, rows, { weight: a }), "expected [3]"],
    [() => nn.multiMarginLoss(b.squeeze(1), whole), "with targets [2]: expected []"],
    [() => nn.cosineEmbeddingLoss(rows, rows, a), "with targets [4]: expected vectors"],
    [() => nn.cosineSimilarity(rows, a), "axis -1 has sizes 3 and 4"],
    [() => nn.cosineSimilarity(a, a), "along dim 1"],
    [() => nn.pairwiseDistance(zeros([], { device }), zeros([], { device })), "expected vectors"],
  ];
  for (const [run, text] of shapes) assertThrows(run, ShapeError, text);
  const numbers: [() => unknown, string][] = [
    [() => nn.softMarginLoss(a, a, { reduction: "batchmean" as "mean" }), 'reduction "batchmean"'],
    [() => nn.gaussianNllLoss(a, a, a, { eps: 0 }), "with eps 0"],
    [() => nn.poissonNllLoss(a, a, { eps: -1 }), "with eps -1"],
    [() => nn.cosineEmbeddingLoss(a, a, a, { margin: 2 }), "with margin 2"],
    [() => nn.tripletMarginLoss(a, a, a, { p: 0.5 }), "with p 0.5"],
    [() => nn.pairwiseDistance(a, a, { p: Infinity }), "with p Infinity"],
    [() => nn.multiMarginLoss(rows, whole, { p: 3 as 2 }), "with p 3: expected 1 or 2"],
  ];
  for (const [run, text] of numbers) assertThrows(run, RangeError, text);
  assertThrows(() => nn.multiMarginLoss(rows, a), DTypeError, "with targets of f32: expected i32");
  assertThrows(() => nn.softMarginLoss(whole, whole), DTypeError, "expected f32 or f16");
});

Deno.test("further loss modules are their functions, and keep weights as buffers", async () => {
  const [x, t] = [tensor([[0.25, 0.5]], { device }), tensor([[1, 0]], { device })];
  const weight = tensor([2, 3], { device });
  const classes = tensor([1], { dtype: "i32", device });
  const one = tensor([-1], { device });
  const pairs: [Tensor, Tensor][] = [
    [new nn.BCELoss({ weight }).forward(x, t), nn.binaryCrossEntropy(x, t, { weight })],
    [
      new nn.PoissonNLLLoss({ full: true }).forward(x, t),
      nn.poissonNllLoss(x, t, { full: true }),
    ],
    [new nn.GaussianNLLLoss().forward(x, t, x), nn.gaussianNllLoss(x, t, x)],
    [
      new nn.MarginRankingLoss({ margin: 2 }).forward(x, t, t),
      nn.marginRankingLoss(x, t, t, { margin: 2 }),
    ],
    [new nn.HingeEmbeddingLoss().forward(x, t), nn.hingeEmbeddingLoss(x, t)],
    [new nn.SoftMarginLoss().forward(x, t), nn.softMarginLoss(x, t)],
    [
      new nn.MultiLabelSoftMarginLoss({ weight }).forward(x, t),
      nn.multilabelSoftMarginLoss(x, t, { weight }),
    ],
    [
      new nn.MultiMarginLoss({ weight }).forward(x, classes),
      nn.multiMarginLoss(x, classes, { weight }),
    ],
    [new nn.CosineSimilarity().forward(x, t), nn.cosineSimilarity(x, t)],
    [new nn.PairwiseDistance({ p: 1 }).forward(x, t), nn.pairwiseDistance(x, t, { p: 1 })],
    [
      new nn.CosineEmbeddingLoss({ margin: 0.1 }).forward(x, t, one),
      nn.cosineEmbeddingLoss(x, t, one, { margin: 0.1 }),
    ],
    [
      new nn.TripletMarginLoss({ swap: true }).forward(x, t, x),
      nn.tripletMarginLoss(x, t, x, { swap: true }),
    ],
  ];
  for (const [found, want] of pairs) assertEquals(await found.array(), await want.array());
  const weighted = [nn.BCELoss, nn.MultiLabelSoftMarginLoss, nn.MultiMarginLoss];
  for (const Loss of weighted) assertStrictEquals(new Loss({ weight }).stateDict().weight, weight);
  assertEquals(new nn.BCELoss().buffers(), []);
});
