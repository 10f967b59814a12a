/** The shapes of the kernel benchmark: those of the benchmarked models, and some of common sizes. */

import {
  BatchNorm2d,
  conv2d,
  type Device,
  grad,
  LayerNorm,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { uniforms } from "./models.ts";
import {
  type Naive,
  naiveBatchNorm,
  naiveConv,
  naiveConvInput,
  naiveConvWeight,
  naiveLayerNorm,
  naiveMap,
  naiveMatmul,
  naiveSoftmax,
  naiveSum,
} from "./naive.ts";

/** An op to time, ready on a device. */
export interface Ready {
  /** Runs the op; its kernel calls are what is timed. */
  readonly run: () => Tensor;
  /** The same result with a plain kernel. */
  readonly naive: Naive;
}

/** An op with its shape. */
export interface Case {
  readonly family: "matmul" | "conv" | "reduce" | "map" | "norm";
  readonly name: string;
  readonly flops: number;
  /** Bytes of the operands, each once. */
  readonly bytes: number;
  prepare(device: Device): Ready;
}

const random = uniforms(3);

function values(device: Device, shape: readonly number[]): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: count }, () => 2 * random() - 1);
  return tensor(data, { device, shape: [...shape] });
}

/** Images [N, C, H, W] whose channels lie last in memory, as convolutions leave them. */
function images(device: Device, [n, c, h, w]: readonly number[]): Tensor {
  return values(device, [n, h, w, c]).permute([0, 3, 1, 2]);
}

type Form = "NN" | "NT" | "TN";

function matmulCase(form: Form, m: number, k: number, n: number): Case {
  return {
    family: "matmul",
    name: `matmul ${form} ${m}×${k}×${n}`,
    flops: 2 * m * k * n,
    bytes: 4 * (m * k + k * n + m * n),
    prepare: (device) => {
      const a = form === "TN" ? values(device, [k, m]).transpose(0, 1) : values(device, [m, k]);
      const b = form === "NT" ? values(device, [n, k]).transpose(0, 1) : values(device, [k, n]);
      return { run: () => a.matmul(b), naive: naiveMatmul(a, b) };
    },
  };
}

/** The three convolutions of a layer: forward, for the input, for the weight. */
function convCases(
  [batch, from, image]: readonly [number, number, number],
  to: number,
  size: number,
  padding: number,
): Case[] {
  const places = image + 2 * padding - size + 1;
  const [xShape, wShape] = [[batch, from, image, image], [to, from, size, size]];
  const gShape = [batch, to, places, places];
  const sizes = [xShape, wShape, gShape].map((s) => s.reduce((a, b) => a * b));
  const name = `${batch}×${from}×${image}² → ${to}, ${size}×${size}`;
  const make = (kind: string, prepare: Case["prepare"]): Case => ({
    family: "conv",
    name: `conv ${kind} ${name}`,
    flops: 2 * sizes[2] * from * size * size,
    bytes: 4 * (sizes[0] + sizes[1] + sizes[2]),
    prepare,
  });
  const forward = make("forward", (device) => {
    const [x, weight] = [images(device, xShape), values(device, wShape)];
    const run = () => conv2d(x, weight, null, { padding });
    return { run, naive: naiveConv(x, weight, padding) };
  });
  /** The gradient with respect to one operand; the forward pass is made outside of what is timed. */
  const backward = (device: Device, wantsInput: boolean): Ready => {
    const [x, weight] = [images(device, xShape), values(device, wShape)];
    const g = images(device, gShape);
    const wanted = wantsInput ? x.detach() : weight.detach();
    wanted.requiresGrad = true;
    const y = wantsInput
      ? conv2d(wanted, weight, null, { padding })
      : conv2d(x, wanted, null, { padding });
    return {
      run: () => grad(y, [wanted], { gradient: g })[0],
      naive: wantsInput
        ? naiveConvInput(g, weight, padding, xShape)
        : naiveConvWeight(x, g, padding, wShape),
    };
  };
  const weights = make("dW", (device) => backward(device, false));
  if (from === 1) return [forward, weights];
  return [forward, make("dX", (device) => backward(device, true)), weights];
}

function sumCase(m: number, n: number, dim: 0 | 1 | null): Case {
  const over = dim === null ? "all" : dim === 0 ? "rows" : "columns";
  return {
    family: "reduce",
    name: `sum of ${over} of ${m}×${n}`,
    flops: m * n,
    bytes: 4 * m * n,
    prepare: (device) => {
      const x = values(device, [m, n]);
      return { run: () => dim === null ? x.sum() : x.sum(dim), naive: naiveSum(x, dim) };
    },
  };
}

