/**
 * Rows brought to mean 0 and variance 1, scaled and shifted, in one kernel; and the gradient of the
 * rows in another. What layer and group normalisation share.
 */

import { operandKey, type StridedOperand } from "./map.ts";
import { type RowOperand, type RowShape, RowWalk } from "./row_walk.ts";
import { teamFold, teamProgram, type Teams, teamsFor } from "./teams.ts";
import { type DeviceTraits, intern, type Kernel, sizeOf, type WgslProgram } from "./types.ts";
import { addressesOf, type Binding, shader } from "./wgsl.ts";

/** Times that a kernel goes through a row at most. */
export const ROW_NORM_PASSES = 3;

/** What both kernels are told. */
interface RowStatistics extends RowShape {
  /**
   * Whether the mean is subtracted; otherwise it counts as 0, and rows are brought to a mean square
   * of 1.
   */
  readonly centered: boolean;
}

/** Parameters of the normalisation; strides over `[...outer, ...reduced]`. */
export interface RowNormParams extends RowStatistics {
  readonly x: StridedOperand;
  /** What the rows are multiplied with, or null. */
  readonly scale: StridedOperand | null;
  /** What is added, or null. */
  readonly shift: StridedOperand | null;
  readonly y: StridedOperand;
}

/** Parameters of the gradient of the rows; strides over `[...outer, ...reduced]`. */
export interface RowNormGradientParams extends RowStatistics {
  readonly g: StridedOperand;
  readonly x: StridedOperand;
  readonly scale: StridedOperand | null;
  readonly dx: StridedOperand;
}

function named(operands: Readonly<Record<string, StridedOperand | null>>): RowOperand[] {
  return Object.entries(operands).flatMap(([name, o]) => o === null ? [] : [{ name, ...o }]);
}

function keyOf(
  family: string,
  { centered, outer, reduced }: RowStatistics,
  operands: readonly RowOperand[],
): string {
  return `${family}|${centered}|${outer}|${reduced}|${
    operands.map((o) => `${o.name}:${operandKey(o)}`).join(";")
  }`;
}

/**
 * `(x − mean) / √(variance + eps) · scale + shift` of every row, with the biased variance; without
 * `centered` the mean is 0, and the variance the mean square.
 *
 * Inputs: x, scale and shift where there are. Outputs: y, then the mean and `1 / √(variance + eps)`
 * of each row in row-major order. Scalar: eps.
 */
export function rowNormKernel(params: RowNormParams): Kernel {
  const { x, scale, shift, y } = params;
  const operands = named({ x, scale, shift, y });
  const read = operands.slice(0, -1);
  const key = keyOf("row norm", params, operands);
  return intern(key, () => ({
    op: "rowNorm",
    key,
    params,
    inputs: read.map((o) => o.dtype),
    outputs: [y.dtype, "f32", "f32"],
    scalars: ["f32"],
    wgsl: (traits) => forwardProgram(params, operands, traits),
    reference: (ins, outs, [eps]) => forwardReference(params, ins, outs, eps),
  }));
}

/** Of the values of a row. */
function sum4(name: string): string {
  return `((${name}.x + ${name}.y) + (${name}.z + ${name}.w))`;
}

function statistic(name: string): Binding {
  return { name, dtype: "f32" };
}

function pairFold(teams: Teams): string {
  return teamFold("team_sum", "vec2<f32>", teams, (a, b) => `${a} + ${b}`);
}

