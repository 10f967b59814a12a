import { assert, assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../core/mod.ts";
import {
  Conv2d,
  ConvBlockNode,
  defineNode,
  field,
  MLPNode,
  Node,
  type NodeClass,
  NodeError,
  ReluNode,
  type Sequential,
  SequentialNode,
} from "../../nn/mod.ts";
import { blockOf } from "../../nn/block_node.ts";
import { reference as device } from "../util.ts";

interface PlainConvNodeOptions {
  readonly inChannels?: number | null;
  readonly outChannels?: number | null;
  readonly stride?: number | null;
  readonly groups?: number;
}

const PlainConvNode: NodeClass<PlainConvNodeOptions> = defineNode<PlainConvNodeOptions>(
  "PlainConvNode",
  {
    inChannels: field.orNull(field.integer(1)),
    outChannels: field.orNull(field.integer(1)),
    stride: field.orNull(field.integer(1)),
    groups: field.integer(1, 1),
  },
  ({ inChannels, outChannels, stride, groups }, { inputShape, device }) => {
    const channels = inChannels ?? inputShape![0];
    return new Conv2d(channels, outChannels ?? channels, {
      kernelSize: 3,
      padding: 1,
      stride: stride ?? 1,
      groups,
      device,
    });
  },
);

Deno.test("defineNode() makes a class that holds, writes and reads its options", () => {
  const node = new PlainConvNode({ outChannels: 8 });
  assert(node instanceof PlainConvNode && node instanceof Node);
  assertEquals(node.constructor.name, "PlainConvNode");
  const json = { type: "PlainConvNode", inChannels: null, outChannels: 8, stride: null, groups: 1 };
  assertEquals(JSON.parse(JSON.stringify(node)), json);
  assertEquals(Node.fromJSON(json), node);
  assertThrows(
    () => new PlainConvNode({ group: 2 } as unknown as PlainConvNodeOptions),
    NodeError,
    'Cannot use PlainConvNode: it has no field "group"',
  );
});

Deno.test("with() replaces fields of a new node and checks them", () => {
  const node = new PlainConvNode({ outChannels: 8 });
  const other = node.with({ stride: 2 });
  assertEquals([node.stride, other.stride, other.outChannels], [null, 2, 8]);
  assertThrows(() => node.with({ stride: 0 }), NodeError, "PlainConvNode.stride");
  assertThrows(() => node.with({ size: 1 }), NodeError, 'no field "size"');
});

Deno.test("outputShape() of a node without a rule of its own is that of what it builds", () => {
  const node = new SequentialNode({
    parts: [
      new PlainConvNode({ outChannels: 8, stride: 2 }),
      new ConvBlockNode({ inChannels: 8, outChannels: 4 }),
    ],
  });
  assertEquals(node.outputShape([3, 20, 12]), [4, 5, 3]);
  const model = node.build({ device, seed: 1, inputShape: [3, 20, 12] }) as Sequential;
  assertEquals(model.parameterCount, 3 * 8 * 9 + 8 + 8 * 4 * 9 + 4 + 8);
});

Deno.test("errors name the node that could not be built, and the one whose input does not fit", () => {
  const nested = (inner: Node) => new SequentialNode({ parts: [new ReluNode(), inner] });
  assertThrows(
    () =>
      nested(nested(new PlainConvNode({ inChannels: 4, outChannels: 6, groups: 4 }))).build({
        device,
      }),
    RangeError,
    "Cannot build SequentialNode.parts[1].parts[1]: ",
  );
  assertThrows(
    () => nested(nested(new PlainConvNode({ inChannels: 4 }))).outputShape([3, 8, 8]),
    ShapeError,
    "Cannot place SequentialNode.parts[1].parts[1]: ",
  );
  assertThrows(
    () => nested(new MLPNode({ dims: [2], inFeatures: 5 })).build({ device, inputShape: [4] }),
    ShapeError,
    "Cannot build SequentialNode.parts[1]: expected an input of shape [..., 5], found [4]",
  );
});

Deno.test("a block fills in what the node in its slot leaves open, and refuses what contradicts it", () => {
  const sizes = { inChannels: 4, outChannels: 8, stride: 2 };
  const conv = blockOf(new PlainConvNode(), device)(sizes) as Conv2d;
  assertEquals([...conv.weight.shape], [8, 4, 3, 3]);
  assertThrows(
    () => blockOf(new PlainConvNode({ outChannels: 5 }), device)(sizes),
    ShapeError,
    "expected outChannels 8, as the block around it says, found 5",
  );
  assertThrows(
    () => blockOf(new ReluNode(), device)({ ...sizes, outChannels: 4 }),
    ShapeError,
    "expected stride 2, as the block around it says, found a node without it",
  );
  blockOf(new ReluNode(), device)({ inChannels: 4, outChannels: 4, stride: 1 });
});
