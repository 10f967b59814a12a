/** Splits that keep the shares of the classes. */

import { checkCount, checkFractions } from "./checks.ts";
import { type Dataset, type LabelledItem, Subset } from "./dataset.ts";
import { permutation } from "./order.ts";

/**
 * Splits a data set of labelled items at random into parts with the same shares of each class.
 *
 * Of each class, every part gets its fraction, give or take less than 2 items; what rounding takes
 * from a part in one class it gets back in the next, so the sizes of the parts differ from their
 * fractions by less than the number of classes allows, usually by at most 1. Within a part, items
 * keep the order of the data set.
 *
 * @param dataset labelled items; where it has an array `labels`, as image and CSV data sets do, no
 * item is read
 * @param fractions share of each part, above 0, with a sum of 1
 * @param options `seed`, a whole number from 0 to 2^53 - 1. Default: 0
 * @returns one part for each fraction; the same seed gives the same parts
 * @throws {RangeError} when the fractions are not above 0, their sum is not 1, or a label is not a
 * whole number from 0
 *
 * @example
 * ```ts
 * import { digits, stratifiedSplit } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const dataset = digits({ split: "train", count: 100 });
 * const [train, validation] = stratifiedSplit(dataset, [0.8, 0.2], { seed: 1 });
 * assertEquals([train.length, validation.length], [80, 20]);
 * ```
 */
export function stratifiedSplit<Item extends Pick<LabelledItem, "label">>(
  dataset: Dataset<Item>,
  fractions: readonly number[],
  options: { seed?: number } = {},
): Subset<Item>[] {
  checkFractions(fractions);
  const parts: number[][] = fractions.map(() => []);
  const owed = fractions.map(() => 0);
  for (const [label, members] of byClass(dataset)) {
    const order = permutation(options.seed ?? 0, "stratified split", label, members.length);
    let at = 0;
    shares(members.length, fractions, owed).forEach((count, part) => {
      for (let i = 0; i < count; i++) parts[part].push(members[order[at++]]);
    });
  }
  return parts.map((part) => new Subset(dataset, Uint32Array.from(part).sort()));
}

/** Items of each class, by rising label. */
function byClass<Item extends Pick<LabelledItem, "label">>(
  dataset: Dataset<Item>,
): [label: number, members: number[]][] {
  const { labels } = dataset as { labels?: unknown };
  const isArray = (labels instanceof Uint8Array || labels instanceof Int32Array) &&
    labels.length === dataset.length;
  const members = new Map<number, number[]>();
  for (let i = 0; i < dataset.length; i++) {
    const label = isArray ? labels[i] : dataset.get(i).label;
    checkCount("split the data set", `the label of item ${i}`, label, 0, 2 ** 32 - 1);
    const list = members.get(label);
    if (list === undefined) members.set(label, [i]);
    else list.push(i);
  }
  return [...members].sort(([a], [b]) => a - b);
}

// The largest remainders get what rounding down leaves; `owed` goes on to the next class
function shares(count: number, fractions: readonly number[], owed: number[]): number[] {
  const wanted = fractions.map((fraction, part) => fraction * count + owed[part]);
  const counts = wanted.map((value) => Math.max(0, Math.floor(value + 1e-9)));
  let left = count - counts.reduce((total, value) => total + value, 0);
  const order = wanted.map((_, part) => part)
    .sort((a, b) => (wanted[b] - counts[b]) - (wanted[a] - counts[a]) || a - b);
  for (let i = 0; left > 0; i++, left--) counts[order[i % order.length]]++;
  for (let i = order.length - 1; left < 0; i--) {
    const part = order[(i + order.length) % order.length];
    if (counts[part] === 0) continue;
    counts[part]--;
    left++;
  }
  counts.forEach((value, part) => owed[part] = wanted[part] - value);
  return counts;
}
