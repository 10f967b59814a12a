/** MNIST and Fashion-MNIST: from a folder, from the cache, or from the network. */

import { cacheFolder, download, type DownloadProgress } from "./download.ts";
import type { Normalization } from "./dataset.ts";
import { checkCount } from "./checks.ts";
import { type IdxArray, IdxError, readIdx } from "./idx.ts";
import { ImageDataset } from "./image_dataset.ts";

/** Options of {@linkcode mnist} and {@linkcode fashionMnist}. */
export interface MnistOptions {
  /** Which part: 60,000 images for training, or 10,000 for testing. */
  readonly split: "train" | "test";
  /**
   * Folder with the files, packed with gzip or not; nothing is downloaded then, and no checksum is
   * asked for.
   */
  readonly dataDir?: string;
  /** Most images that are kept, from the first; at least 1. Default: all. */
  readonly limit?: number;
  /** Called while a file is downloaded. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Folder for downloaded files. Default: `cacheFolder()` and the data set's name. */
  readonly cacheDir?: string;
  /**
   * Addresses that the file names are appended to, tried in this order. Default: the public
   * mirrors.
   */
  readonly mirrors?: readonly string[];
}

interface Source {
  readonly name: string;
  readonly mirrors: readonly string[];
  readonly sha256: Readonly<Record<string, string>>;
  readonly classes: readonly string[];
  readonly normalization: Normalization;
}

const mnistSource: Source = {
  name: "mnist",
  mirrors: [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
  ],
  sha256: {
    "train-images-idx3-ubyte.gz":
      "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz":
      "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
  },
  classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  normalization: { mean: 0.1307, std: 0.3081 },
};

const fashionSource: Source = {
  name: "fashion-mnist",
  mirrors: [
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
  ],
  sha256: {
    "train-images-idx3-ubyte.gz":
      "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz":
      "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
  },
  classes: [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
  ],
  normalization: { mean: 0.2860, std: 0.3530 },
};

/**
 * The MNIST digits (LeCun, Cortes, Burges): 28×28 grey images of 0 to 9.
 *
 * Without `dataDir` the two files of the split come from the cache folder, and are downloaded first
 * where they are not there; their SHA-256 is checked each time.
 *
 * @param options split, where the files are, how many images
 * @returns images `[1, 28, 28]` with the mean and standard deviation of the 60,000 training images
 * @throws {Deno.errors.NotFound} when a file is not in `dataDir`
 * @throws {DownloadError} when no mirror gives a file
 * @throws {IdxError} when a file is not a valid IDX file of 28×28 images or of labels
 * @throws {RangeError} when there are not as many labels as images, a label is above 9, or `limit`
 * is below 1
 *
 * @example
 * ```ts ignore
 * import { mnist } from "@legoml/legoml/data";
 *
 * const train = await mnist({ split: "train" });
 * console.log(train.count, train.shape); // 60000 [1, 28, 28]
 * ```
 */
export function mnist(options: MnistOptions): Promise<ImageDataset> {
  return load(mnistSource, options);
}

/**
 * The Fashion-MNIST images (Zalando Research): 28×28 grey images of ten kinds of clothes.
 *
 * Files are found, downloaded and checked as {@linkcode mnist} does.
 *
 * @param options split, where the files are, how many images
 * @returns images `[1, 28, 28]` with the mean and standard deviation of the 60,000 training images
 * @throws {Deno.errors.NotFound} when a file is not in `dataDir`
 * @throws {DownloadError} when no mirror gives a file
 * @throws {IdxError} when a file is not a valid IDX file of 28×28 images or of labels
 * @throws {RangeError} when there are not as many labels as images, a label is above 9, or `limit`
 * is below 1
 *
 * @example
 * ```ts ignore
 * import { fashionMnist } from "@legoml/legoml/data";
 *
 * const test = await fashionMnist({ split: "test", dataDir: "data/fashion" });
 * console.log(test.classes[test.labels[0]]); // Ankle boot
 * ```
 */
export function fashionMnist(options: MnistOptions): Promise<ImageDataset> {
  return load(fashionSource, options);
}

async function load(source: Source, options: MnistOptions): Promise<ImageDataset> {
  const { split, limit } = options;
  if (split !== "train" && split !== "test") {
    throw new RangeError(
      `Cannot load ${source.name} as split must be "train" or "test": got "${split}"`,
    );
  }
  if (limit !== undefined) checkCount(`load ${source.name}`, "limit", limit, 1);
  const prefix = split === "train" ? "train" : "t10k";
  const imagesPath = await locate(source, options, `${prefix}-images`, 3);
  const labelsPath = await locate(source, options, `${prefix}-labels`, 1);
  const images = checkImages(await readIdx(imagesPath), imagesPath);
  const labels = checkLabels(await readIdx(labelsPath), labelsPath);
  const dataset = new ImageDataset({
    name: `${source.name} ${split}`,
    images,
    labels,
    shape: [1, 28, 28],
    classes: source.classes,
    normalization: source.normalization,
  });
  return limit === undefined ? dataset : dataset.take(limit);
}

async function locate(
  source: Source,
  options: MnistOptions,
  stem: string,
  dims: number,
): Promise<string> {
  if (options.dataDir !== undefined) return await findIn(options.dataDir, stem, dims);
  const file = `${stem}-idx${dims}-ubyte.gz`;
  const mirrors = options.mirrors ?? source.mirrors;
  return await download({
    urls: mirrors.map((mirror) => `${mirror.replace(/\/?$/, "/")}${file}`),
    path: `${options.cacheDir ?? `${cacheFolder()}/${source.name}`}/${file}`,
    sha256: source.sha256[file],
    onProgress: options.onProgress,
  });
}

async function findIn(folder: string, stem: string, dims: number): Promise<string> {
  const name = `${stem}-idx${dims}-ubyte`;
  const dotted = `${stem}.idx${dims}-ubyte`;
  const candidates = [`${name}.gz`, name, `${dotted}.gz`, dotted];
  for (const candidate of candidates) {
    const path = `${folder.replace(/\/$/, "")}/${candidate}`;
    if (await isFile(path)) return path;
  }
  throw new Deno.errors.NotFound(
    `Cannot find "${name}" in folder "${folder}" as one of ${candidates.join(", ")} must be there`,
  );
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    // A file where the folder should be gives another error than no folder at all
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}

function checkImages(array: IdxArray, path: string): Uint8Array {
  const { dtype, shape, data } = array;
  if (dtype === "u8" && shape.length === 3 && shape[1] === 28 && shape[2] === 28) return data;
  throw new IdxError(
    `Cannot use "${path}" as images as it must have shape [N, 28, 28] of u8: ` +
      `got [${shape.join(", ")}] of ${dtype}`,
    2,
  );
}

function checkLabels(array: IdxArray, path: string): Uint8Array {
  const { dtype, shape, data } = array;
  if (dtype === "u8" && shape.length === 1) return data;
  throw new IdxError(
    `Cannot use "${path}" as labels as it must have shape [N] of u8: ` +
      `got [${shape.join(", ")}] of ${dtype}`,
    2,
  );
}
