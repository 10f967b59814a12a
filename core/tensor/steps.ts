/**
 * Steps of a sequence as tensors of their own, and back. Steps begin at multiples of what devices
 * bind at, since views that lie otherwise would each have kernels of their own.
 */

import { input } from "../../kernels/expr.ts";
import { sizeOf } from "../../kernels/types.ts";
import { launchMapInto, noScalars } from "./launch.ts";
import { contiguousStrides } from "./shape.ts";
import { record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";
import { narrow, pad, reshape, select } from "./view.ts";

/** Elements of f32 between the places at which devices bind. */
const UNIT = 64;

/** Steps [...] of a sequence [T, ...] in f32. */
export function stepsOf(t: Tensor): Tensor[] {
  const [length, ...shape] = t.shape;
  const steps = Array.from({ length }, (_, n) => n);
  if (length < 2 || t.strides[0] % UNIT === 0) return steps.map((n) => select(t, 0, n));
  const size = sizeOf(shape);
  const spaced = pad(reshape(t, [length, size]), [[0, 0], [0, gapAfter(size)]]);
  return steps.map((n) => reshape(narrow(select(spaced, 0, n), 0, 0, size), shape));
}

/**
 * Tensors of one shape as a sequence.
 *
 * @param steps at least one, f32, each on one device
 * @returns [T, ...], whose steps may have gaps between them
 */
export function sequenceOf(steps: readonly Tensor[]): Tensor {
  const [{ device, shape, size }] = steps;
  const spaced = size + gapAfter(size);
  const memory = empty(device, [steps.length, spaced], "f32", "sequence");
  const out = memory.alias({
    shape: [steps.length, ...shape],
    strides: [spaced, ...contiguousStrides(shape)],
    offset: memory.offset,
  });
  memory.dispose();
  steps.forEach((step, n) => {
    const target = out.alias({
      shape,
      strides: out.strides.slice(1),
      offset: out.offset + n * spaced,
    });
    launchMapInto(input(0), [step], target, noScalars);
    target.dispose();
  });
  return record("sequence", out, steps, (g) => stepsOf(g));
}

function gapAfter(size: number): number {
  return (UNIT - size % UNIT) % UNIT;
}
