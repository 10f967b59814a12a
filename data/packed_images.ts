/** Images as a device holds them: four pixels to a word, channels last, each from a word on. */

import { checkShape } from "./batch.ts";
import type { LabelledItem } from "./dataset.ts";

/** Sizes of packed images. */
export interface PackedFormat {
  /** Channels, height, width. */
  readonly shape: readonly [number, number, number];
  /** Pixels of all channels. */
  readonly size: number;
  /** Words that an image takes. */
  readonly words: number;
}

/**
 * The format of images like this one.
 *
 * @param action what cannot be done otherwise
 * @param item one labelled image
 * @returns sizes
 * @throws {TypeError} when the item holds no bytes, or has not the axes of an image
 */
export function packedFormat(action: string, item: LabelledItem): PackedFormat {
  const { input, shape } = item;
  if (!(input instanceof Uint8Array) || shape.length !== 3) {
    throw new TypeError(
      `Cannot ${action} as items must be images, bytes with channels, height and width: got ` +
        `${input?.constructor.name} of shape [${shape.join(", ")}]`,
    );
  }
  const size = shape[0] * shape[1] * shape[2];
  return { shape: [shape[0], shape[1], shape[2]], size, words: Math.ceil(size / 4) };
}

/**
 * Writes one image with its channels last.
 *
 * @param item the image
 * @param format what all images of the batch or data set are like
 * @param bytes where it goes
 * @param at first byte
 * @throws {RangeError} when the image has another shape
 * @throws {TypeError} when it holds no bytes
 */
export function packImage(
  item: LabelledItem,
  format: PackedFormat,
  bytes: Uint8Array,
  at: number,
): void {
  const { input } = item;
  checkShape(item, format.shape, format.size);
  if (!(input instanceof Uint8Array)) {
    throw new TypeError("Cannot make a batch as every item must hold bytes: got Float32Array");
  }
  const channels = format.shape[0];
  if (channels === 1) {
    bytes.set(input, at);
    return;
  }
  const area = format.size / channels;
  for (let channel = 0; channel < channels; channel++) {
    const plane = channel * area;
    let to = at + channel;
    for (let pixel = 0; pixel < area; pixel++, to += channels) bytes[to] = input[plane + pixel];
  }
}
