/** Models and batches for the tests of the guard. */

import { type Device, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import { BatchNorm2d, Conv2d, Embedding, LayerNorm, Linear, Module } from "../../nn/mod.ts";
import { randomValues } from "../util.ts";

/** Samples of a batch. */
export const SAMPLES = 6;

/** Weights that are the same on every device. */
function keyed<M extends Module>(model: M, device: Device): M {
  model.parameters().forEach((p, i) => {
    const values = randomValues(p.size, 300 + i, 0.1, 0.6);
    noGrad(() => void p.copy_(tensor(values, { device, shape: p.shape })));
  });
  return model;
}

/** A layer that is a function. */
export class Apply extends Module {
  readonly #fn: (x: Tensor) => Tensor;
  constructor(fn: (x: Tensor) => Tensor) {
    super();
    this.#fn = fn;
  }
  forward(x: Tensor): Tensor {
    return this.#fn(x);
  }
}

/** Convolution, normalization, two linear layers with a normalization and a function between. */
export class ImageNet extends Module {
  readonly conv: Conv2d;
  readonly bn: BatchNorm2d;
  readonly blocks: { hidden: Linear; norm: LayerNorm };
  readonly act: Apply;
  readonly head: Linear;
  constructor(device: Device, act: (x: Tensor) => Tensor = (x) => x.tanh()) {
    super();
    this.conv = new Conv2d(1, 3, { kernelSize: 3, device });
    this.bn = new BatchNorm2d(3, { device });
    this.blocks = { hidden: new Linear(12, 5, { device }), norm: new LayerNorm(5, { device }) };
    this.act = new Apply(act);
    this.head = new Linear(5, 2, { device });
    keyed(this, device);
  }
  forward(x: Tensor): Tensor {
    const image = this.bn.forward(this.conv.forward(x)).relu();
    const { hidden, norm } = this.blocks;
    return this.head.forward(this.act.forward(norm.forward(hidden.forward(image.flatten(1)))));
  }
}

/** Tokens, their mean, and a linear layer. */
export class TokenNet extends Module {
  readonly tokens: Embedding;
  readonly head: Linear;
  constructor(device: Device) {
    super();
    this.tokens = new Embedding(9, 4, { device });
    this.head = new Linear(4, 2, { device });
    keyed(this, device);
  }
  forward(x: Tensor): Tensor {
    return this.head.forward(this.tokens.forward(x).mean(1));
  }
}

/** A batch of images or tokens. */
export interface GuardBatch {
  inputs: Tensor;
  targets: Tensor;
  indices: number[];
}

/** Batches of images. */
export function images(device: Device, count = 8): GuardBatch[] {
  return Array.from({ length: count }, (_, i) => ({
    inputs: tensor(randomValues(SAMPLES * 16, i), { device, shape: [SAMPLES, 1, 4, 4] }),
    targets: tensor(randomValues(SAMPLES * 2, 40 + i, 1, 2), { device, shape: [SAMPLES, 2] }),
    indices: Array.from({ length: SAMPLES }, (_, k) => 100 * i + k),
  }));
}

/** Batches of tokens from 1 to 8; the last but two has the token 0 in sample 4, twice. */
export function tokens(device: Device, count = 8): GuardBatch[] {
  return images(device, count).map(({ targets, indices }, i) => {
    const ids = Array.from({ length: SAMPLES * 3 }, (_, k) => 1 + (5 * i + k) % 8);
    if (i === count - 3) ids[13] = ids[14] = 0;
    return { inputs: tensor(ids, { device, dtype: "i32", shape: [SAMPLES, 3] }), targets, indices };
  });
}

/** Sets the first element of a parameter. */
export function poison(parameter: Tensor, value = NaN): void {
  const first = parameter.detach().alias({ shape: [], strides: [], offset: parameter.offset });
  noGrad(() => void first.fill_(value));
  first.dispose();
}
