/**
 * What a step is judged by, on the device alone: the norm of all gradients, whether all of them are
 * finite, and the loss scale that follows.
 */

import { partialsOf } from "./clip.ts";
import { type DType, intern, type Kernel } from "./types.ts";
import { type Binding, grid, perThread, shader } from "./wgsl.ts";

const LANES = 64;

/** Numbers of a verdict: the norm, the factor of all gradients, and 1 where the step is taken. */
export const VERDICT_SIZE = 3;

/**
 * Partial sums of squares of a range of gradients, and whether each share holds a NaN or infinity;
 * the sums are those of partialNormKernel(), to the bit.
 *
 * Inputs: `count` elements, a multiple of 4; the loss scale (one f32) where `unscales`, by which
 * they are divided. Outputs: `partialsOf(count)` f32 and u32.
 */
export function judgeKernel(count: number, dtype: DType, unscales: boolean): Kernel {
  const key = `verdict|judge|${count}|${dtype}|${unscales}`;
  const threads = partialsOf(count);
  return intern(key, () => ({
    op: "verdict",
    key,
    params: { count, dtype, unscales },
    inputs: unscales ? [dtype, "f32"] : [dtype],
    outputs: ["f32", "u32"],
    scalars: [],
    wgsl: (traits) => ({ code: judgeCode(count, dtype, unscales), groups: grid(threads, traits) }),
    reference: ([x, scale], [sums, flaws]) => {
      const inverse = unscales ? 1 / scale[0] : 1;
      sums.fill(0, 0, threads);
      flaws.fill(0, 0, threads);
      for (let i = 0; i < count; i++) {
        const t = Math.floor(i / 4) % threads;
        sums[t] += (x[i] * inverse) ** 2;
        if (!Number.isFinite(x[i])) flaws[t] = 1;
      }
    },
  }));
}

function judgeCode(count: number, dtype: DType, unscales: boolean): string {
  const body = `  var a = vec4<f32>(0.0);
  var largest = vec4<u32>(0u);
  for (var k = i; k < ${count / 4}u; k += ${partialsOf(count)}u) {
    let raw = vec4<f32>(x[k]);
    largest = max(largest, bitcast<vec4<u32>>(raw) & vec4<u32>(0x7fffffffu));
    let v = raw${unscales ? " * (1.0 / scale[0])" : ""};
    let t = v * v;
    a += t;
  }
  sums[i] = (a.x + a.y) + (a.z + a.w);
  flaws[i] = select(0u, 1u, any(largest >= vec4<u32>(0x7f800000u)));`;
  const inputs: Binding[] = [{ name: "x", dtype, width: 4 }];
  if (unscales) inputs.push({ name: "scale", dtype: "f32" });
  const outputs = [{ name: "sums", dtype: "f32" }, { name: "flaws", dtype: "u32" }] as const;
  return shader(inputs, outputs, [], perThread(partialsOf(count), body));
}

/** How a verdict is reached. */
export interface VerdictParams {
  /** Partial sums. */
  readonly count: number;
  /** Whether the factor brings the norm down to the limit. */
  readonly clips: boolean;
  /** Whether the factor takes the loss scale out, which is told of flaws. */
  readonly unscales: boolean;
}

/**
 * The verdict on a step: the norm, the factor `min(1, limit / (norm + 1e-6)) / scale`, and 1, or 0
 * where it is to be skipped.
 *
 * Inputs: partial sums, flaws, the loss scale where `unscales`. Outputs: the verdict (3 f32), the
 * number of skipped steps (1 u32), and where `unscales` whether flaws were found (1 f32), which
 * stays 1. Scalars: limit, and 1 where flaws lead to a skip.
 */
export function verdictKernel(params: VerdictParams): Kernel {
  const { count, clips, unscales } = params;
  const key = `verdict|${count}|${clips}|${unscales}`;
  return intern(key, () => ({
    op: "verdict",
    key,
    params,
    inputs: unscales ? ["f32", "u32", "f32"] : ["f32", "u32"],
    outputs: unscales ? ["f32", "u32", "f32"] : ["f32", "u32"],
    scalars: ["f32", "u32"],
    wgsl: () => ({ code: verdictCode(params), groups: [1, 1, 1] }),
    reference: ([sums, flaws, scale], [verdict, skipped, found], [limit, skips]) => {
      let sum = 0;
      let flawed = false;
      for (let i = 0; i < count; i++) {
        sum += sums[i];
        flawed ||= flaws[i] !== 0;
      }
      const norm = Math.sqrt(sum);
      const factor = clips ? Math.min(1, limit / (norm + 1e-6)) : 1;
      const skip = flawed && skips === 1;
      verdict.set([norm, unscales ? factor * (1 / scale[0]) : factor, skip ? 0 : 1]);
      if (skip) skipped[0]++;
      if (unscales && flawed) found[0] = 1;
    },
  }));
}

