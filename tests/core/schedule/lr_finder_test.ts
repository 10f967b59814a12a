import {
  AdamW,
  Context,
  type Device,
  Engine,
  lrRangeTest,
  referenceDevice,
  SGD,
  supervisedStep,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import { suggest } from "../../../core/schedule/lr_finder.ts";
import { type ClassificationBatch, DataLoader, digits } from "../../../data/mod.ts";
import {
  BatchNorm1d,
  crossEntropy,
  Flatten,
  Linear,
  mseLoss,
  ReLU,
  Sequential,
} from "../../../nn/mod.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { assertClose, testOnDevices } from "../../util.ts";
import { seedScope } from "../../../core/tensor/random.ts";

/** A model with running statistics, an optimizer with momentum and averages, shuffled batches. */
function training(device: Device, kind: "sgd" | "adam") {
  using _ = seedScope(7);
  const model = new Sequential(
    new Flatten(),
    new Linear(784, 16, { device }),
    new BatchNorm1d(16, { device }),
    new ReLU(),
    new Linear(16, 10, { device }),
  );
  const [first, ...others] = model.parameters();
  const groups = [{ params: [first], lr: 0.02 }, { params: others, lr: 0.04 }];
  const optimizer = kind === "adam"
    ? new AdamW(groups, { ema: { decay: 0.9, warmup: true } })
    : new SGD(groups, { momentum: 0.9, nesterov: true, maxGradNorm: 1 });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const dataset = digits({ split: "train", count: 64 });
  const loader = new DataLoader(dataset, { batchSize: 8, shuffle: true, seed: 3, device });
  const step = supervisedStep<ClassificationBatch>();
  const train = async (maxEpochs: number) => {
    await new Engine(step, context).loop(loader, { maxEpochs });
  };
  return { model, optimizer, context, loader, step, train };
}

/** Every number of a model and its optimizer. */
async function numbersOf(
  { model, optimizer }: Pick<ReturnType<typeof training>, "model" | "optimizer">,
): Promise<Record<string, unknown>> {
  const { state, param_groups } = optimizer.stateDict();
  const slots = Object.entries(state).flatMap(([id, entry]) =>
    Object.entries(entry).map(([name, value]) => [`${id} ${name}`, value] as const)
  );
  const all = [...Object.entries(model.stateDict()), ...slots];
  const read = all.map(async ([name, value]) =>
    [name, typeof value === "number" ? value : await (value as Tensor).array()] as const
  );
  return { ...Object.fromEntries(await Promise.all(read)), groups: param_groups };
}

for (const kind of ["sgd", "adam"] as const) {
  for (const epochs of [0, 1]) {
    testOnDevices({
      name: `training goes on as if there had been no test, ${kind}, after ${epochs} epochs`,
      fn: async (device) => {
        const [tested, plain] = [training(device, kind), training(device, kind)];
        if (epochs > 0) await Promise.all([tested.train(epochs), plain.train(epochs)]);
        const before = await numbersOf(tested);
        const { rows } = await lrRangeTest(tested.step, tested.context, tested.loader, {
          minLr: 1e-3,
          maxLr: 100,
          steps: 20,
        });
        assert(rows.length > 10, `${rows.length} steps`);
        assertEquals(await numbersOf(tested), before);
        assert(tested.model.parameters().every((parameter) => parameter.grad === null));
        await tested.train(2);
        await plain.train(2);
        assertEquals(await numbersOf(tested), await numbersOf(plain));
        assertEquals(tested.loader.state().epoch, epochs + 2);
      },
    });
  }
}

Deno.test("rates, losses and the end are those of gradient descent on a parabola", async () => {
  const device = referenceDevice();
  const model = new Linear(1, 1, { bias: false, device });
  const optimizer = new SGD(model.parameters(), { lr: 0.3 });
  const context = new Context({ model, optimizer, lossFn: mseLoss, device });
  const batch = { inputs: tensor([[1]], { device }), targets: tensor([[0]], { device }) };
  const options = { minLr: 1e-4, maxLr: 1e3, steps: 141, smoothing: 0.8, divergence: 3 };
  const found = await lrRangeTest(supervisedStep(), context, [batch], options);

  let [weight, average, least] = [await model.weight.item(), 0, Infinity];
  const [lrs, losses]: [number[], number[]] = [[], []];
  for (let t = 0; t < options.steps; t++) {
    // Twenty steps for each factor of ten
    lrs.push(1e-4 * 10 ** (t / 20));
    losses.push(weight ** 2);
    average = 0.8 * average + 0.2 * losses[t];
    const mean = average / (1 - 0.8 ** (t + 1));
    least = Math.min(least, mean);
    if (mean > 3 * least) break;
    weight -= lrs[t] * 2 * weight;
  }
  const want = lrs.map((lr, i) => {
    const weights = losses.map((_, j) => 0.8 ** Math.abs(i - j));
    const sum = losses.reduce(
      (total, loss, j) => total + weights[j] * Math.min(loss, 3 * least),
      0,
    );
    return { lr, loss: losses[i], smoothed: sum / weights.reduce((x, y) => x + y) };
  });
  for (const key of ["lr", "loss", "smoothed"] as const) {
    // The weight is stored in f32
    assertClose(found.rows.map((row) => row[key]), want.map((row) => row[key]), {
      rel: 2e-5,
      abs: 1e-12,
    }, key);
  }
  assert(found.diverged && found.rows.length < options.steps);
  const heights = want.map(({ smoothed }) => smoothed);
  const lowest = heights.indexOf(Math.min(...heights));
  const slopes = heights.slice(0, lowest).map((_, i) =>
    i < 14 ? 0 : (heights[i + 1] - heights[i - 1]) / 2
  );
  assertClose([found.minimum!], [want[lowest].lr], 1e-12);
  assertClose([found.steepest!], [want[slopes.indexOf(Math.min(...slopes))].lr], 1e-12);
  // Steps above 1 are too large for a parabola of curvature 2
  assert(found.minimum! > 0.1 && found.minimum! < 2, Deno.inspect(found));
  assert(found.steepest! > 0.01 && found.steepest! < found.minimum!, Deno.inspect(found));
  assertEquals(found.minimumTenth, found.minimum! / 10);
});

Deno.test("suggestions are where a known curve falls most and where it is least", () => {
  const curve = (height: (i: number) => number, count = 100) =>
    Array.from({ length: count }, (_, i) => {
      const smoothed = height(i);
      return { lr: 1e-5 * 1.2 ** i, loss: smoothed, smoothed };
    });
  const fall = curve((i) => i <= 70 ? 2 - Math.tanh((i - 40) / 8) : 1 + (i - 70));
  const { steepest, minimum, minimumTenth } = suggest(fall, 100);
  assertEquals([steepest, minimum, minimumTenth], [fall[40].lr, fall[70].lr, fall[70].lr / 10]);

  // A jump of the first tenth is noise
  const noisy = curve((i) => i < 5 ? 50 - 9 * i : 2 - Math.tanh((i - 40) / 8));
  assertEquals(suggest(noisy, 100).steepest, noisy[40].lr);

  const none = { steepest: null, minimum: null, minimumTenth: null };
  assertEquals(suggest(curve((i) => i), 100), none);
  assertEquals(suggest(curve(() => 1), 100), none);
  assertEquals(suggest(curve(() => NaN), 100), none);
  assertEquals(suggest([], 100), none);
  // The gap of a loss that is no number ends what is looked at
  const broken = curve((i) => i === 60 ? NaN : 2 - Math.tanh((i - 40) / 8), 61);
  assertEquals(suggest(broken, 100).minimum, broken[59].lr);
});

/** A range test of a step that returns given losses. */
async function withLosses(losses: readonly number[], steps = losses.length) {
  const device = referenceDevice();
  const model = new Linear(1, 1, { device });
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  const context = new Context({ model, optimizer, device });
  let at = 0;
  const step = () => ({ loss: tensor(losses[at++], { device }) });
  return await lrRangeTest(step, context, [0, 1, 2], { minLr: 0.1, maxLr: 1, steps, smoothing: 0 });
}

Deno.test("a loss that is no number, or four times the least one, ends the test", async () => {
  const calm = Array.from({ length: 12 }, (_, i) => 4 - i / 12);
  const whole = await withLosses(calm);
  assertEquals([whole.rows.length, whole.diverged], [12, false]);
  assertEquals([whole.rows[0].lr, whole.rows[11].lr], [0.1, 1]);
  for (const bad of [NaN, Infinity, 13.7]) {
    const { rows, diverged } = await withLosses([...calm.slice(0, 8), bad, ...calm]);
    assertEquals([rows.length, diverged], [9, true]);
    assertEquals(rows[8].loss, bad);
    // Not the loss itself, which would leave nothing of the others
    assertEquals(rows[8].smoothed, 4 * calm[7]);
  }
  assertEquals((await withLosses([...calm.slice(0, 8), 13, ...calm])).diverged, false);
  // Below 0 the bound lies as far above the least loss
  assertEquals((await withLosses([...calm.map((x) => -x), -1, 7, 9, 13])).rows.length, 15);
});

Deno.test("an error of the step comes out, and everything is put back all the same", async () => {
  const device = referenceDevice();
  const model = new Linear(2, 1, { device });
  const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.5 });
  const context = new Context({ model, optimizer, lossFn: mseLoss, device });
  const before = await numbersOf({ model, optimizer } as never);
  const good = { inputs: tensor([[1, 2]], { device }), targets: tensor([[1]], { device }) };
  const bad = { ...good, inputs: tensor([[1, 2, 3]], { device }) };
  await assertRejects(() => lrRangeTest(supervisedStep(), context, [good, good, bad]), Error);
  assertEquals(await numbersOf({ model, optimizer } as never), before);
});

