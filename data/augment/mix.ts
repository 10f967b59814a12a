/** Two images of a batch as one, and targets to match: mixup and CutMix. */

import { concat, DTypeError, noGrad, oneHot, ShapeError, type Tensor } from "../../core/mod.ts";
import {
  deviceMachine,
  type DrawColumn,
  drawColumns,
  mixImages,
  rowsOf,
} from "../../core/tensor/augment_images.ts";
import {
  type AugmentPosition,
  checkBatch,
  DrawCounter,
  keyOf,
  type RandomSource,
} from "./position.ts";
import { numberIn, probability } from "./step.ts";

/** Options of {@linkcode BatchMixer}. */
export interface BatchMixerOptions extends RandomSource {
  /**
   * α of mixup: the share of an image is drawn from Beta(α, α). From 0.01 to 1000; 0 for none.
   * Default: 0.
   */
  readonly mixup?: number;
  /** α of CutMix: the share outside of the box is drawn from Beta(α, α). As `mixup`. Default: 0. */
  readonly cutmix?: number;
  /** Probability of mixing at all. Default: 1. */
  readonly p?: number;
  /** Probability of CutMix where both are there. Default: 0.5. */
  readonly switchP?: number;
  /** Whether each image has draws of its own; else all of a batch share them. Default: false. */
  readonly perImage?: boolean;
}

/** A batch that was mixed: image n is a share of image n and the rest of the one before it. */
export interface MixedBatch {
  /** f32 [N, C, H, W]. */
  readonly inputs: Tensor;
  /** The targets as they were. */
  readonly targets: Tensor;
  /** The target of the other image of each. */
  readonly others: Tensor;
  /** f32 [N], λ: the share of `targets`; the rest is that of `others`. */
  readonly lambda: Tensor;
}

/**
 * Mixes each image of a batch with the one before it, the first with the last; batches of shuffled
 * data sets need no other partner. In training alone.
 *
 * mixup (Zhang et al., 2017): `λ·x[n] + (1 - λ)·x[n - 1]`. CutMix (Yun et al., 2019): a box of
 * `x[n - 1]`, its centre drawn evenly and its sides `√(1 - λ)` of the image, cut at the edges; λ is
 * then the share outside of it. As torchvision's v2.MixUp and v2.CutMix.
 *
 * The loss `λ·loss(y, targets) + (1 - λ)·loss(y, others)` is that of {@linkcode softTargets}.
 *
 * @example
 * ```ts
 * import { crossEntropy, Key, referenceDevice, tensor, uniform } from "@legoml/legoml/core";
 * import { BatchMixer, softTargets } from "@legoml/legoml/data";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const mixer = new BatchMixer({ mixup: 0.2, cutmix: 1, seed: 42 });
 * const images = uniform([4, 3, 8, 8], { key: new Key(0), device });
 * const classes = tensor(new Int32Array([0, 1, 2, 1]), { device });
 * const mixed = mixer.apply(images, classes);
 *
 * const logits = uniform([4, 3], { key: new Key(1), device });
 * const loss = (targets: typeof classes) => crossEntropy(logits, targets, { reduction: "none" });
 * const { targets, others, lambda } = mixed;
 * const both = loss(targets).mul(lambda).add(loss(others).mul(lambda.neg().add(1))).mean();
 * const soft = logits.logSoftmax(1).mul(softTargets(mixed, 3)).sum(1).neg().mean();
 * assertAlmostEquals(await both.item(), await soft.item(), 1e-6);
 * ```
 */
export class BatchMixer {
  readonly #columns: (shape: readonly number[]) => readonly DrawColumn[];
  readonly #counter: DrawCounter;

