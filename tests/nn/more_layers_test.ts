import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type Device,
  jit,
  Key,
  ones,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import {
  assertClose,
  compareWithReference,
  devices,
  gradcheck,
  randomValues,
  reference as device,
  type Sample,
  sample,
  testOnDevices,
} from "../util.ts";

const key = new Key(5);
const k = { kernelSize: 3, key };

/** Layers with an input, which has no ties, and what it gives. */
const layers: Record<
  string,
  [(device: Device) => nn.TensorModule, readonly number[], readonly number[]]
> = {
  Conv1d: [(device) => new nn.Conv1d(2, 4, { ...k, stride: 2, device }), [2, 2, 9], [2, 4, 4]],
  ConvTranspose1d: [(device) => new nn.ConvTranspose1d(2, 4, { ...k, device }), [2, 2, 5], [
    2,
    4,
    7,
  ]],
  MaxPool1d: [() => new nn.MaxPool1d({ kernelSize: 2 }), [2, 3, 7], [2, 3, 3]],
  AvgPool1d: [() => new nn.AvgPool1d({ kernelSize: 2 }), [2, 3, 7], [2, 3, 3]],
  LayerNorm2d: [(device) => new nn.LayerNorm2d(5, { device }), [2, 5, 3, 2], [2, 5, 3, 2]],
  GRN: [(device) => new nn.GRN(3, { init: 0.5, device }), [2, 3, 3, 2], [2, 3, 3, 2]],
  RMSNorm: [(device) => new nn.RMSNorm(6, { device }), [2, 3, 6], [2, 3, 6]],
  InstanceNorm1d: [
    (device) => new nn.InstanceNorm1d(3, { affine: true, device }),
    [2, 3, 5],
    [2, 3, 5],
  ],
  InstanceNorm2d: [(device) => new nn.InstanceNorm2d(3, { device }), [2, 3, 3, 2], [2, 3, 3, 2]],
  ChannelShuffle: [() => new nn.ChannelShuffle(2), [2, 6, 2, 3], [2, 6, 2, 3]],
  LayerScale: [
    (device) => new nn.LayerScale(4, { init: 0.5, dims: 3, channelDim: -1, device }),
    [2, 3, 4],
    [2, 3, 4],
  ],
  PixelShuffle: [() => new nn.PixelShuffle(2), [2, 8, 2, 3], [2, 2, 4, 6]],
  SpaceToDepth: [() => new nn.SpaceToDepth(2), [2, 2, 4, 6], [2, 8, 2, 3]],
  Upsample: [() => new nn.Upsample({ scaleFactor: 2, mode: "bilinear" }), [2, 3, 3, 2], [
    2,
    3,
    6,
    4,
  ]],
  ZeroPad2d: [() => new nn.ZeroPad2d([1, 2, 0, 1]), [2, 2, 3, 3], [2, 2, 4, 6]],
  ReflectionPad2d: [() => new nn.ReflectionPad2d(2), [2, 2, 3, 4], [2, 2, 7, 8]],
  GlobalAvgPool2d: [() => new nn.GlobalAvgPool2d(), [2, 3, 4, 5], [2, 3]],
  AdaptiveMaxPool2d: [() => new nn.AdaptiveMaxPool2d([2, null]), [2, 3, 5, 4], [2, 3, 2, 4]],
  SpatialAttention: [(device) => new nn.SpatialAttention({ key, device }), [2, 3, 4, 3], [
    2,
    3,
    4,
    3,
  ]],
  SEAttention: [(device) => new nn.SEAttention(6, { key, device }), [2, 6, 3, 3], [2, 6, 3, 3]],
  GLU: [() => new nn.GLU({ dim: 1 }), [2, 6, 3], [2, 3, 3]],
  SwiGLU: [() => new nn.SwiGLU(), [2, 3, 6], [2, 3, 3]],
  Hardshrink: [() => new nn.Hardshrink(), [3, 5], [3, 5]],
  Softshrink: [() => new nn.Softshrink({ lambda: 0.3 }), [3, 5], [3, 5]],
  Threshold: [() => new nn.Threshold({ threshold: 0.2, value: -1 }), [3, 5], [3, 5]],
  Softmax2d: [() => new nn.Softmax2d(), [2, 3, 2, 2], [2, 3, 2, 2]],
  Softmin: [() => new nn.Softmin({ dim: 1 }), [3, 5], [3, 5]],
};

