/** Nodes of further layers over images. */

import { defineNode, type NodeClass } from "../define_node.ts";
import { type Field, integer, pair } from "../node_fields.ts";
import { type Padding2d, ReflectionPad2d, ZeroPad2d } from "../padding.ts";
import { PixelUnshuffle } from "../pixel_shuffle.ts";
import { AdaptiveMaxPool2d } from "../pool_global.ts";
import type { FactorNodeOptions } from "./layers.ts";
import type { Pair } from "../../core/mod.ts";

/** The largest value of each window of a size that is found; builds an `AdaptiveMaxPool2d`. */
export const AdaptiveMaxPool2dNode: NodeClass<{
  /** Size of the output, or [height, width]. @default {1} */
  readonly outputSize?: Pair;
}> = defineNode<{ readonly outputSize?: Pair }>(
  "AdaptiveMaxPool2dNode",
  { outputSize: pair(1, 1) },
  ({ outputSize }) => new AdaptiveMaxPool2d(outputSize),
);

/** Patches become channels; builds a `PixelUnshuffle`. */
export const PixelUnshuffleNode: NodeClass<FactorNodeOptions> = defineNode<FactorNodeOptions>(
  "PixelUnshuffleNode",
  { factor: integer(1, 2) },
  ({ factor }) => new PixelUnshuffle(factor),
);

/** What the node of a frame describes. */
export interface Pad2dNodeOptions {
  /** Columns and rows on all sides, or [left, right, top, bottom]. */
  readonly padding: Padding2d;
}

const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;

const padding: Field<Padding2d> = {
  expected: "an integer of at least 0, or four of them in a list",
  read: (value): Padding2d | undefined => {
    if (!Array.isArray(value)) return isCount(value) ? value : undefined;
    const [left, right, top, bottom] = value;
    return value.length === 4 && value.every(isCount) ? [left, right, top, bottom] : undefined;
  },
};

/** A frame of zeros; builds a `ZeroPad2d`. */
export const ZeroPad2dNode: NodeClass<Pad2dNodeOptions> = defineNode<Pad2dNodeOptions>(
  "ZeroPad2dNode",
  { padding },
  ({ padding }) => new ZeroPad2d(padding),
);

/** A frame of mirror images; builds a `ReflectionPad2d`. */
export const ReflectionPad2dNode: NodeClass<Pad2dNodeOptions> = defineNode<Pad2dNodeOptions>(
  "ReflectionPad2dNode",
  { padding },
  ({ padding }) => new ReflectionPad2d(padding),
);