  /**
   * Checks the options.
   *
   * @param options how to mix, seed or key
   * @throws {RangeError} if an option is out of range, or there is neither mixup nor CutMix
   */
  constructor(options: BatchMixerOptions) {
    const { mixup = 0, cutmix = 0, p = 1, switchP = 0.5, perImage = false } = options;
    const name = "BatchMixer";
    for (const [option, alpha] of [["mixup", mixup], ["cutmix", cutmix]] as const) {
      if (alpha !== 0) numberIn(name, option, alpha, 0.01, 1000);
    }
    if (mixup === 0 && cutmix === 0) {
      throw new RangeError("Cannot make BatchMixer: expected mixup or cutmix above 0, found none");
    }
    probability(name, p);
    const box = mixup === 0 ? 1 : cutmix === 0 ? 0 : probability(name, switchP, "switchP");
    const shared = !perImage;
    const beta = (alpha: number): DrawColumn => ({ kind: "beta", a: alpha, b: alpha, shared });
    const { seed, key } = options;
    this.#counter = new DrawCounter(name, keyOf({ seed, key }, "batch mixture"));
    this.#columns = ([, height, width]) => [
      { kind: "flag", p, shared },
      { kind: "flag", p: box, shared },
      mixup === 0 ? { kind: "flag", p: 1 } : beta(mixup),
      cutmix === 0 ? { kind: "flag", p: 1 } : beta(cutmix),
      { kind: "integer", count: height, shared },
      { kind: "integer", count: width, shared },
    ];
  }

  /** Calls of `apply` without an epoch so far; set it to continue a run. */
  get position(): number {
    return this.#counter.position;
  }

  set position(value: number) {
    this.#counter.position = value;
  }

  /**
   * Mixes a batch on its device, also inside of a captured step.
   *
   * @param images f32 [N, C, H, W], at least one
   * @param targets [N, …], such as classes or probabilities
   * @param at numbers of the images, which only matter with `perImage`, and an epoch in place of the
   * count of calls. One number for an epoch gives all of its batches the same share
   * @returns images and targets
   * @throws {ShapeError} if there are no such images, or not as many targets
   * @throws {DTypeError} if a tensor has another dtype
   * @throws {AutogradError} if the images need a gradient
   */
  apply(images: Tensor, targets: Tensor, at: AugmentPosition = {}): MixedBatch {
    const shape = checkBatch("mix", images, at);
    const [count] = images.shape;
    if (count === 0 || targets.ndim === 0 || targets.shape[0] !== count) {
      throw new ShapeError(
        `Cannot mix ${count} images with targets of shape [${
          targets.shape.join(", ")
        }]: expected ` +
          "as many, at least one",
      );
    }
    const machine = deviceMachine(images.device);
    const [, height, width] = shape;
    return noGrad(() => {
      const place = this.#counter.place(at);
      const draws = drawColumns(machine, count, this.#columns(shape), place);
      const rows = rowsOf(machine, { kind: "mix", column: 0, height, width }, draws);
      const inputs = mixImages(machine, images, rows);
      const lambda = rows.slice(null, 5).contiguous();
      draws.dispose();
      rows.dispose();
      return { inputs, targets, others: rolled(targets), lambda };
    });
  }
}

/** Row n - 1 in place of row n. */
function rolled(t: Tensor): Tensor {
  const last = t.shape[0] - 1;
  return last === 0 ? t : concat([t.slice({ start: last }), t.slice({ stop: last })]);
}

/**
 * The targets of a mixed batch as probabilities: `λ·target + (1 - λ)·other`.
 *
 * @param mixed from {@linkcode BatchMixer}; targets i32 or u32 [N] classes, or f32 [N, classes]
 * probabilities
 * @param classes number of classes
 * @returns f32 [N, classes]
 * @throws {ShapeError} if the targets have another shape
 * @throws {DTypeError} if the targets are neither classes nor probabilities
 */
export function softTargets(mixed: MixedBatch, classes: number): Tensor {
  const { targets, others, lambda } = mixed;
  const whole = targets.dtype === "i32" || targets.dtype === "u32";
  if (!whole && targets.dtype !== "f32") {
    throw new DTypeError(
      `Cannot make soft targets of ${targets.dtype}: expected classes in i32 or u32, or ` +
        "probabilities in f32",
    );
  }
  const fits = whole ? targets.ndim === 1 : targets.ndim === 2 && targets.shape[1] === classes;
  if (!fits || !Number.isInteger(classes) || classes < 1) {
    throw new ShapeError(
      `Cannot make soft targets of shape [${targets.shape.join(", ")}] for ${classes} classes: ` +
        `expected [N], or [N, ${classes}] of probabilities`,
    );
  }
  return noGrad(() => {
    const rows = (t: Tensor) => whole ? oneHot(t, classes).to("f32") : t;
    const share = lambda.unsqueeze(1);
    return rows(targets).mul(share).add(rows(others).mul(share.neg().add(1)));
  });
}
