/** Fields that the nodes of blocks share. */

import { slots } from "../block_node.ts";
import { boolean, type Field, integer, number, orNull, pair } from "../node_fields.ts";

/** A number of at least 1, or null. */
export const count: Field<number | null> = orNull(integer(1));

/** A probability, or null. */
export const probability: Field<number | null> = orNull(number(0, 1));

/** A finite number above 0, or null. */
export const ratio: Field<number | null> = orNull(number(Number.MIN_VALUE, Number.MAX_VALUE));

/** A size of a window, or null. */
export const window: Field<number | readonly [number, number] | null> = orNull(pair(1));

/** A padding, or null. */
export const padding: Field<number | readonly [number, number] | null> = orNull(pair(0));

/** True, false, or null. */
export const flag: Field<boolean | null> = orNull(boolean());

/**
 * The number of an axis, counted with the batch; negative ones count from the end.
 *
 * @param fallback where it was left out
 * @returns the field
 */
export function axis(fallback: number): Field<number> {
  return {
    expected: "an integer",
    read: (value) => Number.isSafeInteger(value) ? value as number : undefined,
    fallback: () => fallback,
  };
}

/** Sizes of a block. */
export const sizes = { inChannels: count, outChannels: count, stride: count } as const;

/** Sizes of a block with a shortcut, and what both paths become. */
export const residual = {
  ...sizes,
  shortcut: slots.block,
  activation: slots.activation,
  dropPath: probability,
} as const;
