import { assert, assertEquals } from "@std/assert";
import { Adam, type Device, jit, noGrad, type Tensor, tensor } from "../../../core/mod.ts";
import {
  crossEntropy,
  GlobalAvgPool2d,
  Linear,
  Node,
  Sequential,
  type TensorModule,
} from "../../../nn/mod.ts";
import { assertClose, cpu, randomValues, reference, testOnDevices } from "../../util.ts";
import { type BlockCase, blockCases, countedCases } from "./cases.ts";

const same = { inChannels: 64, outChannels: 64, stride: 1 };
const down = { inChannels: 64, outChannels: 128, stride: 2 };
const all = [...blockCases, ...countedCases];

/** The forms of a block that exist, with few channels. */
function smallForms({ name, make, parameters }: BlockCase): [string, Node, readonly number[]][] {
  const forms = [{ inChannels: 16, outChannels: 16, stride: 1 }, {
    inChannels: 16,
    outChannels: 32,
    stride: 2,
  }];
  return forms.flatMap((sizes, i): [string, Node, readonly number[]][] => {
    if (parameters[i] === null) return [];
    const side = 6 / sizes.stride;
    const label = `${name} of ${sizes.inChannels} to ${sizes.outChannels} channels`;
    return [[label, make(sizes), [2, sizes.outChannels, side, side]]];
  });
}

function images(device: Device, count = 2): Tensor {
  const shape = [count, 16, 6, 6];
  return tensor(randomValues(count * 16 * 36, 5), { device, shape, requiresGrad: true });
}

Deno.test("blocks have the numbers of parameters of the original, or those counted by hand", () => {
  for (const { name, make, parameters } of all) {
    for (const [i, sizes] of [same, down].entries()) {
      if (parameters[i] === null) continue;
      const block = make(sizes).build({ device: reference, seed: 1 });
      assertEquals(block.parameterCount, parameters[i], `${name}, form ${i}`);
    }
  }
});

Deno.test("blocks come back from JSON, with the same bits and outputs", async () => {
  for (const { name, make } of all) {
    const node = make({ inChannels: 16, outChannels: 16, stride: 1 });
    const copy = Node.fromJSON(JSON.parse(JSON.stringify(node)));
    assertEquals(copy, node, name);
    const [a, b] = [node, copy].map((n) => n.build({ device: reference, seed: 2 }));
    assertEquals(Object.keys(a.stateDict()), Object.keys(b.stateDict()));
    const x = images(reference);
    assertEquals(await a.forward(x).data(), await b.forward(x).data(), name);
  }
});

Deno.test("blocks infer the shape that they give", () => {
  for (const form of all.flatMap(smallForms)) {
    const [label, node, shape] = form;
    assertEquals(node.outputShape([16, 6, 6]), shape.slice(1), label);
    assertEquals([...node.build({ device: reference }).forward(images(reference)).shape], shape);
  }
});

/** Half of the sum of squares with weights that differ: a loss that every output counts in. */
function lossOf(y: Tensor): Tensor {
  const weights = tensor(randomValues(y.size, 7, 0.5, 1.5), { device: y.device, shape: y.shape });
  return y.square().mul(weights).mean();
}

/** Gradients of the input and of all parameters. */
async function gradientsOf(
  block: TensorModule,
  x: Tensor,
): Promise<Map<string, ArrayLike<number>>> {
  block.zeroGrad();
  x.grad = null;
  lossOf(block.forward(x)).backward();
  const named: [string, Tensor][] = [["input", x], ...block.namedParameters()];
  const entries = named.map(async ([name, t]): Promise<[string, ArrayLike<number>]> => {
    assert(t.grad !== null, `${name} has no gradient`);
    return [name, await t.grad.data()];
  });
  return new Map(await Promise.all(entries));
}

Deno.test("gradients of blocks are those of central differences", async () => {
  for (const [label, node] of all.flatMap(smallForms)) {
    const block = node.build({ device: reference, seed: 3 });
    const x = images(reference);
    const gradients = await gradientsOf(block, x);
    const leaves: [string, Tensor][] = [["input", x], ...block.namedParameters()];
    const directions = leaves.map(([, t], i) =>
      tensor(randomValues(t.size, 100 + i), { device: reference, shape: t.shape })
    );
    let slope = 0;
    for (const [i, [name]] of leaves.entries()) {
      const [g, v] = [gradients.get(name)!, await directions[i].data()];
      for (let k = 0; k < g.length; k++) slope += g[k] * v[k];
    }
    const at = async (step: number) => {
      noGrad(() => leaves.forEach(([, t], i) => t.add_(directions[i], step)));
      const loss = await noGrad(() => lossOf(block.forward(x))).item();
      noGrad(() => leaves.forEach(([, t], i) => t.add_(directions[i], -step)));
      return loss;
    };
    const step = 1e-6;
    const want = (await at(step) - await at(-step)) / (2 * step);
    assertClose([slope], [want], { rel: 1e-5, abs: 1e-6 }, label);
  }
});

testOnDevices({
  name: "blocks and their gradients agree with the reference",
  fn: async (device) => {
    // The last form has the most parts; each of them is a kernel that WebGPU compiles.
    for (const [label, node] of all.map((block) => smallForms(block).at(-1)!)) {
      const want = node.build({ device: reference, seed: 4 });
      const got = node.build({ device, seed: 4 });
      const [x, y] = [images(reference), images(device)];
      // Batch normalisation of 18 pixels divides by small deviations, which widens what f32 rounds.
      const bounds = { rel: 5e-4, abs: 5e-5 };
      using _ = device.scope();
      assertClose(await got.forward(y).data(), await want.forward(x).data(), bounds, label);
      const [ours, theirs] = [await gradientsOf(got, y), await gradientsOf(want, x)];
      for (const [name, values] of theirs) {
        assertClose(ours.get(name)!, values, bounds, `${label}, gradient of ${name}`);
      }
    }
  },
});

Deno.test("blocks overfit one batch", async () => {
  const device = cpu ?? reference;
  const inputs = images(device, 8).detach();
  const targets = tensor([0, 1, 2, 3, 0, 1, 2, 3], { device, dtype: "i32" });
  for (const [label, node, [, channels]] of all.flatMap(smallForms)) {
    const block = node.build({ device, seed: 5 });
    if (block.parameterCount === 0) continue;
    const model = new Sequential(block, new GlobalAvgPool2d(), new Linear(channels, 4, { device }));
    const optimizer = new Adam(model.parameters(), { lr: 0.02 });
    const step = jit((inputs: Tensor, targets: Tensor) => {
      const loss = crossEntropy(model.forward(inputs), targets);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss;
    });
    let loss = Infinity;
    for (let i = 0; i < 300 && !(loss < 0.1); i++) {
      const result = step(inputs, targets);
      if (i % 25 === 24) loss = await result.item();
    }
    assert(loss < 0.1, `${label}: the loss is ${loss}`);
    step.reset();
  }
});
