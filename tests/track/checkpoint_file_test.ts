import { createHash } from "node:crypto";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { encodeSafetensors } from "../../data/safetensors.ts";
import {
  type CheckpointContent,
  decodeCheckpoint,
  draftCheckpoint,
  hashTensors,
  readHead,
  sealCheckpoint,
} from "../../track/checkpoint_file.ts";
import type { CheckpointRecord } from "../../track/checkpoint_record.ts";
import { sha256 } from "../../track/checkpoint_seal.ts";
import { CheckpointError, type CheckpointTensor } from "../../track/mod.ts";
import { contentOf, readPlainly } from "./checkpoint_parts.ts";

const PATH = "/checkpoints/step-00000012.safetensors";

function recordOf(content: CheckpointContent): CheckpointRecord {
  const { step, epoch, metrics = {} } = content;
  const createdAt = "2026-01-01T00:00:00.000Z";
  return { step, epoch, createdAt, metrics, tags: ["a", "b"], keep: true, parent: null };
}

async function encode(content: CheckpointContent, sequence = 3) {
  const draft = draftCheckpoint(content, recordOf(content));
  await hashTensors(draft);
  const entry = await sealCheckpoint(draft, sequence);
  return { bytes: draft.bytes, entry };
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const ALL_TYPES: Record<string, CheckpointTensor> = {
  f32: {
    shape: [2, 3],
    dtype: "f32",
    data: Float32Array.of(-0, NaN, Infinity, -Infinity, 1e-45, 3.4e38),
  },
  f16: { shape: [4], dtype: "f16", data: Float16Array.of(-0, 65504, 6e-8, -Infinity) },
  i32: { shape: [2, 1], dtype: "i32", data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1) },
  u32: { shape: [1, 2], dtype: "u32", data: Uint32Array.of(0, 2 ** 32 - 1) },
  bool: { shape: [3], dtype: "bool", data: Uint8Array.of(0, 1, 1) },
  "a.scalar": { shape: [], dtype: "f32", data: Float32Array.of(0.1) },
  empty: { shape: [0, 4], dtype: "f32", data: new Float32Array(0) },
  "also empty": { shape: [0], dtype: "i32", data: new Int32Array(0) },
  "7": { shape: [1], dtype: "bool", data: Uint8Array.of(1) },
  'odd "name"\u0000\ud800 é': { shape: [1], dtype: "i32", data: Int32Array.of(5) },
};

