/** Attention in differentiable ops, which store all scores: for what the kernels do not give. */

import { input } from "../../kernels/expr.ts";
import type { AttentionProblem } from "./attention_launch.ts";
import { arange } from "./create.ts";
import { noScalars } from "./launch.ts";
import { sumOnto } from "./map.ts";
import { matmul } from "./matmul.ts";
import { dropoutMask } from "./random_tensors.ts";
import { noGrad } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** The weights [...batch, L, S], and what dropout multiplies them with. */
function weightsOf(p: AttentionProblem): { weights: Tensor; keep: Tensor | null } {
  const { q, k, v, mask, causal, scale, dropout, batch } = p;
  const { device } = q;
  const [queries, keys] = [q.shape.at(-2)!, k.shape.at(-2)!];
  let scores = matmul(q, k.transpose(-2, -1)).mul(scale);
  if (mask) scores = mask.dtype === "bool" ? mask.where(scores, -Infinity) : scores.add(mask);
  if (causal) {
    const rows = arange(0, queries, 1, { device }).unsqueeze(1);
    scores = rows.ge(arange(0, keys, 1, { device })).where(scores, -Infinity);
  }
  const shift = noGrad(() => {
    const top = scores.max(-1, { keepdim: true });
    return top.eq(-Infinity).where(0, top);
  });
  const exponentials = scores.sub(shift).exp();
  const total = exponentials.sum(-1, { keepdim: true });
  const weights = exponentials.div(total.eq(0).where(1, total));
  const shape = [...batch, queries, keys];
  const keep = dropout && dropoutMask(shape, dropout.p, dropout.key, v.device);
  return { weights, keep };
}

/** The result. */
export function composedAttention(p: AttentionProblem): Tensor {
  const { weights, keep } = weightsOf(p);
  return matmul(keep ? weights.mul(keep) : weights, p.v);
}

/** The gradients of q, k and v, which can be differentiated again. */
export function composedGradients(p: AttentionProblem, g: Tensor): [Tensor, Tensor, Tensor] {
  const { q, k, v, scale } = p;
  const { weights, keep } = weightsOf(p);
  const kept = keep ? weights.mul(keep) : weights;
  const plain = matmul(g, v.transpose(-2, -1));
  const ofWeights = keep ? plain.mul(keep) : plain;
  const rest = weights.mul(ofWeights).sum(-1, { keepdim: true });
  const ofScores = weights.mul(ofWeights.sub(rest)).mul(scale);
  return [
    sumTo(matmul(ofScores, k), q),
    sumTo(matmul(ofScores.transpose(-2, -1), q), k),
    sumTo(matmul(kept.transpose(-2, -1), g), v),
  ];
}

/** Sums the batch axes in which a tensor was broadcast. */
export function sumTo(t: Tensor, target: Tensor): Tensor {
  if (String(t.shape) === String(target.shape)) return t;
  return sumOnto("attention backward", input(0), [t], noScalars, target);
}
