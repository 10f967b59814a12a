/** Small trainings that run captured and op by op, with everything that can be seen of them. */

import {
  type Device,
  jit,
  type Jitted,
  type Optimizer,
  seedScope,
  setDefaultDevice,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  Dropout,
  Embedding,
  Flatten,
  LayerNorm,
  Linear,
  MaxPool2d,
  ReLU,
  Sequential,
  Softmax,
  type TensorModule,
} from "../../../nn/mod.ts";
import { randomValues } from "../../util.ts";

/** A batch for a model. */
export type Sample = readonly [inputs: Tensor, targets: Tensor];

/** A model with batches that fit it. */
export interface Subject {
  readonly make: () => TensorModule;
  readonly batch: (device: Device, size: number, turn: number) => Sample;
}

function classes(device: Device, size: number, turn: number): Tensor {
  const values = Array.from(randomValues(size, 900 + turn, 0, 4), Math.floor);
  return tensor(values, { device, dtype: "i32" });
}

function floatsOf(...shape: number[]): Subject["batch"] {
  return (device, size, turn) => {
    const full = [size, ...shape];
    const values = randomValues(full.reduce((a, b) => a * b, 1), 500 + turn);
    return [tensor(values, { device, shape: full }), classes(device, size, turn)];
  };
}

/** The models by name; four classes each. */
export const subjects: Readonly<Record<string, Subject>> = {
  mlp: {
    make: () =>
      new Sequential(
        new Linear(12, 16),
        new ReLU(),
        new Linear(16, 7),
        new ReLU(),
        new Linear(7, 4),
      ),
    batch: floatsOf(12),
  },
  cnn: {
    make: () =>
      new Sequential(
        new Conv2d(2, 4, { kernelSize: 3, padding: 1 }),
        new BatchNorm2d(4),
        new ReLU(),
        new MaxPool2d({ kernelSize: 2 }),
        new Dropout(0.3),
        new Conv2d(4, 5, { kernelSize: 3 }),
        new BatchNorm2d(5),
        new ReLU(),
        new Flatten(),
        new Dropout(0.5),
        new Linear(20, 4),
      ),
    batch: floatsOf(2, 8, 8),
  },
  text: {
    make: () =>
      new Sequential(
        new Embedding(11, 8),
        new LayerNorm(8),
        new Linear(8, 6),
        new Softmax({ dim: -1 }),
        new Flatten(),
        new Dropout(0.2),
        new Linear(18, 4),
      ),
    batch: (device, size, turn) => {
      const words = Array.from(randomValues(size * 3, 700 + turn, 0, 11), Math.floor);
      return [
        tensor(words, { device, dtype: "i32", shape: [size, 3] }),
        classes(device, size, turn),
      ];
    },
  },
};

/** What a training works with. */
export interface Training {
  readonly device: Device;
  readonly model: TensorModule;
  readonly optimizer: Optimizer;
  readonly captured: boolean;
}

/** A training step, and what happens between steps. */
export interface Recipe {
  readonly subject: Subject;
  readonly optimizer: (parameters: Tensor[]) => Optimizer;
  /** The step; what it returns is compared. */
  readonly step: (training: Training, inputs: Tensor, targets: Tensor) => Tensor | Tensor[];
  /** Work before a turn, outside of the step; tensors that it returns are compared too. */
  readonly before?: (training: Training, turn: number) => unknown;
  /** Sizes of the batches, one for each turn. @default {[6, 6, 6, 6, 6, 6]} */
  readonly sizes?: readonly number[];
}

/** Values by name, for each turn. */
export type Trace = Record<string, ArrayLike<number>>[];

async function look(
  { model, optimizer }: Training,
  results: Tensor[],
): Promise<Record<string, ArrayLike<number>>> {
  const tensors: [string, Tensor][] = results.map((t, i) => [`result ${i}`, t]);
  const numbers: [string, number][] = [];
  for (const [name, t] of Object.entries(model.stateDict())) tensors.push([name, t]);
  for (const [name, t] of model.namedParameters()) {
    numbers.push([`${name} has a gradient`, Number(t.grad !== null)]);
    if (t.grad !== null) tensors.push([`gradient of ${name}`, t.grad]);
  }
  for (const [id, entries] of Object.entries(optimizer.stateDict().state)) {
    for (const [name, value] of Object.entries(entries)) {
      if (typeof value === "number") numbers.push([`${id}.${name}`, value]);
      else tensors.push([`${id}.${name}`, value]);
    }
  }
  const values = await Promise.all(tensors.map(([, t]) => t.data()));
  const pairs = tensors.map(([name], i) => [name, values[i]] as const);
  return Object.fromEntries([...pairs, ...numbers.map(([name, n]) => [name, [n]] as const)]);
}

/** Runs a training and notes everything after each turn. */
export async function trace(
  device: Device,
  recipe: Recipe,
  captured: boolean,
): Promise<{ trace: Trace; captures: number }> {
  const previous = setDefaultDevice(device);
  using _seed = seedScope(3);
  using _ = device.scope();
  try {
    const model = recipe.subject.make();
    const optimizer = recipe.optimizer(model.parameters());
    const training = { device, model, optimizer, captured };
    const run = (inputs: Tensor, targets: Tensor) => recipe.step(training, inputs, targets);
    const step: typeof run | Jitted<[Tensor, Tensor], Tensor | Tensor[]> = captured
      ? jit(run)
      : run;
    const noted: Trace = [];
    const sizes = recipe.sizes ?? [6, 6, 6, 6, 6, 6];
    for (const [turn, size] of sizes.entries()) {
      const early = recipe.before?.(training, turn);
      const results = step(...recipe.subject.batch(device, size, turn));
      noted.push(await look(training, [results, Array.isArray(early) ? early : []].flat()));
    }
    const captures = captured ? (step as Jitted<[], Tensor>).stats().captures : 0;
    if (captured) (step as Jitted<[], Tensor>).reset();
    optimizer.dispose();
    return { trace: noted, captures };
  } finally {
    setDefaultDevice(previous);
  }
}

/** Fails unless two trainings left the same bits everywhere at every turn. */
export function assertSameTrace(got: Trace, want: Trace): void {
  want.forEach((values, turn) => {
    const names = [Object.keys(got[turn]).join(), Object.keys(values).join()];
    if (names[0] !== names[1]) {
      throw new Error(`turn ${turn}: found ${names[0]}, expected ${names[1]}`);
    }
    for (const [name, expected] of Object.entries(values)) {
      const found = got[turn][name];
      for (let i = 0; i < Math.max(expected.length, found.length); i++) {
        if (!Object.is(found[i], expected[i])) {
          throw new Error(
            `turn ${turn}, ${name}, element ${i}: ${found[i]} captured, ${expected[i]} op by op`,
          );
        }
      }
    }
  });
}

/** Trains both ways, fails where a bit differs, and gives the number of captures. */
export async function trainBothWays(device: Device, recipe: Recipe): Promise<number> {
  const want = await trace(device, recipe, false);
  const got = await trace(device, recipe, true);
  assertSameTrace(got.trace, want.trace);
  return got.captures;
}
