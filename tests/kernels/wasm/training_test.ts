import {
  limitKernel,
  normKernel,
  partialNormKernel,
  partialsOf,
  scaleKernel,
} from "../../../kernels/clip.ts";
import { meanLossKernel, rowLossKernel } from "../../../kernels/cross_entropy.ts";
import { lossGradientKernel } from "../../../kernels/cross_entropy_gradient.ts";
import { meanCrossEntropyKernel } from "../../../kernels/cross_entropy_mean.ts";
import {
  adamKernel,
  rmspropKernel,
  sgdKernel,
  type UpdateRange,
} from "../../../kernels/optimizer.ts";
import type { Kernel } from "../../../kernels/types.ts";
import { judgeKernel, lossScaleKernel, verdictKernel } from "../../../kernels/verdict.ts";
import { type Case, check, dense, HALF, integers, SAME, strided, values } from "./cases.ts";

const LOSS = { rel: 1e-5, abs: 1e-5 };

/** Targets among `classes`, one of them -100, which is ignored. */
function targetsOf(rows: number, classes: number): Float64Array {
  const targets = integers(rows, 2, 0, classes);
  if (rows > 2) targets[1] = -100;
  return targets;
}

Deno.test("row losses, with weights and smoothing, short and long rows", () => {
  for (const classes of [1, 5, 10, 33, 300]) {
    for (const rows of [1, 67]) {
      for (const weight of [null, dense([classes])]) {
        for (const [softmax, smoothing] of [[true, false], [true, true], [false, false]]) {
          const shape = { classes, softmax, smoothing, weight, rows: [rows] };
          const kernel = rowLossKernel({
            ...shape,
            logits: strided([classes]),
            classStride: 1,
            targets: dense([rows], "i32"),
          });
          const targets = integers(rows, 2, 0, classes);
          check({
            kernel,
            inputs: [
              values(rows * classes, 1, -3, 3),
              targets,
              ...(weight ? [values(classes, 3, 0.5, 1)] : []),
            ],
            outputs: [rows, rows, ...(softmax ? [3 * rows] : [])],
            scalars: [-100, 0.1],
            bounds: LOSS,
          });
        }
      }
    }
  }
});

Deno.test("row losses of ignored and unknown classes", () => {
  const kernel = rowLossKernel({
    classes: 4,
    softmax: false,
    smoothing: false,
    weight: null,
    rows: [5],
    logits: strided([1]),
    classStride: 5,
    targets: dense([5], "i32"),
  });
  const inputs = [values(20, 1), Float64Array.of(0, -100, 7, 3, -1)];
  check({ kernel, inputs, outputs: [5, 5], scalars: [-100, 0], bounds: LOSS });
});

Deno.test("the mean of losses by one workgroup, and sums of slices by several", () => {
  for (const count of [1, 63, 64, 1000]) {
    const inputs = [values(count, 1), values(count, 2, 0, 1)];
    check({ kernel: meanLossKernel(count, 1), inputs, outputs: [1, 1], bounds: LOSS });
  }
  const inputs = [values(640, 1), values(640, 2)];
  const folded: Kernel = {
    ...meanLossKernel(640, 3),
    key: "sums of slices, folded",
    // Which numbers a slice takes is up to the kernel; here slice s has those of the workgroups s, s + 3, ….
    reference: ([losses, shares], outputs) => {
      [losses, shares].forEach((x, k) => {
        outputs[k].fill(0);
        x.forEach((v, n) => outputs[k][Math.floor(n / 64) % 3] += v);
      });
    },
  };
  check({ kernel: folded, inputs, outputs: [3, 3], bounds: LOSS });
});

Deno.test("gradients of losses, with and without softmax", () => {
  for (const [rows, classes] of [[13, 10], [6, 4], [3, 37]]) {
    for (const weight of [null, dense([classes])]) {
      for (
        const [softmax, smoothing, mean] of [[true, true, true], [true, false, false], [
          false,
          false,
          true,
        ]]
      ) {
        const x = dense([rows, classes]);
        const kernel = lossGradientKernel({
          classes,
          softmax,
          smoothing,
          weight,
          shape: [rows, classes],
          logits: x,
          targets: strided([1, 0], 0, "i32"),
          gradient: strided([1, 0]),
          rowStrides: [1, 0],
          classStrides: [0, 1],
          mean,
        });
        const stats = values(3 * rows, 5, 1, 2);
        check({
          kernel,
          inputs: [
            targetsOf(rows, classes),
            values(rows, 3),
            ...(softmax ? [values(rows * classes, 4), stats] : []),
            ...(mean ? [Float64Array.of(7.5)] : []),
            ...(weight ? [values(classes, 6, 0.5, 1)] : []),
          ],
          outputs: [rows * classes],
          scalars: [-100, 0.1],
          bounds: LOSS,
        });
      }
    }
  }
});

Deno.test("the mean cross-entropy with its gradient in one workgroup", () => {
  for (const [rows, classes] of [[1, 3], [64, 10], [130, 16], [77, 5]]) {
    for (const weight of [null, dense([classes])]) {
      for (const gradient of [true, false]) {
        const kernel = meanCrossEntropyKernel({
          classes,
          softmax: true,
          smoothing: false,
          weight,
          rows: [rows],
          logits: dense([rows, classes]),
          targets: dense([rows], "i32"),
          gradient,
        });
        check({
          kernel,
          inputs: [
            values(rows * classes, 1, -3, 3),
            targetsOf(rows, classes),
            ...(weight ? [values(classes, 3, 0.5, 1)] : []),
          ],
          outputs: gradient ? [1, rows * classes] : [1],
          scalars: [-100],
          bounds: LOSS,
        });
      }
    }
  }
});

