import { type Device, jit, LossScaler, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import {
  Adam,
  type AdamOptions,
  GradientAccumulator,
  type GradientAccumulatorStateDict,
  type Optimizer,
  OptimizerStateError,
  SGD,
  type StepControls,
} from "../../core/optim/mod.ts";
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { assertClose, devices, randomValues, reference, testOnDevices } from "../util.ts";

const FEATURES = 7;

/** A linear model with a bias, whose loss is the mean square over samples. */
interface Model {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly parameters: readonly Tensor[];
}

function modelOn(device: Device): Model {
  const weight = tensor(randomValues(FEATURES, 1), { device, requiresGrad: true });
  const bias = tensor([0.25], { device, requiresGrad: true });
  return { weight, bias, parameters: [weight, bias] };
}

/** Samples [first, first + size) of an endless data set. */
function batchOf(device: Device, first: number, size: number): [Tensor, Tensor] {
  const rows = Array.from({ length: size }, (_, i) => randomValues(FEATURES, 1000 + first + i));
  const targets = Array.from({ length: size }, (_, i) => randomValues(1, 9000 + first + i)[0]);
  const inputs = tensor(Float64Array.from(rows.flatMap((row) => [...row])), {
    device,
    shape: [size, FEATURES],
  });
  return [inputs, tensor(targets, { device })];
}

function lossOf({ weight, bias }: Model, inputs: Tensor, targets: Tensor): Tensor {
  return inputs.mul(weight).sum(1).add(bias).sub(targets).square().mean();
}

function numbers(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())));
}

type Make = (params: readonly Tensor[], controls?: StepControls) => Optimizer;

const makes: Readonly<Record<string, Make>> = {
  SGD: (p, c) => new SGD(p, { lr: 0.1, momentum: 0.9, ...c }),
  Adam: (p, c) => new Adam(p, { lr: 0.05, ...c }),
};

/** Sizes of batches of three windows of up to four: ragged ones, early ends, and one alone. */
const WINDOWS = [[3, 3, 3, 3], [4, 4, 4, 1], [2, 5, 3], [6]];

/** Values after windows in one batch each. */
async function whole(device: Device, make: Make, controls: StepControls): Promise<number[][]> {
  const model = modelOn(device);
  using optimizer = make(model.parameters, controls);
  let first = 0;
  for (const sizes of WINDOWS) {
    const size = sizes.reduce((a, b) => a + b, 0);
    optimizer.zeroGrad();
    lossOf(model, ...batchOf(device, first, size)).backward();
    optimizer.step();
    first += size;
  }
  return await numbers(model.parameters);
}

interface Parts {
  readonly captured?: boolean;
  readonly scaled?: boolean;
}

/** Values after the same windows in small batches. */
async function parts(
  device: Device,
  make: Make,
  controls: StepControls,
  { captured = false, scaled = false }: Parts,
) {
  const model = modelOn(device);
  using optimizer = make(model.parameters, controls);
  const scaler = scaled ? new LossScaler({ device, initScale: 1024 }) : null;
  const accumulator = new GradientAccumulator(optimizer, { every: 4, scaler });
  const turn = (inputs: Tensor, targets: Tensor) => {
    const loss = lossOf(model, inputs, targets);
    accumulator.backward(loss, targets.size);
    accumulator.step();
    return { loss };
  };
  const step = jit(turn);
  let first = 0;
  for (const sizes of WINDOWS) {
    sizes.forEach((size, i) => {
      (captured ? step : turn)(...batchOf(device, first, size));
      assertEquals(accumulator.isUpdateStep, i === 3);
      assertEquals(accumulator.microBatches, (i + 1) % 4);
      first += size;
    });
    const early = sizes.length < 4;
    assertEquals(accumulator.flush(), early);
    assertEquals([accumulator.isUpdateStep, accumulator.samples], [early, 0]);
  }
  return { values: await numbers(model.parameters), captures: step.stats().captures };
}

