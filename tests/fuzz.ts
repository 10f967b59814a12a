/**
 * Damaged files for parsers: valid ones are changed by what is known of their format, and each must give a value or an error of
 * ours, soon, within a few times the memory that the file takes.
 */

import { getHeapStatistics } from "node:v8";
import { assert } from "@std/assert";

const canUseEnv = (await Deno.permissions.query({ name: "env" })).state === "granted";
const asked = (canUseEnv && Deno.env.get("LEGOML_FUZZ")) || undefined;

/** How many damaged files a parser gets: `LEGOML_FUZZ`, as 1000000 before a release, or else a small number. */
export function fuzzCount(small: number, share = 1): number {
  return asked === undefined ? small : Math.round(Number(asked) * share);
}

/** Whole numbers below a limit. */
export type Roll = (below: number) => number;

/** Whole numbers below a limit, by a seed (mulberry32). */
export function dice(seed: number): Roll {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A number of a file that says how long or how many something is. */
export interface LengthField {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly endian: "big" | "little";
}

/** A valid file to begin with. */
export interface Seed {
  readonly bytes: Uint8Array;
  readonly fields?: readonly LengthField[];
}

/** A parser and what is known of its files. */
export interface Target<T> {
  readonly name: string;
  readonly seeds: readonly Seed[];
  /** Pieces of text to put in. */
  readonly words?: readonly string[];
  /** Reads a file; throws where it cannot. */
  readonly read: (bytes: Uint8Array) => T | Promise<T>;
  /** Whether an error is one that the parser promises. */
  readonly isOurs: (error: unknown) => boolean;
  /** Makes lengths and checksums right again, to get at what is behind them; for half of the files. */
  readonly repair?: (bytes: Uint8Array, seed: Seed) => Uint8Array;
  /** What must hold of a value that was read, such as that it is written as the same file. */
  readonly check?: (value: T, bytes: Uint8Array) => void | Promise<void>;
  /** Bytes that reading a file may allocate. Default: four times the file and 1 MiB. */
  readonly allowance?: (bytes: Uint8Array) => number;
}

/** What became of the files. */
export interface FuzzCounts {
  files: number;
  accepted: number;
  refused: number;
  /** The longest time for one of them, in ms. */
  slowestMs: number;
  /** The most that one of them allocated, in bytes. */
  mostBytes: number;
}

/** Longer than this is a hang; below it is the load of the machine. */
const HANG_MS = 10_000;
const MAX_MESSAGE = 4_000;
const EXTREMES = [0n, 1n, -1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 255n, 256n, 65_535n];
const NUMBERS = [
  ...["0", "1", "-1", "2147483648", "4294967296", "9007199254740992", "9007199254740993"],
  ...["9223372036854775808", "18446744073709551616", "1e999", "1.5", "-0", "00", "1e2"],
];

/** Cuts valid files at every byte and flips every bit, then damages as many as asked for at random. */
export async function fuzz<T>(target: Target<T>, count: number, seed: number): Promise<FuzzCounts> {
  const counts = { files: 0, accepted: 0, refused: 0, slowestMs: 0, mostBytes: 0 };
  for (const { bytes } of target.seeds) {
    await put(target, bytes, "a valid file", counts);
    assert(counts.refused === 0, `${target.name} refuses a valid file`);
  }
  for (const { bytes } of target.seeds) {
    for (let length = 0; length < bytes.length; length++) {
      await put(target, bytes.slice(0, length), `cut to ${length} bytes`, counts);
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] ^= 1 << (bit & 7);
      await put(target, flipped, `bit ${bit} flipped`, counts);
    }
  }
  for (let i = 0; i < count; i++) {
    // Each file has its own dice, so that one can be made again alone.
    const bytes = damaged(target, dice(seed + i));
    await put(target, bytes, `file ${i} of seed ${seed}`, counts);
  }
  return counts;
}

/** One damaged file. */
export function damaged<T>({ seeds, words = [], repair }: Target<T>, roll: Roll): Uint8Array {
  const seed = seeds[roll(seeds.length)];
  const other = seeds[roll(seeds.length)].bytes;
  let { bytes } = seed;
  for (let times = roll(4); times >= 0; times--) bytes = change(bytes, seed, other, words, roll);
  return repair !== undefined && roll(2) === 1 ? repair(bytes, seed) : bytes;
}

