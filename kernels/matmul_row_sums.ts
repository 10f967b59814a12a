/**
 * Sums of the rows of a product's left operand, stored beside the product: the gradient of a bias beside that of its weight.
 *
 * Every row is summed in four interleaved parts, whatever the tile, so that all tiles give the same bits.
 */

import { type Axis, type MatrixOperand, quad } from "./matrix_loads.ts";
import type { Tile } from "./tiles.ts";
import { type Binding, u32 } from "./wgsl.ts";

/** Where the sums are stored. */
export const rowSumsBinding: Binding = { name: "rowSums", dtype: "f32", width: 1 };

/** Steps of the summed axis whose loads stand together. */
const UNROLLED = 16;

/** The left operand, as it is bound. */
export interface RowSums {
  readonly m: number;
  readonly k: number;
  readonly a: MatrixOperand;
  /** Along which axis its vec4 lie. */
  readonly axis: Axis;
}

/** Statements that sum the rows of a workgroup, shared out among its threads, where it is the first along the columns. */
export function storeRowSums(sums: RowSums, tile: Tile, across: string, down: string): string {
  const { m, axis } = sums;
  const { threads, number } = threadsOf(tile);
  const rows = tile.rows * tile.lanesY;
  const width = axis === "rows" ? 4 : 1;
  const first = `${down} * ${rows}u`;
  return `  if (${across} == 0u) {
    for (var r = ${number} * ${width}u; r < ${rows}u; r += ${threads * width}u) {
      let row = ${first} + r;
      if (row < ${m}u) {
${sumRows(sums)}
      }
    }
  }`;
}

/** Threads of a workgroup, and the text of the number of one. */
function threadsOf({ lanes, lanesX, lanesY, shares }: Tile): { threads: number; number: string } {
  if (lanes === "both") return { threads: lanesX * lanesY, number: `(lid.y * ${lanesX}u + lid.x)` };
  return { threads: lanesX * (shares ?? lanesY), number: "lid.x" };
}

/** One row, or four of them at once. */
function sumRows({ k, a, axis }: RowSums): string {
  const four = axis === "rows";
  const at = (step: string) => {
    const address = `base + ${step} * ${u32(a.columnStride)}`;
    return axis === null ? `a[${address}]` : `a[(${address}) / 4u]`;
  };
  // Parts are the components of one vec4, or a vec4 each where there are four rows.
  const add = (step: (n: number) => string, steps: number) => {
    const values = Array.from({ length: steps }, (_, n) => at(step(n)));
    if (four) return values.map((v, n) => `part${n % 4} += ${v};`);
    return Array.from(
      { length: steps / 4 },
      (_, q) =>
        axis === "depth"
          ? `part += ${values[4 * q]};`
          : `part += ${quad((n) => values[4 * q + n])};`,
    );
  };
  const whole = Math.floor(k / UNROLLED) * UNROLLED;
  const last = Math.floor(k / 4) * 4;
  const lines = [
    `let base = ${u32(a.offset)} + row * ${u32(a.rowStride)};`,
    ...(four
      ? [0, 1, 2, 3].map((n) => `var part${n} = vec4<f32>(0.0);`)
      : ["var part = vec4<f32>(0.0);"]),
  ];
  if (whole > 0) {
    lines.push(
      `for (var k = 0u; k < ${whole}u; k += ${UNROLLED}u) {`,
      ...add((n) => `(k + ${n}u)`, UNROLLED),
      "}",
    );
  }
  lines.push(...add((n) => `${whole + n}u`, last - whole));
  for (let step = last; step < k; step++) {
    lines.push(`part${four ? step % 4 : `.${"xyzw"[step % 4]}`} += ${at(`${step}u`)};`);
  }
  lines.push(
    ...(four
      ? [
        "let whole = (part0 + part1) + (part2 + part3);",
        ...[0, 1, 2, 3].map((n) => `rowSums[row + ${n}u] = whole.${"xyzw"[n]};`),
      ]
      : ["rowSums[row] = (part.x + part.y) + (part.z + part.w);"]),
  );
  return lines.map((line) => `        ${line}`).join("\n");
}
