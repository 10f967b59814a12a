/** Runs WGSL texts that belong to no kernel of the library. */

import type { DType, Kernel, ScalarType } from "../../../kernels/types.ts";
import { type Binding, shader } from "../../../kernels/wgsl.ts";
import { compileWgsl } from "../../../kernels/wasm/wgsl/compile.ts";
import { features } from "./machine.ts";
import { runKernel } from "./runner.ts";

/** What a text is run on. */
export interface TextOptions {
  readonly inputs?: readonly (readonly [Binding, ArrayLike<number>])[];
  readonly output?: Omit<Binding, "name">;
  /** Elements of the output. */
  readonly size: number;
  readonly scalars?: readonly (readonly [ScalarType, number])[];
  readonly groups?: readonly [number, number, number];
}

/** A kernel of a text, whose output is `y`. */
export function kernelOf(text: string, options: TextOptions): Kernel {
  const { inputs = [], output = { dtype: "f32" }, scalars = [], groups = [1, 1, 1] } = options;
  const types = scalars.map(([type]) => type);
  const code = shader(inputs.map(([b]) => b), [{ ...output, name: "y" }], types, text);
  return {
    op: "test",
    key: text,
    params: null,
    inputs: inputs.map(([b]) => b.dtype),
    outputs: [output.dtype],
    scalars: types,
    wgsl: () => ({ code, groups }),
    reference: () => {},
  };
}

/** What a text stores in `y`. */
export function runText(text: string, options: TextOptions): number[] {
  const { inputs = [], scalars = [], size } = options;
  const operands = {
    inputs: inputs.map(([, values]) => values),
    outputs: [new Float64Array(size)],
    scalars: scalars.map(([, value]) => value),
  };
  return [...runKernel(kernelOf(text, options), operands)[0]];
}

/** What statements of single threads, numbered by `i`, store in `y`. */
export function runThreads(
  body: string,
  size: number,
  options: Partial<TextOptions> = {},
  functions = "",
): number[] {
  const text = `${functions}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = wg.x * 8u + lane;
  if (i >= ${size}u) { return; }
${body}
}`;
  return runText(text, { size, groups: [Math.ceil(size / 8), 1, 1], ...options });
}

/** A binding with numbers. */
export function bound(
  name: string,
  dtype: DType,
  values: ArrayLike<number>,
  width: 1 | 4 = 1,
): readonly [Binding, ArrayLike<number>] {
  return [{ name, dtype, width }, values];
}

/** Compiles a text without running it. */
export function compileText(text: string, options: TextOptions = { size: 1 }): Uint8Array {
  const kernel = kernelOf(text, options);
  return compileWgsl(kernel, kernel.wgsl({ software: true, maxGroups: 1, f16: true }), features)
    .code;
}
