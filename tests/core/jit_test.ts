import { assert, assertEquals } from "@std/assert";
import {
  Adam,
  AdamW,
  clipGradNorm,
  crossEntropy,
  jit,
  type Jitted,
  Key,
  noGrad,
  ones,
  type Optimizer,
  RMSprop,
  SGD,
  SupervisedStepOutput,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { addInto } from "../../core/tensor/in_place.ts";
import { Dropout } from "../../nn/mod.ts";
import { MeanLoss, MultiClassAccuracy } from "../../metrics/mod.ts";
import { assertClose } from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";
import { type Recipe, subjects, trace, trainBothWays, type Training } from "./program/training.ts";

const optimizers: Record<string, (parameters: Tensor[]) => Optimizer> = {
  SGD: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 1e-3, nesterov: true }),
  Adam: (p) => new Adam(p, { lr: 0.01 }),
  AdamW: (p) => new AdamW(p, { lr: 0.01, weightDecay: 0.1 }),
  RMSprop: (p) => new RMSprop(p, { lr: 0.01, momentum: 0.5, centered: true }),
};

function plainStep({ model, optimizer }: Training, inputs: Tensor, targets: Tensor): Tensor {
  const loss = crossEntropy(model.forward(inputs), targets);
  optimizer.zeroGrad();
  loss.backward();
  optimizer.step();
  return loss;
}

function schedule({ optimizer }: Training, turn: number): void {
  optimizer.lr = 0.05 / (turn + 1);
}

const base: Recipe = {
  subject: subjects.mlp,
  optimizer: optimizers.Adam,
  step: plainStep,
  before: schedule,
};

/** Declares a comparison on every device, with the number of captures that it must take. */
function same(name: string, recipe: Partial<Recipe>, captures: number): void {
  for (const device of devices) {
    Deno.test(`jit() gives the bits of ${name}, on ${device.kind}`, async () => {
      assertEquals(await trainBothWays(device, { ...base, ...recipe }), captures);
    });
  }
}

for (const [model, subject] of Object.entries(subjects)) {
  for (const [name, optimizer] of Object.entries(optimizers)) {
    same(`${model} with ${name}`, { subject, optimizer }, 1);
  }
}

for (const [model, subject] of Object.entries(subjects)) {
  Deno.test({
    name: `jit() gives the bits of ${model} with kernels for hardware`,
    ignore: hardwareKernels === null,
    fn: async () => {
      assertEquals(await trainBothWays(hardwareKernels!, { ...base, subject }), 1);
    },
  });
}

same("a training with ragged last batches in any order", {
  subject: subjects.cnn,
  sizes: [6, 5, 6, 5, 5, 6, 6],
}, 2);

same("a training that changes between train() and eval()", {
  subject: subjects.cnn,
  before: ({ model }, turn) => turn % 3 === 2 ? model.eval() : model.train(),
}, 2);

same("a training whose parameters are frozen for a while", {
  before: ({ model }, turn) => {
    model.parameters()[0].requiresGrad = turn < 2 || turn > 3;
    model.parameters()[3].requiresGrad = turn !== 4;
  },
  // The last kind: all are trained again, and Adam has counted them apart.
}, 4);

same("zeroGrad() at the end of the step", {
  step: ({ model, optimizer }, inputs, targets) => {
    const loss = crossEntropy(model.forward(inputs), targets);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  },
}, 1);

same("zeroGrad() outside of the step", {
  before: ({ optimizer }) => optimizer.zeroGrad(),
  step: ({ model, optimizer }, inputs, targets) => {
    const loss = crossEntropy(model.forward(inputs), targets);
    loss.backward();
    optimizer.step();
    return loss;
  },
}, 1);

same("gradients that are never forgotten", {
  step: ({ model, optimizer }, inputs, targets) => {
    const loss = crossEntropy(model.forward(inputs), targets);
    loss.backward();
    optimizer.step();
    return loss;
  },
}, 2);

same("gradients that are added up over two steps", {
  before: ({ optimizer }, turn) => turn % 2 === 0 && optimizer.zeroGrad(),
  step: ({ model, optimizer }, inputs, targets) => {
    const loss = crossEntropy(model.forward(inputs), targets).mul(0.5);
    loss.backward();
    crossEntropy(model.forward(inputs.mul(2)), targets).backward();
    optimizer.step();
    return loss;
  },
}, 2);

same("clipped gradients", {
  step: ({ model, optimizer }, inputs, targets) => {
    const loss = crossEntropy(model.forward(inputs), targets);
    optimizer.zeroGrad();
    loss.backward();
    const norm = clipGradNorm(model.parameters(), 0.5);
    optimizer.step();
    return [loss, norm];
  },
}, 1);

