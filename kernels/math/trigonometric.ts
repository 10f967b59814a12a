/**
 * WGSL helpers for circular functions. Arguments of any size are reduced to [-π/4, π/4]: by a split
 * of π/2 up to 8192, and by an integer product with the bits of 2/π above.
 */

/** Helpers by name. */
export const trigonometrics: Readonly<Record<string, string>> = {
  // High half of a 64-bit product.
  high_product: `fn high_product(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let mid = a1 * b0 + ((a0 * b0) >> 16u);
  let low = a0 * b1 + (mid & 0xffffu);
  return a1 * b1 + (mid >> 16u) + (low >> 16u);
}`,
  // Words k to k + 3 of a zero word and the first 224 bits of 2/π; an indexed table is slower.
  two_over_pi: `fn two_over_pi(k: u32) -> vec4<u32> {
  let t0 = vec4<u32>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u);
  let t1 = vec4<u32>(0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
  let a = select(t0, t1, k >= 4u);
  let by2 = (k & 2u) != 0u;
  let low = select(a, vec4<u32>(a.zw, t1.xy), by2);
  return select(low, vec4<u32>(low.yzw, select(t1.x, t1.z, by2)), (k & 1u) != 0u);
}`,
  // The mantissa times 96 bits of 2/π modulo 4, for x ≥ 2: bits of more than 4 turns are left out.
  quadrant_large: `fn quadrant_large(x: f32) -> vec2<f32> {
  let bits = bitcast<u32>(x);
  let m = (bits & 0x7fffffu) | 0x800000u;
  let start = (bits >> 23u) - 120u;
  let t = two_over_pi(start >> 5u);
  let s = start & 31u;
  let w = (t.xyz << vec3<u32>(s)) | ((t.yzw >> vec3<u32>(31u - s)) >> vec3<u32>(1u));
  let mid = m * w.y;
  let low = mid + high_product(m, w.z);
  let high = m * w.x + high_product(m, w.y) + select(0u, 1u, low < mid);
  let turn = (high << 2u) | (low >> 30u);
  let q = (high >> 30u) + (turn >> 31u);
  let r = (f32(bitcast<i32>(turn)) + f32(low << 2u) * pow2(-32)) * pow2(-32);
  return vec2<f32>(f32(q), r * 1.5707964);
}`,
  // (q, r) with |x| = q · π/2 + r, q modulo 4.
  quadrant: `fn quadrant(x: f32) -> vec2<f32> {
  if (!(x < 8192.0)) {
    if (!is_finite(x)) { return vec2<f32>(0.0, nan()); }
    return quadrant_large(x);
  }
  let n = round(x * 0.63661975);
  let r = ((x - n * 1.5703125) - n * 4.83751297e-4) - n * 7.5495336e-8;
  return vec2<f32>(n, r - n * 2.563344e-12);
}`,
  // sin(r) and cos(r) for |r| ≤ π/4, quarter_turns by q quarters.
  quarter_turns: `fn quarter_turns(q: i32, r: f32) -> f32 {
  let z = r * r;
  let s = r + r * z * (-0.16666655 + z * (0.008332187 - z * 1.9517908e-4));
  let c = (1.0 - 0.5 * z) + z * z * (0.041666646 + z * (z * 2.4432331e-5 - 0.001388731));
  let y = select(s, c, (q & 1) == 1);
  return select(y, -y, (q & 2) == 2);
}`,
  precise_sin: `fn precise_sin(a: f32) -> f32 {
  let s = quadrant(abs(a));
  let y = quarter_turns(i32(s.x), s.y);
  return select(y, -y, a < 0.0);
}`,
  precise_cos: `fn precise_cos(a: f32) -> f32 {
  let s = quadrant(abs(a));
  return quarter_turns(i32(s.x) + 1, s.y);
}`,
  precise_tan: `fn precise_tan(a: f32) -> f32 {
  let s = quadrant(abs(a));
  let q = i32(s.x);
  let y = quarter_turns(q, s.y) / quarter_turns(q + 1, s.y);
  return select(y, -y, a < 0.0);
}`,
  // atan(t) for 0 ≤ t ≤ 1
  atan_series: `fn atan_series(t: f32) -> f32 {
  let z = t * t;
  var p = 0.00291976;
  p = p * z - 0.016364245;
  p = p * z + 0.043205976;
  p = p * z - 0.07551729;
  p = p * z + 0.10665786;
  p = p * z - 0.14211003;
  p = p * z + 0.19993767;
  p = p * z - 0.33333153;
  return t + t * z * p;
}`,
  precise_atan: `fn precise_atan(a: f32) -> f32 {
  let x = abs(a);
  let r = atan_series(select(x, 1.0 / x, x > 1.0));
  let y = select(r, 1.5707964 - r, x > 1.0);
  return select(y, -y, a < 0.0);
}`,
  precise_atan2: `fn precise_atan2(a: f32, b: f32) -> f32 {
  if (is_nan(a) || is_nan(b)) { return nan(); }
  let large = max(abs(a), abs(b));
  var t = divide(min(abs(a), abs(b)), large);
  if (large == 0.0) { t = 0.0; }
  if (is_inf(large)) { t = select(0.0, 1.0, abs(a) == abs(b)); }
  var r = atan_series(t);
  if (abs(a) > abs(b)) { r = 1.5707964 - r; }
  if (is_negative(b)) { r = 3.1415927 - r; }
  return select(r, -r, is_negative(a));
}`,
  // asin(x) for 0 ≤ x ≤ 1/2
  asin_series: `fn asin_series(x: f32) -> f32 {
  let z = x * x;
  var p = 0.042158306;
  p = p * z + 0.024184778;
  p = p * z + 0.04546915;
  p = p * z + 0.074953094;
  p = p * z + 0.16666752;
  return x + x * z * p;
}`,
  precise_asin: `fn precise_asin(a: f32) -> f32 {
  let x = abs(a);
  let far = x > 0.5;
  let r = asin_series(select(x, sqrt(0.5 - 0.5 * x), far));
  let y = select(r, 1.5707964 - 2.0 * r, far);
  return select(select(y, -y, a < 0.0), nan(), x > 1.0);
}`,
  precise_acos: `fn precise_acos(a: f32) -> f32 {
  let x = abs(a);
  let far = x > 0.5;
  let r = asin_series(select(x, sqrt(0.5 - 0.5 * x), far));
  let near = 1.5707964 - select(r, -r, a < 0.0);
  let y = select(near, select(2.0 * r, 3.1415927 - 2.0 * r, a < 0.0), far);
  return select(y, nan(), x > 1.0);
}`,
};
