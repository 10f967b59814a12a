import { createHash } from "node:crypto";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  decodeCheckpoint,
  draftCheckpoint,
  hashTensors,
  sealCheckpoint,
} from "../../track/checkpoint_file.ts";
import { decodeIndex, encodeIndex } from "../../track/checkpoint_index.ts";
import { CheckpointError, CheckpointStore } from "../../track/mod.ts";
import { fuzz, fuzzCount, type Target, tellCounts } from "../fuzz.ts";
import { catchWarnings, checkContent, contentOf, takeWarnings } from "./checkpoint_parts.ts";
import { MemoryFiles } from "./memory_files.ts";

const DIR = "/checkpoints";
const PATH = `${DIR}/step-00000003.safetensors`;
const INDEX = `${DIR}/index.json`;

const COUNT = fuzzCount(10_000);

async function saved(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const now = () => new Date(Date.UTC(2026, 0, 1));
  const store = new CheckpointStore(DIR, { files, now, best: { metric: "loss", mode: "min" } });
  for (const step of [1, 2, 3]) await store.save(contentOf(step, { loss: 1 / step }));
  return files;
}

const files = await saved();
const checkpoint = files.read(PATH);
const index = files.read(INDEX);

/** A checkpoint's header ends here. */
const DATA = 8 + Number(new DataView(checkpoint.buffer).getBigUint64(0, true));

type Read = (bytes: Uint8Array, path: string) => Promise<unknown>;

async function refused(read: Read, bytes: Uint8Array, path: string): Promise<boolean> {
  try {
    await read(bytes, path);
    return false;
  } catch (error) {
    assertInstanceOf(error, CheckpointError);
    assertEquals([error.path, error.reason], [path, "damaged"]);
    return true;
  }
}

const SEEDS: [string, Uint8Array, Read][] = [
  [PATH, checkpoint, decodeCheckpoint],
  [INDEX, index, decodeIndex],
];

for (const [path, bytes, read] of SEEDS) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  Deno.test(`every bit of ${name} is guarded`, async () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] ^= 1 << (bit & 7);
      assert(await refused(read, flipped, path), `bit ${bit}`);
    }
  });

  Deno.test(`${name} is refused when it is cut at any byte`, async () => {
    for (let length = 0; length < bytes.length; length++) {
      assert(await refused(read, bytes.slice(0, length), path), `length ${length}`);
    }
  });
}

Deno.test(
  "a store falls back from a checkpoint that is damaged in any section",
  catchWarnings(async () => {
    const places = [0, 3, 8, 20, 60, 120, 200, 400, 700, DATA - 1];
    for (let at = DATA; at < checkpoint.length; at++) places.push(at);
    for (const at of places) {
      for (const cut of [false, true]) {
        const bytes = cut ? checkpoint.slice(0, at) : checkpoint.slice();
        if (!cut) bytes[at] ^= 128;
        files.files.set(PATH, bytes);
        const { skipped, ...rest } = await new CheckpointStore(DIR, { files }).load("last");
        assertEquals(checkContent({ ...rest, skipped }).step, 2);
        assertEquals([skipped.length, skipped[0].path], [1, PATH]);
        assertEquals(takeWarnings().length, 1);
      }
    }
    files.files.set(PATH, checkpoint);
    assertEquals((await new CheckpointStore(DIR, { files }).load()).entry.step, 3);
  }),
);

/** Gives a mutated file a valid seal, and a valid length of the header, to get at what is behind. */
function sealed(bytes: Uint8Array, path: string): Uint8Array {
  const isIndex = path === INDEX;
  const at = isIndex ? '{\n  "seal": "'.length : 8 + '{"__metadata__":{"legoml.seal":"'.length;
  const end = isIndex ? bytes.length : bytes.length - (checkpoint.length - DATA);
  if (end < at + 64) return bytes;
  const copy = bytes.slice();
  if (!isIndex) new DataView(copy.buffer).setBigUint64(0, BigInt(end - 8), true);
  copy.fill(0x30, at, at + 64);
  const seal = createHash("sha256").update(copy.subarray(0, end)).digest("hex");
  copy.set(new TextEncoder().encode(seal), at);
  return copy;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const WORDS = [
  "{",
  "}",
  "[",
  "]",
  "null",
  "[]",
  "{}",
  '""',
  ",",
  '"__proto__":1,',
  '"a":',
  "\\u0000",
];

/** A parser of files with a seal: those that were damaged without a new seal must all be refused. */
function target<T>(
  path: string,
  bytes: Uint8Array,
  read: (bytes: Uint8Array, path: string) => Promise<T>,
  check: (value: T) => void | Promise<void>,
): Target<T> {
  const resealed = new WeakSet<Uint8Array>();
  return {
    name: path.slice(path.lastIndexOf("/") + 1),
    seeds: [{ bytes, fields: [{ at: 0, bytes: 8, endian: "little" }] }],
    words: WORDS,
    read: (damaged) => read(damaged, path),
    isOurs: (error) => error instanceof CheckpointError && error.path === path,
    repair(damaged) {
      const file = sealed(damaged, path);
      resealed.add(file);
      return file;
    },
    check(value, damaged) {
      assert(resealed.has(damaged) || same(damaged, bytes), "it is damaged and was read");
      return check(value);
    },
  };
}

async function run<T>(what: Target<T>): Promise<void> {
  const start = performance.now();
  const counts = await fuzz(what, COUNT, 2026);
  tellCounts(what.name, counts, start);
  assert(counts.refused > COUNT / 2 && counts.accepted > COUNT / 500, JSON.stringify(counts));
}

Deno.test(`${COUNT} damaged checkpoints are refused, sealed ones read or refused`, async () => {
  await run(target(PATH, checkpoint, decodeCheckpoint, async ({ tensors, state, entry }) => {
    const { bytes: _bytes, seal: _seal, file: _file, sequence, ...record } = entry;
    const draft = draftCheckpoint({ tensors, state, ...record }, record);
    await hashTensors(draft);
    await sealCheckpoint(draft, sequence);
    const again = await decodeCheckpoint(draft.bytes, PATH);
    assertEquals(again.tensors, tensors);
    // As text, since -0 becomes 0 there.
    assertEquals(JSON.stringify(again.state), JSON.stringify(state));
    assertEquals([again.entry.step, again.entry.epoch], [entry.step, entry.epoch]);
  }));
});

Deno.test(`${COUNT} damaged indexes are refused, sealed ones read or refused`, async () => {
  await run(target(INDEX, index, decodeIndex, async (value) => {
    // As bytes, since -0 becomes 0 there.
    const again = await encodeIndex(value, INDEX);
    assertEquals(await encodeIndex(await decodeIndex(again, INDEX), INDEX), again);
  }));
});
