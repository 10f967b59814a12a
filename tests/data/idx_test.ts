import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { encodeIdx, type IdxArray, IdxError, parseIdx, readIdx } from "../../data/mod.ts";
import { canUseFiles, gzip, temporaryFolder } from "./permissions.ts";

/** The bytes of a text such as `00 00 08 01`. */
function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.trim().split(/\s+/), (digits) => parseInt(digits, 16));
}

// Written by hand from the format's definition; floats by the IEEE 754 bit patterns
const files: [hex: string, array: IdxArray][] = [
  ["00 00 08 01 00 00 00 03 00 7f ff", {
    dtype: "u8",
    shape: [3],
    data: new Uint8Array([0, 127, 255]),
  }],
  ["00 00 09 02 00 00 00 02 00 00 00 01 80 ff", {
    dtype: "i8",
    shape: [2, 1],
    data: new Int8Array([-128, -1]),
  }],
  ["00 00 0b 01 00 00 00 02 01 02 ff fe", {
    dtype: "i16",
    shape: [2],
    data: new Int16Array([258, -2]),
  }],
  ["00 00 0c 01 00 00 00 02 00 01 00 00 80 00 00 00", {
    dtype: "i32",
    shape: [2],
    data: new Int32Array([65536, -2147483648]),
  }],
  ["00 00 0d 01 00 00 00 02 3f c0 00 00 c0 00 00 00", {
    dtype: "f32",
    shape: [2],
    data: new Float32Array([1.5, -2]),
  }],
  ["00 00 0e 01 00 00 00 01 40 09 21 fb 54 44 2d 18", {
    dtype: "f64",
    shape: [1],
    data: new Float64Array([Math.PI]),
  }],
  ["00 00 08 04 00 00 00 01 00 00 00 02 00 00 00 01 00 00 00 02 01 02 03 04", {
    dtype: "u8",
    shape: [1, 2, 1, 2],
    data: new Uint8Array([1, 2, 3, 4]),
  }],
  ["00 00 0d 03 00 00 00 02 00 00 00 00 00 00 00 05", {
    dtype: "f32",
    shape: [2, 0, 5],
    data: new Float32Array(),
  }],
];

for (const [hex, array] of files) {
  Deno.test(`parseIdx() reads ${array.dtype} [${array.shape}] and encodeIdx() writes it`, () => {
    assertEquals(parseIdx(bytes(hex)), array);
    assertEquals(encodeIdx(array), bytes(hex));
  });
}

Deno.test("parseIdx() reads from the middle of a buffer, and copies", () => {
  const whole = bytes("aa 00 00 08 01 00 00 00 02 05 06 bb");
  const { data } = parseIdx(whole.subarray(1, 11));
  assertEquals(data, new Uint8Array([5, 6]));
  whole.fill(0);
  assertEquals(data, new Uint8Array([5, 6]));
});

const rejected: [why: string, hex: string, offset: number, text: string][] = [
  ["nothing", "", 0, "at least 4 bytes: got 0"],
  ["a cut magic", "00 00 08", 3, "at least 4 bytes: got 3"],
  ["a first byte other than 0", "01 00 08 01 00 00 00 00", 0, "0x00 0x00: got 0x01 0x00"],
  ["a second byte other than 0", "00 02 08 01 00 00 00 00", 1, "0x00 0x00: got 0x00 0x02"],
  ["a gzip stream", "1f 8b 08 00 00 00 00 00", 0, "unpack it first"],
  ["type 0x0a", "00 00 0a 01 00 00 00 00", 2, "got 0x0a"],
  ["type 0x0f", "00 00 0f 01 00 00 00 00", 2, "got 0x0f"],
  ["no dimension", "00 00 08 00", 3, "1 to 4 dimensions: got 0"],
  ["five dimensions", "00 00 08 05 00 00 00 01", 3, "1 to 4 dimensions: got 5"],
  ["a cut header", "00 00 08 02 00 00 00 01 00 00", 10, "12 bytes: got 10"],
  ["too few elements", "00 00 08 01 00 00 00 03 01 02", 10, "11 bytes for shape [3] of u8: got 10"],
  ["too many elements", "00 00 08 01 00 00 00 01 01 02", 9, "9 bytes for shape [1] of u8: got 10"],
  ["half an element", "00 00 0c 01 00 00 00 01 01 02", 10, "12 bytes for shape [1] of i32: got 10"],
  ["2^31 bytes", "00 00 08 01 80 00 00 00", 4, "at most 2147483648 bytes"],
  ["2^64 elements", "00 00 08 02 ff ff ff ff ff ff ff ff", 4, "at most 2147483648 bytes"],
  [
    "a product that wraps to 0 in 32 bits",
    "00 00 08 02 00 01 00 00 00 01 00 00",
    8,
    "at most 2147483648 bytes: got shape [65536, 65536]",
  ],
];

for (const [why, hex, offset, text] of rejected) {
  Deno.test(`parseIdx() rejects ${why} with its offset`, () => {
    const error = assertThrows(
      () => parseIdx(hex === "" ? new Uint8Array() : bytes(hex)),
      IdxError,
      text,
    );
    assertEquals(error.offset, offset);
    assertStringIncludes(error.message, `at byte ${offset}`);
  });
}

Deno.test("parseIdx() obeys maxBytes and shows the name", () => {
  const file = bytes(files[0][0]);
  assertEquals(parseIdx(file, { maxBytes: 11 }).shape, [3]);
  const error = assertThrows(() => parseIdx(file, { maxBytes: 10, name: "a.idx" }), IdxError);
  assertStringIncludes(error.message, 'Cannot parse IDX data of "a.idx" as it may have at most 10');
});

