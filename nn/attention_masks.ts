/** The masks of PyTorch's attention layers as the one mask of attention. */

import { DTypeError, ShapeError, showShape, type Tensor } from "../core/mod.ts";

/** Masks as torch.nn.MultiheadAttention takes them: bool, true where a key is left out, or f32, added to the scores. */
export interface HeadMasks {
  /** [N, S]: keys that no query of a sequence sees. @default {none} */
  readonly keyPaddingMask?: Tensor | null;
  /** [L, S], or [N · heads, L, S]: keys that a query does not see. @default {none} */
  readonly attnMask?: Tensor | null;
}

/** Sizes that masks must fit. */
export interface HeadSizes {
  readonly n: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
}

/**
 * Both masks as one over [N, heads, L, S], bool with true where a key takes part, or f32.
 *
 * @param owner the layer, for messages
 * @param masks both masks
 * @param sizes what they must fit
 * @returns the mask, or null where there is none
 * @throws {ShapeError} if a mask does not fit
 * @throws {DTypeError} if a mask is neither bool nor f32
 */
export function headMask(owner: string, masks: HeadMasks, sizes: HeadSizes): Tensor | null {
  const { n, heads, queries, keys } = sizes;
  const { keyPaddingMask: padding = null, attnMask: attn = null } = masks;
  if (padding) check(owner, "keyPaddingMask", padding, [[n, keys]]);
  if (attn) check(owner, "attnMask", attn, [[queries, keys], [n * heads, queries, keys]]);
  const all = [
    padding && padding.reshape([n, 1, 1, keys]),
    attn && (attn.ndim === 2 ? attn : attn.reshape([n, heads, queries, keys])),
  ].filter((mask) => mask !== null);
  if (all.length === 0) return null;
  if (all.every((mask) => mask.dtype === "bool")) {
    return all.reduce((a, b) => a.logicalOr(b)).logicalNot();
  }
  return all.map((mask) => mask.dtype === "bool" ? added(mask) : mask).reduce((a, b) => a.add(b));
}

function added(mask: Tensor): Tensor {
  return mask.where(-Infinity, 0);
}

function check(owner: string, name: string, mask: Tensor, shapes: readonly number[][]): void {
  if (mask.dtype !== "bool" && mask.dtype !== "f32") {
    throw new DTypeError(
      `Cannot apply ${owner} with ${name} of dtype ${mask.dtype}: expected bool or f32`,
    );
  }
  if (shapes.some((shape) => String(shape) === String(mask.shape))) return;
  throw new ShapeError(
    `Cannot apply ${owner} with ${name} ${showShape(mask.shape)}: expected ${
      shapes.map(showShape).join(" or ")
    }`,
  );
}
