/** Runs PyTorch's vectors through modules and losses. */

import { type Device, Tensor, tensor } from "../../core/mod.ts";
import {
  type GoldenPass,
  type GoldenTensor,
  type GoldenTensors,
  typedValues,
  values,
} from "../golden/load.ts";
import { assertClose, type Bounds } from "../util.ts";

/** Vectors carry 9 digits: what is computed in double precision agrees to this. */
export const DIGITS: Bounds = { rel: 2e-8, abs: 2e-8 };

/** A vector as a tensor. */
export function place(golden: GoldenTensor, device: Device, requiresGrad = false): Tensor {
  const shape = golden.shape;
  return tensor(typedValues(golden), { device, shape, dtype: golden.dtype, requiresGrad });
}

/** Vectors as tensors. */
export function placeAll(golden: GoldenTensors, device: Device): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(golden).map(([k, g]) => [k, place(g, device)]));
}

/** The inputs of a pass as leaves; those that have a gradient there require one. */
export function placeInputs(pass: GoldenPass, device: Device): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(pass.inputs).map(([k, g]) => [k, place(g, device, k in pass.grads)]),
  );
}

/** Compares a tensor with a vector: the shape, and the values within bounds. */
export async function assertGolden(
  got: Tensor | null,
  want: GoldenTensor,
  bounds: Bounds,
  label: string,
): Promise<void> {
  if (!(got instanceof Tensor)) throw new Error(`${label}: expected a tensor, found none`);
  if (String(got.shape) !== String(want.shape)) {
    throw new Error(`${label}: expected the shape [${want.shape}], found [${got.shape}]`);
  }
  assertClose(await got.data(), values(want), bounds, label);
}

/** Compares the output of a pass, runs backward with its cotangent, and compares the gradients. */
export async function assertPass(
  output: Tensor,
  pass: GoldenPass,
  leaves: Readonly<Record<string, Tensor>>,
  bounds: Bounds,
  label: string,
): Promise<void> {
  const device = output.device;
  await assertGolden(output, pass.outputs.output, bounds, `${label}, output`);
  if (Object.keys(pass.grads).length === 0) return;
  output.backward({ gradient: place(pass.cotangents.output, device) });
  const wide = { rel: 4 * bounds.rel, abs: 4 * bounds.abs };
  for (const [name, want] of Object.entries(pass.grads)) {
    await assertGolden(leaves[name].grad, want, wide, `${label}, gradient of ${name}`);
  }
}
