/** A text for language models, made by code. */

import { Key, threefry2x32 } from "../core/mod.ts";

const people = ["Anna", "Ben", "Clara", "David", "Emma", "Frank", "Irene", "Oscar"];
const colors = ["red", "green", "yellow", "old", "small", "heavy"];
const things = ["apple", "book", "candle", "drum", "lamp", "spoon", "stone", "ticket"];
const numbers = "no one two three four five six seven eight nine".split(" ");

/**
 * Little stories of who has how many of what, whose pronouns, plurals and numbers agree.
 *
 * @param seed the same one gives the same text
 * @param length least number of characters
 */
export function stories(seed: number, length: number): string {
  const { k0, k1 } = new Key(seed).fold("stories");
  let [draws, text] = [0, ""];
  const below = (n: number) => threefry2x32(k0, k1, draws++, 0)[0] % n;
  while (text.length < length) {
    const [giver, other, had] = [below(8), 1 + below(7), 1 + below(9)];
    const [what, given] = [`${colors[below(6)]} ${things[below(8)]}`, 1 + below(had)];
    const some = (n: number) => `${numbers[n]} ${what}${n === 1 ? "" : "s"}`;
    text += `${people[giver]} has ${some(had)}, and ${giver % 2 ? "he" : "she"} gives ` +
      `${numbers[given]} to ${people[(giver + other) % 8]}. ` +
      `Now ${some(had - given)} ${had - given === 1 ? "is" : "are"} left.\n`;
  }
  return text;
}
