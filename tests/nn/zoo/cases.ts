/** The models for images: what is known of each. */

/** One model of the zoo for images of [3, 32, 32] and 10 classes. */
export interface ZooCase {
  readonly name: string;
  /** The original's number of parameters, or one that is counted from the parts. */
  readonly parameters: number;
  /** Number of entries of the state dict. */
  readonly entries: number;
  /** The last key of the state dict. */
  readonly last: string;
  /** Loss that 40 steps on one batch go below. */
  readonly loss: number;
}

const bn = (channels: number) => 2 * channels;
/** ConvNeXt V2's block: depthwise 3 × 3, normalisation, widening by 4, normalisation, narrowing. */
const convNeXt = (c: number) => 9 * c + bn(c) + 4 * c * c + bn(4 * c) + 4 * c * c;

/** The original's constructor fails on this one. */
const convNeXt2x2 = 3 * 64 * 4 + 64 + bn(64) + // stem
  6 * convNeXt(64) + bn(64) + 64 * 128 * 4 + 2 * convNeXt(128) + // the middle one halves the size
  bn(128) + 128 * 10 + 10;

// Normalised logits grow only as their scale does, so the loss stays above that of free ones.
const NORMED = 0.35;
const FREE = 0.1;

export const zooCases: readonly ZooCase[] = [
  {
    name: "CNN__MLP_tiny_32x32",
    parameters: 131_114,
    entries: 32,
    last: "head.1.bias",
    loss: FREE,
  },
  {
    name: "ConvNeXt_tiny_32x32",
    parameters: 464_170,
    entries: 96,
    last: "head.2.bias",
    loss: FREE,
  },
  {
    name: "ConvNeXt_2x2_stem",
    parameters: convNeXt2x2,
    entries: 94,
    last: "head.2.bias",
    loss: FREE,
  },
  // The original holds 14 factors more, which nothing uses: 2,663,914.
  {
    name: "Res2Net_32x32",
    parameters: 2_663_900,
    entries: 257,
    last: "head.1.bias",
    loss: FREE,
  },
  // As above, 10 factors more: 287,480.
  {
    name: "Res2NetWide_32x32",
    parameters: 287_470,
    entries: 185,
    last: "head.1.norm.num_batches_tracked",
    loss: NORMED,
  },
  {
    name: "ResNetPreActBlock_tiny_32x32",
    parameters: 272_206,
    entries: 123,
    last: "head.1.norm.num_batches_tracked",
    loss: NORMED,
  },
  {
    name: "ResNetWide_tiny_32x32",
    parameters: 2_703_690,
    entries: 80,
    last: "head.1.bias",
    loss: FREE,
  },
  {
    name: "ResNetPreActBlockWide_tiny_32x32",
    parameters: 1_006_506,
    entries: 85,
    last: "head.2.bias",
    loss: FREE,
  },
  {
    name: "MobileNet_tiny_32x32",
    parameters: 1_748_426,
    entries: 80,
    last: "head.1.bias",
    loss: FREE,
  },
  {
    name: "ConvMixer_w256_d8_p2_k5",
    parameters: 594_186,
    entries: 121,
    last: "head.1.bias",
    loss: FREE,
  },
];
