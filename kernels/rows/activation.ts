/** Rows of activation functions. */

import { erfc, sigmoid, softplus } from "../special.ts";
import {
  add,
  and,
  c,
  div,
  exact,
  gt,
  lt,
  mul,
  neg,
  op,
  rows,
  series,
  sub,
  ulp1,
  ulp5,
  where,
  zero,
} from "./row.ts";

const sides = [[1.5], [-3], [0.25]];
const slopes = [[1.5, 0.25], [-3, 0.5], [-0.1, 2]];
const ALPHA = 1.6732632423543772;
const LAMBDA = 1.0507009873554805;
const CUBIC = 0.044715;
const SLOPE = 2 * Math.sqrt(2 / Math.PI);

/** Rows of this family by name. */
export const activations = rows({
  relu: {
    arity: 1,
    kind: "numeric",
    doc: "Rectifier `max(a, 0)`; NaN stays NaN, the derivative at 0 is 0.",
    wgsl: "keep_nan(a, max(a, 0.0))",
    wgslInt: "max(a, T(0))",
    ref: (a) => (a < 0 ? 0 : a),
    grad: (g, _, y) => [where(gt(y, c(0)), g, c(0))],
    samples: sides,
    tolerance: exact,
    source: "torch.relu; max(a, 0) alone turns NaN into 0 on hardware",
  },
  relu6: {
    arity: 1,
    kind: "numeric",
    doc: "Rectifier with a ceiling `min(max(a, 0), 6)`; the derivative is 0 at both corners.",
    wgsl: "keep_nan(a, clamp(a, 0.0, 6.0))",
    wgslInt: "clamp(a, T(0), T(6))",
    ref: (a) => (a < 0 ? 0 : a > 6 ? 6 : a),
    grad: (g, _, y) => [where(and(gt(y, c(0)), lt(y, c(6))), g, c(0))],
    samples: [[1.5], [-3], [7]],
    tolerance: exact,
    source: "torch.nn.functional.relu6",
  },
  leakyRelu: {
    arity: 2,
    kind: "float",
    doc: "`a` where it is above 0, `b·a` elsewhere.",
    wgsl: "select(b * a, a, a > 0.0)",
    ref: (a, b) => (a > 0 ? a : b * a),
    grad: (g, [a, b]) => [where(gt(a, c(0)), g, mul(g, b)), where(gt(a, c(0)), c(0), mul(g, a))],
    samples: slopes,
    tolerance: ulp1,
    source: "torch.nn.functional.leaky_relu and prelu",
  },
  elu: {
    arity: 2,
    kind: "float",
    doc: "`a` where it is above 0, `b·(e^a - 1)` elsewhere.",
    wgsl: "select(b * precise_expm1(a), a, a > 0.0)",
    ref: (a, b) => (a > 0 ? a : b * Math.expm1(a)),
    grad: (g, [a, b]) => {
      const low = op("minimum", a, c(0));
      const slope = where(gt(a, c(0)), c(1), mul(b, op("exp", low)));
      return [mul(g, slope), mul(g, op("expm1", low))];
    },
    samples: slopes,
    tolerance: series,
    source: "torch.nn.functional.elu",
  },
  celu: {
    arity: 2,
    kind: "float",
    doc: "`a` where it is above 0, `b·(e^(a / b) - 1)` elsewhere.",
    wgsl: "select(b * precise_expm1(divide(a, b)), a, " +
      "a > 0.0 || (abs(divide(a, b)) < 1e-8 && !is_nan(divide(a, b))))",
    ref: (a, b) => (a > 0 || Math.abs(a / b) < 1e-8 ? a : b * Math.expm1(a / b)),
    grad: (g, [a, b]) => {
      const low = div(op("minimum", a, c(0)), b);
      const e = op("exp", low);
      return [mul(g, e), mul(g, sub(op("expm1", low), mul(low, e)))];
    },
    samples: slopes,
    tolerance: { rel: 1e-5, abs: 1e-38 },
    source: "torch.nn.functional.celu; the rounding of a / b grows with its size",
  },
  selu: {
    arity: 1,
    kind: "float",
    doc: "`λa` where `a` is above 0, `λα·(e^a - 1)` elsewhere; λ = 1.0507…, α = 1.6733….",
    wgsl: `select(${LAMBDA * ALPHA} * precise_expm1(a), ${LAMBDA} * a, a > 0.0)`,
    ref: (a) => LAMBDA * (a > 0 ? a : ALPHA * Math.expm1(a)),
    grad: (g, [a]) => {
      const curve = mul(c(LAMBDA * ALPHA), op("exp", op("minimum", a, c(0))));
      return [mul(g, where(gt(a, c(0)), c(LAMBDA), curve))];
    },
    samples: sides,
    tolerance: series,
    source: "torch.nn.functional.selu",
  },
  gelu: {
    arity: 1,
    kind: "float",
    doc: "Gaussian error unit `a·Φ(a) = a/2·erfc(-a / √2)`.",
    wgsl: "0.5 * a * precise_erfc(a * -0.70710678)",
    ref: (a) => 0.5 * a * erfc(-a * Math.SQRT1_2),
    grad: (g, [a]) => {
      const share = mul(c(0.5), op("erfc", mul(a, c(-Math.SQRT1_2))));
      const bell = mul(c(1 / Math.sqrt(2 * Math.PI)), op("exp", mul(c(-0.5), mul(a, a))));
      return [mul(g, add(share, mul(a, bell)))];
    },
    samples: sides,
    tolerance: { rel: 1e-6, abs: 1e-7 },
    source: "torch.nn.functional.gelu; erfc keeps the digits of the negative tail",
  },
  geluTanh: {
    arity: 1,
    kind: "float",
    doc: "Approximate Gaussian error unit `a/2·(1 + tanh(√(2/π)·(a + 0.044715a³)))`.",
    wgsl: `a * sigmoid(a * (${SLOPE} + ${SLOPE * CUBIC} * a * a))`,
    ref: (a) => a * sigmoid(SLOPE * (a + CUBIC * a * a * a)),
    grad: (g, [a]) => {
      // Beyond 10 the curve is straight, and a² could overflow.
      const z = op("clamp", a, c(-10), c(10));
      const z2 = mul(z, z);
      // s = 1 / (1 + e) is the sigmoid, and e·s what it lacks to 1, with all digits.
      const e = op(
        "exp2",
        mul(z, add(c(-SLOPE * Math.LOG2E), mul(c(-SLOPE * CUBIC * Math.LOG2E), z2))),
      );
      const s = op("reciprocal", add(c(1), e));
      const inner = mul(z, add(c(SLOPE), mul(c(3 * SLOPE * CUBIC), z2)));
      return [mul(g, mul(s, add(c(1), mul(inner, mul(e, s)))))];
    },
    samples: sides,
    tolerance: { rel: 1e-6, abs: 1e-7 },
    source: "torch.nn.functional.gelu with approximate tanh",
  },
  silu: {
    arity: 1,
    kind: "float",
    doc: "Sigmoid-weighted unit `a / (1 + e^-a)`.",
    wgsl: "precise_silu(a)",
    ref: (a) => a * sigmoid(a),
    grad: (g, [a], y) => {
      const s = op("sigmoid", a);
      return [mul(g, add(s, mul(y, sub(c(1), s))))];
    },
    samples: sides,
    tolerance: series,
    source: "torch.nn.functional.silu",
  },
  mish: {
    arity: 1,
    kind: "float",
    doc: "`a·tanh(log(1 + e^a))`.",
    wgsl: "precise_mish(a)",
    ref: (a) => a * Math.tanh(softplus(a)),
    grad: (g, [a]) => {
      const t = op("tanh", op("softplus", a));
      const slope = mul(op("sigmoid", a), sub(c(1), mul(t, t)));
      return [mul(g, add(t, mul(a, slope)))];
    },
    samples: sides,
    tolerance: series,
    source: "torch.nn.functional.mish",
  },
  sigmoid: {
    arity: 1,
    kind: "float",
    doc: "Logistic function `1 / (1 + e^-a)`.",
    wgsl: "sigmoid(a)",
    ref: sigmoid,
    grad: (g, _, y) => [mul(g, mul(y, sub(c(1), y)))],
    samples: sides,
    tolerance: series,
    source: "torch.sigmoid",
  },
  logSigmoid: {
    arity: 1,
    kind: "float",
    doc: "`log(1 / (1 + e^-a))`, without overflow.",
    wgsl: "-softplus(-(a))",
    ref: (a) => -softplus(-a),
    grad: (g, [a]) => [mul(g, op("sigmoid", neg(a)))],
    samples: sides,
    tolerance: series,
    source: "torch.nn.functional.logsigmoid",
  },
  softplus: {
    arity: 1,
    kind: "float",
    doc: "`log(1 + e^a)`, without overflow.",
    wgsl: "softplus(a)",
    ref: softplus,
    grad: (g, [a]) => [mul(g, op("sigmoid", a))],
    samples: sides,
    tolerance: series,
    source: "torch.nn.functional.softplus, which is `a` itself from 20 on",
  },
  softsign: {
    arity: 1,
    kind: "float",
    doc: "`a / (1 + |a|)`.",
    wgsl: "divide(a, 1.0 + abs(a))",
    ref: (a) => a / (1 + Math.abs(a)),
    grad: (g, [a]) => {
      const d = add(c(1), op("abs", a));
      return [div(g, mul(d, d))];
    },
    samples: sides,
    tolerance: ulp5,
    source: "torch.nn.functional.softsign",
  },
  hardtanh: {
    arity: 1,
    kind: "numeric",
    doc: "`min(max(a, -1), 1)`; the derivative is 0 at both corners.",
    wgsl: "keep_nan(a, clamp(a, -1.0, 1.0))",
    wgslInt: "T(a > T(0)) - T(a < T(0))",
    ref: (a) => (a < -1 ? -1 : a > 1 ? 1 : a),
    grad: (g, _, y) => [where(lt(op("abs", y), c(1)), g, c(0))],
    samples: [[0.5], [-3], [7]],
    tolerance: exact,
    source: "torch.nn.functional.hardtanh",
  },
  hardsigmoid: {
    arity: 1,
    kind: "float",
    doc: "`min(max(a + 3, 0), 6) / 6`; the derivative is 0 at both corners.",
    wgsl: "min_nan(max_nan(a + 3.0, 0.0), 6.0) / 6.0",
    ref: (a) => Math.min(Math.max(a + 3, 0), 6) / 6,
    grad: (g, [a]) => [where(lt(op("abs", a), c(3)), mul(g, c(1 / 6)), c(0))],
    samples: [[0.5], [-4], [7]],
    tolerance: { rel: 6e-7, abs: 5e-8 },
    source: "torch.nn.functional.hardsigmoid; a + 3 rounds to 2.4e-7 near -3",
  },
  hardswish: {
    arity: 1,
    kind: "float",
    doc: "`a·min(max(a + 3, 0), 6) / 6`; the derivative is -1/2 at -3 and 3/2 at 3.",
    wgsl: "a * (min_nan(max_nan(a + 3.0, 0.0), 6.0) / 6.0)",
    ref: (a) => a * (Math.min(Math.max(a + 3, 0), 6) / 6),
    grad: (g, [a]) => {
      const middle = mul(g, add(mul(a, c(1 / 3)), c(0.5)));
      return [where(lt(a, c(-3)), c(0), where(gt(a, c(3)), g, middle))];
    },
    samples: [[0.5], [-4], [7], [-1]],
    tolerance: { rel: 6e-7, abs: 2e-7 },
    source: "torch.nn.functional.hardswish; a + 3 rounds to 2.4e-7 near -3",
  },
  tanhshrink: {
    arity: 1,
    kind: "float",
    doc: "`a - tanh a`, with all digits next to 0.",
    wgsl: "tanh_gap(a)",
    ref: (a) => (Math.abs(a) < 0.05 ? tanhGap(a) : a - Math.tanh(a)),
    grad: (g, [a]) => {
      const t = op("tanh", a);
      return [mul(g, mul(t, t))];
    },
    samples: sides,
    tolerance: { rel: 1.5e-6, abs: 1e-38 },
    source: "torch.nn.functional.tanhshrink; a - tanh a still cancels a little at 0.6",
  },
  hardshrink: {
    arity: 2,
    kind: "float",
    doc: "0 where `|a|` is at most `b`, `a` elsewhere.",
    wgsl: "select(a, 0.0, abs(a) <= b)",
    ref: (a, b) => (Math.abs(a) <= b ? 0 : a),
    grad: (g, [a, b]) => [where(op("le", op("abs", a), b), c(0), g), zero(g)],
    samples: [[1.5, 0.5], [-3, 0.5], [0.25, 0.5]],
    tolerance: exact,
    source: "torch.nn.functional.hardshrink",
  },
  softshrink: {
    arity: 2,
    kind: "float",
    doc: "`a` moved towards 0 by `b`, and 0 where `|a|` is at most `b`.",
    wgsl: "a - min_nan(max_nan(a, -(b)), b)",
    ref: (a, b) => a - Math.min(Math.max(a, -b), b),
    grad: (g, [a, b]) => {
      const outer = where(lt(a, neg(b)), g, c(0));
      return [where(gt(op("abs", a), b), g, c(0)), where(gt(a, b), neg(g), outer)];
    },
    samples: [[1.5, 0.5], [-3, 0.5], [0.25, 0.5]],
    tolerance: ulp1,
    source: "torch.nn.functional.softshrink; NaN stays NaN",
  },
});

/** `a − tanh a` near 0, where the difference would lose its digits. */
function tanhGap(a: number): number {
  const z = a * a;
  return a * z * (1 / 3 - z * (2 / 15 - z * (17 / 315 - z * (62 / 2835 - z * (1382 / 155925)))));
}
