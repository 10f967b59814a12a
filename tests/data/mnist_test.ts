import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  DownloadError,
  encodeIdx,
  fashionMnist,
  type IdxArray,
  IdxError,
  mnist,
  readIdx,
} from "../../data/mod.ts";
import { sha256Hex } from "../../data/download.ts";
import { canUseFiles, canUseNet, gzip, mnistFolder, temporaryFolder } from "./permissions.ts";

const ignore = !canUseFiles;

function pixelsOf(count: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: count * 784 }, (_, i) => i % 251);
}

function imagesOf(count: number): IdxArray {
  return { dtype: "u8", shape: [count, 28, 28], data: pixelsOf(count) };
}

function labelsOf(...labels: number[]): IdxArray {
  return { dtype: "u8", shape: [labels.length], data: new Uint8Array(labels) };
}

/** Writes a split of three images, or what a test puts in place of its files. */
async function writeSplit(
  folder: string,
  { prefix = "train", images = imagesOf(3), labels = labelsOf(4, 0, 9) } = {},
): Promise<void> {
  await Deno.writeFile(`${folder}/${prefix}-images-idx3-ubyte`, encodeIdx(images));
  await Deno.writeFile(`${folder}/${prefix}-labels-idx1-ubyte`, encodeIdx(labels));
}

Deno.test({
  name: "mnist() reads images and labels of each split from a folder",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await writeSplit(folder.path);
    await writeSplit(folder.path, { prefix: "t10k", images: imagesOf(1), labels: labelsOf(7) });
    const train = await mnist({ split: "train", dataDir: folder.path });
    assertEquals([train.name, train.count, train.shape], ["mnist train", 3, [1, 28, 28]]);
    assertEquals([...train.labels], [4, 0, 9]);
    assertEquals(train.images, pixelsOf(3));
    assertEquals(train.get(1).input, pixelsOf(3).subarray(784, 1568));
    const test = await mnist({ split: "test", dataDir: `${folder.path}/` });
    assertEquals([test.name, test.count, test.labels[0]], ["mnist test", 1, 7]);
  },
});

Deno.test({
  name: "mnist() takes the four ways in which the files are named",
  ignore,
  fn: async () => {
    for (const [separator, suffix] of [["-", ""], ["-", ".gz"], [".", ""], [".", ".gz"]]) {
      await using folder = await temporaryFolder();
      for (
        const [stem, array] of [["images", imagesOf(3)], ["labels", labelsOf(4, 0, 9)]] as const
      ) {
        const type = stem === "images" ? "idx3" : "idx1";
        const plain = encodeIdx(array);
        const path = `${folder.path}/train-${stem}${separator}${type}-ubyte${suffix}`;
        await Deno.writeFile(path, suffix === "" ? plain : await gzip(plain));
      }
      assertEquals((await mnist({ split: "train", dataDir: folder.path })).labels[2], 9);
    }
  },
});

Deno.test({
  name: "mnist() keeps the first images when there is a limit",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await writeSplit(folder.path);
    const two = await mnist({ split: "train", dataDir: folder.path, limit: 2 });
    assertEquals([two.count, [...two.labels], two.images.length], [2, [4, 0], 2 * 784]);
    assertEquals((await mnist({ split: "train", dataDir: folder.path, limit: 5 })).count, 3);
    for (const limit of [0, -1, 1.5, NaN]) {
      await assertRejects(
        () => mnist({ split: "train", dataDir: folder.path, limit }),
        RangeError,
        `limit must be a whole number of at least 1: got ${limit}`,
      );
    }
  },
});

Deno.test({
  name: "mnist() says which file is missing, and what it looked for",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const options = { split: "test", dataDir: folder.path } as const;
    const error = await assertRejects(() => mnist(options), Deno.errors.NotFound);
    assertEquals(
      error.message,
      `Cannot find "t10k-images-idx3-ubyte" in folder "${folder.path}" as one of ` +
        "t10k-images-idx3-ubyte.gz, t10k-images-idx3-ubyte, t10k-images.idx3-ubyte.gz, " +
        "t10k-images.idx3-ubyte must be there",
    );
    const nowhere = { ...options, dataDir: `${folder.path}/none` };
    await assertRejects(() => mnist(nowhere), Deno.errors.NotFound, "t10k-images-idx3-ubyte");
  },
});