Deno.test("norms of gradients and clipping", () => {
  for (const count of [4, 260, 20000]) {
    for (const kind of ["one", "two", "power", "max"] as const) {
      const kernel = partialNormKernel(kind, count, "f32");
      const parts = partialsOf(count);
      check({ kernel, inputs: [values(count, 1)], outputs: [parts], scalars: [3], bounds: LOSS });
      check({
        kernel: normKernel(kind, parts),
        inputs: [values(parts, 2, 0, 2)],
        outputs: [2],
        scalars: [1 / 3, 0.75],
        bounds: LOSS,
      });
    }
    for (const dtype of ["f32", "f16"] as const) {
      const bounds = dtype === "f16" ? HALF : LOSS;
      const outputs = [values(count, 1)];
      check({ kernel: scaleKernel(count, dtype), inputs: [[2, 0.25]], outputs, bounds });
      check({ kernel: limitKernel(count, dtype), inputs: [], outputs, scalars: [0.5], bounds });
    }
  }
});

Deno.test("verdicts on a step, and the loss scale that follows", () => {
  for (const count of [4, 1024, 20000]) {
    const parts = partialsOf(count);
    for (const dtype of ["f32", "f16"] as const) {
      for (const unscales of [true, false]) {
        const x = values(count, 1);
        x[count - 3] = Infinity;
        const inputs = unscales ? [x, [8]] : [x];
        check({
          kernel: judgeKernel(count, dtype, unscales),
          inputs,
          outputs: [parts, parts],
          bounds: LOSS,
        });
      }
    }
    for (const clips of [true, false]) {
      for (const unscales of [true, false]) {
        for (const flawed of [0, 1]) {
          const flaws = new Float64Array(parts);
          flaws[parts - 1] = flawed;
          check({
            kernel: verdictKernel({ count: parts, clips, unscales }),
            inputs: [values(parts, 2, 0, 1), flaws, ...(unscales ? [[4]] : [])],
            outputs: [3, [5], ...(unscales ? [[0]] : [])],
            scalars: [0.5, 1],
            bounds: LOSS,
          });
        }
      }
    }
  }
  for (const [scale, tracker, found] of [[1024, 1, 1], [1024, 1, 0], [1024, 5, 0], [2e38, 5, 0]]) {
    check({
      kernel: lossScaleKernel(),
      inputs: [],
      outputs: [[scale], [tracker], [found]],
      scalars: [2, 0.5, 6],
      bounds: SAME,
    });
  }
});

const ranges: readonly UpdateRange[] = [
  { count: 64, dtype: "f32" },
  { count: 1028, dtype: "f32", averaged: "constant" },
  { count: 132, dtype: "f32", scaled: true, counted: true, averaged: "warming" },
  { count: 128, dtype: "f16", scaled: true },
];

/** An update with numbers for all that it takes; `scalars` are those of its rule. */
function update(
  range: UpdateRange,
  kernel: Kernel,
  slots: number,
  scalars: readonly number[],
  taken = 1,
): Case {
  const { count, dtype, scaled, counted, averaged } = range;
  const state = Array.from(
    { length: slots + (averaged ? 1 : 0) },
    (_, n) => n === 0 ? values(count, 10, 0.5, 1) : values(count, 10 + n, 0.01, 0.5),
  );
  return {
    kernel,
    inputs: [values(count, 1), ...(scaled ? [[1, 0.5, taken]] : [])],
    outputs: [values(count, 2), ...state, ...(counted ? [[3, 1, 0, 2]] : [])],
    scalars: [...scalars, ...(averaged ? [0.125] : []), ...(counted ? [12, 1, 2] : [])],
    bounds: dtype === "f16" ? HALF : { rel: 1e-5, abs: 1e-6 },
  };
}

Deno.test("updates of optimizers, plain, scaled, counted and averaged", () => {
  for (const range of ranges) {
    for (const taken of range.counted ? [1, 0] : [1]) {
      for (
        const [weightDecay, momentum, nesterov] of [[false, false, false], [true, true, false], [
          true,
          true,
          true,
        ]]
      ) {
        const kernel = sgdKernel({ ...range, weightDecay, momentum, nesterov });
        const slots = momentum ? 1 : 0;
        check(update(range, kernel, slots, [0.1, 0.01, 0.9, 0.8, 0.9], taken));
      }
      for (const decay of ["none", "coupled", "decoupled"] as const) {
        const kernel = adamKernel({ ...range, decay });
        const more = range.counted ? [Math.log(0.9), Math.log(0.999)] : [];
        const scalars = [0.01, 1.5, 1e-8, 0.9, 0.1, 0.999, 0.001, 0.98, ...more];
        check(update(range, kernel, 2, scalars, taken));
      }
      for (
        const [weightDecay, momentum, centered] of [[false, false, false], [true, true, true], [
          false,
          false,
          true,
        ]]
      ) {
        const kernel = rmspropKernel({ ...range, weightDecay, momentum, centered });
        const slots = 1 + Number(momentum) + Number(centered);
        check(update(range, kernel, slots, [0.01, 0.1, 0.99, 0.01, 1e-8, 0.9], taken));
      }
    }
  }
});
