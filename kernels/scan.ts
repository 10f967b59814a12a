/**
 * Running sums along lines, in a fixed order.
 *
 * Long lines are cut into blocks: one kernel sums each block, the sums are scanned themselves, and
 * another kernel scans each block on top of what lies before it.
 */

import { operandKey, type StridedOperand } from "./map.ts";
import {
  type DeviceTraits,
  type DType,
  intern,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, addressesOf, coordinates, grid, perThread, shader, u32 } from "./wgsl.ts";

/** Parameters of a scan; the dtype is f32, i32 or u32. */
export interface ScanParams {
  /** The lines. */
  readonly outer: Shape;
  /** Elements of a line. */
  readonly length: number;
  /** Elements that one thread goes through; all of the line where it is not cut. */
  readonly block: number;
  /** Strides over `[...outer, line]`. */
  readonly input: StridedOperand;
  /**
   * Strides over `[...outer, line]`, for the scan; null asks for the sums of the blocks, dense
   * `[...outer, blocks]`. Where the line is cut the scan has a second input: the scanned sums.
   */
  readonly output: StridedOperand | null;
}

/** The scan of these parameters. */
export function scanKernel(params: ScanParams): Kernel {
  const { outer, length, block, input, output } = params;
  const key = `scan|${outer}|${length}|${block}|${operandKey(input)}|${
    output && operandKey(output)
  }`;
  const { dtype } = input;
  const carried = output !== null && block < length;
  return intern(key, () => ({
    op: "scan",
    key,
    params,
    inputs: carried ? [dtype, dtype] : [dtype],
    outputs: [dtype],
    scalars: [],
    wgsl: (traits) => scanProgram(params, traits),
    reference: (ins, outs) => scanReference(params, ins, outs[0]),
  }));
}

function scanProgram(params: ScanParams, traits: DeviceTraits): WgslProgram {
  const { outer, length, block, input, output } = params;
  const { dtype } = input;
  const blocks = Math.ceil(length / block);
  const count = sizeOf(outer) * blocks;
  const carried = output !== null && blocks > 1;
  const x = `x[base + k * ${u32(input.strides.at(-1)!)}]`;
  const body = [
    `  let o = i / ${blocks}u;`,
    `  let b = i % ${blocks}u;`,
    coordinates("o", outer, "c"),
    `  let base = ${address("c", input.strides.slice(0, -1), input.offset)};`,
    `  let low = b * ${block}u;`,
    `  let high = min(low + ${block}u, ${length}u);`,
    `  var sum = ${dtype}(0);`,
  ];
  if (carried) body.push("  if (b > 0u) { sum = before[i - 1u]; }");
  if (output === null) {
    body.push(`  for (var k = low; k < high; k++) { sum += ${x}; }`, "  y[i] = sum;");
  } else {
    body.push(
      `  let start = ${address("c", output.strides.slice(0, -1), output.offset)};`,
      `  for (var k = low; k < high; k++) {`,
      `    sum += ${x};`,
      `    y[start + k * ${u32(output.strides.at(-1)!)}] = sum;`,
      `  }`,
    );
  }
  const inputs: { name: string; dtype: DType }[] = [{ name: "x", dtype }];
  if (carried) inputs.push({ name: "before", dtype });
  return {
    code: shader(inputs, [{ name: "y", dtype }], [], perThread(count, body.join("\n"))),
    groups: grid(count, traits),
  };
}

function scanReference(
  { outer, length, block, input, output }: ScanParams,
  [x]: readonly Float64Array[],
  out: Float64Array,
): void {
  const { dtype } = input;
  const wrap = (v: number) => dtype === "i32" ? v | 0 : dtype === "u32" ? v >>> 0 : v;
  const starts = addressesOf(outer, input.strides.slice(0, -1), input.offset);
  const targets = output && addressesOf(outer, output.strides.slice(0, -1), output.offset);
  const blocks = Math.ceil(length / block);
  starts.forEach((start, o) => {
    let sum = 0;
    for (let k = 0; k < length; k++) {
      if (targets === null && k % block === 0) sum = 0;
      sum = wrap(sum + x[start + k * input.strides.at(-1)!]);
      if (targets) out[targets[o] + k * output!.strides.at(-1)!] = sum;
      else out[o * blocks + Math.floor(k / block)] = sum;
    }
  });
}
