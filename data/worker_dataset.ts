/** A data set whose items are made by workers, beside the training. */

import { checkCount } from "./checks.ts";
import type { Dataset, Normalization } from "./dataset.ts";
import { DatasetWorker, workerErrorOf } from "./worker_thread.ts";

/** Options of {@linkcode workerDataset}. */
export interface WorkerDatasetOptions<Args = unknown> {
  /** How many workers make items; 0 makes them where the program runs. Default: 1. */
  readonly workers?: number;
  /** What the module's function is called with, of values that can be cloned. Default: undefined. */
  readonly args?: Args;
}

/** The default export of a module that {@linkcode workerDataset} takes. */
export type OpenDataset<Item, Args = never> = (
  args: Args,
) => Dataset<Item> | Promise<Dataset<Item>>;

/**
 * Opens a data set in workers, so that decoding files or drawing items goes on while the model learns.
 *
 * The module's default export is a function that opens the data set; it is called once in each worker,
 * and once here, for `get`, `length` and `normalization`. A loader asks for the items of a batch all at
 * once, and each worker makes its part. Which worker makes an item changes nothing: an item must depend
 * on its index alone, so training is the same to the bit with any number of workers.
 *
 * Workers end with the program, or when the data set is disposed. Items come as structured clones:
 * typed arrays and plain objects keep their values, classes lose their methods. In a program made by
 * `deno compile`, name the module by `--include`.
 *
 * This is `num_workers` of PyTorch's `DataLoader`, which forks a process instead.
 *
 * @param module address of the module, such as `new URL("./pets.ts", import.meta.url)`
 * @param options number of workers, arguments
 * @returns the data set
 * @throws {RangeError} when `workers` is not a whole number from 0 to 64
 * @throws {TypeError} when the module has no function as its default export
 * @throws {WorkerError} when a worker cannot open the data set
 *
 * @example Pictures decoded by two workers
 * ```ts ignore
 * // pets.ts
 * import { type ImageFolder, imageFolder } from "@legoml/legoml/data";
 * export default (folder: string): Promise<ImageFolder> => imageFolder(folder, { size: 64 });
 *
 * // train.ts
 * import { ImageLoader, type LabelledItem, workerDataset } from "@legoml/legoml/data";
 * const url = new URL("./pets.ts", import.meta.url);
 * using pets = await workerDataset<LabelledItem>(url, { workers: 2, args: "pets/train" });
 * const loader = new ImageLoader(pets, { batchSize: 32, shuffle: true, residentBytes: 0 });
 * ```
 */
export async function workerDataset<Item>(
  module: string | URL,
  options: WorkerDatasetOptions = {},
): Promise<WorkerDataset<Item>> {
  const { workers: count = 1, args } = options;
  checkCount("open a data set in workers", "workers", count, 0, 64);
  const url = String(module);
  const local = await openHere<Item>(url, args);
  const workers = Array.from({ length: count }, () => new DatasetWorker(url, args));
  const dataset = new WorkerDataset(local, workers);
  try {
    const lengths = await Promise.all(workers.map((worker) => worker.ready));
    checkLengths(url, local.length, lengths);
  } catch (error) {
    dataset.dispose();
    throw error;
  }
  return dataset;
}

async function openHere<Item>(url: string, args: unknown): Promise<Dataset<Item>> {
  const { default: open } = await import(url) as { default?: OpenDataset<Item, unknown> };
  if (typeof open === "function") return await open(args);
  throw new TypeError(
    `Cannot open a data set in workers as the default export of ${url} must be a function: ` +
      `got ${typeof open}`,
  );
}

function checkLengths(url: string, expected: number, lengths: readonly number[]): void {
  const other = lengths.find((length) => length !== expected);
  if (other === undefined) return;
  throw new RangeError(
    `Cannot open a data set in workers as ${url} must open the same one each time: ` +
      `got ${expected} items here and ${other} in a worker`,
  );
}

/** Items by index, made by workers; {@linkcode workerDataset} opens one. */
export class WorkerDataset<Item> implements Dataset<Item>, Disposable {
  readonly #local: Dataset<Item>;
  readonly #workers: readonly DatasetWorker[];

  /**
   * Takes over workers; use {@linkcode workerDataset}.
   *
   * @param local the data set in this thread
   * @param workers those that have opened the same one
   */
  constructor(local: Dataset<Item>, workers: readonly DatasetWorker[]) {
    this.#local = local;
    this.#workers = workers;
  }

  /** Number of items. */
  get length(): number {
    return this.#local.length;
  }

  /** What images are normalised with by default. */
  get normalization(): Normalization | undefined {
    return this.#local.normalization;
  }

  /** Number of workers. */
  get workers(): number {
    return this.#workers.length;
  }

  /**
   * One item, made in this thread.
   *
   * @param index from 0 to `length - 1`
   * @returns the item
   */
  get(index: number): Item {
    return this.#local.get(index);
  }

  /**
   * Several items, made by the workers, each a part of them.
   *
   * @param indices which items, in this order
   * @returns the items
   * @throws {WorkerError} when a worker cannot make one of them, with its error as the cause
   */
  getItems(indices: ArrayLike<number>): readonly Item[] | Promise<readonly Item[]> {
    const count = this.#workers.length;
    const all = Array.from(indices);
    if (count === 0) return all.map((index) => this.#local.get(index));
    const parts = this.#workers.map((worker, i) => {
      const from = Math.floor(i * all.length / count);
      const part = all.slice(from, Math.floor((i + 1) * all.length / count));
      return part.length === 0 ? [] : worker.items(part) as Promise<Item[]>;
    });
    return Promise.all(parts).then((items) => items.flat());
  }

  /** Ends the workers; items can still be made in this thread. */
  dispose(): void {
    for (const worker of this.#workers) worker.end(workerErrorOf("the data set was disposed"));
  }

  /** Ends the workers at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