same("an optimizer that clips by itself", {
  optimizer: (p) => new Adam(p, { lr: 0.01, maxGradNorm: 0.3 }),
  before: ({ optimizer }, turn) => optimizer.maxGradNorm = 0.3 + turn,
}, 1);

same("a step that skips gradients that are no numbers", {
  optimizer: (p) => new AdamW(p, { lr: 0.01, skipNonFinite: true }),
}, 1);

same("moving averages of the parameters", {
  optimizer: (p) => new SGD(p, { lr: 0.01, momentum: 0.9, ema: { decay: 0.9 } }),
}, 1);

const inner = new WeakMap<Training, Jitted<[Tensor, Tensor], Tensor>>();

same("a captured function inside a captured function", {
  step: (training, inputs, targets) => {
    let forward = inner.get(training);
    if (forward === undefined) {
      forward = jit((x: Tensor, t: Tensor) => crossEntropy(training.model.forward(x), t));
      inner.set(training, forward);
    }
    const loss = (training.captured ? forward : forward.eager)(inputs, targets);
    training.optimizer.zeroGrad();
    loss.backward();
    training.optimizer.step();
    return loss;
  },
}, 1);

const scores = new WeakMap<object, Jitted<[Tensor], Tensor>>();

same("a training whose model is evaluated by a second captured function", {
  subject: subjects.cnn,
  before: ({ model, captured, device }) => {
    const [inputs] = subjects.cnn.batch(device, 5, 90);
    let score = scores.get(model);
    if (score === undefined) scores.set(model, score = jit((x: Tensor) => model.forward(x)));
    model.eval();
    const result = noGrad(() => (captured ? score! : score!.eager)(inputs));
    model.train();
    return [result];
  },
}, 1);

for (const device of devices) {
  Deno.test(`jit() counts metrics inside of a step, on ${device.kind}`, async () => {
    const counted: Record<string, number>[] = [];
    for (const captured of [false, true]) {
      const metrics = [new MultiClassAccuracy(), new MeanLoss()];
      await trace(device, {
        ...base,
        sizes: [6, 4, 6, 4, 5, 6],
        step: (training, inputs, targets) => {
          const predictions = training.model.forward(inputs);
          const loss = crossEntropy(predictions, targets);
          training.optimizer.zeroGrad();
          loss.backward();
          training.optimizer.step();
          const output = new SupervisedStepOutput({ loss, predictions, targets });
          for (const metric of metrics) metric.update(output);
          return loss;
        },
      }, captured);
      const values = await Promise.all(metrics.map((metric) => metric.compute()));
      counted.push(Object.assign({}, ...values));
    }
    assertEquals(counted[1], counted[0]);
    assertEquals(Object.keys(counted[0]).length, 2);
    assert(counted[0].accuracy * 31 % 1 < 1e-9 || counted[0].accuracy * 31 % 1 > 1 - 1e-9);
  });
}

Deno.test("jit() gives the reference and the GPU the same losses", async () => {
  const losses: number[][] = [];
  for (const device of devices) {
    const { trace: turns } = await trace(device, { ...base, subject: subjects.text }, true);
    losses.push(turns.map((values) => values["result 0"][0]));
  }
  for (const list of losses) assertClose(list, losses[0], 1e-4);
});

for (const device of devices) {
  Deno.test(`jit() follows train() and eval() called inside of a step, with one capture (${device.kind})`, async () => {
    const dropout = new Dropout(0.5, { key: new Key(3) });
    const step = jit((x: Tensor) => {
      const trained = dropout.train().forward(x);
      return [trained, dropout.eval().forward(x)];
    });
    const x = ones([64], { device });
    for (let i = 0; i < 3; i++) {
      const [trained, evaluated] = step(x);
      assertEquals(new Set(await trained.data()), new Set([0, 2]));
      assertEquals(new Set(await evaluated.data()), new Set([1]));
    }
    assertEquals([step.stats().captures, dropout.position], [1, 3]);
  });

  Deno.test(`jit() starts a gradient that the host wrote anew at every replay (${device.kind})`, async () => {
    const w = tensor([1, 1], { device, requiresGrad: true });
    const step = jit((x: Tensor) => {
      w.grad = tensor([3, 4], { device });
      addInto(w.grad, x);
      return w.grad.sum();
    });
    const sums: number[] = [];
    for (let i = 0; i < 3; i++) {
      sums.push(await step(tensor([1, 1], { device })).item());
      w.grad = null;
    }
    assertEquals(sums, [9, 9, 9]);
  });
}
