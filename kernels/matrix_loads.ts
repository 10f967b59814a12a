/** How the operands of a product are read: as vec4 along whichever of their axes is dense. */

import type { Side } from "./gemm_shared.ts";
import { u32 } from "./wgsl.ts";

/** A matrix operand: steps from row to row and from column to column, and along the batch axes. */
export interface MatrixOperand {
  readonly rowStride: number;
  readonly columnStride: number;
  readonly batchStrides: readonly number[];
  /** First element, from the start of the bound range. */
  readonly offset: number;
}

/** Along which axis of an operand vec4 lie: its rows (or columns), the summed axis, or neither. */
export type Axis = "rows" | "depth" | null;

/** The axis of an operand along which four neighbours make an aligned vec4. */
export function vectorAxis(
  along: number,
  depth: number,
  alongSize: number,
  k: number,
  operand: MatrixOperand,
): Axis {
  const aligned = operand.offset % 4 === 0 && operand.batchStrides.every((s) => s % 4 === 0);
  if (!aligned) return null;
  if (depth === 1 && along % 4 === 0 && k % 4 === 0) return "depth";
  if (along === 1 && depth % 4 === 0 && alongSize % 4 === 0) return "rows";
  return null;
}

/** Addresses of some rows (or columns), held inside the matrix at its end. */
export function operandRows(
  name: string,
  count: number,
  prefix: string,
  first: string,
  size: number,
  stride: number,
  axis: Axis,
): string {
  const lines: string[] = [];
  if (axis === "rows") {
    for (let g = 0; g < count / 4; g++) {
      lines.push(`  let ${prefix}g${g} = ${name}Base + min(${first} + ${g * 4}u, ${size - 4}u);`);
    }
    return lines.join("\n");
  }
  for (let r = 0; r < count; r++) {
    const row = `min(${first} + ${r}u, ${size - 1}u)`;
    lines.push(`  let ${prefix}r${r} = ${name}Base + ${row} * ${u32(stride)};`);
  }
  return lines.join("\n");
}

/** Loads some steps of K for all rows (or columns) of the thread. */
export function loadSteps(
  name: string,
  count: number,
  steps: number,
  depthStride: number,
  axis: Axis,
): string {
  const lines: string[] = [];
  for (let r = 0; r < count; r++) lines.push(loadRow(name, r, steps, depthStride, axis));
  return lines.join("\n");
}

/**
 * Loads some steps of K for one row: `ax<row>` as vec4 along K, `av<group>_<step>` along rows, with the first of its four
 * rows, or `as<row>_<step>` one by one.
 */
export function loadRow(
  name: string,
  r: number,
  steps: number,
  depthStride: number,
  axis: Axis,
  prefix = name,
  k = "k",
): string {
  if (axis === "depth") return `    let ${prefix}x${r} = ${name}[(${prefix}r${r} + ${k}) / 4u];`;
  if (axis === "rows" && r % 4 !== 0) return "";
  const lines: string[] = [];
  for (let step = 0; step < steps; step++) {
    const at = `${step === 0 ? k : `(${k} + ${step}u)`} * ${u32(depthStride)}`;
    lines.push(
      axis === "rows"
        ? `    let ${prefix}v${r >> 2}_${step} = ${name}[(${prefix}g${r >> 2} + ${at}) / 4u];`
        : `    let ${prefix}s${r}_${step} = ${name}[${prefix}r${r} + ${at}];`,
    );
  }
  return lines.join("\n");
}

/** Text of what loadRow() has loaded for a row and step. */
export function loadedNumber(prefix: string, axis: Axis, r: number, step: number): string {
  if (axis === "depth") return `${prefix}x${r}.${"xyzw"[step]}`;
  if (axis === "rows") return `${prefix}v${r >> 2}_${step}.${"xyzw"[r & 3]}`;
  return `${prefix}s${r}_${step}`;
}

/** A matrix as blocks of four rows (or columns) by four steps. */
export function matrixSide(
  name: string,
  size: number,
  stride: number,
  depthStride: number,
  axis: Axis,
): Side {
  return {
    alongDepth: axis === "depth",
    setup: (prefix, first) => operandRows(name, 4, prefix, first, size, stride, axis),
    load: (prefix, k) => {
      const lines = [0, 1, 2, 3].map((r) => loadRow(name, r, 4, depthStride, axis, prefix, k));
      const values = [0, 1, 2, 3].map((s) =>
        axis === "rows" ? `${prefix}v0_${s}` : quad((r) => loadedNumber(prefix, axis, r, s))
      );
      return { lines: lines.join("\n"), values };
    },
  };
}

/** Text of a vec4 of four texts. */
export function quad(text: (i: number) => string): string {
  return `vec4(${[0, 1, 2, 3].map(text).join(", ")})`;
}
