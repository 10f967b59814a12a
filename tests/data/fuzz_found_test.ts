/** What damaged files have found, each under its symptom. */

import { getHeapStatistics } from "node:v8";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import {
  CsvDataset,
  decodeSafetensors,
  encodeNpy,
  encodeNpz,
  NpyError,
  parseNpy,
  SafetensorsError,
} from "../../data/mod.ts";
import { gunzip, GzipError } from "../../data/gzip.ts";
import { readZip } from "../../data/zip.ts";
import { encoded, joined } from "../fuzz.ts";
import { gzip } from "./permissions.ts";

Deno.test("gunzip() stops soon behind its limit, however much a stream would give", async () => {
  // 64 MB of zeros in 62 kB, which were all unpacked before the limit was asked.
  const packed = await gzip(new Uint8Array(64_000_000));
  for (const limit of [1_000, () => 1_000]) {
    const before = getHeapStatistics().external_memory;
    const error = await gunzip(packed, limit).catch((error) => error);
    assertInstanceOf(error, GzipError);
    assertEquals(error.unpackedBytes, 1_000);
    const used = getHeapStatistics().external_memory - before;
    assert(used < 8_000_000, `${used} bytes`);
  }
});

Deno.test("an archive whose entries lie over each other is refused", async () => {
  // 400 entries of the directory that share one megabyte would need 400.
  const array = { dtype: "u8", shape: [2 ** 20], data: new Uint8Array(2 ** 20) } as const;
  const single = await encodeNpz({ a: array });
  const [end, count] = [single.length - 22, 400];
  const central = new DataView(single.buffer).getUint32(end + 16, true);
  const record = single.subarray(central, end);
  const records = new Array<Uint8Array>(count).fill(record);
  const bomb = joined(single.subarray(0, central), ...records, single.subarray(end));
  const view = new DataView(bomb.buffer, bomb.length - 22);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, count * record.length, true);
  const refuse = (reason: string): never => {
    throw new SyntaxError(reason);
  };
  assertEquals((await readZip(single, 2 ** 31, refuse)).length, 1);
  await assertRejects(
    () => readZip(bomb, 2 ** 31, refuse),
    SyntaxError,
    `its entries must have at most the ${central} bytes before the directory`,
  );
});

Deno.test("a npy header of more than 10,000 bytes is refused before it is read", () => {
  const file = encodeNpy({ dtype: "u8", shape: [2], data: Uint8Array.of(1, 2) });
  const longer = (by: number) => {
    const spaces = encoded(" ".repeat(by));
    const bytes = joined(file.subarray(0, 127), spaces, file.subarray(127));
    new DataView(bytes.buffer).setUint16(8, 118 + by, true);
    return bytes;
  };
  assertEquals(parseNpy(longer(10_000 - 118)).shape, [2]);
  assertThrows(
    () => parseNpy(longer(10_001 - 118)),
    NpyError,
    "its header may have at most 10000 bytes: got 10001",
  );
});

Deno.test("a safetensors size of -0 is none", () => {
  const header = '{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}';
  const bytes = joined(new Uint8Array(8), encoded(header));
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  assertThrows(() => decodeSafetensors(bytes), SafetensorsError, "to be a list of counts");
});

Deno.test("a message about columns stays short, however many there are", () => {
  const names = Array.from({ length: 5_000 }, (_, i) => `column number ${i}`);
  const text = `${names.join()}\n${names.map(() => "1").join()}\n`;
  const error = assertThrows(() => CsvDataset.fromText(text, { target: "kind" }), RangeError);
  assert(error.message.endsWith('"column number 9" and 4990 more'), error.message);
});
