/** Values nested in arrays and plain objects: what step outputs, batches and arguments of captured steps have in common. */

/**
 * The method by which a class lets its tensors be exchanged: it gets a function and returns a copy of its object in which every
 * tensor is replaced by what the function gives for it. Batches and step outputs have it.
 */
export const MAP_TENSORS: unique symbol = Symbol.for("legoml.mapTensors") as never;

/** Whether a value is an object without a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * A copy of arrays and plain objects with every leaf replaced; all other values stay the same.
 *
 * @param isLeaf what is to be replaced
 * @param map gives the new leaf
 */
export function mapLeaves<T>(
  value: unknown,
  isLeaf: (value: unknown) => value is T,
  map: (leaf: T) => unknown,
): unknown {
  if (isLeaf(value)) return map(value);
  if (Array.isArray(value)) return value.map((item) => mapLeaves(item, isLeaf, map));
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, mapLeaves(item, isLeaf, map)]),
  );
}