function forwardProgram(
  params: RowNormParams,
  operands: readonly RowOperand[],
  traits: DeviceTraits,
): WgslProgram {
  const teams = teamsFor(sizeOf(params.reduced), traits);
  const walk = new RowWalk(params, operands, teams, ["x"]);
  const body = [
    walk.head(),
    params.centered
      ? momentsText(walk, sizeOf(params.reduced), teams)
      : squaresText(walk, sizeOf(params.reduced)),
    `  ${teams.lanes > 1 ? "if (live) " : ""}{`,
    walk.each((u) => {
      const y = `(${u.load("x")} - mean) * rstd`;
      const scaled = params.scale ? `(${y}) * ${u.load("scale")}` : y;
      return u.store("y", params.shift ? `${scaled} + ${u.load("shift")}` : scaled);
    }),
    teams.lanes > 1 ? "  if (l == 0u) {" : "  {",
    "    means[i] = mean;",
    "    rstds[i] = rstd;",
    "  }\n  }",
  ].join("\n");
  const { text, groups } = teamProgram(sizeOf(params.outer), teams, body, traits);
  const names = operands.map((o) => o.name);
  const code = shader(
    walk.bindings(names.filter((name) => name !== "y")),
    [...walk.bindings(["y"]), statistic("means"), statistic("rstds")],
    ["f32"],
    `${pairFold(teams)}\n${text}`,
  );
  return { code, groups };
}

/**
 * Leaves mean and 1/√(variance + eps) of the row in `mean` and `rstd`. Differences are taken from
 * the first element; where that lies far off, or lanes must keep step, again from the mean.
 */
function momentsText(walk: RowWalk, length: number, { lanes }: Teams): string {
  const masked = (mask: string | null, text: string) =>
    mask === null ? text : `(${text}) * ${mask}`;
  const again = `{
  s = vec4<f32>();
  q = vec4<f32>();
${
    walk.each((u) =>
      `    let d = ${masked(u.mask, `${u.load("x")} - mean`)};\n    s += d;\n    q += d * d;`
    )
  }
  let rest = team_sum(lane, vec2<f32>(${sum4("s")}, ${sum4("q")}));
  let off = rest.x / ${length}.0;
  mean += off;
  m2 = rest.y - rest.x * off;
  }`;
  return `  let k = ${walk.first("x")};
  var s = vec4<f32>();
  var q = vec4<f32>();
${
    walk.each((u) =>
      `    let d = ${masked(u.mask, `${u.load("x")} - k`)};\n    s += d;\n    q += d * d;`
    )
  }
  let sums = team_sum(lane, vec2<f32>(${sum4("s")}, ${sum4("q")}));
  let away = sums.x / ${length}.0;
  var mean = k + away;
  var m2 = sums.y - sums.x * away;
  ${lanes > 1 ? "" : "if (m2 < 0.0625 * sums.y) "}${again}
  let rstd = inverseSqrt(m2 / ${length}.0 + u.s0);`;
}

/** The same for rows whose mean counts as 0. */
function squaresText(walk: RowWalk, length: number): string {
  return `  let mean = 0.0;
  var q = vec4<f32>();
${walk.each((u) => `    let d = ${u.load("x")};\n    q += d * d;`)}
  let m2 = team_sum(lane, vec2<f32>(${sum4("q")}, 0.0)).x;
  let rstd = inverseSqrt(m2 / ${length}.0 + u.s0);`;
}

/**
 * `rstd · (h − mean(h) − x̂ · mean(h·x̂))` with `h = g · scale` of every row; without
 * `centered` mean(h) does not count.
 *
 * Inputs: g, x, scale where there is one, then the mean and rstd of each row. Output: the gradient
 * of x.
 */
export function rowNormGradientKernel(params: RowNormGradientParams): Kernel {
  const { g, x, scale, dx } = params;
  const operands = named({ g, x, scale, dx });
  const read = operands.slice(0, -1);
  const key = keyOf("row norm gradient", params, operands);
  return intern(key, () => ({
    op: "rowNormGradient",
    key,
    params,
    inputs: [...read.map((o) => o.dtype), "f32", "f32"],
    outputs: [dx.dtype],
    scalars: [],
    wgsl: (traits) => gradientProgram(params, operands, traits),
    reference: (ins, outs) => gradientReference(params, ins, outs[0]),
  }));
}

