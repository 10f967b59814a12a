/** CIFAR-10 and CIFAR-100 in their binary format: from a folder, from the cache, or the network. */

import { checkCount } from "./checks.ts";
import { cifar100Coarse, cifar100Fine, cifar10Classes } from "./cifar_classes.ts";
import type { Normalization } from "./dataset.ts";
import { cacheFolder, download, type DownloadProgress } from "./download.ts";
import { gunzip, GzipError } from "./gzip.ts";
import { ImageDataset } from "./image_dataset.ts";
import { readTar } from "./tar.ts";

/** Options of {@linkcode cifar10}. */
export interface CifarOptions {
  /** Which part: 50,000 images for training, or 10,000 for testing. */
  readonly split: "train" | "test";
  /**
   * Folder with the `.bin` files, with the unpacked folder or with the archive; nothing is
   * downloaded then, and no checksum is asked for.
   */
  readonly dataDir?: string;
  /** Whether an archive that is not in the cache is downloaded. Default: true. */
  readonly download?: boolean;
  /** Most images that are kept, from the first; at least 1. Default: all. */
  readonly limit?: number;
  /** Called while the archive is downloaded. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Folder for the downloaded archive. Default: `cacheFolder()` and the data set's name. */
  readonly cacheDir?: string;
  /**
   * Addresses that the archive's name is appended to, tried in this order. Default: the authors'
   * server.
   */
  readonly mirrors?: readonly string[];
}

/** Options of {@linkcode cifar100}. */
export interface Cifar100Options extends CifarOptions {
  /** Which labels: 100 fine classes, or the 20 coarse ones that they belong to. Default: "fine". */
  readonly labels?: "fine" | "coarse";
}

/** A CIFAR file that does not follow the format, with the byte where it goes wrong. */
export class CifarError extends SyntaxError {
  /** "CifarError". */
  override readonly name = "CifarError";

  /** Byte of the file, from 0. */
  readonly offset: number;

  /**
   * Makes the error; the byte is added to the message.
   *
   * @param message what is wrong
   * @param offset byte of the file, from 0
   */
  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`);
    this.offset = offset;
  }
}

interface Source {
  readonly name: string;
  readonly archive: string;
  readonly sha256: string;
  /** Folder inside the archive. */
  readonly folder: string;
  readonly files: { readonly train: readonly string[]; readonly test: readonly string[] };
  /** Names of the classes of each label byte that a record begins with. */
  readonly labels: readonly (readonly string[])[];
  readonly normalization: Normalization;
}

const cifar10Source: Source = {
  name: "cifar-10",
  archive: "cifar-10-binary.tar.gz",
  sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
  folder: "cifar-10-batches-bin",
  files: { train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`), test: ["test_batch.bin"] },
  labels: [cifar10Classes],
  normalization: {
    mean: [0.49139968, 0.48215827, 0.44653124],
    std: [0.24703233, 0.24348505, 0.26158768],
  },
};

const cifar100Source: Source = {
  name: "cifar-100",
  archive: "cifar-100-binary.tar.gz",
  sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
  folder: "cifar-100-binary",
  files: { train: ["train.bin"], test: ["test.bin"] },
  labels: [cifar100Coarse, cifar100Fine],
  normalization: {
    mean: [0.50707516, 0.48654887, 0.44091784],
    std: [0.26733429, 0.25643846, 0.27615047],
  },
};

const mirrors = ["https://www.cs.toronto.edu/~kriz/"];
const shape = [3, 32, 32] as const;
const pixels = 3 * 32 * 32;
// The archives unpack to 185 MB
const maxUnpackedBytes = 2 ** 28;

/**
 * The CIFAR-10 images (Krizhevsky, 2009): 32×32 colour images of ten kinds of things.
 *
 * Without `dataDir` the archive comes from the cache folder, and is downloaded first where it is
 * not there (170 MB); its SHA-256 is checked each time.
 *
 * @param options split, where the files are, how many images
 * @returns images `[3, 32, 32]` with the means and standard deviations of the training images
 * @throws {Deno.errors.NotFound} when a file is not in `dataDir`, or the archive is not in the cache
 * and `download` is false
 * @throws {DownloadError} when no mirror gives the archive
 * @throws {CifarError} when a file has not whole records, or a label that is no class
 * @throws {SyntaxError} when the archive is corrupt
 * @throws {RangeError} when an option is out of range
 *
 * @example
 * ```ts ignore
 * import { cifar10 } from "@legoml/legoml/data";
 *
 * const train = await cifar10({ split: "train" });
 * console.log(train.count, train.shape); // 50000 [3, 32, 32]
 * ```
 */
export function cifar10(options: CifarOptions): Promise<ImageDataset> {
  return load(cifar10Source, 0, options);
}

/**
 * The CIFAR-100 images (Krizhevsky, 2009): 32×32 colour images of 100 kinds of things in 20 groups.
 *
 * Files are found, downloaded and checked as {@linkcode cifar10} does.
 *
 * @param options split, which labels, where the files are, how many images
 * @returns images `[3, 32, 32]` with the means and standard deviations of the training images
 * @throws {Deno.errors.NotFound} when a file is not in `dataDir`, or the archive is not in the cache
 * and `download` is false
 * @throws {DownloadError} when no mirror gives the archive
 * @throws {CifarError} when a file has not whole records, or a label that is no class
 * @throws {SyntaxError} when the archive is corrupt
 * @throws {RangeError} when an option is out of range
 *
 * @example
 * ```ts ignore
 * import { cifar100 } from "@legoml/legoml/data";
 *
 * const test = await cifar100({ split: "test", labels: "coarse", dataDir: "data/cifar" });
 * console.log(test.classes.length); // 20
 * ```
 */
