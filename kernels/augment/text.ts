/** Pieces of text that the kernels of image augmentation share. */

import type { StridedOperand } from "../map.ts";
import { u32 } from "../wgsl.ts";

/** A number as an f32 literal. */
export function float(value: number): string {
  const text = String(Math.fround(value));
  const literal = /[.e]/.test(text) ? text : `${text}.0`;
  return value < 0 ? `(${literal})` : literal;
}

/** Text of element (n, column) of an operand over [N, columns]. */
export function cell(name: string, o: StridedOperand, column: number, n = "n"): string {
  return `${name}[${u32(o.offset + column * o.strides[1])} + ${n} * ${u32(o.strides[0])}]`;
}

/** Element (n, column) of an operand over [N, columns]. */
export function cellOf(data: Float64Array, o: StridedOperand, n: number, column: number): number {
  return data[o.offset + n * o.strides[0] + column * o.strides[1]];
}

/** Text of element (n, c, y, x) of images. */
export function pixel(o: StridedOperand, n: string, c: string, y: string, x: string): string {
  const terms = [n, c, y, x].map((index, d) => `${index} * ${u32(o.strides[d])}`);
  return `images[${u32(o.offset)} + ${terms.join(" + ")}]`;
}

/** Place of element (n, c, y, x) of images. */
export function pixelAt(o: StridedOperand, n: number, c: number, y: number, x: number): number {
  const [sn, sc, sy, sx] = o.strides;
  return o.offset + n * sn + c * sc + y * sy + x * sx;
}

/** `name(c)`: one of the numbers for each channel, or the same for all. */
export function perChannel(name: string, values: readonly number[]): string {
  const texts = values.map(float);
  const chain = texts.slice(0, -1).reduceRight(
    (rest, text, c) => `select(${rest}, ${text}, c == ${c}u)`,
    texts[texts.length - 1],
  );
  return `fn ${name}(c: u32) -> f32 { return ${chain}; }`;
}

/** The nearest whole number, of two the even one. */
export function roundEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}
