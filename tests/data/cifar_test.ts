import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { referenceDevice } from "../../core/mod.ts";
import {
  cifar10,
  cifar100,
  CifarError,
  DownloadError,
  ImageLoader,
  TarError,
} from "../../data/mod.ts";
import { gunzip } from "../../data/gzip.ts";
import { readTar } from "../../data/tar.ts";
import { base64, dataFiles, survives } from "./files.ts";
import { canUseFiles, canUseNet, gzip, temporaryFolder } from "./permissions.ts";

const ignore = !canUseFiles;
const archive = base64(dataFiles.cifar10);
const tar = await gunzip(archive, 1e6);

/** The pixels that the generator of the archive wrote. */
function pixels(step: number): Uint8Array {
  return Uint8Array.from({ length: 3072 }, (_, i) => Math.floor(i * (step + 1) / 64) % 256);
}

Deno.test("readTar() reads what Python's tarfile wrote", () => {
  const files = readTar(tar, "Cannot read tar");
  assertEquals(
    [...files].map(([name, bytes]) => `${name} ${bytes.length}`),
    [
      ...[1, 2, 3, 4, 5].map((i) => `cifar-10-batches-bin/data_batch_${i}.bin 6146`),
      "cifar-10-batches-bin/test_batch.bin 3073",
      "cifar-10-batches-bin/readme.html 6",
    ],
  );
  assertEquals(files.get("cifar-10-batches-bin/test_batch.bin")!.subarray(1), pixels(7));
});

Deno.test("readTar() says where an archive is wrong", () => {
  const read = (bytes: Uint8Array) => readTar(bytes, 'Cannot read tar "a.tar"');
  const changed = (at: number, value: number) => {
    const copy = tar.slice();
    copy[at] = value;
    return copy;
  };
  // The second header begins at byte 512, after that of the folder
  const sum = assertThrows(() => read(changed(520, 1)), TarError, "must have the checksum");
  assertEquals(sum.offset, 512);
  assertThrows(() => read(changed(512 + 148, 57)), TarError, "octal digits");
  assertThrows(() => read(tar.subarray(0, 3000)), TarError, "must have 6146 bytes: got 1976");
  assertThrows(() => read(tar.subarray(0, 1024)), TarError, "must have 6146 bytes: got 0");
  assertThrows(() => read(tar.subarray(0, 512)), TarError, "must end with a block of zeros");
  assertThrows(() => read(new Uint8Array(0)), TarError, "must end with a block of zeros");
  const link = tar.slice();
  link[512 + 156] = 50; // a symbolic link, with the checksum that goes with it
  const digits = new TextDecoder().decode(link.subarray(512 + 148, 512 + 154));
  const next = (parseInt(digits, 8) + 2).toString(8).padStart(6, "0");
  link.set(new TextEncoder().encode(next), 512 + 148);
  assertThrows(
    () => read(link),
    TarError,
    "files or folders: got cifar-10-batches-bin/data_batch_1",
  );
});

Deno.test("damaged tar archives give files or TarErrors", async () => {
  const small = tar.slice(6 * 512 * 13);
  await survives(tar, (bytes) => readTar(bytes, "bad file"), TarError);
  await survives(small, (bytes) => readTar(bytes, "bad file"), TarError, 50);
});

async function checkTen(dataDir: string): Promise<void> {
  const train = await cifar10({ split: "train", dataDir });
  assertEquals([train.name, train.count, train.shape], ["cifar-10 train", 10, [3, 32, 32]]);
  assertEquals([...train.labels], [1, 5, 2, 6, 3, 7, 4, 8, 5, 9]);
  assertEquals(train.get(3).input, pixels(12));
  assertEquals(train.classes[train.labels[9]], "truck");
  const test = await cifar10({ split: "test", dataDir });
  assertEquals([test.count, test.labels[0], test.classes[3]], [1, 3, "cat"]);
  assertEquals(test.normalization.mean, [0.49139968, 0.48215827, 0.44653124]);
  const few = await cifar10({ split: "train", dataDir, limit: 3 });
  assertEquals([few.count, [...few.labels]], [3, [1, 5, 2]]);
}

Deno.test({
  name: "cifar10() reads the archive, the unpacked folder, and the files alone",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await Deno.writeFile(`${folder.path}/cifar-10-binary.tar.gz`, archive);
    await checkTen(folder.path);
    await using other = await temporaryFolder();
    const inside = `${other.path}/cifar-10-batches-bin`;
    await Deno.mkdir(inside);
    for (const [name, bytes] of readTar(tar, "")) {
      await Deno.writeFile(`${other.path}/${name}`, bytes);
    }
    await checkTen(other.path);
    await checkTen(`${inside}/`);
  },
});

Deno.test({
  name: "CIFAR images go through an ImageLoader as other images do",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await Deno.writeFile(`${folder.path}/cifar-10-binary.tar.gz`, archive);
    const train = await cifar10({ split: "train", dataDir: folder.path });
    const device = referenceDevice();
    using loader = new ImageLoader(train, { batchSize: 10, device, augment: { flip: 0 } });
    for await (const { inputs, targets } of loader) {
      assertEquals([inputs.shape, [...await targets.data()]], [[10, 3, 32, 32], [
        ...train.labels,
      ]]);
      const value = (await inputs.data())[3 * 3072 + 1024]; // green of image 3
      const expected = (pixels(12)[1024] / 255 - 0.48215827) / 0.24348505;
      assertEquals(Math.abs(value - expected) < 1e-6, true);
    }
  },
});