export async function cifar100(options: Cifar100Options): Promise<ImageDataset> {
  const { labels = "fine" } = options;
  if (labels !== "fine" && labels !== "coarse") {
    throw new RangeError(
      `Cannot load cifar-100 as labels must be "fine" or "coarse": got "${labels}"`,
    );
  }
  return await load(cifar100Source, labels === "coarse" ? 0 : 1, options);
}

async function load(source: Source, labelAt: number, options: CifarOptions): Promise<ImageDataset> {
  const { split, limit } = options;
  if (split !== "train" && split !== "test") {
    throw new RangeError(
      `Cannot load ${source.name} as split must be "train" or "test": got "${split}"`,
    );
  }
  if (limit !== undefined) checkCount(`load ${source.name}`, "limit", limit, 1);
  const files = await readFiles(source, options);
  const record = source.labels.length + pixels;
  files.forEach(([path, bytes]) => checkFile(path, bytes, source, record));
  const total = files.reduce((sum, [, bytes]) => sum + bytes.length / record, 0);
  const count = Math.min(limit ?? total, total);
  const images = new Uint8Array(count * pixels);
  const labels = new Uint8Array(count);
  let at = 0;
  for (const [, bytes] of files) {
    for (let start = 0; start < bytes.length && at < count; start += record, at++) {
      labels[at] = bytes[start + labelAt];
      const first = start + source.labels.length;
      images.set(bytes.subarray(first, first + pixels), at * pixels);
    }
  }
  return new ImageDataset({
    name: `${source.name} ${split}`,
    images,
    labels,
    shape,
    classes: source.labels[labelAt],
    normalization: source.normalization,
  });
}

function checkFile(path: string, bytes: Uint8Array, source: Source, record: number): void {
  const what = `Cannot read ${source.name} file "${path}"`;
  if (bytes.length === 0 || bytes.length % record !== 0) {
    throw new CifarError(
      `${what} as it must have a multiple of ${record} bytes: got ${bytes.length}`,
      Math.floor(bytes.length / record) * record,
    );
  }
  for (let start = 0; start < bytes.length; start += record) {
    source.labels.forEach((classes, i) => {
      if (bytes[start + i] < classes.length) return;
      throw new CifarError(
        `${what} as a label must be from 0 to ${classes.length - 1}: got ${bytes[start + i]} ` +
          `for image ${start / record}`,
        start + i,
      );
    });
  }
}

type NamedBytes = readonly [path: string, bytes: Uint8Array];

async function readFiles(source: Source, options: CifarOptions): Promise<NamedBytes[]> {
  const names = source.files[options.split];
  const { dataDir } = options;
  if (dataDir === undefined) {
    return await readArchive(await locateArchive(source, options), source, names);
  }
  const folder = dataDir.replace(/(.)\/$/, "$1");
  for (const place of [folder, `${folder}/${source.folder}`]) {
    if (await isFile(`${place}/${names[0]}`)) {
      const files: NamedBytes[] = [];
      for (const name of names) files.push(await readNamed(`${place}/${name}`, source));
      return files;
    }
  }
  const archive = `${folder}/${source.archive}`;
  if (await isFile(archive)) return await readArchive(archive, source, names);
  throw new Deno.errors.NotFound(
    `Cannot find ${source.name} in folder "${dataDir}" as one of ${names[0]}, ` +
      `${source.folder}/${names[0]}, ${source.archive} must be there`,
  );
}

async function locateArchive(source: Source, options: CifarOptions): Promise<string> {
  const path = `${options.cacheDir ?? `${cacheFolder()}/${source.name}`}/${source.archive}`;
  if (options.download === false && !await isFile(path)) {
    throw new Deno.errors.NotFound(
      `Cannot find ${source.name} as "${path}" must be there when download is false`,
    );
  }
  return await download({
    urls: (options.mirrors ?? mirrors).map((mirror) =>
      `${mirror.replace(/\/?$/, "/")}${source.archive}`
    ),
    path,
    sha256: source.sha256,
    onProgress: options.onProgress,
  });
}

async function readArchive(
  path: string,
  source: Source,
  names: readonly string[],
): Promise<NamedBytes[]> {
  const what = `Cannot read ${source.name} archive "${path}"`;
  let bytes: Uint8Array;
  try {
    bytes = await gunzip(await Deno.readFile(path), maxUnpackedBytes);
  } catch (cause) {
    if (!(cause instanceof GzipError)) throw cause;
    throw new CifarError(`${what}: ${cause.message}`, cause.unpackedBytes);
  }
  const files = readTar(bytes, what);
  return names.map((name) => {
    const file = files.get(`${source.folder}/${name}`);
    if (file !== undefined) return [`${path}/${source.folder}/${name}`, file];
    throw new Deno.errors.NotFound(
      `${what} as it must contain "${source.folder}/${name}": got ` +
        ([...files.keys()].slice(0, 10).join(", ") || "no file"),
    );
  });
}

async function readNamed(path: string, source: Source): Promise<NamedBytes> {
  try {
    return [path, await Deno.readFile(path)];
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot find ${source.name} file "${path}"`, { cause });
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}
