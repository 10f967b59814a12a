import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  encodeNpy,
  encodeNpz,
  type NpyArray,
  type NpyDType,
  NpyError,
  parseNpy,
  parseNpz,
  readNpy,
  readNpz,
} from "../../data/mod.ts";
import { base64, dataFiles, packed, survives } from "./files.ts";
import { canUseFiles, temporaryFolder } from "./permissions.ts";

const numpy = dataFiles.npy as Readonly<Record<string, string>>;

const dtypes: Readonly<Record<string, NpyDType>> = {
  "f2": "f16",
  "f4": "f32",
  "f8": "f64",
  "i1": "i8",
  "i2": "i16",
  "i4": "i32",
  "i8": "i64",
  "u1": "u8",
  "u2": "u16",
  "u4": "u32",
  "u8": "u64",
  "?": "bool",
};

Deno.test("parseNpy() reads every element type of NumPy, in both orders of bytes", () => {
  let count = 0;
  for (const [code, dtype] of Object.entries(dtypes)) {
    for (const order of ["", "<", ">"]) {
      const file = numpy[`${order}${code}`];
      if (file === undefined) continue;
      const { dtype: found, shape, data } = parseNpy(packed(file));
      const expected = [0, 1, 2, 3, 4, 5].map((value) => {
        if (dtype === "bool") return value === 0 ? 0 : 1;
        if (dtype[0] === "u") return value;
        return (value - 2) * (dtype[0] === "f" ? 0.5 : 1);
      });
      assertEquals([found, shape, Array.from(data as ArrayLike<number>, Number)], [
        dtype,
        [2, 3],
        expected,
      ]);
      count++;
    }
  }
  assertEquals(count, 19);
});

Deno.test("parseNpy() reads column-major arrays, scalars, empty arrays and newer versions", () => {
  const { shape, data } = parseNpy(packed(numpy["column-major"]));
  assertEquals([shape, [...data]], [[2, 3, 4], Array.from({ length: 24 }, (_, i) => i)]);
  assertEquals(parseNpy(packed(numpy.scalar)), {
    dtype: "f64",
    shape: [],
    data: new Float64Array([7.25]),
  });
  assertEquals(parseNpy(packed(numpy.empty)).shape, [0, 3]);
  for (const version of ["version 2.0", "version 3.0"]) {
    assertEquals(parseNpy(packed(numpy[version])).data, new Float32Array([0, 1, 2]));
  }
});

Deno.test("parseNpy() names what it does not read", () => {
  for (
    const [name, reason] of [
      ["record", "one simple type: got a record"],
      ["object", 'one of bool, i8, i16, i32, i64, u8, u16, u32, u64, f16, f32, f64: got "|O"'],
      ["text", 'got "<U2"'],
      ["complex", 'got "<c16"'],
    ]
  ) assertThrows(() => parseNpy(packed(numpy[name]), { name: "x.npy" }), NpyError, reason);
});

/** A file of version 1.0 with any header. */
function file(header: string, elements: number[] = []): Uint8Array {
  const text = new TextEncoder().encode(header);
  return new Uint8Array([
    ...[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8],
    ...text,
    ...elements,
  ]);
}

Deno.test("parseNpy() rejects headers that lie or cannot be read", () => {
  const good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  assertEquals(parseNpy(file(good, [7, 8])).data, new Uint8Array([7, 8]));
  assertEquals(parseNpy(file(`${good}  \n`, [7, 8])).shape, [2]);
  // What Python 2 wrote
  assertEquals(parseNpy(file(good.replace("2,", "2L,"), [7, 8])).shape, [2]);
  const wrong: [string, string][] = [
    [good.replace("(2,)", "(3,)"), "must have 70 bytes for shape (3) of u8: got 69"],
    [good.replace("(2,)", "(2000000000000000,)"), "is too large"],
    [good.replace("(2,)", "(99999999,99999999,0)"), "is too large"],
    [good.replace("(2,)", "(-2,)"), "cannot be read from"],
    [good.replace("(2,)", "(2)"), "its shape must be a tuple"],
    [good.replace("(2,)", "2"), "tuple of whole numbers"],
    [good.replace("(2,)", "('a',)"), "tuple of whole numbers"],
    [good.replace("False", "0"), "fortran_order must be True or False"],
    [good.replace("'shape'", "'form'"), "got descr, form, fortran_order"],
    [good.replace("'shape'", "'descr'"), 'must have "descr" once'],
    [good.replace("}", ""), "its header must"],
    [`${good} 1`, "must end with the dictionary"],
    [good.replace("|u1", "|u4"), 'got "|u4"'],
    [good.replace("|u1", "|b1"), "a bool must be 0 or 1: got 7"],
    [good.replace("'|u1'", "[('a', '|u1')]"), "got a record"],
    [`__import__('os') ${good}`, "cannot be read from"],
    ["", 'its header must have "{"'],
  ];
  for (const [header, reason] of wrong) {
    assertThrows(() => parseNpy(file(header, [7, 8]), { name: "a.npy" }), NpyError, reason);
  }
  const cut = file(good, [7, 8]).subarray(0, 20);
  assertThrows(() => parseNpy(cut), NpyError, "its header must end within 20 bytes");
  assertThrows(() => parseNpy(new Uint8Array(3)), NpyError, 'must begin with "\\x93NUMPY"');
  const version = file(good, [7, 8]);
  version[6] = 4;
  assertThrows(() => parseNpy(version), NpyError, "1.0, 2.0 or 3.0: got 4.0");
});

