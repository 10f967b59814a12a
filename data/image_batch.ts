/** Batches of images whose tensors the device makes when they are asked for. */

import { gatherImages, type Tensor } from "../core/mod.ts";
import { MAP_TENSORS } from "../core/leaves.ts";
import type { ClassificationBatch } from "./batch.ts";

/** What the batches of a loader have in common. */
export interface ImageSource {
  /**
   * f32 [C, H, W, 256], the same along H and W: what each of the 256 levels of a pixel becomes.
   */
  readonly levels: Tensor;
  /** u32 [4], what random moves are drawn from; absent where there are none. */
  readonly draw?: Tensor;
  /** What lies on the device; absent where every batch brings its own images. */
  readonly resident?: ResidentTensors;
}

/** A data set on the device. */
export interface ResidentTensors {
  /** u32 [count, words], packed pixels. */
  readonly images: Tensor;
  /** i32 [count], classes. */
  readonly labels: Tensor;
}

/** Words of an image of a streamed batch before its pixels. */
export const HEAD = 3;

/**
 * A batch that is made on the device, after one upload: `inputs` and `targets` are recorded when
 * they are first read.
 *
 * A captured step takes the upload and what the batches have in common as its inputs, and makes the
 * batch itself, at every replay.
 */
export class ImageBatch implements ClassificationBatch {
  /** Number of examples, B. */
  readonly size: number;

  readonly #source: ImageSource;
  readonly #words: Tensor;
  #inputs: Tensor | null = null;
  #targets: Tensor | null = null;

  /**
   * Made by loaders and data sets.
   *
   * @param source what all batches of the loader have in common
   * @param words u32. Of a data set on the device [B + 1]: the numbers of the examples, then the
   * epoch. Otherwise [B, 3 + words]: number, epoch, label, then packed pixels
   */
  constructor(source: ImageSource, words: Tensor) {
    this.#source = source;
    this.#words = words;
    this.size = source.resident === undefined ? words.shape[0] : words.size - 1;
  }

  /** u32 [B], the numbers of the examples in the data set. */
  get indices(): Tensor {
    return this.#column(0);
  }

  /** f32 [B, C, H, W], normalised, and moved at random where the loader does that. */
  get inputs(): Tensor {
    if (this.#inputs === null || this.#inputs.isReleased) this.#inputs = this.#makeInputs();
    return this.#inputs;
  }

  /** i32 [B], classes from 0. */
  get targets(): Tensor {
    if (this.#targets === null || this.#targets.isReleased) this.#targets = this.#makeTargets();
    return this.#targets;
  }

  /**
   * A batch with its tensors exchanged, for captured steps.
   *
   * @param map gives the tensor that stands for another one
   * @returns a batch that has made nothing yet
   */
  [MAP_TENSORS](map: (tensor: Tensor) => Tensor): ImageBatch {
    const { levels, draw, resident } = this.#source;
    const source = {
      levels: map(levels),
      draw: draw && map(draw),
      resident: resident && { images: map(resident.images), labels: map(resident.labels) },
    };
    return new ImageBatch(source, map(this.#words));
  }

  #makeInputs(): Tensor {
    const { levels, draw, resident } = this.#source;
    const [channels, height, width] = levels.shape;
    using table = levels.alias({
      shape: [channels, 256],
      strides: [levels.strides[0], levels.strides[3]],
      offset: levels.offset,
    });
    using samples = this.indices;
    using epoch = this.#epoch();
    const options = {
      shape: [channels, height, width] as const,
      levels: table,
      augment: draw && { draw, epoch },
    };
    if (resident !== undefined) {
      return gatherImages(resident.images, { ...options, index: samples });
    }
    const words = this.#words;
    using images = words.alias({
      shape: [this.size, words.shape[1] - HEAD],
      strides: words.strides,
      offset: words.offset + HEAD,
    });
    return gatherImages(images, { ...options, samples });
  }

  #makeTargets(): Tensor {
    const { resident } = this.#source;
    if (resident !== undefined) {
      using index = this.indices;
      return resident.labels.indexSelect(0, index);
    }
    using labels = this.#column(2);
    return labels.to("i32");
  }

  /** Element `at` of the head of every example. */
  #column(at: number): Tensor {
    const { strides, offset } = this.#words;
    return this.#words.alias({ shape: [this.size], strides: [strides[0]], offset: offset + at });
  }

  #epoch(): Tensor {
    const { offset } = this.#words;
    const at = this.#source.resident === undefined ? 1 : this.size;
    return this.#words.alias({ shape: [1], strides: [1], offset: offset + at });
  }
}