/** Values at least 0.02 apart, none near a kink, in an order that depends on the seed. */
function distinct(shape: readonly number[], seed: number): Sample {
  const count = shape.reduce((a, b) => a * b, 1);
  const order = [...randomValues(count, seed).entries()].sort((a, b) => a[1] - b[1]);
  const data = new Float64Array(count);
  order.forEach(([place], rank) => data[place] = 0.041 * (rank - count / 2) + 0.0007);
  return { shape, data };
}

/** The layer as a function of its input and its parameters. */
function asFunction(layer: nn.TensorModule) {
  const named = layer.namedParameters();
  const owners = named.map(([path]) => {
    const parts = path.split(".");
    const owner = parts.slice(0, -1).reduce(
      (module, name) => (module as unknown as Record<string, nn.Module>)[name],
      layer as nn.Module,
    );
    return [owner, parts.at(-1)!] as const;
  });
  const run = (x: Tensor, ...parameters: Tensor[]) => {
    owners.forEach(([owner, name], i) =>
      Object.defineProperty(owner, name, { value: parameters[i], configurable: true })
    );
    return layer.forward(x);
  };
  return { run, shapes: named.map(([, p]) => p.shape) };
}

Deno.test("further layers have right gradients of first and second order", async () => {
  for (const [name, [make, input]] of Object.entries(layers)) {
    const { run, shapes } = asFunction(make(device));
    const samples = [distinct(input, 1), ...shapes.map((s, i) => sample(s, i + 2, 0.2, 1.2))];
    await gradcheck((...t) => run(...t as [Tensor]).square(), samples, name, { secondOrder: true });
  }
});

testOnDevices({
  name: "further layers agree with the reference on larger inputs",
  fn: async (on) => {
    for (const name of ["LayerNorm2d", "GRN", "SEAttention", "SpatialAttention"]) {
      const made = new Map([device, on].map((d) => [d, layers[name][0](d)]));
      const [batch, channels] = layers[name][1];
      const fn = (x: Tensor) => made.get(x.device)!.forward(x);
      // Statistics of some hundred values.
      const bounds = { rel: 1e-5, abs: 1e-5 };
      await compareWithReference(on, fn, [distinct([batch, channels, 9, 7], 3)], bounds, name);
    }
  },
});

for (const on of devices) {
  Deno.test(`further layers take batches of no samples, forward and backward, on ${on.kind}`, async () => {
    for (const [name, [make, input, output]] of Object.entries(layers)) {
      const layer = make(on);
      const shape = input.with(0, 0);
      const x = zeros(shape, { device: on, requiresGrad: true });
      const y = layer.forward(x);
      assertEquals([...y.shape], output.with(0, 0), name);
      y.sum().backward();
      assertEquals([...x.grad!.shape], shape, name);
      for (const parameter of layer.parameters()) {
        const gradient = [...await parameter.grad!.data()];
        assert(gradient.every((value) => value === 0), `${name}: ${gradient}`);
      }
    }
  });
}

Deno.test("further layers give halves for halves, with the values of f32", async () => {
  for (const [name, [make, input, output]] of Object.entries(layers)) {
    const layer = make(device);
    const { data } = distinct(input, 5);
    const half = tensor(Float64Array.from(data), { shape: input, device, dtype: "f16" });
    const y = layer.forward(half);
    assertEquals([y.dtype, ...y.shape], ["f16", ...output], name);
    assertClose(await y.data(), await layer.forward(half.to("f32")).data(), 4e-3, name);
  }
});

for (const on of devices) {
  Deno.test(`further layers give the same bits in captured steps, on ${on.kind}`, async () => {
    // Compiling for a software adapter takes long: those that keep state or make constants.
    const few = ["ReflectionPad2d", "AdaptiveMaxPool2d", "GRN", "SpatialAttention"];
    for (const name of on.kind === "webgpu" ? few : Object.keys(layers)) {
      const [make, input] = layers[name];
      const layer = make(on);
      const step = jit((x: Tensor) => layer.forward(x));
      for (const seed of [1, 2, 3]) {
        const { data } = distinct(input, seed);
        const x = tensor(Float64Array.from(data), { shape: input, device: on });
        assertEquals(await step(x).array(), await layer.forward(x).array(), name);
      }
    }
  });

  Deno.test(`InstanceNorm moves its statistics in captured steps, on ${on.kind}`, async () => {
    const run = async (captured: boolean) => {
      const layer = new nn.InstanceNorm1d(2, { trackRunningStats: true, device: on });
      const forward = (x: Tensor) => layer.forward(x);
      const step = captured ? jit(forward) : forward;
      for (let i = 0; i < 4; i++) {
        step(tensor(randomValues(20, i), { shape: [2, 2, 5], device: on }));
      }
      return await Promise.all(layer.buffers().map((t) => t.array()));
    };
    assertEquals(await run(true), await run(false));
  });
}

