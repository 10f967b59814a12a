/** Variational autoencoders. */

import {
  type Device,
  type Key,
  nextKey,
  noGrad,
  normal,
  ShapeError,
  showShape,
  Tensor,
} from "../../core/mod.ts";
import { effect } from "../../core/backend/capture.ts";
import { sumOf } from "../../core/tensor/map.ts";
import { apply, constant, input } from "../../kernels/expr.ts";
import { checkInteger } from "../checks.ts";
import { Linear } from "../linear.ts";
import { binaryCrossEntropyWithLogits, mseLoss } from "../losses.ts";
import { Module, type TensorModule } from "../module.ts";

/** How a variational autoencoder is made. */
export interface VAEOptions {
  /** From inputs to features; what it gives is flattened. */
  readonly encoder: TensorModule;
  /** From [N, latentDim] to reconstructions, as logits or as values. */
  readonly decoder: TensorModule;
  /** Number of features that the encoder gives for a sample. */
  readonly features: number;
  /** Size of the latent vector. @default {16} */
  readonly latentDim?: number;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the parameters of `mu` and `logvar` live. @default {the default device} */
  readonly device?: Device;
}

/** A normal distribution for each sample, its dimensions independent of each other. */
export interface Posterior {
  /** Means [N, latentDim] */
  readonly mu: Tensor;
  /** Logarithms of the variances [N, latentDim] */
  readonly logvar: Tensor;
}

/** What a variational autoencoder makes of its inputs. */
export interface VAEOutput extends Posterior {
  /** What the decoder gives, [N, ...]: logits for "bce", values for "mse". */
  readonly reconstruction: Tensor;
}

/**
 * A variational autoencoder: an encoder, two linear maps `mu` and `logvar` to the parameters of a
 * normal distribution, and a decoder of numbers drawn from it. Kingma and Welling, "Auto-encoding
 * variational Bayes", 2014.
 *
 * `forward` gives the reconstruction alone, so that the model stands wherever one tensor becomes
 * another; training asks `reconstruct` for mu and logvar, too. In training the latent vector is
 * `mu + e^(logvar/2)·ε`, in evaluation it is `mu`. The noise of the n-th call is a function of the
 * key and n, as the masks of `Dropout` are, in captured steps also; to continue a run exactly, save
 * `position` and set it again.
 *
 * @example One loss of LegoML's perceptrons
 * ```ts
 * import { vaeLoss, VAENode } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new VAENode().build({ device, seed: 42 });
 * assertEquals(model.parameterCount, 415_024);
 * const images = zeros([2, 1, 28, 28], { device });
 * const { total, kl } = vaeLoss(model.reconstruct(images), images, { beta: 4 });
 * assertEquals([total.shape, kl.shape], [[], []]);
 * ```
 */
export class VAE extends Module {
  /** From inputs to features. */
  readonly encoder: TensorModule;
  /** From features to means. */
  readonly mu: Linear;
  /** From features to logarithms of variances. */
  readonly logvar: Linear;
  /** From latent vectors to reconstructions. */
  readonly decoder: TensorModule;
  /** Size of the latent vector. */
  readonly latentDim: number;
  readonly #key: Key;
  #position = 0;

  /**
   * Takes encoder and decoder, and draws the maps between them from the key.
   *
   * @param options encoder, decoder, features, latentDim, key, device
   * @throws {RangeError} if a size is no positive integer
   */
  constructor(options: VAEOptions) {
    super();
    const { encoder, decoder, features, latentDim = 16, key = nextKey(), device } = options;
    checkInteger("VAE", "features", features, 1);
    this.latentDim = checkInteger("VAE", "latentDim", latentDim, 1);
    this.encoder = encoder;
    this.mu = new Linear(features, latentDim, { key: key.fold("mu"), device });
    this.logvar = new Linear(features, latentDim, { key: key.fold("logvar"), device });
    this.decoder = decoder;
    this.#key = key.fold("noise");
  }