Deno.test("damaged npy files give arrays or NpyErrors", async () => {
  for (const name of ["<f4", "column-major", "version 3.0"]) {
    await survives(packed(numpy[name]), (b) => parseNpy(b, { name: "bad file" }), NpyError);
  }
});

const arrays: fc.Arbitrary<NpyArray> = fc.array(fc.nat(4), { maxLength: 4 }).chain((shape) => {
  const length = shape.reduce((product, size) => product * size, 1);
  const bounds = { minLength: length, maxLength: length };
  return fc.oneof(
    fc.float32Array(bounds).map((data) => ({ dtype: "f32", shape, data }) as NpyArray),
    fc.float64Array(bounds).map((data) => ({ dtype: "f64", shape, data }) as NpyArray),
    fc.int16Array(bounds).map((data) => ({ dtype: "i16", shape, data }) as NpyArray),
    fc.bigUint64Array(bounds).map((data) => ({ dtype: "u64", shape, data }) as NpyArray),
  );
});

Deno.test("what encodeNpy() writes in any order reads back", () => {
  fc.assert(
    fc.property(
      arrays,
      fc.constantFrom("C", "F"),
      fc.constantFrom("little", "big"),
      (array, order, endian) => {
        const file = encodeNpy(array, { order: order as "C", endian: endian as "big" });
        assertEquals(parseNpy(file), array);
      },
    ),
    { seed: 2 },
  );
});

Deno.test("encodeNpy() writes the bytes that NumPy writes", () => {
  for (const [code, dtype] of Object.entries(dtypes)) {
    for (const order of ["", "<", ">"]) {
      const file = numpy[`${order}${code}`];
      if (file === undefined) continue;
      const array = parseNpy(packed(file));
      assertEquals(array.dtype, dtype);
      const endian = order === ">" ? "big" : "little";
      assertEquals(encodeNpy(array, { endian }), packed(file), `${order}${code}`);
    }
  }
  const columns = packed(numpy["column-major"]);
  assertEquals(encodeNpy(parseNpy(columns), { order: "F" }), columns);
});

Deno.test("encodeNpy() checks the array", () => {
  const data = new Float32Array(2);
  const bad = (array: unknown): () => unknown => () => encodeNpy(array as NpyArray);
  assertThrows(bad({ dtype: "f4", shape: [2], data }), TypeError, 'got "f4"');
  assertThrows(
    bad({ dtype: "f64", shape: [2], data }),
    TypeError,
    "in a Float64Array: got Float32",
  );
  assertThrows(bad({ dtype: "f32", shape: [3], data }), RangeError, "needs 3 elements: got 2");
  assertThrows(bad({ dtype: "f32", shape: [-2], data }), RangeError, "sizes from 0: got [-2]");
  assertThrows(
    bad({ dtype: "bool", shape: [1], data: new Uint8Array([2]) }),
    RangeError,
    "0 or 1",
  );
});

