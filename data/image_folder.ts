/** Labelled images from a folder for each class. */

import { checkCount } from "./checks.ts";
import { checkIndex, type Dataset, type LabelledItem, type Normalization } from "./dataset.ts";
import { ImageDataset } from "./image_dataset.ts";
import { type ImageDecoder, imageDecoder, ImageError } from "./image_file.ts";
import { type PixelImage, resized, withChannels } from "./pixel_image.ts";

/** Options of {@linkcode imageFolder}. */
export interface ImageFolderOptions {
  /** Channels of all images: 1 grey, 3 RGB. Default: 3. */
  readonly channels?: 1 | 3;
  /**
   * Rows and columns that every image is resized to, or one number for both; proportions are not
   * kept. Default: none, all images must have the size of the first one.
   */
  readonly size?: number | readonly [height: number, width: number];
  /**
   * Names of the classes, in the order of their numbers; there must be a folder for each, and no
   * other. Default: the names of the folders, sorted by their code units. Pass the training set's
   * classes for a test set.
   */
  readonly classes?: readonly string[];
  /** What images are normalised with. Default: mean 0 and standard deviation 1. */
  readonly normalization?: Normalization;
  /** Bytes of decoded images that are kept; 0 for none. Default: 268,435,456 (256 MiB). */
  readonly cacheBytes?: number;
  /** Most pixels of a file. Default: 67,108,864 (2^26). */
  readonly maxPixels?: number;
}

const fileName = /\.(png|jpe?g)$/i;

/**
 * Opens a folder with a folder of PNG and JPEG files for each class, as torchvision's `ImageFolder`
 * does.
 *
 * Classes are sorted by name, the files of a class by path; folders inside of a class are searched,
 * too. Files of other names are left alone; hidden files and folders are skipped. Every image
 * is read and decoded when it is asked for, and kept as far as `cacheBytes` reach, so a wrong file
 * is found when its turn comes; {@linkcode ImageFolder.decodeAll} finds all at once.
 *
 * @param folder the folder
 * @param options channels, size, classes, normalisation, cache
 * @returns the images, of which the first one has been decoded
 * @throws {Deno.errors.NotFound} when there is no such folder
 * @throws {RangeError} when an option is out of range, there is no class, a class has no image, or
 * the folders are not those of `classes`
 * @throws {ImageError} when the first image cannot be read
 *
 * @example
 * ```ts ignore
 * import { imageFolder, ImageLoader } from "@legoml/legoml/data";
 *
 * const train = await imageFolder("pets/train", { size: 64 });
 * const test = await imageFolder("pets/test", { size: 64, classes: train.classes });
 * const loader = new ImageLoader(train, { batchSize: 32, shuffle: true });
 * ```
 */
export async function imageFolder(
  folder: string,
  options: ImageFolderOptions = {},
): Promise<ImageFolder> {
  const what = `read image folder "${folder}"`;
  const { channels = 3, cacheBytes = 2 ** 28, maxPixels = 2 ** 26 } = options;
  if (channels !== 1 && channels !== 3) {
    throw new RangeError(`Cannot ${what} as channels must be 1 or 3: got ${channels}`);
  }
  checkCount(what, "cacheBytes", cacheBytes, 0);
  checkCount(what, "maxPixels", maxPixels, 1, 2 ** 28);
  const size = checkSize(what, options.size);
  const classes = await findClasses(folder, what, options.classes);
  const files: string[] = [];
  const labels: number[] = [];
  for (const [label, name] of classes.entries()) {
    const found = (await findImages(`${folder.replace(/(.)\/$/, "$1")}/${name}`)).sort();
    if (found.length === 0) {
      throw new RangeError(
        `Cannot ${what} as class "${name}" must have a file that ends in .png, .jpg or .jpeg: ` +
          "got none",
      );
    }
    for (const path of found) {
      files.push(path);
      labels.push(label);
    }
  }
  return new ImageFolder({
    name: folder,
    files,
    labels: Int32Array.from(labels),
    classes,
    channels,
    size,
    normalization: options.normalization,
    cacheBytes,
    maxPixels,
    decode: await imageDecoder(),
  });
}

/** What an {@linkcode ImageFolder} is made of. */
export interface ImageFolderFields {
  /** Name for messages and reports. */
  readonly name: string;
  /** Path of each image. */
  readonly files: readonly string[];
  /** Class of each image. */
  readonly labels: Int32Array;
  /** Names of the classes. */
  readonly classes: readonly string[];
  /** Channels of all images. */
  readonly channels: number;
  /** What images are resized to, if they are. */
  readonly size?: readonly [height: number, width: number];
  /** What images are normalised with. */
  readonly normalization?: Normalization;
  /** Bytes of decoded images that are kept. */
  readonly cacheBytes: number;
  /** Most pixels of a file. */
  readonly maxPixels: number;
  /** Decodes a file. */
  readonly decode: ImageDecoder;
}

/** Labelled images that are read from their files when they are asked for. */
export class ImageFolder implements Dataset<LabelledItem> {
  /** Name for messages and reports. */
  readonly name: string;
  /** Path of each image. */
  readonly files: readonly string[];
  /** Class of each image. */
  readonly labels: Int32Array;
  /** Names of the classes. */
  readonly classes: readonly string[];
  /** Sizes of one image: channels, height, width. */
  readonly shape: readonly [number, number, number];
  /** Mean and standard deviation that images are normalised with. */
  readonly normalization: Normalization;

