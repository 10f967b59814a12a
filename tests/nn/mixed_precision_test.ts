import {
  autocast,
  crossEntropy,
  type Device,
  jit,
  Key,
  LossScaler,
  noGrad,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { AdamW } from "../../core/optim/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  Flatten,
  Linear,
  MaxPool2d,
  ReLU,
  Sequential,
  type TensorModule,
} from "../../nn/mod.ts";
import { digits } from "../../data/mod.ts";
import { assert, assertEquals } from "@std/assert";
import { testOnDevices } from "../util.ts";

const BATCH = 50;
const EPOCHS: Readonly<Record<string, number>> = { MLP: 8, CNN: 2 };
const train = digits({ split: "train", count: 4000, seed: 5 });
const test = digits({ split: "test", count: 2000, seed: 5 });

interface Rows {
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
}

function imagesOf({ images }: Rows, from: number, to: number, device: Device): Tensor {
  const values = Float64Array.from(
    images.subarray(from * 784, to * 784),
    (v) => (v / 255 - 0.15) / 0.3,
  );
  return tensor(values, { device, shape: [to - from, 1, 28, 28] });
}

function labelsOf({ labels }: Rows, from: number, to: number, device: Device): Tensor {
  return tensor(Int32Array.from(labels.subarray(from, to)), { device });
}

const models: Readonly<Record<string, (device: Device) => TensorModule>> = {
  MLP: (device) =>
    new Sequential(
      new Flatten(),
      new Linear(784, 64, { device, key: new Key(1) }),
      new ReLU(),
      new Linear(64, 10, { device, key: new Key(2) }),
    ),
  CNN: (device) =>
    new Sequential(
      new Conv2d(1, 6, { kernelSize: 3, stride: 2, padding: 1, device, key: new Key(1) }),
      new BatchNorm2d(6, { device }),
      new ReLU(),
      new Conv2d(6, 12, { kernelSize: 3, padding: 1, device, key: new Key(2) }),
      new ReLU(),
      new MaxPool2d({ kernelSize: 2 }),
      new Flatten(),
      new Linear(12 * 49, 10, { device, key: new Key(3) }),
    ),
};

/** Percent of the test images that the model gets right after some epochs, and steps that counted. */
async function trained(device: Device, name: string, half: boolean) {
  const model = models[name](device);
  using optimizer = new AdamW([...model.parameters()], { lr: 3e-3 });
  using scaler = new LossScaler({ device, initScale: 2 ** 18, growthInterval: 1000 });
  const lossOf = (x: Tensor, y: Tensor) =>
    autocast(half ? "f16" : "f32", () => crossEntropy(model.forward(x), y));
  const step = jit((x: Tensor, y: Tensor) => {
    optimizer.zeroGrad();
    const loss = lossOf(x, y);
    if (half) {
      scaler.scale(loss).backward();
      scaler.step(optimizer);
      scaler.update();
    } else {
      loss.backward();
      optimizer.step();
    }
    return loss;
  }, { verify: 2 });
  for (let epoch = 0; epoch < EPOCHS[name]; epoch++) {
    for (let at = 0; at < train.length; at += BATCH) {
      using _ = device.scope();
      optimizer.lr = 3e-3 * (1 - (epoch + at / train.length) / EPOCHS[name]);
      step(imagesOf(train, at, at + BATCH, device), labelsOf(train, at, at + BATCH, device));
    }
    await device.sync();
  }
  await step.verified();
  assertEquals(step.stats().captures, 1);
  model.eval();
  using _ = device.scope();
  const predicted = noGrad(() =>
    autocast(half ? "f16" : "f32", () => model.forward(imagesOf(test, 0, test.length, device)))
  );
  assertEquals(predicted.dtype, half ? "f16" : "f32");
  const classes = await predicted.argmax(1).data();
  const right = classes.filter((c, i) => c === test.labels[i]).length;
  for (const p of model.parameters()) assertEquals([p.dtype, p.grad!.dtype], ["f32", "f32"]);
  return {
    accuracy: 100 * right / test.length,
    scale: await scaler.getScale().item(),
    skipped: half ? await optimizer.skippedSteps!.item() : 0,
  };
}

for (const name of Object.keys(models)) {
  testOnDevices({
    name: `autocast("f16") trains a small ${name} as well as f32`,
    f16: true,
    fn: async (device) => {
      const full = await trained(device, name, false);
      const half = await trained(device, name, true);
      assert(full.accuracy > 90, `f32 gets ${full.accuracy} %`);
      assert(
        Math.abs(half.accuracy - full.accuracy) <= 1,
        `f16 gets ${half.accuracy} %, f32 ${full.accuracy} %`,
      );
      // The first scale is too large: it falls by half with every step that is skipped.
      assert(half.skipped > 0 && half.skipped < 6, `${half.skipped} steps skipped`);
      assertEquals(half.scale, 2 ** (18 - half.skipped));
    },
  });
}
