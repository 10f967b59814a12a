/** The benchmarked models in this library. */

import {
  Adam,
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  type Device,
  Flatten,
  getDevice,
  jit,
  Linear,
  MaxPool2d,
  ReLU,
  Sequential,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { CpuBackend } from "../../core/backend/cpu/cpu.ts";
import type { TensorModule } from "../../nn/mod.ts";
import { ADAM, type Layer, makeBatches, type Model, NORM, startWeights } from "./models.ts";
import type { Trainer } from "./trainer.ts";

/** A trainer with its device, for counts that only this library offers. */
export interface OurTrainer extends Trainer {
  readonly device: Device;
  /** The step run op by op, also where it is captured. */
  eagerStep(): void;
}

/** How the step runs. */
export interface OurOptions {
  readonly kind?: "auto" | "webgpu" | "cpu" | "reference";
  /** Op by op, without capture. */
  readonly eager?: boolean;
}

/** The step as it is timed. */
type Step = (inputs: Tensor, targets: Tensor) => Tensor;

function moduleOf(layer: Layer): TensorModule {
  switch (layer.kind) {
    case "conv":
      return new Conv2d(layer.from, layer.to, {
        kernelSize: layer.size,
        padding: layer.padding,
      });
    case "norm":
      return new BatchNorm2d(layer.channels, NORM);
    case "linear":
      return new Linear(layer.from, layer.to);
    case "pool":
      return new MaxPool2d({ kernelSize: 2 });
    case "relu":
      return new ReLU();
    case "flatten":
      return new Flatten();
  }
}

/** The network with the start weights of the benchmark. */
function build(model: Model, device: Device): Sequential {
  const module = new Sequential(...model.layers.map(moduleOf));
  const weights = startWeights(model);
  const names = module.namedParameters().map(([name]) => name);
  if (names.length !== weights.length) {
    throw new RangeError(
      `Cannot fill the network: expected ${weights.length} parameters, found ${names.length}`,
    );
  }
  const dict = names.map((name, i) => {
    const { values, shape } = weights[i];
    return [name, tensor(values, { device, shape: [...shape] })];
  });
  module.loadStateDict(Object.fromEntries(dict), { strict: false });
  return module;
}

/** This library's trainer for a model. */
export async function openOurs(model: Model, options: OurOptions = {}): Promise<OurTrainer> {
  const device = await getDevice({ kind: options.kind ?? "auto" });
  if (device.backend instanceof CpuBackend) await device.backend.ready();
  const module = build(model, device);
  const optimizer = new Adam(module.parameters(), ADAM);
  const batches = makeBatches(model).map(({ inputs, targets }) => ({
    inputs: tensor(inputs, { device, shape: [model.batch, ...model.input] }),
    targets: tensor(targets, { device }),
  }));
  const body: Step = (inputs, targets) => {
    const loss = crossEntropy(module.forward(inputs), targets);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  };
  const opByOp: Step = (inputs, targets) => {
    using _ = device.scope();
    return body(inputs, targets).keep();
  };
  const step = options.eager ? opByOp : jit(body);
  let count = 0;
  let last: Tensor | null = null;
  const run = (step: Step): void => {
    const { inputs, targets } = batches[count++ % batches.length];
    last?.dispose();
    last = step(inputs, targets);
    device.flush();
  };
  return {
    library: "legoml",
    device,
    step: () => run(step),
    eagerStep: () => run(opByOp),
    loss: async () => (await last!.data())[0],
    close: () => device.close(),
  };
}
