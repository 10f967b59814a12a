/** Checks that nodes of an encoder and a decoder share; `build` puts the place of the node before the message. */

import { type Shape, ShapeError, showShape } from "../../core/mod.ts";
import { misfit } from "../nodes/shapes.ts";

/**
 * Refuses a model around the node that has other inputs than the node says.
 *
 * @param sizes what the node says
 * @param input what the model around it says, or null
 * @throws {ShapeError} if they differ
 */
export function checkInput(sizes: Shape, input: Shape | null): void {
  if (input === null || String(input) === String(sizes)) return;
  throw misfit(showShape(sizes), input);
}

/**
 * Refuses a decoder that does not give back the sizes of the input.
 *
 * @param sizes of the input
 * @param given what the decoder gives
 * @throws {ShapeError} if they differ
 */
export function checkOutput(sizes: Shape, given: Shape): void {
  if (String(given) === String(sizes)) return;
  throw new ShapeError(
    `expected a decoder whose output has the shape ${showShape(sizes)}, found ${showShape(given)}`,
  );
}
