/** What blocks of images are made with. */

import type { Device } from "../../core/mod.ts";
import type { ActivationFactory, BlockFactory, BlockSizes } from "../factories.ts";
import type { TensorModule } from "../module.ts";
import { Sequential } from "../sequential.ts";
import { Identity } from "../shape.ts";
import { ResidualAdd, type ResidualFactory } from "./structure.ts";

/** Sizes of a block. */
export interface BlockOptions {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. @default {inChannels} */
  readonly outChannels?: number;
  /** How many pixels of the input there are for one of the output, along each axis. @default {1} */
  readonly stride?: number;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** Sizes of a block with a shortcut, and what both paths become. */
export interface ResidualBlockOptions extends BlockOptions {
  /** Makes the path around the block. @default {as the block says} */
  readonly shortcut?: BlockFactory;
  /** Makes the module that combines both paths. @default {ResidualAdd} */
  readonly residual?: ResidualFactory;
  /** Makes what follows the sum, or null for nothing. @default {as the block says} */
  readonly activation?: ActivationFactory | null;
  /** Probability of leaving the block out for a sample, in training. @default {0} */
  readonly dropPath?: number;
}

/** The sizes of a block with what was left out filled in. */
export function sizesOf({ inChannels, outChannels, stride }: BlockOptions): BlockSizes {
  return { inChannels, outChannels: outChannels ?? inChannels, stride: stride ?? 1 };
}

/** The parts of a block with a shortcut: `residual`, and `act` where something follows the sum. */
export function residualParts(
  body: Readonly<Record<string, TensorModule>>,
  shortcut: TensorModule,
  options: ResidualBlockOptions,
): Record<string, TensorModule> {
  const { residual = (parts) => new ResidualAdd(parts), activation, dropPath } = options;
  const both = residual({ block: new Sequential(body), shortcut, dropPath });
  return activation ? { residual: both, act: activation() } : { residual: both };
}

/** Whether a path may be the identity. */
export function keepsSizes({ inChannels, outChannels, stride }: BlockSizes): boolean {
  return inChannels === outChannels && stride === 1;
}

/** A path that is the identity where it may be. */
export function identityOr(sizes: BlockSizes, make: BlockFactory): TensorModule {
  return keepsSizes(sizes) ? new Identity() : make(sizes);
}
