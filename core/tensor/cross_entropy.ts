/** Cross-entropy with class numbers, in one kernel for each row and one for the gradient. */

import {
  type CrossEntropyParams,
  meanLossKernel,
  rowLossKernel,
} from "../../kernels/cross_entropy.ts";
import {
  MEAN_CLASSES,
  MEAN_ROWS,
  meanCrossEntropyKernel,
} from "../../kernels/cross_entropy_mean.ts";
import { lossGradientKernel } from "../../kernels/cross_entropy_gradient.ts";
import { input } from "../../kernels/expr.ts";
import type { StridedOperand } from "../../kernels/map.ts";
import { isFloat } from "../../kernels/types.ts";
import { AutogradError, DTypeError, ShapeError, showShape } from "../errors.ts";
import { arange } from "./create.ts";
import { softCrossEntropy } from "./cross_entropy_soft.ts";
import { checkDevices, denseOperand, mergeAxes, operandOf, residualOf } from "./launch.ts";
import { reduceOrFill } from "./map.ts";
import { contiguousStrides, isDense, memoryOrder } from "./shape.ts";
import { isGradEnabled, noGrad, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** What becomes of the losses of the rows. */
export type Reduction = "mean" | "sum" | "none";

/** Options of nllLoss(). */
export interface NllLossOptions {
  /** A weight for each class, [C] in f32 or f16. @default {all 1} */
  readonly weight?: Tensor;
  /** The target of rows that do not count. @default {-100} */
  readonly ignoreIndex?: number;
  /**
   * Mean by the weights of the targets that count, sum, or one loss for each target.
   * @default {"mean"}
   */
  readonly reduction?: Reduction;
}

/** Options of crossEntropy(). */
export interface CrossEntropyOptions extends NllLossOptions {
  /** ε, the part of the target that is spread over all classes, from 0 to 1. @default {0} */
  readonly labelSmoothing?: number;
}

/** One loss, checked: f32 logits [N, C, …], i32 targets [N, …]. */
interface Problem {
  readonly op: string;
  readonly logits: Tensor;
  readonly targets: Tensor;
  readonly weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly eps: number;
  readonly reduction: Reduction;
  readonly params: CrossEntropyParams;
}

/** What backward needs of the forward pass. */
interface Saved {
  /** The numbers of each row; null for log-probabilities. */
  readonly stats: Tensor | null;
  /** The divisor of the mean. */
  readonly divisor: Tensor | null;
}

function fail(op: string, reason: string): string {
  return `Cannot take the ${op}: ${reason}`;
}

function check(op: string, logits: Tensor, targets: Tensor, options: CrossEntropyOptions): void {
  const { weight, ignoreIndex = -100, labelSmoothing = 0, reduction = "mean" } = options;
  if (!isFloat(logits.dtype)) {
    throw new DTypeError(fail(op, `expected logits in f32 or f16, found ${logits.dtype}`));
  }
  if (targets.dtype !== "i32" && targets.dtype !== "u32") {
    throw new DTypeError(
      fail(op, `expected class numbers in i32, found targets in ${targets.dtype}`),
    );
  }
  const classAxis = logits.ndim === 1 ? 0 : 1;
  const expected = logits.shape.filter((_, d) => d !== classAxis);
  if (
    logits.ndim === 0 || logits.shape[classAxis] === 0 || String(expected) !== String(targets.shape)
  ) {
    throw new ShapeError(
      fail(
        op,
        `expected logits [N, C, …] of at least one class and targets [N, …], found ` +
          `${showShape(logits.shape)} and ${showShape(targets.shape)}`,
      ),
    );
  }
  const classes = logits.shape[classAxis];
  if (weight && !(isFloat(weight.dtype) && weight.ndim === 1 && weight.size === classes)) {
    const found = `${weight.dtype} ${showShape(weight.shape)}`;
    throw new ShapeError(
      fail(op, `expected a float weight for each of ${classes} classes, found ${found}`),
    );
  }
  if (weight?.requiresGrad) throw new AutogradError(fail(op, "its weight cannot have a gradient"));
  checkDevices(`take the ${op} of`, weight ? [logits, targets, weight] : [logits, targets]);
  if (!Number.isInteger(ignoreIndex) || Math.abs(ignoreIndex) >= 2 ** 31) {
    throw new RangeError(fail(op, `expected ignoreIndex to be an i32, found ${ignoreIndex}`));
  }
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new RangeError(fail(op, `expected labelSmoothing from 0 to 1, found ${labelSmoothing}`));
  }
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new RangeError(fail(op, `expected reduction mean, sum or none, found ${reduction}`));
  }
}