for (const device of devices) {
  const bound = device === reference ? 1e-12 : 3e-6;
  for (const [name, make] of Object.entries(makes)) {
    for (const controls of [{}, { maxGradNorm: 0.3, skipNonFinite: true }]) {
      const label = "maxGradNorm" in controls ? `${name} with maxGradNorm` : name;
      Deno.test(`${label}: windows are steps of one batch of all samples (${device.kind})`, async () => {
        const want = await whole(device, make, controls);
        for (const scaled of [false, true]) {
          const { values } = await parts(device, make, controls, { scaled });
          values.forEach((got, i) => assertClose(got, want[i], bound, `parameter ${i}`));
          const replayed = await parts(device, make, controls, { captured: true, scaled });
          assertEquals(replayed.values, values, "captured steps have the same bits");
        }
      });
    }
  }

  Deno.test(`captures are those of a first, a middle and a last batch (${device.kind})`, () => {
    const model = modelOn(device);
    using optimizer = new SGD(model.parameters, { lr: 0.1 });
    const accumulator = new GradientAccumulator(optimizer, { every: 8 });
    const step = jit((inputs: Tensor, targets: Tensor) => {
      accumulator.backward(lossOf(model, inputs, targets), targets.size);
      return { updates: accumulator.step(), asked: accumulator.isUpdateStep };
    });
    const updates = Array.from({ length: 32 }, (_, i) => {
      const { updates, asked } = step(...batchOf(device, 3 * i, 3));
      assertEquals([asked, accumulator.isUpdateStep], [updates, updates]);
      return updates;
    });
    assertEquals(updates, updates.map((_, i) => i % 8 === 7));
    assertEquals(step.stats().captures, 3);
    // One that ends early is another middle less, not another capture.
    step(...batchOf(device, 0, 3));
    accumulator.flush();
    step(...batchOf(device, 0, 3));
    assertEquals([accumulator.microBatches, step.stats().captures], [1, 3]);
  });

  Deno.test(`gradients of a window are the mean, and weights need not be counts (${device.kind})`, async () => {
    const w = tensor([0, 0], { device, requiresGrad: true });
    using optimizer = new SGD([w], { lr: 1 });
    const accumulator = new GradientAccumulator(optimizer, { every: 3 });
    const add = (gradient: number[], samples: number) =>
      accumulator.backward(w.mul(tensor(gradient, { device })).sum(), samples);
    add([1, 2], 0.5);
    add([5, -4], 1.5);
    assertEquals([accumulator.microBatches, accumulator.samples], [2, 2]);
    assertEquals(accumulator.flush(), true);
    assertClose(await w.grad!.data(), [4, -2.5], 1e-6);
    assertClose(await w.data(), [-4, 2.5], 1e-6);
    // The next window begins anew; one batch alone is its own mean, whatever it weighs.
    add([1, 1], 17);
    accumulator.flush();
    assertClose(await w.grad!.data(), [1, 1], 0);
  });

  Deno.test(`stateDict() goes on in the midst of a window with the same bits (${device.kind})`, async () => {
    const sizes = [3, 2, 4, 1, 2, 2];
    const feed = (model: Model, accumulator: GradientAccumulator<AdamOptions>, from: number) => {
      sizes.slice(from).forEach((size, i) => {
        accumulator.backward(lossOf(model, ...batchOf(device, 10 * (from + i), size)), size);
        accumulator.step();
      });
    };
    const model = modelOn(device);
    using optimizer = new Adam(model.parameters, { lr: 0.1 });
    const accumulator = new GradientAccumulator(optimizer, { every: 4 });
    sizes.slice(0, 2).forEach((size, i) =>
      accumulator.backward(lossOf(model, ...batchOf(device, 10 * i, size)), size)
    );
    const { gradients, ...place } = accumulator.stateDict();
    assertEquals(place, { microBatches: 2, samples: 5, firstSamples: 3 });
    assertEquals(Object.keys(gradients), ["0", "1"]);
    const dict: GradientAccumulatorStateDict = {
      ...JSON.parse(JSON.stringify(place)),
      gradients: Object.fromEntries(
        await Promise.all(
          Object.entries(gradients).map(async ([id, gradient]) => [
            id,
            tensor(Float64Array.from(await gradient.data()), { device, shape: gradient.shape }),
          ]),
        ),
      ),
    };
    feed(model, accumulator, 2);

    const copy = modelOn(device);
    using second = new Adam(copy.parameters, { lr: 0.1 });
    const other = new GradientAccumulator(second, { every: 4 });
    other.backward(lossOf(copy, ...batchOf(device, 77, 5)), 5);
    other.loadStateDict(dict);
    feed(copy, other, 2);
    assertEquals(await numbers(copy.parameters), await numbers(model.parameters));
    assertEquals(other.stateDict().microBatches, 2);
  });
}

