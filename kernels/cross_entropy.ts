/**
 * Cross-entropy of rows of logits (or of log-probabilities) with class numbers: the loss of each
 * row, and the weighted mean.
 *
 * With target t, weights w and smoothing ε a row wants the distribution
 * `q = (1 − ε)·w_t·[k = t] + ε·w_k / C`; its loss is `Σ q_k (logΣexp(z) − z_k)` and its gradient `softmax(z)·Σq − q`. A row
 * whose target is ignored has loss and gradient 0, one whose target is no class has NaN. Everything
 * is kept relative to the largest logit, so that logits of any size keep their digits.
 */

import type { StridedOperand } from "./map.ts";
import { LOOP_LIMIT } from "./loop_limit.ts";
import { type DeviceTraits, type DType, intern, type Kernel, type Shape, sizeOf } from "./types.ts";
import {
  address,
  addressesOf,
  type Binding,
  coordinates,
  grid,
  perThread,
  shader,
  u32,
} from "./wgsl.ts";

/** Classes up to which a row is held in registers. */
const UNROLLED = 16;
/** Classes from which on hardware a workgroup takes a row. */
const TEAM_FROM = 256;
const TEAM = 128;

/** What the kernels have in common. */
export interface CrossEntropyParams {
  readonly classes: number;
  /** False for log-probabilities, which need no normalisation. */
  readonly softmax: boolean;
  /** Whether there is label smoothing; only with softmax. */
  readonly smoothing: boolean;
  /** Class weights: strides [step], or null. */
  readonly weight: StridedOperand | null;
}

/** Parameters of the row losses. */
export interface RowLossParams extends CrossEntropyParams {
  readonly rows: Shape;
  /** Strides over the rows. */
  readonly logits: StridedOperand;
  readonly classStride: number;
  /** Class numbers in i32; strides over the rows. */
  readonly targets: StridedOperand;
}

/** Bindings of the inputs that a kernel has, the weight last. */
export function inputsOf(
  params: CrossEntropyParams,
  named: readonly (readonly [string, DType] | null)[],
): Binding[] {
  const all = [...named, params.weight === null ? null : ["weight", "f32"] as const];
  return all.flatMap((entry) => entry === null ? [] : [{ name: entry[0], dtype: entry[1] }]);
}

/** Text of the weight of a class. */
export function weightText({ weight }: CrossEntropyParams, index: string): string {
  if (weight === null) return "1.0";
  return `weight[${u32(weight.offset)} + (${index}) * ${u32(weight.strides[0])}]`;
}

/**
 * Loss of each row, before any reduction.
 *
 * Inputs: logits, targets, weight where there is one. Outputs, in row-major order: the loss; the
 * weight of the target, 0 where ignored; and with softmax three numbers a row: the largest logit,
 * the logarithm of the sum above it, Σq. Scalars: the target that is ignored (i32), ε.
 */
export function rowLossKernel(params: RowLossParams): Kernel {
  const key = `crossEntropy rows|${JSON.stringify(params)}`;
  const outputs: DType[] = params.softmax ? ["f32", "f32", "f32"] : ["f32", "f32"];
  const inputs = inputsOf(params, [["x", "f32"], ["targets", "i32"]]);
  return intern(key, () => ({
    op: "crossEntropy",
    key,
    params,
    inputs: inputs.map((b) => b.dtype),
    outputs,
    scalars: ["i32", "f32"],
    wgsl: (traits) => rowProgram(params, inputs, traits),
    reference: (ins, outs, scalars) => rowReference(params, ins, outs, scalars),
  }));
}

/** Folds a value over the classes of the thread's row into a variable. */
interface Folds {
  readonly head: string;
  /** @param value text of the value of class `k` with logit `z` */
  fold(name: string, op: "max" | "sum", value: (z: string, k: string) => string): string;
}

const start = { max: "-inf()", sum: "0.0" };

function joined(op: "max" | "sum", a: string, b: string): string {
  return op === "max" ? `max(${a}, ${b})` : `(${a} + ${b})`;
}

function unrolledFolds({ classes, classStride }: RowLossParams): Folds {
  const all = Array.from({ length: classes }, (_, k) => k);
  return {
    head: all.map((k) => `  let z${k} = x[base + ${u32(k * classStride)}];`).join("\n"),
    fold: (name, op, value) => {
      const values = all.map((k) => value(`z${k}`, `${k}u`));
      return `  let ${name} = ${values.reduce((a, b) => joined(op, a, b))};`;
    },
  };
}

