/** Gradients of several batches, and their mean. */

import { type DType, intern, type Kernel } from "./types.ts";
import { grid, perThread, shader } from "./wgsl.ts";

/**
 * Multiplies `count` elements (a multiple of 4) by a number that the host gives.
 *
 * Output, read and written: the elements. Scalar: the number.
 */
export function scaledInPlaceKernel(count: number, dtype: DType): Kernel {
  const key = `optimizer|scale|${count}|${dtype}`;
  return intern(key, () => ({
    op: "optimizer",
    key,
    params: { count, dtype },
    inputs: [],
    outputs: [dtype],
    scalars: ["f32"],
    wgsl: (traits) => {
      const body = `  x[i] = vec4<${dtype}>(vec4<f32>(x[i]) * u.s0);`;
      const code = shader(
        [],
        [{ name: "x", dtype, width: 4 }],
        ["f32"],
        perThread(count / 4, body),
      );
      return { code, groups: grid(count / 4, traits) };
    },
    reference: (_, [x], [factor]) => {
      for (let i = 0; i < count; i++) x[i] *= factor;
    },
  }));
}
