/** Plain WGSL for the kernel benchmark: one output per thread, every load as it comes. */

import type { Kernel, Tensor } from "../../core/mod.ts";

/** A plain kernel with what it reads; outputs lie in row-major order. */
export interface Naive {
  readonly kernel: Kernel;
  readonly inputs: readonly Tensor[];
  /** Elements of the output. */
  readonly count: number;
}

/** Turns of loops that every adapter really makes; llvmpipe leaves all loops after 65,535. */
const TURNS = 16384;
const THREADS = 64;

/** An index as a sum of products: `places[d]·strides[d]`, from a tensor's offset. */
function at(tensor: Tensor, places: readonly string[]): string {
  const terms = tensor.strides.map((s, d) => `(${places[d]}) * ${s}u`);
  return [`${tensor.offset}u`, ...terms].join(" + ");
}

/** A loop over `name`, unrolled as often as the limit of turns asks for. */
function loop(name: string, length: number, turns: number, body: string): string {
  const unrolled = Math.ceil(length / turns);
  const copies = Array.from({ length: unrolled }, (_, j) => {
    const guard = length % unrolled === 0 ? "" : `if (${name}0 + ${j}u < ${length}u) `;
    return `${guard}{ let ${name} = ${name}0 + ${j}u; ${body} }`;
  });
  return `for (var ${name}0 = 0u; ${name}0 < ${length}u; ${name}0 += ${unrolled}u) { ${
    copies.join(" ")
  } }`;
}

/** A kernel whose thread `i` computes output `i`; `body` sets `y[i]` and reads `x0`, `x1` …. */
function perOutput(name: string, inputs: readonly Tensor[], count: number, body: string): Naive {
  const bindings = inputs.map((_, i) =>
    `@group(0) @binding(${i}) var<storage, read> x${i}: array<f32>;`
  );
  const groups = Math.ceil(count / THREADS);
  const across = Math.min(groups, 4096);
  const code = `${bindings.join("\n")}
@group(0) @binding(${inputs.length}) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wg.y * ${across}u + wg.x) * ${THREADS}u + lane;
  if (i >= ${count}u) { return; }
  ${body}
}`;
  const kernel: Kernel = {
    op: "naive",
    key: `naive|${name}|${code}`,
    params: null,
    inputs: inputs.map(() => "f32"),
    outputs: ["f32"],
    scalars: [],
    wgsl: () => ({ code, groups: [across, Math.ceil(groups / across), 1] }),
    reference: () => {
      throw new Error("Cannot run a plain kernel on the reference device");
    },
  };
  return { kernel, inputs, count };
}

/** Declares the place of output `i` along each axis of a shape. */
function places(names: readonly string[], shape: readonly number[]): string {
  let inner = 1;
  const lines = shape.map((size, d) => [names[d], size] as const).reverse().map(([name, size]) => {
    const line = `let ${name} = (i / ${inner}u) % ${size}u;`;
    inner *= size;
    return line;
  });
  return lines.join(" ");
}

/** `[m, k] × [k, n]`, whatever the strides. */
export function naiveMatmul(a: Tensor, b: Tensor): Naive {
  const [[m, k], [, n]] = [a.shape, b.shape];
  const step = `sum += x0[${at(a, ["row", "p"])}] * x1[${at(b, ["p", "col"])}];`;
  const body = `${places(["row", "col"], [m, n])} var sum = 0.0; ${loop("p", k, TURNS, step)}
  y[i] = sum;`;
  return perOutput("matmul", [a, b], m * n, body);
}

/** Convolution with stride 1: x [N, in, H, W], weight [out, in, kh, kw]. */
export function naiveConv(x: Tensor, weight: Tensor, padding: number): Naive {
  const [batch, channels, height, width] = x.shape;
  const [out, , kh, kw] = weight.shape;
  const [rows, columns] = [height + 2 * padding - kh + 1, width + 2 * padding - kw + 1];
  const tap = `let ih = h + p - ${padding}u; let iw = w + q - ${padding}u;
  if (ih < ${height}u && iw < ${width}u) {
    sum += x0[${at(x, ["b", "c", "ih", "iw"])}] * x1[${at(weight, ["o", "c", "p", "q"])}];
  }`;
  const loops = loop("c", channels, TURNS, loop("p", kh, TURNS, loop("q", kw, TURNS, tap)));
  const head = places(["b", "o", "h", "w"], [batch, out, rows, columns]);
  const body = `${head} var sum = 0.0; ${loops} y[i] = sum;`;
  return perOutput("conv", [x, weight], batch * out * rows * columns, body);
}

/** Gradient of a convolution for its input, from the gradient `g` [N, out, H', W']. */
export function naiveConvInput(
  g: Tensor,
  weight: Tensor,
  padding: number,
  shape: readonly number[],
): Naive {
  const [, out, rows, columns] = g.shape;
  const [, , kh, kw] = weight.shape;
  const tap = `let oh = h + ${padding}u - p; let ow = w + ${padding}u - q;
  if (oh < ${rows}u && ow < ${columns}u) {
    sum += x0[${at(g, ["b", "o", "oh", "ow"])}] * x1[${at(weight, ["o", "c", "p", "q"])}];
  }`;
  const loops = loop("o", out, TURNS, loop("p", kh, TURNS, loop("q", kw, TURNS, tap)));
  const body = `${places(["b", "c", "h", "w"], shape)} var sum = 0.0; ${loops} y[i] = sum;`;
  return perOutput("conv input", [g, weight], shape.reduce((a, b) => a * b), body);
}

