/** Modules one behind the other. */

import type { Tensor } from "../core/mod.ts";
import { Module, type TensorModule } from "./module.ts";

/**
 * Applies modules in turn; the names of the parts are "0", "1", …, or those of the object given.
 *
 * @example
 * ```ts
 * import { Linear, ReLU, Sequential } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Sequential(
 *   new Linear(4, 8, { device }),
 *   new ReLU(),
 *   new Linear(8, 2, { device }),
 * );
 * assertEquals(Object.keys(model.stateDict()), ["0.weight", "0.bias", "2.weight", "2.bias"]);
 * assertEquals(model.forward(zeros([3, 4], { device })).shape, [3, 2]);
 * ```
 *
 * @example With names
 * ```ts
 * import { Linear, Sequential } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Sequential({ hidden: new Linear(4, 8, { device }) });
 * assertEquals(Object.keys(model.stateDict()), ["hidden.weight", "hidden.bias"]);
 * ```
 */
export class Sequential extends Module implements Iterable<TensorModule> {
  readonly #parts: readonly TensorModule[];

  /**
   * Takes the parts in the order in which they work.
   *
   * @param parts modules from tensor to tensor; or one object of them by name, whose keys are no
   * integers
   * @throws {RangeError} if a name is that of a member of Sequential, an integer, empty, or has a
   * dot
   * @throws {TypeError} if a part is no module
   */
  constructor(...parts: TensorModule[] | [Readonly<Record<string, TensorModule>>]) {
    super();
    const named = namedParts(parts);
    for (const [name, part] of named) {
      if (!((part as unknown) instanceof Module)) {
        throw new TypeError(
          `Cannot make a Sequential with part "${name}": expected a module, found ${
            part === undefined ? "nothing" : `a ${typeof part}`
          }`,
        );
      }
      this.registerModule(name, part);
    }
    this.#parts = named.map(([, part]) => part);
  }

  /** Number of parts. */
  get length(): number {
    return this.#parts.length;
  }

  /**
   * A part by its place.
   *
   * @param index counted from 0, negative ones from the end
   * @returns the part, or undefined where there is none
   */
  at(index: number): TensorModule | undefined {
    return this.#parts.at(index);
  }

  /** The parts in order. */
  [Symbol.iterator](): Iterator<TensorModule> {
    return this.#parts[Symbol.iterator]();
  }

  /**
   * Applies the parts in turn.
   *
   * @param x what the first part takes
   * @returns what the last part gives; the input itself where there are no parts
   */
  forward(x: Tensor): Tensor {
    return this.#parts.reduce((value, part) => part.forward(value), x);
  }
}

function namedParts(
  parts: TensorModule[] | [Readonly<Record<string, TensorModule>>],
): [string, TensorModule][] {
  const [first] = parts;
  if (parts.length !== 1 || first instanceof Module || typeof first !== "object") {
    return (parts as TensorModule[]).map((part, i) => [`${i}`, part]);
  }
  const named = Object.entries(first as Readonly<Record<string, TensorModule>>);
  const wrong = named.find(([name]) => /^\d+$/.test(name));
  if (wrong !== undefined) {
    // Objects list integer keys first, whatever their place in the text.
    throw new RangeError(
      `Cannot make a Sequential with a part named "${
        wrong[0]
      }": expected names that are no integers`,
    );
  }
  return named;
}
