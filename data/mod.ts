/**
 * Data sets, file formats and the loader that makes batches.
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { DataLoader, digits } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const dataset = digits({ split: "train", count: 100, seed: 42 });
 * const loader = new DataLoader(dataset, {
 *   batchSize: 50,
 *   shuffle: true,
 *   device: referenceDevice(),
 * });
 * for await (const { inputs, targets } of loader) {
 *   assertEquals(inputs.shape, [50, 1, 28, 28]);
 *   assertEquals(targets.shape, [50]);
 * }
 * ```
 *
 * @module
 */

export {
  type AutoencoderBatch,
  autoencoderCollate,
  type ClassificationBatch,
  classificationCollate,
  type Collate,
  type CollateOptions,
} from "./batch.ts";
export {
  CsvDataset,
  type CsvDatasetFields,
  type CsvDatasetOptions,
  CsvError,
  type CsvLimits,
} from "./csv.ts";
export {
  ArrayDataset,
  type Dataset,
  type LabelledItem,
  type Normalization,
  randomSplit,
  Subset,
  take,
} from "./dataset.ts";
export { digits, type DigitsOptions } from "./digits.ts";
export {
  cacheFolder,
  download,
  type DownloadAttempt,
  DownloadError,
  type DownloadOptions,
  type DownloadProgress,
} from "./download.ts";
export {
  encodeIdx,
  type IdxArray,
  type IdxArrays,
  type IdxDType,
  IdxError,
  type IdxOptions,
  parseIdx,
  readIdx,
} from "./idx.ts";
export { ImageBatch, type ImageSource, type ResidentTensors } from "./image_batch.ts";
export { ImageDataset, type ImageDatasetOptions } from "./image_dataset.ts";
export { ImageLoader, type ImageLoaderOptions } from "./image_loader.ts";
export { LabelledDataset, type LabelledDatasetOptions } from "./labelled_dataset.ts";
export { DataLoader, type DataLoaderOptions, type DataLoaderState } from "./loader.ts";
export { fashionMnist, mnist, type MnistOptions } from "./mnist.ts";
export { order } from "./order.ts";
export { ResidentDataset, type ResidentOptions } from "./resident.ts";
export {
  decodeSafetensors,
  encodeSafetensors,
  type SafetensorsArray,
  type SafetensorsDType,
  type SafetensorsEntry,
  SafetensorsError,
  type SafetensorsFile,
  safetensorsValues,
} from "./safetensors.ts";
export {
  type ImageTransform,
  normalize,
  Standardizer,
  type StandardizerState,
} from "./transforms.ts";
