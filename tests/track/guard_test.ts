import {
  Context,
  type Device,
  Engine,
  SGD,
  supervisedStep,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { type Module, mseLoss } from "../../nn/mod.ts";
import {
  type NumericFault,
  NumericFaultError,
  NumericGuardCallback,
  type NumericGuardOptions,
} from "../../track/mod.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { testOnDevices } from "../util.ts";
import {
  type GuardBatch,
  ImageNet,
  images,
  poison,
  SAMPLES,
  TokenNet,
  tokens,
} from "./guard_models.ts";

type Loss = (p: Tensor, t: Tensor) => Tensor;

interface Setup {
  readonly model: Module & { forward(x: Tensor): Tensor };
  readonly batches: readonly GuardBatch[];
  readonly lossFn?: Loss;
  readonly options?: NumericGuardOptions;
  readonly skipNonFinite?: boolean;
  readonly capture?: boolean;
  /** Called before step 6. */
  readonly spoil?: () => void;
}

/** Trains until the guard stops it, and gives what it found. */
async function faultOf(device: Device, setup: Setup): Promise<NumericFault> {
  const { model, batches, lossFn = mseLoss, skipNonFinite = false, spoil, capture } = setup;
  const optimizer = new SGD(model.parameters(), { lr: 0.01, momentum: 0.9, skipNonFinite });
  const guard = new NumericGuardCallback({ every: 4, ...setup.options });
  const engine = new Engine(
    supervisedStep<GuardBatch>({ capture }),
    new Context({ model, optimizer, lossFn, device }),
    { callbacks: [guard] },
  );
  if (spoil) engine.on("stepStart", ({ state }) => void (state.globalStep === 5 && spoil()));
  const { fault, message } = await assertRejects(() => engine.loop(batches), NumericFaultError);
  assertEquals([fault.message, guard.faults], [message, 1]);
  return fault;
}

const where = ({ origin }: NumericFault) => [origin!.where, origin!.name, origin!.type];
const amount = ({ origin }: NumericFault) => [origin!.bad, origin!.count];

// The first element of each weight: what of the layer's output follows from it, worked out by hand.
const LAYERS = [
  ["conv", "Conv2d", (m: ImageNet) => m.conv.weight, 4 * SAMPLES, 12 * SAMPLES],
  ["bn", "BatchNorm2d", (m: ImageNet) => m.bn.weight!, 4 * SAMPLES, 12 * SAMPLES],
  ["blocks.hidden", "Linear", (m: ImageNet) => m.blocks.hidden.weight, SAMPLES, 5 * SAMPLES],
  ["blocks.norm", "LayerNorm", (m: ImageNet) => m.blocks.norm.weight!, SAMPLES, 5 * SAMPLES],
  ["head", "Linear", (m: ImageNet) => m.head.weight, SAMPLES, 2 * SAMPLES],
] as const;

for (const [name, type, weightOf, bad, count] of LAYERS) {
  testOnDevices({
    name: `a NaN in the weight of "${name}" is named, with how much of the output it spoils`,
    fn: async (device) => {
      const model = new ImageNet(device);
      const spoil = () => poison(weightOf(model));
      const batches = images(device);
      const fault = await faultOf(device, { model, batches, spoil, skipNonFinite: true });
      assertEquals([fault.kind, fault.step, fault.epoch], ["loss", 6, 1]);
      assertEquals([where(fault), amount(fault)], [["output", name, type], [bad, count]]);
      const { parameter } = fault.origin!;
      assertEquals([parameter!.name, parameter!.bad], [`${name}.weight`, 1]);
      // Nobody but the handler has put it there, so running the steps again does not show it.
      assertEquals(fault.reproduced, false);
      assert(
        fault.message.startsWith(
          `Loss is NaN at step 6 (epoch 1): the output of "${name}" (${type})`,
        ),
      );
    },
  });

  testOnDevices({
    name: `the first overflow is named where it is, in "${name}"`,
    fn: async (device) => {
      const model = new ImageNet(device, (x) => x.clamp(-1e6, 1e6));
      const weight = weightOf(model);
      // Finite, but a product with anything above 1, or a sum of several, is not.
      weight.detach().fill_(3e38);
      const batches = images(device);
      if (name === "conv") {
        for (const batch of batches) batch.inputs = batch.inputs.mul(8).abs();
      }
      const fault = await faultOf(device, { model, batches });
      assertEquals([fault.step, fault.reproduced], [1, true]);
      assertEquals(where(fault), ["output", name, type]);
      assertEquals(fault.origin!.parameter, null); // the weights themselves are sound
      assert(fault.message.startsWith("Loss is"));
    },
  });
}

for (const capture of [true, false]) {
  testOnDevices({
    name: `a NaN in an embedding is named with the samples that use it, captured ${capture}`,
    fn: async (device) => {
      const model = new TokenNet(device);
      const spoil = () => poison(model.tokens.weight);
      const setup = { model, batches: tokens(device), spoil, skipNonFinite: true, capture };
      const fault = await faultOf(device, setup);
      assertEquals(fault.step, 6); // token 0 is in no other batch
      assertEquals(where(fault), ["output", "tokens", "Embedding"]);
      assertEquals(amount(fault), [2, SAMPLES * 3 * 4]);
      assertEquals(fault.origin!.parameter!.name, "tokens.weight");
      assertEquals([fault.origin!.samples, fault.sampleIds], [[4], [504]]);
      assert(fault.message.includes("samples of the batch: 4; their indices: 504"));
    },
  });
}

testOnDevices({
  name: "an activation is named where its input is sound",
  fn: async (device) => {
    const act = (x: Tensor) => x.sub(0.2).log();
    const fault = await faultOf(device, {
      model: new ImageNet(device, act),
      batches: images(device),
    });
    assertEquals([where(fault), fault.step], [["output", "act", "Apply"], 1]);
    assertEquals([fault.reproduced, fault.origin!.parameter], [true, null]);
  },
});

testOnDevices({
  name: "a function that a model calls by itself is the model's",
  fn: async (device) => {
    class Own extends ImageNet {
      override forward(x: Tensor): Tensor {
        return super.forward(x).sub(1e6).sqrt();
      }
    }
    const fault = await faultOf(device, { model: new Own(device), batches: images(device) });
    assertEquals(where(fault), ["output", "", "Own"]);
    assert(fault.message.includes("the output of the model itself (Own) is the first that is bad"));
  },
});

testOnDevices({
  name: "the loss function is named where the outputs are sound",
  fn: async (device) => {
    const lossFn: Loss = (p, t) => p.sub(t).square().neg().sub(1).log().mean();
    const fault = await faultOf(device, {
      model: new ImageNet(device),
      batches: images(device),
      lossFn,
    });
    assertEquals([where(fault), amount(fault)], [["loss", null, null], [1, 1]]);
  },
});

for (const part of ["inputs", "targets"] as const) {
  testOnDevices({
    name: `bad ${part} are named with their samples and indices`,
    fn: async (device) => {
      const batches = images(device);
      const batch = batches[5];
      const values = Float64Array.from(await batch[part].data());
      const row = values.length / SAMPLES;
      values[2 * row] = NaN;
      values[4 * row + 1] = Infinity;
      values[4 * row] = -Infinity;
      batch[part] = tensor(values, { device, shape: batch[part].shape });
      const fault = await faultOf(device, { model: new ImageNet(device), batches });
      assertEquals([where(fault), fault.step], [["data", part, null], 6]);
      assertEquals(amount(fault), [3, values.length]);
      assertEquals([fault.origin!.samples, fault.sampleIds], [[2, 4], [502, 504]]);
      const finite = [...values].filter(Number.isFinite);
      assertEquals([fault.origin!.min, fault.origin!.max], [
        Math.min(...finite),
        Math.max(...finite),
      ]);
    },
  });
}

for (const every of [1, 4]) {
  testOnDevices({
    name: `a gradient alone is named at the step where it went bad, every ${every}`,
    fn: async (device) => {
      // The square root of 0 has an infinite slope, which the product with 0 makes NaN.
      const act = (x: Tensor) => x.mul(0).sqrt();
      const model = new ImageNet(device, act);
      const fault = await faultOf(device, { model, batches: images(device), options: { every } });
      assertEquals([where(fault), fault.step], [["gradient", "act", "Apply"], 1]);
      assertEquals(fault.origin!.parameter, null);
      assert(fault.message.includes('the gradient at "act" (Apply) is the first that is not'));
      assertEquals(fault.message.includes(", from step 1 on"), every === 4); // seen at step 2
    },
  });
}

testOnDevices({
  name: "the gradient of the loss itself is told apart",
  fn: async (device) => {
    const lossFn: Loss = (p) => p.mul(0).sqrt().sum();
    const model = new ImageNet(device);
    const fault = await faultOf(device, {
      model,
      batches: images(device),
      lossFn,
      options: { every: 1 },
    });
    assertEquals([where(fault), fault.kind], [["gradient", null, null], "gradient"]);
    assert(fault.message.includes("all outputs and the loss are finite, its gradient is not"));
  },
});

testOnDevices({
  name: "weights that are bad before the first step are refused by name",
  fn: async (device) => {
    const model = new ImageNet(device);
    poison(model.blocks.norm.bias!, -Infinity);
    const fault = await faultOf(device, { model, batches: images(device) });
    assertEquals([fault.kind, fault.step], ["weights", 0]);
    assertEquals(
      fault.message,
      'Weights are not finite before the first step: those of "blocks.norm.bias"',
    );
  },
});

testOnDevices({
  name: "weights that overflow in the last update are found before anything is saved",
  fn: async (device) => {
    const model = new ImageNet(device);
    const optimizer = new SGD(model.parameters(), { lr: 0.01 });
    const engine = new Engine(
      supervisedStep<GuardBatch>(),
      new Context({
        model,
        optimizer,
        lossFn: (p: Tensor, t: Tensor) => mseLoss(p, t).mul(100),
        device,
      }),
      { callbacks: [new NumericGuardCallback({ every: 100 })] },
    );
    engine.on("stepStart", ({ state }) => {
      if (state.globalStep === 2) optimizer.lr = 3.4e38;
    });
    let saved = false;
    engine.on("epochEnd", () => void (saved = true), { phase: "persist" });
    const batches = images(device, 3);
    const { fault } = await assertRejects(() => engine.loop(batches), NumericFaultError);
    assertEquals([fault.kind, fault.step, fault.reproduced, saved], ["weights", 3, false, false]);
    assertEquals(fault.origin!.where, "output");
    assert(fault.origin!.parameter !== null);
  },
});