function lossOf(
  op: string,
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions,
  softmax: boolean,
): Tensor {
  check(op, logits, targets, options);
  if (logits.ndim === 1) {
    const loss = lossOf(op, logits.unsqueeze(0), targets.unsqueeze(0), options, softmax);
    return options.reduction === "none" ? loss.squeeze(0) : loss;
  }
  const weight = options.weight?.to("f32") ?? null;
  const eps = options.labelSmoothing ?? 0;
  return solve({
    op,
    logits: logits.to("f32"),
    targets: targets.to("i32"),
    weight,
    ignoreIndex: options.ignoreIndex ?? -100,
    eps,
    reduction: options.reduction ?? "mean",
    params: {
      classes: logits.shape[1],
      softmax,
      smoothing: eps > 0,
      weight: weight && strided(weight, weight.strides),
    },
  });
}

function strided(t: Tensor, strides: readonly number[]): StridedOperand {
  return { dtype: t.dtype, strides, offset: residualOf(t) };
}

/** Whether one workgroup does all of it. */
function isSmall({ logits, reduction, params }: Problem): boolean {
  return reduction === "mean" && params.softmax && !params.smoothing && logits.ndim === 2 &&
    logits.shape[0] > 0 && logits.shape[0] <= MEAN_ROWS && params.classes <= MEAN_CLASSES;
}

/** The mean loss of a few rows; its gradient is there at once, up to the factor that backward brings. */
function solveSmall(problem: Problem): Tensor {
  const { op, logits, targets, weight, ignoreIndex, params } = problem;
  const { device } = logits;
  const gradient = isGradEnabled() && logits.requiresGrad;
  const out = empty(device, [], "f32", op);
  const unit = gradient ? empty(device, logits.shape, "f32", `${op} backward`) : null;
  device.record({
    kernel: meanCrossEntropyKernel({
      ...params,
      rows: [logits.shape[0]],
      logits: strided(logits, logits.strides),
      targets: strided(targets, targets.strides),
      gradient,
    }),
    inputs: [logits, targets, ...(weight ? [weight] : [])].map(operandOf),
    outputs: [out, ...(unit ? [unit] : [])].map(denseOperand),
    scalars: [ignoreIndex],
  });
  const saved = [logits, targets, weight, unit].filter((t) => t !== null);
  const rule = (g: Tensor) => [
    isGradEnabled()
      ? composedGradient(problem, g, noGrad(() => divisorOf(problem)))
      : unit!.detach().mul(g),
  ];
  return record(op, out, [logits], rule, saved);
}

/** The sum of the weights of the targets that count. */
function divisorOf({ targets, weight, ignoreIndex, params }: Problem): Tensor {
  const known = targets.ge(0).logicalAnd(targets.lt(params.classes));
  const own = weight === null ? 1 : weight.gather(0, known.where(targets, 0));
  return targets.eq(ignoreIndex).where(0, known.where(own, 1)).sum();
}

function solve(problem: Problem): Tensor {
  if (isSmall(problem)) return solveSmall(problem);
  const { op, logits, targets, weight, reduction } = problem;
  const { losses, shares, stats } = rowLosses(problem);
  let out = losses;
  let divisor: Tensor | null = null;
  if (reduction === "mean") [out, divisor] = meanOf(op, losses, shares);
  if (reduction === "sum") out = sumOf(op, losses);
  shares.dispose();
  if (out !== losses) losses.dispose();
  const saved = [logits, targets, weight, stats, divisor].filter((t) => t !== null);
  const rule = (g: Tensor) => [
    isGradEnabled()
      ? composedGradient(problem, g, divisor)
      : fusedGradient(problem, g, { stats, divisor }),
  ];
  record(op, out, [logits], rule, saved);
  if (out.isLeaf) [stats, divisor].forEach((t) => t?.dispose());
  return out;
}

