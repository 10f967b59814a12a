/** Optimizer updates in place over a range of flat arenas, four elements per thread. */

import { type DType, intern, type Kernel, type ScalarType } from "./types.ts";
import { type Binding, grid, perThread, shader } from "./wgsl.ts";

/** The range that an update covers, and what it does beside its rule. */
export interface UpdateRange {
  /** Elements, a multiple of 4. */
  readonly count: number;
  /** Type of parameters and gradients; slots are always f32. */
  readonly dtype: DType;
  /** A verdict is bound, whose factor every gradient is multiplied by. */
  readonly scaled?: boolean;
  /**
   * Where the verdict refuses the step, nothing changes but the counts of skipped steps; the number
   * of the step is what the host counts less these. Needs `scaled`.
   */
  readonly counted?: boolean;
  /** A moving average of the parameters is kept; "warming" takes shorter averages at first. */
  readonly averaged?: "constant" | "warming";
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

/** `t` is the number of the step, from 1 on, in counted updates. */
export type Reference = (
  gradients: Float64Array,
  outputs: readonly Float64Array[],
  scalars: readonly number[],
  t: number,
  extras: readonly Float64Array[],
) => void;

/** The rule of an update: what it binds, and its formulas. */
export interface Update {
  readonly rule: string;
  readonly params: UpdateRange;
  readonly slots: number;
  readonly scalars: number;
  /** What it reads beside the gradients, under these names. @default {[]} */
  readonly extras?: readonly Binding[];
  /** Whether it reads the gradients. @default {true} */
  readonly gradients?: boolean;
  /**
   * Statements on the vec4 variables `g`, `p`, `s0`, `s1` …, and the number of the step `t` in
   * counted updates; scalars are `u.s0`, `u.s1` …, and `i` is the number of the vec4.
   */
  readonly body: readonly string[];
  readonly reference: Reference;
}

/** Places of the scalars that follow those of the rule. */
interface ScalarPlaces {
  readonly share: number;
  readonly steps: number;
  readonly first: number;
  readonly members: number;
}

function placesOf({ params, scalars }: Update): ScalarPlaces {
  const next = scalars + (params.averaged ? 1 : 0);
  return { share: scalars, steps: next, first: next + 1, members: next + 2 };
}

/**
 * The kernel of an update.
 *
 * Inputs: gradients, what the rule reads beside them, the verdict where scaled. Outputs, all read and written: parameters, slots,
 * the average where there is one, counts of skipped steps by parameter (i32) where counted.
 *
 * Scalars after those of the rule: the share of the average that each step renews; where counted,
 * the steps that the host counts (i32), the first parameter of the range, and their number.
 */
export function updateKernel(update: Update): Kernel {
  const { rule, params, slots, scalars } = update;
  const { dtype, scaled, counted, averaged } = params;
  if (counted && !scaled) throw new Error("internal: a counted update without a verdict");
  const key = `optimizer|${rule}|${JSON.stringify(params)}`;
  const types: ScalarType[] = new Array<ScalarType>(scalars + (averaged ? 1 : 0)).fill("f32");
  if (counted) types.push("i32", "u32", "u32");
  const floats = new Array<DType>(slots + (averaged ? 1 : 0)).fill("f32");
  return intern(key, () => ({
    op: "optimizer",
    key,
    params,
    inputs: inputsOf(update).map((input) => input.dtype),
    outputs: [dtype, ...floats, ...counted ? ["i32" as const] : []],
    scalars: types,
    wgsl: (traits) => ({
      code: updateCode(update, types),
      groups: grid(params.count / 4, traits),
    }),
    reference: (inputs, outputs, values) => updateReference(update, inputs, outputs, values),
  }));
}

function inputsOf({ params, extras = [], gradients = true }: Update): Binding[] {
  return [
    ...gradients ? [{ name: "gradients", dtype: params.dtype, width: 4 } as const] : [],
    ...extras,
    ...params.scaled ? [{ name: "verdict", dtype: "f32" } as const] : [],
  ];
}

function updateCode(update: Update, types: readonly ScalarType[]): string {
  const { params: { dtype, count, scaled, counted, averaged }, slots, body } = update;
  const { gradients = true } = update;
  const names = Array.from({ length: slots }, (_, k) => `s${k}`);
  if (averaged) names.push("average");
  const outputs: Binding[] = [
    { name: "parameters", dtype, width: 4 },
    ...names.map((name): Binding => ({ name: `${name}s`, dtype: "f32", width: 4 })),
  ];
  if (counted) outputs.push({ name: "skips", dtype: "i32" });
  const text = [
    ...counted ? countedCode(update) : [],
    // Apart from the rule, so that the product rounds as where gradients are clipped in memory.
    ...gradients
      ? [
        `  var g = ${
          scaled ? "apart4(vec4<f32>(gradients[i]) * verdict[1])" : "vec4<f32>(gradients[i])"
        };`,
      ]
      : [],
    "  var p = vec4<f32>(parameters[i]);",
    ...names.map((name) => `  var ${name} = ${name}s[i];`),
    ...body.map((line) => `  ${line}`),
    ...averaged ? averageCode(update) : [],
    `  parameters[i] = vec4<${dtype}>(p);`,
    ...names.map((name) => `  ${name}s[i] = ${name};`),
  ].join("\n");
  return shader(inputsOf(update), outputs, types, perThread(count / 4, text));
}

/** Either every thread only counts, or every thread only reads the counts. */
function countedCode(update: Update): string[] {
  const { steps, first, members } = placesOf(update);
  return [
    "  if (verdict[2] == 0.0) {",
    `    for (var k = i; k < u.s${members}; k += ${update.params.count / 4}u) {`,
    `      skips[u.s${first} + k] += 1;`,
    "    }",
    "    return;",
    "  }",
    `  let t = f32(u.s${steps} - skips[u.s${first}]);`,
  ];
}

function averageCode(update: Update): string[] {
  const { counted, averaged } = update.params;
  const share = `u.s${placesOf(update).share}`;
  // Without counts the host knows the step, and gives the share of this step.
  const now = counted && averaged === "warming" ? `max(${share}, 9.0 / (10.0 + t))` : share;
  return [`  average += ${now} * (p - average);`];
}

function updateReference(
  update: Update,
  inputs: readonly Float64Array[],
  outputs: readonly Float64Array[],
  scalars: readonly number[],
): void {
  const { params: { count, scaled, counted, averaged }, slots } = update;
  const places = placesOf(update);
  const verdict = inputs[inputs.length - 1];
  let t = NaN;
  if (counted) {
    const skips = outputs[outputs.length - 1];
    const first = scalars[places.first];
    if (verdict[2] === 0) {
      for (let k = 0; k < scalars[places.members]; k++) skips[first + k]++;
      return;
    }
    t = scalars[places.steps] - skips[first];
  }
  const own = update.gradients ?? true ? 1 : 0;
  const raw = own === 1 ? inputs[0] : new Float64Array(0);
  const gradients = scaled ? raw.map((g) => g * verdict[1]) : raw;
  update.reference(gradients, outputs.slice(0, 1 + slots), scalars, t, inputs.slice(own));
  if (!averaged) return;
  const [p, average] = [outputs[0], outputs[1 + slots]];
  const warming = counted && averaged === "warming";
  const share = Math.max(scalars[places.share], warming ? 9 / (10 + t) : 0);
  for (let i = 0; i < count; i++) average[i] += share * (p[i] - average[i]);
}

/**
 * Stochastic gradient descent: `g ← g + λp`, `b ← keep·b + take·g`, `p ← p − lr·b`, with nesterov
 * `p ← p − lr·(g + μb)`.
 *
 * Slot: b, where there is momentum. Scalars: lr, λ, keep, take, μ; the first step of a parameter
 * has keep 0 and take 1, which a counted update sees to by itself.
 */
export function sgdKernel(params: SgdParams): Kernel {
  const { weightDecay, momentum, nesterov, counted } = params;
  const body: string[] = [];
  if (weightDecay) body.push("g += u.s1 * p;");
  const change = "u.s2 * s0 + u.s3 * g";
  if (momentum) body.push(counted ? `s0 = select(${change}, g, t == 1.0);` : `s0 = ${change};`);
  if (momentum) body.push(nesterov ? "g += u.s4 * s0;" : "g = s0;");
  body.push("p -= u.s0 * g;");
  const slots = momentum ? 1 : 0;
  const reference: Reference = (gradients, [p, b], [lr, lambda, keep, take, mu], t) => {
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (weightDecay ? lambda * p[i] : 0);
      if (momentum) b[i] = t === 1 ? g : keep * b[i] + take * g;
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
 * Slots: m, v. Scalars: a, r, ε, β₁, 1−β₁, β₂, 1−β₂, λ. A counted update takes lr in place of a, and
 * two more, log β₁ and log β₂, by which `1 − βᵗ = −expm1(t log β)` keeps its digits. An element with
 * `m = 0` stays, also where ε is 0.
 */
export function adamKernel(params: AdamParams): Kernel {
  const { decay, counted } = params;
  const body = counted
    ? [
      "let rate = u.s0 / -precise_expm1(t * u.s8);",
      "let root = 1.0 / sqrt(-precise_expm1(t * u.s9));",
    ]
    : ["let rate = u.s0;", "let root = u.s1;"];
  if (decay === "coupled") body.push("g += u.s7 * p;");
  if (decay === "decoupled") body.push("p *= u.s7;");
  body.push(
    "s0 = u.s3 * s0 + u.s4 * g;",
    "s1 = u.s5 * s1 + u.s6 * g * g;",
    "let change = rate * s0 / (sqrt(s1) * root + u.s2);",
    "p -= select(change, vec4<f32>(0.0), s0 == vec4<f32>(0.0));",
  );
  const reference: Reference = (gradients, [p, m, v], scalars, t) => {
    const [, , eps, beta1, rest1, beta2, rest2, lambda, log1, log2] = scalars;
    const a = counted ? scalars[0] / -Math.expm1(t * log1) : scalars[0];
    const r = counted ? 1 / Math.sqrt(-Math.expm1(t * log2)) : scalars[1];
    for (let i = 0; i < params.count; i++) {
      const g = gradients[i] + (decay === "coupled" ? lambda * p[i] : 0);
      if (decay === "decoupled") p[i] *= lambda;
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      if (m[i] !== 0) p[i] -= a * m[i] / (Math.sqrt(v[i]) * r + eps);
    }
  };
  const scalars = counted ? 10 : 8;
  return updateKernel({ rule: "adam", params, slots: 2, scalars, body, reference });
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
      `spread = keep_nan4(spread, max(spread, ${zero}));`,
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
