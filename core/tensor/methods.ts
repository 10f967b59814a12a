/** The methods of Tensor, from the files that implement them. */

import { table, type UnaryName } from "../../kernels/table.ts";
import type { DType, Shape } from "../../kernels/types.ts";
import { backward, type BackwardOptions } from "./autograd.ts";
import {
  type BinaryMethods,
  clamp,
  elementwiseMethod,
  type TensorOrNumber,
  type TernaryMethods,
  type UnaryMethods,
} from "./elementwise.ts";
import { argmax, argmin } from "./arg_reduce.ts";
import { gather, indexSelect, scatterAdd } from "./gather.ts";
import { addInto, copyInto, fillInto } from "./in_place.ts";
import * as autocast from "./autocast.ts";
import * as matmuls from "./matmul.ts";
import * as reduce from "./reduce.ts";
import type { Dim, ReduceOptions, VarianceOptions } from "./reduce.ts";
import { cumsum } from "./scan.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import { sort, type SortOptions, topk, type TopkOptions } from "./sort.ts";
import type { SortedLines } from "./sort_lines.ts";
import { Tensor } from "./tensor.ts";
import { tril, triu } from "./triangle.ts";
import * as views from "./view.ts";
import type { SliceRange } from "./view.ts";

/** Everything that can be called on a tensor beside what the class itself has. */
export interface TensorMethods extends UnaryMethods, BinaryMethods, TernaryMethods {
  /** Adds the gradients of this scalar to the `grad` of every leaf that requires one. */
  backward(options?: BackwardOptions): void;

  /** The values held between two bounds, of which one may be left out. */
  clamp(min?: TensorOrNumber | null, max?: TensorOrNumber | null): Tensor;

