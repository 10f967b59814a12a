/** Makers of the parts of a block: what a block tells them, and what they give. */

import type { TensorModule } from "./module.ts";

/** What a block tells the maker of one of its convolutional parts. */
export interface BlockSizes {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** How many pixels of the input there are for one of the output, along each axis. */
  readonly stride: number;
}

/**
 * Makes a part of a block that maps `[N, inChannels, H, W]` to `[N, outChannels, H / stride, W /
 * stride]`, rounded up.
 */
export type BlockFactory = (sizes: BlockSizes) => TensorModule;

/** Makes a layer that normalises so many channels, or features. */
export type NormFactory = (channels: number) => TensorModule;

/** Makes a layer that keeps the shape, such as an activation. */
export type ActivationFactory = () => TensorModule;
