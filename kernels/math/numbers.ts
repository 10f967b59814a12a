/**
 * WGSL helpers on the bits of numbers: NaN tests that compilers cannot fold, quotients of numbers of
 * any size, exact remainders.
 */

/** Helpers by name. */
export const numbers: Readonly<Record<string, string>> = {
  is_nan: `fn is_nan(a: f32) -> bool { return (bitcast<i32>(a) & 0x7fffffff) > 0x7f800000; }`,
  is_inf: `fn is_inf(a: f32) -> bool { return (bitcast<i32>(a) & 0x7fffffff) == 0x7f800000; }`,
  is_finite: `fn is_finite(a: f32) -> bool { return (bitcast<i32>(a) & 0x7fffffff) < 0x7f800000; }`,
  is_negative: `fn is_negative(a: f32) -> bool { return bitcast<u32>(a) >= 0x80000000u; }`,
  nan: `fn nan() -> f32 { var b: u32 = 0x7fc00000u; return bitcast<f32>(b); }`,
  inf: `fn inf() -> f32 { var b: u32 = 0x7f800000u; return bitcast<f32>(b); }`,
  // y, or a where that is NaN: by floats alone, drivers make min() and max() of choices, which lose it.
  keep_nan: `fn keep_nan(a: f32, y: f32) -> f32 { return select(y, a, is_nan(a)); }`,
  keep_nan4: `fn keep_nan4(a: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
  let size = bitcast<vec4<i32>>(a) & vec4<i32>(0x7fffffff);
  return select(y, a, size > vec4<i32>(0x7f800000));
}`,
  // The same number as the operand of what follows: drivers combine nothing across a test of bits.
  apart4: `fn apart4(a: vec4<f32>) -> vec4<f32> {
  let size = bitcast<vec4<i32>>(a) & vec4<i32>(0x7fffffff);
  return select(a, vec4<f32>(nan()), size > vec4<i32>(0x7f800000));
}`,
  max_nan: `fn max_nan(a: f32, b: f32) -> f32 {
  if (is_nan(a)) { return a; }
  if (is_nan(b)) { return b; }
  return max(a, b);
}`,
  min_nan: `fn min_nan(a: f32, b: f32) -> f32 {
  if (is_nan(a)) { return a; }
  if (is_nan(b)) { return b; }
  return min(a, b);
}`,
  // By a constant 0, compilers divide as by 1. Above 2^126, 1/b is subnormal, and 0 on hardware.
  divide: `fn divide(a: f32, b: f32) -> f32 {
  let s = select(1.0, 0.25, abs(b) > 8.5e37);
  return select((a * s) / (b * s), a * select(inf(), -inf(), is_negative(b)), b == 0.0);
}`,
  // Twelve leading bits: products of two such numbers are exact.
  leading_bits: `fn leading_bits(a: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
}`,
  // 2^n for -126 ≤ n ≤ 127.
  pow2: `fn pow2(n: i32) -> f32 { return bitcast<f32>(u32(n + 127) << 23u); }`,
  // The built-in % rounds the quotient; this divides the mantissas as integers, 8 bits a turn.
  exact_fmod: `fn exact_fmod(a: f32, b: f32) -> f32 {
  let x = bitcast<u32>(a) & 0x7fffffffu;
  let y = bitcast<u32>(b) & 0x7fffffffu;
  if (x >= 0x7f800000u || y > 0x7f800000u || y == 0u) { return nan(); }
  if (x < y) { return a; }
  let divisor = select((y & 0x7fffffu) | 0x800000u, y, y < 0x800000u);
  let exponent = max(y >> 23u, 1u);
  var rest = select((x & 0x7fffffu) | 0x800000u, x, x < 0x800000u) % divisor;
  var shift = max(x >> 23u, 1u) - exponent;
  while (shift > 0u) {
    let k = min(shift, 8u);
    rest = (rest << k) % divisor;
    shift -= k;
  }
  let size = f32(rest) * pow2(-23) * pow2(i32(exponent) - 127);
  return select(size, -size, is_negative(a));
}`,
  floor_remainder: `fn floor_remainder(a: f32, b: f32) -> f32 {
  let r = exact_fmod(a, b);
  return select(r, r + b, r != 0.0 && is_negative(r) != is_negative(b));
}`,
  // The quotient of an exact multiple is a whole number up to rounding.
  floor_divide: `fn floor_divide(a: f32, b: f32) -> f32 {
  if (b == 0.0) { return divide(a, b); }
  let r = exact_fmod(a, b);
  let below = r != 0.0 && is_negative(r) != is_negative(b);
  return round(divide(a - r, b)) - select(0.0, 1.0, below);
}`,
  precise_hypot: `fn precise_hypot(a: f32, b: f32) -> f32 {
  if (is_inf(a) || is_inf(b)) { return inf(); }
  let large = max_nan(abs(a), abs(b));
  if (large == 0.0) { return 0.0; }
  let ratio = divide(min_nan(abs(a), abs(b)), large);
  return large * sqrt(1.0 + ratio * ratio);
}`,
  pow_u32: `fn pow_u32(a: u32, b: u32) -> u32 {
  var result = 1u;
  var factor = a;
  var n = b;
  while (n > 0u) {
    if ((n & 1u) == 1u) { result *= factor; }
    factor *= factor;
    n >>= 1u;
  }
  return result;
}`,
};
