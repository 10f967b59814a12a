/**
 * Typed reader of the PyTorch vectors: static imports, so that no read permission is needed.
 *
 * Results come from PyTorch in float64 on float32 inputs, written with 9 significant digits;
 * `generate/` says how. Only `tinycnn.json` also holds a float32 run.
 */
import initFile from "./init.json" with { type: "json" };
import layersFile from "./layers.json" with { type: "json" };
import lossesFile from "./losses.json" with { type: "json" };
import opsFile from "./ops.json" with { type: "json" };
import optimizersFile from "./optimizers.json" with { type: "json" };
import tinycnnFile from "./tinycnn.json" with { type: "json" };

/** A tensor of a file; non-finite values are the strings "NaN", "Infinity" and "-Infinity". */
export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly dtype: "f32" | "i32" | "bool";
  readonly data: readonly (number | string)[];
}

/** Tensors by name; for inputs the order of the keys is the order of the arguments. */
export type GoldenTensors = Readonly<Record<string, GoldenTensor>>;

/** What one pass gives: `grads` are those of `sum(outputs[k] * cotangents[k])`. */
export interface GoldenPass {
  readonly inputs: GoldenTensors;
  readonly cotangents: GoldenTensors;
  readonly outputs: GoldenTensors;
  readonly grads: GoldenTensors;
}

/** Options under the names of our interface; `dim` and sizes may be lists. */
export type GoldenOptions = Readonly<Record<string, unknown>>;

/** One pass through a layer in training mode: `new layer(...args, options)` with `params`. */
export interface LayerCase extends GoldenPass {
  readonly name: string;
  readonly layer: string;
  readonly args: readonly unknown[];
  readonly options: GoldenOptions;
  readonly params: GoldenTensors;
}

/** A pass of a BatchNorm case, in one mode, with the buffers that it leaves. */
export interface BatchNormStep extends GoldenPass {
  readonly training: boolean;
  readonly buffers: GoldenTensors;
}

/** Several passes through one BatchNorm layer. */
export interface BatchNormCase {
  readonly name: string;
  readonly layer: "BatchNorm1d" | "BatchNorm2d";
  readonly args: readonly number[];
  readonly options: GoldenOptions;
  readonly params: GoldenTensors;
  readonly steps: readonly BatchNormStep[];
}

/** A loss by its PyTorch name in camelCase; inputs are input, target, weight?, posWeight?. */
export interface LossCase extends GoldenPass {
  readonly name: string;
  readonly loss: string;
  readonly options: GoldenOptions;
}

/** A tensor op by its PyTorch name in camelCase. */
export interface OpCase extends GoldenPass {
  readonly name: string;
  readonly op: string;
  readonly options: GoldenOptions;
}

/** Ten steps of an optimizer over two parameters. */
export interface OptimizerCase {
  readonly name: string;
  readonly optimizer:
    | "SGD"
    | "Adam"
    | "AdamW"
    | "RMSprop"
    | "Adagrad"
    | "Adadelta"
    | "Adamax"
    | "NAdam"
    | "Lion"
    | "LAMB"
    | "Muon";
  readonly options: GoldenOptions;
  readonly groups: readonly {
    readonly params: readonly string[];
    readonly options: GoldenOptions;
  }[];
  readonly params: GoldenTensors;
  /** Gradients of every step; null where a parameter had none. */
  readonly gradients: readonly Readonly<Record<string, GoldenTensor | null>>[];
  /** Parameters after every step. */
  readonly after: readonly GoldenTensors[];
  /** PyTorch's slots after the last step, by parameter and by PyTorch's slot name. */
  readonly state: Readonly<Record<string, GoldenTensors>>;
  /** The first group's learning rate at every step, where it changes. */
  readonly lrs?: readonly number[];
}

/** Gradients before and after clipping by their global norm. */
export interface ClipCase {
  readonly name: string;
  readonly maxNorm: number;
  readonly grads: GoldenTensors;
  readonly norm: number;
  readonly clipped: GoldenTensors;
}

/** What PyTorch fills a tensor with. */
export type Draw =
  | { readonly kind: "uniform"; readonly from: number; readonly to: number }
  | { readonly kind: "normal"; readonly mean: number; readonly std: number }
  | { readonly kind: "constant"; readonly value: number };

/** How a layer starts. */
export interface LayerInitCase {
  readonly name: string;
  readonly layer: string;
  readonly args: readonly unknown[];
  readonly options: GoldenOptions;
  readonly entries: Readonly<Record<string, Draw & { readonly shape: readonly number[] }>>;
}