Deno.test("what cannot be tested is refused before a step", async () => {
  const device = referenceDevice();
  const model = new Linear(1, 1, { device });
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  const context = new Context({ model, optimizer, lossFn: mseLoss, device });
  const test = (options: object) => lrRangeTest(supervisedStep(), context, [], options);
  const cases: [object, string][] = [
    [{ minLr: 0 }, "minLr 0: expected a number above 0"],
    [{ minLr: 1, maxLr: 1 }, "maxLr 1: expected a number above minLr, which is 1"],
    [{ steps: 9 }, "steps 9"],
    [{ smoothing: 1 }, "smoothing 1: expected a number from 0 to below 1"],
    [{ minLr: NaN }, "minLr NaN"],
    [{ divergence: 1 }, "divergence 1"],
    [{ min: 1 }, "unknown options min"],
    [{}, "empty loader"],
  ];
  for (const [options, message] of cases) {
    await assertRejects(() => test(options), RangeError, message);
  }
  await assertRejects(
    () => lrRangeTest(() => ({ error: 1 }), context, [1]),
    TypeError,
    "expected the step to return a loss, found error",
  );
  await assertRejects(
    () => lrRangeTest(() => ({}), new Context({ model: null, optimizer }) as never, [1]),
    TypeError,
    "context's model",
  );
  await assertRejects(
    () => lrRangeTest(() => ({}), new Context({ model, optimizer: {} }) as never, [1]),
    TypeError,
    "context's optimizer",
  );
});
