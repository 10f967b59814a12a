/** The benchmarked models as data: every library builds the same network with the same weights and the same batches. */

/** A layer; images are channels first, as `[N, C, H, W]`. */
export type Layer =
  | {
    readonly kind: "conv";
    readonly from: number;
    readonly to: number;
    readonly size: number;
    readonly padding: number;
  }
  | { readonly kind: "norm"; readonly channels: number }
  | { readonly kind: "pool" | "relu" | "flatten" }
  | { readonly kind: "linear"; readonly from: number; readonly to: number };

/** A model with the batch that it is timed on. */
export interface Model {
  readonly name: string;
  readonly batch: number;
  /** Sizes of one input, without the batch. */
  readonly input: readonly number[];
  readonly layers: readonly Layer[];
  /** Steps in a row before the loss is read, so that a run takes a second or two. */
  readonly stepsPerRead: number;
}

/** One parameter: values in row-major order. */
export interface Weight {
  readonly shape: readonly number[];
  readonly values: Float32Array<ArrayBuffer>;
}

/** Inputs `[batch, ...input]` and classes `[batch]`. */
export interface Batch {
  readonly inputs: Float32Array<ArrayBuffer>;
  readonly targets: Int32Array;
}

/** Number of classes of every model. */
export const CLASSES = 10;
/** Adam's options in every library. */
export const ADAM = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8 } as const;
/** Added to the variance by batch normalisation, and the share of a batch in the running statistics. */
export const NORM = { eps: 1e-5, momentum: 0.1 } as const;
/** Batches that lie on the device and take turns. */
export const BATCHES = 4;

function perceptron(...sizes: number[]): Layer[] {
  return sizes.slice(1).flatMap((to, i): Layer[] => {
    const linear: Layer = { kind: "linear", from: sizes[i], to };
    return i === sizes.length - 2 ? [linear] : [linear, { kind: "relu" }];
  });
}

function normedBlock(from: number, to: number): Layer[] {
  return [
    { kind: "conv", from, to, size: 3, padding: 1 },
    { kind: "norm", channels: to },
    { kind: "relu" },
    { kind: "pool" },
  ];
}

function pooledBlock(from: number, to: number, size: number): Layer[] {
  return [{ kind: "conv", from, to, size, padding: 0 }, { kind: "pool" }, { kind: "relu" }];
}

/** The models by name. */
export const models: Readonly<Record<string, Model>> = {
  mlp: {
    name: "mlp",
    batch: 1000,
    input: [784],
    layers: perceptron(784, 256, 128, CLASSES),
    stepsPerRead: 10,
  },
  convnet: {
    name: "convnet",
    batch: 250,
    input: [1, 28, 28],
    layers: [
      ...pooledBlock(1, 24, 5),
      ...pooledBlock(24, 32, 3),
      { kind: "flatten" },
      ...perceptron(800, 128, CLASSES),
    ],
    stepsPerRead: 3,
  },
  tinycnn: {
    name: "tinycnn",
    batch: 64,
    input: [1, 28, 28],
    layers: [
      ...normedBlock(1, 32),
      ...normedBlock(32, 64),
      ...normedBlock(64, 128),
      { kind: "flatten" },
      ...perceptron(1152, 128, CLASSES),
    ],
    stepsPerRead: 3,
  },
  small: {
    name: "small",
    batch: 16,
    input: [784],
    layers: perceptron(784, 64, 32, CLASSES),
    stepsPerRead: 100,
  },
};

/**
 * The model of a name, with another batch size where one is given.
 *
 * @throws {RangeError} if there is no such model or the batch size is no positive integer
 */
export function modelOf(name: string, batch?: number): Model {
  const model = models[name];
  if (model === undefined) {
    throw new RangeError(
      `Cannot build model "${name}": expected ${Object.keys(models).join(", ")}`,
    );
  }
  if (batch !== undefined && !(Number.isInteger(batch) && batch > 0)) {
    throw new RangeError(`Cannot use batch size ${batch}: expected a positive integer`);
  }
  return batch === undefined ? model : { ...model, batch };
}

/** Numbers in 0 to 1 from a seed (mulberry32), the same for every library. */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}

function fill(shape: readonly number[], value: () => number): Weight {
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, values: Float32Array.from({ length: count }, value) };
}

/** Start values of all parameters in the order of the layers: weight, then bias. */
export function startWeights(model: Model, seed = 1): Weight[] {
  const random = uniforms(seed);
  return model.layers.flatMap((layer) => {
    if (layer.kind === "norm") {
      return [fill([layer.channels], () => 1), fill([layer.channels], () => 0)];
    }
    if (layer.kind !== "conv" && layer.kind !== "linear") return [];
    const window = layer.kind === "conv" ? [layer.size, layer.size] : [];
    const bound = 1 / Math.sqrt(window.reduce((a, b) => a * b, layer.from));
    const value = () => (2 * random() - 1) * bound;
    return [fill([layer.to, layer.from, ...window], value), fill([layer.to], value)];
  });
}

/** Batches of noisy pictures of ten patterns, so that there is something to learn. */
export function makeBatches(model: Model, seed = 2): Batch[] {
  const random = uniforms(seed);
  const size = model.input.reduce((a, b) => a * b, 1);
  const patterns = Float32Array.from({ length: CLASSES * size }, () => random());
  return Array.from({ length: BATCHES }, () => {
    const targets = Int32Array.from(
      { length: model.batch },
      () => Math.floor(random() * CLASSES),
    );
    const inputs = new Float32Array(model.batch * size);
    for (let i = 0; i < inputs.length; i++) {
      const pattern = patterns[targets[Math.floor(i / size)] * size + i % size];
      inputs[i] = 0.25 * pattern + 0.75 * random();
    }
    return { inputs, targets };
  });
}

/** Classes as rows of zeros with a single one, for libraries whose loss wants them so. */
export function oneHotRows(targets: Int32Array): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(targets.length * CLASSES);
  targets.forEach((target, i) => rows[i * CLASSES + target] = 1);
  return rows;
}
