import { assertEquals, assertThrows } from "@std/assert";
import { convTranspose2d, interpolate, type Pair, type Tensor, zeros } from "../../../core/mod.ts";
import {
  ConvTransposeNormAct,
  ConvTransposeNormActNode,
  GeluNode,
  Node,
  NoopNode,
  UpsampleConvNormAct,
  UpsampleConvNormActNode,
} from "../../../nn/mod.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  reference,
  sample,
  testOnDevices,
} from "../../util.ts";

const device = reference;
const bare = { inChannels: 2, outChannels: 3, norm: null, activation: null, device } as const;

Deno.test("ConvTransposeNormAct makes images exactly stride times as large", () => {
  const cases: [Pair, Pair, Pair][] = [
    [3, 1, 1],
    [3, 2, 1],
    [4, 2, 1],
    [2, 2, 1],
    [1, 2, 1],
    [5, 3, 1],
    [3, 4, 1],
    [3, 2, 2],
    [3, 1, 3],
    [[4, 3], [2, 1], 1],
    [[1, 5], [3, 2], [1, 2]],
  ];
  for (const [kernelSize, stride, dilation] of cases) {
    const block = new ConvTransposeNormAct({ ...bare, kernelSize, stride, dilation });
    const [tall, wide] = typeof stride === "number" ? [stride, stride] : stride;
    const shape = block.forward(zeros([1, 2, 5, 4], { device })).shape;
    assertEquals([...shape], [1, 3, 5 * tall, 4 * wide], JSON.stringify([kernelSize, stride]));
  }
  assertThrows(
    () => new ConvTransposeNormAct({ ...bare, kernelSize: 4, stride: 1 }),
    RangeError,
    "Cannot make ConvTransposeNormAct with kernelSize 4, stride 1 and dilation 1: ",
  );
});

Deno.test("the blocks are their layers one behind the other", async () => {
  const x = (t: Tensor) => t.reshape([2, 2, 3, 3]);
  const up = new ConvTransposeNormAct({ ...bare, bias: false });
  const [weight] = up.parameters();
  await gradcheck((t) => up.forward(x(t)), [sample([36], 1)], "ConvTransposeNormAct");
  const images = x(zeros([36], { device })).add(1);
  const want = convTranspose2d(images, weight, null, { stride: 2, padding: 1, outputPadding: 1 });
  assertClose(await up.forward(images).data(), await want.data(), 1e-12);
  const enlarged = new UpsampleConvNormAct({ ...bare, kernelSize: 1, scaleFactor: 3 });
  const [w, b] = enlarged.parameters();
  assertEquals([...w.shape], [3, 2, 1, 1]);
  // A convolution of one pixel and the nearest pixel's value can change places.
  const mixed = images.permute([0, 2, 3, 1]).matmul(w.reshape([3, 2]).t()).add(b);
  const other = interpolate(mixed.permute([0, 3, 1, 2]), { scaleFactor: 3 });
  assertClose(await enlarged.forward(images).data(), await other.data(), 1e-12);
  await gradcheck((t) => enlarged.forward(x(t)), [sample([36], 2)], "UpsampleConvNormAct");
});

Deno.test("parts are named, and left out where they were not asked for", () => {
  const names = (block: ConvTransposeNormAct | UpsampleConvNormAct) =>
    block.namedChildren().map(([name, part]) => [name, part.constructor.name]);
  const options = { inChannels: 2, dropout: 0.5, device };
  assertEquals(names(new ConvTransposeNormAct(options)), [
    ["conv", "ConvTranspose2d"],
    ["norm", "BatchNorm2d"],
    ["act", "ReLU"],
    ["dropout", "Dropout"],
  ]);
  assertEquals(names(new UpsampleConvNormAct(options)), [
    ["up", "Upsample"],
    ["conv", "Conv2d"],
    ["norm", "BatchNorm2d"],
    ["act", "ReLU"],
    ["dropout", "Dropout"],
  ]);
  assertEquals(names(new ConvTransposeNormAct(bare)), [["conv", "ConvTranspose2d"]]);
  // A bias where no normalisation follows.
  assertEquals(new ConvTransposeNormAct(bare).parameterCount, 2 * 3 * 9 + 3);
  assertEquals(new UpsampleConvNormAct(options).parameterCount, 2 * 2 * 9 + 4);
});

Deno.test("nodes of the blocks come back from JSON and follow sizes", () => {
  const nodes: [Node, number[], number][] = [
    [new ConvTransposeNormActNode({ outChannels: 4 }), [4, 10, 8], 3 * 4 * 9 + 8],
    [
      new ConvTransposeNormActNode({
        kernelSize: 4,
        stride: 4,
        norm: new NoopNode(),
        activation: new GeluNode(),
      }),
      [3, 20, 16],
      3 * 3 * 16 + 3,
    ],
    [new UpsampleConvNormActNode({ outChannels: 4 }), [4, 10, 8], 3 * 4 * 9 + 8],
    [
      new UpsampleConvNormActNode({ scaleFactor: 3, mode: "bilinear", groups: 3 }),
      [3, 15, 12],
      3 * 9 + 6,
    ],
  ];
  for (const [node, shape, parameters] of nodes) {
    assertEquals(Node.fromJSON(JSON.parse(JSON.stringify(node))), node);
    assertEquals(node.outputShape([3, 5, 4]), shape, node.type);
    const block = node.build({ device, inputShape: [3, 5, 4] });
    assertEquals(block.parameterCount, parameters, node.type);
    assertEquals([...block.forward(zeros([2, 3, 5, 4], { device })).shape], [2, ...shape]);
  }
});

testOnDevices({
  name: "the blocks and their gradients agree with the reference",
  fn: async (device) => {
    for (const node of [new ConvTransposeNormActNode(), new UpsampleConvNormActNode()]) {
      const built = new Map([device, reference].map((at) => [
        at,
        node.build({ device: at, seed: 1, inputShape: [4, 3, 3] }),
      ]));
      await compareWithReference(
        device,
        (x) => built.get(x.device)!.forward(x),
        [sample([2, 4, 3, 3], 3)],
        { rel: 1e-5, abs: 2e-5 },
        node.type,
      );
    }
  },
});
