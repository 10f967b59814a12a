/** The matrix that leads from a place of the result to one of the image. */

import { float, roundEven } from "./text.ts";

/** A move, turn, change of size and shear of each image. */
export interface AffineSpec {
  readonly kind: "affine";
  /** First of 7 columns: flag, angle, shifts along x and y, scale, shears along x and y; degrees. */
  readonly column: number;
}

/** Statements that set `r0` to `r5`, from `angle`, `tx`, `ty`, `size`, `shx`, `shy`, `cx`, `cy`. */
export const inverseMatrix = `  let turn = angle * 0.017453292;
  let lean = turn - shy * 0.017453292;
  let cos_y = precise_cos(shy * 0.017453292);
  let tan_x = precise_tan(shx * 0.017453292);
  let ma = precise_cos(lean) / cos_y;
  let mb = -(precise_cos(lean) / cos_y) * tan_x - precise_sin(turn);
  let mc = precise_sin(lean) / cos_y;
  let md = -(precise_sin(lean) / cos_y) * tan_x + precise_cos(turn);
  r0 = md / size;
  r1 = -mb / size;
  r3 = -mc / size;
  r4 = ma / size;
  r2 = r0 * (-cx - tx) + r1 * (-cy - ty) + cx;
  r5 = r3 * (-cx - tx) + r4 * (-cy - ty) + cy;`;

/** What a matrix is made of; degrees and pixels. */
export interface AffineNumbers {
  readonly angle: number;
  readonly tx: number;
  readonly ty: number;
  readonly size: number;
  readonly shx: number;
  readonly shy: number;
  readonly cx: number;
  readonly cy: number;
}

/** Nothing moves. */
export const still: AffineNumbers = {
  angle: 0,
  tx: 0,
  ty: 0,
  size: 1,
  shx: 0,
  shy: 0,
  cx: 0,
  cy: 0,
};

/** The inverse of: shear, scale and turn round the centre, then shift; two rows of three. */
export function inverseOf({ angle, tx, ty, size, shx, shy, cx, cy }: AffineNumbers): number[] {
  const radian = Math.PI / 180;
  const [turn, sx, sy] = [angle * radian, shx * radian, shy * radian];
  const a = Math.cos(turn - sy) / Math.cos(sy);
  const b = -a * Math.tan(sx) - Math.sin(turn);
  const c = Math.sin(turn - sy) / Math.cos(sy);
  const d = -c * Math.tan(sx) + Math.cos(turn);
  const [m0, m1, m3, m4] = [d / size, -b / size, -c / size, a / size];
  return [
    m0,
    m1,
    m0 * (-cx - tx) + m1 * (-cy - ty) + cx,
    m3,
    m4,
    m3 * (-cx - tx) + m4 * (-cy - ty) + cy,
  ];
}

/** Statements for the matrix of an image. */
export function affineText({ column }: AffineSpec, at: (column: number) => string): string {
  const drawn = (k: number, still: number) =>
    `select(${float(still)}, ${at(column + k)}, ${at(column)} > 0.5)`;
  return `  let angle = ${drawn(1, 0)};
  let tx = round(${drawn(2, 0)});
  let ty = round(${drawn(3, 0)});
  let size = ${drawn(4, 1)};
  let shx = ${drawn(5, 0)};
  let shy = ${drawn(6, 0)};
  let cx = 0.0;
  let cy = 0.0;
${inverseMatrix}`;
}

/** The same in double precision. */
export function affineRows({ column }: AffineSpec, at: (column: number) => number): number[] {
  if (at(column) < 0.5) return [...inverseOf(still), 0, 0];
  const [angle, tx, ty, size, shx, shy] = [1, 2, 3, 4, 5, 6].map((k) => at(column + k));
  const numbers = { ...still, angle, tx: roundEven(tx), ty: roundEven(ty), size, shx, shy };
  return [...inverseOf(numbers), 0, 0];
}
