/** What an optimizer asks of parameters and of their gradients. */

import { input } from "../../kernels/expr.ts";
import { isFloat } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { launchMapInto, noScalars } from "../tensor/launch.ts";
import { Tensor } from "../tensor/tensor.ts";
import { placeOf } from "./arena.ts";
import type { ParamState } from "./options.ts";

/** Fails unless all parameters can be moved into arenas, before any of them is. */
export function checkParameters(
  name: string,
  parameters: readonly Tensor[],
  held: ReadonlyMap<Tensor, ParamState>,
): void {
  const seen = new Set<Tensor>(held.keys());
  const device = [...held.keys(), ...parameters][0]?.device;
  parameters.forEach((parameter, i) => {
    if (!(parameter instanceof Tensor)) {
      throw new TypeError(
        `Cannot make ${name} of parameter ${i}: expected a tensor, found ${typeof parameter}`,
      );
    }
    const fail = (reason: string) =>
      `Cannot make ${name} of parameter ${i} (${parameter}): ${reason}`;
    if (seen.has(parameter)) throw new TypeError(fail("it is listed twice"));
    seen.add(parameter);
    if (!isFloat(parameter.dtype)) throw new DTypeError(fail("expected dtype f32 or f16"));
    if (!parameter.isLeaf) throw new TypeError(fail("expected a leaf, found the result of an op"));
    if (parameter.isReleased) throw new TypeError(fail("it was released"));
    if (parameter.device !== device) {
      throw new TypeError(fail(`expected the device "${device?.name}" of the parameters before`));
    }
    if (placeOf(parameter) !== null) {
      throw new TypeError(fail("another optimizer holds it; dispose() of that one first"));
    }
  });
  if (parameters.length === 0) {
    throw new RangeError(`Cannot make ${name} without parameters: expected at least one`);
  }
}

/**
 * Copies a gradient that was set by hand, or made with createGraph, to where the kernel expects it.
 */
export function placeGradient(
  name: string,
  parameter: Tensor,
  gradient: Tensor,
  slot: Tensor,
): void {
  if (String(gradient.shape) !== String(parameter.shape)) {
    throw new ShapeError(
      `Cannot step ${name}: a parameter of shape ${
        showShape(parameter.shape)
      } has a gradient of shape ${showShape(gradient.shape)}`,
    );
  }
  if (gradient.device !== parameter.device) {
    throw new TypeError(`Cannot step ${name}: the gradient of ${parameter} is on another device`);
  }
  launchMapInto(input(0), [gradient], slot, noScalars);
}
