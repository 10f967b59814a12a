import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { referenceDevice } from "../../core/mod.ts";
import { encodePng, ImageError, imageFolder, ImageLoader } from "../../data/mod.ts";
import { base64, dataFiles } from "./files.ts";
import { canUseFiles, temporaryFolder } from "./permissions.ts";

const ignore = !canUseFiles;

/** Writes a picture of one colour. */
async function write(path: string, colour: number[], height = 2, width = 2): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  const data = Uint8Array.from(
    { length: height * width * colour.length },
    (_, i) => colour[i % colour.length],
  );
  await Deno.writeFile(path, await encodePng({ width, height, channels: colour.length, data }));
}

async function pets(folder: string): Promise<void> {
  await write(`${folder}/dog/b.png`, [10, 20, 30]);
  await write(`${folder}/dog/a.PNG`, [40, 50, 60]);
  await write(`${folder}/cat/x/deep.png`, [70]);
  await write(`${folder}/cat/.hidden.png`, [1]);
  await Deno.writeTextFile(`${folder}/cat/notes.txt`, "no picture");
  await Deno.writeTextFile(`${folder}/readme.md`, "no class");
  await Deno.mkdir(`${folder}/.git`);
}

Deno.test({
  name: "imageFolder() sorts classes and files, and gives pixels channels first",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await pets(folder.path);
    const dataset = await imageFolder(`${folder.path}/`);
    assertEquals(dataset.classes, ["cat", "dog"]);
    assertEquals(
      dataset.files.map((file) => file.slice(folder.path.length)),
      ["/cat/x/deep.png", "/dog/a.PNG", "/dog/b.png"],
    );
    assertEquals([dataset.length, dataset.shape, [...dataset.labels]], [3, [3, 2, 2], [0, 1, 1]]);
    assertEquals(dataset.get(0).input, new Uint8Array(12).fill(70));
    assertEquals(
      [...dataset.get(2).input],
      [10, 10, 10, 10, 20, 20, 20, 20, 30, 30, 30, 30],
    );
    assertEquals([dataset.get(2).label, dataset.get(2).classCount], [1, 2]);
    assertThrows(() => dataset.get(3), RangeError, "from 0 to 2");
    const grey = await imageFolder(folder.path, { channels: 1 });
    assertEquals(grey.get(2).input, new Uint8Array(4).fill(18)); // 0.299 R + 0.587 G + 0.114 B
    const all = dataset.decodeAll();
    assertEquals(all.images.subarray(24), dataset.get(2).input);
    assertEquals(all.statistics().mean[2], (70 + 60 + 30) / 3 / 255);
  },
});

Deno.test({
  name: "an image folder works with an ImageLoader, and reads JPEG",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await pets(folder.path);
    await Deno.writeFile(`${folder.path}/dog/c.jpg`, base64(dataFiles.jpeg.grey.file));
    const dataset = await imageFolder(folder.path, { size: [3, 4], cacheBytes: 40 });
    using loader = new ImageLoader(dataset, {
      batchSize: 3,
      shuffle: true,
      seed: 1,
      device: referenceDevice(),
      residentBytes: 0,
    });
    const seen: number[] = [];
    for await (const { inputs, targets } of loader) {
      const [values, labels] = [await inputs.data(), await targets.data()];
      labels.forEach((label, i) => seen.push(10 * label + Math.round(values[i * 36] * 255)));
    }
    const c = dataset.get(3).input[0];
    assertEquals(seen.sort((a, b) => a - b), [10 + 10, 10 + 40, 70, 10 + c].sort((a, b) => a - b));
  },
});

Deno.test({
  name: "imageFolder() keeps decoded images as far as the cache reaches",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await pets(folder.path);
    const kept = await imageFolder(folder.path, { cacheBytes: 24 });
    kept.get(1); // with image 0, that is all the room there is
    for (const file of kept.files) await Deno.remove(file);
    assertEquals(kept.get(0).input[0], 70);
    assertEquals(kept.get(1).input[0], 40);
    assertThrows(() => kept.get(2), Deno.errors.NotFound);
  },
});

Deno.test({
  name: "imageFolder() names the file that is wrong",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await pets(folder.path);
    await write(`${folder.path}/dog/c.png`, [1, 2, 3], 3, 5);
    const dataset = await imageFolder(folder.path);
    const error = assertThrows(() => dataset.decodeAll(), ImageError);
    assertEquals(
      error.message,
      `Cannot read "${folder.path}/dog/c.png" as it must have 2 × 2 pixels like ` +
        `"${folder.path}/cat/x/deep.png": got 3 × 5; pass size to resize`,
    );
    assertEquals((await imageFolder(folder.path, { size: 2 })).decodeAll().count, 4);
    const bad = `${folder.path}/cat/a.png`;
    await Deno.writeFile(bad, new Uint8Array([1, 2, 3]));
    await assertRejects(
      () => imageFolder(folder.path),
      ImageError,
      `Cannot read "${bad}" as it must be a PNG or JPEG file`,
    );
  },
});

Deno.test({
  name: "imageFolder() checks folders, classes and options",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await assertRejects(
      () => imageFolder(folder.path),
      RangeError,
      "must have a folder for each class: got none",
    );
    await pets(folder.path);
    const nowhere = `${folder.path}/none`;
    await assertRejects(() => imageFolder(nowhere), Deno.errors.NotFound, `"${nowhere}"`);
    const turned = await imageFolder(folder.path, { classes: ["dog", "cat"] });
    assertEquals([...turned.labels], [0, 0, 1]);
    await assertRejects(
      () => imageFolder(folder.path, { classes: ["cat", "cow"] }),
      RangeError,
      "its folders must be cat, cow: got cat, dog",
    );
    await assertRejects(() => imageFolder(folder.path, { size: 0 }), RangeError, "height of size");
    await assertRejects(
      () => imageFolder(folder.path, { channels: 2 as 1 }),
      RangeError,
      "channels must be 1 or 3: got 2",
    );
    await Deno.mkdir(`${folder.path}/cow`);
    await assertRejects(() => imageFolder(folder.path), RangeError, 'class "cow" must have a file');
  },
});