Deno.test("encodeIdx() rejects sizes that do not fit", () => {
  const data = new Uint8Array(4);
  for (const shape of [[], [3], [2, -2], [2, 2.5], [1, 1, 1, 1, 4]]) {
    assertThrows(() => encodeIdx({ dtype: "u8", shape, data }), RangeError, "product of 4");
  }
});

/** Numbers from 0 to `below - 1`, the same for the same seed (xorshift32). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const lengths = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff];

/** One damaged copy of a file. */
function mutate(
  file: Uint8Array<ArrayBuffer>,
  random: (below: number) => number,
): Uint8Array<ArrayBuffer> {
  const copy = file.slice();
  const kind = random(5);
  if (kind === 0) return copy.slice(0, random(copy.length + 1));
  if (kind === 1) return new Uint8Array([...copy, ...copy.subarray(random(copy.length))]);
  if (kind === 2) {
    const dim = random(Math.min(4, Math.max(1, copy[3])));
    new DataView(copy.buffer).setUint32(4 + 4 * dim, lengths[random(lengths.length)]);
    return copy;
  }
  for (let flips = 1 + random(3); flips > 0; flips--) copy[random(copy.length)] ^= 1 << random(8);
  return copy;
}

Deno.test("parseIdx() survives 20,000 mutations: a round trip or an IdxError, at once", () => {
  const random = generator(20_261_123);
  const seeds = files.map(([hex]) => bytes(hex));
  let accepted = 0;
  for (let round = 0; round < 20_000; round++) {
    const file = mutate(seeds[random(seeds.length)], random);
    const start = performance.now();
    try {
      assertEquals(encodeIdx(parseIdx(file)), file);
      accepted++;
    } catch (error) {
      if (!(error instanceof IdxError)) throw error;
      assertEquals(error.offset >= 0 && error.offset <= file.length, true, error.message);
    }
    assertEquals(performance.now() - start < 500, true, "a small file took more than 500 ms");
  }
  // Flips in the elements are still valid files, most other damage is not
  assertEquals(accepted > 2_000 && accepted < 18_000, true, `${accepted} accepted`);
});

Deno.test("parseIdx() rejects every cut of a file", () => {
  for (const [hex] of files) {
    const file = bytes(hex);
    for (let length = 0; length < file.length; length++) {
      assertThrows(() => parseIdx(file.subarray(0, length)), IdxError);
    }
  }
});

Deno.test({
  name: "readIdx() reads plain and packed files",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    for (const [index, [hex, array]] of files.entries()) {
      await Deno.writeFile(`${folder.path}/${index}`, bytes(hex));
      await Deno.writeFile(`${folder.path}/${index}.gz`, await gzip(bytes(hex)));
      assertEquals(await readIdx(`${folder.path}/${index}`), array);
      assertEquals(await readIdx(`${folder.path}/${index}.gz`), array);
    }
  },
});

Deno.test({
  name: "readIdx() reads a packed file of many chunks",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const random = generator(7);
    const data = Uint8Array.from({ length: 1_000_000 }, () => random(256));
    const array: IdxArray = { dtype: "u8", shape: [1000, 1000], data };
    await Deno.writeFile(`${folder.path}/large.gz`, await gzip(encodeIdx(array)));
    assertEquals(await readIdx(`${folder.path}/large.gz`), array);
  },
});

Deno.test({
  name: "readIdx() names the file that is missing",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/none.gz`;
    const error = await assertRejects(() => readIdx(path), Deno.errors.NotFound);
    assertEquals(error.message, `Cannot read "${path}" as there is no such file`);
    await assertRejects(() => readIdx(folder.path), TypeError, "must be a file: got a folder");
  },
});

Deno.test({
  name: "readIdx() rejects gzip streams that are cut, changed, or followed by more",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/bad.gz`;
    const packed = await gzip(bytes(files[0][0]));
    const changed = packed.slice();
    changed[packed.length - 6] ^= 1; // the checksum
    for (
      const bad of [
        packed.slice(0, -4),
        packed.slice(0, 3),
        changed,
        new Uint8Array([...packed, 1, 2]),
      ]
    ) {
      await Deno.writeFile(path, bad);
      const error = await assertRejects(() => readIdx(path), IdxError, "gzip stream is invalid");
      assertStringIncludes(error.message, path);
    }
  },
});

Deno.test({
  name: "readIdx() stops unpacking where the header says that the file ends",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/bomb.gz`;
    const file = new Uint8Array(50_000_000);
    file.set(bytes("00 00 08 01 00 00 00 04"));
    await Deno.writeFile(path, await gzip(file));
    const error = await assertRejects(() => readIdx(path), IdxError, "at most 12 bytes");
    assertEquals(error.offset, 12);
  },
});

Deno.test({
  name: "readIdx() rejects a header that no gzip stream of that size can fill",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/liar.gz`;
    await Deno.writeFile(path, await gzip(bytes("00 00 08 01 7f 00 00 00 01 02 03")));
    await assertRejects(() => readIdx(path), IdxError, "bytes of gzip can give at most");
  },
});

Deno.test({
  name: "readIdx() looks at the size before it reads",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    await Deno.writeFile(`${folder.path}/a`, bytes(files[0][0]));
    await assertRejects(
      () => readIdx(`${folder.path}/a`, { maxBytes: 10 }),
      IdxError,
      "at most 10 bytes: got 11",
    );
  },
});
