/**
 * Updates that need norms of whole parameters, LAMB and Muon: directions, norms in a fixed order,
 * and the change itself.
 */

import { type Reference, updateKernel, type UpdateRange } from "./optimizer.ts";
import { type DType, intern, type Kernel, type ScalarType } from "./types.ts";
import { type Binding, grid, perThread, shader } from "./wgsl.ts";

/** Elements of a block; every parameter takes whole ones. */
const BLOCK = 64;
const LANES = 64;

/** What LAMB's direction has to do. */
export interface LambDirectionParams {
  /** Elements, a multiple of 4. */
  readonly count: number;
  readonly dtype: DType;
  readonly scaled: boolean;
  /** As in UpdateRange. */
  readonly counted: boolean;
  readonly weightDecay: boolean;
}

/**
 * LAMB's direction: `m ← β₁m + αg`, `v ← β₂v + (1−β₂)g²`, `d = a·m / (√v·r + ε) + λp`, where the
 * host gives `a = 1/(1 − β₁ᵗ)` and `r = 1/√(1 − β₂ᵗ)`, or 1.
 *
 * Inputs: gradients, parameters, the verdict where scaled, counts of skipped steps (i32) where
 * counted. Outputs: m, v (read and written), d. Scalars: a, r, ε, β₁, α, β₂, 1−β₂, λ; where counted,
 * log β₁ and log β₂ in place of a and r, then the steps of the host (i32) and the first parameter. A
 * step that the verdict refuses changes nothing. An element with `m = 0` has no first summand.
 */
export function lambDirectionKernel(params: LambDirectionParams): Kernel {
  const { count, dtype, scaled, counted } = params;
  const key = `optimizer|lamb direction|${JSON.stringify(params)}`;
  const scalars: ScalarType[] = new Array<ScalarType>(8).fill("f32");
  if (counted) scalars.push("i32", "u32");
  return intern(key, () => ({
    op: "optimizer",
    key,
    params,
    inputs: [dtype, dtype, ...scaled ? ["f32" as const] : [], ...counted ? ["i32" as const] : []],
    outputs: ["f32", "f32", "f32"],
    scalars,
    wgsl: (traits) => ({ code: lambCode(params, scalars), groups: grid(count / 4, traits) }),
    reference: (inputs, outputs, values) => lambReference(params, inputs, outputs, values),
  }));
}

function lambCode(params: LambDirectionParams, scalars: readonly ScalarType[]): string {
  const { count, dtype, scaled, counted, weightDecay } = params;
  const inputs: Binding[] = [
    { name: "gradients", dtype, width: 4 },
    { name: "parameters", dtype, width: 4 },
  ];
  if (scaled) inputs.push({ name: "verdict", dtype: "f32" });
  if (counted) inputs.push({ name: "skips", dtype: "i32" });
  const names = ["averages", "squares", "directions"];
  const outputs = names.map((name): Binding => ({ name, dtype: "f32", width: 4 }));
  const corrections = counted
    ? `  if (verdict[2] == 0.0) { return; }
  let t = f32(u.s8 - skips[u.s9]);
  let first = 1.0 / -precise_expm1(t * u.s0);
  let root = 1.0 / sqrt(-precise_expm1(t * u.s1));`
    : "  let first = u.s0;\n  let root = u.s1;";
  const body = `${corrections}
  let g = ${scaled ? "apart4(vec4<f32>(gradients[i]) * verdict[1])" : "vec4<f32>(gradients[i])"};
  let m = u.s3 * averages[i] + u.s4 * g;
  let v = u.s5 * squares[i] + u.s6 * g * g;
  let zero = vec4<f32>(0.0);
  let d = select(first * m / (sqrt(v) * root + u.s2), zero, m == zero);
  averages[i] = m;
  squares[i] = v;
  directions[i] = d${weightDecay ? " + u.s7 * vec4<f32>(parameters[i])" : ""};`;
  return shader(inputs, outputs, scalars, perThread(count / 4, body));
}

function lambReference(
  { count, scaled, counted, weightDecay }: LambDirectionParams,
  [gradients, parameters, verdict, skips]: readonly Float64Array[],
  [averages, squares, directions]: readonly Float64Array[],
  scalars: readonly number[],
): void {
  const [, , eps, beta1, share, beta2, rest, lambda, steps, at] = scalars;
  if (counted && verdict[2] === 0) return;
  const t = counted ? steps - skips[at] : NaN;
  const first = counted ? 1 / -Math.expm1(t * scalars[0]) : scalars[0];
  const root = counted ? 1 / Math.sqrt(-Math.expm1(t * scalars[1])) : scalars[1];
  for (let i = 0; i < count; i++) {
    const g = gradients[i] * (scaled ? verdict[1] : 1);
    const m = averages[i] = beta1 * averages[i] + share * g;
    const v = squares[i] = beta2 * squares[i] + rest * g * g;
    const d = m === 0 ? 0 : first * m / (Math.sqrt(v) * root + eps);
    directions[i] = d + (weightDecay ? lambda * parameters[i] : 0);
  }
}