function verdictCode({ count, clips, unscales }: VerdictParams): string {
  const inputs: Binding[] = [{ name: "sums", dtype: "f32" }, { name: "flaws", dtype: "u32" }];
  const outputs: Binding[] = [
    { name: "verdict", dtype: "f32" },
    { name: "skipped", dtype: "u32" },
  ];
  if (unscales) inputs.push({ name: "scale", dtype: "f32" });
  if (unscales) outputs.push({ name: "found", dtype: "f32" });
  const clip = `let ratio = divide(u.s0, norm + 1e-6);
    factor = keep_nan(ratio, min(ratio, 1.0));`;
  const text = `var<workgroup> part: array<f32, ${LANES}>;
var<workgroup> flawed: array<u32, ${LANES}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
  var a = 0.0;
  var b = 0u;
  for (var k = lane; k < ${count}u; k += ${LANES}u) { a = a + sums[k]; b |= flaws[k]; }
  part[lane] = a;
  flawed[lane] = b;
  workgroupBarrier();
  for (var k = ${LANES / 2}u; k > 0u; k /= 2u) {
    if (lane < k) {
      part[lane] = part[lane] + part[lane + k];
      flawed[lane] |= flawed[lane + k];
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let norm = sqrt(part[0]);
    var factor = 1.0;
    ${clips ? clip : ""}
    ${unscales ? "factor *= 1.0 / scale[0];" : ""}
    let skip = flawed[0] & u.s1;
    verdict[0] = norm;
    verdict[1] = factor;
    verdict[2] = f32(1u - skip);
    skipped[0] += skip;
    ${unscales ? "if (flawed[0] != 0u) { found[0] = 1.0; }" : ""}
  }
}`;
  return shader(inputs, outputs, ["f32", "u32"], text);
}

/**
 * The next loss scale: times `backoff` where flaws were found, times `growth` after `interval`
 * updates in a row without any; an infinite one is not taken.
 *
 * Outputs, all read and written: the scale (1 f32), updates without flaws so far (1 i32), whether
 * flaws were found (1 f32), which becomes 0. Scalars: growth, backoff, interval.
 */
export function lossScaleKernel(): Kernel {
  const key = "verdict|scale";
  return intern(key, () => ({
    op: "verdict",
    key,
    params: null,
    inputs: [],
    outputs: ["f32", "i32", "f32"],
    scalars: ["f32", "f32", "i32"],
    wgsl: () => ({ code: lossScaleCode(), groups: [1, 1, 1] }),
    reference: (_, [scale, tracker, found], [growth, backoff, interval]) => {
      const flawed = found[0] !== 0;
      const grows = !flawed && tracker[0] + 1 >= interval;
      const next = scale[0] * growth;
      if (flawed) scale[0] *= backoff;
      // The largest f32, since the scale is one on every device.
      else if (grows && next <= 3.4028234663852886e38) scale[0] = next;
      tracker[0] = flawed || grows ? 0 : tracker[0] + 1;
      found[0] = 0;
    },
  }));
}

function lossScaleCode(): string {
  const outputs = [
    { name: "scale", dtype: "f32" },
    { name: "tracker", dtype: "i32" },
    { name: "found", dtype: "f32" },
  ] as const;
  const text = `@compute @workgroup_size(1)
fn main() {
  let flawed = found[0] != 0.0;
  let grows = !flawed && tracker[0] + 1 >= u.s2;
  let next = scale[0] * u.s0;
  if (flawed) { scale[0] *= u.s1; }
  else if (grows && is_finite(next)) { scale[0] = next; }
  tracker[0] = select(tracker[0] + 1, 0, flawed || grows);
  found[0] = 0.0;
}`;
  return shader([], outputs, ["f32", "f32", "i32"], text);
}
