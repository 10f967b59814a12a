import { assertEquals } from "@std/assert";
import { conv2d, crossEntropy, tensor, zeros } from "../../core/mod.ts";
import { kernelLabel } from "../../kernels/label.ts";
import { apply, input } from "../../kernels/expr.ts";
import type { Kernel } from "../../kernels/types.ts";
import { reference as device } from "../util.ts";

/** Labels of the kernels that a function runs. */
function labelsOf(fn: () => unknown): string[] {
  const kernels: Kernel[] = [];
  const end = device.intercept({ record: ({ kernel }) => kernels.push(kernel) });
  try {
    fn();
  } finally {
    end();
  }
  return kernels.map(kernelLabel);
}

const x = zeros([4, 6], { device });

Deno.test("kernelLabel() names family, formula and sizes", () => {
  assertEquals(labelsOf(() => x.matmul(zeros([6, 5], { device }))).at(-1), "matmul 4×6×5");
  assertEquals(
    labelsOf(() => zeros([7, 4, 6], { device }).matmul(zeros([7, 6, 5], { device }))).at(-1),
    "matmul [7] 4×6×5",
  );
  assertEquals(labelsOf(() => x.relu()), ["map relu [24]"]);
  assertEquals(labelsOf(() => x.t().contiguous()).at(-1), "map copy [6, 4]");
  assertEquals(labelsOf(() => x.sum(1)), ["reduce sum [4] over [6]"]);
  assertEquals(labelsOf(() => x.cumsum(1)), ["scan [4, 6]"]);
  const targets = tensor([0, 1, 2, 3], { device, dtype: "i32" });
  assertEquals(labelsOf(() => crossEntropy(x, targets))[0], "crossEntropy whole [4, 6]");
  const images = zeros([2, 1, 9, 9], { device });
  const weight = zeros([8, 1, 5, 5], { device });
  assertEquals(
    labelsOf(() => conv2d(images, weight)).find((label) => label.startsWith("conv2d")),
    "conv2d [2, 1, 9, 9] 5×5 → 8",
  );
});

Deno.test("kernelLabel() names what was fused into a kernel, and knows none by heart", () => {
  const kernel = (key: string, params: unknown): Kernel => ({
    op: "matmul",
    key,
    params,
    inputs: [],
    outputs: ["f32"],
    scalars: [],
    wgsl: () => ({ code: "", groups: [1, 1, 1] }),
    reference: () => {},
  });
  const epilogue = { outputs: [{ expr: apply("relu", apply("add", input(0), input(1))) }] };
  assertEquals(
    kernelLabel(kernel("a|{}", { m: 2, n: 3, k: 4, splits: 5, epilogue })),
    "matmul add,relu 2×4×3 in 5 slices",
  );
  assertEquals(kernelLabel(kernel("matmul|by hand|7", null)), "matmul by hand");
  assertEquals(kernelLabel(kernel("b", 3)), "matmul");
});
