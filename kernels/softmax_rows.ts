/** Softmax of rows, or its logarithm, in one kernel; and the gradient in another. */

import { operandKey, type StridedOperand } from "./map.ts";
import { type RowShape, RowWalk, type Unit } from "./row_walk.ts";
import { teamFold, teamProgram, type Teams, teamsFor } from "./teams.ts";
import {
  type DeviceTraits,
  type DType,
  intern,
  type Kernel,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { addressesOf, shader } from "./wgsl.ts";

/** Times that a kernel goes through a row at most. */
export const SOFTMAX_PASSES = 3;

/** Parameters of the softmax; strides over `[...outer, ...reduced]`. */
export interface SoftmaxParams extends RowShape {
  readonly log: boolean;
  readonly x: StridedOperand;
  readonly y: StridedOperand;
}

/** Parameters of the gradient; strides over `[...outer, ...reduced]`. */
export interface SoftmaxGradientParams extends RowShape {
  readonly log: boolean;
  readonly g: StridedOperand;
  /** The result of the softmax. */
  readonly y: StridedOperand;
  readonly dx: StridedOperand;
}

/**
 * `e^x / Σ e^x` of every row, or `x − log Σ e^x`; relative to the largest element, so that nothing
 * overflows. Input: x. Output: y.
 */
export function softmaxKernel(params: SoftmaxParams): Kernel {
  const { outer, reduced, log, x, y } = params;
  const key = `softmax|${log}|${outer}|${reduced}|${operandKey(x)}|${operandKey(y)}`;
  return intern(key, () => ({
    op: "softmax",
    key,
    params,
    inputs: [x.dtype],
    outputs: [y.dtype],
    scalars: [],
    wgsl: (traits) => forwardProgram(params, traits),
    reference: ([from], [to]) => forwardReference(params, from, to),
  }));
}

const EXP4 = `fn exp4(a: vec4<f32>) -> vec4<f32> {
  return vec4(precise_exp(a.x), precise_exp(a.y), precise_exp(a.z), precise_exp(a.w));
}`;

function sumFold(teams: Teams): string {
  return teamFold("team_sum", "f32", teams, (a, b) => `${a} + ${b}`);
}

/** Statements that sum a vec4 over the row into `total`. */
function totalText(walk: RowWalk, value: (unit: Unit) => string): string {
  return `  var s = vec4<f32>();
${walk.each((u) => `    s += ${value(u)};`)}
  let total = team_sum(lane, (s.x + s.y) + (s.z + s.w));`;
}

/** Statements that store a vec4 for each unit of the row. */
function storeText(
  walk: RowWalk,
  { lanes }: Teams,
  name: string,
  value: (unit: Unit) => string,
): string {
  return `  ${lanes > 1 ? "if (live) " : ""}{\n${walk.each((u) => u.store(name, value(u)))}\n  }`;
}

function forwardProgram(params: SoftmaxParams, traits: DeviceTraits): WgslProgram {
  const teams = teamsFor(sizeOf(params.reduced), traits);
  const operands = [{ name: "x", ...params.x }, { name: "y", ...params.y }];
  const walk = new RowWalk(params, operands, teams, ["x"]);
  const body = [
    walk.head(),
    "  var highest = vec4<f32>(-inf());",
    walk.each((u) => `    highest = max(highest, ${u.load("x", "-inf()")});`),
    "  let top = team_max(lane, max(max(highest.x, highest.y), max(highest.z, highest.w)));",
    // A row without a finite maximum is not shifted: nothing of it would be left.
    "  let shift = select(0.0, top, is_finite(top));",
    params.log ? logText(walk, teams) : quotientText(walk, teams, params.y.dtype),
  ].join("\n");
  const { text, groups } = teamProgram(sizeOf(params.outer), teams, body, traits);
  const max = teamFold("team_max", "f32", teams, (a, b) => `max(${a}, ${b})`);
  const code = shader(
    walk.bindings(["x"]),
    walk.bindings(["y"]),
    [],
    [EXP4, max, sumFold(teams), text].join("\n"),
  );
  return { code, groups };
}

/** The exponentials of a unit; those behind the end of the row are 0. */
function exponentials(u: Unit): string {
  return `exp4(${u.load("x", "-inf()")} - shift)`;
}

function logText(walk: RowWalk, teams: Teams): string {
  return [
    totalText(walk, exponentials),
    "  let below = precise_log(total);",
    storeText(walk, teams, "y", (u) => `(${u.load("x")} - shift) - below`),
  ].join("\n");
}

function quotientText(walk: RowWalk, teams: Teams, dtype: DType): string {
  const share = "  let share = select(nan(), 1.0 / total, total > 0.0);";
  // A lane alone is sooner done with reading its exponentials back than with taking them again.
  const kept = teams.lanes === 1 && !walk.isHeld && dtype === "f32";
  if (!kept) {
    const stores = storeText(walk, teams, "y", (u) => `${exponentials(u)} * share`);
    return [totalText(walk, exponentials), share, stores].join("\n");
  }
  return `  var s = vec4<f32>();
${walk.each((u) => `    let e = ${exponentials(u)};\n    s += e;\n${u.store("y", "e")}`)}
  let total = (s.x + s.y) + (s.z + s.w);
${share}
${storeText(walk, teams, "y", (u) => `${u.load("y")} * share`)}`;
}

/**
 * `y · (g − Σ g·y)` of every row, or `g − e^y · Σ g` for the logarithm. Inputs: g, y. Output: the
 * gradient of x.
 */
export function softmaxGradientKernel(params: SoftmaxGradientParams): Kernel {
  const { outer, reduced, log, g, y, dx } = params;
  const key = `softmax gradient|${log}|${outer}|${reduced}|${[g, y, dx].map(operandKey).join("|")}`;
  return intern(key, () => ({
    op: "softmaxGradient",
    key,
    params,
    inputs: [g.dtype, y.dtype],
    outputs: [dx.dtype],
    scalars: [],
    wgsl: (traits) => gradientProgram(params, traits),
    reference: (ins, [to]) => gradientReference(params, ins, to),
  }));
}

function gradientProgram(params: SoftmaxGradientParams, traits: DeviceTraits): WgslProgram {
  const { log, g, y, dx } = params;
  const teams = teamsFor(sizeOf(params.reduced), traits);
  const operands = [{ name: "g", ...g }, { name: "y", ...y }, { name: "dx", ...dx }];
  const walk = new RowWalk(params, operands, teams, ["g", "y"]);
  const body = [
    walk.head(),
    totalText(walk, (u) => log ? u.load("g") : `${u.load("g")} * ${u.load("y")}`),
    storeText(
      walk,
      teams,
      "dx",
      (u) =>
        log
          ? `${u.load("g")} - exp4(${u.load("y")}) * total`
          : `${u.load("y")} * (${u.load("g")} - total)`,
    ),
  ].join("\n");
  const { text, groups } = teamProgram(sizeOf(params.outer), teams, body, traits);
  const code = shader(
    walk.bindings(["g", "y"]),
    walk.bindings(["dx"]),
    [],
    [log ? EXP4 : "", sumFold(teams), text].join("\n"),
  );
  return { code, groups };
}

/** Where the elements of each row lie in an operand. */
function* rowsOf({ outer, reduced }: RowShape, operands: readonly StridedOperand[]) {
  const starts = operands.map((o) =>
    addressesOf(outer, o.strides.slice(0, outer.length), o.offset)
  );
  const steps = operands.map((o) => addressesOf(reduced, o.strides.slice(outer.length), 0));
  for (let i = 0; i < starts[0].length; i++) {
    yield steps.map((step, n) => step.map((s) => starts[n][i] + s));
  }
}

function forwardReference(params: SoftmaxParams, x: Float64Array, y: Float64Array): void {
  for (const [from, to] of rowsOf(params, [params.x, params.y])) {
    const values = Float64Array.from(from, (at) => x[at]);
    const top = Math.max(...values);
    const shift = Number.isFinite(top) ? top : 0;
    const total = values.reduce((sum, v) => sum + Math.exp(v - shift), 0);
    values.forEach((v, k) =>
      y[to[k]] = params.log ? v - shift - Math.log(total) : Math.exp(v - shift) / total
    );
  }
}

function gradientReference(
  params: SoftmaxGradientParams,
  [g, y]: readonly Float64Array[],
  dx: Float64Array,
): void {
  const { log } = params;
  for (const [ofG, ofY, to] of rowsOf(params, [params.g, params.y, params.dx])) {
    let total = 0;
    ofG.forEach((at, k) => total += g[at] * (log ? 1 : y[ofY[k]]));
    to.forEach((at, k) =>
      dx[at] = log ? g[ofG[k]] - Math.exp(y[ofY[k]]) * total : y[ofY[k]] * (g[ofG[k]] - total)
    );
  }
}