/** Strided folds of a team, and a tree. */
function teamFolds({ classes, classStride }: RowLossParams): Folds {
  const z = `x[base + k * ${u32(classStride)}]`;
  return {
    head: "",
    fold: (name, op, value) =>
      `  var ${name}Part = ${start[op]};
  for (var k = lane; k < ${classes}u; k += ${TEAM}u) {
    ${name}Part = ${joined(op, `${name}Part`, value(z, "k"))};
  }
  let ${name} = team_${op}(lane, ${name}Part);`,
  };
}

/** Interleaved folds of one thread: four, or as many as keep its loops short enough. */
function threadFolds({ classes, classStride, smoothing }: RowLossParams): Folds {
  const loops = smoothing ? 4 : 2;
  let lanes = 4;
  while (loops * classes / lanes > LOOP_LIMIT) lanes *= 2;
  const all = Array.from({ length: lanes }, (_, j) => j);
  const rest = classes % lanes;
  const z = (k: string) => `x[base + (${k}) * ${u32(classStride)}]`;
  const fold: Folds["fold"] = (name, op, value) => {
    const lines = all.map((j) => `  var ${name}${j} = ${start[op]};`);
    const add = (j: number, k: string) =>
      lines.push(`  ${name}${j} = ${joined(op, `${name}${j}`, value(z(k), k))};`);
    lines.push(`  for (var k = 0u; k < ${classes - rest}u; k += ${lanes}u) {`);
    for (const j of all) add(j, `k + ${j}u`);
    lines.push("  }");
    for (let j = 0; j < rest; j++) add(j, `${classes - rest + j}u`);
    const total = pairwise(all.map((j) => `${name}${j}`), (a, b) => joined(op, a, b));
    return [...lines, `  let ${name} = ${total};`].join("\n");
  };
  return { head: "", fold };
}

function pairwise(values: readonly string[], join: (a: string, b: string) => string): string {
  if (values.length === 1) return values[0];
  const half = values.length / 2;
  return join(pairwise(values.slice(0, half), join), pairwise(values.slice(half), join));
}

function teamFunction(op: "max" | "sum"): string {
  return `fn team_${op}(lane: u32, value: f32) -> f32 {
  workgroupBarrier();
  part[lane] = value;
  workgroupBarrier();
  for (var k = ${TEAM / 2}u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] = ${joined(op, "part[lane]", "part[lane + k]")}; }
    workgroupBarrier();
  }
  return part[0];
}`;
}

function rowProgram(
  params: RowLossParams,
  inputs: readonly Binding[],
  traits: DeviceTraits,
): { code: string; groups: [number, number, number] } {
  const rows = sizeOf(params.rows);
  const team = params.softmax && !traits.software && params.classes >= TEAM_FROM;
  const small = params.classes <= UNROLLED;
  const folds = small ? unrolledFolds(params) : team ? teamFolds(params) : threadFolds(params);
  const body = rowBody(params, folds, team);
  const outputs: Binding[] = ["losses", "shares", ...(params.softmax ? ["stats"] : [])]
    .map((name) => ({ name, dtype: "f32" }));
  const text = team
    ? `var<workgroup> part: array<f32, ${TEAM}>;
${teamFunction("max")}
${teamFunction("sum")}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) wgs: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = wg.y * wgs.x + wg.x;
  if (i >= ${rows}u) { return; }
${body}
}`
    : perThread(rows, body);
  return {
    code: shader(inputs, outputs, ["i32", "f32"], text),
    groups: grid(team ? rows * TEAM : rows, traits, team ? TEAM : undefined),
  };
}

function rowBody(params: RowLossParams, folds: Folds, team: boolean): string {
  const { rows, classes, logits, classStride, targets, softmax, smoothing } = params;
  const lines = [
    coordinates("i", rows, "c"),
    `  let base = ${address("c", logits.strides, logits.offset)};`,
    `  let t = targets[${address("c", targets.strides, targets.offset)}];`,
    `  let known = t >= 0 && t < ${classes};`,
    `  let k0 = select(0u, u32(t), known);`,
    `  let own = ${weightText(params, "k0")};`,
    `  let zt = x[base + k0 * ${u32(classStride)}];`,
  ];
  if (softmax) {
    lines.push(
      folds.head,
      folds.fold("top", "max", (z) => z),
      // A row of -Infinity alone has no maximum to subtract, and no distribution.
      "  let lowest = top == -inf();",
      "  let shift = select(top, 0.0, lowest);",
      folds.fold("sum", "sum", (z) => `precise_exp(${z} - shift)`),
      "  let logSum = select(precise_log(sum), nan(), lowest);",
      "  var loss = own * ((shift - zt) + logSum);",
      "  var mass = own;",
    );
  } else {
    lines.push("  var loss = -own * zt;");
  }
  if (smoothing) {
    const weight = (k: string) => weightText(params, k);
    lines.push(
      folds.fold("spread", "sum", (z, k) => `${weight(k)} * ((shift - ${z}) + logSum)`),
      folds.fold("weights", "sum", (_, k) => weight(k)),
      `  loss = (1.0 - u.s1) * loss + u.s1 / ${classes}.0 * spread;`,
      `  mass = (1.0 - u.s1) * mass + u.s1 / ${classes}.0 * weights;`,
    );
  }
  lines.push(
    "  let ignored = t == u.s0;",
    `  ${team ? "if (lane == 0u) " : ""}{`,
    "  losses[i] = select(select(nan(), loss, known), 0.0, ignored);",
    "  shares[i] = select(select(1.0, own, known), 0.0, ignored);",
  );
  if (softmax) {
    lines.push(
      "  stats[3u * i] = shift;",
      "  stats[3u * i + 1u] = logSum;",
      "  stats[3u * i + 2u] = mass;",
    );
  }
  lines.push("  }");
  return lines.join("\n");
}

