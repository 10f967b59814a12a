/** Optimizer updates in place over a range of flat arenas, four elements per thread. */

import { type DType, intern, type Kernel } from "./types.ts";
import { type Binding, grid, perThread, shader } from "./wgsl.ts";

/** The range that an update covers. */
export interface UpdateRange {
  /** Elements, a multiple of 4. */
  readonly count: number;
  /** Type of parameters and gradients; slots are always f32. */
  readonly dtype: DType;
}

/** What stochastic gradient descent has to do. */
export interface SgdParams extends UpdateRange {
  readonly weightDecay: boolean;
  readonly momentum: boolean;
  readonly nesterov: boolean;
}

/** What Adam has to do; `decay` says whether the weights decay by the gradient or by themselves. */
export interface AdamParams extends UpdateRange {
  readonly decay: "none" | "coupled" | "decoupled";
}

/** What RMSprop has to do. */
export interface RmspropParams extends UpdateRange {
  readonly weightDecay: boolean;
  readonly momentum: boolean;
  readonly centered: boolean;
}

type Reference = (
  gradients: Float64Array,
  outputs: readonly Float64Array[],
  scalars: readonly number[],
) => void;

interface Update {
  readonly rule: string;
  readonly params: UpdateRange;
  readonly slots: number;
  readonly scalars: number;
  /** Statements on the vec4 variables `g`, `p`, `s0`, `s1` …; scalars are `u.s0`, `u.s1` …. */
  readonly body: readonly string[];
  readonly reference: Reference;
}

/** Inputs: gradients; outputs, all read and written: parameters, then the slots. */
function updateKernel(update: Update): Kernel {
  const { rule, params, slots, scalars } = update;
  const key = `optimizer|${rule}|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "optimizer",
    key,
    params,
    inputs: [params.dtype],
    outputs: [params.dtype, ...new Array<DType>(slots).fill("f32")],
    scalars: new Array<"f32">(scalars).fill("f32"),
    wgsl: (traits) => ({
      code: updateCode(update),
      groups: grid(params.count / 4, traits),
    }),
    reference: (inputs, outputs, values) => update.reference(inputs[0], outputs, values),
  }));
}

function updateCode({ params, slots, scalars, body }: Update): string {
  const { dtype, count } = params;
  const names = Array.from({ length: slots }, (_, k) => `s${k}`);
  const bindings: Binding[] = [
    { name: "parameters", dtype, width: 4 },
    ...names.map((name): Binding => ({ name: `${name}s`, dtype: "f32", width: 4 })),
  ];
  const text = [
    "  var g = vec4<f32>(gradients[i]);",
    "  var p = vec4<f32>(parameters[i]);",
    ...names.map((name) => `  var ${name} = ${name}s[i];`),
    ...body.map((line) => `  ${line}`),
    `  parameters[i] = vec4<${dtype}>(p);`,
    ...names.map((name) => `  ${name}s[i] = ${name};`),
  ].join("\n");
  const types = new Array<"f32">(scalars).fill("f32");
  return shader(
    [{ name: "gradients", dtype, width: 4 }],
    bindings,
    types,
    perThread(count / 4, text),
  );
}

/**
 * Stochastic gradient descent: `g ← g + λp`, `b ← keep·b + take·g`, `p ← p − lr·b`, with nesterov
 * `p ← p − lr·(g + μb)`.
 *
 * Slot: b, where there is momentum. Scalars: lr, λ, keep, take, μ; the first step of a parameter
 * has keep 0 and take 1.
 */
export function sgdKernel(params: SgdParams): Kernel {
  const { weightDecay, momentum, nesterov } = params;
  const body: string[] = [];
  if (weightDecay) body.push("g += u.s1 * p;");
  if (momentum) body.push("s0 = u.s2 * s0 + u.s3 * g;");
  if (momentum) body.push(nesterov ? "g += u.s4 * s0;" : "g = s0;");
  body.push("p -= u.s0 * g;");
  const slots = momentum ? 1 : 0;
  const reference: Reference = (gradients, [p, b], [lr, lambda, keep, take, mu]) => {
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      if (momentum) b[i] = keep * b[i] + take * g;
      p[i] -= lr * (!momentum ? g : nesterov ? g + mu * b[i] : b[i]);
    }
  };
  return updateKernel({ rule: "sgd", params, slots, scalars: 5, body, reference });
}

/**
 * Adam: `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `p ← p − a·m / (√v·r + ε)`, where the host gives
 * `a = lr / (1 − β₁ᵗ)` and `r = 1/√(1 − β₂ᵗ)`. Coupled decay is `g ← g + λp`, decoupled decay
 * `p ← λp` with `λ = 1 − lr·weightDecay`.
 *
 * Slots: m, v. Scalars: a, r, ε, β₁, 1−β₁, β₂, 1−β₂, λ. An element with `m = 0` stays, also where ε
 * is 0.
 */
export function adamKernel(params: AdamParams): Kernel {
  const { decay } = params;
  const body: string[] = [];
  if (decay === "coupled") body.push("g += u.s7 * p;");
  if (decay === "decoupled") body.push("p *= u.s7;");
  body.push(
    "s0 = u.s3 * s0 + u.s4 * g;",
    "s1 = u.s5 * s1 + u.s6 * g * g;",
    "let change = u.s0 * s0 / (sqrt(s1) * u.s1 + u.s2);",
    "p -= select(change, vec4<f32>(0.0), s0 == vec4<f32>(0.0));",
  );
  const reference: Reference = (gradients, [p, m, v], scalars) => {
    const [a, r, eps, beta1, rest1, beta2, rest2, lambda] = scalars;
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (decay === "coupled" ? lambda * p[i] : 0);
      if (decay === "decoupled") p[i] *= lambda;
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      if (m[i] !== 0) p[i] -= a * m[i] / (Math.sqrt(v[i]) * r + eps);
    }
  };
  return updateKernel({ rule: "adam", params, slots: 2, scalars: 8, body, reference });
}

