/**
 * From drawn numbers to what happens to each image: a row of a matrix, of changes of colour, or of
 * a box. One thread for each image.
 */

import { operandKey, type StridedOperand } from "../map.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "../types.ts";
import { grid, perThread, shader } from "../wgsl.ts";
import { affineRows, type AffineSpec, affineText } from "./rows_affine.ts";
import { boxRows, boxText, type CutMixSpec, type CutoutSpec, type EraseSpec } from "./rows_box.ts";
import { cell, cellOf, float } from "./text.ts";
import { policyRows, type PolicySpec, policyText } from "./rows_policy.ts";

/** The order of four changes of colour from one number, and their factors. */
export interface JitterSpec {
  readonly kind: "jitter";
  /** First of 6 columns: flag, order of 24, four factors. */
  readonly column: number;
  /** Codes of the four changes; 0 for those that do not happen. */
  readonly codes: readonly number[];
}

/** One change for the images whose flag is set. */
export interface FixedSpec {
  readonly kind: "fixed";
  /** The column of the flag; the strength follows. */
  readonly column: number;
  readonly code: number;
}

/** What rows say. */
export type RowsSpec =
  | AffineSpec
  | PolicySpec
  | JitterSpec
  | FixedSpec
  | EraseSpec
  | CutoutSpec
  | CutMixSpec;

/** Numbers of a row. */
export const ROW = 8;

/** Rows f32 [count, 8] from draws [count, columns]. */
export function rowsKernel(count: number, spec: RowsSpec, draws: StridedOperand): Kernel {
  const key = `augment rows|${count}|${JSON.stringify(spec)}|${operandKey(draws)}`;
  return intern(key, () => ({
    op: "augment rows",
    key,
    params: spec,
    inputs: [draws.dtype],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(count, spec, draws, traits),
    reference: ([ins], [out]) => {
      for (let n = 0; n < count; n++) {
        const row = rowOf(spec, (column) => cellOf(ins, draws, n, column));
        row.forEach((value, j) => out[n * ROW + j] = value);
      }
    },
  }));
}

function program(
  count: number,
  spec: RowsSpec,
  draws: StridedOperand,
  traits: DeviceTraits,
): WgslProgram {
  const lines = [
    "  let n = i;",
    ...Array.from({ length: ROW }, (_, j) => `  var r${j} = 0.0;`),
    textOf(spec, (column) => cell("draws", draws, column)),
    ...Array.from({ length: ROW }, (_, j) => `  y[i * ${ROW}u + ${j}u] = r${j};`),
  ];
  const text = perThread(count, lines.join("\n"));
  return {
    code: shader(
      [{ name: "draws", dtype: draws.dtype }],
      [{ name: "y", dtype: "f32" }],
      [],
      text,
    ),
    groups: grid(count, traits),
  };
}

/** Statements that set `r0` to `r7`; `at(column)` is the text of a drawn number. */
function textOf(spec: RowsSpec, at: (column: number) => string): string {
  switch (spec.kind) {
    case "affine":
      return affineText(spec, at);
    case "policy":
      return policyText(spec, at);
    case "jitter":
      return jitterText(spec, at);
    case "fixed":
      return `  r0 = select(0.0, ${float(spec.code)}, ${at(spec.column)} > 0.5);
  r1 = ${at(spec.column + 1)};`;
    default:
      return boxText(spec, at);
  }
}

/** The same in double precision. */
function rowOf(spec: RowsSpec, at: (column: number) => number): readonly number[] {
  switch (spec.kind) {
    case "affine":
      return affineRows(spec, at);
    case "policy":
      return policyRows(spec, at);
    case "jitter":
      return jitterRow(spec, at);
    case "fixed":
      return [at(spec.column) > 0.5 ? spec.code : 0, at(spec.column + 1), 0, 0, 0, 0, 0, 0];
    default:
      return boxRows(spec, at);
  }
}

/** The order is the number's factorial digits: each names one of the changes that are left. */
function jitterText({ column, codes }: JitterSpec, at: (column: number) => string): string {
  const lines = ["  var left = 0x3210u;", `  var order = u32(${at(column + 1)});`];
  [6, 2, 1, 1].forEach((weight, slot) => {
    const pick = (values: readonly string[]) =>
      `select(select(${values[3]}, ${values[2]}, which${slot} == 2u), ` +
      `select(${values[1]}, ${values[0]}, which${slot} == 0u), which${slot} < 2u)`;
    lines.push(
      `  let shift${slot} = 4u * (order / ${weight}u);`,
      `  order = order % ${weight}u;`,
      `  let which${slot} = (left >> shift${slot}) & 15u;`,
      `  left = (left & ((1u << shift${slot}) - 1u)) | ` +
        `(((left >> shift${slot}) >> 4u) << shift${slot});`,
      `  r${2 * slot} = select(0.0, ${pick(codes.map(float))}, ${at(column)} > 0.5);`,
      `  r${2 * slot + 1} = ${pick([0, 1, 2, 3].map((k) => at(column + 2 + k)))};`,
    );
  });
  return lines.join("\n");
}

function jitterRow({ column, codes }: JitterSpec, at: (column: number) => number): number[] {
  const left = [0, 1, 2, 3];
  let order = at(column + 1);
  const row: number[] = [];
  for (const weight of [6, 2, 1, 1]) {
    const [which] = left.splice(Math.floor(order / weight), 1);
    order %= weight;
    row.push(at(column) > 0.5 ? codes[which] : 0, at(column + 2 + which));
  }
  return row;
}