Deno.test({
  name: "mnist() rejects files that are not images and labels of each other",
  ignore,
  fn: async () => {
    const floats: IdxArray = { dtype: "f32", shape: [3], data: new Float32Array(3) };
    const wide: IdxArray = { dtype: "u8", shape: [3, 28, 29], data: new Uint8Array(3 * 28 * 29) };
    const wrong: [Parameters<typeof writeSplit>[1], new (...a: never[]) => Error, string][] = [
      [{ labels: labelsOf(1, 2) }, RangeError, "2 labels need as many examples"],
      [{ labels: labelsOf(1, 2, 3, 4) }, RangeError, "got 3 examples"],
      [{ labels: labelsOf(1, 10, 3) }, RangeError, "from 0 to 9: got 10 at index 1"],
      [{ labels: imagesOf(3) }, IdxError, "must have shape [N] of u8: got [3, 28, 28] of u8"],
      [{ labels: floats }, IdxError, "got [3] of f32"],
      [{ images: labelsOf(1, 2, 3) }, IdxError, "[N, 28, 28] of u8: got [3] of u8"],
      [{ images: wide }, IdxError, "got [3, 28, 29] of u8"],
    ];
    for (const [files, errorClass, part] of wrong) {
      await using folder = await temporaryFolder();
      await writeSplit(folder.path, files);
      const options = { split: "train", dataDir: folder.path } as const;
      await assertRejects(() => mnist(options), errorClass as typeof Error, part);
    }
  },
});

Deno.test("mnist() rejects a split that is none", async () => {
  const split = "valid" as "train";
  await assertRejects(() => mnist({ split }), RangeError, 'must be "train" or "test": got "valid"');
});

Deno.test({
  name: "mnist() rejects a mirror's files whose checksum is not the published one",
  ignore: !canUseFiles || !canUseNet,
  fn: async () => {
    await using folder = await temporaryFolder();
    const packed = await gzip(encodeIdx(imagesOf(3)));
    await using server = serve(() => new Response(packed));
    const error = await assertRejects(
      () => mnist({ split: "train", cacheDir: folder.path, mirrors: [server.url] }),
      DownloadError,
    );
    assertEquals(error.attempts.map(({ url }) => url), [
      `${server.url}train-images-idx3-ubyte.gz`,
    ]);
    assertEquals(await Array.fromAsync(Deno.readDir(folder.path)), []);
  },
});

Deno.test({
  name: "mnist() downloads the real test set once, and reads it from the cache then",
  ignore: !canUseNet || mnistFolder === undefined,
  fn: async () => {
    await using folder = await temporaryFolder();
    const asked: string[] = [];
    const first = serve((name) => {
      asked.push(name);
      return new Response(Deno.readFileSync(`${mnistFolder}/${name}`));
    });
    const files = new Set<string>();
    const options = { split: "test", cacheDir: folder.path } as const;
    await mnist({ ...options, mirrors: [first.url], onProgress: ({ file }) => files.add(file) });
    await first[Symbol.asyncDispose]();
    assertEquals(asked, ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]);
    assertEquals([...files], asked);
    assertEquals((await mnist({ ...options, mirrors: [first.url], limit: 10 })).count, 10);
  },
});

function serve(answer: (name: string) => Response): AsyncDisposable & { url: string } {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => answer(new URL(request.url).pathname.slice(1)),
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test({
  name: "fashionMnist() names its classes",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await writeSplit(folder.path);
    const dataset = await fashionMnist({ split: "train", dataDir: folder.path });
    assertEquals(dataset.name, "fashion-mnist train");
    assertEquals(dataset.classes[dataset.labels[2]], "Ankle boot");
    assertEquals(dataset.normalization, { mean: 0.286, std: 0.353 });
  },
});

// Label counts, first labels and pixel moments of the official test set, as published for years
Deno.test({
  name: "mnist() reads the real test set",
  ignore: mnistFolder === undefined,
  fn: async () => {
    const test = await mnist({ split: "test", dataDir: mnistFolder });
    assertEquals(test.count, 10_000);
    assertEquals([...test.labels.subarray(0, 10)], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    const counts = new Array<number>(10).fill(0);
    for (const label of test.labels) counts[label]++;
    assertEquals(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    const { mean, std } = test.statistics();
    assertAlmostEquals(mean[0], 0.1325, 5e-5);
    assertAlmostEquals(std[0], 0.3105, 5e-5);
  },
});

Deno.test({
  name: "readIdx() and encodeIdx() give the real files back to the byte",
  ignore: mnistFolder === undefined,
  fn: async () => {
    const array = await readIdx(`${mnistFolder}/t10k-labels-idx1-ubyte.gz`);
    assertEquals(array.shape, [10_000]);
    // SHA-256 of the unpacked official file
    assertEquals(
      await sha256Hex(encodeIdx(array)),
      "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    );
  },
});
