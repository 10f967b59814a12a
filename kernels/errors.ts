/** A shape, size or index that an op cannot take. */
export class ShapeError extends RangeError {
  /** Name of the class. */
  override readonly name = "ShapeError";
}

/** An element type that an op cannot take. */
export class DTypeError extends TypeError {
  /** Name of the class. */
  override readonly name = "DTypeError";
}

/** `[2, 3]`, as messages print shapes. */
export function showShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
