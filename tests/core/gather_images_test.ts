import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  augmentationDraw,
  conv2d,
  type Device,
  type DType,
  DTypeError,
  gatherImages,
  type ImageAugmentation,
  type ImageDraw,
  Key,
  ShapeError,
  type Tensor,
  tensor,
  threefry2x32,
} from "../../core/mod.ts";
import { reference } from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";

const all: readonly Device[] = hardwareKernels === null ? devices : [...devices, hardwareKernels];

type Shape = readonly [number, number, number];

/** Bytes that look like noise, the same for the same seed. */
function noise(count: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => threefry2x32(seed, 1, i, 0)[0] & 255);
}

/** Images [M, C, H, W] as words, channels last; what follows the pixels of an image is poison. */
function pack(images: Uint8Array, [channels, height, width]: Shape): Uint32Array {
  const size = channels * height * width;
  const words = Math.ceil(size / 4);
  const count = images.length / size;
  const bytes = new Uint8Array(count * words * 4).fill(0xee);
  for (let m = 0; m < count; m++) {
    for (let c = 0; c < channels; c++) {
      for (let p = 0; p < height * width; p++) {
        bytes[m * words * 4 + p * channels + c] = images[m * size + c * height * width + p];
      }
    }
  }
  return new Uint32Array(bytes.buffer);
}

/** Values of the levels that no arithmetic could guess. */
function table(channels: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: channels * 256 }, (_, i) => Math.sin(i) * 3);
}

interface Setting {
  readonly device: Device;
  readonly shape: Shape;
  readonly count: number;
  readonly ownLevels: boolean;
}

function prepare({ device, shape, count, ownLevels }: Setting) {
  const [channels, height, width] = shape;
  const bytes = noise(count * channels * height * width, count);
  const words = pack(bytes, shape);
  const images = tensor(words, { device, shape: [count, words.length / count] });
  const values = table(ownLevels ? channels : 1);
  const levels = tensor(values, { device, shape: ownLevels ? [channels, 256] : [256] });
  const level = (byte: number, c: number) => values[(ownLevels ? c * 256 : 0) + byte];
  return { images, levels, level, bytes, shape };
}

type Prepared = ReturnType<typeof prepare>;

/** One image, zero-padded, cropped and mirrored in plain loops, with the values of its levels. */
function plainImage(
  { bytes, shape: [channels, height, width], level }: Prepared,
  image: number,
  move: { padding: number; top: number; left: number; flip: boolean },
): number[] {
  const out: number[] = [];
  for (let c = 0; c < channels; c++) {
    const plane = bytes.subarray((image * channels + c) * height * width);
    const { padding, top, left } = move;
    const side = width + 2 * padding;
    const padded = new Uint8Array(side * (height + 2 * padding));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        padded[(y + padding) * side + x + padding] = plane[y * width + x];
      }
    }
    for (let y = 0; y < height; y++) {
      const row = Array.from({ length: width }, (_, x) => padded[(y + top) * side + x + left]);
      if (move.flip) row.reverse();
      out.push(...row.map((byte) => level(byte, c)));
    }
  }
  return out;
}

const asTheyAre = { padding: 0, top: 0, left: 0, flip: false };

/** The move of a sample by its definition. */
function plainMove(key: Key, sample: number, epoch: number, padding: number, flip: number) {
  const [a, b] = threefry2x32(key.k0, key.k1, sample, epoch);
  const places = 2 * padding + 1;
  const draw = (a % 4096) * 4096 + b % 4096;
  return {
    padding,
    top: Math.floor((a >>> 12) / 2 ** 20 * places),
    left: Math.floor((b >>> 12) / 2 ** 20 * places),
    flip: draw < flip * 2 ** 24,
  };
}

function numbers(values: readonly number[], device: Device, dtype: DType = "u32"): Tensor {
  return tensor(Float64Array.from(values), { device, dtype });
}

/** Random moves as tensors. */
function moving(augment: ImageAugmentation, key: Key, epoch: number, device: Device): ImageDraw {
  return { draw: augmentationDraw(augment, key, device), epoch: numbers([epoch], device) };
}

const shapes: readonly Shape[] = [[1, 28, 28], [3, 8, 8], [1, 5, 5], [3, 3, 3], [2, 1, 7]];

