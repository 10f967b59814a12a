/** Sampling of sequences from a model that gives logits. */

import {
  Key,
  nextKey,
  noGrad,
  ShapeError,
  showShape,
  type Tensor,
  tensor,
  threefry2x32,
} from "../core/mod.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import type { Module } from "./module.ts";

/** How sequences are continued. */
export interface GenerateOptions {
  /** Tokens to add to each sequence. */
  readonly maxNewTokens: number;
  /** What logits are divided by before a token is drawn; 0 takes the most likely one. @default {1} */
  readonly temperature?: number;
  /** Draw only among so many most likely tokens. @default {all of them} */
  readonly topK?: number;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Told each new token of every sequence. @default {nobody} */
  readonly onToken?: (tokens: readonly number[]) => void;
}

/** A model that can be sampled from. */
interface LanguageModel extends Module {
  readonly vocabSize: number;
  readonly contextLength: number;
  hidden(tokens: Tensor): Tensor;
  logits(hidden: Tensor): Tensor;
}

/** Least length of what the model is asked; shorter sequences are filled up. */
const LEAST = 8;

/** Continues sequences; see GPT.generate(). */
export async function generateTokens(
  model: LanguageModel,
  tokens: Tensor,
  options: GenerateOptions,
): Promise<Tensor> {
  const { maxNewTokens, temperature = 1, topK = model.vocabSize, key = nextKey() } = options;
  checkOptions(options);
  if (tokens.ndim !== 2 || tokens.shape[1] === 0) {
    throw new ShapeError(
      `Cannot generate from ${showShape(tokens.shape)}: expected [N, L] with L of at least 1`,
    );
  }
  const [n, given] = tokens.shape;
  const start = await tokens.data();
  const rows = Array.from({ length: n }, (_, i) => [...start.slice(i * given, (i + 1) * given)]);
  for (let step = 0; step < maxNewTokens; step++) {
    const logits = await nextLogits(model, rows, tokens);
    const drawn = rows.map((row, i) => {
      const own = logits.subarray(i * model.vocabSize, (i + 1) * model.vocabSize);
      const token = drawToken(own, temperature, topK, uniformAt(key, step, i));
      row.push(token);
      return token;
    });
    options.onToken?.(drawn);
  }
  const all = Int32Array.from(rows.flat());
  return tensor(all, { shape: [n, given + maxNewTokens], dtype: "i32", device: tokens.device });
}

function checkOptions({ maxNewTokens, temperature = 1, topK = 1, key }: GenerateOptions): void {
  checkCount("maxNewTokens", maxNewTokens, 0);
  checkCount("topK", topK, 1);
  checkNumber("a sample", "temperature", temperature, [0, Number.MAX_VALUE]);
  if (key !== undefined && !(key instanceof Key)) {
    throw new TypeError(`Cannot generate with a key that is a ${typeof key}: expected a Key`);
  }
}

function checkCount(name: string, value: number, least: number): void {
  checkInteger("a sample", name, value, least);
}

/** A number in [0, 1) of 53 bits. */
function uniformAt(key: Key, step: number, row: number): number {
  const [high, low] = threefry2x32(key.k0, key.k1, step, row);
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/** The logits behind the last token of each row. */
async function nextLogits(
  model: LanguageModel,
  rows: readonly number[][],
  { device }: Tensor,
): Promise<Float64Array> {
  const length = Math.min(rows[0]?.length ?? 0, model.contextLength);
  const filled = Math.min(
    model.contextLength,
    Math.max(LEAST, 2 ** Math.ceil(Math.log2(Math.max(1, length)))),
  );
  // Positions behind the last token are not seen by it, so what fills them up does not matter.
  const window = rows.flatMap((row) => {
    const seen = row.slice(-length);
    return [...seen, ...new Array<number>(filled - seen.length).fill(0)];
  });
  const training = model.modules().map((module) => [module, module.training] as const);
  using _ = device.scope();
  let last: Tensor;
  try {
    model.eval();
    last = noGrad(() => {
      const input = tensor(Int32Array.from(window), {
        shape: [rows.length, filled],
        dtype: "i32",
        device,
      });
      const at = tensor([length - 1], { dtype: "i32", device });
      return model.logits(model.hidden(input).indexSelect(1, at));
    });
  } finally {
    for (const [module, mode] of training) module.training = mode;
  }
  return Float64Array.from(await last.data());
}

/**
 * A token by its logits.
 *
 * @param logits of all tokens
 * @param temperature what they are divided by; 0 takes the first of the largest
 * @param topK how many of the largest count; of equal ones those with lower numbers
 * @param u a number in [0, 1)
 * @returns the number of a token
 */
export function drawToken(
  logits: ArrayLike<number>,
  temperature: number,
  topK: number,
  u: number,
): number {
  const values = Array.from(logits);
  if (values.some(Number.isNaN)) {
    throw new RangeError("Cannot draw a token from logits with NaN: expected numbers");
  }
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
  if (temperature === 0) return order[0];
  const kept = order.slice(0, topK);
  const top = values[kept[0]];
  const weights = kept.map((i) =>
    values[i] === top ? 1 : Math.exp((values[i] - top) / temperature)
  );
  const total = weights.reduce((a, b) => a + b, 0);
  let rest = u * total;
  for (const [n, weight] of weights.entries()) {
    rest -= weight;
    if (rest < 0) return kept[n];
  }
  return kept[weights.findLastIndex((w) => w > 0)];
}