async function put<T>(
  target: Target<T>,
  bytes: Uint8Array,
  what: string,
  counts: FuzzCounts,
): Promise<void> {
  const { name, isOurs, check, allowance = (file) => 4 * file.length + 2 ** 20 } = target;
  const most = allowance(bytes);
  let { value, error, used, ms } = await attempt(target, bytes);
  // What the engine allocates for itself, such as compiled code, does not come again.
  for (let tries = 1; used > most && tries < 4; tries++) {
    ({ value, error, used, ms } = await attempt(target, bytes));
  }
  counts.files++;
  counts.slowestMs = Math.max(counts.slowestMs, ms);
  counts.mostBytes = Math.max(counts.mostBytes, used);
  const tell = () => `${name}, ${what}: ${hex(bytes)}`;
  if (ms > HANG_MS) throw new Error(`reading took ${ms} ms; ${tell()}`);
  if (used > most) throw new Error(`reading took ${used} bytes, at most ${most}; ${tell()}`);
  if (error === undefined) {
    counts.accepted++;
    try {
      await check?.(value!, bytes);
    } catch (cause) {
      throw new Error(`the value is wrong: ${(cause as Error).message}; ${tell()}`, { cause });
    }
    return;
  }
  counts.refused++;
  if (!isOurs(error)) {
    throw new Error(`not an error of ours: ${error}; ${tell()}`, { cause: error });
  }
  const { message } = error as Error;
  if (message.length > MAX_MESSAGE) throw new Error(`a message of ${message.length}; ${tell()}`);
}

interface Attempt<T> {
  readonly value: T | undefined;
  readonly error: unknown;
  /** Bytes that were allocated; below 0 where garbage was collected meanwhile. */
  readonly used: number;
  readonly ms: number;
}

async function attempt<T>({ read }: Target<T>, bytes: Uint8Array): Promise<Attempt<T>> {
  const [start, before] = [performance.now(), allocated()];
  let value: T | undefined;
  let error: unknown;
  try {
    const result = read(bytes);
    value = result instanceof Promise ? await result : result;
  } catch (thrown) {
    error = thrown ?? new Error("nothing was thrown as an error");
  }
  return { value, error, used: allocated() - before, ms: performance.now() - start };
}

/** Bytes of objects and arrays, garbage that is not collected yet included. */
function allocated(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

function change(
  bytes: Uint8Array,
  { fields = [] }: Seed,
  other: Uint8Array,
  words: readonly string[],
  roll: Roll,
): Uint8Array {
  if (bytes.length === 0) return bytes;
  const at = roll(bytes.length);
  const to = at + roll(Math.min(64, bytes.length - at) + 1);
  const [head, part, tail] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
  switch (roll(10)) {
    case 0:
      return withByte(bytes, at, bytes[at] ^ (1 << roll(8)));
    case 1:
      return withByte(bytes, at, roll(256));
    case 2:
      return bytes.slice(0, at);
    case 3:
      return joined(head, part, part, tail);
    case 4:
      return joined(head, tail);
    case 5:
      return joined(head, encoded(words[roll(words.length)] ?? "\0"), tail);
    case 6:
      return withNumber(bytes, at, NUMBERS[roll(NUMBERS.length)]);
    case 7:
      return joined(head, other.subarray(roll(other.length)));
    case 8:
      return joined(bytes.subarray(0, roll(at + 1)), part, head, tail);
    default:
      return withLength(bytes, fields[roll(fields.length || 1)], EXTREMES[roll(EXTREMES.length)]);
  }
}

function withByte(bytes: Uint8Array, at: number, byte: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = byte;
  return copy;
}

const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;

/** With another number in place of the first one written in digits from a place on. */
function withNumber(bytes: Uint8Array, at: number, number: string): Uint8Array {
  let from = at;
  while (from < bytes.length && !isDigit(bytes[from])) from++;
  let to = from;
  while (to < bytes.length && isDigit(bytes[to])) to++;
  return joined(bytes.subarray(0, from), encoded(number), bytes.subarray(to));
}

function withLength(bytes: Uint8Array, field: LengthField | undefined, value: bigint): Uint8Array {
  if (field === undefined || field.at + field.bytes > bytes.length) return bytes.slice(1);
  const copy = bytes.slice();
  for (let i = 0; i < field.bytes; i++) {
    const place = field.endian === "little" ? i : field.bytes - 1 - i;
    copy[field.at + place] = Number((value >> BigInt(8 * i)) & 255n);
  }
  return copy;
}

/** The bytes of several pieces, one behind the other. */
export function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The bytes of a text. */
export function encoded(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function hex(bytes: Uint8Array): string {
  return bytes.length > 4096 ? `${bytes.length} bytes` : bytes.toHex();
}

/** Says what became of the files, where more than the usual few were damaged. */
export function tellCounts(name: string, counts: FuzzCounts, start: number): void {
  if (asked === undefined) return;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const { files, accepted, refused, slowestMs, mostBytes } = counts;
  console.log(
    `${name}: ${files} files, ${accepted} accepted, ${refused} refused, ${seconds} s, ` +
      `slowest ${slowestMs.toFixed(1)} ms, at most ${mostBytes} bytes for one`,
  );
}
