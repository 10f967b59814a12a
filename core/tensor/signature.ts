/** What two calls of a captured function must have in common to share a capture. */

import type { Storage } from "../backend/device.ts";
import { CaptureError } from "../errors.ts";
import { isPlainObject } from "../leaves.ts";
import { isMappable, tensorsIn } from "./structure.ts";
import { Tensor } from "./tensor.ts";

/** Memory that comes with the arguments. */
export interface Root {
  readonly storage: Storage;
  /** An element that views are counted from: bindable, and at or before all that they reach. */
  readonly base: number;
}

/** The arguments of a call, as far as a capture depends on them. */
export interface Signature {
  readonly key: string;
  readonly roots: readonly Root[];
  /** Number of the root of each tensor among the arguments. */
  readonly rootOf: ReadonlyMap<Tensor, number>;
}

/** Ranges can be bound from multiples of this many elements on, whatever their type. */
const UNIT = 128;

function lowest({ shape, strides, offset }: Tensor): number {
  return shape.reduce((at, n, d) => at + Math.min(0, (n - 1) * strides[d]), offset);
}

const identities = new WeakMap<object, number>();
let nextIdentity = 0;

function identity(value: object): number {
  let id = identities.get(value);
  if (id === undefined) identities.set(value, id = nextIdentity++);
  return id;
}

/** Describes arguments: tensors by layout, plain data by content, batches and outputs by class and size, everything else by identity. */
export function signature(args: readonly unknown[], recording: boolean): Signature {
  const roots: { storage: Storage; base: number }[] = [];
  const rootOf = new Map<Tensor, number>();
  for (const tensor of tensorsIn(args)) {
    checkArgument(tensor);
    let index = roots.findIndex(({ storage }) => storage === tensor.storage);
    if (index < 0) index = roots.push({ storage: tensor.storage, base: Infinity }) - 1;
    const base = Math.floor(lowest(tensor) / UNIT) * UNIT;
    roots[index].base = Math.min(roots[index].base, base);
    rootOf.set(tensor, index);
  }
  const describe = (value: unknown): string => {
    if (value instanceof Tensor) {
      const index = rootOf.get(value)!;
      const at = value.offset - roots[index].base;
      return `t${index}:${value.dtype}[${value.shape}](${value.strides})+${at}${
        value.requiresGrad ? "g" : ""
      }`;
    }
    if (Array.isArray(value)) return `[${value.map(describe).join()}]`;
    if (isMappable(value)) {
      const inside = tensorsIn(value).map(describe).join();
      const { size } = value as { size?: unknown };
      return `#${identity(value.constructor)}${typeof size === "number" ? size : ""}{${inside}}`;
    }
    if (isPlainObject(value)) {
      return `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}:${describe(v)}`)}}`;
    }
    if (typeof value === "string") return JSON.stringify(value);
    if (typeof value === "function" || (typeof value === "object" && value !== null)) {
      return `#${identity(value)}`;
    }
    return Object.is(value, -0) ? "-0" : String(value);
  };
  return { key: `${recording}${args.map(describe).join("|")}`, roots, rootOf };
}

function checkArgument(tensor: Tensor): void {
  if (!tensor.isLeaf) {
    throw new CaptureError(
      `Cannot call a captured function with ${tensor}: it has a history, into which no gradient could flow; detach() it`,
    );
  }
}
