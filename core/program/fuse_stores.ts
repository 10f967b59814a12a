/** Elementwise kernels as part of the stores of the kernels that they read from. */

import { input, substitute } from "../../kernels/expr.ts";
import { resultShape, withEpilogue } from "../../kernels/fusable.ts";
import type { MapParams, StridedOperand } from "../../kernels/map.ts";
import { type Operand, sizeOf } from "../../kernels/types.ts";
import { contiguousStrides } from "../tensor/shape.ts";
import { isOneToOne, overWriter, relate } from "./affine.ts";
import { MAX_BINDINGS } from "./fuse_loads.ts";
import type { StepCall } from "./recording.ts";

/** A call that writes where a copy of its result would lie; null where the reader is more than a copy of all of it. */
export function fuseCopy(writer: StepCall, reader: StepCall): StepCall | null {
  if (reader.kernel.op !== "map") return null;
  const { expr, shape, inputs, output, inPlace } = reader.kernel.params as MapParams;
  if (inPlace || expr !== input(0) || inputs.length !== 1 || shape.length > 1) return null;
  const [from, to] = [inputs[0], output];
  if (from.dtype !== to.dtype || from.offset !== 0 || to.offset !== 0) return null;
  if ([...from.strides, ...to.strides].some((stride) => stride !== 1)) return null;
  const [source] = reader.inputs;
  const at = writer.outputs.findIndex((o) => o.buffer === source.buffer);
  const { offset, size } = writer.outputs[at];
  if (offset !== source.offset || size !== sizeOf(shape)) return null;
  const [target] = reader.outputs;
  const used = [...writer.inputs, ...writer.outputs].some((o) => o.buffer === target.buffer);
  if (used) return null;
  const outputs = writer.outputs.map((o, n) => n === at ? { ...target, size } : o);
  return { ...writer, outputs };
}

/** A product or convolution that stores the reader's formula of its sums, and the sums too where `others` need them. */
export function fuseEpilogue(
  writer: StepCall,
  reader: StepCall,
  others: boolean,
): StepCall | null {
  if (reader.kernel.op !== "map" || writer.outputs.length !== 1) return null;
  const params = reader.kernel.params as MapParams;
  if (params.inPlace || !["matmul", "conv2d", "conv2d_weight"].includes(writer.kernel.op)) {
    return null;
  }
  const shape = resultShape(writer.kernel);
  const [result] = writer.outputs;
  const strides = contiguousStrides(shape);
  const at = reader.inputs.findIndex((o) => o.buffer === result.buffer);
  const load = params.inputs[at];
  const relation = relate(
    { shape: params.shape, strides: load.strides, offset: reader.inputs[at].offset + load.offset },
    { shape, strides, offset: result.offset },
  );
  if (relation === null || !isOneToOne(relation, shape)) return null;
  const inputs: StridedOperand[] = [];
  const operands: Operand<unknown>[] = [];
  const numbers: number[] = [];
  for (let n = 0; n < params.inputs.length; n++) {
    const o = params.inputs[n];
    if (reader.inputs[n].buffer === result.buffer) {
      const same = String(o.strides) === String(load.strides) && o.offset === load.offset &&
        reader.inputs[n].offset === reader.inputs[at].offset;
      if (!same) return null;
      numbers.push(0);
      continue;
    }
    const over = overWriter(relation, shape, o.strides);
    if (over === null) return null;
    inputs.push({ ...o, strides: over });
    numbers.push(operands.push(reader.inputs[n]));
  }
  const over = overWriter(relation, shape, params.output.strides);
  if (over === null) return null;
  const all = [...writer.inputs, ...operands];
  const outputs = others ? [result, ...reader.outputs] : reader.outputs;
  if (all.length + outputs.length > MAX_BINDINGS) return null;
  if (all.some((o) => outputs.some(({ buffer }) => buffer === o.buffer))) return null;
  const expr = substitute(
    params.expr,
    (e) => e.kind === "input" ? input(numbers[e.index]) : undefined,
  );
  const stored = { expr, target: { ...params.output, strides: over } };
  const plain = { expr: input(0), target: { dtype: "f32" as const, strides, offset: 0 } };
  const kernel = withEpilogue(writer.kernel, {
    outputs: others ? [plain, stored] : [stored],
    inputs,
    scalars: params.scalars,
  });
  return kernel && { kernel, inputs: all, outputs, cells: reader.cells };
}
