import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  crossEntropy,
  type Device,
  jit,
  Key,
  SGD,
  ShapeError,
  type Tensor,
  tensor,
  uniform,
} from "../../core/mod.ts";
import { deviceMachine, type DrawColumn, drawColumns } from "../../core/tensor/augment_images.ts";
import { BatchMixer, type MixedBatch, softTargets } from "../../data/mod.ts";
import { Flatten, Linear, Sequential } from "../../nn/mod.ts";
import { assertClose, devices, reference, testOnDevices } from "../util.ts";

/** Distances of sorted numbers of [0, 1] from a distribution function: Kolmogorov and Smirnov. */
function distance(values: ArrayLike<number>, cdf: (x: number) => number): number {
  const sorted = Array.from(values).sort((a, b) => a - b);
  const n = sorted.length;
  return Math.max(
    ...sorted.map((x, i) => Math.max((i + 1) / n - cdf(x), cdf(x) - i / n)),
  );
}

async function drawn(
  device: Device,
  count: number,
  column: DrawColumn,
): Promise<ArrayLike<number>> {
  const words = { now: [3, 5, 0] };
  return await drawColumns(deviceMachine(device), count, [column], { words }).data();
}

Deno.test("Beta numbers have their distribution, the same on every device", async () => {
  const count = 2000;
  // Closed forms of the distribution function of Beta(a, b).
  const cases: [number, number, (x: number) => number][] = [
    [1, 1, (x) => x],
    [0.5, 0.5, (x) => 2 / Math.PI * Math.asin(Math.sqrt(x))],
    [2, 2, (x) => x * x * (3 - 2 * x)],
    [3, 1, (x) => x ** 3],
    [1, 0.2, (x) => 1 - (1 - x) ** 0.2],
    [0.1, 1, (x) => x ** 0.1],
  ];
  for (const [a, b, cdf] of cases) {
    const want = await drawn(reference, count, { kind: "beta", a, b });
    // Exceeded once in ten thousand draws.
    const worst = distance(want, cdf);
    assert(worst < 2.23 / Math.sqrt(count), `Beta(${a}, ${b}): ${worst}`);
    for (const device of devices) {
      using _ = device.scope();
      const got = await drawn(device, count, { kind: "beta", a, b });
      assertClose(got, want, { rel: 3e-5, abs: 1e-6 }, `Beta(${a}, ${b}), ${device.kind}`);
    }
  }
});

interface Parts {
  readonly values: ArrayLike<number>;
  readonly lambda: ArrayLike<number>;
}

async function partsOf(mixed: MixedBatch): Promise<Parts> {
  return { values: await mixed.inputs.data(), lambda: await mixed.lambda.data() };
}

testOnDevices({
  name: "BatchMixer takes a share of each pixel, or a box",
  fn: async (device) => {
    using _ = device.scope();
    const count = 40;
    const [height, width] = [9, 12];
    const area = height * width;
    // Image n is n everywhere, so that each value says where it comes from.
    const images = tensor(Float32Array.from({ length: count }, (_, n) => n), { device })
      .reshape([count, 1, 1, 1]).expand([count, 2, height, width]);
    const classes = tensor(Int32Array.from({ length: count }, (_, n) => n), { device });
    for (const perImage of [false, true]) {
      const mixup = new BatchMixer({ mixup: 1, perImage, seed: 1 }).apply(images, classes);
      const { values, lambda } = await partsOf(mixup);
      assertEquals(new Set(Array.from(lambda)).size, perImage ? count : 1);
      const others = Array.from({ length: count }, (_, n) => (n + count - 1) % count);
      assertEquals(Array.from(await mixup.others.data()), others);
      const want = others.flatMap((other, n) =>
        new Array<number>(2 * area).fill(lambda[n] * n + (1 - lambda[n]) * other)
      );
      assertClose(values, want, 3e-6, "mixup");

      const cut = new BatchMixer({ cutmix: 1, perImage, seed: 2 }).apply(images, classes);
      const boxes = await partsOf(cut);
      for (let n = 0; n < count; n++) {
        let own = 0;
        for (let e = 0; e < 2 * area; e++) {
          const value = boxes.values[2 * area * n + e];
          assert(value === n || value === others[n]);
          if (value === n) own++;
        }
        assertAlmostEquals(own / (2 * area), boxes.lambda[n], 1e-6);
      }
      if (perImage) assert(new Set(Array.from(boxes.lambda)).size > count / 3);
    }
  },
});

