/** Updates whose rate is one for each element: Adagrad, Adadelta, Adamax, NAdam and Lion. */

import { type Reference, updateKernel, type UpdateRange } from "./optimizer.ts";
import { type DType, intern, type Kernel, type ScalarType } from "./types.ts";
import { type Binding, shader } from "./wgsl.ts";

/** An update that may pull parameters to 0. */
export interface DecayingParams extends UpdateRange {
  readonly weightDecay: boolean;
}

const ZERO = "vec4<f32>(0.0)";

/**
 * Adagrad: `s ← s + g²`, `p ← p − a·g / (√s + ε)`, where the host gives `a = lr / (1 + (t − 1)·d)`.
 *
 * Slot: s. Scalars: a, λ, ε; a counted update takes lr in place of a, and d. An element with `g = 0`
 * stays, also where ε is 0.
 */
export function adagradKernel(params: DecayingParams): Kernel {
  const { weightDecay, counted } = params;
  const body = [
    ...weightDecay ? ["g += u.s1 * p;"] : [],
    "s0 += g * g;",
    counted ? "let rate = u.s0 / (1.0 + (t - 1.0) * u.s3);" : "let rate = u.s0;",
    `p -= select(rate * g / (sqrt(s0) + u.s2), ${ZERO}, g == ${ZERO});`,
  ];
  const reference: Reference = (gradients, [p, s], [lr, lambda, eps, decay], t) => {
    const rate = counted ? lr / (1 + (t - 1) * decay) : lr;
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      s[i] += g * g;
      if (g !== 0) p[i] -= rate * g / (Math.sqrt(s[i]) + eps);
    }
  };
  const scalars = counted ? 4 : 3;
  return updateKernel({ rule: "adagrad", params, slots: 1, scalars, body, reference });
}

/**
 * Adadelta: `v ← ρv + (1−ρ)g²`, `d = g·√(a + ε) / √(v + ε)`, `a ← ρa + (1−ρ)d²`, `p ← p − lr·d`.
 *
 * Slots: v, a. Scalars: lr, λ, ρ, 1−ρ, ε. An element with `g = 0` has `d = 0`, also where ε is 0.
 */
export function adadeltaKernel(params: DecayingParams): Kernel {
  const { weightDecay } = params;
  const body = [
    ...weightDecay ? ["g += u.s1 * p;"] : [],
    "s0 = u.s2 * s0 + u.s3 * g * g;",
    `let d = select(sqrt(s1 + u.s4) / sqrt(s0 + u.s4) * g, ${ZERO}, g == ${ZERO});`,
    "s1 = u.s2 * s1 + u.s3 * d * d;",
    "p -= u.s0 * d;",
  ];
  const reference: Reference = (gradients, [p, v, a], [lr, lambda, rho, rest, eps]) => {
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      v[i] = rho * v[i] + rest * g * g;
      const d = g === 0 ? 0 : Math.sqrt(a[i] + eps) / Math.sqrt(v[i] + eps) * g;
      a[i] = rho * a[i] + rest * d * d;
      p[i] -= lr * d;
    }
  };
  return updateKernel({ rule: "adadelta", params, slots: 2, scalars: 5, body, reference });
}

/**
 * Adamax: `m ← β₁m + (1−β₁)g`, `w ← max(β₂w, |g| + ε)`, `p ← p − a·m / w`, where the host gives
 * `a = lr / (1 − β₁ᵗ)`.
 *
 * Slots: m, w. Scalars: a, λ, ε, β₁, 1−β₁, β₂; a counted update takes lr in place of a, and log β₁.
 * An element with `m = 0` stays, also where ε is 0.
 */
export function adamaxKernel(params: DecayingParams): Kernel {
  const { weightDecay, counted } = params;
  const largest = [..."xyzw"].map((c) => `max_nan(a.${c}, b.${c})`).join(", ");
  const body = [
    counted ? "let rate = u.s0 / -precise_expm1(t * u.s6);" : "let rate = u.s0;",
    ...weightDecay ? ["g += u.s1 * p;"] : [],
    "s0 = u.s3 * s0 + u.s4 * g;",
    "let a = u.s5 * s1;",
    "let b = abs(g) + u.s2;",
    `s1 = vec4<f32>(${largest});`,
    `p -= select(rate * s0 / s1, ${ZERO}, s0 == ${ZERO});`,
  ];
  const reference: Reference = (gradients, [p, m, w], scalars, t) => {
    const [lr, lambda, eps, beta1, rest, beta2, log] = scalars;
    const rate = counted ? lr / -Math.expm1(t * log) : lr;
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      m[i] = beta1 * m[i] + rest * g;
      w[i] = Math.max(beta2 * w[i], Math.abs(g) + eps);
      if (m[i] !== 0) p[i] -= rate * m[i] / w[i];
    }
  };
  const scalars = counted ? 7 : 6;
  return updateKernel({ rule: "adamax", params, slots: 2, scalars, body, reference });
}

/**
 * NAdam: `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `p ← p − (a·g + b·m) / (√v·r + ε)`, where
 * nadamRatesKernel() gives a and b, and the host `r = 1/√(1 − β₂ᵗ)`.
 *
 * Read beside the gradients: a and b. Slots: m, v. Scalars: r, λ, ε, β₁, 1−β₁, β₂, 1−β₂; a counted
 * update takes log β₂ in place of r. An element without gradient and momentum stays.
 */
