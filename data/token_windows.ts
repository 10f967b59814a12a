/** Windows of a row of tokens, for models that say what comes next. */

import { Key } from "../core/tensor/random.ts";
import { type Tensor, tensor } from "../core/mod.ts";
import type { Collate } from "./batch.ts";
import { checkCount } from "./checks.ts";
import { checkIndex, type Dataset } from "./dataset.ts";
import { KeyedStream } from "./order.ts";

/** A window of tokens, and the same one place further. */
export interface TokenItem {
  /** Tokens, `[T]`. */
  readonly inputs: Int32Array;
  /** The token that comes after each of them, `[T]`. */
  readonly targets: Int32Array;
}

/** A batch of windows. */
export interface TokenBatch {
  /** i32 `[B, T]`. */
  readonly inputs: Tensor;
  /** i32 `[B, T]`: the token that comes after each of the inputs. */
  readonly targets: Tensor;
  /** Number of windows, B. */
  readonly size: number;
}

/** Options of {@linkcode TokenWindows}. */
export interface TokenWindowsOptions {
  /** Tokens of a window, T; at least 1. */
  readonly length: number;
  /**
   * Tokens from the start of one window to that of the next, at least 1. Default: `length`, so that
   * every token is a target once. With 1 and a loader that shuffles, an epoch visits every window.
   */
  readonly stride?: number;
  /**
   * Windows at random places in place of every `stride`-th one: how many an epoch has, and their
   * seed. The place of a window is a function of seed and index.
   */
  readonly random?: { readonly count: number; readonly seed?: number };
}

/**
 * Windows of a row of tokens with their targets, which are the tokens one place further.
 *
 * What is left at the end for less than a window is not used.
 *
 * @example
 * ```ts
 * import { CharVocabulary, DataLoader, tokenCollate, TokenWindows } from "@legoml/legoml/data";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const text = "to be or not to be";
 * const vocabulary = CharVocabulary.of(text);
 * const windows = new TokenWindows(vocabulary.encode(text), { length: 5 });
 * assertEquals(vocabulary.decode(windows.get(1).inputs), " or n");
 * assertEquals(vocabulary.decode(windows.get(1).targets), "or no");
 * const loader = new DataLoader(windows, {
 *   batchSize: 3,
 *   collate: tokenCollate(),
 *   device: referenceDevice(),
 * });
 * for await (const { inputs, targets } of loader) {
 *   assertEquals([inputs.shape, targets.shape], [[3, 5], [3, 5]]);
 * }
 * ```
 */
export class TokenWindows implements Dataset<TokenItem> {
  /** All tokens. */
  readonly tokens: Int32Array;
  /** Tokens of a window. */
  readonly windowLength: number;
  /** Number of windows. */
  readonly length: number;

  readonly #stride: number;
  readonly #key: Key | undefined;

  /**
   * Checks the options and keeps the tokens.
   *
   * @param tokens a row of tokens, more than a window has; not copied
   * @param options length of the windows, stride or random places
   * @throws {RangeError} when a number is out of range, or there are too few tokens for a window
   * @throws {TypeError} when both `stride` and `random` are given
   */
  constructor(tokens: Int32Array, options: TokenWindowsOptions) {
    const { length, random, stride = length } = options;
    const action = "make windows of tokens";
    checkCount(action, "length", length, 1);
    checkCount(action, "the number of tokens", tokens.length, length + 1);
    checkCount(action, "stride", stride, 1);
    if (random !== undefined && options.stride !== undefined) {
      throw new TypeError(
        `Cannot ${action} as only one of stride and random may be given: got both`,
      );
    }
    this.tokens = tokens;
    this.windowLength = length;
    this.#stride = stride;
    if (random === undefined) {
      this.length = Math.floor((tokens.length - 1 - length) / stride) + 1;
    } else {
      checkCount(action, "random.count", random.count, 1, 2 ** 32 - 1);
      checkCount(action, "random.seed", random.seed ?? 0, 0);
      this.#key = new Key(random.seed ?? 0).fold("token windows");
      this.length = random.count;
    }
  }

  /**
   * One window.
   *
   * @param index from 0 to `length - 1`
   * @returns views of the tokens
   * @throws {RangeError} when there is no such window
   */
  get(index: number): TokenItem {
    checkIndex(index, this.length);
    const places = this.tokens.length - this.windowLength;
    const start = this.#key === undefined
      ? index * this.#stride
      : Math.floor(new KeyedStream(this.#key, index).uniform() * places);
    const end = start + this.windowLength;
    return {
      inputs: this.tokens.subarray(start, end),
      targets: this.tokens.subarray(start + 1, end + 1),
    };
  }
}

/**
 * Makes batches of windows: tokens become i32.
 *
 * @returns a function for the loader's `collate`; it throws a RangeError when the windows differ in
 * length
 */
export function tokenCollate(): Collate<TokenItem, TokenBatch> {
  return (items) => {
    const length = items[0].inputs.length;
    const inputs = new Int32Array(items.length * length);
    const targets = new Int32Array(items.length * length);
    items.forEach((item, i) => {
      if (item.inputs.length !== length || item.targets.length !== length) {
        throw new RangeError(
          `Cannot make a batch as every window must have ${length} tokens: got ` +
            `${item.inputs.length} inputs and ${item.targets.length} targets`,
        );
      }
      inputs.set(item.inputs, i * length);
      targets.set(item.targets, i * length);
    });
    const shape = [items.length, length];
    return (device) => ({
      inputs: tensor(inputs, { shape, dtype: "i32", device }),
      targets: tensor(targets, { shape, dtype: "i32", device }),
      size: items.length,
    });
  };
}

/**
 * Splits a row of tokens by position: what comes first is for training, the rest for validation, so
 * that no window of one part overlaps one of the other.
 *
 * @param tokens a row of tokens
 * @param fraction share of the first part, above 0 and below 1. Default: 0.9
 * @returns two views of the tokens
 * @throws {RangeError} when the fraction is out of range
 *
 * @example
 * ```ts
 * import { splitTokens } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const [train, validation] = splitTokens(Int32Array.from([0, 1, 2, 3, 4]), 0.8);
 * assertEquals([[...train], [...validation]], [[0, 1, 2, 3], [4]]);
 * ```
 */
export function splitTokens(
  tokens: Int32Array,
  fraction = 0.9,
): [train: Int32Array, validation: Int32Array] {
  if (!(fraction > 0 && fraction < 1)) {
    throw new RangeError(
      `Cannot split tokens as the fraction must be above 0 and below 1: got ${fraction}`,
    );
  }
  const border = Math.round(tokens.length * fraction);
  return [tokens.subarray(0, border), tokens.subarray(border)];
}
