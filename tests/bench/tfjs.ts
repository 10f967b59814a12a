/** The benchmarked models in TensorFlow.js on its WebGPU backend, images channels last. */

import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-webgpu";
import {
  ADAM,
  CLASSES,
  type Layer,
  makeBatches,
  type Model,
  NORM,
  oneHotRows,
  startWeights,
  type Weight,
} from "./models.ts";
import type { Trainer } from "./trainer.ts";

/** Sizes [H, W, C] of the image that reaches a Flatten layer. */
function imageBeforeFlatten(model: Model): [number, number, number] {
  let [channels, height, width] = model.input;
  for (const layer of model.layers) {
    if (layer.kind === "flatten") break;
    if (layer.kind === "pool") [height, width] = [height >> 1, width >> 1];
    if (layer.kind !== "conv") continue;
    const lost = layer.size - 1 - 2 * layer.padding;
    [channels, height, width] = [layer.to, height - lost, width - lost];
  }
  return [height, width, channels];
}

/** Parameters as TensorFlow.js likes them: kernels [h, w, from, to], matrices [from, to]. */
function toVariable({ shape, values }: Weight, image: number[] | null): tf.Variable {
  return tf.tidy(() => {
    const value = tf.tensor(values, [...shape]);
    if (shape.length === 4) return tf.variable(tf.transpose(value, [2, 3, 1, 0]));
    if (shape.length !== 2) return tf.variable(value);
    if (image === null) return tf.variable(tf.transpose(value));
    const [height, width, channels] = image;
    const planes = tf.reshape(value, [shape[0], channels, height, width]);
    return tf.variable(tf.reshape(tf.transpose(planes, [2, 3, 1, 0]), [shape[1], shape[0]]));
  });
}

/** Start weights; the matrix after Flatten is reordered for images with channels last. */
function variables(model: Model): tf.Variable[] {
  let flattened = false;
  const images = model.layers.flatMap((layer) => {
    if (layer.kind === "flatten") flattened = true;
    if (layer.kind === "conv" || layer.kind === "norm") return [null, null];
    if (layer.kind !== "linear") return [];
    const image = flattened ? imageBeforeFlatten(model) : null;
    flattened = false;
    return [image, null];
  });
  return startWeights(model).map((weight, i) => toVariable(weight, images[i]));
}

/** Applies a layer; normalisation also moves its running statistics. */
function apply(layer: Layer, x: tf.Tensor, next: () => tf.Variable, track: Track): tf.Tensor {
  switch (layer.kind) {
    case "conv": {
      const pad = layer.padding === 0 ? "valid" : "same";
      const y = tf.conv2d(x as tf.Tensor4D, next() as unknown as tf.Tensor4D, 1, pad);
      return tf.add(y, next());
    }
    case "linear":
      return tf.add(tf.matMul(x, next()), next());
    case "norm": {
      const { mean, variance } = tf.moments(x, [0, 1, 2]);
      track(mean, variance, x.size / layer.channels);
      const [scale, shift] = [next(), next()];
      return tf.batchNorm(
        x as tf.Tensor4D,
        mean as tf.Tensor1D,
        variance as tf.Tensor1D,
        shift as unknown as tf.Tensor1D,
        scale as unknown as tf.Tensor1D,
        NORM.eps,
      );
    }
    case "pool":
      return tf.maxPool(x as tf.Tensor4D, 2, 2, "valid");
    case "relu":
      return tf.relu(x);
    case "flatten":
      return tf.reshape(x, [x.shape[0], -1]);
  }
}

type Track = (mean: tf.Tensor, variance: tf.Tensor, count: number) => void;

/** Moves the running statistics in the order of the layers. */
function tracker(running: readonly tf.Variable[]): Track {
  let at = 0;
  return (mean, variance, count) => {
    const unbiased = tf.mul(variance, count / (count - 1));
    for (const fresh of [mean, unbiased]) {
      const old = running[at++];
      old.assign(tf.add(tf.mul(old, 1 - NORM.momentum), tf.mul(fresh, NORM.momentum)));
    }
  };
}

/** The trainer of TensorFlow.js for a model. */
export async function openTfjs(model: Model): Promise<Trainer> {
  if (!await tf.setBackend("webgpu")) {
    throw new Error("Cannot run tfjs: its WebGPU backend found no adapter");
  }
  await tf.ready();
  const [channels, ...sizes] = model.input;
  const shape = sizes.length === 0 ? [model.batch, channels] : [model.batch, ...sizes, channels];
  const batches = makeBatches(model).map(({ inputs, targets }) => ({
    x: sizes.length === 0 || channels === 1
      ? tf.tensor(inputs, shape)
      : tf.transpose(tf.tensor(inputs, [model.batch, ...model.input]), [0, 2, 3, 1]),
    y: tf.tensor2d(oneHotRows(targets), [model.batch, CLASSES]),
  }));
  const weights = variables(model);
  const norms = model.layers.flatMap((layer) => layer.kind === "norm" ? [layer.channels] : []);
  const running = norms.flatMap((n) => [
    tf.variable(tf.zeros([n]), false),
    tf.variable(tf.ones([n]), false),
  ]);
  const optimizer = tf.train.adam(ADAM.lr, ...ADAM.betas, ADAM.eps);
  let count = 0;
  let last: tf.Scalar | null = null;
  return {
    library: `tfjs ${tf.version.tfjs}`,
    step: () => {
      const { x, y } = batches[count++ % batches.length];
      last?.dispose();
      last = optimizer.minimize(
        () => {
          let at = 0;
          const track = tracker(running);
          const next = () => weights[at++];
          const logits = model.layers.reduce((v: tf.Tensor, l) => apply(l, v, next, track), x);
          return tf.losses.softmaxCrossEntropy(y, logits).asScalar();
        },
        true,
        weights,
      );
    },
    loss: async () => (await last!.data())[0],
    close: () => {},
  };
}