testOnDevices({
  name: "f16 gradients accumulate with a loss scale",
  f16: true,
  fn: async (device) => {
    const half = noGrad(() => tensor([0, 0], { device, dtype: "f16" }));
    half.requiresGrad = true;
    using optimizer = new SGD([half], { lr: 1 });
    const scaler = new LossScaler({ device, initScale: 4096 });
    const accumulator = new GradientAccumulator(optimizer, { every: 2, scaler });
    // Without the scale, the smaller one would vanish.
    for (const [samples, size] of [[1, 2 ** -18], [3, 2 ** -17]]) {
      const loss = half.to("f32").mul(tensor([size, 1], { device })).sum();
      accumulator.backward(loss, samples);
      accumulator.step();
    }
    assert(accumulator.isUpdateStep);
    const [small, large] = await half.data();
    assertClose([small, large], [-(2 ** -18 + 3 * 2 ** -17) / 4, -1], { rel: 2e-3, abs: 3e-8 });
  },
});

Deno.test("a window with a NaN is skipped as one step", async () => {
  for (const device of devices) {
    const w = tensor([1], { device, requiresGrad: true });
    using optimizer = new SGD([w], { lr: 1, skipNonFinite: true });
    const accumulator = new GradientAccumulator(optimizer, { every: 2 });
    for (const g of [1, NaN, 1, 3]) {
      accumulator.backward(w.mul(g).sum(), 1);
      accumulator.step();
    }
    assertEquals(await w.item(), -1);
    assertEquals(await optimizer.skippedSteps!.item(), 1);
  }
});

Deno.test("a gradient that was set by hand counts like one that backward left", async () => {
  const w = tensor([0], { device: reference, requiresGrad: true });
  using optimizer = new SGD([w], { lr: 1 });
  const accumulator = new GradientAccumulator(optimizer, { every: 2 });
  accumulator.backward(w.mul(2).sum(), 1);
  w.grad = tensor([6], { device: reference });
  accumulator.backward(w.mul(2).sum(), 1);
  accumulator.step();
  assertEquals(await w.item(), -4);
  assertStrictEquals(w.grad, w.gradSlot);
});

Deno.test("every 1 is a plain step, to the bit", async () => {
  for (const device of devices) {
    const run = async (accumulated: boolean) => {
      const model = modelOn(device);
      using optimizer = new Adam(model.parameters, { lr: 0.1 });
      const accumulator = new GradientAccumulator(optimizer, { every: 1 });
      for (let i = 0; i < 5; i++) {
        const loss = lossOf(model, ...batchOf(device, 4 * i, 4));
        if (accumulated) {
          accumulator.backward(loss, 4);
          assertEquals(accumulator.step(), true);
        } else {
          optimizer.zeroGrad();
          loss.backward();
          optimizer.step();
        }
      }
      return await numbers(model.parameters);
    };
    assertEquals(await run(true), await run(false));
  }
});

Deno.test("GradientAccumulator refuses what has no meaning", () => {
  const w = tensor([1, 2], { device: reference, requiresGrad: true });
  using optimizer = new SGD([w], { lr: 1 });
  for (const every of [0, 1.5, NaN]) {
    const make = () => new GradientAccumulator(optimizer, { every });
    assertThrows(make, RangeError, `of ${every} batches`);
  }
  const accumulator = new GradientAccumulator(optimizer, { every: 2 });
  assertThrows(() => accumulator.step(), Error, "expected a backward()");
  assertEquals(accumulator.flush(), false);
  for (const samples of [0, -1, NaN, Infinity]) {
    assertThrows(() => accumulator.backward(w.sum(), samples), RangeError, `${samples} samples`);
  }
  accumulator.backward(w.sum(), 1);
  assertThrows(() => accumulator.backward(w.mul(2), 1), Error, "expected a scalar");
  accumulator.backward(w.sum(), 1);
  assertThrows(() => accumulator.backward(w.sum(), 1), Error, "expected step()");
  accumulator.reset();
  assertEquals([accumulator.microBatches, w.grad], [0, null]);

  const good = { microBatches: 1, samples: 2, firstSamples: 2, gradients: {} };
  const refused = (change: object, message: string) =>
    assertThrows(
      () => accumulator.loadStateDict({ ...good, ...change }),
      OptimizerStateError,
      message,
    );
  refused({ microBatches: 3 }, "an integer from 0 to 2, found 3");
  refused({ samples: 0 }, "samples to be a number above 0, found 0");
  refused({ gradients: { "7": w } }, "no parameter 7");
  refused({ gradients: { "0": 1 } }, "gradient 0 is number");
  refused(
    { gradients: { "0": tensor([1], { device: reference }) } },
    "has shape [1], expected [2]",
  );
  assertEquals(accumulator.microBatches, 0);
});
