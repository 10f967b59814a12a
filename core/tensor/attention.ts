/** Attention, without a matrix of all scores. */

import { isFloat, type Shape, sizeOf } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { composedAttention, composedGradients, sumTo } from "./attention_composed.ts";
import {
  type AttentionProblem,
  type DroppedWeights,
  launchAttention,
  launchAttentionGradients,
  stridesLike,
} from "./attention_launch.ts";
import { fullOn } from "./fill.ts";
import { checkDevices } from "./launch.ts";
import { Key } from "./random.ts";
import { matmul } from "./matmul.ts";
import { broadcastShapes } from "./shape.ts";
import { softmax } from "./softmax.ts";
import { isGradEnabled, noGrad, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Dropout of the weights of attention. */
export interface AttentionDropout {
  /** Probability that a weight becomes 0, from 0 to 1; the others are divided by 1 − p. */
  readonly p: number;
  /** What is drawn from; a function is asked again by every replay of a captured step. */
  readonly key: Key | (() => Key);
}

/** What attention may be told beside its operands. */
export interface AttentionOptions {
  /**
   * Broadcastable to [..., L, S]: bool, true where a key takes part, or f32, added to the scores.
   * @default {none}
   */
  readonly mask?: Tensor | null;
  /** Whether query i sees only the keys from 0 to i (counted from the top left). @default {false} */
  readonly causal?: boolean;
  /** What the scores are multiplied with. @default {1 / √D} */
  readonly scale?: number;
  /** Dropout of the weights. @default {none} */
  readonly dropout?: AttentionDropout | null;
}

const OP = "scaledDotProductAttention";

/**
 * Attention: `softmax(q kᵀ · scale + mask) v`, with the softmax over the keys.
 *
 * No matrix of all L × S scores is stored: memory beside the result is one number a query forward,
 * two backward (on the CPU also keys once more, and 24 rows of scores for each thread), and the
 * backward pass computes the scores again. Sums have a fixed order; equal inputs give equal bits on
 * one device. Three exceptions use ordinary ops, which do store all scores: on the CPU, up to 8 MiB
 * of scores without mask, causal and dropout (measured: faster); gradients of gradients; and
 * gradients of an additive mask.
 *
 * As torch.nn.functional.scaled_dot_product_attention (PyTorch 2). A query that sees no key gives 0
 * and passes no gradient (as PyTorch does from 2.5 on; before, NaN), and `mask` and `causal` may be
 * given together. Dao et al., "FlashAttention: Fast and memory-efficient exact attention", 2022.
 *
 * @param q queries [..., L, D], f32 or f16
 * @param k keys [..., S, D]; the axes before the last two broadcast
 * @param v values [..., S, Dv]
 * @param options mask, causal, scale, dropout
 * @returns [..., L, Dv]; f32, or f16 where all operands are; sums are f32
 * @throws {ShapeError} if the sizes do not fit, or D is 0
 * @throws {DTypeError} if an operand is no float, or the mask neither bool nor f32
 * @throws {RangeError} if the scale is not finite or p no probability, and where dropout would draw
 * 2³² numbers or more
 *
 * @example A query that looks for the key like itself
 * ```ts
 * import { referenceDevice, scaledDotProductAttention, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const q = tensor([[10, 0]], { device });
 * const k = tensor([[0, 10], [10, 0]], { device });
 * const v = tensor([[1], [2]], { device });
 * assertAlmostEquals(await scaledDotProductAttention(q, k, v).item(), 2);
 * ```
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  for (const t of [q, k, v]) checkFloat(t);
  const mask = options.mask ?? null;
  checkDevices(OP, mask ? [q, k, v, mask] : [q, k, v]);
  const half = [q, k, v].every((t) => t.dtype === "f16");
  const operands = [q, k, v].map((t) => t.to("f32"));
  const out = attend(problemOf(operands[0], operands[1], operands[2], options));
  return half ? out.to("f16") : out;
}

/**
 * Self-attention of several heads whose queries, keys and values lie in one tensor, as a product
 * with all three weights leaves them; their gradients are written into one tensor again.
 *
 * @param qkv [N, L, 3 · heads · D], f32 or f16: of each position the queries of all heads, then the
 * keys, then the values
 * @param heads number of heads
 * @param options as scaledDotProductAttention(), over [N, heads, L, L]
 * @returns [N, L, heads · D], of the dtype of qkv
 * @throws {ShapeError} if there are not three axes, or the last one is not divisible
 */
export function packedSelfAttention(
  qkv: Tensor,
  heads: number,
  options: AttentionOptions = {},
): Tensor {
  checkFloat(qkv);
  if (qkv.ndim !== 3 || qkv.shape[2] % (3 * heads) !== 0) {
    throw new ShapeError(
      `Cannot attend with ${heads} heads within ${showShape(qkv.shape)}: expected [N, L, C] with ` +
        `C divisible by ${3 * heads}`,
    );
  }
  const [n, length, all] = qkv.shape;
  const depth = all / 3 / heads;
  const packed = qkv.to("f32").reshape([n, length, 3, heads, depth]);
  const out = attendPacked(packed, options).transpose(1, 2).reshape([n, length, heads * depth]);
  return qkv.dtype === "f16" ? out.to("f16") : out;
}

function checkFloat(t: Tensor): void {
  if (isFloat(t.dtype)) return;
  throw new DTypeError(
    `Cannot ${OP} with ${t.dtype} ${showShape(t.shape)}: expected f32 or f16`,
  );
}

/** The problem; fails where its parts do not fit. */
function problemOf(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): AttentionProblem {
  const fits = [q, k, v].every((t) => t.ndim >= 2) && q.shape.at(-1) === k.shape.at(-1) &&
    k.shape.at(-2) === v.shape.at(-2) && q.shape.at(-1) !== 0;
  if (!fits) {
    throw new ShapeError(
      `Cannot ${OP} q ${showShape(q.shape)}, k ${showShape(k.shape)} and v ${
        showShape(v.shape)
      }: expected [..., L, D], [..., S, D] and [..., S, Dv] with D of at least 1`,
    );
  }
  const batch = broadcastShapes(OP, [q, k, v].map((t) => t.shape.slice(0, -2)));
  const { causal = false, scale = 1 / Math.sqrt(q.shape.at(-1)!), mask = null } = options;
  if (!Number.isFinite(scale)) {
    throw new RangeError(`Cannot ${OP} with scale ${scale}: expected a finite number`);
  }
  const shape = [...batch, q.shape.at(-2)!, k.shape.at(-2)!];
  checkMask(mask, shape);
  const dropout = droppedOf(options.dropout ?? null, shape);
  return { q, k, v, mask, batch, causal, scale, dropout };
}

function checkMask(mask: Tensor | null, shape: Shape): void {
  if (mask === null) return;
  if (mask.dtype !== "bool" && mask.dtype !== "f32") {
    throw new DTypeError(`Cannot ${OP} with a mask of dtype ${mask.dtype}: expected bool or f32`);
  }
  const lead = shape.length - mask.ndim;
  if (lead >= 0 && mask.shape.every((n, d) => n === 1 || n === shape[d + lead])) return;
  throw new ShapeError(
    `Cannot ${OP} with a mask of shape ${showShape(mask.shape)}: expected one that broadcasts to ` +
      `[..., L, S], here ${showShape(shape)}`,
  );
}

/** The key is asked for by the forward pass; the backward pass needs the same one, whatever was drawn between. */
function droppedOf(dropout: AttentionDropout | null, shape: Shape): DroppedWeights | null {
  if (dropout === null) return null;
  const { p, key } = dropout;
  if (!(p >= 0 && p <= 1)) {
    throw new RangeError(`Cannot ${OP} with dropout ${p}: expected a number from 0 to 1`);
  }
  if (!(key instanceof Key) && typeof key !== "function") {
    throw new TypeError(`Cannot ${OP} with dropout by ${typeof key}: expected a Key`);
  }
  if (p === 0) return null;
  if (sizeOf(shape) >= 2 ** 32) {
    throw new RangeError(
      `Cannot ${OP} with dropout of ${sizeOf(shape)} weights: expected fewer than 2^32`,
    );
  }
  return { p, key: typeof key === "function" ? key : () => key };
}

/** The problem as its backward pass sees it: with the key that the forward pass has drawn from. */
function remembered(
  p: AttentionProblem,
): { forward: AttentionProblem; backward: AttentionProblem } {
  const { dropout } = p;
  if (dropout === null) return { forward: p, backward: p };
  let last: Key | null = null;
  const key = () => last = dropout.key();
  return {
    forward: { ...p, dropout: { ...dropout, key } },
    backward: { ...p, dropout: { ...dropout, key: () => last ??= dropout.key() } },
  };
}

function savedBy({ q, k, v, mask }: AttentionProblem): Tensor[] {
  return [q, k, v, ...(mask ? [mask] : [])];
}

/** Whether there is nothing to sum. */
function isEmpty({ q, v, batch }: AttentionProblem): boolean {
  return sizeOf(batch) * q.shape.at(-2)! * sizeOf(v.shape.slice(-2)) === 0;
}

/** Bytes of all scores up to which storing them is faster on the CPU, as all of them count and are not computed again. */
const FEW_SCORES = 2 ** 23;

/**
 * Whether all scores are stored: on the CPU, where each of them counts and they are few. Measured there, forward and backward:
 * 128 × 64 × 64 to 8 × 512 × 512 scores take 0.6 to 0.75 of the time; with `causal` 1.2 to 2.5 times as long.
 */
function storesScores({ q, k, batch, causal, mask, dropout }: AttentionProblem): boolean {
  const bytes = 4 * sizeOf(batch) * q.shape.at(-2)! * k.shape.at(-2)!;
  return q.device.traits.wasm === true && !causal && mask === null && dropout === null &&
    bytes <= FEW_SCORES;
}

function attend(problem: AttentionProblem): Tensor {
  if (problem.mask?.requiresGrad && isGradEnabled()) return composedAttention(problem);
  const { q, k, v, batch } = problem;
  const inputs = [q, k, v];
  if (isEmpty(problem)) {
    const out = fullOn(q.device, [...batch, q.shape.at(-2)!, v.shape.at(-1)!], "f32", 0);
    return record(OP, out, inputs, () => inputs.map((t) => fullOn(t.device, t.shape, "f32", 0)));
  }
  if (storesScores(problem)) {
    return matmul(softmax(matmul(q.mul(problem.scale), k.transpose(-2, -1)), -1), v);
  }
  const { forward, backward } = remembered(problem);
  const { out, logs } = launchAttention(OP, forward);
  const rule = (g: Tensor) =>
    isGradEnabled()
      ? composedGradients(backward, g)
      : gradients(backward, g.to("f32"), { out, logs });
  return record(OP, out, inputs, rule, [...savedBy(problem), out]);
}

function gradients(
  p: AttentionProblem,
  g: Tensor,
  saved: { readonly out: Tensor; readonly logs: Tensor },
): (Tensor | null)[] {
  const { q, k, v, batch } = p;
  const place = (t: Tensor) => {
    const shape = [...batch, ...t.shape.slice(-2)];
    return empty(t.device, shape, "f32", OP, stridesLike(shape, t));
  };
  const dq = q.requiresGrad ? place(q) : null;
  const [dk, dv] = k.requiresGrad || v.requiresGrad ? [place(k), place(v)] : [null, null];
  launchAttentionGradients(OP, p, g, saved, { dq, dk, dv });
  return [dq && sumTo(dq, q), dk && sumTo(dk, k), dv && sumTo(dv, v)];
}

/** [N, L, 3, heads, D] to [N, heads, L, D]. */
function attendPacked(qkv: Tensor, options: AttentionOptions): Tensor {
  const plain = (t: Tensor) => parts(t, options);
  const masked = options.mask?.requiresGrad && isGradEnabled();
  const [n, length, , heads, depth] = qkv.shape;
  if (masked || qkv.size === 0) {
    return attend(plain(qkv));
  }
  if (options.mask) checkDevices(OP, [qkv, options.mask]);
  const { forward, backward } = remembered(noGrad(() => plain(qkv)));
  const { out, logs } = launchAttention(OP, forward);
  const rule = (g: Tensor) => {
    if (isGradEnabled()) {
      const views = plain(qkv);
      const parted = composedGradients({ ...backward, q: views.q, k: views.k, v: views.v }, g);
      return [joined(parted, qkv.shape)];
    }
    const packed = empty(qkv.device, [n, length, 3, heads, depth], "f32", OP);
    const [dq, dk, dv] = [0, 1, 2].map((which) => part(packed, which));
    launchAttentionGradients(OP, backward, g.to("f32"), { out, logs }, { dq, dk, dv });
    return [packed];
  };
  return record(OP, out, [qkv], rule, [...savedBy(backward), out]);
}

/** Queries (0), keys (1) or values (2) as [N, heads, L, D]. */
function part(qkv: Tensor, which: number): Tensor {
  return qkv.select(2, which).transpose(1, 2);
}

function parts(qkv: Tensor, options: AttentionOptions): AttentionProblem {
  return problemOf(part(qkv, 0), part(qkv, 1), part(qkv, 2), options);
}

/** The transpose of taking the parts. */
function joined(all: readonly Tensor[], shape: Shape): Tensor {
  return all.map((t, which) => {
    const before = which;
    const padding = shape.map((_, d): [number, number] => d === 2 ? [before, 2 - before] : [0, 0]);
    return t.transpose(1, 2).unsqueeze(2).pad(padding);
  }).reduce((a, b) => a.add(b));
}
