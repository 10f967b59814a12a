/** Shape arithmetic that nodes share. */

import { type Pair, type Shape, ShapeError, showShape } from "../../core/mod.ts";

/** A window that is moved over an image. */
export interface WindowSizes {
  /** Size of the window. */
  readonly kernelSize: Pair;
  /** Step of the window. */
  readonly stride: Pair;
  /** Rows and columns added around the image. */
  readonly padding: Pair;
  /** Distance between taps. */
  readonly dilation: Pair;
}

/** The number for one of two axes. */
function along(pair: Pair, axis: number): number {
  return typeof pair === "number" ? pair : pair[axis];
}

/** The error of a node whose input does not fit. */
export function misfit(path: string, expected: string, input: Shape): ShapeError {
  return new ShapeError(
    `Cannot place ${path}: expected an input of shape ${expected}, found ${showShape(input)}`,
  );
}

/**
 * How many places a window takes along height and width:
 * `⌊(n + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1`.
 *
 * @param path the node, for messages
 * @param input [C, H, W]
 * @param window sizes of the window
 * @returns [height, width]
 * @throws {ShapeError} if the input has not three axes, or is smaller than the window
 */
export function windowPlaces(path: string, input: Shape, window: WindowSizes): [number, number] {
  if (input.length !== 3) throw misfit(path, "[C, H, W]", input);
  const places = [0, 1].map((axis) => {
    const reach = along(window.dilation, axis) * (along(window.kernelSize, axis) - 1) + 1;
    const room = input[axis + 1] + 2 * along(window.padding, axis) - reach;
    return Math.floor(room / along(window.stride, axis)) + 1;
  });
  if (places.some((n) => n < 1)) {
    throw new ShapeError(
      `Cannot place ${path}: its window of ${JSON.stringify(window.kernelSize)} is larger than ` +
        `the padded input ${showShape(input)}`,
    );
  }
  return [places[0], places[1]];
}
