import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointError } from "../../track/mod.ts";
import { checkContent, contentOf, takeWarnings } from "./checkpoint_parts.ts";
import { DIR, fileOf, indexOf, setup, steps, stepsIn, test } from "./checkpoint_setup.ts";
import type { MemoryFiles } from "./memory_files.ts";

test("a newer layout is refused and nothing is loaded in its place", async () => {
  const { files, store, open } = setup();
  for (const step of [1, 2]) await store.save(contentOf(step));
  const newer = await rewriteIndex(files, (text) => text.replace('"schema": 1', '"schema": 2'));
  const message = "expected the layout version 1 or older, found the newer version 2";
  const error = await assertRejects(() => open().load("last"), CheckpointError, message);
  assertEquals(error.reason, "newer");
  await assertRejects(() => open().save(contentOf(3)), CheckpointError, message);
  assertEquals(files.text(`${DIR}/index.json`), newer);
  assertEquals(stepsIn(files), [1, 2]);
});

/** Changes the index and gives it the seal of its new text. */
async function rewriteIndex(files: MemoryFiles, change: (text: string) => string): Promise<string> {
  const path = `${DIR}/index.json`;
  const blank = change(files.text(path)).replace(/"seal": "[0-9a-f]{64}"/, `"seal": "${ZEROS}"`);
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(blank));
  const seal = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const text = blank.replace(ZEROS, seal);
  files.files.set(path, new TextEncoder().encode(text));
  return text;
}

const ZEROS = "0".repeat(64);

test("an index that is gone, damaged or does not fit is made again from the files", async () => {
  const best = { metric: "loss", mode: "min" } as const;
  const { files, store, open } = setup({ last: 3, best });
  for (const step of [1, 2, 3]) {
    await store.save(contentOf(step, { loss: step }), { keep: step === 1, tags: [`t${step}`] });
  }
  const path = `${DIR}/index.json`;
  const entries = await store.entries();
  const whole = files.text(path);
  const before = new Map(files.files);
  const set = (text: string) => files.files.set(path, new TextEncoder().encode(text));
  const restore = (change: (text: string) => string) => () => {
    set(whole);
    return rewriteIndex(files, change);
  };
  const cases: [string, () => unknown][] = [
    ["missing", () => files.files.delete(path)],
    ["expected a seal", () => set("")],
    ["expected a seal", () => set("{}")],
    ["expected SHA-256", () => set(whole.replace('"loss": 2', '"loss": 3'))],
    ["at most 10000000 bytes", () => set(whole.padEnd(10_000_001))],
    ["JSON", restore((text) => text.slice(0, -3))],
    ["at most 32 levels", restore((text) => text.replace('"t1"', "[".repeat(33) + "]".repeat(33)))],
    ["another name", restore((text) => text.replace('"loss": 1', '"__proto__": 1'))],
    ["the layout version 1", restore((text) => text.replace('"schema": 1', '"schema": 0'))],
    [
      "file of a checkpoint",
      restore((text) => text.replace('"file": "step-00000003', '"file": "../../etc')),
    ],
    [
      "each file once",
      restore((text) =>
        text.replaceAll("step-00000002", "step-00000001")
          .replaceAll('"step": 2', '"step": 1')
      ),
    ],
    ["file of step 2", restore((text) => text.replaceAll("step-00000002", "step-00000004"))],
    [
      '"step-00000009.safetensors" among',
      restore((text) => text.replace('"last": "step-00000003', '"last": "step-00000009')),
    ],
    ["a rule or null", restore((text) => text.replace('"mode": "min"', '"mode": "least"'))],
    ["a list", restore((text) => text.replace(/"checkpoints": \[[^]*\]/, '"checkpoints": 5'))],
  ];
  for (const [message, damage] of cases) {
    await damage();
    takeWarnings();
    const again = open({ best });
    assertEquals(await again.entries(), entries, message);
    const said = takeWarnings().join("\n");
    assert(said.includes(message) && said.includes(path), `${message}: ${said}`);
    assertEquals(checkContent(await again.load("best")).step, 1, message);
    await again.load("last");
    await again.save(contentOf(3, { loss: 3 }), { tags: ["t3"] });
    assertEquals(indexOf(files).checkpoints.length, 3, message);
    assertEquals(indexOf(files).best, "step-00000001.safetensors", message);
    files.files.clear();
    for (const [name, bytes] of before) files.files.set(name, bytes);
  }
});

test("files that come and go without the index are noticed", async () => {
  const { files, store, open } = setup();
  for (const step of [1, 2, 3]) await store.save(contentOf(step));
  const second = files.read(fileOf(2));
  files.remove(fileOf(2));
  assertEquals(await steps(open()), [1, 3]);
  assert(takeWarnings()[0].includes(`${fileOf(2)} is gone`));
  await store.save(contentOf(4));
  files.files.set(fileOf(2), second);
  assertEquals(await steps(open()), [1, 2, 3, 4]);
  takeWarnings();

  // one under the name of another step, one that is cut, and what is no checkpoint at all
  files.files.set(fileOf(77), second);
  files.files.set(fileOf(78), second.slice(0, 300));
  files.files.set(`${DIR}/step-78.safetensors`, second);
  files.files.set(`${DIR}/notes.txt`, second);
  const again = open();
  assertEquals(await steps(again), [1, 2, 3, 4]);
  const said = takeWarnings();
  assertEquals(said.length, 2);
  assert(said[0].includes(`${fileOf(77)}: expected the file of step 2`), said[0]);
  assert(said[1].includes(fileOf(78)) && said[1].includes("left alone"), said[1]);
  const loaded = await again.load();
  assertEquals(loaded.entry.step, 4);
  assertEquals(loaded.skipped.map((error) => error.path), [fileOf(77), fileOf(78)]);
  const asked = await assertRejects(() => again.load(78), CheckpointError, "cut short");
  assertEquals([asked.path, asked.reason], [fileOf(78), "damaged"]);
  await again.save(contentOf(5));
  assertEquals(stepsIn(files), [3, 4, 5, 77, 78, 78]);
  assertEquals(takeWarnings(), [], "each is said once");
});

test("what is sound but not what the index lists is used, and said", async () => {
  const { files, store, open } = setup();
  await store.save(contentOf(1));
  const index = files.read(`${DIR}/index.json`);
  await store.save(contentOf(1, { loss: 2 }));
  files.files.set(`${DIR}/index.json`, index);
  const loaded = await open().load("last");
  assertEquals(loaded.entry.metrics, { loss: 2 });
  assert(takeWarnings()[0].includes("is not the one that index.json lists"));
});

test("a folder with nothing but damaged files is not an empty one", async () => {
  const { files, store, open } = setup();
  await store.save(contentOf(1));
  files.files.set(fileOf(1), files.read(fileOf(1)).slice(0, 300));
  for (const indexIsThere of [true, false]) {
    if (!indexIsThere) files.remove(`${DIR}/index.json`);
    for (const which of ["last", 1] as const) {
      const error = await assertRejects(() => open().load(which), CheckpointError);
      assertEquals([error.path, error.reason], [fileOf(1), "damaged"]);
    }
  }
});

test("an index beyond the limit is not even read", async () => {
  const { files, store, open } = setup();
  await store.save(contentOf(1));
  files.files.set(`${DIR}/index.json`, new Uint8Array(10_000_001));
  files.log.length = 0;
  files.countReads = true;
  assertEquals(await steps(open()), [1]);
  assertEquals(files.log, [`list ${DIR}`, `size ${DIR}/index.json`, `read ${fileOf(1)}`]);
});