/** Gradient of a convolution for its weight [out, in, kh, kw]. */
export function naiveConvWeight(
  x: Tensor,
  g: Tensor,
  padding: number,
  shape: readonly number[],
): Naive {
  const [batch, , height, width] = x.shape;
  const [, , rows, columns] = g.shape;
  const tap = `let iw = w + q - ${padding}u;
  if (ih < ${height}u && iw < ${width}u) {
    sum += x0[${at(x, ["b", "c", "ih", "iw"])}] * x1[${at(g, ["b", "o", "h", "w"])}];
  }`;
  const perRow = Math.max(1, Math.floor(TURNS / (batch * rows)));
  const row = `let ih = h + p - ${padding}u; ${loop("w", columns, perRow, tap)}`;
  const loops = loop("b", batch, TURNS, loop("h", rows, TURNS, row));
  const body = `${places(["o", "c", "p", "q"], shape)} var sum = 0.0; ${loops} y[i] = sum;`;
  return perOutput("conv weight", [x, g], shape.reduce((a, b) => a * b), body);
}

/** Sums of a matrix over its rows (dim 0), its columns (dim 1), or all of it (null). */
export function naiveSum(x: Tensor, dim: 0 | 1 | null): Naive {
  const [m, n] = x.shape;
  if (dim === null) {
    const step = `sum += x0[${x.offset}u + p];`;
    return perOutput("sum", [x], 1, `var sum = 0.0; ${loop("p", m * n, TURNS, step)} y[i] = sum;`);
  }
  const step = `sum += x0[${at(x, dim === 0 ? ["p", "i"] : ["i", "p"])}];`;
  const body = `var sum = 0.0; ${loop("p", dim === 0 ? m : n, TURNS, step)} y[i] = sum;`;
  return perOutput("sum", [x], dim === 0 ? n : m, body);
}

/** An elementwise formula over tensors of one shape; `formula` names them `v0`, `v1` …. */
export function naiveMap(name: string, inputs: readonly Tensor[], formula: string): Naive {
  const { shape, size } = inputs[0];
  const names = shape.map((_, d) => `d${d}`);
  const values = inputs.map((t, n) => `let v${n} = x${n}[${at(t, names)}];`);
  const body = `${places(names, shape)} ${values.join(" ")} y[i] = ${formula};`;
  return perOutput(name, inputs, size, body);
}

/** Softmax over the last axis of a matrix: one row per thread. */
export function naiveSoftmax(x: Tensor): Naive {
  const [m, n] = x.shape;
  const value = `x0[${at(x, ["i", "p"])}]`;
  const body = `var top = ${value.replace("(p)", "(0u)")}; var sum = 0.0;
  ${loop("p", n, TURNS / 4, `top = max(top, ${value});`)}
  ${loop("p", n, TURNS / 4, `sum += exp(${value} - top);`)}
  ${loop("p", n, TURNS / 4, `y[i * ${n}u + p] = exp(${value} - top) / sum;`)}`;
  return { ...perOutput("softmax", [x], m, body), count: m * n };
}

/** Layer normalisation over the last axis of a matrix, without scale and shift: one row per thread. */
export function naiveLayerNorm(x: Tensor, eps: number): Naive {
  const [m, n] = x.shape;
  const value = `x0[${at(x, ["i", "p"])}]`;
  const body = `var mean = 0.0; var variance = 0.0;
  ${loop("p", n, TURNS / 4, `mean += ${value};`)}
  mean /= ${n}.0;
  ${loop("p", n, TURNS / 4, `variance += (${value} - mean) * (${value} - mean);`)}
  let root = inverseSqrt(variance / ${n}.0 + ${eps});
  ${loop("p", n, TURNS / 4, `y[i * ${n}u + p] = (${value} - mean) * root;`)}`;
  return { ...perOutput("layer norm", [x], m, body), count: m * n };
}

/** Batch normalisation of images, without scale and shift: one channel per thread. */
export function naiveBatchNorm(x: Tensor, eps: number): Naive {
  const [batch, channels, height, width] = x.shape;
  const perRow = Math.max(1, Math.floor(TURNS / 4 / (batch * height)));
  const value = `x0[${at(x, ["b", "i", "h", "w"])}]`;
  const all = (body: string) =>
    loop("b", batch, TURNS, loop("h", height, TURNS, loop("w", width, perRow, body)));
  const count = batch * height * width;
  const place = `((b * ${channels}u + i) * ${height}u + h) * ${width}u + w`;
  const body = `var mean = 0.0; var variance = 0.0;
  ${all(`mean += ${value};`)}
  mean /= ${count}.0;
  ${all(`variance += (${value} - mean) * (${value} - mean);`)}
  let root = inverseSqrt(variance / ${count}.0 + ${eps});
  ${all(`y[${place}] = (${value} - mean) * root;`)}`;
  return { ...perOutput("batch norm", [x], channels, body), count: x.size };
}
