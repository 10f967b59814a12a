import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { parquetDataset, ParquetError, readParquet } from "../../data/mod.ts";
import { survives } from "./files.ts";
import { canUseFiles, temporaryFolder } from "./permissions.ts";

type Written = Parameters<typeof parquetWriteBuffer>[0];

function write(options: Written): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parquetWriteBuffer(options));
}

const columnData: Written["columnData"] = [
  { name: "width", data: [1, 2.5, -3, 4], type: "DOUBLE" },
  { name: "count", data: [1n, 2n, 3n, 4n], type: "INT64" },
  { name: "kind", data: ["tall", "flat", "tall", "flat"], type: "STRING" },
  { name: "fresh", data: [true, false, true, true], type: "BOOLEAN" },
];
const file = write({ columnData });

Deno.test("readParquet() reads columns of every simple type", async () => {
  const { rowCount, columns } = await readParquet(file);
  assertEquals(rowCount, 4);
  assertEquals(Object.fromEntries(columns), {
    width: [1, 2.5, -3, 4],
    count: [1n, 2n, 3n, 4n],
    kind: ["tall", "flat", "tall", "flat"],
    fresh: [true, false, true, true],
  });
  const some = await readParquet(file, { columns: ["kind", "width"] });
  assertEquals([...some.columns.keys()], ["kind", "width"]);
});

Deno.test("readParquet() reads several groups, nulls, bytes and long columns", async () => {
  const values = Array.from({ length: 5000 }, (_, i) => i % 7 === 0 ? null : i % 100);
  const bytes = Array.from({ length: 5000 }, (_, i) => new Uint8Array([i & 255, 0xff]));
  const groups = write({
    columnData: [
      { name: "value", data: values, type: "INT32", nullable: true },
      { name: "blob", data: bytes, type: "BYTE_ARRAY" },
    ],
    rowGroupSize: 1200,
  });
  const { columns } = await readParquet(groups);
  assertEquals(columns.get("value"), values);
  assertEquals(columns.get("blob")!.length, 5000);
  assertEquals(columns.get("blob")![4999], new Uint8Array([4999 & 255, 0xff]));
});

Deno.test("readParquet() reads every codec that the runtime has, and names others", async () => {
  const data = Array.from({ length: 300 }, (_, i) => i / 4);
  const codecs = {
    UNCOMPRESSED: (input: Uint8Array) => input,
    SNAPPY: undefined,
    GZIP: (input: Uint8Array) => new Uint8Array(gzipSync(input)),
    BROTLI: (input: Uint8Array) => new Uint8Array(brotliCompressSync(input)),
    ZSTD: (input: Uint8Array) => new Uint8Array(zstdCompressSync(input)),
    LZ4_RAW: (input: Uint8Array) => input.subarray(0, input.length - 1),
  } as const;
  for (const [codec, compress] of Object.entries(codecs)) {
    const packed = write({
      columnData: [{ name: "x", data, type: "DOUBLE" }],
      codec: codec as "GZIP",
      compressors: compress === undefined ? undefined : { [codec]: compress },
    });
    if (codec === "LZ4_RAW") {
      await assertRejects(() => readParquet(packed, { name: "a" }), ParquetError, "LZ4_RAW");
    } else {
      assertEquals((await readParquet(packed)).columns.get("x"), data, codec);
    }
  }
});

Deno.test("readParquet() reads lists and structs as arrays and objects", async () => {
  const image = [{ bytes: new Uint8Array([1, 2]), path: "a.png" }, { bytes: null, path: "b.png" }];
  const nested = write({
    columnData: [{ name: "image", data: image }, { name: "label", data: [1, 2] }],
    schema: [
      { name: "root", num_children: 2 },
      { name: "image", num_children: 2, repetition_type: "OPTIONAL" },
      { name: "bytes", type: "BYTE_ARRAY", repetition_type: "OPTIONAL" },
      { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "label", type: "INT32", repetition_type: "REQUIRED" },
    ],
  });
  const { columns } = await readParquet(nested);
  assertEquals([columns.get("image"), columns.get("label")], [image, [1, 2]]);
});

Deno.test("parquetDataset() makes features and labels of columns", async () => {
  const dataset = await parquetDataset(file, { target: "kind" });
  assertEquals(dataset.featureNames, ["width", "count", "fresh"]);
  assertEquals(dataset.classes, ["flat", "tall"]);
  assertEquals(dataset.labels, new Int32Array([1, 0, 1, 0]));
  assertEquals(
    dataset.features,
    new Float32Array([1, 1, 1, 2.5, 2, 0, -3, 3, 1, 4, 4, 1]),
  );
  assertAlmostEquals(dataset.standardize().get(1).input[1], -0.5 / Math.sqrt(1.25), 1e-6);
  const other = await parquetDataset(file, {
    target: "count",
    features: ["fresh", "width"],
    classes: ["4", "3", "2", "1"],
  });
  assertEquals([...other.labels], [3, 2, 1, 0]);
  assertEquals(other.get(1).input, new Float32Array([0, 2.5]));
  const bytes = write({
    columnData: [
      { name: "x", data: [1, 2], type: "FLOAT" },
      { name: "y", data: [10, 9], type: "INT32" },
    ],
  });
  assertEquals((await parquetDataset(bytes, { target: "y" })).classes, ["9", "10"]);
});

