import { assert, assertEquals, assertRejects } from "@std/assert";
import { crc32, deflateSync } from "node:zlib";
import fc from "fast-check";
import { decodeImage, encodePng, ImageError, imageGrid } from "../../data/mod.ts";
import { resized, withChannels } from "../../data/pixel_image.ts";
import { base64, dataFiles, packed, survives } from "./files.ts";

interface Picture {
  readonly file: string;
  readonly shape: number[];
  readonly values: string;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assertEquals(a.length, b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return largest;
}

const pngs: [string, Picture][] = Object.entries(dataFiles.png);
const jpegs: [string, Picture][] = Object.entries(dataFiles.jpeg);

Deno.test("decodeImage() reads every kind of PNG with the values that Pillow wrote", async () => {
  for (const [name, { file, shape, values }] of pngs) {
    const image = await decodeImage(base64(file));
    assertEquals([image.height, image.width, image.channels], shape, name);
    assertEquals(image.data, packed(values), name);
  }
});

Deno.test("decodeImage() reads JPEG with the values that libjpeg gives", async () => {
  for (const [name, { file, shape, values }] of jpegs) {
    const image = await decodeImage(base64(file));
    assertEquals([image.height, image.width, image.channels], shape, name);
    // Half colour is spread out by repetition here, and smoothly by libjpeg
    const most = name === "half colour" ? 16 : 3;
    const difference = largestDifference(image.data, packed(values));
    assert(difference <= most, `${name}: ${difference}`);
  }
});

/** A PNG file with any header and pixels. */
function png(header: number[], rows: Uint8Array, more: [string, Uint8Array][] = []): Uint8Array {
  const chunk = (type: string, data: Uint8Array): number[] => {
    const body = new Uint8Array([...new TextEncoder().encode(type), ...data]);
    const words = new DataView(new ArrayBuffer(8));
    words.setUint32(0, data.length);
    words.setUint32(4, crc32(body));
    const bytes = new Uint8Array(words.buffer);
    return [...bytes.subarray(0, 4), ...body, ...bytes.subarray(4)];
  };
  return new Uint8Array([
    ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    ...chunk("IHDR", Uint8Array.from(header)),
    ...more.flatMap(([type, data]) => chunk(type, data)),
    ...chunk("IDAT", new Uint8Array(deflateSync(rows))),
    ...chunk("IEND", new Uint8Array()),
  ]);
}

const grey2 = [0, 0, 0, 2, 0, 0, 0, 1, 8, 0, 0, 0, 0];

Deno.test("decodeImage() says what is wrong with a file", async () => {
  const row = new Uint8Array([0, 7, 9]);
  assertEquals((await decodeImage(png(grey2, row))).data, new Uint8Array([7, 9]));
  const changed = (at: number, value: number): number[] => grey2.with(at, value);
  const wrong: [Uint8Array, string][] = [
    [new Uint8Array(0), "must be a PNG or JPEG file: got nothing"],
    [new TextEncoder().encode("GIF89a"), "it begins with bytes 47494638"],
    [png(grey2, row).subarray(0, -13), "no valid PNG: it is cut short"],
    [png(grey2, row.subarray(0, 2)), "must unpack to 3 bytes: got 2"],
    [png(grey2, new Uint8Array(5000)), "no valid PNG"],
    [png(grey2, new Uint8Array([9, 7, 9])), "no valid PNG"],
    [png(changed(3, 0), row), "sides must be from 1 to 65535: got 1 × 0"],
    [png(changed(0, 1), row), "sides must be from 1 to 65535"],
    [png(changed(8, 3), row), "no colour type 0 with 3 bits"],
    [png(changed(9, 3), row), "it has no palette"],
    [png(changed(12, 2), row), "interlace method is not known"],
    [png(changed(8, 4).with(12, 1), row), "interlaced pictures of 4 bits are not supported"],
    [png(grey2, row, [["ABCD", row]]), "chunk ABCD is not known"],
    [png(changed(9, 3), row, [["PLTE", new Uint8Array(3)]]), "palette has 1 colours: got number 7"],
    [png(grey2.slice(1), row), "first chunk must be an IHDR of 13 bytes"],
  ];
  for (const [bytes, reason] of wrong) {
    const error = await assertRejects(
      () => decodeImage(bytes, { name: "a.png" }),
      ImageError,
      reason,
    );
    assert(error.message.startsWith('Cannot read "a.png"'), error.message);
  }
  const corrupt = png(grey2, row);
  corrupt[20] ^= 1;
  await assertRejects(() => decodeImage(corrupt), ImageError, "checksum of chunk IHDR at byte 8");
  const huge = png([0, 0, 255, 255, 0, 0, 255, 255, 8, 0, 0, 0, 0], row);
  await assertRejects(() => decodeImage(huge), ImageError, "at most 67108864 pixels: got 65535");
  // Chunks that say nothing of the pixels are left alone, also bombs
  const profile = new Uint8Array([97, 0, 0, ...deflateSync(new Uint8Array(9_000_000))]);
  assertEquals((await decodeImage(png(grey2, row, [["iCCP", profile]]))).width, 2);
});

Deno.test("decodeImage() reads interlaced PNG", async () => {
  // 3 × 2 pixels: pass 1 has (0, 0), pass 4 (2, 0), pass 6 (1, 0), pass 7 the second row
  const rows = new Uint8Array([0, 10, 0, 30, 0, 20, 0, 40, 50, 60]);
  const image = await decodeImage(png([0, 0, 0, 3, 0, 0, 0, 2, 8, 0, 0, 0, 1], rows));
  assertEquals(image.data, new Uint8Array([10, 20, 30, 40, 50, 60]));
});

Deno.test("a JPEG that is cut short is an error, never half a picture", async () => {
  for (const [name, { file }] of jpegs) {
    const bytes = base64(file);
    for (let length = 2; length < bytes.length; length += 7) {
      const error = await assertRejects(
        () => decodeImage(bytes.subarray(0, length), { name: "a.jpg" }),
        ImageError,
      );
      assert(error.message.includes('"a.jpg"'), name);
    }
  }
});

Deno.test("damaged pictures give pictures or ImageErrors", async () => {
  const options = { name: "bad file", maxPixels: 10_000 };
  for (const [name, { file }] of [...pngs, ...jpegs]) {
    const runs = name === "progressive" || name === "half colour" ? 150 : 60;
    await survives(base64(file), (bytes) => decodeImage(bytes, options), ImageError, runs);
  }
});

Deno.test("what encodePng() writes reads back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 4 }),
      fc.infiniteStream(fc.nat(255)),
      async (width, height, channels, stream) => {
        const data = Uint8Array.from(stream.take(width * height * channels));
        const image = { width, height, channels, data };
        assertEquals(await decodeImage(await encodePng(image)), image);
      },
    ),
    { numRuns: 50, seed: 3 },
  );
  const data = new Uint8Array(5);
  await assertRejects(
    () => encodePng({ width: 2, height: 2, channels: 1, data }),
    RangeError,
    "2 × 2 pixels of 1 channels need 4 values: got 5",
  );
  await assertRejects(
    () => encodePng({ width: 0, height: 2, channels: 1, data }),
    RangeError,
    "width must be a whole number from 1 to 65535: got 0",
  );
});

