/** Errors that nodes share. */

import { type Shape, ShapeError, showShape } from "../../core/mod.ts";

/**
 * The error of a node whose input does not fit; `build` puts the place of the node before it.
 *
 * @param expected the shape that is expected
 * @param input the shape that was found
 * @returns the error
 */
export function misfit(expected: string, input: Shape): ShapeError {
  return new ShapeError(`expected an input of shape ${expected}, found ${showShape(input)}`);
}