function mapCases(m: number, n: number): Case[] {
  const size = m * n;
  const shape = `${m}×${n}`;
  return [
    {
      family: "map",
      name: `relu ${shape}`,
      flops: size,
      bytes: 8 * size,
      prepare: (device) => {
        const x = values(device, [m, n]);
        return { run: () => x.relu(), naive: naiveMap("relu", [x], "max(v0, 0.0)") };
      },
    },
    {
      family: "map",
      name: `gelu of tanh ${shape}`,
      flops: 10 * size,
      bytes: 8 * size,
      prepare: (device) => {
        const x = values(device, [m, n]);
        const inner = "0.7978845608 * (v0 + 0.044715 * v0 * v0 * v0)";
        const formula = `0.5 * v0 * (1.0 + tanh(${inner}))`;
        return { run: () => x.geluTanh(), naive: naiveMap("gelu", [x], formula) };
      },
    },
    {
      family: "map",
      name: `a·b ${shape}`,
      flops: size,
      bytes: 12 * size,
      prepare: (device) => {
        const [a, b] = [values(device, [m, n]), values(device, [m, n])];
        return { run: () => a.mul(b), naive: naiveMap("product", [a, b], "v0 * v1") };
      },
    },
    {
      family: "map",
      name: `transposed copy ${shape}`,
      flops: 0,
      bytes: 8 * size,
      prepare: (device) => {
        const x = values(device, [n, m]).transpose(0, 1);
        return { run: () => x.contiguous(), naive: naiveMap("copy", [x], "v0") };
      },
    },
  ];
}

function normCases(m: number, n: number, imageShape: readonly number[]): Case[] {
  const size = imageShape.reduce((a, b) => a * b);
  return [
    {
      family: "norm",
      name: `softmax of rows ${m}×${n}`,
      flops: 5 * m * n,
      bytes: 8 * m * n,
      prepare: (device) => {
        const x = values(device, [m, n]);
        return { run: () => x.softmax(-1), naive: naiveSoftmax(x) };
      },
    },
    {
      family: "norm",
      name: `layer norm ${m}×${n}`,
      flops: 7 * m * n,
      bytes: 8 * m * n,
      prepare: (device) => {
        const x = values(device, [m, n]);
        const layer = new LayerNorm(n, { device });
        return { run: () => layer.forward(x), naive: naiveLayerNorm(x, 1e-5) };
      },
    },
    {
      family: "norm",
      name: `batch norm ${imageShape.join("×")}`,
      flops: 7 * size,
      bytes: 8 * size,
      prepare: (device) => {
        const x = images(device, imageShape);
        const layer = new BatchNorm2d(imageShape[1], { trackRunningStats: false, device });
        return { run: () => layer.forward(x), naive: naiveBatchNorm(x, 1e-5) };
      },
    },
  ];
}

/** What is timed on software adapters; hardware gets the large shapes too. */
export function kernelCases(software: boolean): Case[] {
  const cases = [
    matmulCase("NT", 1000, 784, 256),
    matmulCase("NN", 1000, 256, 784),
    matmulCase("TN", 256, 1000, 784),
    matmulCase("NT", 16, 784, 64),
    matmulCase("NN", 512, 512, 512),
    matmulCase("NN", 511, 509, 503),
    matmulCase("NN", 1, 2048, 2048),
    ...convCases([250, 1, 28], 24, 5, 0),
    ...convCases([250, 24, 12], 32, 3, 0),
    ...convCases([64, 1, 28], 32, 3, 1),
    ...convCases([64, 32, 14], 64, 3, 1),
    ...convCases([64, 64, 7], 128, 3, 1),
    ...convCases([64, 64, 14], 64, 1, 0),
    sumCase(1024, 1024, null),
    sumCase(4096, 256, 0),
    sumCase(4096, 256, 1),
    ...mapCases(2048, 1024),
    ...normCases(4096, 256, [64, 32, 28, 28]),
  ];
  if (software) return cases;
  return [
    ...cases,
    matmulCase("NN", 4096, 4096, 4096),
    matmulCase("NT", 4096, 4096, 4096),
    matmulCase("TN", 4096, 4096, 4096),
    ...convCases([256, 64, 56], 128, 3, 1),
    ...mapCases(8192, 8192),
    ...normCases(16384, 1024, [256, 64, 56, 56]),
  ];
}
