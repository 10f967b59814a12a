/**
 * Clipping of gradients in place: partial norms of ranges, the factor from all of them, and the
 * change itself.
 */

import { LOOP_LIMIT } from "./loop_limit.ts";
import { type DType, intern, type Kernel } from "./types.ts";
import { grid, perThread, shader } from "./wgsl.ts";

/** Which norm is taken: the sum of sizes, of squares, of any power, or the largest size. */
export type NormKind = "one" | "two" | "power" | "max";

/** Numbers that one thread sums before more threads are started, and the most threads. */
const SHARE = 64;
const MOST_PARTIALS = 4096;
const LANES = 64;

/**
 * How many partial norms a range of so many elements gives; a multiple of 64, so that ranges can be
 * bound.
 */
export function partialsOf(count: number): number {
  const whole = (threads: number) => Math.ceil(threads / LANES) * LANES;
  const few = Math.min(MOST_PARTIALS, Math.max(LANES, whole(count / SHARE)));
  return Math.max(few, whole(count / 4 / LOOP_LIMIT));
}

function term(kind: NormKind, v: string): string {
  switch (kind) {
    case "two":
      return `${v} * ${v}`;
    case "power":
      return `vec4(${[..."xyzw"].map((c) => `precise_pow(abs(${v}.${c}), u.s0)`).join(", ")})`;
    default:
      return `abs(${v})`;
  }
}

function combined(kind: NormKind, a: string, b: string): string {
  return kind === "max" ? `max_nan(${a}, ${b})` : `${a} + ${b}`;
}

function numberTerm(kind: NormKind, v: number, power: number): number {
  return kind === "two" ? v * v : kind === "power" ? Math.abs(v) ** power : Math.abs(v);
}

/**
 * Partial norms before the root: thread t folds the vec4 elements t, t + T, t + 2T, … of T threads.
 *
 * Input: `count` elements, a multiple of 4. Output: `partialsOf(count)` f32. Scalar: the power.
 */
export function partialNormKernel(kind: NormKind, count: number, dtype: DType): Kernel {
  const key = `clip|partial|${kind}|${count}|${dtype}`;
  const threads = partialsOf(count);
  return intern(key, () => ({
    op: "clip",
    key,
    params: { kind, count, dtype },
    inputs: [dtype],
    outputs: ["f32"],
    scalars: ["f32"],
    wgsl: (traits) => ({ code: partialCode(kind, count, dtype), groups: grid(threads, traits) }),
    reference: ([x], [y], [power]) => {
      y.fill(0, 0, threads);
      for (let i = 0; i < count; i++) {
        const t = Math.floor(i / 4) % threads;
        const value = numberTerm(kind, x[i], power);
        y[t] = kind === "max" ? Math.max(y[t], value) : y[t] + value;
      }
    },
  }));
}

function partialCode(kind: NormKind, count: number, dtype: DType): string {
  const fold = kind === "max"
    ? `a = vec4(${[..."xyzw"].map((c) => `max_nan(a.${c}, t.${c})`).join(", ")});`
    : "a += t;";
  const pairs = [["a.x", "a.y"], ["a.z", "a.w"]].map(([l, r]) => `(${combined(kind, l, r)})`);
  const body = `  var a = vec4<f32>(0.0);
  for (var k = i; k < ${count / 4}u; k += ${partialsOf(count)}u) {
    let v = vec4<f32>(x[k]);
    let t = ${term(kind, "v")};
    ${fold}
  }
  y[i] = ${combined(kind, pairs[0], pairs[1])};`;
  const input = { name: "x", dtype, width: 4 } as const;
  return shader(
    [input],
    [{ name: "y", dtype: "f32" }],
    ["f32"],
    perThread(partialsOf(count), body),
  );
}

/**
 * The norm of all partial norms and the factor `min(1, limit / (norm + 1e-6))`; NaN where the norm
 * is.
 *
 * Input: `count` f32. Output: norm, factor. Scalars: 1/power, limit.
 */
export function normKernel(kind: NormKind, count: number): Kernel {
  const key = `clip|norm|${kind}|${count}`;
  return intern(key, () => ({
    op: "clip",
    key,
    params: { kind, count },
    inputs: ["f32"],
    outputs: ["f32"],
    scalars: ["f32", "f32"],
    wgsl: () => ({ code: normCode(kind, count), groups: [1, 1, 1] }),
    reference: ([x], [y], [root, limit]) => {
      let sum = 0;
      for (let i = 0; i < count; i++) sum = kind === "max" ? Math.max(sum, x[i]) : sum + x[i];
      y[0] = kind === "two" ? Math.sqrt(sum) : kind === "power" ? sum ** root : sum;
      y[1] = Math.min(1, limit / (y[0] + 1e-6));
    },
  }));
}

function normCode(kind: NormKind, count: number): string {
  const root = { one: "sum", two: "sqrt(sum)", power: "precise_pow(sum, u.s0)", max: "sum" }[kind];
  const text = `var<workgroup> part: array<f32, ${LANES}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
  var a = 0.0;
  for (var k = lane; k < ${count}u; k += ${LANES}u) { a = ${combined(kind, "a", "x[k]")}; }
  part[lane] = a;
  workgroupBarrier();
  for (var k = ${LANES / 2}u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] = ${combined(kind, "part[lane]", "part[lane + k]")}; }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let sum = part[0];
    let norm = ${root};
    let ratio = divide(u.s1, norm + 1e-6);
    y[0] = norm;
    y[1] = keep_nan(ratio, min(ratio, 1.0));
  }
}`;
  return shader([{ name: "x", dtype: "f32" }], [{ name: "y", dtype: "f32" }], ["f32", "f32"], text);
}

function inPlace(
  key: string,
  count: number,
  dtype: DType,
  factor: boolean,
  value: string,
  reference: (x: number, factor: number, scalars: readonly number[]) => number,
): Kernel {
  return intern(key, () => ({
    op: "clip",
    key,
    params: { count, dtype },
    inputs: factor ? ["f32"] : [],
    outputs: [dtype],
    scalars: factor ? [] : ["f32"],
    wgsl: (traits) => {
      const body = `  let v = vec4<f32>(x[i]);\n  x[i] = vec4<${dtype}>(${value});`;
      const inputs = factor ? [{ name: "factor", dtype: "f32" } as const] : [];
      const output = { name: "x", dtype, width: 4 } as const;
      const code = shader(inputs, [output], factor ? [] : ["f32"], perThread(count / 4, body));
      return { code, groups: grid(count / 4, traits) };
    },
    reference: (inputs, [x], scalars) => {
      for (let i = 0; i < count; i++) x[i] = reference(x[i], factor ? inputs[0][1] : 1, scalars);
    },
  }));
}

/**
 * Multiplies `count` elements (a multiple of 4) by the factor that normKernel() wrote. Input: norm,
 * factor.
 */
export function scaleKernel(count: number, dtype: DType): Kernel {
  const key = `clip|scale|${count}|${dtype}`;
  return inPlace(key, count, dtype, true, "v * factor[1]", (x, factor) => x * factor);
}

/** Limits `count` elements (a multiple of 4) to [-limit, limit]; NaN stays. Scalar: limit. */
export function limitKernel(count: number, dtype: DType): Kernel {
  const value = "keep_nan4(v, clamp(v, vec4<f32>(-u.s0), vec4<f32>(u.s0)))";
  return inPlace(
    `clip|limit|${count}|${dtype}`,
    count,
    dtype,
    false,
    value,
    (x, _, [most]) => Math.max(-most, Math.min(most, x)),
  );
}
