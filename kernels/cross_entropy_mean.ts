/**
 * Mean cross-entropy of a few rows of logits with its gradient, in one dispatch: one workgroup goes over the rows twice, for the
 * sums and, when their divisor is known, for the gradient.
 */

import {
  type CrossEntropyParams,
  inputsOf,
  wanted,
  weightsOf,
  weightText,
} from "./cross_entropy.ts";
import type { StridedOperand } from "./map.ts";
import { type DType, intern, type Kernel } from "./types.ts";
import { shader, u32 } from "./wgsl.ts";

/** Rows and classes up to which one workgroup is quicker than several dispatches. */
export const MEAN_ROWS = 1024;
export const MEAN_CLASSES = 16;

/** Lanes of the workgroup. */
const LANES = 64;

/** Parameters of the mean loss; with softmax and without smoothing. */
export interface MeanLossParams extends CrossEntropyParams {
  readonly rows: readonly [number];
  /** Strides [row, class]. */
  readonly logits: StridedOperand;
  /** Strides [row]. */
  readonly targets: StridedOperand;
  /** Whether the gradient is wanted. */
  readonly gradient: boolean;
}

/**
 * The mean loss of the rows, as the row losses and their mean give it, and its gradient.
 *
 * Inputs: logits, targets, weight where there is one. Outputs: the mean (NaN over no share); where asked for `[rows, classes]`,
 * `(softmax(z)·w_t − w_t·[k = t]) / Σw_t`. Scalar: the target that is ignored (i32).
 */
export function meanCrossEntropyKernel(params: MeanLossParams): Kernel {
  const key = `crossEntropy whole|${JSON.stringify(params)}`;
  const inputs = inputsOf(params, [["x", "f32"], ["targets", "i32"]]);
  const outputs: DType[] = params.gradient ? ["f32", "f32"] : ["f32"];
  const bindings = ["mean", "y"].slice(0, outputs.length).map((name) => ({
    name,
    dtype: "f32" as const,
  }));
  return intern(key, () => ({
    op: "crossEntropy",
    key,
    params,
    inputs: inputs.map((b) => b.dtype),
    outputs,
    scalars: ["i32"],
    wgsl: () => ({ code: shader(inputs, bindings, ["i32"], code(params)), groups: [1, 1, 1] }),
    reference: (ins, outs, scalars) => reference(params, ins, outs, scalars[0]),
  }));
}

function code(params: MeanLossParams): string {
  const { rows: [rows], classes, logits, targets, gradient } = params;
  const all = Array.from({ length: classes }, (_, k) => k);
  const z = (base: string, k: number) => `x[${base} + ${u32(k * logits.strides[1])}]`;
  const head = `    let base = ${u32(logits.offset)} + i * ${u32(logits.strides[0])};
    let t = targets[${u32(targets.offset)} + i * ${u32(targets.strides[0])}];
    let known = t >= 0 && t < ${classes};
    let ignored = t == u.s0;
    let k0 = select(0u, u32(t), known);
    let own = ${weightText(params, "k0")};
    let s = stats(base);`;
  const loop = (body: string) =>
    `  for (var i = lane; i < ${rows}u; i += ${LANES}u) {\n${head}\n${body}\n  }`;
  const classGradient = (k: number) =>
    `    y[i * ${classes}u + ${k}u] = finished((precise_exp((${
      z("base", k)
    } - s.x) - s.y) * own - select(0.0, own, k0 == ${k}u)) / total.y, known, ignored);`;
  return `var<workgroup> part: array<vec2<f32>, ${LANES}>;
fn stats(base: u32) -> vec2<f32> {
${all.map((k) => `  let z${k} = ${z("base", k)};`).join("\n")}
  let top = ${all.map((k) => `z${k}`).reduce((a, b) => `max(${a}, ${b})`)};
  // A row of -Infinity alone has no maximum to subtract, and no distribution.
  let lowest = top == -inf();
  let shift = select(top, 0.0, lowest);
  let sum = ${all.map((k) => `precise_exp(z${k} - shift)`).reduce((a, b) => `(${a} + ${b})`)};
  return vec2(shift, select(precise_log(sum), nan(), lowest));
}
fn finished(value: f32, known: bool, ignored: bool) -> f32 {
  return select(select(nan(), value, known), 0.0, ignored);
}
@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
  var a = vec2<f32>(0.0);
${
    loop(`    let zt = x[base + k0 * ${u32(logits.strides[1])}];
    let loss = own * ((s.x - zt) + s.y);
    a += vec2(finished(loss, known, ignored), select(select(1.0, own, known), 0.0, ignored));`)
  }
  part[lane] = a;
  workgroupBarrier();
  for (var k = ${LANES / 2}u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] += part[lane + k]; }
    workgroupBarrier();
  }
  let total = part[0];
  if (lane == 0u) { mean[0] = select(total.x / total.y, nan(), total.y == 0.0); }
${gradient ? loop(all.map(classGradient).join("\n")) : ""}
}`;
}

function reference(
  params: MeanLossParams,
  [x, targets, weight]: readonly Float64Array[],
  [mean, y]: readonly Float64Array[],
  ignore: number,
): void {
  const { rows: [rows], classes, logits } = params;
  const weights = weightsOf(params, weight);
  const target = (r: number) => targets[params.targets.offset + r * params.targets.strides[0]];
  const known = (t: number) => t >= 0 && t < classes;
  const z = (r: number) =>
    weights.map((_, k) => x[logits.offset + r * logits.strides[0] + k * logits.strides[1]]);
  const logSoftmax = (row: readonly number[]) => {
    const top = Math.max(...row);
    const logSum = Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
    return row.map((v) => v - top - logSum);
  };
  let [sum, share] = [0, 0];
  for (let r = 0; r < rows; r++) {
    const t = target(r);
    if (t === ignore) continue;
    sum += known(t) ? -weights[t] * logSoftmax(z(r))[t] : NaN;
    share += known(t) ? weights[t] : 1;
  }
  mean[0] = sum / share;
  for (let r = 0; y !== undefined && r < rows; r++) {
    const t = target(r);
    logSoftmax(z(r)).forEach((p, k) => {
      const value = known(t) ? (Math.exp(p) * weights[t] - wanted(weights, t, 0, k)) / share : NaN;
      y[r * classes + k] = t === ignore ? 0 : value;
    });
  }
}