function gradientProgram(
  params: RowNormGradientParams,
  operands: readonly RowOperand[],
  traits: DeviceTraits,
): WgslProgram {
  const length = sizeOf(params.reduced);
  const teams = teamsFor(length, traits);
  const walk = new RowWalk(params, operands, teams, ["g", "x"]);
  // Behind the end of a row g counts as 0, and adds nothing.
  const values = (u: { load(name: string): string }) =>
    `    let h = ${u.load("g")}${params.scale ? ` * ${u.load("scale")}` : ""};
    let standard = (${u.load("x")} - mean) * rstd;`;
  const change = params.centered ? "h - sums.x - standard * sums.y" : "h - standard * sums.y";
  const body = [
    walk.head(),
    "  let mean = means[i];",
    "  let rstd = rstds[i];",
    "  var s = vec4<f32>();",
    "  var q = vec4<f32>();",
    walk.each((u) => `${values(u)}\n    s += h;\n    q += h * standard;`),
    `  let sums = team_sum(lane, vec2<f32>(${sum4("s")}, ${sum4("q")})) / ${length}.0;`,
    `  ${teams.lanes > 1 ? "if (live) " : ""}{`,
    walk.each((u) => `${values(u)}\n${u.store("dx", `(${change}) * rstd`)}`),
    "  }",
  ].join("\n");
  const { text, groups } = teamProgram(sizeOf(params.outer), teams, body, traits);
  const names = operands.map((o) => o.name);
  const code = shader(
    [
      ...walk.bindings(names.filter((name) => name !== "dx")),
      statistic("means"),
      statistic("rstds"),
    ],
    walk.bindings(["dx"]),
    [],
    `${pairFold(teams)}\n${text}`,
  );
  return { code, groups };
}

/** Addresses of the elements of rows in an operand: row `i`, element `k`. */
function addresses(
  { outer, reduced }: RowShape,
  o: StridedOperand,
): (i: number, k: number) => number {
  const starts = addressesOf(outer, o.strides.slice(0, outer.length), o.offset);
  const steps = addressesOf(reduced, o.strides.slice(outer.length), 0);
  return (i, k) => starts[i] + steps[k];
}

function forwardReference(
  params: RowNormParams,
  [x, ...affine]: readonly Float64Array[],
  [y, means, rstds]: readonly Float64Array[],
  eps: number,
): void {
  const length = sizeOf(params.reduced);
  const [from, to] = [addresses(params, params.x), addresses(params, params.y)];
  const part = (o: StridedOperand | null, values: Float64Array, otherwise: number) => {
    if (o === null) return () => otherwise;
    const at = addresses(params, o);
    return (i: number, k: number) => values[at(i, k)];
  };
  const scale = part(params.scale, affine[0], 1);
  const shift = part(params.shift, affine.at(-1)!, 0);
  for (let i = 0; i < sizeOf(params.outer); i++) {
    const row = Float64Array.from({ length }, (_, k) => x[from(i, k)]);
    const mean = params.centered ? row.reduce((sum, v) => sum + v, 0) / length : 0;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / length;
    const rstd = 1 / Math.sqrt(variance + eps);
    row.forEach((v, k) => y[to(i, k)] = (v - mean) * rstd * scale(i, k) + shift(i, k));
    [means[i], rstds[i]] = [mean, rstd];
  }
}

function gradientReference(
  params: RowNormGradientParams,
  inputs: readonly Float64Array[],
  out: Float64Array,
): void {
  const [g, x] = inputs;
  const [means, rstds] = inputs.slice(-2);
  const length = sizeOf(params.reduced);
  const { scale } = params;
  const [ofG, ofX, to] = [params.g, params.x, params.dx].map((o) => addresses(params, o));
  const ofScale = scale && addresses(params, scale);
  for (let i = 0; i < sizeOf(params.outer); i++) {
    const h = Float64Array.from(
      { length },
      (_, k) => g[ofG(i, k)] * (ofScale ? inputs[2][ofScale(i, k)] : 1),
    );
    const standard = h.map((_, k) => (x[ofX(i, k)] - means[i]) * rstds[i]);
    const s = params.centered ? h.reduce((sum, v) => sum + v, 0) / length : 0;
    const q = h.reduce((sum, v, k) => sum + v * standard[k], 0) / length;
    h.forEach((v, k) => out[to(i, k)] = (v - s - standard[k] * q) * rstds[i]);
  }
}
