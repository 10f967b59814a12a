/** Softmax of rows in one kernel, along any axis and of any length, with its gradient. */

import { assertEquals } from "@std/assert";
import { grad, tensor } from "../../mod.ts";
import {
  assertClose,
  compareWithReference,
  evaluate,
  randomValues,
  type Sample,
  sample,
  type TensorFunction,
} from "../util.ts";
import { devices, hardwareKernels, kernelSets } from "./devices.ts";

/** Softmax, its logarithm, and the gradients of either for a cotangent, of rows of a matrix. */
function definition(x: ArrayLike<number>, length: number, g: ArrayLike<number>) {
  const [p, logs, dp, dlogs] = [0, 0, 0, 0].map(() => new Float64Array(x.length));
  for (let i = 0; i < x.length; i += length) {
    const at = Array.from({ length }, (_, k) => i + k);
    const top = Math.max(...at.map((j) => x[j]));
    const total = at.reduce((sum, j) => sum + Math.exp(x[j] - top), 0);
    for (const j of at) {
      logs[j] = x[j] - top - Math.log(total);
      p[j] = Math.exp(logs[j]);
    }
    const gp = at.reduce((sum, j) => sum + g[j] * p[j], 0);
    const gs = at.reduce((sum, j) => sum + g[j], 0);
    for (const j of at) {
      dp[j] = p[j] * (g[j] - gp);
      dlogs[j] = g[j] - p[j] * gs;
    }
  }
  return { p, logs, dp, dlogs };
}

for (const device of [...devices, hardwareKernels].filter((d) => d !== null)) {
  const name = device === hardwareKernels ? "kernels for hardware" : device.kind;
  for (const length of [1, 3, 10, 64, 66, 1001, 4096]) {
    Deno.test(`softmax() of rows of ${length} gives the definition, with ${name}`, async () => {
      const x = sample([18, length], 1, -6, 6);
      const want = definition(x.data, length, randomValues(x.data.length, 99));
      const p = await evaluate(device, (t) => t.softmax(1), [x]);
      assertClose(p.output, want.p, { rel: 4e-6, abs: 1e-12 }, "softmax");
      assertClose(p.gradients[0]!, want.dp, { rel: 1e-5, abs: 1e-6 }, "gradient of softmax");
      const logs = await evaluate(device, (t) => t.logSoftmax(1), [x]);
      assertClose(logs.output, want.logs, { rel: 2e-6, abs: 2e-6 }, "logSoftmax");
      assertClose(logs.gradients[0]!, want.dlogs, { rel: 1e-5, abs: 4e-6 }, "its gradient");
    });
  }

  Deno.test(`softmax() hands masks, infinities and NaN on as without shortcuts, with ${name}`, async () => {
    const inf = Infinity;
    for (const length of [4, 400]) {
      const rest = new Array(length - 3).fill(-inf);
      const rows = [[0, -inf, Math.log(3)], [-inf, -inf, -inf], [inf, 0, -1], [NaN, 0, 1]];
      const x = tensor(rows.flatMap((row) => [...row, ...rest]), { device, shape: [4, length] });
      const nan = new Array(length).fill(NaN);
      const zero = new Array(length - 3).fill(0);
      const want = [0.25, 0, 0.75, ...zero, ...nan, NaN, 0, 0, ...zero, ...nan];
      assertClose(await x.softmax(1).data(), want, 1e-6, `softmax of ${length}`);
      const [first] = await x.logSoftmax(1).narrow(0, 0, 1).array() as number[][];
      assertClose(first.slice(0, 4), [Math.log(0.25), -inf, Math.log(0.75), -inf], 1e-6, "log");
    }
  });
}

const both = (axis: number): TensorFunction => (x) => x.softmax(axis).add(x.logSoftmax(axis));

const layouts: [string, TensorFunction, Sample[]][] = [
  ["a middle axis", both(1), [sample([6, 9, 10], 1, -3, 3)]],
  ["a first axis", both(0), [sample([12, 25], 1, -3, 3)]],
  ["channels last", (x) => both(1)(x.permute([0, 3, 1, 2])), [sample([3, 4, 5, 8], 1, -3, 3)]],
  ["a transposed matrix", (x) => both(1)(x.t()), [sample([24, 20], 1, -3, 3)]],
  ["a slice", (x) => both(1)(x.slice(null, { start: 1, step: 2 })), [sample([20, 33], 1, -3, 3)]],
  ["few long rows", both(1), [sample([3, 3000], 1, -3, 3)]],
  ["a vector", both(0), [sample([40], 1, -3, 3)]],
  ["no rows", both(1), [sample([0, 5], 1)]],
  ["no elements", both(1), [sample([5, 0], 1)]],
];

for (const [name, device] of kernelSets) {
  Deno.test({
    name: `softmax() agrees with the reference in every layout, ${name}`,
    ignore: device === null,
    fn: async (t) => {
      for (const [label, fn, inputs] of layouts) {
        await t.step(
          label,
          () => compareWithReference(device!, fn, inputs, { rel: 4e-6, abs: 4e-6 }, label),
        );
      }
    },
  });
}

Deno.test("softmax() takes one kernel forward and one backward", () => {
  for (const device of devices) {
    const x = tensor(randomValues(64 * 100, 1), { device, shape: [64, 100], requiresGrad: true });
    for (const op of ["softmax", "logSoftmax"] as const) {
      const start = device.work().dispatches;
      const y = x[op](1);
      const forward = device.work().dispatches;
      grad(y, [x], { gradient: x.detach() });
      assertEquals([forward - start, device.work().dispatches - forward], [1, 1], op);
    }
  }
});