Deno.test("further layers have the parameters that they say", () => {
  const counts: [nn.Module, number, string[]][] = [
    [new nn.SpatialAttention({ device }), 18, ["block.conv.weight"]],
    [new nn.SEAttention(64, { device }), 2048, ["block1.conv.weight", "block2.conv.weight"]],
    [new nn.SEAttention(64, { bias: true, device }), 2048 + 16 + 64, [
      "block1.conv.weight",
      "block1.conv.bias",
      "block2.conv.weight",
      "block2.conv.bias",
    ]],
    [new nn.Conv1d(4, 6, { kernelSize: 3, groups: 2, device }), 6 * 2 * 3 + 6, ["weight", "bias"]],
    [new nn.ConvTranspose1d(4, 6, { kernelSize: 3, groups: 2, device }), 4 * 3 * 3 + 6, [
      "weight",
      "bias",
    ]],
    [new nn.LayerNorm2d(8, { device }), 16, ["weight", "bias"]],
    [new nn.GRN(8, { device }), 16, ["gamma", "beta"]],
    [new nn.RMSNorm([2, 3], { device }), 6, ["weight"]],
    [new nn.LayerScale(8, { device }), 8, ["gamma"]],
    [new nn.InstanceNorm2d(8, { device }), 0, []],
    [new nn.InstanceNorm2d(8, { affine: true, trackRunningStats: true, device }), 16, [
      "weight",
      "bias",
      "running_mean",
      "running_var",
      "num_batches_tracked",
    ]],
  ];
  for (const [layer, count, keys] of counts) {
    const name = layer.constructor.name;
    assertEquals(layer.parameterCount, count, name);
    assertEquals(Object.keys(layer.stateDict()), keys, name);
  }
});

Deno.test("LayerNorm2d normalises each pixel by itself, unlike GroupNorm", async () => {
  const x = tensor(randomValues(24, 3), { shape: [1, 4, 2, 3], device });
  const y = new nn.LayerNorm2d(4, { eps: 0, device }).forward(x);
  assertClose(await y.mean(1).data(), new Float64Array(6), 1e-12);
  assertClose(await y.square().mean(1).data(), new Float64Array(6).fill(1), 1e-9);
  const other = await new nn.GroupNorm(1, 4, { eps: 0, device }).forward(x).mean(1).data();
  assert(other.some((mean: number) => Math.abs(mean) > 0.1));
});

Deno.test("attention takes blocks from factories", async () => {
  const one = () => new nn.Threshold({ threshold: Infinity, value: 2 });
  const spatial = new nn.SpatialAttention({
    block: () => new nn.Sequential(new nn.Conv2d(2, 1, { kernelSize: 1, device }), one()),
  });
  const x = ones([1, 4, 2, 2], { device });
  assertEquals(await spatial.forward(x).array(), await x.mul(2).array());
  const sizes: number[][] = [];
  const se = new nn.SEAttention(12, {
    reduction: 2,
    block1: (from, to) => {
      sizes.push([from, to]);
      return new nn.Conv2d(from, to, { kernelSize: 1, device });
    },
    block2: (from, to) => {
      sizes.push([from, to]);
      return new nn.Sequential(new nn.Conv2d(from, to, { kernelSize: 1, device }), one());
    },
    pool: () => new nn.AdaptiveMaxPool2d(1),
  });
  assertEquals(sizes, [[12, 8], [8, 12]]);
  assert(se.pool instanceof nn.AdaptiveMaxPool2d);
  assertEquals(await se.forward(ones([1, 12, 2, 2], { device })).sum().item(), 96);
});

