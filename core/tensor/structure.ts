/** Tensors inside arrays, plain objects and objects that know how to exchange theirs. */

import { Tensor } from "./tensor.ts";

/**
 * The method by which a class lets its tensors be exchanged: it gets a function and returns a copy of its object in which every
 * tensor is replaced by what the function gives for it. Batches and step outputs have it.
 */
export const MAP_TENSORS: unique symbol = Symbol.for("legoml.mapTensors") as never;

interface Mappable {
  [MAP_TENSORS](map: (tensor: Tensor) => Tensor): unknown;
}

/** Whether a value may hold tensors that can be exchanged. */
export function isMappable(value: unknown): value is Mappable {
  return typeof value === "object" && value !== null && MAP_TENSORS in value;
}

/** Whether a value is an object without a class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A copy with every tensor replaced; what holds no tensors stays the same object. */
export function mapTensors(value: unknown, map: (tensor: Tensor) => Tensor): unknown {
  if (value instanceof Tensor) return map(value);
  if (isMappable(value)) return value[MAP_TENSORS](map);
  if (Array.isArray(value)) return value.map((item) => mapTensors(item, map));
  if (!isPlain(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, mapTensors(item, map)]),
  );
}

/** Every tensor inside a value, in order, each once. */
export function tensorsIn(value: unknown): Tensor[] {
  const found = new Set<Tensor>();
  mapTensors(value, (tensor) => {
    found.add(tensor);
    return tensor;
  });
  return [...found];
}