Deno.test("parquetDataset() names column and row of what is wrong", async () => {
  const wrong = async (
    columnData: Written["columnData"],
    options: Parameters<typeof parquetDataset>[1],
    error: typeof ParquetError | typeof RangeError,
    reason: string,
  ) => {
    const bytes = write({ columnData });
    await assertRejects(() => parquetDataset(bytes, { name: "a", ...options }), error, reason);
  };
  const label = { name: "y", data: ["a", "b"], type: "STRING" as const };
  const x = (data: unknown[], type: "DOUBLE" | "STRING") => ({ name: "x", data, type });
  await wrong(
    [x([1, NaN], "DOUBLE"), label],
    { target: "y" },
    ParquetError,
    '"x" in row 1 must be a finite number: got NaN',
  );
  await wrong([x([1e60, 1], "DOUBLE"), label], { target: "y" }, ParquetError, "in row 0");
  await wrong([x(["1", "2"], "STRING"), label], { target: "y" }, ParquetError, 'got "1"');
  await wrong([x([1, 2], "DOUBLE"), label], { target: "z" }, RangeError, 'no column "z": got x, y');
  await wrong(
    [x([1, 2], "DOUBLE"), label],
    { target: "y", features: ["v"] },
    RangeError,
    'no column "v": got x, y',
  );
  await wrong(
    [x([1, 2], "DOUBLE"), label],
    { target: "y", features: ["y"] },
    RangeError,
    'column "y" must be used once',
  );
  await wrong(
    [x([1, 2], "DOUBLE"), label],
    { target: "y", classes: ["a"] },
    ParquetError,
    'in row 1 must be one of a: got "b"',
  );
  await wrong(
    [x([1, 2.5], "DOUBLE"), label],
    { target: "x", features: ["x"] },
    RangeError,
    "used once",
  );
  await wrong(
    [x([1, 2.5], "DOUBLE"), { name: "w", data: [1, 2], type: "DOUBLE" }],
    { target: "x" },
    ParquetError,
    "a whole number or a boolean: got 2.5",
  );
  await wrong([label], { target: "y" }, RangeError, "no feature column");
});

Deno.test("readParquet() rejects what is no Parquet file, and what is too much", async () => {
  const read = (bytes: Uint8Array, options = {}) => readParquet(bytes, { name: "a", ...options });
  await assertRejects(() => read(new Uint8Array(0)), ParquetError, 'Cannot read Parquet "a"');
  await assertRejects(() => read(new Uint8Array(100)), ParquetError, 'Cannot read Parquet "a"');
  await assertRejects(() => read(file.subarray(0, 100)), ParquetError);
  await assertRejects(() => read(file, { maxBytes: 99 }), ParquetError, "at most 99 bytes: got");
  await assertRejects(() => read(file, { maxRows: 3 }), ParquetError, "at most 3 rows");
  await assertRejects(() => read(file, { columns: ["q"] }), RangeError, 'no column "q"');
  const even = Array.from({ length: 5000 }, (_, i) => i % 50);
  const small = write({ columnData: [{ name: "x", data: even, type: "DOUBLE" }] });
  assertEquals((await read(small)).columns.get("x"), even);
  await assertRejects(() => read(small, { maxBytes: small.length }), ParquetError, 'column "x"');
});

Deno.test("damaged Parquet files give columns or ParquetErrors", async () => {
  const read = (bytes: Uint8Array) => readParquet(bytes, { name: "bad file" });
  await survives(file, read, ParquetError, 800);
  const repeated = write({
    columnData: [
      {
        name: "x",
        data: Array.from({ length: 200 }, (_, i) => i % 9 ? i % 5 : null),
        type: "INT32",
      },
      { name: "s", data: Array.from({ length: 200 }, (_, i) => `text ${i % 3}`), type: "STRING" },
      { name: "l", data: Array.from({ length: 200 }, (_, i) => i % 4 ? [i, 1] : []) },
    ],
    codec: "UNCOMPRESSED",
  });
  assertEquals((await readParquet(repeated)).columns.get("l")![5], [5, 1]);
  await survives(repeated, read, ParquetError, 1500);
});

Deno.test({
  name: "readParquet() reads files, and says which one is missing",
  ignore: !canUseFiles,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/a.parquet`;
    await Deno.writeFile(path, file);
    assertEquals((await readParquet(path)).rowCount, 4);
    await assertRejects(() => readParquet(`${path}x`), Deno.errors.NotFound, `"${path}x"`);
    await Deno.writeFile(path, new Uint8Array(50));
    await assertRejects(() => readParquet(path), ParquetError, path);
  },
});
