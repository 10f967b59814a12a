/** Changes of tensors in place; refused for tensors that autograd needs. */

import { apply, input, scalar } from "../../kernels/expr.ts";
import { AutogradError, ShapeError, showShape } from "../errors.ts";
import { fillFormula, fullOn } from "./fill.ts";
import { checkDevices, launchMap, launchMapInto, noScalars } from "./launch.ts";
import { broadcastShapes } from "./shape.ts";
import { isGradEnabled } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** A tensor of the same shape and dtype with one value everywhere. */
export function fullLike(like: Tensor, value: number): Tensor {
  return fullOn(like.device, like.shape, like.dtype, value);
}

function checkInPlace(op: string, target: Tensor): void {
  if (isGradEnabled() && target.requiresGrad) {
    throw new AutogradError(
      `Cannot ${op} a tensor that requires a gradient while ops are recorded: use noGrad()`,
    );
  }
}

/**
 * Overwrites the elements of `target` with those of `source`, which is broadcast and converted.
 *
 * @throws {AutogradError} if the target requires a gradient while ops are recorded
 * @throws {ShapeError} if the source does not broadcast to the target's shape
 */
export function copyInto(target: Tensor, source: Tensor): Tensor {
  checkInPlace("copy into", target);
  checkDevices("copy", [target, source]);
  const shape = broadcastShapes("copy", [target.shape, source.shape]);
  if (String(shape) !== String(target.shape)) {
    throw new ShapeError(
      `Cannot copy a tensor of shape ${showShape(source.shape)} into one of shape ${
        showShape(target.shape)
      }`,
    );
  }
  // One buffer cannot be read and written in one dispatch.
  const shared = source.storage === target.storage;
  const from = shared
    ? launchMap("copy", input(0), [source], source.dtype, noScalars, source.device)
    : source;
  launchMapInto(convert(from, target), [from], target, noScalars);
  if (shared) from.dispose();
  return target;
}

function convert(from: Tensor, to: Tensor): ReturnType<typeof input> {
  const value = input(0);
  const same = from.dtype === to.dtype || (from.dtype === "f32" && to.dtype === "f16") ||
    (from.dtype === "f16" && to.dtype === "f32");
  return same ? value : { kind: "cast", to: to.dtype, args: [value], key: `${to.dtype}(i0)` };
}

/** Sets every element to a number. @throws {AutogradError} as copyInto() */
export function fillInto(target: Tensor, value: number): Tensor {
  checkInPlace("fill", target);
  const { expr, scalars } = fillFormula(target.dtype, value);
  launchMapInto(expr, [], target, scalars);
  return target;
}

/** Sets every element to `target + value · scale`. @throws {AutogradError} as copyInto() */
export function addInto(target: Tensor, value: Tensor, scale = 1): Tensor {
  checkInPlace("add to", target);
  checkDevices("add", [target, value]);
  const sum = apply("add", input(0), apply("mul", input(1), scalar(0, "f32")));
  const scalars = { values: [scale], types: ["f32"] as const };
  const next = launchMap("add", sum, [target, value], target.dtype, scalars, target.device);
  copyInto(target, next);
  next.dispose();
  return target;
}

/** Writes a gradient into its place, or adds it to what is there. */
export function accumulate(slot: Tensor, gradient: Tensor, first: boolean): void {
  if (first) launchMapInto(input(0), [gradient], slot, noScalars);
  else addInto(slot, gradient);
}
