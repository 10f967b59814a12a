import { createHash } from "node:crypto";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { decodeCheckpoint } from "../../track/checkpoint_file.ts";
import { decodeIndex } from "../../track/checkpoint_index.ts";
import { CheckpointError, CheckpointStore } from "../../track/mod.ts";
import { catchWarnings, checkContent, contentOf, takeWarnings } from "./checkpoint_parts.ts";
import { MemoryFiles } from "./memory_files.ts";

const DIR = "/checkpoints";
const PATH = `${DIR}/step-00000003.safetensors`;
const INDEX = `${DIR}/index.json`;

// LEGOML_FUZZ=1000000 is the run before a release
const canUseEnv = (await Deno.permissions.query({ name: "env" })).state === "granted";
const COUNT = Number((canUseEnv && Deno.env.get("LEGOML_FUZZ")) || 20_000);

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

/** Whole numbers below a limit, by a seed (mulberry32). */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const WORDS = ["0", "-1", "1e999", "null", "[]", "{}", '""', "9007199254740993", '"__proto__":1,'];
const LENGTHS = [0n, 1n, 8n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

function mutate(bytes: Uint8Array, roll: (below: number) => number): Uint8Array {
  if (bytes.length < 8) return bytes.slice(1);
  const at = roll(bytes.length);
  const to = at + roll(Math.min(64, bytes.length - at) + 1);
  const [head, part, tail] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
  const copy = bytes.slice();
  switch (roll(7)) {
    case 0:
      copy[at] ^= 1 << roll(8);
      return copy;
    case 1:
      copy[at] = roll(256);
      return copy;
    case 2:
      return bytes.slice(0, at);
    case 3:
      return joined(head, part, part, tail);
    case 4:
      return joined(head, tail);
    case 5:
      new DataView(copy.buffer).setBigUint64(0, LENGTHS[roll(LENGTHS.length)], true);
      return copy;
    default:
      return joined(head, new TextEncoder().encode(WORDS[roll(WORDS.length)]), tail);
  }
}

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

function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

Deno.test(`${COUNT} damaged files are refused, sealed ones read or refused`, async () => {
  const roll = dice(2026);
  const counts = { refused: 0, unchanged: 0, sealedRead: 0, sealedRefused: 0 };
  let slowest = 0;
  for (let i = 0; i < COUNT; i++) {
    const [path, original, read] = SEEDS[i % 2];
    let bytes = original;
    for (let times = roll(3); times >= 0; times--) bytes = mutate(bytes, roll);
    const reseal = roll(2) === 1;
    if (reseal) bytes = sealed(bytes, path);
    const start = performance.now();
    let error: unknown = null;
    try {
      await read(bytes, path);
    } catch (thrown) {
      error = thrown;
    }
    slowest = Math.max(slowest, performance.now() - start);
    if (error === null) {
      if (same(bytes, original)) counts.unchanged++;
      else if (reseal) counts.sealedRead++;
      else throw new Error(`file ${i} is damaged and was read`);
    } else {
      assertInstanceOf(error, CheckpointError, `file ${i}: ${error}`);
      assert(error.message.length < 2000, error.message);
      if (reseal) counts.sealedRefused++;
      else counts.refused++;
    }
  }
  assert(counts.refused > COUNT / 3 && counts.sealedRefused > COUNT / 4, JSON.stringify(counts));
  // a hang, not the load of the machine
  assert(slowest < 10_000, `one took ${slowest} ms`);
  if (COUNT > 20_000) console.log(counts, `slowest ${slowest} ms`);
});