export function nadamKernel(params: DecayingParams): Kernel {
  const { weightDecay, counted } = params;
  const body = [
    counted ? "let root = 1.0 / sqrt(-precise_expm1(t * u.s0));" : "let root = u.s0;",
    ...weightDecay ? ["g += u.s1 * p;"] : [],
    "s0 = u.s3 * s0 + u.s4 * g;",
    "s1 = u.s5 * s1 + u.s6 * g * g;",
    "let top = rates[0] * g + rates[1] * s0;",
    `p -= select(top / (sqrt(s1) * root + u.s2), ${ZERO}, top == ${ZERO});`,
  ];
  const reference: Reference = (gradients, [p, m, v], scalars, t, [rates]) => {
    const [r, lambda, eps, beta1, rest1, beta2, rest2] = scalars;
    const root = counted ? 1 / Math.sqrt(-Math.expm1(t * r)) : r;
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      const top = rates[0] * g + rates[1] * m[i];
      if (top !== 0) p[i] -= top / (Math.sqrt(v[i]) * root + eps);
    }
  };
  const extras: Binding[] = [{ name: "rates", dtype: "f32" }];
  const update = { rule: "nadam", params, extras, slots: 2, scalars: 7, body, reference };
  return updateKernel(update);
}

/** Where the number of a step comes from. */
export interface NadamRatesParams {
  readonly scaled: boolean;
  /** Whether the device counts the steps, less those that the verdict refuses; needs `scaled`. */
  readonly counted: boolean;
}

/**
 * The rates of a NAdam step, and the product of all momenta so far:
 * `P ← P·μ`, `a = lr·(1 − μ) / (1 − P)`, `b = lr·μ' / (1 − P·μ')`, with `μ = β₁·(1 − ½·0.96^(tψ))`
 * and μ' that of the next step.
 *
 * Inputs: the verdict where scaled, counts of skipped steps (i32) where counted. Outputs: P for each
 * parameter of an arena (read and written), and [a, b]. Scalars: lr, the first parameter of the
 * range, their number, and μ, μ'; a counted update takes β₁, ψ·ln 0.96 and the steps of the host
 * (i32) in place of these.
 */
export function nadamRatesKernel({ scaled, counted }: NadamRatesParams): Kernel {
  const key = `optimizer|nadam rates|${scaled}|${counted}`;
  const inputs: DType[] = [...scaled ? ["f32" as const] : [], ...counted ? ["i32" as const] : []];
  const scalars: ScalarType[] = [
    "f32",
    "u32",
    "u32",
    "f32",
    "f32",
    ...counted ? ["i32" as const] : [],
  ];
  return intern(key, () => ({
    op: "optimizer",
    key,
    params: { scaled, counted },
    inputs,
    outputs: ["f32", "f32"],
    scalars,
    wgsl: () => ({ code: ratesCode({ scaled, counted }, scalars), groups: [1, 1, 1] }),
    reference: (given, [products, rates], [lr, first, members, x, y, steps]) => {
      if (counted && given[0][2] === 0) return;
      const t = counted ? steps - given[1][first] : NaN;
      const mu = counted ? x * (1 - 0.5 * Math.exp(t * y)) : x;
      const next = counted ? x * (1 - 0.5 * Math.exp((t + 1) * y)) : y;
      const product = products[first] * mu;
      rates[0] = lr * (1 - mu) / (1 - product);
      rates[1] = lr * next / (1 - product * next);
      for (let k = first; k < first + members; k++) products[k] *= mu;
    },
  }));
}

function ratesCode({ scaled, counted }: NadamRatesParams, scalars: readonly ScalarType[]): string {
  const inputs: Binding[] = [];
  if (scaled) inputs.push({ name: "verdict", dtype: "f32" });
  if (counted) inputs.push({ name: "skips", dtype: "i32" });
  const outputs = [{ name: "products", dtype: "f32" }, { name: "rates", dtype: "f32" }] as const;
  const momenta = counted
    ? `if (verdict[2] == 0.0) { return; }
  let t = f32(u.s5 - skips[u.s1]);
  let mu = u.s3 * (1.0 - 0.5 * precise_exp(t * u.s4));
  let next = u.s3 * (1.0 - 0.5 * precise_exp((t + 1.0) * u.s4));`
    : "let mu = u.s3;\n  let next = u.s4;";
  const text = `@compute @workgroup_size(1)
fn main() {
  ${momenta}
  let product = products[u.s1] * mu;
  rates[0] = u.s0 * (1.0 - mu) / (1.0 - product);
  rates[1] = u.s0 * next / (1.0 - product * next);
  for (var k = u.s1; k < u.s1 + u.s2; k++) { products[k] = products[k] * mu; }
}`;
  return shader(inputs, outputs, scalars, text);
}

/**
 * Lion: `p ← λp − lr·sign(β₁m + (1−β₁)g)`, `m ← β₂m + (1−β₂)g`, with `λ = 1 − lr·weightDecay`.
 *
 * Slot: m. Scalars: lr, λ, β₁, 1−β₁, β₂, 1−β₂. The sign of 0 and of NaN is 0; a NaN stays in m.
 */
export function lionKernel(params: DecayingParams): Kernel {
  const { weightDecay } = params;
  const body = [
    "let c = u.s2 * s0 + u.s3 * g;",
    ...weightDecay ? ["p *= u.s1;"] : [],
    "let one = vec4<f32>(1.0);",
    `p -= u.s0 * (select(${ZERO}, one, c > ${ZERO}) - select(${ZERO}, one, c < ${ZERO}));`,
    "s0 = u.s4 * s0 + u.s5 * g;",
  ];
  const reference: Reference = (gradients, [p, m], [lr, decay, beta1, rest1, beta2, rest2]) => {
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i];
      const c = beta1 * m[i] + rest1 * g;
      p[i] = (weightDecay ? decay * p[i] : p[i]) - lr * (c > 0 ? 1 : c < 0 ? -1 : 0);
      m[i] = beta2 * m[i] + rest2 * g;
    }
  };
  return updateKernel({ rule: "lion", params, slots: 1, scalars: 6, body, reference });
}
