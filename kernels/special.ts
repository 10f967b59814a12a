/** Special functions in double precision, for references. */

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

/** Below this the series of erf is summed, above it the continued fraction of erfc. */
const CROSSOVER = 2.5;

/** `erf x` for small x: `2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!`, all terms of one sign. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return TWO_OVER_SQRT_PI * Math.exp(-x * x) * sum;
}

/** `erfc x` for large x: `e^(−x²)/√π · 1/(x + ½/(x + 1/(x + 3/2/(x + …))))`. */
function erfcFraction(x: number): number {
  if (x === Infinity) return 0;
  let tail = x;
  for (let n = 60; n > 0; n--) tail = x + n / 2 / tail;
  return (Math.exp(-x * x) / Math.sqrt(Math.PI)) / tail;
}

/**
 * Error function `erf x = 2/√π ∫₀ˣ e^(−t²) dt`.
 *
 * @param x any number
 * @returns a number in [-1, 1], good to 1e-15; NaN for NaN
 */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (size < CROSSOVER) return x === 0 ? x : erfSeries(x);
  return Math.sign(x) * (1 - erfcFraction(size));
}

/**
 * Complementary error function `erfc x = 1 − erf x`.
 *
 * @param x any number
 * @returns a number in [0, 2], good to 1e-12 of itself; NaN for NaN
 */
export function erfc(x: number): number {
  if (x > CROSSOVER) return erfcFraction(x);
  return x < -CROSSOVER ? 2 - erfcFraction(-x) : 1 - erf(x);
}

/** `1 / (1 + e^(−x))`, without loss for large negative x. */
export function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}

/** `log(1 + eˣ)`, which never overflows. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** Rounds to the nearest integer, ties to the even one. */
export function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** `a − b ⌊a/b⌋`, with the sign of b. */
export function floorRemainder(a: number, b: number): number {
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
}

/** `⌊a/b⌋`, from the exact remainder, so that no rounding of the quotient crosses an integer. */
export function floorDivide(a: number, b: number): number {
  if (b === 0) return a / b;
  const r = a % b;
  return Math.round((a - r) / b) - (r !== 0 && r < 0 !== b < 0 ? 1 : 0);
}

/** Power as in C: `1ᵇ = a⁰ = 1` also for NaN, `(−1)^±∞ = 1`. */
export function power(a: number, b: number): number {
  if (a === 1 || (a === -1 && Math.abs(b) === Infinity)) return 1;
  return Math.pow(a, b);
}

/** Power of integers modulo 2³²; negative exponents give 0 except for bases 1 and -1. */
export function integerPower(a: number, b: number): number {
  if (b < 0) return a === 1 ? 1 : a === -1 ? (b % 2 === 0 ? 1 : -1) : 0;
  let result = 1;
  let factor = a | 0;
  for (let n = b; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) result = Math.imul(result, factor);
    factor = Math.imul(factor, factor);
  }
  return result;
}