/**
 * RMSprop: `s ← αs + (1−α)g²`, `d = g / (√s + ε)`, `p ← p − lr·d`; centered, `m ← αm + (1−α)g` and
 * `d = g / (√(s − m²) + ε)`; with momentum, `b ← μb + d` and `p ← p − lr·b`.
 *
 * Slots: s, b where there is momentum, m where centered. Scalars: lr, λ, α, 1−α, ε, μ. An element
 * with `g = 0` has `d = 0`, also where ε is 0, and rounding below zero under the root counts as 0.
 */
export function rmspropKernel(params: RmspropParams): Kernel {
  const { weightDecay, momentum, centered } = params;
  const mean = momentum ? "s2" : "s1";
  const zero = "vec4<f32>(0.0)";
  const body: string[] = [];
  if (weightDecay) body.push("g += u.s1 * p;");
  body.push("s0 = u.s2 * s0 + u.s3 * g * g;", "var spread = s0;");
  if (centered) {
    body.push(
      `${mean} = u.s2 * ${mean} + u.s3 * g;`,
      `spread -= ${mean} * ${mean};`,
      `spread = select(spread, ${zero}, spread < ${zero});`,
    );
  }
  body.push(`let d = select(g / (sqrt(spread) + u.s4), ${zero}, g == ${zero});`);
  if (momentum) body.push("s1 = u.s5 * s1 + d;");
  body.push(`p -= u.s0 * ${momentum ? "s1" : "d"};`);
  const slots = 1 + Number(momentum) + Number(centered);
  const reference: Reference = (gradients, [p, s, ...rest], scalars) => {
    const [lr, lambda, alpha, share, eps, mu] = scalars;
    const b = momentum ? rest[0] : null;
    const m = centered ? rest[rest.length - 1] : null;
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      s[i] = alpha * s[i] + share * g * g;
      if (m) m[i] = alpha * m[i] + share * g;
      const root = Math.sqrt(m ? Math.max(s[i] - m[i] * m[i], 0) : s[i]);
      let change = g === 0 ? 0 : g / (root + eps);
      if (b) change = b[i] = mu * b[i] + change;
      p[i] -= lr * change;
    }
  };
  return updateKernel({ rule: "rmsprop", params, slots, scalars: 6, body, reference });
}
