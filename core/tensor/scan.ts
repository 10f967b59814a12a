/** Running sums. */

import { scanKernel } from "../../kernels/scan.ts";
import { sizeOf } from "../../kernels/types.ts";
import { axisLines, stridedOperand } from "./axis_lines.ts";
import { denseOperand, operandOf } from "./launch.ts";
import { axisOf, contiguousStrides } from "./shape.ts";
import { record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";
import { flip } from "./view.ts";

/** Lines up to this length are scanned by one thread each; longer ones are cut into blocks. */
const WHOLE = 1024;
const BLOCK = 256;

/**
 * Running sum along an axis: `y[i] = x[0] + … + x[i]`. Differentiable; f16 is summed in f32.
 *
 * @param t any dtype
 * @param dim the axis
 * @returns the shape of `t`; its dtype, i32 for bool
 * @throws {ShapeError} if there is no such axis
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]], { device: referenceDevice() });
 * assertEquals(await x.cumsum(1).array(), [[1, 3, 6], [4, 9, 15]]);
 * ```
 */
export function cumsum(t: Tensor, dim: number): Tensor {
  const axis = axisOf("cumsum", dim, t.ndim);
  if (t.dtype === "f16") return cumsum(t.to("f32"), axis).to("f16");
  if (t.dtype === "bool") return cumsum(t.to("i32"), axis);
  return record("cumsum", scan(t, axis), [t], (g) => [flip(cumsum(flip(g, axis), axis), axis)]);
}

function scan(t: Tensor, axis: number): Tensor {
  const { device, dtype, shape } = t;
  const out = empty(device, shape, dtype, "cumsum");
  if (out.size === 0) return out;
  const length = shape[axis];
  const block = length <= WHOLE ? length : BLOCK;
  const all = axisLines(shape, axis, [t.strides, contiguousStrides(shape)]);
  const whole = {
    outer: all.outer,
    length,
    block,
    input: stridedOperand(t, all.strides[0]),
    output: { dtype, strides: all.strides[1], offset: 0 },
  };
  const inputs = [t];
  if (block < length) {
    const sums = empty(device, [sizeOf(all.outer), Math.ceil(length / block)], dtype, "cumsum");
    device.record({
      kernel: scanKernel({ ...whole, output: null }),
      inputs: [operandOf(t)],
      outputs: [denseOperand(sums)],
      scalars: [],
    });
    inputs.push(scan(sums, 1));
    sums.dispose();
  }
  device.record({
    kernel: scanKernel(whole),
    inputs: inputs.map(operandOf),
    outputs: [denseOperand(out)],
    scalars: [],
  });
  inputs[1]?.dispose();
  return out;
}
