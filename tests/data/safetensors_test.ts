import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  decodeSafetensors,
  encodeSafetensors,
  type SafetensorsDType,
  type SafetensorsEntry,
  SafetensorsError,
  safetensorsValues,
} from "../../data/safetensors.ts";

// safetensors.numpy.save of Python's safetensors 0.8.0 on the arrays of PUBLISHED
const REFERENCE = Uint8Array.fromBase64(
  "qAMAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJwdCJ9LCJ1bCI6eyJkdHlwZSI6IlU2NCIsInNoYXBlIjpb" +
    "MV0sImRhdGFfb2Zmc2V0cyI6WzAsOF19LCJsIjp7ImR0eXBlIjoiSTY0Iiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRz" +
    "IjpbOCwxNl19LCJkIjp7ImR0eXBlIjoiRjY0Iiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbMTYsMjRdfSwiZW1w" +
    "dHkiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzAsNF0sImRhdGFfb2Zmc2V0cyI6WzI0LDI0XX0sInNjYWxhciI6eyJk" +
    "dHlwZSI6IkYzMiIsInNoYXBlIjpbXSwiZGF0YV9vZmZzZXRzIjpbMjQsMjhdfSwidyI6eyJkdHlwZSI6IkYzMiIsInNo" +
    "YXBlIjpbMiwzXSwiZGF0YV9vZmZzZXRzIjpbMjgsNTJdfSwidSI6eyJkdHlwZSI6IlUzMiIsInNoYXBlIjpbMV0sImRh" +
    "dGFfb2Zmc2V0cyI6WzUyLDU2XX0sImkiOnsiZHR5cGUiOiJJMzIiLCJzaGFwZSI6WzJdLCJkYXRhX29mZnNldHMiOls1" +
    "Niw2NF19LCJoIjp7ImR0eXBlIjoiRjE2Iiwic2hhcGUiOlszXSwiZGF0YV9vZmZzZXRzIjpbNjQsNzBdfSwidXMiOnsi" +
    "ZHR5cGUiOiJVMTYiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls3MCw3Ml19LCJzIjp7ImR0eXBlIjoiSTE2Iiwi" +
    "c2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbNzIsNzRdfSwiYyI6eyJkdHlwZSI6Ikk4Iiwic2hhcGUiOlsyXSwiZGF0" +
    "YV9vZmZzZXRzIjpbNzQsNzZdfSwiMTAiOnsiZHR5cGUiOiJVOCIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6Wzc2" +
    "LDc3XX0sInVjIjp7ImR0eXBlIjoiVTgiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls3Nyw3OF19LCLDpFwiXFxc" +
    "biI6eyJkdHlwZSI6IlU4Iiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbNzgsNzldfSwiYi5mbGFnIjp7ImR0eXBl" +
    "IjoiQk9PTCIsInNoYXBlIjpbM10sImRhdGFfb2Zmc2V0cyI6Wzc5LDgyXX19ICD//////////wAAAAAAAACAmpmZmZmZ" +
    "uT8AAOBAAADAPwAAAMAAAFBAAAAAAAAAAIAAAIB///////////////9/ADz/ewC4//8AgIB/Cv8BAQAB",
);

const PUBLISHED: [string, SafetensorsDType, number[], ArrayLike<number | bigint>][] = [
  ["b.flag", "BOOL", [3], [1, 0, 1]],
  ["w", "F32", [2, 3], [1.5, -2, 3.25, 0, -0, Infinity]],
  ["h", "F16", [3], [1, 65504, -0.5]],
  ["i", "I32", [2], [-1, 2147483647]],
  ["u", "U32", [1], [4294967295]],
  ["empty", "F32", [0, 4], []],
  ["scalar", "F32", [], [7]],
  ["d", "F64", [1], [0.1]],
  ["l", "I64", [1], [-(2n ** 63n)]],
  ["ul", "U64", [1], [2n ** 64n - 1n]],
  ["s", "I16", [1], [-32768]],
  ["us", "U16", [1], [65535]],
  ["c", "I8", [2], [-128, 127]],
  ["uc", "U8", [1], [255]],
  ["10", "U8", [1], [10]],
  ['ä"\\\n', "U8", [1], [1]],
];

const ARRAYS = {
  BOOL: Uint8Array,
  F32: Float32Array,
  F16: Float16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
} as const;

function bytesOf(dtype: SafetensorsDType, values: ArrayLike<number | bigint>): Uint8Array {
  const type = ARRAYS[dtype as keyof typeof ARRAYS] as {
    from(v: unknown): { buffer: ArrayBuffer };
  };
  return new Uint8Array(type.from(values).buffer);
}

function published(): Record<string, SafetensorsEntry> {
  const entries = PUBLISHED.map(([name, dtype, shape, values]) =>
    [name, { dtype, shape, bytes: bytesOf(dtype, values) }] as const
  );
  return Object.fromEntries(entries);
}