Deno.test("imageGrid() lays pictures out in rows", async () => {
  const file = await imageGrid({
    data: new Float32Array([0, 0.5, 2, -1, 1, 0.2]),
    shape: [3, 1, 1, 2],
  }, { columns: 2, padding: 1, scale: 2, background: 9 });
  const { width, height, channels, data } = await decodeImage(file);
  assertEquals([width, height, channels], [2 * 5 + 1, 2 * 3 + 1, 1]);
  const rows = Array.from({ length: height }, (_, y) => [...data.subarray(y * 11, y * 11 + 11)]);
  const edge = new Array(11).fill(9);
  const first = [9, 0, 0, 128, 128, 9, 255, 255, 0, 0, 9];
  const second = [9, 255, 255, 51, 51, 9, 9, 9, 9, 9, 9];
  assertEquals(rows, [edge, first, first, edge, second, second, edge]);
});

Deno.test("imageGrid() puts channels last and takes bytes as they are", async () => {
  const data = new Uint8Array([1, 2, 3, 4, 5, 6]);
  const image = await decodeImage(await imageGrid({ data, shape: [1, 3, 1, 2] }, { padding: 0 }));
  assertEquals([image.channels, ...image.data], [3, 1, 3, 5, 2, 4, 6]);
});

Deno.test("imageGrid() checks what it gets before it makes anything", async () => {
  const data = new Float32Array(4);
  const wrong: [Parameters<typeof imageGrid>, string][] = [
    [[{ data, shape: [1, 2, 1, 2] }], "must be [N, 1 or 3, H, W]: got [1, 2, 1, 2]"],
    [[{ data, shape: [4] }], "must be [N, 1 or 3, H, W]: got [4]"],
    [[{ data, shape: [2, 1, 1, 1] }], "needs 2 values: got 4"],
    [[{ data: data.with(1, NaN), shape: [1, 1, 2, 2] }], "finite: got NaN at index 1"],
    [[{ data, shape: [1, 1, 2, 2] }, { columns: 0 }], "columns must be"],
    [[{ data, shape: [1, 1, 2, 2] }, { scale: 1.5 }], "scale must be"],
    [[{ data, shape: [1, 1, 2, 2] }, { scale: 60_000 }], "the width of the grid"],
    [[{ data, shape: [1, 1, 2, 2] }, { scale: 30_000 }], "the number of pixels"],
  ];
  for (const [args, reason] of wrong) {
    await assertRejects(() => imageGrid(...args), RangeError, reason);
  }
});

Deno.test("resized() agrees with Pillow's bilinear filter", () => {
  const { shape: [height, width, channels], values, cases } = dataFiles.resize;
  const image = { height, width, channels, data: base64(values) };
  for (const { height, width, values } of cases) {
    const { data } = resized(image, height, width);
    assert(largestDifference(data, base64(values)) <= 1, `${height} × ${width}`);
  }
  assertEquals(resized(image, height, width), image);
});

Deno.test("withChannels() converts as Pillow does", async () => {
  const rgb = await decodeImage(base64(dataFiles.png.rgb.file));
  assertEquals(withChannels(rgb, 1).data, base64(dataFiles.greyOfRgb));
  const pixel = (channels: number, ...data: number[]) => ({
    width: 1,
    height: 1,
    channels,
    data: Uint8Array.from(data),
  });
  assertEquals(withChannels(pixel(1, 7), 3), pixel(3, 7, 7, 7));
  assertEquals(withChannels(pixel(2, 7, 9), 4), pixel(4, 7, 7, 7, 9));
  assertEquals(withChannels(pixel(2, 7, 9), 1), pixel(1, 7));
  assertEquals(withChannels(pixel(4, 1, 2, 3, 4), 3), pixel(3, 1, 2, 3));
  assertEquals(withChannels(pixel(3, 1, 2, 3), 4), pixel(4, 1, 2, 3, 255));
});
