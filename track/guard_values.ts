/** What is NaN or infinite in tensors, found on the device and read together. */

import { noGrad, type Tensor } from "../core/mod.ts";

/** Values of a tensor, some of them NaN or infinite. */
export interface BadValues {
  /** How many are NaN or infinite. */
  readonly bad: number;
  /** How many there are. */
  readonly count: number;
  /** The least of the others; null where there is none. */
  readonly min: number | null;
  /** The largest of the others; null where there is none. */
  readonly max: number | null;
}

/** No finite f32 is beyond it. */
const BEYOND = 3.4028234663852886e38;

/** True for what can hold NaN. */
function isFloat({ dtype }: Tensor): boolean {
  return dtype === "f32" || dtype === "f16";
}

/**
 * Counts the NaN and infinite values of tensors, in one wait.
 *
 * @param tensors of any dtype; each is counted once
 * @returns the count of each; integers have none
 */
export async function countBad(tensors: readonly Tensor[]): Promise<Map<Tensor, number>> {
  const floats = [...new Set(tensors)].filter((tensor) => isFloat(tensor) && tensor.size > 0);
  const reads = floats.map((tensor) => noGrad(() => tensor.isFinite().to("i32").sum()).item());
  const finite = await Promise.all(reads);
  return new Map(floats.map((tensor, i) => [tensor, tensor.size - finite[i]]));
}

/**
 * Looks at a tensor: how much of it is bad, and between what limits the rest lies.
 *
 * @param tensor f32 or f16
 */
export async function describeValues(tensor: Tensor): Promise<BadValues> {
  const [count, low, high] = noGrad(() => {
    const values = tensor.detach().to("f32");
    const sound = values.isFinite();
    const [low, high] = [sound.where(values, BEYOND).min(), sound.where(values, -BEYOND).max()];
    return [sound.to("i32").sum(), low, high];
  });
  const [finite, min, max] = await Promise.all([count.item(), low.item(), high.item()]);
  const bad = tensor.size - finite;
  return { bad, count: tensor.size, min: finite > 0 ? min : null, max: finite > 0 ? max : null };
}

/**
 * The samples of a batch that hold bad values.
 *
 * @param tensor samples along its first axis, or another tensor
 * @param size samples of the batch
 * @returns positions; none where the tensor has no axis of that size, or all samples are bad
 */
export async function samplesWithBad(tensor: Tensor, size: number): Promise<number[]> {
  if (size < 2 || tensor.shape[0] !== size) return [];
  const sound = noGrad(() => tensor.detach().isFinite().reshape([size, tensor.size / size]).all(1));
  const flags = await sound.data();
  const bad = Array.from(flags as ArrayLike<number>).flatMap((flag, i) => flag === 0 ? [i] : []);
  return bad.length === size ? [] : bad;
}

/**
 * Whether all values of tensors are finite: one flag that is not read yet.
 *
 * @param tensors f32 or f16, at least one
 */
export function allFinite(tensors: readonly Tensor[]): Tensor {
  return noGrad(() =>
    tensors.map((tensor) => tensor.detach().isFinite().all()).reduce((a, b) => a.logicalAnd(b))
  );
}