  /** Number of draws of noise so far; the next one is a function of the key and this number. */
  get position(): number {
    return this.#position;
  }

  set position(value: number) {
    this.#position = checkInteger("VAE", "position", value, 0);
  }

  /**
   * The distributions of the latent vectors.
   *
   * @param x what the encoder takes, [N, ...]
   * @returns mu and logvar, [N, latentDim] each
   * @throws {ShapeError} if the encoder does not give as many features as were said
   */
  encode(x: Tensor): Posterior {
    const features = this.encoder.forward(x).flatten(1);
    return { mu: this.mu.forward(features), logvar: this.logvar.forward(features) };
  }

  /**
   * Latent vectors: in training drawn as `mu + e^(logvar/2)·ε`, so that gradients reach mu and
   * logvar; in evaluation `mu` itself.
   *
   * @param mu means [N, latentDim]
   * @param logvar logarithms of variances, of the same shape
   * @returns [N, latentDim]
   */
  reparameterize(mu: Tensor, logvar: Tensor): Tensor {
    if (!this.training) return mu;
    effect(() => void this.#position++, () => void this.#position--);
    const key = () => this.#key.fold(this.#position - 1);
    const noise = normal(mu.shape, { key, device: mu.device }).to(mu.dtype);
    return mu.add(logvar.mul(0.5).exp().mul(noise));
  }

  /**
   * Reconstructions of latent vectors.
   *
   * @param z [N, latentDim]
   * @returns what the decoder gives, [N, ...]: logits where the loss is "bce"
   */
  decode(z: Tensor): Tensor {
    return this.decoder.forward(z);
  }

  /**
   * Everything that `vaeLoss` needs.
   *
   * @param x what the encoder takes, [N, ...]
   * @returns reconstruction, mu, logvar
   * @throws {ShapeError} if the encoder does not give as many features as were said
   */
  reconstruct(x: Tensor): VAEOutput {
    const { mu, logvar } = this.encode(x);
    return { reconstruction: this.decode(this.reparameterize(mu, logvar)), mu, logvar };
  }

  /**
   * The reconstruction alone.
   *
   * @param x what the encoder takes, [N, ...]
   * @returns what the decoder gives, [N, ...]
   * @throws {ShapeError} if the encoder does not give as many features as were said
   */
  forward(x: Tensor): Tensor {
    return this.reconstruct(x).reconstruction;
  }

  /**
   * New samples: decoded numbers of the standard normal distribution, without gradients.
   *
   * @param count how many, at least 1
   * @param options names the random numbers; the next key of the default stream by default
   * @returns what the decoder gives, [count, ...]
   * @throws {RangeError} if the count is no positive integer
   */
  sample(count: number, options: { readonly key?: Key } = {}): Tensor {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(
        `Cannot sample from VAE ${count} times: expected an integer of at least 1`,
      );
    }
    const { device } = this.mu.weight;
    return noGrad(() => this.decode(normal([count, this.latentDim], { ...options, device })));
  }
}

/** How the loss of a variational autoencoder is weighed. */
export interface VAELossOptions {
  /**
   * Factor of the divergence, at least 0. A number is fixed in captured steps; a scalar tensor can
   * be changed between them. @default {1}
   */
  readonly beta?: number | Tensor;
  /**
   * "bce" for logits and targets from 0 to 1, "mse" for squared errors of values. @default {"bce"}
   */
  readonly reconstructionLoss?: "bce" | "mse";
}

/** The loss of a variational autoencoder and its parts, each an f32 scalar. */
export interface VAELoss {
  /** `reconstruction + beta·kl` */
  readonly total: Tensor;
  /** Sum over the elements of a sample, mean over the batch. */
  readonly reconstruction: Tensor;
  /** Sum over the latent dimensions, mean over the batch. */
  readonly kl: Tensor;
}

