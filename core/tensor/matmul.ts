/** Matrix products of tensors. */

import { apply, input } from "../../kernels/expr.ts";
import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import { matmulKernel, type MatrixOperand, sharesSums } from "../../kernels/matmul.ts";
import { type DeviceTraits, type Shape, sizeOf } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { fullOn } from "./fill.ts";
import {
  checkDevices,
  denseOperand,
  isAligned,
  launchMap,
  launchReduce,
  noScalars,
  operandOf,
  residualOf,
} from "./launch.ts";
import { sumOf } from "./map.ts";
import { broadcastShapes, broadcastStrides } from "./shape.ts";
import { isGradEnabled, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Terms of a sum at most, and terms that make a slice at least, where K is cut. */
const LONGEST = 2048;
const SLICES = [256, 1024] as const;
/** Tiles of 64 × 64 below which a device has threads to spare. */
const FEW_TILES = 32;

/** Terms of a sum at most where threads share it. */
const LONGEST_SHARED = 2 * LONGEST;

/** Slices of K: none for short sums or shared ones; enough to keep sums short, and more where there are few tiles. */
function slicesOf(m: number, n: number, k: number, items: number, traits: DeviceTraits): number {
  if (traits.wasm) return 1;
  const [least, most] = SLICES;
  const tiles = Math.ceil(m / 64) * Math.ceil(n / 64) * items;
  const short = k > LONGEST ? Math.ceil(k / most) : 1;
  if (k < most || (tiles >= FEW_TILES && short === 1)) return 1;
  if (k <= LONGEST_SHARED && sharesSums(m, n, k, items, traits)) return 1;
  return tiles >= FEW_TILES
    ? short
    : Math.max(short, Math.min(Math.ceil(k / least), Math.ceil(2 * FEW_TILES / tiles)));
}

function check(op: string, a: Tensor, b: Tensor): void {
  checkDevices(op, [a, b]);
  for (const t of [a, b]) {
    if (t.dtype !== "f32" && t.dtype !== "f16") {
      throw new DTypeError(
        `Cannot ${op} ${a.dtype} ${showShape(a.shape)} by ${b.dtype} ${
          showShape(b.shape)
        }: expected f32 or f16`,
      );
    }
  }
}

/**
 * Matrix product by PyTorch's rules: vectors are taken as a row or a column, batch axes broadcast.
 *
 * @param a [..., M, K] or [K], f32 or f16
 * @param b [..., K, N] or [K], f32 or f16
 * @returns [..., M, N] without the axes of vectors; f32, or f16 where both operands are
 * @throws {ShapeError} if the inner sizes differ or the batch axes do not broadcast
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  check("matmul", a, b);
  if (a.ndim === 0 || b.ndim === 0) {
    throw new ShapeError(
      `Cannot matmul ${showShape(a.shape)} by ${
        showShape(b.shape)
      }: expected at least one axis each`,
    );
  }
  if (a.ndim === 1) return matmul(a.unsqueeze(0), b).squeeze(b.ndim === 1 ? 0 : -2);
  if (b.ndim === 1) return matmul(a, b.unsqueeze(1)).squeeze(-1);
  if (a.shape.at(-1) !== b.shape.at(-2)) {
    throw new ShapeError(
      `Cannot matmul ${showShape(a.shape)} by ${showShape(b.shape)} as inner sizes must match: ` +
        `found ${a.shape.at(-1)} and ${b.shape.at(-2)}`,
    );
  }
  if (a.dtype === "f16" && b.dtype === "f16") {
    return product(a.to("f32"), b.to("f32"), null).to("f16");
  }
  return product(a.to("f32"), b.to("f32"), null);
}

/**
 * Affine map over the last axis, `x Wᵀ + b`, as one kernel.
 *
 * @param x [..., in]
 * @param weight [out, in]
 * @param bias [out], or null
 * @throws {ShapeError} if the sizes do not fit
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  check("apply a linear map to", x, weight);
  if (bias) check("apply a linear map to", x, bias);
  const fits = weight.ndim === 2 && x.ndim >= 1 && x.shape.at(-1) === weight.shape[1] &&
    (bias === null || (bias.ndim === 1 && bias.shape[0] === weight.shape[0]));
  if (!fits) {
    throw new ShapeError(
      `Cannot apply a linear map with weight ${showShape(weight.shape)}` +
        `${bias ? ` and bias ${showShape(bias.shape)}` : ""} to ${showShape(x.shape)}: expected ` +
        `the last axis to be ${weight.shape[1]}`,
    );
  }
  const rows = sizeOf(x.shape.slice(0, -1));
  const flat = x.to("f32").reshape([rows, weight.shape[1]]);
  const out = product(flat, weight.to("f32").t(), bias?.to("f32") ?? null);
  const shaped = out.reshape([...x.shape.slice(0, -1), weight.shape[0]]);
  return x.dtype === "f16" ? shaped.to("f16") : shaped;
}

/** Inner product of two vectors of equal length. */
export function dot(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 1 || b.ndim !== 1 || a.shape[0] !== b.shape[0]) {
    throw new ShapeError(
      `Cannot dot ${showShape(a.shape)} and ${
        showShape(b.shape)
      }: expected two vectors of equal length`,
    );
  }
  return a.mul(b).sum();
}