  /** Sum over axes. */
  sum(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Mean over axes. */
  mean(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Product over axes. */
  prod(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Largest value over axes. */
  max(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Smallest value over axes. */
  min(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Whether any element is not zero. */
  any(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Whether all elements are not zero. */
  all(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Variance over axes. */
  var(dim?: Dim, options?: VarianceOptions): Tensor;
  /** Standard deviation over axes. */
  std(dim?: Dim, options?: VarianceOptions): Tensor;
  /** Logarithm of the sum of exponentials over axes. */
  logsumexp(dim?: Dim, options?: ReduceOptions): Tensor;
  /** Index of the largest value, i32; the first of equals. */
  argmax(dim?: number | null, options?: ReduceOptions): Tensor;
  /** Index of the smallest value, i32; the first of equals. */
  argmin(dim?: number | null, options?: ReduceOptions): Tensor;
  /** Sums of all elements up to each along an axis. */
  cumsum(dim: number): Tensor;
  /** Values in order along an axis, and where they were. */
  sort(dim?: number, options?: SortOptions): SortedLines;
  /** The k largest or smallest values along an axis, and where they were. */
  topk(k: number, dim?: number, options?: TopkOptions): SortedLines;

  /** Softmax along an axis. */
  softmax(dim: number): Tensor;
  /** Logarithm of the softmax along an axis. */
  logSoftmax(dim: number): Tensor;

  /** Matrix product. */
  matmul(other: Tensor): Tensor;
  /** Inner product of two vectors. */
  dot(other: Tensor): Tensor;
  /** Outer product of two vectors. */
  outer(other: Tensor): Tensor;

  /** The values as another dtype. */
  to(dtype: DType): Tensor;
  /** The elements in row-major order. */
  contiguous(): Tensor;
  /** Another shape for the same elements; one size may be -1. */
  reshape(shape: Shape): Tensor;
  /** The same as reshape(), under PyTorch's other name. */
  view(shape: Shape): Tensor;
  /** Axes `startDim` to `endDim` merged into one. */
  flatten(startDim?: number, endDim?: number): Tensor;
  /** The axes in another order. */
  permute(dims: readonly number[]): Tensor;
  /** Two axes exchanged. */
  transpose(dim0: number, dim1: number): Tensor;
  /** The last two axes exchanged. */
  t(): Tensor;
  /** Axes of size 1 repeated without a copy. */
  expand(shape: Shape): Tensor;
  /** Without axes of size 1. */
  squeeze(dim?: number | readonly number[]): Tensor;
  /** With a new axis of size 1. */
  unsqueeze(dim: number): Tensor;
  /** A range along each axis. */
  slice(...ranges: (SliceRange | number | null)[]): Tensor;
  /** `length` elements along an axis from `start` on. */
  narrow(dim: number, start: number, length: number): Tensor;
  /** One index along an axis, which is dropped. */
  select(dim: number, index: number): Tensor;
  /** The named axes in reverse. */
  flip(dim: number | readonly number[]): Tensor;
  /** Surrounded by a constant. */
  pad(padding: readonly (readonly [number, number])[], value?: number): Tensor;
  /** Repeated so many times along each axis. */
  repeat(counts: readonly number[]): Tensor;
  /** The upper triangle of matrices; 0 below the diagonal. */
  triu(diagonal?: number): Tensor;
  /** The lower triangle of matrices; 0 above the diagonal. */
  tril(diagonal?: number): Tensor;
  /** Pieces along an axis. */
  split(sizes: number | readonly number[], dim?: number): Tensor[];

  /** Slices along an axis by a vector of indices. */
  indexSelect(dim: number, index: Tensor): Tensor;
  /** Elements along an axis by indices of the result's shape. */
  gather(dim: number, index: Tensor): Tensor;
  /** The tensor plus the source's elements at their indices along an axis. */
  scatterAdd(dim: number, index: Tensor, source: Tensor): Tensor;

  /** Overwrites the elements with those of another tensor. */
  copy_(source: Tensor): Tensor;
  /** Sets every element to a number. */
  fill_(value: number): Tensor;
  /** Adds `other · scale` in place. */
  add_(other: Tensor, scale?: number): Tensor;
}

type Method = (this: Tensor, ...args: never[]) => unknown;

function install(methods: Record<string, Method>): void {
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(Tensor.prototype, name, { value, configurable: true, writable: true });
  }
}

/** A function whose first argument is the tensor, as a method. */
function method<A extends unknown[], R>(fn: (t: Tensor, ...args: A) => R): Method {
  return function (this: Tensor, ...args: never[]) {
    return fn(this, ...args as unknown as A);
  };
}

install(Object.fromEntries(
  Object.keys(table).map((op) => [
    op,
    method((t: Tensor, ...rest: (Tensor | number)[]) =>
      elementwiseMethod(op as UnaryName, t, ...rest)
    ),
  ]),
));

install({
  backward: method(backward),
  clamp: method(clamp),
  sum: method(reduce.sum),
  mean: method(reduce.mean),
  prod: method(reduce.prod),
  max: method(reduce.max),
  min: method(reduce.min),
  any: method(reduce.any),
  all: method(reduce.all),
  var: method(reduce.variance),
  std: method(reduce.std),
  logsumexp: method(reduce.logsumexp),
  argmax: method(argmax),
  argmin: method(argmin),
  cumsum: method(cumsum),
  sort: method(sort),
  topk: method(topk),
  indexSelect: method(indexSelect),
  gather: method(gather),
  scatterAdd: method(scatterAdd),
  softmax: method(softmax),
  logSoftmax: method(logSoftmax),
  matmul: method(autocast.matmul),
  dot: method(matmuls.dot),
  outer: method(matmuls.outer),
  to: method(views.to),
  contiguous: method(views.contiguous),
  reshape: method(views.reshape),
  view: method(views.reshape),
  flatten: method(views.flatten),
  permute: method(views.permute),
  transpose: method(views.transpose),
  t: method((t: Tensor) => views.transpose(t, -2, -1)),
  expand: method(views.expand),
  squeeze: method(views.squeeze),
  unsqueeze: method(views.unsqueeze),
  slice: method((t: Tensor, ...ranges: (SliceRange | number | null)[]) => views.slice(t, ranges)),
  narrow: method(views.narrow),
  select: method(views.select),
  flip: method(views.flip),
  pad: method(views.pad),
  repeat: method(views.repeat),
  triu: method(triu),
  tril: method(tril),
  split: method(views.split),
  copy_: method(copyInto),
  fill_: method(fillInto),
  add_: method(addInto),
});
