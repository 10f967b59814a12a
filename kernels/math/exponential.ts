/**
 * WGSL helpers for exponentials, logarithms and powers, good to a few units in the last place on
 * any device: the built-in ones may be wrong by 1e-5 and lose all digits next to 0 or 1.
 * Coefficients are minimax fits, rounded one after another.
 */

/** Helpers by name. */
export const exponentials: Readonly<Record<string, string>> = {
  // e^r − 1 for |r| ≤ 0.35
  exp_tail: `fn exp_tail(r: f32) -> f32 {
  var p = 0.0013868435;
  p = p * r + 0.008366432;
  p = p * r + 0.04166746;
  p = p * r + 0.16666545;
  p = p * r + 0.49999997;
  return r + r * r * p;
}`,
  // log 2 = 0.693359375 − 2.1219444e-4, the first part so short that n times it is exact.
  exp_rest: `fn exp_rest(a: f32, n: f32) -> f32 {
  return (a - n * 0.693359375) + n * 2.1219444e-4;
}`,
  // y · 2^n in two factors, so that the ends of the range are reached.
  times_pow2: `fn times_pow2(y: f32, n: i32) -> f32 {
  let m = clamp(n, -252, 254);
  let half = m >> 1u;
  return y * pow2(half) * pow2(m - half);
}`,
  // (y, n) with e^(a + low) = y · 2^n for a small correction
  exp_parts: `fn exp_parts(a: f32, low: f32) -> vec2<f32> {
  let x = keep_nan(a, clamp(a, -120.0, 120.0));
  let n = round(x * 1.442695);
  return vec2<f32>(1.0 + exp_tail(exp_rest(x, n) + low), n);
}`,
  exp_sum: `fn exp_sum(a: f32, low: f32) -> f32 {
  let p = exp_parts(a, low);
  return times_pow2(p.x, i32(p.y));
}`,
  precise_exp: `fn precise_exp(a: f32) -> f32 { return exp_sum(a, 0.0); }`,
  // 2^r − 1 for |r| ≤ 0.51
  exp2_tail: `fn exp2_tail(r: f32) -> f32 {
  var p = 0.00015326463;
  p = p * r + 0.0013390806;
  p = p * r + 0.009618506;
  p = p * r + 0.0555036;
  p = p * r + 0.24022648;
  p = p * r + 0.6931472;
  return r * p;
}`,
  precise_exp2: `fn precise_exp2(a: f32) -> f32 {
  let x = keep_nan(a, clamp(a, -200.0, 200.0));
  let n = round(x);
  return times_pow2(1.0 + exp2_tail(x - n), i32(n));
}`,
  // (e^a − 1) / 2; half of it, because sinh and cosh reach further than e^a.
  half_expm1: `fn half_expm1(a: f32) -> f32 {
  let x = keep_nan(a, clamp(a, -30.0, 89.5));
  let n = round(x * 1.442695);
  let s = pow2(clamp(i32(n), -60, 129) - 2);
  return 2.0 * (s * exp_tail(exp_rest(x, n)) + (s - 0.25));
}`,
  precise_expm1: `fn precise_expm1(a: f32) -> f32 { return 2.0 * half_expm1(a); }`,
  precise_sinh: `fn precise_sinh(a: f32) -> f32 {
  let h = half_expm1(abs(a));
  let t = min(h, 1e30);
  let y = h + t / (2.0 * t + 1.0);
  return select(y, -y, a < 0.0);
}`,
  precise_cosh: `fn precise_cosh(a: f32) -> f32 {
  let h = half_expm1(abs(a));
  return h + (0.5 + 0.5 / (2.0 * h + 1.0));
}`,
  // w / (w + b) for w ≥ 0; close to 1 by what is left, since drivers give x / x as less than 1.
  share_of: `fn share_of(w: f32, b: f32) -> f32 {
  let far = w > b;
  let q = select(w, b, far) / (w + b);
  return select(q, 1.0 - q, far);
}`,
  precise_tanh: `fn precise_tanh(a: f32) -> f32 {
  let y = share_of(half_expm1(2.0 * abs(a)), 1.0);
  return select(y, -y, a < 0.0);
}`,
  sigmoid: `fn sigmoid(a: f32) -> f32 {
  let e = precise_exp(-abs(a));
  return select(1.0, e, a < 0.0) / (1.0 + e);
}`,
  // a / (1 + e^-a); below -80 a is brought in before 2^n, since e^a may be subnormal there.
  precise_silu: `fn precise_silu(a: f32) -> f32 {
  let p = exp_parts(-abs(a), 0.0);
  let e = times_pow2(p.x, i32(p.y));
  let low = select(times_pow2(a * p.x, i32(p.y)), a * e, a < -100.0);
  return select(a, low, a < 0.0) / (1.0 + e);
}`,
  // (e, f) with a = 2^e (1 + f) and √½ ≤ 1 + f < √2; subnormals go through integers, unflushed.
  log_split: `fn log_split(a: f32) -> vec2<f32> {
  let raw = bitcast<u32>(a);
  let tiny = raw < 0x00800000u;
  let bits = select(raw, bitcast<u32>(f32(raw)), tiny);
  let e = bitcast<i32>(bits - 0x3f3504f3u) >> 23u;
  let m = bitcast<f32>(bits - (bitcast<u32>(e) << 23u));
  return vec2<f32>(f32(e) - select(0.0, 149.0, tiny), m - 1.0);
}`,
  // log(1 + f) for √½ ≤ 1 + f < √2
  log_tail: `fn log_tail(f: f32) -> f32 {
  var p = -0.07636439;
  p = p * f + 0.12762217;
  p = p * f - 0.1315961;
  p = p * f + 0.1420158;
  p = p * f - 0.16623409;
  p = p * f + 0.20001242;
  p = p * f - 0.2500082;
  p = p * f + 0.3333333;
  let z = f * f;
  return f + (z * f * p - 0.5 * z);
}`,
  // The logarithm y of a, or what it is at 0, infinity, NaN and below 0.
  log_edges: `fn log_edges(a: f32, y: f32) -> f32 {
  let bits = bitcast<u32>(a);
  if ((bits & 0x7fffffffu) == 0u) { return -inf(); }
  if (bits == 0x7f800000u) { return a; }
  return select(y, nan(), bits > 0x7f800000u);
}`,
  precise_log: `fn precise_log(a: f32) -> f32 {
  let s = log_split(a);
  return log_edges(a, (log_tail(s.y) - s.x * 2.1219444e-4) + s.x * 0.693359375);
}`,
  precise_log2: `fn precise_log2(a: f32) -> f32 {
  let s = log_split(a);
  return log_edges(a, s.x + log_tail(s.y) * 1.442695);
}`,
  precise_log10: `fn precise_log10(a: f32) -> f32 {
  let s = log_split(a);
  return log_edges(a, (log_tail(s.y) * 0.4342945 + s.x * 4.605039e-6) + s.x * 0.30102539);
}`,
  // Near 0 the series takes a itself; 1 + a would have lost its digits.
  precise_log1p: `fn precise_log1p(a: f32) -> f32 {
  let near = a > -0.29289 && a < 0.41421;
  let s = select(log_split(1.0 + a), vec2<f32>(0.0, a), near);
  return log_edges(1.0 + a, (log_tail(s.y) - s.x * 2.1219444e-4) + s.x * 0.693359375);
}`,
  softplus:
    `fn softplus(a: f32) -> f32 { return max(a, 0.0) + precise_log1p(precise_exp(-abs(a))); }`,
  precise_logaddexp: `fn precise_logaddexp(a: f32, b: f32) -> f32 {
  if (a == b) { return a + 0.6931472; }
  return max_nan(a, b) + precise_log1p(precise_exp(-abs(a - b)));
}`,
  // a · tanh(log(1 + e^a)), the tanh as a quotient of polynomials in e^a
  precise_mish: `fn precise_mish(a: f32) -> f32 {
  let p = exp_parts(min(a, 20.0), 0.0);
  let e = times_pow2(p.x, i32(p.y));
  let y = a * share_of(e * (e + 2.0), 2.0);
  return select(y, times_pow2(a * p.x, i32(p.y)), a < -80.0 && a > -100.0);
}`,
  precise_asinh: `fn precise_asinh(a: f32) -> f32 {
  let x = abs(a);
  var y: f32;
  if (x > 10000.0) { y = precise_log(x) + 0.6931472; }
  else { y = precise_log1p(x + x * x / (1.0 + sqrt(1.0 + x * x))); }
  return select(y, -y, a < 0.0);
}`,
  precise_acosh: `fn precise_acosh(a: f32) -> f32 {
  if (a > 10000.0) { return precise_log(a) + 0.6931472; }
  let t = a - 1.0;
  return select(precise_log1p(t + sqrt(t * (t + 2.0))), nan(), a < 1.0);
}`,
  precise_atanh: `fn precise_atanh(a: f32) -> f32 {
  let x = abs(a);
  if (x == 1.0) { return a * inf(); }
  let y = 0.5 * precise_log1p(2.0 * x / (1.0 - x));
  return select(select(y, -y, a < 0.0), nan(), x > 1.0);
}`,
  // log2 of a number above 0 as (exponent, leading bits, rest), with every product of the leading
  // part exact: log2(1 + f) = 2/ln 2 · atanh(f / (2 + f)).
  log2_parts: `fn log2_parts(a: f32) -> vec3<f32> {
  let s = log_split(a);
  let f = s.y;
  let f1 = leading_bits(f);
  let q = f / (2.0 + f);
  let q1 = leading_bits(q);
  let q2 = (((f - 2.0 * q1) - q1 * f1) - q1 * (f - f1)) / (2.0 + f);
  let z = q * q;
  let series = q * z * (0.6666667 + z * (0.39998883 + z * (0.2866084 + z * 0.2087338)));
  let main = q1 * 2.884765625;
  let rest = q1 * 6.2445678e-4 + (2.0 * q2 + series) * 1.442695;
  let high = leading_bits(main + rest);
  return vec3<f32>(s.x, high, (main - high) + rest);
}`,
  // a^b for 0 < a < ∞; the product b · log2 a carries some 12 bits more than an f32.
  pow_positive: `fn pow_positive(a: f32, b: f32) -> f32 {
  let l = log2_parts(a);
  let p = b * (l.x + (l.y + l.z));
  if (p > 200.0) { return inf(); }
  if (p < -200.0) { return 0.0; }
  let n = round(p);
  let b1 = leading_bits(b);
  let b2 = b - b1;
  let r = ((b1 * l.x - n) + b1 * l.y) + (b2 * l.x + (b1 * l.z + b2 * (l.y + l.z)));
  return times_pow2(1.0 + exp2_tail(r), i32(n));
}`,
  precise_pow: `fn precise_pow(a: f32, b: f32) -> f32 {
  if (b == 0.0 || a == 1.0) { return 1.0; }
  if (is_nan(a) || is_nan(b)) { return nan(); }
  let x = abs(a);
  let whole = trunc(b) == b;
  let odd = whole && abs(b) < 16777216.0 && (i32(b) & 1) == 1;
  var y: f32;
  if (is_inf(b)) { y = select(select(0.0, inf(), (x > 1.0) == (b > 0.0)), 1.0, x == 1.0); }
  else if (x == 0.0 || is_inf(x)) { y = select(0.0, inf(), (x > 0.0) == (b > 0.0)); }
  else {
    y = pow_positive(x, b);
    if (a < 0.0 && !whole) { y = nan(); }
  }
  return select(y, -y, odd && is_negative(a));
}`,
};
