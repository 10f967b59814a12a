/** Tensors inside arrays, plain objects and objects that know how to exchange theirs. */

import { MAP_TENSORS, mapLeaves } from "../leaves.ts";
import { Tensor } from "./tensor.ts";

interface Mappable {
  [MAP_TENSORS](map: (tensor: Tensor) => Tensor): unknown;
}

/** Whether a value may hold tensors that can be exchanged. */
export function isMappable(value: unknown): value is Mappable {
  return typeof value === "object" && value !== null && MAP_TENSORS in value;
}

function holdsTensors(value: unknown): value is Tensor | Mappable {
  return value instanceof Tensor || isMappable(value);
}

/** A copy with every tensor replaced; what holds no tensors stays the same object. */
export function mapTensors(value: unknown, map: (tensor: Tensor) => Tensor): unknown {
  return mapLeaves(
    value,
    holdsTensors,
    (leaf) => leaf instanceof Tensor ? map(leaf) : leaf[MAP_TENSORS](map),
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
