/**
 * Random numbers evaluated where they are needed: element i of a tensor is a function of (key, i),
 * by Threefry-2x32-20 with the counter (i, 0). The key comes as run-time scalars, so one kernel
 * serves all keys.
 */

import { normalQuantile } from "./normal_distribution.ts";
import { threefry2x32, threefryFunction } from "./threefry.ts";
import { type DeviceTraits, type DType, intern, type Kernel, type ScalarType } from "./types.ts";
import type { WgslProgram } from "./types.ts";
import { grid, perThread, shader } from "./wgsl.ts";

/**
 * What becomes of the two words of a block, with its scalars behind the key:
 * - bits: the first word; none.
 * - uniform: low, high − low, the largest number below high.
 * - normal: mean, deviation.
 * - truncated: mean, deviation, low, high, Φ at low, 1 − Φ at high, Φ between them, all Φ of the
 *   standardised bounds.
 * - integer: low (i32), count (u32).
 * - choice: threshold (of 2^24), the value of draws below it, the value of the others.
 */
export type Draw = "bits" | "uniform" | "normal" | "truncated" | "integer" | "choice";

/** Parameters of a tensor of random numbers. */
export interface RandomParams {
  readonly draw: Draw;
  /** Number of elements. */
  readonly count: number;
}

interface DrawRule {
  readonly output: DType;
  /** Types of the scalars behind the key, `u.s2` on. */
  readonly scalars: readonly ScalarType[];
  /** WGSL value from the words `w`. */
  readonly wgsl: string;
  /** The same from the words `a` and `b`, in double precision. */
  readonly ref: (a: number, b: number, s: readonly number[]) => number;
}

const TURN = 2 ** 32;

const rules: { readonly [K in Draw]: DrawRule } = {
  bits: { output: "u32", scalars: [], wgsl: "w.x", ref: (a) => a },
  uniform: {
    output: "f32",
    scalars: ["f32", "f32", "f32"],
    // Rounding may reach the upper end, which does not belong to the range.
    wgsl: "max(min(u.s2 + f32(w.x >> 8u) * 5.9604645e-8 * u.s3, u.s4), u.s2)",
    ref: (a, _, [low, width]) => low + Math.floor(a / 256) / 2 ** 24 * width,
  },
  normal: {
    output: "f32",
    scalars: ["f32", "f32"],
    wgsl: "u.s2 + u.s3 * box_muller(w)",
    ref: (a, b, [mean, std]) =>
      mean + std * Math.sqrt(-2 * Math.log((a + 1) / TURN)) * Math.cos(2 * Math.PI * b / TURN),
  },
  truncated: {
    output: "f32",
    scalars: ["f32", "f32", "f32", "f32", "f32", "f32", "f32"],
    wgsl: "clamp(u.s2 + u.s3 * between(w.x, u.s6, u.s7, u.s8), u.s4, u.s5)",
    ref: (a, _, [mean, std, low, high, below, above, span]) => {
      const part = (Math.floor(a / 256) + 0.5) / 2 ** 24;
      const z = normalQuantile(below + part * span, above + (1 - part) * span);
      return Math.min(high, Math.max(low, mean + std * z));
    },
  },
  integer: {
    output: "i32",
    scalars: ["i32", "u32"],
    wgsl: "u.s2 + bitcast<i32>(share(w, u.s3))",
    ref: (a, b, [low, count]) =>
      Number((((BigInt(a) << 32n) | BigInt(b)) * BigInt(count)) >> 64n) + low,
  },
  choice: {
    output: "f32",
    scalars: ["u32", "f32", "f32"],
    wgsl: "select(u.s4, u.s3, (w.x >> 8u) < u.s2)",
    ref: (a, _, [threshold, below, other]) => Math.floor(a / 256) < threshold ? below : other,
  },
};

/** The functions that the rules call, beside the shared helpers. */
const functions: { readonly [K in Draw]?: string } = {
  // √(-2 log((x + 1) / 2^32)) cos(2π y / 2^32); the logarithm is taken from the end that keeps its
  // digits.
  normal: `fn box_muller(w: vec2<u32>) -> f32 {
  let small = precise_log((f32(w.x) + 1.0) * 2.3283064e-10);
  let large = precise_log1p(f32(~w.x) * -2.3283064e-10);
  let radius = sqrt(-2.0 * select(large, small, w.x < 0x80000000u));
  return radius * precise_cos(f32(bitcast<i32>(w.y)) * 1.4629181e-9);
}`,
  // The quantile of a place between two bounds (Wichura, algorithm AS 241, 1988: PPND7).
  truncated: `fn between(word: u32, below: f32, above: f32, span: f32) -> f32 {
  let odd = (word >> 8u) * 2u + 1u;
  let p = below + f32(odd) * 2.9802322e-8 * span;
  let q = above + f32(0x2000000u - odd) * 2.9802322e-8 * span;
  let c = 0.5 * (p - q);
  let r = 0.180625 - c * c;
  let middle = c * (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
    (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
  let s = sqrt(-precise_log(min(p, q)));
  let t = s - 1.6;
  let near = (((0.17023821103 * t + 1.3067284816) * t + 2.75681539) * t + 1.4234372777) /
    ((0.12021132975 * t + 0.7370016425) * t + 1.0);
  let v = s - 5.0;
  let far = (((0.017337203997 * v + 0.42868294337) * v + 3.081226386) * v + 6.657905115) /
    ((0.012258202635 * v + 0.24197894225) * v + 1.0);
  let tail = select(far, near, s <= 5.0);
  return select(select(tail, -tail, p < q), middle, abs(c) <= 0.425);
}`,
  // The upper 32 bits of the 96-bit product of both words with a count.
  integer: `fn share(w: vec2<u32>, count: u32) -> u32 {
  let low = w.x * count;
  let sum = low + high_product(w.y, count);
  return high_product(w.x, count) + select(0u, 1u, sum < low);
}`,
};

/** Element i from the key and i. Scalars: the key's two words, then those of the draw. */
export function randomKernel(params: RandomParams): Kernel {
  const { draw, count } = params;
  const rule = rules[draw];
  const key = `random|${draw}|${count}`;
  return intern(key, () => ({
    op: "random",
    key,
    params,
    inputs: [],
    outputs: [rule.output],
    scalars: ["u32", "u32", ...rule.scalars],
    wgsl: (traits) => randomProgram(params, rule, traits),
    reference: (_, [out], [k0, k1, ...scalars]) => {
      for (let i = 0; i < count; i++) {
        const [a, b] = threefry2x32(k0, k1, i, 0);
        out[i] = rule.ref(a, b, scalars);
      }
    },
  }));
}

function randomProgram(
  { draw, count }: RandomParams,
  rule: DrawRule,
  traits: DeviceTraits,
): WgslProgram {
  const body = `  let w = threefry(u.s0, u.s1, i, 0u);\n  y[i] = ${rule.wgsl};`;
  const text = [threefryFunction(), functions[draw] ?? "", perThread(count, body)].join("\n");
  const scalars: readonly ScalarType[] = ["u32", "u32", ...rule.scalars];
  return {
    code: shader([], [{ name: "y", dtype: rule.output }], scalars, text),
    groups: grid(count, traits),
  };
}