/**
 * Sums of squares of the blocks of 64 elements of one or two arrays: of block b at `b·n` and, of the
 * second array, at `b·n + 1`, for n arrays.
 *
 * Inputs: arrays of `count` elements, a multiple of 64. Output: `n·count/64` f32.
 */
export function blockSquaresKernel(count: number, dtypes: readonly DType[]): Kernel {
  const key = `optimizer|block squares|${count}|${dtypes}`;
  const blocks = count / BLOCK;
  return intern(key, () => ({
    op: "optimizer",
    key,
    params: { count, dtypes },
    inputs: dtypes,
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => ({ code: squaresCode(blocks, dtypes), groups: grid(blocks, traits) }),
    reference: (arrays, [sums]) => {
      arrays.forEach((values, n) => {
        for (let b = 0; b < blocks; b++) {
          let sum = 0;
          for (let i = b * BLOCK; i < (b + 1) * BLOCK; i++) sum += values[i] * values[i];
          sums[b * dtypes.length + n] = sum;
        }
      });
    },
  }));
}

function squaresCode(blocks: number, dtypes: readonly DType[]): string {
  const inputs = dtypes.map((dtype, n): Binding => ({ name: `x${n}`, dtype, width: 4 }));
  const sums = dtypes.map((_, n) =>
    `  var a${n} = vec4<f32>(0.0);
  for (var k = 0u; k < ${BLOCK / 4}u; k++) {
    let v = vec4<f32>(x${n}[i * ${BLOCK / 4}u + k]);
    a${n} += v * v;
  }
  sums[i * ${dtypes.length}u + ${n}u] = (a${n}.x + a${n}.y) + (a${n}.z + a${n}.w);`
  );
  const output = { name: "sums", dtype: "f32" } as const;
  return shader(inputs, [output], [], perThread(blocks, sums.join("\n")));
}

/** What is made of the norms of a parameter. */
export type NormFactor = "trust" | "clippedTrust" | "inverse";

/**
 * One factor for each parameter, written to all of its blocks: LAMB's ratio `‖p‖ / ‖d‖`, 1 where a
 * norm is 0, and at most 1 where clipped; or `1 / (‖d‖ + ε)`.
 *
 * Inputs: sums of blockSquaresKernel(), of p and d or of d alone; the first block of each parameter
 * of the arena and the end (u32). Output: a factor for each of `blocks` blocks of the range. Scalars:
 * the first parameter of the range, and ε. Sums run in an order that the size of the parameter
 * alone decides.
 */
export function normFactorKernel(kind: NormFactor, blocks: number, members: number): Kernel {
  const key = `optimizer|norm factor|${kind}|${blocks}|${members}`;
  return intern(key, () => ({
    op: "optimizer",
    key,
    params: { kind, blocks, members },
    inputs: ["f32", "u32"],
    outputs: ["f32"],
    scalars: ["u32", "f32"],
    wgsl: () => ({ code: factorCode(kind), groups: [members, 1, 1] }),
    reference: ([sums, starts], [factors], [first, eps]) => {
      const width = kind === "inverse" ? 1 : 2;
      for (let k = first; k < first + members; k++) {
        const [from, to] = [starts[k] - starts[first], starts[k + 1] - starts[first]];
        const totals = [0, 0];
        for (let b = from; b < to; b++) {
          for (let n = 0; n < width; n++) totals[n] += sums[b * width + n];
        }
        factors.fill(factorOf(kind, totals, eps), from, to);
      }
    },
  }));
}

function factorOf(kind: NormFactor, squares: readonly number[], eps: number): number {
  const [a, b] = squares.map(Math.sqrt);
  if (kind === "inverse") return 1 / (a + eps);
  const ratio = a > 0 && b > 0 ? a / b : 1;
  return kind === "trust" ? ratio : Math.min(ratio, 1);
}