/** Loss and share of every row, and what backward needs of it. */
function rowLosses(problem: Problem): { losses: Tensor; shares: Tensor; stats: Tensor | null } {
  const { op, logits, targets, weight, ignoreIndex, eps, params } = problem;
  const { device } = logits;
  const losses = empty(device, targets.shape, "f32", op);
  const shares = empty(device, targets.shape, "f32", op);
  const stats = params.softmax ? empty(device, [...targets.shape, 3], "f32", op) : null;
  if (losses.size === 0) return { losses, shares, stats };
  const ofRows = logits.strides.filter((_, d) => d !== 1);
  const merged = mergeAxes(targets.shape, [ofRows, targets.strides]);
  device.record({
    kernel: rowLossKernel({
      ...params,
      rows: merged.shape,
      logits: strided(logits, merged.operands[0]),
      classStride: logits.strides[1],
      targets: strided(targets, merged.operands[1]),
    }),
    inputs: [logits, targets, ...(weight ? [weight] : [])].map(operandOf),
    outputs: [losses, shares, ...(stats ? [stats] : [])].map(denseOperand),
    scalars: [ignoreIndex, eps],
  });
  return { losses, shares, stats };
}

/** Rows that one workgroup sums at most, and the most workgroups of the first stage. */
const SLICE = 8192;
const MOST_SLICES = 256;

/** The mean of the losses by their shares, and its divisor, both on the device. */
function meanOf(op: string, losses: Tensor, shares: Tensor): [Tensor, Tensor] {
  const { device, size } = losses;
  const slices = size > SLICE ? Math.min(MOST_SLICES, Math.ceil(size / SLICE * 2)) : 1;
  const shape = slices > 1 ? [slices] : [];
  const outputs: [Tensor, Tensor] = [
    empty(device, shape, "f32", op),
    empty(device, shape, "f32", op),
  ];
  device.record({
    kernel: meanLossKernel(size, slices),
    inputs: [losses, shares].map(denseOperand),
    outputs: outputs.map(denseOperand),
    scalars: [],
  });
  if (slices === 1) return outputs;
  const mean = meanOf(op, ...outputs);
  outputs.forEach((t) => t.dispose());
  return mean;
}

function sumOf(op: string, losses: Tensor): Tensor {
  const axes = losses.shape.map((_, d) => d);
  const spec = { fold: "sum", post: null, dtype: "f32", partial: "f32" } as const;
  return reduceOrFill(op, { ...spec, expr: input(0), shape: losses.shape, axes }, [losses]);
}

function fusedGradient(problem: Problem, g: Tensor, { stats, divisor }: Saved): Tensor {
  const { op, logits, targets, weight, ignoreIndex, eps, reduction, params } = problem;
  const { shape } = logits;
  const dense = isDense(shape, logits.strides) ? logits.strides : contiguousStrides(shape);
  const out = empty(logits.device, shape, "f32", `${op} backward`, dense);
  if (out.size === 0) return out;
  const order = memoryOrder(shape, dense);
  // Strides of what has one value a row: none along the classes.
  const alongRows = (strides: readonly number[]) => [strides[0], 0, ...strides.slice(1)];
  const ofGradient = reduction === "none" ? g.strides : targets.shape.map(() => 0);
  const merged = mergeAxes(
    order.map((d) => shape[d]),
    [
      dense,
      logits.strides,
      alongRows(targets.strides),
      alongRows(ofGradient),
      alongRows(contiguousStrides(targets.shape)),
      shape.map((_, d) => Number(d === 1)),
    ].map((strides) => order.map((d) => strides[d])),
  );
  const [, ofLogits, ofTargets, gradient, rowStrides, classStrides] = merged.operands;
  const inputs = [targets, g, stats && logits, stats, divisor, weight].filter((t) => t !== null);
  out.device.record({
    kernel: lossGradientKernel({
      ...params,
      shape: merged.shape,
      logits: strided(logits, ofLogits),
      targets: strided(targets, ofTargets),
      gradient: strided(g, gradient),
      rowStrides,
      classStrides,
      mean: divisor !== null,
    }),
    inputs: inputs.map(operandOf),
    outputs: [denseOperand(out)],
    scalars: [ignoreIndex, eps],
  });
  return out;
}