  readonly #fields: ImageFolderFields;
  readonly #kept = new Map<number, Uint8Array>();
  readonly #most: number;

  /**
   * Decodes the first image; use {@linkcode imageFolder}.
   *
   * @param fields files, classes, channels, size
   * @throws {ImageError} when the first image cannot be read
   */
  constructor(fields: ImageFolderFields) {
    this.#fields = fields;
    this.name = fields.name;
    this.files = fields.files;
    this.labels = fields.labels;
    this.classes = fields.classes;
    this.normalization = fields.normalization ?? { mean: 0, std: 1 };
    const [height, width] = fields.size ?? sizeOf(this.#decode(0));
    this.shape = [fields.channels, height, width];
    this.#most = Math.floor(fields.cacheBytes / (fields.channels * height * width));
    this.get(0);
  }

  /** Number of images. */
  get length(): number {
    return this.files.length;
  }

  /**
   * One image with its class.
   *
   * @param index from 0 to `length - 1`
   * @returns pixels `[C, H, W]`, sizes, class
   * @throws {RangeError} when there is no such image
   * @throws {ImageError} when its file cannot be read or has another size than the first one
   */
  get(index: number): LabelledItem {
    checkIndex(index, this.length);
    const input = this.#kept.get(index) ?? this.#pixels(index);
    // Taken out and put back, the last one of the map is the one that was used last
    this.#kept.delete(index);
    if (this.#most > 0) {
      if (this.#kept.size >= this.#most) this.#kept.delete(this.#kept.keys().next().value!);
      this.#kept.set(index, input);
    }
    return {
      input,
      shape: this.shape,
      label: this.labels[index],
      classCount: this.classes.length,
    };
  }

  /**
   * Decodes all images into memory: each file is checked, and `statistics` can be measured.
   *
   * @returns a data set of at most 256 classes
   * @throws {ImageError} when a file cannot be read or has another size than the first one
   * @throws {RangeError} when there are more than 256 classes
   */
  decodeAll(): ImageDataset {
    checkCount(`decode "${this.name}"`, "the number of classes", this.classes.length, 1, 256);
    const [channels, height, width] = this.shape;
    const size = channels * height * width;
    const images = new Uint8Array(this.length * size);
    for (let i = 0; i < this.length; i++) {
      images.set(this.#kept.get(i) ?? this.#pixels(i), i * size);
    }
    return new ImageDataset({
      name: this.name,
      images,
      labels: Uint8Array.from(this.labels),
      shape: this.shape,
      classes: this.classes,
      normalization: this.normalization,
    });
  }

  #decode(index: number): PixelImage {
    const { decode, maxPixels, channels } = this.#fields;
    const path = this.files[index];
    return withChannels(decode(Deno.readFileSync(path), { name: path, maxPixels }), channels);
  }

  #pixels(index: number): Uint8Array {
    const image = this.#decode(index);
    const [, height, width] = this.shape;
    const { size } = this.#fields;
    if (size === undefined && (image.height !== height || image.width !== width)) {
      throw new ImageError(
        `Cannot read "${this.files[index]}" as it must have ${height} × ${width} pixels like ` +
          `"${this.files[0]}": got ${image.height} × ${image.width}; pass size to resize`,
      );
    }
    return channelsFirst(resized(image, height, width));
  }
}

function sizeOf({ height, width }: PixelImage): [number, number] {
  return [height, width];
}

function channelsFirst({ width, height, channels, data }: PixelImage): Uint8Array {
  const area = width * height;
  const planes = new Uint8Array(data.length);
  for (let i = 0, at = 0; i < area; i++) {
    for (let c = 0; c < channels; c++) planes[c * area + i] = data[at++];
  }
  return planes;
}

function checkSize(
  what: string,
  size: ImageFolderOptions["size"],
): readonly [number, number] | undefined {
  if (size === undefined) return undefined;
  const [height, width] = typeof size === "number" ? [size, size] : size;
  checkCount(what, "the height of size", height, 1, 16_384);
  checkCount(what, "the width of size", width, 1, 16_384);
  return [height, width];
}

async function findClasses(
  folder: string,
  what: string,
  given: readonly string[] | undefined,
): Promise<readonly string[]> {
  const found: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.startsWith(".") && (await Deno.stat(`${folder}/${name}`)).isDirectory) {
        found.push(name);
      }
    }
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) {
      throw cause;
    }
    throw new Deno.errors.NotFound(`Cannot ${what} as there is no such folder`, { cause });
  }
  found.sort();
  if (found.length === 0) {
    throw new RangeError(`Cannot ${what} as it must have a folder for each class: got none`);
  }
  if (given === undefined) return found;
  if (given.toSorted().join("\0") === found.join("\0")) return [...given];
  throw new RangeError(
    `Cannot ${what} as its folders must be ${given.toSorted().join(", ")}: got ${found.join(", ")}`,
  );
}

async function findImages(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (name.startsWith(".")) continue;
    const path = `${folder}/${name}`;
    const { isDirectory, isFile } = await Deno.stat(path);
    if (isDirectory) found.push(...await findImages(path));
    else if (isFile && fileName.test(name)) found.push(path);
  }
  return found;
}