Deno.test("gatherImages() gives the levels' values of the images that are asked for", async () => {
  for (const device of all) {
    for (const shape of shapes) {
      for (const ownLevels of [false, true]) {
        using _ = device.scope();
        const prepared = prepare({ device, shape, count: 6, ownLevels });
        const wanted = [5, 0, 3, 3, 1, 2, 5];
        for (const dtype of ["u32", "i32"] as const) {
          const index = numbers(wanted, device, dtype);
          const out = gatherImages(prepared.images, { shape, levels: prepared.levels, index });
          assertEquals([out.shape, out.dtype], [[7, ...shape], "f32"]);
          const want = wanted.flatMap((image) => plainImage(prepared, image, asTheyAre));
          assertEquals([...await out.data()], want, `${device.kind} ${shape}`);
        }
      }
    }
  }
});

Deno.test("gatherImages() gives all images in order without an index", async () => {
  for (const device of all) {
    using _ = device.scope();
    const shape: Shape = [3, 5, 2];
    const prepared = prepare({ device, shape, count: 4, ownLevels: true });
    const out = gatherImages(prepared.images, { shape, levels: prepared.levels });
    const want = [0, 1, 2, 3].flatMap((image) => plainImage(prepared, image, asTheyAre));
    assertEquals([...await out.data()], want);
  }
});

Deno.test("gatherImages() gives NaN for an index outside", async () => {
  for (const device of all) {
    for (const shape of [[1, 2, 2], [1, 1, 3]] as const) {
      for (const flip of [0, 1]) {
        using _ = device.scope();
        const prepared = prepare({ device, shape, count: 2, ownLevels: false });
        const { images, levels } = prepared;
        const index = numbers([2, 1, -1], device, "i32");
        const augment = moving({ flip }, new Key(1), 0, device);
        const out = await gatherImages(images, { shape, levels, index, augment }).data();
        const inside = plainImage(prepared, 1, { ...asTheyAre, flip: flip === 1 });
        const outside = new Array<number>(shape[1] * shape[2]).fill(NaN);
        assertEquals([...out], [...outside, ...inside, ...outside]);
      }
    }
  }
});

Deno.test("gatherImages() reads operands that are parts of one tensor", async () => {
  for (const device of all) {
    using _ = device.scope();
    const shape: Shape = [1, 4, 4];
    const prepared = prepare({ device, shape, count: 5, ownLevels: false });
    const head = [7, 4, 0, 2, 1, 9];
    const words = pack(prepared.bytes, shape);
    const upload = tensor(Uint32Array.from([...head, ...words]), { device });
    const images = upload.narrow(0, head.length, words.length).reshape([5, 4]);
    const index = upload.narrow(0, 1, 4);
    const out = gatherImages(images, { shape, levels: prepared.levels, index });
    const want = [4, 0, 2, 1].flatMap((image) => plainImage(prepared, image, asTheyAre));
    assertEquals([...await out.data()], want);
  }
});

Deno.test("gatherImages() pads, crops and mirrors as plain loops do", async () => {
  const cases = [
    { shape: [1, 8, 8], cropPadding: 2, flip: 0.5 },
    { shape: [3, 6, 4], cropPadding: 4, flip: 0.25 },
    { shape: [1, 5, 3], cropPadding: 1, flip: 0 },
    { shape: [3, 5, 5], cropPadding: 0, flip: 0.5 },
    { shape: [2, 3, 3], cropPadding: 5, flip: 1 },
  ] as const;
  for (const device of all) {
    for (const { shape, cropPadding, flip } of cases) {
      using _ = device.scope();
      const prepared = prepare({ device, shape, count: 40, ownLevels: true });
      const wanted = Array.from({ length: 40 }, (_, i) => (i * 7) % 40);
      const key = new Key(2 ** 40 + 3).fold("test");
      const epoch = 4_000_000_000;
      const augment = moving({ cropPadding, flip }, key, epoch, device);
      const index = numbers(wanted, device);
      const { images, levels } = prepared;
      const out = gatherImages(images, { shape, levels, index, augment });
      const want = wanted.flatMap((image) =>
        plainImage(prepared, image, plainMove(key, image, epoch, cropPadding, flip))
      );
      assertEquals([...await out.data()], want, `${device.kind} ${shape}`);
    }
  }
});

