/** How branches come together: residual sums, concatenation, and other ways to combine. */

import { concat, type Key, type Tensor } from "../../core/mod.ts";
import { DropPath } from "../drop_path.ts";
import { Module, type TensorModule } from "../module.ts";
import { Identity } from "../shape.ts";

/** Two branches that are combined. */
export interface ResidualParts {
  /** The branch that learns. */
  readonly block: TensorModule;
  /** The other branch. @default {the identity} */
  readonly shortcut?: TensorModule;
  /** Probability of leaving the block out for a sample, in training. @default {0} */
  readonly dropPath?: number;
  /** Names the random numbers of dropPath. @default {the next key of the default stream} */
  readonly key?: Key;
}

/** Makes the module that combines a block with its shortcut. */
export type ResidualFactory = (parts: ResidualParts) => TensorModule;

/** How a block and its shortcut become one. */
export type Combine = (block: Tensor, shortcut: Tensor) => Tensor;

/**
 * `combine(dropPath(block(x)), shortcut(x))`; the parts are named block, dropPath, shortcut.
 *
 * @example
 * ```ts
 * import { Identity, Residual } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const square = new Residual({ block: new Identity() }, (a, b) => a.mul(b));
 * const x = tensor([2, 3], { device: referenceDevice() });
 * assertEquals(await square.forward(x).array(), [4, 9]);
 * ```
 */
export class Residual extends Module {
  /** The branch that learns. */
  readonly block: TensorModule;
  /** Leaves the block out for some samples. */
  readonly dropPath: DropPath | null;
  /** The other branch. */
  readonly shortcut: TensorModule;
  readonly #combine: Combine;

  /**
   * Takes the branches.
   *
   * @param parts block, shortcut, dropPath, key
   * @param combine how both become one
   * @throws {RangeError} if dropPath is no probability
   */
  constructor({ block, shortcut, dropPath = 0, key }: ResidualParts, combine: Combine) {
    super();
    this.block = block;
    this.dropPath = dropPath === 0 ? null : new DropPath(dropPath, { key });
    this.shortcut = shortcut ?? new Identity();
    this.#combine = combine;
  }

  /**
   * Combines both branches.
   *
   * @param x what both branches take
   * @returns what `combine` gives
   * @throws {ShapeError} if the results of the branches do not fit each other
   */
  forward(x: Tensor): Tensor {
    const branch = this.block.forward(x);
    const kept = this.dropPath === null ? branch : this.dropPath.forward(branch);
    return this.#combine(kept, this.shortcut.forward(x));
  }
}

/**
 * `dropPath(block(x)) + shortcut(x)`. He et al., "Deep residual learning", 2015; with stochastic
 * depth (Huang et al., 2016) where dropPath is above 0.
 *
 * @example
 * ```ts
 * import { Linear, ResidualAdd } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new ResidualAdd({ block: new Linear(4, 4, { device }), dropPath: 0.1 });
 * assertEquals(layer.forward(zeros([2, 4], { device })).shape, [2, 4]);
 * ```
 */
export class ResidualAdd extends Residual {
  /**
   * Takes the branches.
   *
   * @param parts block, shortcut, dropPath, key
   * @throws {RangeError} if dropPath is no probability
   */
  constructor(parts: ResidualParts) {
    super(parts, (block, shortcut) => block.add(shortcut));
  }
}

/**
 * Gives its input to several branches, and puts their results behind each other along the channels.
 *
 * @example
 * ```ts
 * import { BranchAndConcat, Identity, Linear } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new BranchAndConcat([new Identity(), new Linear(4, 8, { device })]);
 * assertEquals(layer.forward(zeros([2, 4], { device })).shape, [2, 12]);
 * ```
 */
export class BranchAndConcat extends Module {
  /** The branches, in the order of their results. */
  readonly branches: readonly TensorModule[];

  /**
   * Takes the branches.
   *
   * @param branches at least one
   * @throws {RangeError} if there is none
   */
  constructor(branches: readonly TensorModule[]) {
    super();
    this.branches = some("BranchAndConcat", branches);
  }

  /**
   * Applies the branches.
   *
   * @param x what all branches take
   * @returns their results along axis 1
   * @throws {ShapeError} if the results differ in another axis
   */
  forward(x: Tensor): Tensor {
    return concat(this.branches.map((branch) => branch.forward(x)), 1);
  }
}

/**
 * Gives its input to several blocks, and combines their results from the first to the last.
 *
 * @example
 * ```ts
 * import { Identity, InputForward } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const cube = new InputForward([new Identity(), new Identity(), new Identity()], (a, b) => a.mul(b));
 * assertEquals(await cube.forward(tensor([2, 3], { device: referenceDevice() })).array(), [8, 27]);
 * ```
 */
export class InputForward extends Module {
  /** The blocks, in the order in which their results are combined. */
  readonly blocks: readonly TensorModule[];
  readonly #combine: Combine;

  /**
   * Takes the blocks.
   *
   * @param blocks at least one
   * @param combine what was combined so far, and the result of the next block
   * @throws {RangeError} if there is none
   */
  constructor(blocks: readonly TensorModule[], combine: Combine) {
    super();
    this.blocks = some("InputForward", blocks);
    this.#combine = combine;
  }

  /**
   * Applies the blocks.
   *
   * @param x what all blocks take
   * @returns what `combine` gives for the last of them
   */
  forward(x: Tensor): Tensor {
    return this.blocks.map((block) => block.forward(x)).reduce(this.#combine);
  }
}

function some(owner: string, parts: readonly TensorModule[]): readonly TensorModule[] {
  if (parts.length > 0) return [...parts];
  throw new RangeError(`Cannot make ${owner} of no branches: expected at least one`);
}