function factorCode(kind: NormFactor): string {
  const one = kind === "inverse";
  const type = one ? "f32" : "vec2<f32>";
  const term = one ? "sums[b]" : "vec2<f32>(sums[2u * b], sums[2u * b + 1u])";
  const factor = one ? "1.0 / (sqrt(part[0]) + u.s1)" : `trust(sqrt(part[0].x), sqrt(part[0].y))`;
  const ratio = "select(1.0, a / b, a > 0.0 && b > 0.0)";
  const trust = `fn trust(a: f32, b: f32) -> f32 {
  return ${kind === "trust" ? ratio : `min(${ratio}, 1.0)`};
}
`;
  const text = `${one ? "" : trust}var<workgroup> part: array<${type}, ${LANES}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let start = starts[u.s0];
  let begin = starts[u.s0 + wg.x] - start;
  let end = starts[u.s0 + wg.x + 1u] - start;
  var a = ${type}(0.0);
  for (var b = begin + lane; b < end; b += ${LANES}u) { a += ${term}; }
  part[lane] = a;
  workgroupBarrier();
  for (var k = ${LANES / 2}u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] = part[lane] + part[lane + k]; }
    workgroupBarrier();
  }
  let factor = ${factor};
  for (var b = begin + lane; b < end; b += ${LANES}u) { factors[b] = factor; }
}`;
  const inputs = [{ name: "sums", dtype: "f32" }, { name: "starts", dtype: "u32" }] as const;
  return shader(inputs, [{ name: "factors", dtype: "f32" }], ["u32", "f32"], text);
}

/** What the change along directions has to do. */
export interface AlongParams extends UpdateRange {
  /** Whether each block has a factor of its own. */
  readonly factors: boolean;
  readonly weightDecay: boolean;
}

/**
 * `p ← λp − lr·f·d`, with a factor f for each block of 64 elements, or without.
 *
 * Read: d, f. Scalars: lr, `λ = 1 − lr·weightDecay`.
 */
export function alongKernel(params: AlongParams): Kernel {
  const { factors, weightDecay } = params;
  const rate = factors ? `u.s0 * factors[i / ${BLOCK / 4}u]` : "u.s0";
  const body = [...weightDecay ? ["p *= u.s1;"] : [], `p -= ${rate} * directions[i];`];
  const extras: Binding[] = [{ name: "directions", dtype: "f32", width: 4 }];
  if (factors) extras.push({ name: "factors", dtype: "f32" });
  const reference: Reference = (_, [p], [lr, decay], __, [d, f]) => {
    for (let i = 0; i < params.count; i++) {
      if (weightDecay) p[i] *= decay;
      p[i] -= (factors ? lr * f[Math.floor(i / BLOCK)] : lr) * d[i];
    }
  };
  const rule = { rule: "along", params, extras, gradients: false, slots: 0, scalars: 2 };
  return updateKernel({ ...rule, body, reference });
}

/** What Muon's momentum has to do. */
export interface MuonMomentumParams {
  /** Elements, a multiple of 4. */
  readonly count: number;
  readonly dtype: DType;
  readonly scaled: boolean;
  /** Whether a step that the verdict refuses changes nothing. */
  readonly counted: boolean;
  readonly nesterov: boolean;
}

/**
 * Muon's momentum: `b ← μb + (1−μ)g`, and the direction `μb + (1−μ)g` of the new b with nesterov, b
 * without.
 *
 * Inputs: gradients, the verdict where scaled. Outputs: b (read and written), the direction. Scalars:
 * μ, 1−μ.
 */
export function muonMomentumKernel(params: MuonMomentumParams): Kernel {
  const { count, dtype, scaled, counted, nesterov } = params;
  const key = `optimizer|muon momentum|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "optimizer",
    key,
    params,
    inputs: scaled ? [dtype, "f32"] : [dtype],
    outputs: ["f32", "f32"],
    scalars: ["f32", "f32"],
    wgsl: (traits) => ({ code: momentumCode(params), groups: grid(count / 4, traits) }),
    reference: ([gradients, verdict], [b, direction], [mu, rest]) => {
      if (counted && verdict[2] === 0) return;
      for (let i = 0; i < count; i++) {
        const g = gradients[i] * (scaled ? verdict[1] : 1);
        b[i] = mu * b[i] + rest * g;
        direction[i] = nesterov ? mu * b[i] + rest * g : b[i];
      }
    },
  }));
}

function momentumCode({ count, dtype, scaled, counted, nesterov }: MuonMomentumParams): string {
  const inputs: Binding[] = [{ name: "gradients", dtype, width: 4 }];
  if (scaled) inputs.push({ name: "verdict", dtype: "f32" });
  const names = ["momenta", "directions"];
  const outputs = names.map((name): Binding => ({ name, dtype: "f32", width: 4 }));
  const body = `${counted ? "  if (verdict[2] == 0.0) { return; }\n" : ""}\
  let g = ${scaled ? "apart4(vec4<f32>(gradients[i]) * verdict[1])" : "vec4<f32>(gradients[i])"};
  let b = u.s0 * momenta[i] + u.s1 * g;
  momenta[i] = b;
  directions[i] = ${nesterov ? "u.s0 * b + u.s1 * g" : "b"};`;
  return shader(inputs, outputs, ["f32", "f32"], perThread(count / 4, body));
}
