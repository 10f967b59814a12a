import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import {
  Adadelta,
  Adagrad,
  Adam,
  Adamax,
  AdamW,
  clipGradNorm,
  LAMB,
  Lion,
  Muon,
  NAdam,
  type Optimizer,
  RMSprop,
  SGD,
} from "../../core/optim/mod.ts";
import { assertEquals } from "@std/assert";
import { assertClose, devices, reference } from "../util.ts";
import {
  type ClipCase,
  clipCases,
  type GoldenTensor,
  type OptimizerCase,
  optimizerCases,
  typedValues,
  values,
} from "../golden/load.ts";

const classes = {
  SGD,
  Adam,
  AdamW,
  RMSprop,
  Adagrad,
  Adadelta,
  Adamax,
  NAdam,
  Lion,
  LAMB,
  Muon,
};

function place(device: Device, golden: GoldenTensor): Tensor {
  return tensor(Float64Array.from(typedValues(golden)), { device, shape: golden.shape });
}

function parametersOf(device: Device, golden: Readonly<Record<string, GoldenTensor>>) {
  const parameters = new Map<string, Tensor>();
  for (const [name, value] of Object.entries(golden)) {
    const parameter = place(device, value);
    parameter.requiresGrad = true;
    parameters.set(name, parameter);
  }
  return parameters;
}

async function follow(device: Device, golden: OptimizerCase): Promise<void> {
  const parameters = parametersOf(device, golden.params);
  const groups = golden.groups.map((group) => ({
    ...group.options,
    params: group.params.map((name) => parameters.get(name)!),
  }));
  using optimizer: Optimizer = new classes[golden.optimizer](groups, golden.options);
  // The vectors have 9 digits.
  const tolerance = device === reference ? 2e-8 : 5e-6;
  for (const [t, gradients] of golden.gradients.entries()) {
    optimizer.zeroGrad();
    if (golden.lrs) optimizer.groups[0].lr = golden.lrs[t];
    for (const [name, gradient] of Object.entries(gradients)) {
      if (gradient === null) continue;
      parameters.get(name)!.mul(place(device, gradient)).sum().backward();
    }
    optimizer.step();
    for (const [name, want] of Object.entries(golden.after[t])) {
      const label = `${golden.name}, ${name} after step ${t + 1}`;
      assertClose(await parameters.get(name)!.data(), values(want), tolerance, label);
    }
  }
  await compareState(optimizer, golden, tolerance);
}

async function compareState(optimizer: Optimizer, golden: OptimizerCase, tolerance: number) {
  const { state, param_groups } = optimizer.stateDict();
  const names = golden.groups.flatMap((group) => group.params);
  assertEquals(param_groups.flatMap((group) => group.params), names.map((_, id) => id));
  for (const [id, name] of names.entries()) {
    // PyTorch 1.13 counts RMSprop's steps and keeps those of Adam as a scalar tensor.
    const want = golden.state[name];
    const got = state[id] ?? {};
    assertEquals(
      Object.keys(got).sort(),
      Object.keys(want).sort(),
      `${golden.name}, slots of ${name}`,
    );
    for (const [slot, numbers] of Object.entries(want)) {
      const label = `${golden.name}, ${slot} of ${name}`;
      const value = got[slot];
      if (slot === "step") assertEquals([value], Array.from(values(numbers)), label);
      // Squares of gradients near 1e-8 lie far below any absolute bound.
      else {assertClose(await (value as Tensor).data(), values(numbers), {
          rel: tolerance,
          abs: 1e-30,
        }, label);}
    }
  }
}

async function clip(device: Device, golden: ClipCase, held: boolean): Promise<void> {
  const parameters = parametersOf(device, golden.grads);
  const list = [...parameters.values()];
  using _ = held ? new SGD(list) : null;
  for (const [name, gradient] of Object.entries(golden.grads)) {
    parameters.get(name)!.mul(place(device, gradient)).sum().backward();
  }
  const norm = clipGradNorm(list, golden.maxNorm);
  const tolerance = { rel: device === reference ? 2e-8 : 2e-6, abs: 1e-14 };
  assertClose([await norm.item()], [golden.norm], tolerance, `${golden.name}, norm`);
  for (const [name, want] of Object.entries(golden.clipped)) {
    const got = await parameters.get(name)!.grad!.data();
    assertClose(got, values(want), tolerance, `${golden.name}, ${name}`);
  }
}

for (const device of devices) {
  for (const golden of optimizerCases) {
    Deno.test(`${golden.name}: ten steps as PyTorch does them (${device.kind})`, () =>
      follow(device, golden));
  }
  for (const golden of clipCases) {
    Deno.test(`${golden.name} as PyTorch clips it (${device.kind})`, async () => {
      await clip(device, golden, true);
      await clip(device, golden, false);
    });
  }
}

Deno.test("there are vectors of optimizers and of clipping", () => {
  assertEquals(optimizerCases.length > 30 && clipCases.length > 4, true);
});