Deno.test({
  name: "cifar100() reads fine and coarse labels",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const file = new Uint8Array([19, 99, ...pixels(0), 0, 72, ...pixels(1)]);
    await Deno.writeFile(`${folder.path}/train.bin`, file);
    const options = { split: "train", dataDir: folder.path } as const;
    const fine = await cifar100(options);
    assertEquals([fine.classes.length, [...fine.labels]], [100, [99, 72]]);
    assertEquals([fine.classes[99], fine.classes[72]], ["worm", "seal"]);
    assertEquals(fine.get(1).input, pixels(1));
    const coarse = await cifar100({ ...options, labels: "coarse" });
    assertEquals([coarse.classes.length, [...coarse.labels]], [20, [19, 0]]);
    assertEquals([coarse.classes[19], coarse.classes[0]], ["vehicles_2", "aquatic_mammals"]);
    assertEquals(new Set([...fine.classes, ...coarse.classes]).size, 120);
    await assertRejects(
      () => cifar100({ ...options, labels: "rough" as "fine" }),
      RangeError,
      'labels must be "fine" or "coarse": got "rough"',
    );
    file[3074] = 20;
    await Deno.writeFile(`${folder.path}/train.bin`, file);
    const error = await assertRejects(() => cifar100(options), CifarError);
    assertEquals(
      error.message,
      `Cannot read cifar-100 file "${folder.path}/train.bin" as a label must be from 0 to 19: ` +
        "got 20 for image 1 at byte 3074",
    );
  },
});

Deno.test({
  name: "cifar10() names the file and the place that are wrong",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const test = { split: "test", dataDir: folder.path } as const;
    await assertRejects(
      () => cifar10(test),
      Deno.errors.NotFound,
      `Cannot find cifar-10 in folder "${folder.path}" as one of test_batch.bin, ` +
        "cifar-10-batches-bin/test_batch.bin, cifar-10-binary.tar.gz must be there",
    );
    const path = `${folder.path}/test_batch.bin`;
    for (const length of [0, 3072, 3074, 6145]) {
      await Deno.writeFile(path, new Uint8Array(length));
      const error = await assertRejects(
        () => cifar10(test),
        CifarError,
        `"${path}" as it must have a multiple of 3073 bytes: got ${length}`,
      );
      assertEquals(error.offset, Math.floor(length / 3073) * 3073);
    }
    await Deno.writeFile(path, new Uint8Array(6146).fill(10, 3073, 3074));
    await assertRejects(
      () => cifar10(test),
      CifarError,
      "from 0 to 9: got 10 for image 1 at byte 3073",
    );
    await Deno.writeFile(`${folder.path}/data_batch_1.bin`, new Uint8Array(3073));
    await assertRejects(
      () => cifar10({ split: "train", dataDir: folder.path }),
      Deno.errors.NotFound,
      `${folder.path}/data_batch_2.bin`,
    );
    for (const limit of [0, 1.5]) {
      await assertRejects(() => cifar10({ ...test, limit }), RangeError, "limit must be");
    }
    await assertRejects(
      () => cifar10({ split: "val" as "test" }),
      RangeError,
      'split must be "train" or "test": got "val"',
    );
  },
});

Deno.test({
  name: "cifar10() names a corrupt archive",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/cifar-10-binary.tar.gz`;
    const options = { split: "test", dataDir: folder.path } as const;
    await Deno.writeFile(path, archive.subarray(0, -100));
    await assertRejects(() => cifar10(options), CifarError, `archive "${path}"`);
    await Deno.writeFile(path, await gzip(tar.subarray(0, 5000)));
    await assertRejects(() => cifar10(options), TarError, `archive "${path}"`);
    await Deno.writeFile(path, await gzip(new Uint8Array(1024)));
    await assertRejects(
      () => cifar10(options),
      Deno.errors.NotFound,
      'must contain "cifar-10-batches-bin/test_batch.bin": got no file',
    );
  },
});

Deno.test({
  name: "cifar10() downloads only where it may, and checks what comes",
  ignore: ignore || !canUseNet,
  fn: async () => {
    await using folder = await temporaryFolder();
    const asked: string[] = [];
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => {
        asked.push(new URL(request.url).pathname);
        return new Response(archive);
      },
    );
    const options = {
      split: "test",
      cacheDir: folder.path,
      mirrors: [`http://127.0.0.1:${server.addr.port}/kriz`],
    } as const;
    await assertRejects(
      () => cifar10({ ...options, download: false }),
      Deno.errors.NotFound,
      `"${folder.path}/cifar-10-binary.tar.gz" must be there when download is false`,
    );
    assertEquals(asked, []);
    // The archive of this test is not the one whose checksum is known
    await assertRejects(() => cifar10(options), DownloadError, "SHA-256 must be c4a38c50a1bc5f3a");
    await assertRejects(() => cifar100(options), DownloadError, "SHA-256 must be 58a81ae192c23a4b");
    assertEquals(asked, ["/kriz/cifar-10-binary.tar.gz", "/kriz/cifar-100-binary.tar.gz"]);
  },
});
