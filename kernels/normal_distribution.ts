/** The normal distribution in double precision: its distribution function and the inverse of it. */

/** Density of the standard normal distribution. */
function density(z: number): number {
  return Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
}

/** Upper tail `1 - Φ(z)` for z ≥ 0, with all digits also where it is tiny. */
function upperTail(z: number): number {
  if (z === Infinity) return 0;
  if (z < 3) {
    // Φ(z) - 1/2 = φ(z) (z + z³/3 + z⁵/(3·5) + …)
    let term = z;
    let sum = z;
    for (let k = 3; term > sum * 1e-17; k += 2) {
      term *= z * z / k;
      sum += term;
    }
    return 0.5 - density(z) * sum;
  }
  // φ(z) / (z + 1/(z + 2/(z + 3/(z + …))))
  let fraction = z;
  for (let k = 80; k > 0; k--) fraction = z + k / fraction;
  return density(z) / fraction;
}

/**
 * Distribution function `Φ(z)` of the standard normal distribution, with all digits in both tails'
 * own terms.
 */
export function normalCdf(z: number): number {
  return z < 0 ? upperTail(-z) : 1 - upperTail(z);
}

/**
 * The z with `Φ(z) = p`, by Newton's method on the logarithm of the tail.
 *
 * @param p from 0 to 1
 * @param q `1 - p`, with its own digits
 */
export function normalQuantile(p: number, q: number): number {
  const tail = Math.min(p, q);
  if (tail === 0) return p < q ? -Infinity : Infinity;
  // The tail is at most half of e^(-z²/2): from there on the steps only go down.
  let z = Math.sqrt(Math.max(0, -2 * Math.log(2 * tail)));
  for (let turn = 0; turn < 60; turn++) {
    const upper = upperTail(z);
    const step = Math.log(upper / tail) * upper / density(z);
    z = Math.max(0, z + step);
    if (Math.abs(step) <= 1e-15 * z) break;
  }
  return p < q ? -z : z;
}