/** Outer product of two vectors: [M] and [N] give [M, N]. */
export function outer(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 1 || b.ndim !== 1) {
    throw new ShapeError(
      `Cannot take the outer product of ${showShape(a.shape)} and ${
        showShape(b.shape)
      }: expected two vectors`,
    );
  }
  return a.unsqueeze(1).mul(b.unsqueeze(0));
}

function matrixOperand(t: Tensor, batch: Shape): MatrixOperand {
  const lead = t.ndim - 2;
  return {
    rowStride: t.strides[lead],
    columnStride: t.strides[lead + 1],
    batchStrides: broadcastStrides(t.shape.slice(0, lead), t.strides.slice(0, lead), batch),
    offset: residualOf(t),
  };
}

/** The product of matrices of at least two axes, with a bias per column. */
function product(a: Tensor, b: Tensor, bias: Tensor | null): Tensor {
  // Sums this long are cut into slices, which leave no place for a bias.
  if (bias !== null && a.shape.at(-1)! > LOOP_LIMIT) return product(a, b, null).add(bias);
  const batch = broadcastShapes("matmul", [a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const [m, k] = a.shape.slice(-2);
  const n = b.shape.at(-1)!;
  const out = launchProduct(a, b, bias, batch, m, n, k);
  const inputs = bias ? [a, b, bias] : [a, b];
  const saved = [...(b.requiresGrad ? [a] : []), ...(a.requiresGrad ? [b] : [])];
  return record("matmul", out, inputs, (g) => {
    const before = a.requiresGrad ? sumTo(matmul(g, b.transpose(-2, -1)), a.shape) : null;
    const both = b.requiresGrad && bias?.requiresGrad ? weightAndBias(a, g, b) : null;
    if (both !== null) return [before, ...both];
    const weight = b.requiresGrad ? weightGradient(a, g, b) : null;
    return [before, weight, bias?.requiresGrad ? sumTo(g, bias.shape) : null];
  }, saved);
}

/** Rows of a batch up to which a hardware adapter sums them beside a product. */
const FEW_ROWS = 256;

/**
 * The gradients of a transposed weight and of its bias from one kernel, as both sum the same numbers; null where they need
 * to be differentiated again, or where sums are long enough for kernels of their own.
 */
function weightAndBias(a: Tensor, g: Tensor, b: Tensor): [Tensor, Tensor] | null {
  const [k, n] = a.shape;
  const m = g.shape[1];
  const { traits } = a.device;
  const fits = a.ndim === 2 && g.ndim === 2 && isTransposed(b) && n > 1 && m * k > 0 &&
    k <= (traits.software ? LONGEST : FEW_ROWS) && slicesOf(m, n, k, 1, traits) === 1;
  if (!fits || isGradEnabled()) return null;
  const [left, right] = [g.t(), a];
  const operands = { a: matrixOperand(left, []), b: matrixOperand(right, []) };
  const kernel = matmulKernel(
    { m, n, k, batch: [], ...operands, bias: false, splits: 1, rowSums: true },
  );
  const weight = empty(a.device, [m, n], "f32", "matmul");
  const bias = empty(a.device, [m], "f32", "matmul");
  const outputs = [weight, bias].map(denseOperand);
  a.device.record({ kernel, inputs: [left, right].map(operandOf), outputs, scalars: [] });
  return [weight.t(), bias];
}

/** Whether a matrix lies in memory as the transposed one. */
function isTransposed(b: Tensor): boolean {
  return b.ndim === 2 && b.strides[0] === 1 && b.strides[1] !== 1;
}

/** `aᵀ g` in the memory order of `b`, so that the gradient of a transposed weight needs no copy. */
function weightGradient(a: Tensor, g: Tensor, b: Tensor): Tensor {
  const gradient = isTransposed(b)
    ? matmul(g.transpose(-2, -1), a).transpose(-2, -1)
    : matmul(a.transpose(-2, -1), g);
  return sumTo(gradient, b.shape);
}

/** Sums the axes that broadcasting had added or stretched. */
function sumTo(t: Tensor, shape: Shape): Tensor {
  const lead = t.ndim - shape.length;
  const axes = t.shape.map((_, d) => d)
    .filter((d) => d < lead || (shape[d - lead] === 1 && t.shape[d] !== 1));
  return axes.length === 0 ? t : sumOf("matmul backward", input(0), [t], axes).reshape(shape);
}

function launchProduct(
  a: Tensor,
  b: Tensor,
  bias: Tensor | null,
  batch: Shape,
  m: number,
  n: number,
  k: number,
): Tensor {
  const { device } = a;
  const shape = [...batch, m, n];
  if (sizeOf(shape) === 0) return empty(device, shape, "f32", "matmul");
  if (k === 0) {
    const zero = fullOn(device, shape, "f32", 0);
    return bias ? withBias(zero, bias) : zero;
  }
  const splits = slicesOf(m, n, k, sizeOf(batch), device.traits);
  if (splits === 1) return launchSlices(a, b, bias, batch, m, n, k, 1);
  const slices = launchSlices(a, b, null, batch, m, n, k, splits);
  const spec = {
    fold: "sum",
    expr: input(0),
    post: null,
    dtype: "f32",
    partial: "f32",
    shape: slices.shape,
    axes: [0],
  } as const;
  const sum = launchReduce("matmul", spec, [slices], noScalars);
  slices.dispose();
  return bias ? withBias(sum, bias) : sum;
}

/** A fresh product plus its bias, which takes the product's place. */
function withBias(product: Tensor, bias: Tensor): Tensor {
  const expr = apply("add", input(0), input(1));
  const out = launchMap("matmul", expr, [product, bias], "f32", noScalars, product.device);
  product.dispose();
  return out;
}

/** One kernel: the products of `splits` slices of K, behind each other along a first axis where there are several. */
function launchSlices(
  a: Tensor,
  b: Tensor,
  bias: Tensor | null,
  batch: Shape,
  m: number,
  n: number,
  k: number,
  splits: number,
): Tensor {
  const kernel = matmulKernel({
    m,
    n,
    k,
    batch,
    a: matrixOperand(a, batch),
    b: matrixOperand(b, batch),
    bias: bias !== null,
    splits,
  });
  const shape = [...batch, m, n];
  const out = empty(a.device, splits > 1 ? [splits, ...shape] : shape, "f32", "matmul");
  const operands = [a, b].map(operandOf);
  const dense = bias && denseVector(bias);
  if (dense) operands.push(denseOperand(dense));
  a.device.record({ kernel, inputs: operands, outputs: [denseOperand(out)], scalars: [] });
  if (dense !== bias) dense?.dispose();
  return out;
}

/** The vector itself where it can be bound from its first element on, otherwise a copy. */
function denseVector(t: Tensor): Tensor {
  if (t.isContiguous && isAligned(t)) return t;
  return launchMap("contiguous", input(0), [t], t.dtype, noScalars, t.device, { rowMajor: true });
}
