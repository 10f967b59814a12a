import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Device, ShapeError, type Tensor, tensor } from "../../../core/mod.ts";
import {
  crossEntropy,
  MBConvNode,
  Node,
  NodeError,
  ResNeXtBottleneckNode,
  StagesNode,
  summarize,
  type TensorModule,
  zoo,
  zooNames,
} from "../../../nn/mod.ts";
import { assertClose, cpu, gpu, randomValues, reference } from "../../util.ts";
import { zooCases } from "./cases.ts";

const inputShape = [3, 32, 32];

Deno.test("zoo() has ten models with the parameters of the original, and their keys", () => {
  assertEquals(zooNames, zooCases.map(({ name }) => name));
  for (const { name, parameters, entries, last } of zooCases) {
    const model = zoo(name).build({ device: reference, seed: 1, inputShape });
    assertEquals(model.parameterCount, parameters, name);
    const keys = Object.keys(model.stateDict());
    const first = name.startsWith("ConvMixer") ? "stem.0.block.conv.weight" : "stem.0.conv.weight";
    assertEquals([keys[0], keys.length, keys.at(-1)], [first, entries, last], name);
  }
  assertEquals(zooCases.find(({ name }) => name === "ConvNeXt_2x2_stem")!.parameters, 506_314);
});

Deno.test("the smallest CNN has these keys in its state dict", () => {
  const model = zoo("CNN__MLP_tiny_32x32").build({ device: reference, seed: 1, inputShape });
  const block = (name: string) => [
    `${name}.conv.weight`,
    `${name}.norm.weight`,
    `${name}.norm.bias`,
    `${name}.norm.running_mean`,
    `${name}.norm.running_var`,
    `${name}.norm.num_batches_tracked`,
  ];
  assertEquals(Object.keys(model.stateDict()), [
    ...block("stem.0"),
    ...["0", "2", "3", "4"].flatMap((at) => block(`backbone.${at}`)),
    "head.1.weight",
    "head.1.bias",
  ]);
});

Deno.test("models come back from JSON as they were, and build the same bits", async () => {
  for (const { name } of zooCases) {
    const node = zoo(name);
    const copy = Node.fromJSON(JSON.parse(JSON.stringify(node)));
    assertEquals(copy, node, name);
    const [a, b] = [node, copy].map((n) =>
      Object.entries(n.build({ device: reference, seed: 2, inputShape }).stateDict())
    );
    assertEquals(b.map(([key]) => key), a.map(([key]) => key));
    for (const [i, [key, t]] of a.entries()) {
      const [want, got] = [await t.data(), await b[i][1].data()];
      assert(want.every((value, k) => value === got[k]), `${name}: ${key}`);
    }
  }
});

Deno.test("models follow sizes from images to classes", () => {
  for (const { name, parameters } of zooCases) {
    assertEquals(zoo(name).outputShape([3, 32, 32]), [10], name);
    const other = zoo(name, { inChannels: 1, classes: 7 });
    assertEquals(other.outputShape([1, 28, 28]), [7], name);
    const { rows } = summarize(zoo(name), [4, 3, 32, 32], { depth: 0 });
    assertEquals([rows[0].outputs, rows[0].parameters], [[[4, 10]], parameters], name);
  }
});

Deno.test("errors of models name the model, the node, and the field", () => {
  const error = assertThrows(() => zoo("ResNet"), RangeError, 'Cannot find a model "ResNet"');
  for (const name of zooNames) assert(error.message.includes(name));
  assertThrows(
    () => zoo("MobileNet_tiny_32x32").build({ device: reference, inputShape: [1, 32, 32] }),
    ShapeError,
    "Cannot place StagesNode.stem[0]: ",
  );
  const json = JSON.parse(JSON.stringify(zoo("ConvNeXt_tiny_32x32")));
  json.backbone[1].midNorm.type = "GhostNorm";
  const wrong = assertThrows(() => Node.fromJSON(json), NodeError, 'found "GhostNorm"');
  assertEquals(wrong.path, "StagesNode.backbone[1].midNorm");
  const grouped = new StagesNode({
    stem: [new MBConvNode({ outChannels: 32 })],
    backbone: [new ResNeXtBottleneckNode({ midChannels: 16, groups: 3 })],
    head: [],
  });
  assertThrows(
    () => grouped.build({ device: reference, inputShape: [16, 8, 8] }),
    RangeError,
    "Cannot build StagesNode.backbone[0]: ",
  );
});

interface Pass {
  readonly logits: ArrayLike<number>;
  readonly gradients: [string, ArrayLike<number>][];
}

/** Logits and all gradients of one batch. */
async function passOf(model: TensorModule, device: Device, side: number): Promise<Pass> {
  using _ = device.scope();
  const x = tensor(randomValues(4 * 3 * side ** 2, 5), { device, shape: [4, 3, side, side] });
  const targets = tensor([0, 3, 9, 3], { device, dtype: "i32" });
  const logits = model.forward(x);
  crossEntropy(logits, targets).backward();
  const gradients = model.namedParameters().map(
    async ([name, t]: [string, Tensor]): Promise<[string, ArrayLike<number>]> => {
      assert(t.grad !== null, `${name} has no gradient`);
      return [name, await t.grad.data()];
    },
  );
  return { logits: await logits.data(), gradients: await Promise.all(gradients) };
}

async function compare(name: string, device: Device, side: number): Promise<void> {
  const build = (device: Device) =>
    zoo(name).build({ device, seed: 4, inputShape: [3, side, side] });
  const want = await passOf(build(reference), reference, side);
  const got = await passOf(build(device), device, side);
  // Batch normalisation of few pixels divides by small deviations, which widens what f32 rounds.
  const bounds = { rel: 5e-4, abs: 5e-5 };
  assertClose(got.logits, want.logits, bounds, `${name}, logits`);
  for (const [i, [key, values]] of want.gradients.entries()) {
    assertClose(got.gradients[i][1], values, bounds, `${name}, gradient of ${key}`);
  }
}

for (
  const [name, side] of [
    ["CNN__MLP_tiny_32x32", 8],
    ["ConvNeXt_tiny_32x32", 8],
    ["ResNetPreActBlock_tiny_32x32", 8],
  ] as const
) {
  Deno.test({
    name: `${name} and its gradients agree with the reference, cpu`,
    ignore: cpu === null,
    fn: () => compare(name, cpu!, side),
  });
}

Deno.test({
  name: "CNN__MLP_tiny_32x32 and its gradients agree with the reference, webgpu",
  ignore: gpu === null,
  fn: () => compare("CNN__MLP_tiny_32x32", gpu!, 8),
});
