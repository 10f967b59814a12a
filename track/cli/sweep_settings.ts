/** The settings that a sweep goes through: all of a grid, and draws from ranges. */

import { Key, threefry2x32 } from "../../core/tensor/random.ts";

/** Values of flags by name, as texts. */
export type Settings = Readonly<Record<string, string>>;

/** What a sweep goes through. */
export interface SweepPlan {
  /** "lr=1e-3,1e-2": a flag and its values. */
  readonly grid: readonly string[];
  /** "wd=log:1e-6..1e-2": a flag and the range of its draws. */
  readonly random: readonly string[];
  /** How many draws are combined with each point of the grid. */
  readonly samples: number;
  /** The seed of the draws. */
  readonly drawSeed: number;
}

const RANGE = /^(?:(log|int|uniform):)?([^:]+)\.\.([^:]+)$/;

/**
 * All settings of a plan, in a fixed order: the n-th draw of a flag depends on the seed, its name and
 * n alone, so a longer sweep begins with the settings of a shorter one.
 *
 * @throws {SyntaxError} if a grid or a range cannot be read
 * @throws {RangeError} if a range is empty, or a flag stands twice
 */
export function settingsOf({ grid, random, samples, drawSeed }: SweepPlan): Settings[] {
  const lists = grid.map(readGrid);
  const draws = random.map((text) => readRange(text));
  const names = [...lists, ...draws].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new RangeError(`Cannot sweep over ${twice} twice: expected it once`);
  }
  let points: Settings[] = [{}];
  for (const { name, values } of lists) {
    points = points.flatMap((point) => values.map((value) => ({ ...point, [name]: value })));
  }
  if (draws.length === 0) return points;
  const drawn = Array.from({ length: samples }, (_, i) => {
    const pairs = draws.map(({ name, at }) => [name, at(share(drawSeed, name, i))]);
    return Object.fromEntries(pairs) as Settings;
  });
  return points.flatMap((point) => drawn.map((draw) => ({ ...point, ...draw })));
}

function readGrid(text: string): { readonly name: string; readonly values: string[] } {
  const { name, rest } = split(text, "--grid", "lr=1e-3,1e-2");
  const values = rest.split(",").map((value) => value.trim());
  if (values.some((value) => value === "")) {
    throw new SyntaxError(`Cannot use --grid ${text}: expected values between the commas`);
  }
  return { name, values: [...new Set(values)] };
}

function readRange(
  text: string,
): { readonly name: string; readonly at: (share: number) => string } {
  const { name, rest } = split(text, "--random", "wd=log:1e-6..1e-2");
  const [, kind = "uniform", from, to] = rest.match(RANGE) ?? [];
  const [low, high] = [Number(from), Number(to)];
  if (from === undefined || !Number.isFinite(low) || !Number.isFinite(high)) {
    throw new SyntaxError(
      `Cannot use --random ${text}: expected a range such as 0..1, log:1e-6..1e-2 or int:1..8`,
    );
  }
  const whole = kind !== "int" || (Number.isSafeInteger(low) && Number.isSafeInteger(high));
  if (!(low < high) || (kind === "log" && low <= 0) || !whole) {
    const expected = {
      log: "two numbers above 0",
      int: "two whole numbers",
      uniform: "two numbers",
    };
    throw new RangeError(
      `Cannot use --random ${text}: expected ${
        expected[kind as keyof typeof expected]
      }, the first one less`,
    );
  }
  const at = (share: number) => {
    if (kind === "int") return String(low + Math.floor(share * (high - low + 1)));
    const value = kind === "log"
      ? Math.exp(Math.log(low) + share * (Math.log(high) - Math.log(low)))
      : low + share * (high - low);
    return String(Number(value.toPrecision(4)));
  };
  return { name, at };
}

function split(text: string, flag: string, form: string): { name: string; rest: string } {
  const [, name, rest] = text.match(/^(?:--)?([A-Za-z][\w-]*)=([\s\S]+)$/) ?? [];
  if (name !== undefined) return { name, rest };
  throw new SyntaxError(`Cannot use ${flag} ${text}: expected a flag and its values, as ${form}`);
}

/** A number from 0 to below 1 that depends on the arguments alone. */
function share(seed: number, name: string, index: number): number {
  const { k0, k1 } = new Key(seed).fold(name);
  return threefry2x32(k0, k1, index, 0)[0] / 2 ** 32;
}

/** The seeds of "1,2,3" or "1..5". @throws {SyntaxError} if they are no whole numbers from 0 */
export function seedsOf(text: string | undefined): (string | null)[] {
  if (text === undefined) return [null];
  const [, from, to] = text.match(/^(\d+)\.\.(\d+)$/) ?? [];
  const [low, high] = [Number(from), Number(to)];
  if (from !== undefined && high >= low && high - low < 10_000) {
    return Array.from({ length: high - low + 1 }, (_, i) => String(low + i));
  }
  const seeds = text.split(",").map((seed) => seed.trim());
  if (seeds.every((seed) => /^\d+$/.test(seed))) return [...new Set(seeds)];
  throw new SyntaxError(`Cannot use --seeds ${text}: expected whole numbers as 1,2,3 or 1..5`);
}
