/**
 * Where augmentation kernels run: on a device, or on the host in double precision, by the kernels'
 * references. What is written once for both gives the same images on both.
 */

import type { StridedOperand } from "../../kernels/map.ts";
import type { Kernel } from "../../kernels/types.ts";
import type { Device } from "../backend/device.ts";
import { stridedOperand } from "./axis_lines.ts";
import { denseOperand, operandOf } from "./launch.ts";
import { contiguousStrides } from "./shape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** The words that a row of random numbers depends on, beside the sample. */
export interface DrawWords {
  /** Two words of a key and a position, now. */
  readonly now: readonly number[];
  /** The same for every replay of a captured step. */
  readonly live?: () => readonly number[];
}

/** A place that runs kernels over blocks of numbers. */
export interface AugmentMachine<T> {
  /** Sizes of a block. */
  shapeOf(block: T): readonly number[];
  /** A block as a kernel reads it. */
  operand(block: T): StridedOperand;
  /** Runs a kernel into a new block; images are channels-last in memory, other blocks row-major. */
  run(kernel: Kernel, inputs: readonly T[], shape: readonly number[], words?: DrawWords): T;
  /** Gives back a block that is not needed any more. */
  drop(block: T): void;
}

/** Images lie as [N, H, W, C]; with one channel both orders are the same. */
function stridesOf(shape: readonly number[]): number[] {
  if (shape.length !== 4 || shape[1] === 1) return contiguousStrides(shape);
  const [, channels, height, width] = shape;
  return [channels * height * width, 1, width * channels, channels];
}

/** Numbers on the host, in double precision. */
export interface HostBlock {
  readonly data: Float64Array;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** Runs the references of kernels. */
export const hostMachine: AugmentMachine<HostBlock> = {
  shapeOf: ({ shape }) => shape,
  operand: ({ strides }) => ({ dtype: "f32", strides, offset: 0 }),
  run(kernel, inputs, shape, words) {
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    kernel.reference(inputs.map((block) => block.data), [data], words?.now ?? []);
    return { data, shape, strides: stridesOf(shape) };
  },
  drop() {},
};

/** Runs kernels on a device. */
export function deviceMachine(device: Device): AugmentMachine<Tensor> {
  return {
    shapeOf: (block) => block.shape,
    operand: (block) => stridedOperand(block, block.strides),
    run(kernel, inputs, shape, words) {
      const out = empty(device, shape, "f32", kernel.op, stridesOf(shape));
      device.record({
        kernel,
        inputs: inputs.map(operandOf),
        outputs: [denseOperand(out)],
        scalars: words?.now ?? [],
        live: words?.live,
      });
      return out;
    },
    drop: (block) => block.dispose(),
  };
}