/** What an initialiser draws from, for a shape. */
export interface InitializerCase {
  readonly name: string;
  readonly initializer: string;
  readonly shape: readonly number[];
  readonly options: GoldenOptions;
  readonly draws: Draw;
}

/** Moments of a truncated normal distribution (closed form). */
export interface TruncNormalCase {
  readonly name: string;
  readonly options: {
    readonly mean: number;
    readonly std: number;
    readonly a: number;
    readonly b: number;
  };
  readonly mean: number;
  readonly std: number;
}

/** The gain of a nonlinearity; `param` is its slope where it takes one. */
export interface GainCase {
  readonly name: string;
  readonly param: number | null;
  readonly gain: number;
}

/** The file init.json. */
export interface InitVectors {
  readonly layers: readonly LayerInitCase[];
  readonly initializers: readonly InitializerCase[];
  readonly truncNormal: readonly TruncNormalCase[];
  readonly gains: readonly GainCase[];
}

/** Some entries of a tensor by flat index. */
export interface Picks {
  readonly index: readonly number[];
  readonly data: readonly number[];
}

/** The ten steps of TinyCNN in one precision. */
export interface TinyCnnRun {
  readonly name: "float32" | "float64";
  readonly losses: readonly number[];
  /** Of the first step. */
  readonly logits: GoldenTensor;
  /** L2 norm of every gradient of the first step. */
  readonly gradNorms: Readonly<Record<string, number>>;
  /** Entries of the gradients of the first step. */
  readonly grads: Readonly<Record<string, Picks>>;
  /** Norm and entries of every state entry after the last step. */
  readonly final: Readonly<Record<string, Picks & { readonly norm: number }>>;
  /** In eval mode after the last step, on the images of step 0. */
  readonly evalLogits: GoldenTensor;
}

/** The file tinycnn.json; `formula` describes what `tinycnn_data.ts` computes. */
export interface TinyCnnVectors {
  readonly formula: Readonly<Record<string, string>>;
  readonly settings: {
    readonly batch: number;
    readonly steps: number;
    readonly optimizer: string;
    readonly lr: number;
    readonly loss: string;
  };
  readonly count: number;
  readonly imagesCrc32: readonly number[];
  readonly labels: readonly (readonly number[])[];
  /** Parameters without effect (their gradient is rounding noise): compare nothing. */
  readonly noise: readonly string[];
  /** Buffers that follow them: compare loosely. */
  readonly followNoise: readonly string[];
  readonly parameters: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly fanIn: number | null;
    readonly crc32: number;
  }[];
  readonly state: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly runs: readonly TinyCnnRun[];
}

// The types that TypeScript infers from the files are unions of hundreds of literals: replace them.
function typed<T>(file: unknown): T {
  return file as T;
}

/** Layers, except BatchNorm: one pass each. */
export const layerCases: readonly LayerCase[] = typed(layersFile.cases);
/** BatchNorm: several passes each. */
export const batchNormCases: readonly BatchNormCase[] = typed(layersFile.batchNorm);
/** Losses. */
export const lossCases: readonly LossCase[] = typed(lossesFile.cases);
/** Tensor ops. */
export const opCases: readonly OpCase[] = typed(opsFile.cases);
/** Optimizers over ten steps. */
export const optimizerCases: readonly OptimizerCase[] = typed(optimizersFile.cases);
/** Clipping by the global norm. */
export const clipCases: readonly ClipCase[] = typed(optimizersFile.clip);
/** Initialisation. */
export const initVectors: InitVectors = typed(initFile);
/** Ten training steps of TinyCNN. */
export const tinyCnn: TinyCnnVectors = typed(tinycnnFile);

/**
 * The values of a tensor as doubles, non-finite ones decoded.
 *
 * @param golden A tensor of a file, of any dtype.
 * @returns One double per element, in row-major order.
 */
export function values(golden: GoldenTensor): Float64Array {
  return Float64Array.from(golden.data, Number);
}

/**
 * The values of a tensor in the array type of its dtype: what an input starts from.
 *
 * An f32 input is written as the shortest decimal that rounds to it, so the rounding here gives
 * the very value that PyTorch computed with.
 *
 * @param golden A tensor of a file.
 * @returns Float32Array for f32, Int32Array for i32, Uint8Array of 0 and 1 for bool.
 */
export function typedValues(golden: GoldenTensor): Float32Array | Int32Array | Uint8Array {
  const numbers = values(golden);
  switch (golden.dtype) {
    case "f32":
      return Float32Array.from(numbers);
    case "i32":
      return Int32Array.from(numbers);
    case "bool":
      return Uint8Array.from(numbers);
  }
}