function fileOf(header: string, data: number[] | Uint8Array = []): Uint8Array {
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

Deno.test("encodeSafetensors() writes the bytes of the reference implementation", () => {
  assertEquals(encodeSafetensors(published(), { format: "pt" }), REFERENCE);
});

Deno.test("encodeSafetensors() gives the same bytes in any order of insertion", () => {
  const reversed = Object.fromEntries(Object.entries(published()).reverse());
  assertEquals(encodeSafetensors(reversed, { format: "pt" }), REFERENCE);
});

Deno.test("decodeSafetensors() reads a file of the reference implementation", () => {
  const { tensors, metadata } = decodeSafetensors(REFERENCE);
  assertEquals([...metadata], [["format", "pt"]]);
  assertEquals(tensors.size, PUBLISHED.length);
  for (const [name, dtype, shape, values] of PUBLISHED) {
    const entry = tensors.get(name)!;
    assertEquals([entry.dtype, entry.shape], [dtype, shape], name);
    const read = Array.from<number | bigint>(safetensorsValues(entry) as never);
    assert(
      read.length === values.length && read.every((v, i) => Object.is(v, values[i])),
      `${name}: read ${read}`,
    );
  }
});

Deno.test("decodeSafetensors() reads a file at an odd offset of a larger buffer", () => {
  const larger = new Uint8Array(REFERENCE.length + 6);
  larger.set(REFERENCE, 3);
  const { tensors } = decodeSafetensors(larger.subarray(3, 3 + REFERENCE.length));
  assertEquals([...safetensorsValues(tensors.get("i")!) as Int32Array], [-1, 2147483647]);
});

Deno.test("decodeSafetensors() accepts data in any order and spaces in the header", () => {
  const header = '{ "b": {"dtype":"U8","shape":[1],"data_offsets":[2,3]},\n' +
    '"a":{"data_offsets":[0,2],"shape":[1,2],"dtype":"U8"} }   ';
  const { tensors } = decodeSafetensors(fileOf(header, [7, 8, 9]));
  assertEquals([...tensors.get("a")!.bytes], [7, 8]);
  assertEquals([...tensors.get("b")!.bytes], [9]);
});

Deno.test("safetensorsValues() widens BF16 exactly", () => {
  const bytes = new Uint8Array(Uint16Array.of(0x3fc0, 0xff80, 0x0001, 0x8000).buffer);
  const values = safetensorsValues({ dtype: "BF16", shape: [4], bytes });
  assertEquals([...values], [1.5, -Infinity, 2 ** -133, -0]);
  assert(values instanceof Float32Array && Object.is(values[3], -0));
});

Deno.test("decodeSafetensors() refuses a file cut at any byte, or with one more", () => {
  for (let length = 0; length < REFERENCE.length; length++) {
    assertThrows(() => decodeSafetensors(REFERENCE.slice(0, length)), SafetensorsError);
  }
  const longer = new Uint8Array(REFERENCE.length + 1);
  longer.set(REFERENCE);
  assertThrows(
    () => decodeSafetensors(longer),
    SafetensorsError,
    "expected 82 bytes of data after the header, found 83",
  );
});

const one = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
const BROKEN: [string, string, Uint8Array][] = [
  ["an array", 'begin with "{"', fileOf("[]")],
  ["a leading space", 'begin with "{"', fileOf(" {}")],
  ["an empty header", "found nothing", fileOf("")],
  ["broken JSON", "to be JSON", fileOf('{"a":')],
  ["invalid UTF-8", "to be UTF-8", new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d])],
  ["a name twice", 'found "a" twice', fileOf(`{"a":${one},"a":${one}}`, [1])],
  ["a name twice by escape", 'found "a" twice', fileOf(`{"a":${one},"\\u0061":${one}}`, [1])],
  ["a field twice", 'found "dtype" twice', fileOf(`{"a":{"dtype":"I8",${one.slice(1)}}`, [1])],
  ["the name __proto__", "not reserved", fileOf(`{"__proto__":${one}}`, [1])],
  ["a number as metadata", 'metadata "v" to be a string', fileOf('{"__metadata__":{"v":1}}')],
  ["metadata that is no object", "__metadata__ to be an object", fileOf('{"__metadata__":[]}')],
  ["a tensor that is no object", 'tensor "a" to be an object', fileOf('{"a":3}')],
  ["an unknown dtype", 'found "F128"', fileOf(`{"a":${one.replace("U8", "F128")}}`, [1])],
  ["a dtype of Object", 'found "toString"', fileOf(`{"a":${one.replace("U8", "toString")}}`, [1])],
  ["an unknown field", 'field "x"', fileOf(`{"a":{"x":0,${one.slice(1)}}`, [1])],
  ["a missing shape", "found nothing", fileOf(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, [1])],
  ["a negative size", "list of counts", fileOf(`{"a":${one.replace("[1]", "[-1]")}}`, [1])],
  ["a fractional size", "list of counts", fileOf(`{"a":${one.replace("[1]", "[0.5]")}}`, [1])],
  [
    "a huge shape",
    "expected a size that can be stored",
    fileOf(`{"a":${one.replace("[1]", "[4294967296,4294967296,4294967296]")}}`, [1]),
  ],
  ["a span of another size", "expected 2 bytes", fileOf(`{"a":${one.replace("[1]", "[2]")}}`, [1])],
  ["three offsets", "[begin, end]", fileOf(`{"a":${one.replace("[0,1]", "[0,1,1]")}}`, [1])],
  ["falling offsets", "[begin, end]", fileOf(`{"a":${one.replace("[0,1]", "[1,0]")}}`, [1])],
  [
    "a hole",
    "leaves a hole before it: expected it to begin at 1, found 2",
    fileOf(`{"a":${one},"b":${one.replace("[0,1]", "[2,3]")}}`, [1, 2, 3]),
  ],
  ["an overlap", "overlaps the one before it", fileOf(`{"a":${one},"b":${one}}`, [1])],
  ["data with no tensor", "expected 0 bytes of data", fileOf("{}", [1])],
  [
    "deep nesting",
    'tensor "a" to be an object',
    fileOf(`{"a":${"[".repeat(5e4)}${"]".repeat(5e4)}}`),
  ],
];