Deno.test("gatherImages() moves by the samples' numbers where there is no index", async () => {
  for (const device of all) {
    using _ = device.scope();
    const shape: Shape = [1, 6, 6];
    const { images, levels } = prepare({ device, shape, count: 5, ownLevels: false });
    const augment = moving({ cropPadding: 3, flip: 0.5 }, new Key(5), 2, device);
    const order = [3, 1, 4, 0, 2];
    const picked = images.indexSelect(0, numbers(order, device));
    const index = numbers(order, device);
    const gathered = gatherImages(images, { shape, levels, index, augment });
    const own = gatherImages(picked, { shape, levels, samples: index, augment });
    assertEquals(await own.data(), await gathered.data());
  }
});

/** Where the only bright pixel of each of many equal images came to lie, [dy, dx], or null. */
async function movesOf(count: number, cropPadding: number, epoch: number) {
  const side = 2 * cropPadding + 1;
  const image = new Uint8Array(side * side);
  image[cropPadding * side + cropPadding] = 1;
  const shape: Shape = [1, side, side];
  const words = pack(image, shape);
  const device = reference;
  using _ = device.scope();
  const images = tensor(words, { device, shape: [1, words.length] });
  const levels = tensor(Float32Array.from({ length: 256 }, (_, i) => i), { device });
  const many = images.expand([count, words.length]).contiguous();
  const samples = numbers(Array.from({ length: count }, (_, i) => i), device);
  const augment = moving({ cropPadding }, new Key(11), epoch, device);
  const out = await gatherImages(many, { shape, levels, samples, augment }).data();
  return Array.from({ length: count }, (_, n) => {
    const at = out.subarray(n * side * side, (n + 1) * side * side).indexOf(1);
    return [Math.floor(at / side) - cropPadding, at % side - cropPadding];
  });
}