const [mean, logVariance] = [input(0), input(1)];
/** `(μ² + e^λ − 1 − λ) / 2`, without the cancellation near λ = 0. */
const divergence = apply(
  "mul",
  constant(0.5),
  apply(
    "add",
    apply("square", mean),
    apply("sub", apply("expm1", logVariance), logVariance),
  ),
);

/**
 * The negative evidence lower bound: the reconstruction's loss summed over each sample, plus beta
 * times the Kullback-Leibler divergence `½·Σ(μ² + σ² − 1 − log σ²)` from the standard normal
 * distribution summed over the latent dimensions, both averaged over the batch. Higgins et al.,
 * "beta-VAE", 2017.
 *
 * Both terms are sums, so beta 1 is the bound itself whatever the sizes are; means over elements
 * would hide a factor in beta. "mse" is the sum of squares without a factor ½: twice the negative
 * logarithm of a normal density of variance 1, up to a constant.
 *
 * @param output reconstruction [N, ...], mu and logvar [N, latentDim], f32 or f16
 * @param x the targets, of the shape of the reconstruction
 * @param options beta, reconstructionLoss
 * @returns total, reconstruction, kl
 * @throws {ShapeError} if the reconstruction differs from x in shape, or logvar from mu, or one of
 * them has another batch
 * @throws {RangeError} if beta is negative or no number, or there is no such loss
 *
 * @example
 * ```ts
 * import { vaeLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor, zeros } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = zeros([1, 2], { device });
 * const [mu, logvar] = [tensor([[1, 0]], { device }), zeros([1, 2], { device })];
 * const { reconstruction, kl } = vaeLoss({ reconstruction: x, mu, logvar }, x);
 * assertAlmostEquals(await reconstruction.item(), 2 * Math.LN2, 1e-6);
 * assertAlmostEquals(await kl.item(), 0.5, 1e-6);
 * ```
 */
export function vaeLoss(output: VAEOutput, x: Tensor, options: VAELossOptions = {}): VAELoss {
  const { beta = 1, reconstructionLoss = "bce" } = options;
  checkLoss(output, x, beta, reconstructionLoss);
  const { mu, logvar } = output;
  const [batch] = x.shape;
  const loss = reconstructionLoss === "bce" ? binaryCrossEntropyWithLogits : mseLoss;
  const reconstruction = loss(output.reconstruction, x, { reduction: "sum" }).div(batch);
  const share = apply("div", input(0), constant(batch));
  const kl = sumOf("vaeLoss", divergence, [mu, logvar], [0, 1], share);
  return { total: reconstruction.add(kl.mul(beta)), reconstruction, kl };
}

function checkLoss(
  { reconstruction, mu, logvar }: VAEOutput,
  x: Tensor,
  beta: number | Tensor,
  kind: string,
): void {
  const fits = mu.ndim === 2 && String(mu.shape) === String(logvar.shape) && x.ndim > 0 &&
    x.shape[0] > 0 && mu.shape[0] === x.shape[0] &&
    String(reconstruction.shape) === String(x.shape);
  if (!fits) {
    throw new ShapeError(
      `Cannot compute the vaeLoss of reconstruction ${showShape(reconstruction.shape)}, mu ${
        showShape(mu.shape)
      } and logvar ${showShape(logvar.shape)} for ${
        showShape(x.shape)
      }: expected a reconstruction of ` +
        "the shape of the targets, and mu and logvar [N, latentDim] for as many samples",
    );
  }
  if (kind !== "bce" && kind !== "mse") {
    throw new RangeError(
      `Cannot compute the vaeLoss with reconstructionLoss "${kind}": expected bce or mse`,
    );
  }
  const valid = beta instanceof Tensor ? beta.size === 1 : beta >= 0 && Number.isFinite(beta);
  if (!valid) {
    throw new RangeError(
      `Cannot compute the vaeLoss with beta ${
        beta instanceof Tensor ? showShape(beta.shape) : beta
      }: expected a number of at least 0, or a scalar tensor`,
    );
  }
}