for (const [what, message, file] of BROKEN) {
  Deno.test(`decodeSafetensors() refuses ${what}`, () => {
    assertThrows(() => decodeSafetensors(file), SafetensorsError, message);
  });
}

Deno.test("decodeSafetensors() refuses a header longer than the file or 100 MB", () => {
  for (const length of [1n << 63n, 1n << 32n, 100_000_001n, 3n]) {
    const file = fileOf("{}");
    new DataView(file.buffer).setBigUint64(0, length, true);
    assertThrows(() => decodeSafetensors(file), SafetensorsError, `found a length of ${length}`);
  }
});

Deno.test("decodeSafetensors() refuses or accepts consistently under 20,000 mutations", () => {
  let random = 1;
  const draw = (limit: number): number => {
    random = Math.imul(random ^ (random >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0;
    return (random >>> 0) % limit;
  };
  let accepted = 0;
  for (let round = 0; round < 20_000; round++) {
    const file = REFERENCE.slice();
    for (let flips = draw(3); flips >= 0; flips--) file[draw(file.length)] ^= 1 << draw(8);
    try {
      const { tensors, metadata } = decodeSafetensors(file);
      const again = encodeSafetensors(Object.fromEntries(tensors), Object.fromEntries(metadata));
      assertEquals(decodeSafetensors(again).tensors.size, tensors.size);
      accepted++;
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
    }
  }
  assert(accepted > 100 && accepted < 19_000, `accepted ${accepted}`);
});

Deno.test("encodeSafetensors() and decodeSafetensors() are inverse", () => {
  const shape = fc.array(fc.nat(3), { maxLength: 3 });
  const name = fc.string({ unit: "grapheme" }).filter((text) => !text.startsWith("__"));
  const tensor = shape.chain((sizes) => {
    const count = sizes.reduce((a, b) => a * b, 1);
    return fc.array(fc.float(), { minLength: count, maxLength: count }).map((values) => ({
      dtype: "F32" as const,
      shape: sizes,
      bytes: bytesOf("F32", values),
    }));
  });
  const property = fc.property(fc.dictionary(name, tensor), (tensors) => {
    const file = encodeSafetensors(tensors);
    assertEquals(file.length % 4, 0);
    const read = decodeSafetensors(file).tensors;
    assertEquals(Object.fromEntries(read), { ...tensors });
  });
  fc.assert(property, { seed: 7, numRuns: 300 });
});

Deno.test("encodeSafetensors() refuses what the format cannot hold", () => {
  const bytes = new Uint8Array(4);
  const write = (name: string, entry: unknown) => () =>
    encodeSafetensors(Object.fromEntries([[name, entry as SafetensorsEntry]]));
  assertThrows(
    write("w", { dtype: "F32", shape: [2], bytes }),
    RangeError,
    'Cannot write tensor "w": expected 8 bytes for F32 [2], found 4',
  );
  assertThrows(write("w", { dtype: "F31", shape: [1], bytes }), TypeError, "found F31");
  assertThrows(write("w", { dtype: "F32", shape: [-1], bytes }), RangeError, "found [-1]");
  for (const name of ["__metadata__", "__proto__"]) {
    assertThrows(write(name, { dtype: "F32", shape: [1], bytes }), RangeError, "not reserved");
  }
  assertThrows(
    () => encodeSafetensors({}, { step: 3 as unknown as string }),
    TypeError,
    'Cannot write metadata "step": expected a string, found 3',
  );
});
