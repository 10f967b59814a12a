/** Inputs on which rows are tested, and the comparison with the reference. */

import type { Row } from "../../kernels/rows/row.ts";

/** Values at which elementwise functions go wrong. */
export const SPECIALS: readonly number[] = [
  ...[0, 1e-40, 1e-8, 1, 88.7, 1e4, 3e38, Infinity].flatMap((x) => [x, -x]),
  NaN,
].map(Math.fround);

/** Integers at which arithmetic wraps, changes its sign or has no result. */
export const INTEGERS: readonly number[] = [
  ...[0, 1, 2, 3, 5, 7, 12, 31, 255, 46341, 65536, 1e9, 2147483646, 2147483647],
  ...[-1, -2, -3, -7, -8, -100, -65537, -2147483647, -2147483648],
];

/** A number in [0, 1) that depends on the key alone. */
export function keyed(seed: number, index: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  for (let round = 0; round < 3; round++) {
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  }
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

/** How a column of arguments is drawn: the whole line, or where the function is defined. */
export type Domain = "line" | "moderate" | "positive" | "unit" | "above 1" | "above -1";

/** Domains of the arguments of rows that are not defined everywhere, or only of use in a part. */
const DOMAINS: Readonly<Record<string, readonly Domain[]>> = {
  log: ["positive"],
  log2: ["positive"],
  log10: ["positive"],
  log1p: ["above -1"],
  sqrt: ["positive"],
  rsqrt: ["positive"],
  asin: ["unit"],
  acos: ["unit"],
  atanh: ["unit"],
  acosh: ["above 1"],
  pow: ["positive", "moderate"],
  xlogy: ["line", "positive"],
  celu: ["line", "positive"],
  lerp: ["line", "line", "moderate"],
};

/** The n-th argument of a domain: uniform, tiny and large magnitudes in turn, as an f32. */
export function draw(domain: Domain, seed: number, n: number): number {
  const u = keyed(seed, 2 * n);
  const v = keyed(seed, 2 * n + 1);
  const sign = v < 0.5 ? -1 : 1;
  const tiny = 10 ** (-20 + 17 * u);
  const large = 10 ** (domain === "moderate" ? 2 * u : 4 * u);
  const value = n % 4 === 0 ? sign * tiny : n % 4 === 1 ? sign * large : 20 * u - 10;
  switch (domain) {
    case "line":
    case "moderate":
      return Math.fround(value);
    case "positive":
      return Math.fround(Math.abs(value));
    case "unit":
      return Math.fround(n % 4 === 0 ? value : n % 4 === 1 ? sign * (1 - tiny) : 2 * u - 1);
    case "above 1":
      return Math.fround(n % 4 === 0 ? 1 + 1e3 * tiny : 1 + Math.abs(value));
    case "above -1":
      return Math.fround(n % 4 === 0 ? value : n % 4 === 1 ? large : 2 * u - 1);
  }
}

/** The smallest normal f32. */
export const SMALLEST = 2 ** -126;
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/**
 * True where a result is one that the reference allows.
 *
 * @param wants results of the reference; of several, with subnormal inputs, all between will do
 * @param allowed distance allowed from a finite result
 */
export function agrees(
  got: number,
  wants: readonly number[],
  allowed: (want: number) => number,
): boolean {
  if (wants.some((want) => agreesWith(got, want, allowed))) return true;
  if (wants.length === 1 || !wants.every(Number.isFinite)) return false;
  const [low, high] = [Math.min(...wants), Math.max(...wants)];
  return got >= low - allowed(low) && got <= high + allowed(high);
}

function agreesWith(got: number, want: number, allowed: (want: number) => number): boolean {
  if (!Number.isFinite(want)) return Object.is(got, want);
  const bound = allowed(want);
  const size = Math.abs(want);
  if (size > LARGEST) return got * want > 0 && Math.abs(got) >= LARGEST - bound;
  if (size + bound > LARGEST && got === Math.sign(want) * Infinity) return true;
  if (size <= SMALLEST && Math.abs(got) <= SMALLEST) return true;
  return Math.abs(got - want) <= bound;
}

/** Allowed distance of a row at its arguments. */
export function allowedBy(row: Row, args: readonly number[]): (want: number) => number {
  const { rel, abs } = row.tolerance;
  return (want) => abs + rel * (row.scale?.(args[0], args[1], args[2]) ?? Math.abs(want));
}

/** Columns of arguments for a row: drawn ones, then every combination of the special values. */
export function argumentsOf(name: string, arity: number, count: number): number[][] {
  const columns: number[][] = [];
  const specials = SPECIALS.length;
  for (let k = 0; k < arity; k++) {
    const domain = DOMAINS[name]?.[k] ?? "line";
    // Kinds of draws go round at a different pace in each column, so that all pairs occur.
    const drawn = Array.from(
      { length: count },
      (_, n) => draw(domain, 17 + k, k === 0 ? n : n + k * Math.floor(n / 4)),
    );
    const special = Array.from(
      { length: specials ** arity },
      (_, n) => SPECIALS[Math.floor(n / specials ** k) % specials],
    );
    columns.push([...drawn, ...special]);
  }
  return columns;
}

/** The arguments, and the arguments with subnormal numbers taken as 0, which devices may do. */
export function flushed(args: readonly number[]): readonly (readonly number[])[] {
  const tiny = args.map((a) => a !== 0 && Math.abs(a) < SMALLEST);
  if (!tiny.includes(true)) return [args];
  const zero = (a: number) => (a < 0 ? -0 : 0);
  return args.reduce<number[][]>(
    (all, a, i) => all.flatMap((row) => tiny[i] ? [[...row, a], [...row, zero(a)]] : [[...row, a]]),
    [[]],
  );
}
