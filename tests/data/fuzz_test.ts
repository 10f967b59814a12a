/** Damaged files for the parsers of plain formats; `LEGOML_FUZZ=1000000` gives each of them so many. */

import { stringify } from "@std/csv/stringify";
import { assert, assertEquals } from "@std/assert";
import {
  CsvDataset,
  CsvError,
  decodeSafetensors,
  encodeIdx,
  encodeNpy,
  encodeSafetensors,
  type IdxArray,
  IdxError,
  type NpyArray,
  NpyError,
  parseIdx,
  parseNpy,
  SafetensorsError,
  type SafetensorsFile,
} from "../../data/mod.ts";
import {
  encoded,
  fuzz,
  fuzzCount,
  joined,
  type LengthField,
  type Seed,
  type Target,
  tellCounts,
} from "../fuzz.ts";

const COUNT = fuzzCount(20_000);
const SEED = 2026;

/** A test of one parser; some of the damaged files must be read, some refused, or nothing was tried. */
function testFuzz<T>(target: Target<T>): void {
  Deno.test(`${COUNT} damaged ${target.name} files give a value or an error of ours`, async () => {
    const start = performance.now();
    const counts = await fuzz(target, COUNT, SEED);
    tellCounts(target.name, counts, start);
    assert(counts.accepted > COUNT / 200, JSON.stringify(counts));
    assert(counts.refused > COUNT / 4, JSON.stringify(counts));
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

const idxArrays: IdxArray[] = [
  { dtype: "u8", shape: [2, 3, 3], data: Uint8Array.from({ length: 18 }, (_, i) => 11 * i) },
  { dtype: "f32", shape: [2, 2], data: Float32Array.of(1.5, -2, NaN, 3e38) },
  { dtype: "i16", shape: [1, 2, 1, 2], data: Int16Array.of(258, -2, 0, 1) },
  { dtype: "f64", shape: [0, 5], data: new Float64Array() },
];

const dims = (count: number): LengthField[] => [
  { at: 3, bytes: 1, endian: "big" },
  ...Array.from({ length: count }, (_, i) => ({ at: 4 + 4 * i, bytes: 4, endian: "big" }) as const),
];

testFuzz<IdxArray>({
  name: "IDX",
  seeds: idxArrays.map((array) => ({ bytes: encodeIdx(array), fields: dims(array.shape.length) })),
  words: ["\0", "\0\0\x08\x01", "\x1f\x8b"],
  read: (bytes) => parseIdx(bytes),
  isOurs: (error) => error instanceof IdxError,
  check: (array, bytes) => assertEquals(encodeIdx(array), bytes),
});

const npyArrays: NpyArray[] = [
  { dtype: "f32", shape: [2, 3], data: Float32Array.of(1, 2, 3, NaN, -0, Infinity) },
  { dtype: "i64", shape: [2, 2], data: BigInt64Array.of(1n, -(2n ** 63n), 3n, 4n) },
  { dtype: "bool", shape: [5], data: Uint8Array.of(1, 0, 1, 1, 0) },
  { dtype: "f16", shape: [], data: Float16Array.of(0.5) },
  { dtype: "u8", shape: [3, 0], data: new Uint8Array() },
];

/** As another version of the format, whose length of the header takes four bytes. */
function asVersion(version: 2 | 3, file: Uint8Array): Uint8Array {
  const head = file.slice(0, 12);
  head[6] = version;
  head[10] = head[11] = 0;
  return joined(head, file.subarray(10));
}

const npyFields: LengthField[] = [
  { at: 6, bytes: 1, endian: "little" },
  { at: 8, bytes: 2, endian: "little" },
  { at: 8, bytes: 4, endian: "little" },
];
const npyFiles = [
  ...npyArrays.map((array) => encodeNpy(array)),
  encodeNpy(npyArrays[1], { order: "F", endian: "big" }),
  asVersion(2, encodeNpy(npyArrays[0])),
  asVersion(3, encodeNpy(npyArrays[2])),
];
const npyWords = [
  ...["'descr': '<f8', ", "'fortran_order': True, ", "(", ")", "[", "{", "}", "'", '"', ",", "\\"],
  ...["'|O'", "'<U4'", "'>f4'", "'=i2'", "True", "None", "0", "L", "(1, 2)", "\n", "\xff"],
];

/** Where the elements of a valid file begin. */
function npyStart(file: Uint8Array): number {
  const view = new DataView(file.buffer, file.byteOffset);
  return file[6] === 1 ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
}

testFuzz<NpyArray>({
  name: "npy",
  seeds: npyFiles.map((bytes) => ({ bytes, fields: npyFields })),
  words: npyWords,
  read: (bytes) => parseNpy(bytes),
  isOurs: (error) => error instanceof NpyError,
  repair(bytes, { bytes: seed }) {
    const length = bytes.length - (seed.length - npyStart(seed)) - (bytes[6] === 1 ? 10 : 12);
    if (length < 0 || bytes.length < 12) return bytes;
    const copy = bytes.slice();
    const view = new DataView(copy.buffer);
    if (bytes[6] === 1) view.setUint16(8, length, true);
    else view.setUint32(8, length, true);
    return copy;
  },
  check(array) {
    // NumPy 1 knows 32 dimensions, and so many are written; NumPy 2 may write more.
    if (array.shape.length > 32) return;
    const again = parseNpy(encodeNpy(array));
    assertEquals([again.dtype, again.shape], [array.dtype, array.shape]);
    assertEquals(bytesOf(again.data), bytesOf(array.data));
  },
});

const float = (...values: number[]) => bytesOf(Float32Array.from(values));
const safetensorsFiles = [
  encodeSafetensors({
    "model.weight": { dtype: "F32", shape: [2, 2], bytes: float(1, 2, 3, 4) },
    "model.bias": { dtype: "BF16", shape: [2], bytes: Uint8Array.of(1, 2, 3, 4) },
    mask: { dtype: "BOOL", shape: [3], bytes: Uint8Array.of(1, 0, 1) },
    empty: { dtype: "I64", shape: [0, 7], bytes: new Uint8Array() },
  }, { format: "pt", "é": '"\\\n' }),
  encodeSafetensors({ "7": { dtype: "I64", shape: [], bytes: new Uint8Array(8) } }),
  encodeSafetensors({}),
];
const safetensorsWords = [
  ...["{", "}", "[", "]", '"', ",", ":", "\\", "null", "[]", "{}", '""', "1e999", "\\ud800"],
  ...['"__proto__":1,', '"__metadata__":{},', '"dtype":"F32",', '"F64"', '"shape":[2],', "\x80"],
];

testFuzz<SafetensorsFile>({
  name: "safetensors",
  seeds: safetensorsFiles.map((bytes): Seed => ({
    bytes,
    fields: [{ at: 0, bytes: 8, endian: "little" }, { at: 0, bytes: 4, endian: "little" }],
  })),
  words: safetensorsWords,
  read: (bytes) => decodeSafetensors(bytes),
  isOurs: (error) => error instanceof SafetensorsError,
  repair(bytes, { bytes: seed }) {
    const data = seed.length - 8 - Number(new DataView(seed.buffer).getBigUint64(0, true));
    if (bytes.length < 8 + data) return bytes;
    const copy = bytes.slice();
    new DataView(copy.buffer).setBigUint64(0, BigInt(bytes.length - 8 - data), true);
    return copy;
  },
  check({ tensors, metadata }) {
    const again = decodeSafetensors(
      encodeSafetensors(Object.fromEntries(tensors), Object.fromEntries(metadata)),
    );
    assertEquals(again.metadata, metadata);
    assertEquals(again.tensors, tensors);
  },
});

const csvFiles = [
  "width,height,kind\n1,2,flat\n3,1,tall\n2,2.5e1,flat\n",
  '\ufeffa,kind,"b ""c"""\r\n-0.5,0," 1"\r\n.5,10,+3\r\n\r\n7,9,8',
  'kind,x\n"a\nb",1\n"c,d",2\n"é",3\n',
];
const csvWords = [
  ...['"', '""', ",", "\n", "\r", "\r\n", "\0", "\ufeff", "kind", "NaN", "Infinity", "1e39"],
  ...["0x10", " ", "\t", "1_0", "-", ".", '",', ',"', "\u2028", "\x80", "__proto__"],
];

testFuzz<CsvDataset>({
  name: "CSV",
  seeds: csvFiles.map((text) => ({ bytes: encoded(text) })),
  words: csvWords,
  read: (bytes) => CsvDataset.fromText(new TextDecoder().decode(bytes), { target: "kind" }),
  // A column that is not there is an error of the call.
  isOurs: (error) =>
    error instanceof CsvError ||
    (error instanceof RangeError && error.message.startsWith('Cannot read CSV "csv" as ')),
  check(dataset) {
    const { features, featureNames, labels, classes } = dataset;
    assert(features.every(Number.isFinite), "a feature is not finite");
    // Within quotes, the end of a line is read as "\n", whichever it is.
    if ([...featureNames, ...classes].some((text) => text.includes("\r"))) return;
    const rows = Array.from(labels, (label, i) => {
      const row = features.subarray(i * featureNames.length, (i + 1) * featureNames.length);
      return [...Array.from(row, String), classes[label]];
    });
    // With a mark of its own, so that one at the start of a name stays there.
    const text = "\ufeff" + stringify([[...featureNames, "kind"], ...rows], { headers: false });
    const again = CsvDataset.fromText(text, { target: "kind" });
    assertEquals(again.features, features);
    assertEquals([...again.labels], [...labels]);
    assertEquals([again.featureNames, again.classes], [featureNames, classes]);
  },
});
