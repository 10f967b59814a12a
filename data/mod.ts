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

export * from "./augment/mod.ts";
export {
  type AutoencoderBatch,
  autoencoderCollate,
  type ClassificationBatch,
  classificationCollate,
  type Collate,
  type CollateOptions,
} from "./batch.ts";
export { cifar10, cifar100, type Cifar100Options, CifarError, type CifarOptions } from "./cifar.ts";
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
export {
  decodeImage,
  type DecodeImageOptions,
  type ImageDecoder,
  ImageError,
} from "./image_file.ts";
export {
  ImageFolder,
  imageFolder,
  type ImageFolderFields,
  type ImageFolderOptions,
} from "./image_folder.ts";
export { ImageLoader, type ImageLoaderOptions } from "./image_loader.ts";
export { LabelledDataset, type LabelledDatasetOptions } from "./labelled_dataset.ts";
export {
  DataLoader,
  type DataLoaderOptions,
  type DataLoaderState,
  type Prepared,
} from "./loader.ts";
export { fashionMnist, mnist, type MnistOptions } from "./mnist.ts";
export {
  encodeNpy,
  type EncodeNpyOptions,
  type NpyArray,
  type NpyArrays,
  type NpyDType,
  NpyError,
  type NpyOptions,
  parseNpy,
  readNpy,
} from "./npy.ts";
export { encodeNpz, type EncodeNpzOptions, parseNpz, readNpz } from "./npz.ts";
export { order } from "./order.ts";
export {
  parquetDataset,
  type ParquetDatasetOptions,
  ParquetError,
  type ParquetOptions,
  type ParquetTable,
  type ParquetValue,
  readParquet,
} from "./parquet.ts";
export type { PixelImage } from "./pixel_image.ts";
export { encodePng, imageGrid, type ImageGridOptions, type ImageStack } from "./png.ts";
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
export { shapes, type ShapesOptions } from "./shapes.ts";
export { stratifiedSplit } from "./split.ts";
export {
  csvItems,
  type CsvItemsOptions,
  csvRows,
  type CsvRowsOptions,
  textLines,
  type TextLinesOptions,
} from "./stream_files.ts";
export {
  StreamLoader,
  type StreamLoaderOptions,
  type StreamLoaderState,
  type StreamSource,
} from "./stream_loader.ts";
export { TarError } from "./tar.ts";
export {
  ByteVocabulary,
  CharVocabulary,
  readText,
  TextError,
  type Vocabulary,
  vocabularyFrom,
  type VocabularyState,
} from "./text.ts";
export {
  splitTokens,
  type TokenBatch,
  tokenCollate,
  type TokenItem,
  TokenWindows,
  type TokenWindowsOptions,
} from "./token_windows.ts";
export {
  type ImageTransform,
  normalize,
  Standardizer,
  type StandardizerState,
} from "./transforms.ts";
export {
  type OpenDataset,
  WorkerDataset,
  workerDataset,
  type WorkerDatasetOptions,
} from "./worker_dataset.ts";
export { WorkerError } from "./worker_thread.ts";
