/** WGSL helpers for the error function, with all digits at tiny arguments and far in the tail. */

/** Helpers by name. */
export const specials: Readonly<Record<string, string>> = {
  // erf(a) for |a| < 0.9
  erf_series: `fn erf_series(a: f32) -> f32 {
  let z = a * a;
  var p = -0.0006053446;
  p = p * z + 0.005004346;
  p = p * z - 0.026773399;
  p = p * z + 0.11281978;
  p = p * z - 0.37612507;
  p = p * z + 0.12837915;
  return a + a * p;
}`,
  // erfc(a) for a ≥ 0.9: e^(−a²) times a polynomial; the split of a² keeps its rounding small.
  erfc_tail: `fn erfc_tail(a: f32) -> f32 {
  let x = keep_nan(a, min(a, 12.0));
  let t = 1.0 / (1.0 + 0.35 * x);
  var p = -0.10288762;
  p = p * t + 0.2602818;
  p = p * t - 0.09447896;
  p = p * t + 0.21965592;
  p = p * t + 0.13202864;
  p = p * t + 0.1909766;
  p = p * t + 0.1968635;
  p = p * t + 0.19749415;
  let high = leading_bits(x);
  return t * p * exp_sum(-high * high, -(x - high) * (x + high));
}`,
  precise_erf: `fn precise_erf(a: f32) -> f32 {
  let y = 1.0 - erfc_tail(abs(a));
  return select(select(y, -y, a < 0.0), erf_series(a), abs(a) < 0.9);
}`,
  precise_erfc: `fn precise_erfc(a: f32) -> f32 {
  let y = erfc_tail(abs(a));
  return select(select(y, 2.0 - y, a < 0.0), 1.0 - erf_series(a), abs(a) < 0.9);
}`,
  // a − tanh a
  tanh_gap: `fn tanh_gap(a: f32) -> f32 {
  let z = a * a;
  var p = 0.006287114;
  p = p * z - 0.0211255;
  p = p * z + 0.053877857;
  p = p * z - 0.13332954;
  p = p * z + 0.3333333;
  return select(a - precise_tanh(a), a * z * p, abs(a) < 0.6);
}`,
};