/** The weights of all classes. */
export function weightsOf(
  { classes, weight }: CrossEntropyParams,
  values: Float64Array | undefined,
): number[] {
  return Array.from(
    { length: classes },
    (_, k) => weight === null ? 1 : values![weight.offset + k * weight.strides[0]],
  );
}

/** What a row with target t wants of class k. */
export function wanted(weights: readonly number[], t: number, eps: number, k: number): number {
  return (k === t ? (1 - eps) * weights[k] : 0) + eps * weights[k] / weights.length;
}

function rowReference(
  params: RowLossParams,
  [x, targets, weight]: readonly Float64Array[],
  [losses, shares, stats]: readonly Float64Array[],
  [ignore, eps]: readonly number[],
): void {
  const { rows, classes, softmax, smoothing } = params;
  const from = addressesOf(rows, params.logits.strides, params.logits.offset);
  const at = addressesOf(rows, params.targets.strides, params.targets.offset);
  const weights = weightsOf(params, weight);
  for (let r = 0; r < from.length; r++) {
    const z = weights.map((_, k) => x[from[r] + k * params.classStride]);
    const t = targets[at[r]];
    const known = t >= 0 && t < classes;
    const q = weights.map((_, k) => wanted(weights, t, smoothing ? eps : 0, k));
    const top = Math.max(...z);
    const logSum = softmax ? Math.log(z.reduce((sum, v) => sum + Math.exp(v - top), 0)) : 0;
    let loss = 0;
    z.forEach((v, k) => {
      if (smoothing || k === t) loss += q[k] * (softmax ? top - v + logSum : -v);
    });
    losses[r] = t === ignore ? 0 : known ? loss : NaN;
    shares[r] = t === ignore ? 0 : known ? weights[t] : 1;
    if (softmax) stats.set([top, logSum, q.reduce((a, b) => a + b, 0)], 3 * r);
  }
}

/** Lanes of a workgroup that folds losses. */
const LANES = 64;

/**
 * Sums of losses and of their shares: over slices, or over everything with the quotient in place of
 * the first sum.
 *
 * Inputs: losses, shares. Outputs: `slices` sums of either; with one slice the mean (NaN over no
 * share) and its divisor.
 */
export function meanLossKernel(count: number, slices: number): Kernel {
  const key = `crossEntropy mean|${count}|${slices}`;
  return intern(key, () => ({
    op: "crossEntropy",
    key,
    params: { count, slices },
    inputs: ["f32", "f32"],
    outputs: ["f32", "f32"],
    scalars: [],
    wgsl: () => ({ code: meanCode(count, slices), groups: [slices, 1, 1] }),
    reference: ([losses, shares], [sums, totals]) => {
      for (let s = 0; s < slices; s++) {
        let [sum, total] = [0, 0];
        for (let i = s; i < count; i += slices) {
          sum += losses[i];
          total += shares[i];
        }
        sums[s] = slices > 1 ? sum : sum / total;
        totals[s] = total;
      }
    },
  }));
}

function meanCode(count: number, slices: number): string {
  const value = slices > 1 ? "part[0].x" : "select(part[0].x / part[0].y, nan(), part[0].y == 0.0)";
  const text = `var<workgroup> part: array<vec2<f32>, ${LANES}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var a = vec2<f32>(0.0);
  for (var i = wg.x * ${LANES}u + lane; i < ${count}u; i += ${slices * LANES}u) {
    a += vec2(losses[i], shares[i]);
  }
  part[lane] = a;
  workgroupBarrier();
  for (var k = ${LANES / 2}u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] += part[lane + k]; }
    workgroupBarrier();
  }
  if (lane == 0u) { sums[wg.x] = ${value}; totals[wg.x] = part[0].y; }
}`;
  const bind = (name: string): Binding => ({ name, dtype: "f32" });
  return shader([bind("losses"), bind("shares")], [bind("sums"), bind("totals")], [], text);
}
