/** Labelled examples in typed arrays. */

import { checkCount } from "./checks.ts";
import type { Dataset, LabelledItem } from "./dataset.ts";
import { checkIndex } from "./dataset.ts";

/** What a {@linkcode LabelledDataset} is made of. */
export interface LabelledDatasetOptions {
  /** Name for messages and reports. */
  readonly name: string;
  /** Elements of all examples, `[count, ...shape]` in row-major order. */
  readonly inputs: Uint8Array | Float32Array;
  /** Classes, `[count]`, 0 to `classes.length - 1`. */
  readonly labels: Uint8Array | Int32Array;
  /** Sizes of one example. */
  readonly shape: readonly number[];
  /** Names of the classes. */
  readonly classes: readonly string[];
}

/**
 * Labelled examples in two typed arrays.
 *
 * @example
 * ```ts
 * import { LabelledDataset } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const xor = new LabelledDataset({
 *   name: "xor",
 *   inputs: new Float32Array([0, 0, 0, 1, 1, 0, 1, 1]),
 *   labels: new Uint8Array([0, 1, 1, 0]),
 *   shape: [2],
 *   classes: ["equal", "different"],
 * });
 * assertEquals([xor.length, xor.get(1).label], [4, 1]);
 * ```
 */
export class LabelledDataset implements Dataset<LabelledItem> {
  /** Name for messages and reports. */
  readonly name: string;
  /** Elements of all examples, `[count, ...shape]` in row-major order. */
  readonly inputs: Uint8Array | Float32Array;
  /** Classes, `[count]`. */
  readonly labels: Uint8Array | Int32Array;
  /** Sizes of one example. */
  readonly shape: readonly number[];
  /** Names of the classes. */
  readonly classes: readonly string[];

  /** Elements of one example. */
  protected readonly itemSize: number;

  /**
   * Checks the arrays and keeps them.
   *
   * @param options name, elements, classes; arrays are not copied
   * @throws {RangeError} when a size is invalid, the counts of examples and labels differ, or a
   * label is not a class
   */
  constructor(options: LabelledDatasetOptions) {
    const { name, inputs, labels, shape, classes } = options;
    const action = `make data set "${name}"`;
    shape.forEach((size, dim) => checkCount(action, `shape[${dim}]`, size, 1));
    checkCount(action, "the number of classes", classes.length, 1);
    this.itemSize = shape.reduce((product, size) => product * size, 1);
    if (inputs.length !== labels.length * this.itemSize) {
      throw new RangeError(
        `Cannot ${action} as ${labels.length} labels need as many examples of ${this.itemSize} ` +
          `elements: got ${inputs.length / this.itemSize} examples`,
      );
    }
    const wrong = labels.findIndex((label) => label < 0 || label >= classes.length);
    if (wrong >= 0) {
      throw new RangeError(
        `Cannot ${action} as a label must be from 0 to ${classes.length - 1}: ` +
          `got ${labels[wrong]} at index ${wrong}`,
      );
    }
    this.name = name;
    this.inputs = inputs;
    this.labels = labels;
    this.shape = shape;
    this.classes = classes;
  }

  /** Number of examples. */
  get length(): number {
    return this.labels.length;
  }

  /** Number of examples; the same as `length`. */
  get count(): number {
    return this.labels.length;
  }

  /**
   * One example with its class.
   *
   * @param index from 0 to `length - 1`
   * @returns elements as a view of `inputs`, sizes, class
   * @throws {RangeError} when there is no such example
   */
  get(index: number): LabelledItem {
    checkIndex(index, this.length);
    return {
      input: this.inputs.subarray(index * this.itemSize, (index + 1) * this.itemSize),
      shape: this.shape,
      label: this.labels[index],
      classCount: this.classes.length,
    };
  }
}