Deno.test("parseNpz() reads what numpy.savez and savez_compressed wrote", async () => {
  const stored = await parseNpz(base64(dataFiles.npz.stored));
  assertEquals([...stored.keys()], ["weight", "bias"]);
  assertEquals(stored.get("weight"), {
    dtype: "f32",
    shape: [2, 3],
    data: new Float32Array([0, 0.25, 0.5, 0.75, 1, 1.25]),
  });
  assertEquals(stored.get("bias")!.data, new BigInt64Array([-1n, 2n]));
  const small = await parseNpz(base64(dataFiles.npz.packed));
  assertEquals(small.get("weight"), stored.get("weight"));
  assertEquals(small.get("zero"), { dtype: "f64", shape: [50, 50], data: new Float64Array(2500) });
});

Deno.test("what encodeNpz() writes reads back, and is the same each time", async () => {
  const arrays: Record<string, NpyArray> = {
    "0.weight": { dtype: "f32", shape: [1000], data: new Float32Array(1000) },
    "größe": { dtype: "u8", shape: [], data: new Uint8Array([3]) },
  };
  for (const compress of [false, true]) {
    const file = await encodeNpz(arrays, { compress });
    assertEquals(file.length < 1000, compress);
    assertEquals(Object.fromEntries(await parseNpz(file)), arrays);
    assertEquals(await encodeNpz(new Map(Object.entries(arrays)), { compress }), file);
  }
  await assertRejects(() => encodeNpz({ "": arrays["größe"] }), RangeError, "must not be empty");
});

Deno.test("parseNpz() refuses zip64, encryption, other methods, lies and other entries", async () => {
  const file = await encodeNpz({ a: { dtype: "u8", shape: [2], data: new Uint8Array([1, 2]) } });
  const end = file.length - 22;
  const central = new DataView(file.buffer).getUint32(end + 16, true);
  const changed = (...changes: [at: number, ...bytes: number[]][]): Uint8Array => {
    const copy = new Uint8Array(file);
    for (const [at, ...bytes] of changes) copy.set(bytes, at);
    return copy;
  };
  const wrong: [Uint8Array, string][] = [
    [changed([end + 8, 255, 255], [end + 10, 255, 255]), "zip64"],
    [changed([central + 24, 255, 255, 255, 255]), 'zip64 is not supported: entry "a.npy"'],
    [changed([central + 8, 1]), 'entry "a.npy" is encrypted'],
    [changed([central + 10, 12]), "must be stored or deflated: got method 12"],
    [changed([central + 24, 1, 1]), "cannot unpack from"],
    [changed([central + 24, 255, 255, 255, 127], [central + 10, 8]), "cannot unpack from"],
    [changed([central + 16, 1, 2, 3, 4]), 'the checksum of entry "a.npy" is wrong'],
    [changed([central + 46, 120, 46, 116, 120, 116]), 'must be npy files: got "x.txt"'],
    [changed([end + 10, 2], [end + 8, 2]), "must have 2 entries: got 1"],
    [changed([0, 0]), 'entry "a.npy" must begin at byte 0'],
    [file.subarray(0, -5), "must end with a zip directory"],
    [new Uint8Array(0), "must end with a zip directory"],
  ];
  for (const [bytes, reason] of wrong) {
    await assertRejects(() => parseNpz(bytes, { name: "a.npz" }), NpyError, reason);
  }
  const lie = await encodeNpz({
    a: { dtype: "u8", shape: [5000], data: new Uint8Array(5000) },
  }, { compress: true });
  await assertRejects(() => parseNpz(lie, { maxBytes: 4000 }), NpyError, "at most 4000 bytes");
});

Deno.test("damaged npz files give arrays or NpyErrors", async () => {
  for (const file of Object.values(dataFiles.npz)) {
    await survives(base64(file), (bytes) => parseNpz(bytes, { name: "bad file" }), NpyError);
  }
});

Deno.test({
  name: "readNpy() and readNpz() read files, and say which one is missing or too long",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const [one, two] = [`${folder.path}/a.npy`, `${folder.path}/a.npz`];
    await Deno.writeFile(one, packed(numpy["<f4"]));
    await Deno.writeFile(two, base64(dataFiles.npz.stored));
    assertEquals((await readNpy(one)).shape, [2, 3]);
    assertEquals((await readNpz(two)).size, 2);
    await assertRejects(() => readNpy(`${one}.x`), Deno.errors.NotFound, `${one}.x`);
    await assertRejects(() => readNpz(two, { maxBytes: 10 }), NpyError, "at most 10 bytes");
    await Deno.writeFile(one, new Uint8Array(5));
    await assertRejects(() => readNpy(one), NpyError, one);
  },
});
