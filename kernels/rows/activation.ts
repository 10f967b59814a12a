/** Rows of activation functions. */

import { c, gt, rows, where } from "./row.ts";

/** Rows of this family by name. */
export const activations = rows({
  relu: {
    arity: 1,
    kind: "numeric",
    doc: "Rectifier `max(a, 0)`; NaN stays NaN, the derivative at 0 is 0.",
    wgsl: "select(a, T(0), a < T(0))",
    ref: (a) => (a < 0 ? 0 : a),
    grad: (g, _, y) => [where(gt(y, c(0)), g, c(0))],
    samples: [[1.5], [-3]],
    tolerance: { rel: 0, abs: 0 },
    source: "torch.relu",
  },
});
