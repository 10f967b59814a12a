/** Changes of tensors in place; refused for tensors that autograd needs. */

import { apply, cast, dtypeOf, type Expr, input, scalar } from "../../kernels/expr.ts";
import { isFloat } from "../../kernels/types.ts";
import { AutogradError, ShapeError, showShape } from "../errors.ts";
import { fillFormula, fullOn } from "./fill.ts";
import { checkDevices, launchMap, launchMapInto, noScalars, type Scalars } from "./launch.ts";
import { broadcastShapes } from "./shape.ts";
import { isGradEnabled } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** A tensor of the same shape and dtype with one value everywhere. */
export function fullLike(like: Tensor, value: number): Tensor {
  return fullOn(like.device, like.shape, like.dtype, value);
}

function checkInPlace(op: string, target: Tensor, sources: readonly Tensor[]): void {
  if (!isGradEnabled()) return;
  if (target.requiresGrad) {
    throw new AutogradError(
      `Cannot ${op} a tensor that requires a gradient while ops are recorded: use noGrad()`,
    );
  }
  if (sources.some((t) => t.requiresGrad)) {
    throw new AutogradError(
      `Cannot ${op} a tensor in place with values that require a gradient, which would be lost: ` +
        "use detach() or noGrad()",
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
  checkInPlace("copy into", target, [source]);
  checkDevices("copy", [target, source]);
  const shape = broadcastShapes("copy", [target.shape, source.shape]);
  if (String(shape) !== String(target.shape)) {
    throw new ShapeError(
      `Cannot copy a tensor of shape ${showShape(source.shape)} into one of shape ${
        showShape(target.shape)
      }`,
    );
  }
  const shared = source.storage === target.storage;
  const from = shared ? copyOf(source) : source;
  const same = from.dtype === target.dtype || (isFloat(from.dtype) && isFloat(target.dtype));
  launchMapInto(same ? input(0) : cast(input(0), target.dtype), [from], target, noScalars);
  if (shared) from.dispose();
  return target;
}

/** Sets every element to a number. @throws {AutogradError} as copyInto() */
export function fillInto(target: Tensor, value: number): Tensor {
  checkInPlace("fill", target, []);
  const { expr, scalars } = fillFormula(target.dtype, value);
  launchMapInto(expr, [], target, scalars);
  return target;
}

/**
 * Sets every element to a formula of what it holds (input 0) and of other tensors (inputs from 1 on), in one kernel.
 *
 * @param op name for messages
 * @throws {AutogradError} if the target requires a gradient while ops are recorded
 * @throws {ShapeError} if the others do not broadcast to the target's shape
 */
export function updateInto(
  op: string,
  target: Tensor,
  expr: Expr,
  others: readonly Tensor[],
  scalars: Scalars = noScalars,
): Tensor {
  checkInPlace(op, target, others);
  checkDevices(op, [target, ...others]);
  const shapes = [target.shape, ...others.map((t) => t.shape)];
  if (String(broadcastShapes(op, shapes)) !== String(target.shape)) {
    throw new ShapeError(
      `Cannot ${op} a tensor of shape ${showShape(target.shape)} in place with ${
        others.map((t) => showShape(t.shape)).join(" and ")
      }: expected shapes that broadcast to it`,
    );
  }
  const sources = others.map((t) => t.storage === target.storage ? copyOf(t) : t);
  launchMapInto(expr, sources, target, scalars, true);
  sources.forEach((t, i) => t !== others[i] && t.dispose());
  return target;
}

/** The values in memory of their own: one buffer cannot be read and written in one dispatch. */
export function copyOf(t: Tensor): Tensor {
  return launchMap("copy", input(0), [t], t.dtype, noScalars, t.device);
}

const sum = apply("add", input(0), input(1));
const scaledSum = apply("add", input(0), apply("mul", input(1), scalar(0, "f32")));

/** Sets every element to `target + value · scale`. @throws {AutogradError} as updateInto() */
export function addInto(target: Tensor, value: Tensor, scale = 1): Tensor {
  const scaled = scale !== 1;
  const scalars = scaled ? { values: [scale], types: ["f32"] as const } : noScalars;
  const expr = scaled ? scaledSum : sum;
  return updateInto("add to", target, narrowed(expr, target, [value]), [value], scalars);
}

/** The formula with its result converted to the target's dtype where that is an integer or bool. */
function narrowed(expr: Expr, target: Tensor, others: readonly Tensor[]): Expr {
  const type = dtypeOf(expr, [target.dtype, ...others.map((t) => t.dtype)]);
  return type === target.dtype || isFloat(target.dtype) ? expr : cast(expr, target.dtype);
}

/** Writes a gradient into its place, or adds it to what is there. */
export function accumulate(slot: Tensor, gradient: Tensor, first: boolean): void {
  if (first) launchMapInto(input(0), [gradient], slot, noScalars);
  else addInto(slot, gradient);
}