/** The same gradient in differentiable ops, for gradients of gradients. */
function composedGradient(problem: Problem, g: Tensor, divisor: Tensor | null): Tensor {
  const { logits, reduction, params } = problem;
  const wanted = noGrad(() => wantedOf(problem));
  const change = params.softmax
    ? logits.softmax(1).mul(noGrad(() => wanted.sum(1, { keepdim: true }))).sub(wanted)
    : wanted.neg();
  const scale = divisor === null ? g : g.div(divisor);
  return change.mul(reduction === "none" ? scale.unsqueeze(1) : scale);
}

/** What each row wants of each class: 0 for ignored rows, NaN for targets that are no class. */
function wantedOf({ logits, targets, weight, ignoreIndex, eps, params }: Problem): Tensor {
  const { classes } = params;
  const ones = new Array<number>(logits.ndim - 2).fill(1);
  const numbers = arange(0, classes, 1, { device: logits.device, dtype: "i32" })
    .reshape([classes, ...ones]);
  const t = targets.unsqueeze(1);
  const own = t.eq(numbers).where(1 - eps, 0).add(eps / classes);
  const weighted = weight === null ? own : own.mul(weight.reshape([classes, ...ones]));
  const known = t.ge(0).logicalAnd(t.lt(classes));
  return t.eq(ignoreIndex).where(0, known.where(weighted, NaN));
}

/**
 * Cross-entropy between logits and class numbers: with target t, weights w and smoothing ε the loss
 * of a row is `(1 − ε)·w_t·(−log softmax(z)_t) + ε/C · Σ_k w_k·(−log softmax(z)_k)`.
 *
 * Targets may also be probabilities p of the shape of the logits, as mixed labels are: then the loss of
 * a row is `−Σ_k w_k·p_k·log softmax(z)_k` with `p` smoothed by ε, and the mean divides by the rows.
 *
 * The mean divides by the sum of `w_t` over the targets that count, and is NaN where there are
 * none. Definitions are those of `torch.nn.functional.cross_entropy`. Class numbers live on the
 * device and cannot be checked without waiting for it, so a target outside of [0, C) that is not
 * `ignoreIndex` makes its loss, its gradient and with them the mean NaN.
 *
 * @param logits [N, C], [N, C, d1, …] or [C], f32 or f16
 * @param targets class numbers from 0 to C − 1 in i32 (or u32): [N], [N, d1, …] or []; or
 * probabilities in f32 or f16, of the shape of the logits
 * @param options weights, the ignored target, smoothing, reduction
 * @returns a scalar, or the shape of the targets for reduction "none"; always f32
 * @throws {DTypeError} if logits or targets have the wrong dtype
 * @throws {ShapeError} if the shapes do not fit
 * @throws {RangeError} if an option has no meaning
 * @throws {AutogradError} if the weight requires a gradient
 *
 * @example
 * ```ts
 * import { crossEntropy, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const logits = tensor([[0, 0], [0, Math.log(3)]], { device, requiresGrad: true });
 * const targets = tensor([0, 1], { device, dtype: "i32" });
 * const loss = crossEntropy(logits, targets);
 * assertAlmostEquals(await loss.item(), (Math.log(2) + Math.log(4 / 3)) / 2, 1e-6);
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  if (isFloat(targets.dtype)) return softCrossEntropy(logits, targets, options);
  return lossOf("cross-entropy", logits, targets, options, true);
}

/**
 * Negative log-likelihood of class numbers: the loss of a row is `−w_t · x_t`, as
 * `torch.nn.functional.nll_loss`.
 *
 * @param logProbs logarithms of probabilities, [N, C], [N, C, d1, …] or [C], f32 or f16
 * @param targets class numbers from 0 to C − 1 in i32 (or u32): [N], [N, d1, …] or []; others as
 * for crossEntropy()
 * @param options weights, the ignored target, reduction
 * @returns a scalar, or the shape of the targets for reduction "none"; always f32
 * @throws {DTypeError} if the operands have the wrong dtype
 * @throws {ShapeError} if the shapes do not fit
 * @throws {RangeError} if an option has no meaning
 * @throws {AutogradError} if the weight requires a gradient
 */
export function nllLoss(logProbs: Tensor, targets: Tensor, options: NllLossOptions = {}): Tensor {
  const { weight, ignoreIndex, reduction } = options;
  return lossOf(
    "negative log-likelihood",
    logProbs,
    targets,
    { weight, ignoreIndex, reduction },
    false,
  );
}