Deno.test("gatherImages() makes all moves alike often", async () => {
  const count = 10_000;
  const cells = new Map<string, number>();
  for (const move of await movesOf(count, 2, 0)) {
    cells.set(`${move}`, (cells.get(`${move}`) ?? 0) + 1);
  }
  assertEquals(cells.size, 25);
  const expected = count / 25;
  const chi = [...cells.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  // The 99.9 % quantile of χ² with 24 degrees of freedom
  assert(chi < 51.18, `χ² is ${chi}`);
});

Deno.test("gatherImages() mirrors as often as the probability says, whatever the move", async () => {
  const key = new Key(3);
  const count = 10_000;
  const moves = Array.from({ length: count }, (_, i) => plainMove(key, i, 0, 4, 0.3));
  const share = moves.filter((m) => m.flip).length / count;
  assert(Math.abs(share - 0.3) < 4 * Math.sqrt(0.21 / count), `${share}`);
  const upper = moves.filter((m) => m.top < 4);
  const upperShare = upper.filter((m) => m.flip).length / upper.length;
  assert(Math.abs(upperShare - 0.3) < 4 * Math.sqrt(0.21 / upper.length), `${upperShare}`);
  using _ = reference.scope();
  const shape: Shape = [1, 1, 2];
  const images = tensor(new Uint32Array(count).fill(0x0201), {
    device: reference,
    shape: [count, 1],
  });
  const levels = tensor(Float32Array.from({ length: 256 }, (_, i) => i), { device: reference });
  const samples = numbers(moves.map((_, i) => i), reference);
  const augment = moving({ flip: 0.3 }, key, 0, reference);
  const out = await gatherImages(images, { shape, levels, samples, augment }).data();
  assertEquals(moves.map((_, i) => out[2 * i] === 2), moves.map((m) => m.flip));
});

Deno.test("gatherImages() moves images in another way in another epoch", async () => {
  const [first, again, second] = [
    await movesOf(200, 3, 0),
    await movesOf(200, 3, 0),
    await movesOf(200, 3, 1),
  ];
  assertEquals(again, first);
  const same = first.filter((move, i) => `${move}` === `${second[i]}`).length;
  assert(same < 20, `${same} of 200 moves are the same`);
});

Deno.test("gatherImages() lays channels last, as conv2d takes them without a copy", () => {
  using _ = reference.scope();
  const shape: Shape = [3, 4, 5];
  const { images, levels } = prepare({ device: reference, shape, count: 2, ownLevels: true });
  const out = gatherImages(images, { shape, levels });
  assert(out.permute([0, 2, 3, 1]).isContiguous);
  const weight = tensor(new Float64Array(6), { device: reference, shape: [2, 3, 1, 1] });
  const before = reference.work().dispatches;
  conv2d(out, weight);
  const direct = reference.work().dispatches - before;
  const rowMajor = out.contiguous();
  const middle = reference.work().dispatches;
  conv2d(rowMajor, weight);
  assertEquals(reference.work().dispatches - middle, direct + 1);
});

Deno.test("gatherImages() gives nothing for an empty index", () => {
  using _ = reference.scope();
  const shape: Shape = [1, 2, 2];
  const { images, levels } = prepare({ device: reference, shape, count: 2, ownLevels: false });
  const index = tensor(new Uint32Array(), { device: reference });
  assertEquals(gatherImages(images, { shape, levels, index }).shape, [0, 1, 2, 2]);
});

Deno.test("gatherImages() refuses what does not fit", () => {
  using _ = reference.scope();
  const device = reference;
  const shape: Shape = [3, 2, 2];
  const { images, levels } = prepare({ device, shape, count: 2, ownLevels: true });
  const index = numbers([0], device);
  const given = { shape, levels, index };
  const refuse = (
    options: Parameters<typeof gatherImages>[1],
    // deno-lint-ignore no-explicit-any
    type: new (...args: any[]) => Error,
    text: string,
    from: Tensor = images,
  ) => assertThrows(() => gatherImages(from, options), type, text);
  refuse({ ...given, shape: [3, 2, 3] }, ShapeError, "expected [M, 5]");
  refuse({ ...given, shape: [0, 2, 2] }, ShapeError, "integers of at least 1");
  refuse(
    given,
    ShapeError,
    "next to each other",
    images.permute([1, 0]).contiguous().permute([1, 0]),
  );
  refuse(given, DTypeError, "images of dtype i32: expected u32", images.to("i32"));
  refuse({ ...given, levels: levels.narrow(0, 0, 2) }, ShapeError, "expected [256] or [3, 256]");
  refuse({ ...given, levels: levels.to("i32") }, DTypeError, "levels of dtype i32: expected f32");
  refuse({ ...given, index: index.to("f32") }, DTypeError, "index of dtype f32");
  refuse({ ...given, index: index.reshape([1, 1]) }, ShapeError, "expected one axis");
  refuse({ ...given, samples: index }, TypeError, "found both");
  const changing = moving({ cropPadding: 1 }, new Key(0), 0, device);
  refuse({ shape, levels, augment: changing }, TypeError, "expected samples");
  refuse({ shape, levels, augment: changing, samples: index }, ShapeError, "expected [2]");
  const wide = numbers([0, 1], device);
  refuse({ ...given, augment: { ...changing, epoch: wide } }, ShapeError, "epoch of shape [2]");
  refuse({ ...given, augment: { ...changing, draw: wide } }, ShapeError, "draw of shape [2]");
});

Deno.test("augmentationDraw() holds the key, the share and the distance", async () => {
  using _ = reference.scope();
  const key = new Key(2 ** 40 + 9);
  const draw = augmentationDraw({ cropPadding: 4, flip: 0.5 }, key, reference);
  assertEquals(await draw.data(), Uint32Array.of(9, 256, 2 ** 23, 4));
  const none = augmentationDraw({}, new Key(0), reference);
  assertEquals(await none.data(), new Uint32Array(4));
});

Deno.test("augmentationDraw() refuses what is out of range", () => {
  const key = new Key(0);
  for (const cropPadding of [-1, 0.5, 2048, NaN]) {
    assertThrows(() => augmentationDraw({ cropPadding }, key), RangeError, `${cropPadding}`);
  }
  for (const flip of [-0.1, 1.1, NaN]) {
    assertThrows(() => augmentationDraw({ flip }, key), RangeError, `flip ${flip}`);
  }
  assertThrows(() => augmentationDraw({}, 1 as never), TypeError, "expected a Key");
});