Deno.test("BatchMixer mixes by the probabilities and shares that were asked for", async () => {
  using _ = reference.scope();
  const count = 3000;
  const images = tensor(new Float32Array(1), { device: reference }).reshape([1, 1, 1, 1])
    .expand([count, 1, 8, 8]);
  const classes = tensor(new Int32Array(count), { device: reference });
  const lambdas = async (options: ConstructorParameters<typeof BatchMixer>[0]) =>
    Array.from(
      await new BatchMixer({ perImage: true, ...options }).apply(images, classes).lambda
        .data(),
    );
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;
  const mixup = await lambdas({ mixup: 0.4 });
  // The variance of Beta(α, α) is 1 / (4 (2α + 1)).
  assertAlmostEquals(mean(mixup), 0.5, 4 * Math.sqrt(1 / (4 * 1.8) / count));
  const spread = mean(mixup.map((x) => (x - 0.5) ** 2));
  assertAlmostEquals(spread, 1 / (4 * 1.8), 0.01);
  const some = await lambdas({ mixup: 1, p: 0.25 });
  assertAlmostEquals(some.filter((x) => x < 1).length / count, 0.25, 0.035);
  // Of CutMix, shares are multiples of 1/64.
  const both = await lambdas({ mixup: 1, cutmix: 1, switchP: 0.7 });
  assertAlmostEquals(both.filter((x) => x * 64 % 1 === 0).length / count, 0.7, 0.035);
});

testOnDevices({
  name: "soft targets and pairs give one loss, and both train inside of a captured step",
  fn: async (device) => {
    using _ = device.scope();
    const [count, classCount] = [32, 3];
    const labels = Int32Array.from({ length: count }, (_, n) => n * 5 % classCount);
    const classes = tensor(labels, { device });
    // A class lights a third of the image.
    const images = tensor(
      Float32Array.from(
        { length: count * 9 },
        (_, e) => e % 9 % 3 === labels[Math.floor(e / 9)] ? 1 : 0,
      ),
      { device, shape: [count, 1, 3, 3] },
    );
    const model = new Sequential(
      new Flatten(),
      new Linear(9, classCount, { key: new Key(1), device }),
    );
    const optimizer = new SGD(model.parameters(), { lr: 0.5 });
    const mixer = new BatchMixer({ mixup: 0.4, cutmix: 1, perImage: true, seed: 6 });
    const step = jit((x: Tensor, t: Tensor) => {
      const mixed = mixer.apply(x, t);
      const logits = model.forward(mixed.inputs);
      const soft = logits.logSoftmax(1).mul(softTargets(mixed, classCount)).sum(1).neg().mean();
      const of = (targets: Tensor) => crossEntropy(logits, targets, { reduction: "none" });
      const { targets, others, lambda } = mixed;
      const pairs = of(targets).mul(lambda).add(of(others).mul(lambda.neg().add(1))).mean();
      optimizer.zeroGrad();
      soft.backward();
      optimizer.step();
      return { soft: soft.detach(), pairs: pairs.detach() };
    });
    const losses: number[] = [];
    for (let n = 0; n < 60; n++) {
      const { soft, pairs } = step(images, classes);
      const [a, b] = [await soft.item(), await pairs.item()];
      assertAlmostEquals(a, b, 1e-5);
      losses.push(a);
    }
    assertEquals(mixer.position, 60);
    assert(new Set(losses).size === 60);
    const logits = await model.forward(images).argmax(1).data();
    assertEquals(Array.from(logits), Array.from(labels));
  },
});

Deno.test("softTargets() mixes classes and probabilities alike", async () => {
  using _ = reference.scope();
  const device = reference;
  const images = uniform([3, 1, 2, 2], { key: new Key(0), device });
  const classes = tensor(new Int32Array([2, 0, 1]), { device });
  const rows = tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0]], { device });
  const make = () => new BatchMixer({ mixup: 2, seed: 1 });
  const mixed = make().apply(images, classes);
  const lambda = (await mixed.lambda.data())[0];
  const want = [0, 1 - lambda, lambda, lambda, 0, 1 - lambda, 1 - lambda, lambda, 0];
  assertClose(await softTargets(mixed, 3).data(), want, 1e-12);
  assertClose(await softTargets(make().apply(images, rows), 3).data(), want, 1e-12);
  assertThrows(() => softTargets(make().apply(images, rows), 4), ShapeError, "[N, 4]");
  assertThrows(() => make().apply(images, classes.slice({ stop: 2 })), ShapeError, "as many");
  assertThrows(() => new BatchMixer({}), RangeError, "found none");
  assertThrows(() => new BatchMixer({ mixup: -1 }), RangeError, "mixup -1");
  assertThrows(() => new BatchMixer({ mixup: 1, p: 2 }), RangeError, "p 2");
});
