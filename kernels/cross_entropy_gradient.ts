/**
 * Gradient of the cross-entropy of rows of logits (or of log-probabilities), one thread for each
 * logit.
 */

import {
  type CrossEntropyParams,
  inputsOf,
  wanted,
  weightsOf,
  weightText,
} from "./cross_entropy.ts";
import type { StridedOperand } from "./map.ts";
import { intern, type Kernel, type Shape, sizeOf } from "./types.ts";
import { address, addressesOf, coordinates, grid, perThread, shader } from "./wgsl.ts";

/**
 * Parameters of the gradient; all strides go over `shape`, the axes of the logits in memory order.
 */
export interface LossGradientParams extends CrossEntropyParams {
  readonly shape: Shape;
  readonly logits: StridedOperand;
  readonly targets: StridedOperand;
  /** Gradient of the losses; strides 0 for that of one number. */
  readonly gradient: StridedOperand;
  /** Steps of the number of the row, and of the class. */
  readonly rowStrides: readonly number[];
  readonly classStrides: readonly number[];
  /** Whether the gradient is divided by the divisor of the mean. */
  readonly mean: boolean;
}

/**
 * Gradient of the loss, `(softmax(z)·Σq − q)·g`, dense in the order of `shape`.
 *
 * Inputs: targets, g; with softmax logits and stats; for the mean its divisor; weight where there
 * is one. Scalars as for the row losses.
 */
export function lossGradientKernel(params: LossGradientParams): Kernel {
  const { softmax, mean } = params;
  const key = `crossEntropy gradient|${JSON.stringify(params)}`;
  const inputs = inputsOf(params, [
    ["targets", "i32"],
    ["g", "f32"],
    softmax ? ["x", "f32"] : null,
    softmax ? ["stats", "f32"] : null,
    mean ? ["divisor", "f32"] : null,
  ]);
  const count = sizeOf(params.shape);
  return intern(key, () => ({
    op: "crossEntropy",
    key,
    params,
    inputs: inputs.map((b) => b.dtype),
    outputs: ["f32"],
    scalars: ["i32", "f32"],
    wgsl: (traits) => ({
      code: shader(
        inputs,
        [{ name: "y", dtype: "f32" }],
        ["i32", "f32"],
        perThread(count, gradientBody(params)),
      ),
      groups: grid(count, traits),
    }),
    reference: (ins, [y], scalars) => {
      const named = new Map(inputs.map((b, n) => [b.name, ins[n]]));
      gradientReference(params, named, y, scalars);
    },
  }));
}

function gradientBody(params: LossGradientParams): string {
  const { shape, classes, softmax, smoothing, mean, logits, targets, gradient } = params;
  const keep = smoothing ? "(1.0 - u.s1) * " : "";
  const lines = [
    coordinates("i", shape, "c"),
    `  let t = targets[${address("c", targets.strides, targets.offset)}];`,
    `  let k = ${address("c", params.classStrides, 0)};`,
    `  let known = t >= 0 && t < ${classes};`,
    `  var v = 0.0;`,
    `  if (known && u32(t) == k) { v = -${keep}${weightText(params, "k")}; }`,
  ];
  if (smoothing) lines.push(`  v -= u.s1 / ${classes}.0 * ${weightText(params, "k")};`);
  if (softmax) {
    lines.push(
      `  let r = 3u * (${address("c", params.rowStrides, 0)});`,
      `  let z = x[${address("c", logits.strides, logits.offset)}];`,
      `  v += precise_exp((z - stats[r]) - stats[r + 1u]) * stats[r + 2u];`,
    );
  }
  lines.push(
    `  v *= g[${address("c", gradient.strides, gradient.offset)}]${mean ? " / divisor[0]" : ""};`,
    `  y[i] = select(select(nan(), v, known), 0.0, t == u.s0);`,
  );
  return lines.join("\n");
}

function gradientReference(
  params: LossGradientParams,
  inputs: ReadonlyMap<string, Float64Array>,
  y: Float64Array,
  [ignore, eps]: readonly number[],
): void {
  const { shape, classes, softmax, smoothing, mean } = params;
  const over = ({ strides, offset }: StridedOperand) => addressesOf(shape, strides, offset);
  const [zs, ts, gs] = [params.logits, params.targets, params.gradient].map(over);
  const rows = addressesOf(shape, params.rowStrides, 0);
  const numbers = addressesOf(shape, params.classStrides, 0);
  const weights = weightsOf(params, inputs.get("weight"));
  const [x, stats, targets] = ["x", "stats", "targets"].map((name) => inputs.get(name)!);
  for (let i = 0; i < rows.length; i++) {
    const t = targets[ts[i]];
    if (t === ignore) {
      y[i] = 0;
      continue;
    }
    const q = wanted(weights, t, smoothing ? eps : 0, numbers[i]);
    const [top, logSum, mass] = softmax ? stats.subarray(3 * rows[i], 3 * rows[i] + 3) : [0, 0, 0];
    const p = softmax ? Math.exp(x[zs[i]] - top - logSum) : 0;
    const scale = inputs.get("g")![gs[i]] / (mean ? inputs.get("divisor")![0] : 1);
    y[i] = t >= 0 && t < classes ? (p * mass - q) * scale : NaN;
  }
}