Deno.test("sha256() gives the published values", async () => {
  // FIPS 180-4 examples
  const text = (content: string) => new TextEncoder().encode(content);
  assertEquals(
    await sha256(text("abc")),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  assertEquals(
    await sha256(text("")),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
});

Deno.test("a checkpoint comes back with the bits of every element type", async () => {
  const state = { a: [1, null, true, "x"], deep: { n: -1e-300, "": {} } };
  const metrics = { loss: 0.1, bad: NaN, worse: Infinity, worst: -Infinity };
  const { bytes, entry } = await encode({ tensors: ALL_TYPES, state, step: 12, epoch: 2, metrics });
  const loaded = await decodeCheckpoint(bytes, PATH);
  assertEquals(loaded.entry, entry);
  assertEquals(loaded.entry.metrics, metrics);
  assertEquals(loaded.state, state);
  assertEquals(Object.keys(loaded.tensors).sort(), Object.keys(ALL_TYPES).sort());
  for (const [name, { shape, dtype, data }] of Object.entries(ALL_TYPES)) {
    const found = loaded.tensors[name];
    assertEquals([found.shape, found.dtype], [[...shape], dtype], name);
    assert(found.data.constructor === data.constructor, name);
    assertEquals(new Uint8Array(found.data.buffer), new Uint8Array(data.buffer), name);
  }
});

Deno.test("a checkpoint is read by anybody who follows the safetensors text", async () => {
  const content = { tensors: ALL_TYPES, state: [1], step: 12, epoch: 2 };
  const { bytes, entry } = await encode(content);
  const { metadata, tensors, header } = readPlainly(bytes);
  for (const [name, { shape, data }] of Object.entries(ALL_TYPES)) {
    assertEquals(tensors[name].shape, [...shape], name);
    assertEquals(tensors[name].bytes, new Uint8Array(data.buffer), name);
  }
  assertEquals(tensors["f16"].dtype, "F16");
  assertEquals(metadata.format, "pt");
  assertEquals(JSON.parse(metadata["legoml.state"]), [1]);
  assertEquals(JSON.parse(metadata["legoml.checkpoint"]).step, 12);

  // the hashes by another implementation of SHA-256
  const stored = metadata["legoml.hashes"].match(/.{64}/g)!;
  const hashes = Object.values(tensors).map((tensor) => hashOf(tensor.bytes));
  assertEquals(stored.toSorted(), hashes.toSorted());
  const text = new TextDecoder().decode(header.subarray(8));
  const blank = text.replace(entry.seal, "0".repeat(64));
  const sealed = new Uint8Array([...header.subarray(0, 8), ...new TextEncoder().encode(blank)]);
  assertEquals(entry.seal, hashOf(sealed));
});

// by hand, in the layout of the format, with the hashes of another implementation
function handMade(change: (metadata: Record<string, string>) => void = () => {}): Uint8Array {
  const data = new Uint8Array(Float32Array.of(1.5, -2).buffer);
  const flags = Uint8Array.of(1, 0, 1);
  const metadata: Record<string, string> = {
    "legoml.seal": "0".repeat(64),
    "legoml.sequence": "0000000000000001",
    "legoml.hashes": hashOf(data) + hashOf(flags),
    "legoml.schema": "1",
    "legoml.checkpoint":
      '{"step":12,"epoch":1,"createdAt":"2026-01-01T00:00:00.000Z","metrics":{"loss":"NaN"},' +
      '"tags":[],"keep":false,"parent":"step-00000003.safetensors"}',
    "legoml.state": '{"seed": 1}',
  };
  change(metadata);
  const tensors = '"flags":{"shape":[3],"data_offsets":[8,11],"dtype":"BOOL"}, ' +
    '"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}';
  const text = `{"__metadata__":${JSON.stringify(metadata)},${tensors}}`;
  const build = (header: string) => {
    const padded = header + " ".repeat((8 - (header.length % 8)) % 8);
    return new Uint8Array(
      [padded.length, 0, 0, 0, 0, 0, 0, 0].map((_, i) =>
        Number((BigInt(padded.length) >> BigInt(8 * i)) & 255n)
      ).concat([...new TextEncoder().encode(padded)]),
    );
  };
  const sealed = text.replace("0".repeat(64), hashOf(build(text)));
  return new Uint8Array([...build(sealed), ...data, ...flags]);
}

Deno.test("a checkpoint made by hand is read", async () => {
  const { tensors, state, entry } = await decodeCheckpoint(handMade(), PATH);
  assertEquals(tensors, {
    w: { shape: [1, 2], dtype: "f32", data: Float32Array.of(1.5, -2) },
    flags: { shape: [3], dtype: "bool", data: Uint8Array.of(1, 0, 1) },
  });
  assertEquals(state, { seed: 1 });
  assertEquals([entry.step, entry.epoch, entry.sequence], [12, 1, 1]);
  assertEquals([entry.metrics, entry.parent], [{ loss: NaN }, "step-00000003.safetensors"]);
});

Deno.test("sealed files with content that does not fit are refused", async () => {
  const record = (change: object) => (metadata: Record<string, string>) => {
    const before = JSON.parse(metadata["legoml.checkpoint"]);
    metadata["legoml.checkpoint"] = JSON.stringify({ ...before, ...change });
  };
  const put = (key: string, value: string) => (metadata: Record<string, string>) => {
    metadata[key] = value;
  };
  const cases: [(metadata: Record<string, string>) => void, string][] = [
    [put("legoml.schema", "0"), 'expected the layout version 1, found "0"'],
    [put("legoml.schema", "x"), 'expected the layout version 1, found "x"'],
    [put("legoml.sequence", "0000000000000000"), "to be a count from 1"],
    [put("legoml.hashes", "0".repeat(64)), "expected a hash for each of 2 tensors"],
    [put("legoml.hashes", "0".repeat(128)), 'expected tensor "w", bytes '],
    [put("legoml.state", "{"), "JSON"],
    [put("legoml.state", '{"__proto__":1}'), "expected another name"],
    [put("legoml.state", "[".repeat(40) + "]".repeat(40)), "at most 32 levels"],
    [put("legoml.state", "1e999"), "a finite number"],
    [put("legoml.checkpoint", "[]"), "expected an object"],
    [record({ step: 13 }), "expected the file of step 13"],
    [record({ epoch: -1 }), 'expected "epoch" to be a count, found -1'],
    [record({ metrics: { a: "x" } }), '"metrics" to be numbers by name'],
    [record({ createdAt: "2026" }), '"createdAt" to be a date, found "2026"'],
    [record({ tags: [1] }), '"tags" to be a list of strings'],
    [record({ keep: 1 }), '"keep" to be true or false'],
    [record({ parent: "../../etc" }), '"parent" to be the file of a checkpoint or null'],
  ];
  for (const [change, message] of cases) {
    const error = await assertRejects(
      () => decodeCheckpoint(handMade(change), PATH),
      CheckpointError,
      message,
    );
    assert(error.message.startsWith(`Cannot load checkpoint ${PATH}: `), error.message);
    assertEquals([error.reason, error.path], ["damaged", PATH]);
  }
});

Deno.test("a newer layout is refused by both versions, whatever else it has", async () => {
  for (const read of [decodeCheckpoint, readHead]) {
    const error = await assertRejects(
      () => read(handMade((metadata) => metadata["legoml.schema"] = "2"), PATH),
      CheckpointError,
      "expected the layout version 1 or older, found the newer version 2",
    );
    assertEquals(error.reason, "newer");
  }
});

Deno.test("a damaged tensor is named, with the place where it begins", async () => {
  const { bytes } = await encode(contentOf(12));
  const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const spans = [["model.weight", 0, 16], ["steps", 16, 20], ["7", 20, 22], [
    "optimizer.mask",
    22,
    25,
  ]] as const;
  assertEquals(bytes.length, start + 25);
  for (const [name, from, to] of spans) {
    for (let at = from; at < to; at++) {
      const damaged = bytes.slice();
      damaged[start + at] ^= 1;
      const error = await assertRejects(() => decodeCheckpoint(damaged, PATH), CheckpointError);
      assertEquals([error.tensor, error.offset], [name, start + from]);
      assert(error.message.includes(`tensor "${name}", bytes ${start + from} to ${start + to}`));
      const cut = bytes.slice(0, start + at);
      const cutError = await assertRejects(() => decodeCheckpoint(cut, PATH), CheckpointError);
      assertEquals([cutError.tensor, cutError.offset], [name, start + at]);
      assert(cutError.message.includes(`expected ${bytes.length} bytes, found ${start + at}`));
    }
  }
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  await assertRejects(() => decodeCheckpoint(longer, PATH), CheckpointError, "25 bytes of data");
});

Deno.test("two equal tensors that change places are noticed", async () => {
  const tensor = (value: number) =>
    ({ shape: [1], dtype: "f32", data: Float32Array.of(value) }) as const;
  const tensors = { a: tensor(1), b: tensor(2) };
  const { bytes } = await encode({ tensors, state: 0, step: 12, epoch: 0 });
  const swapped = bytes.slice();
  swapped.copyWithin(bytes.length - 8, bytes.length - 4);
  swapped.set(bytes.subarray(bytes.length - 8, bytes.length - 4), bytes.length - 4);
  const error = await assertRejects(() => decodeCheckpoint(swapped, PATH), CheckpointError);
  assertEquals(error.tensor, "a");
});

Deno.test("a plain safetensors file is no checkpoint", async () => {
  const file = encodeSafetensors({}, { format: "pt" });
  await assertRejects(() => decodeCheckpoint(file, PATH), CheckpointError, "cut short");
  const longer = encodeSafetensors({}, { format: "x".repeat(500) });
  await assertRejects(() => decodeCheckpoint(longer, PATH), CheckpointError, "legoml.seal");
});

Deno.test("what cannot be stored without loss is refused before anything is made", () => {
  const tensor = (shape: unknown, dtype: unknown, data: unknown) => () =>
    draftCheckpoint({
      tensors: { w: { shape, dtype, data } as CheckpointTensor },
      state: 0,
      step: 1,
      epoch: 0,
    }, recordOf(contentOf(1)));
  const what = 'Cannot save tensor "w": ';
  assertThrows(tensor([1], "f64", new Float64Array(1)), TypeError, `${what}expected an element`);
  assertThrows(tensor([1], "toString", new Float32Array(1)), TypeError, 'found "toString"');
  assertThrows(tensor([1], "f32", new Float64Array(1)), TypeError, "expected a Float32Array");
  assertThrows(tensor([1], "i32", [1]), TypeError, "expected a Int32Array, found an Array");
  assertThrows(tensor(1, "i32", new Int32Array(1)), TypeError, "expected a shape, found 1");
  assertThrows(tensor([2], "i32", new Int32Array(1)), RangeError, "expected 8 bytes");
  assertThrows(tensor([-1], "i32", new Int32Array(1)), RangeError, "sizes that are counts");
  assertThrows(tensor([2], "bool", Uint8Array.of(1, 2)), RangeError, "0 or 1, found 2 at 1");
  assertThrows(
    tensor([2], "f16", Float32Array.of(1, 0.1)),
    RangeError,
    "expected values that f16 holds exactly, found 0.1",
  );
  const state = (value: unknown) => () =>
    draftCheckpoint({ ...contentOf(1), state: value }, recordOf(contentOf(1)));
  assertThrows(state({ a: [1, NaN] }), TypeError, "Cannot store state.a[1] as JSON");
  assertThrows(state({ best: -Infinity }), TypeError, "expected a finite number");
  assertThrows(state(undefined), TypeError, "found undefined");
  assertThrows(state(new Map()), TypeError, "expected a plain object, found a Map");
  assertThrows(state(JSON.parse('{"__proto__": 1}')), TypeError, "expected another name");
  assertThrows(state("x".repeat(10_000_001)), RangeError, "put arrays into tensors");
});

Deno.test("halves come from the array that devices give, and views store their part", async () => {
  const wide = Float32Array.of(9, 0.5, -0, NaN, 9);
  const tensors: Record<string, CheckpointTensor> = {
    half: { shape: [3], dtype: "f16", data: wide.subarray(1, 4) },
    part: { shape: [2], dtype: "f32", data: wide.subarray(1, 3) },
  };
  const { bytes } = await encode({ tensors, state: 0, step: 12, epoch: 0 });
  const loaded = (await decodeCheckpoint(bytes, PATH)).tensors;
  assertEquals(loaded.half.data, Float16Array.of(0.5, -0, NaN));
  assertEquals(loaded.part.data, Float32Array.of(0.5, -0));
});
