/** Damaged files for the parsers of packed formats, which take longer: a tenth of `LEGOML_FUZZ` for each. */

import { assert, assertEquals } from "@std/assert";
import {
  CsvDataset,
  CsvError,
  encodeIdx,
  encodeNpz,
  type IdxArray,
  IdxError,
  type NpyArray,
  NpyError,
  parseNpz,
  readIdx,
} from "../../data/mod.ts";
import { gunzip, GzipError } from "../../data/gzip.ts";
import { crc32 } from "../../data/zip.ts";
import { encoded, fuzz, fuzzCount, type Seed, type Target, tellCounts } from "../fuzz.ts";
import { canUseFiles, gzip, temporaryFolder } from "./permissions.ts";

const COUNT = fuzzCount(2_000, 0.1);
const COUNT_ON_DISK = fuzzCount(500, 0.02);
const SEED = 77;

async function run<T>(target: Target<T>, count = COUNT): Promise<void> {
  const start = performance.now();
  const counts = await fuzz(target, count, SEED);
  tellCounts(target.name, counts, start);
  assert(counts.accepted > count / 500, JSON.stringify(counts));
  assert(counts.refused > count / 4, JSON.stringify(counts));
}

const text = encoded("the same words again and again, ".repeat(20));
/** A piece of 1 KiB of a stream gives a thousand times as much at once; the buffer of 64 KiB, and what streams make. */
const OF_A_STREAM = 2 ** 21;

Deno.test(`${COUNT} damaged gzip streams give what was packed or a GzipError`, async () => {
  const limit = 4 * text.length;
  await run<Uint8Array>({
    name: "gzip",
    seeds: [{ bytes: await gzip(text) }, { bytes: await gzip(new Uint8Array()) }],
    words: ["\x1f\x8b\x08", "\0\0\0\0", "\xff"],
    read: (bytes) => gunzip(bytes, limit),
    isOurs: (error) => error instanceof GzipError,
    allowance: () => limit + OF_A_STREAM,
    // The checksum guards the content, not the time and the name in the header.
    check: (bytes) => assert(bytes.length === 0 || bytes.length === text.length),
  });
});

const arrays: Record<string, NpyArray> = {
  weight: { dtype: "f32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
  "deep/bias": { dtype: "f64", shape: [2], data: Float64Array.of(0.5, -1) },
};

/** Where the marks of a zip archive are. */
function marks(bytes: Uint8Array, mark: number): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: number[] = [];
  for (let at = 0; at + 4 <= bytes.length; at++) {
    if (view.getUint32(at, true) === mark) found.push(at);
  }
  return found;
}

/** The numbers of an archive: counts, lengths, places. */
function zipSeed(bytes: Uint8Array): Seed {
  const [end] = marks(bytes, 0x06054b50);
  const central = marks(bytes, 0x02014b50);
  const local = marks(bytes, 0x04034b50);
  const at = (places: number[], by: number[], size: 2 | 4) =>
    places.flatMap((place) =>
      by.map((offset) => ({ at: place + offset, bytes: size, endian: "little" }) as const)
    );
  return {
    bytes,
    fields: [
      ...at([end], [4, 6, 8, 10, 20], 2),
      ...at([end], [12, 16], 4),
      ...at(central, [8, 10, 28, 30, 32], 2),
      ...at(central, [16, 20, 24, 42], 4),
      ...at(local, [26, 28], 2),
    ],
  };
}

/** With the checksums of stored entries made right again. */
function withChecksums(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  for (const at of marks(copy, 0x02014b50)) {
    if (at + 46 > copy.length) continue;
    const [size, local] = [view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
    if (local + 30 > copy.length || view.getUint16(at + 10, true) !== 0) continue;
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    if (start + size > copy.length) continue;
    view.setUint32(at + 16, crc32(copy.subarray(start, start + size)), true);
  }
  return copy;
}

Deno.test(`${COUNT} damaged npz files give arrays or an NpyError`, async () => {
  await run<Map<string, NpyArray>>({
    name: "npz",
    seeds: [
      zipSeed(await encodeNpz(arrays)),
      zipSeed(await encodeNpz(arrays, { compress: true })),
      zipSeed(await encodeNpz({})),
    ],
    words: ["PK\x05\x06", "PK\x01\x02", "PK\x03\x04", ".npy", "\x93NUMPY", "../"],
    read: (bytes) => parseNpz(bytes),
    isOurs: (error) => error instanceof NpyError,
    repair: withChecksums,
    allowance: (bytes) => 4 * bytes.length + 2 * OF_A_STREAM,
    async check(found) {
      if ([...found].some(([name, { shape }]) => name === "" || shape.length > 32)) return;
      assertEquals(await parseNpz(await encodeNpz(found)), found);
    },
  });
});

Deno.test({
  name: "damaged files on disk give a value or an error of ours",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/file`;
    const onDisk = <T>(read: () => Promise<T>) => async (bytes: Uint8Array) => {
      await Deno.writeFile(path, bytes);
      return await read();
    };
    const csv = encoded("width,height,kind\n1,2,flät\n3,1,tall\n");
    await run<CsvDataset>({
      name: "CSV on disk",
      seeds: [{ bytes: csv }],
      words: ["\x80", "\xff", "\xc3", "\xed\xa0\x80", "\n", '"', "kind"],
      read: onDisk(() => CsvDataset.fromFile(path, { target: "kind" })),
      isOurs: (error) =>
        error instanceof CsvError ||
        (error instanceof RangeError && error.message.startsWith(`Cannot read CSV "${path}" as `)),
    }, COUNT_ON_DISK);
    const images = encodeIdx({ dtype: "u8", shape: [4, 5], data: new Uint8Array(20).fill(7) });
    await run<IdxArray>({
      name: "packed IDX on disk",
      seeds: [{ bytes: await gzip(images) }, { bytes: images }],
      words: ["\x1f\x8b\x08", "\0\0\x08\x02"],
      read: onDisk(() => readIdx(path)),
      isOurs: (error) => error instanceof IdxError,
      allowance: (bytes) => 4 * bytes.length + OF_A_STREAM,
    }, COUNT_ON_DISK);
  },
});