Deno.test("further layers refuse inputs that do not fit, and say what they expected", () => {
  const image = zeros([2, 3, 4, 4], { device });
  const cases: [nn.TensorModule, Tensor, string][] = [
    [new nn.Conv1d(2, 1, { kernelSize: 3, device }), image, "expected sequences [N, 2, L]"],
    [new nn.Conv1d(3, 1, { kernelSize: 9, device }), zeros([2, 3, 4], { device }), "the output"],
    [new nn.MaxPool1d({ kernelSize: 2 }), image, "expected [N, C, L] or [C, L]"],
    [new nn.LayerNorm2d(4, { device }), image, "expected 4 axes with 4 channels along axis 1"],
    [new nn.GRN(4, { device }), image, "Cannot apply GRN to [2, 3, 4, 4]: expected 4 axes"],
    [new nn.RMSNorm([4, 3], { device }), image, "expected the last axes to be [4, 3]"],
    [new nn.InstanceNorm1d(3, { device }), image, "expected 2 or 3 axes with 3 channels"],
    [new nn.InstanceNorm1d(3, { device }), zeros([2, 3, 1], { device }), "at least 2 values"],
    [new nn.ChannelShuffle(2), image, "with channels divisible by 2"],
    [new nn.LayerScale(3, { dims: 3, device }), image, "expected 3 axes with 3 channels"],
    [new nn.PixelShuffle(2), image, "channels divisible by 4"],
    [new nn.SpaceToDepth(3), image, "Cannot apply SpaceToDepth to [2, 3, 4, 4]"],
    [new nn.Upsample({ size: 2 }), image.squeeze().select(0, 0), "expected [N, C, H, W]"],
    [new nn.ZeroPad2d(1), zeros([2, 2], { device }), "expected [N, C, H, W] or [C, H, W]"],
    [new nn.ReflectionPad2d(4), image, "expected paddings below height and width"],
    [new nn.AdaptiveMaxPool2d(1), zeros([2, 2], { device }), "expected [N, C, H, W]"],
    [new nn.SEAttention(4, { device }), image, "expected 4 axes with 4 channels"],
    [new nn.SpatialAttention({ device }), zeros([3, 4], { device }), "expected 4 axes"],
    [new nn.GLU({ dim: 1 }), image, "Cannot apply GLU to [2, 3, 4, 4] along dim 1"],
    [new nn.GLU({ dim: 4 }), image, "along dim 4"],
    [new nn.Softmax2d(), zeros([2, 2], { device }), "expected [N, C, H, W] or [C, H, W]"],
  ];
  for (const [layer, x, text] of cases) {
    assertThrows(() => layer.forward(x), ShapeError, text, layer.constructor.name);
  }
});

Deno.test("further layers refuse settings without a meaning", () => {
  const cases: [() => unknown, string][] = [
    [() => new nn.Conv1d(3, 4, { kernelSize: 3, groups: 2, device }), "in 2 groups"],
    [() => new nn.Conv1d(3, 4, { kernelSize: 0, device }), "Conv1d with kernelSize 0"],
    [
      () => new nn.ConvTranspose1d(3, 4, { kernelSize: 1, outputPadding: -1, device }),
      "ConvTranspose1d with outputPadding -1",
    ],
    [() => new nn.AvgPool1d({ kernelSize: 2, padding: 2 }), "padding of at most half"],
    [() => new nn.LayerNorm2d(0, { device }), "LayerNorm2d with numChannels 0"],
    [() => new nn.GRN(3, { eps: -1, device }), "GRN with eps -1"],
    [() => new nn.RMSNorm([], { device }), "RMSNorm over no axes"],
    [() => new nn.InstanceNorm2d(3, { momentum: 2, device }), "InstanceNorm2d with momentum 2"],
    [() => new nn.ChannelShuffle(0), "ChannelShuffle with groups 0"],
    [() => new nn.LayerScale(3, { dims: 1, device }), "LayerScale with dims 1"],
    [() => new nn.LayerScale(3, { channelDim: 4, device }), "LayerScale with channelDim 4"],
    [() => new nn.PixelShuffle(0.5), "PixelShuffle with upscaleFactor 0.5"],
    [() => new nn.SpaceToDepth(0), "SpaceToDepth with downscaleFactor 0"],
    [() => new nn.Upsample({}), "Cannot make Upsample: expected either size or scaleFactor"],
    [() => new nn.ZeroPad2d(-1), "make ZeroPad2d with padding -1"],
    [() => new nn.ReflectionPad2d([1, 2, 3] as unknown as number), "ReflectionPad2d with padding"],
    [() => new nn.AdaptiveMaxPool2d(0), "make AdaptiveMaxPool2d with outputSize"],
    [() => new nn.SEAttention(0, { device }), "SEAttention with channels 0"],
    [() => new nn.SEAttention(8, { reduction: 0, device }), "SEAttention with reduction 0"],
    [() => new nn.Hardshrink({ lambda: -1 }), "Hardshrink with lambda -1"],
    [() => new nn.Threshold({ threshold: NaN, value: 0 }), "Threshold with threshold NaN"],
  ];
  for (const [make, text] of cases) assertThrows(make, RangeError, text);
});
