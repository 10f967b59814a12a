/** Kernels made by hand whose results are sums of products: compared with double precision by what their terms are worth. */

import { assertEquals } from "@std/assert";
import type { Kernel } from "../../../kernels/types.ts";
import type { WasmFeatures } from "../../../kernels/wasm/module.ts";
import type { CpuProgram } from "../../../kernels/wasm/program.ts";
import { randomValues } from "../../util.ts";
import { runProgram } from "./runner.ts";

/** Makes the program of a kernel. */
export type Emitter = (kernel: Kernel, features: WasmFeatures) => CpuProgram;

/** Error that is allowed, as a share of the sum of the sizes of all terms. */
const SHARE = 1e-6;

/** Machines with and without fused multiplication and addition. */
const machines: readonly WasmFeatures[] = [true, false].map((relaxed) => ({
  shared: false,
  relaxed,
  maxPages: 4096,
}));

/**
 * Fails unless a kernel gives the sums of its reference, whatever the machine, and the same bits however its tasks are shared
 * out.
 *
 * @param sizes elements of the inputs, and of the outputs
 * @returns the outputs of the machine with fused multiplication and addition
 */
export function checkSums(
  label: string,
  kernel: Kernel,
  emit: Emitter,
  [ins, outs]: readonly [readonly number[], readonly number[]],
): Float64Array[] {
  const inputs = ins.map((count, n) => randomValues(count, 11 + n));
  const outputs = outs.map((count) => new Float64Array(count));
  const want = outs.map((count) => new Float64Array(count));
  const worth = outs.map((count) => new Float64Array(count));
  kernel.reference(inputs, want, []);
  kernel.reference(inputs.map((x) => x.map(Math.abs)), worth, []);
  const [fused] = machines.map((features) => {
    const program = emit(kernel, features);
    const got = runProgram(program, kernel, { inputs, outputs });
    got.forEach((values, n) => checkValues(`${label}, output ${n}`, values, want[n], worth[n]));
    const singly = runProgram(
      program,
      kernel,
      { inputs, outputs },
      (tasks) => Array.from({ length: tasks }, (_, t) => [tasks - 1 - t, tasks - t] as const),
    );
    assertEquals(singly, got, `${label}: tasks in another order`);
    return got;
  });
  return fused;
}

function checkValues(
  label: string,
  got: Float64Array,
  want: Float64Array,
  worth: Float64Array,
): void {
  got.forEach((value, i) => {
    const bound = SHARE * worth[i];
    if (Math.abs(value - want[i]) <= bound) return;
    throw new Error(`${label}: element ${i} is ${value}, expected ${want[i]} within ${bound}`);
  });
}
