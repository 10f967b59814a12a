import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Checkpoint, CheckpointError, CheckpointStore } from "../../track/mod.ts";
import { catchWarnings, checkContent, contentOf, takeWarnings } from "./checkpoint_parts.ts";
import { DIR, fileOf, flip, indexOf, setup, steps, stepsIn, test } from "./checkpoint_setup.ts";

test("CheckpointStore keeps the last, the best and every so many", async () => {
  const { files, store } = setup({
    last: 2,
    best: { metric: "loss", mode: "min", keep: 2 },
    every: 4,
  });
  // of the two equal best the earlier is better; NaN, infinities and missing values never are
  const losses = [NaN, 0.5, 0.2, 0.9, 0.1, 0.1, -Infinity, 0.8, null, 0.7];
  const left: number[][] = [];
  for (const [i, loss] of losses.entries()) {
    await store.save(contentOf(i + 1, loss === null ? {} : { loss }));
    assertEquals(await steps(store), stepsIn(files));
    left.push(stepsIn(files));
  }
  assertEquals(left, [
    [1],
    [1, 2],
    [2, 3],
    [2, 3, 4],
    [3, 4, 5],
    [4, 5, 6],
    [4, 5, 6, 7],
    [4, 5, 6, 7, 8],
    [4, 5, 6, 8, 9],
    [4, 5, 6, 8, 9, 10],
  ]);
  const { last, best, rule, checkpoints } = indexOf(files);
  assertEquals([last, best], ["step-00000010.safetensors", "step-00000005.safetensors"]);
  assertEquals(rule, { metric: "loss", mode: "min" });
  assertEquals(checkpoints.length, 6);
  assertEquals(checkContent(await store.load("last")).step, 10);
  assertEquals(checkContent(await store.load("best")).step, 5);
  assertEquals(checkContent(await store.load(8)).step, 8);
  assertEquals(takeWarnings(), []);
});

test("CheckpointStore keeps the last three without options, and the best by maximum", async () => {
  const { files, store, open } = setup();
  for (const step of [1, 2, 3, 4]) await store.save(contentOf(step, { accuracy: 1 / step }));
  assertEquals(stepsIn(files), [2, 3, 4]);
  const other = open({ last: 1, best: { metric: "accuracy", mode: "max" } });
  await other.save(contentOf(5, { accuracy: 0.1 }));
  assertEquals(stepsIn(files), [2, 5]);
  // the index says what best means to a store that was not told
  assertEquals(checkContent(await open({}).load("best")).step, 2);
});

test("CheckpointStore never prunes those saved with keep, nor the one resumed from", async () => {
  const { files, store, open } = setup({ last: 1 });
  const saved = await store.save(contentOf(1), { keep: true, tags: ["baseline", "v1"] });
  assertEquals([saved.keep, saved.tags, saved.parent], [true, ["baseline", "v1"], null]);
  await store.save(contentOf(2));
  const next = open();
  assertEquals((await next.load()).entry.step, 2);
  for (const step of [3, 4, 5]) {
    const entry = await next.save(contentOf(step));
    assertEquals(entry.parent, "step-00000002.safetensors");
  }
  assertEquals(stepsIn(files), [1, 2, 5]);
  const third = open();
  assertEquals((await third.load()).entry.parent, "step-00000002.safetensors");
  await third.save(contentOf(6));
  assertEquals(stepsIn(files), [1, 5, 6]);
  assertEquals((await third.entries())[0], saved);
});

test("the last checkpoint is the last one saved, whatever its step", async () => {
  const { files, store, open } = setup({ last: 2 });
  for (const step of [10, 20, 30]) await store.save(contentOf(step));
  await store.load(20);
  const entry = await store.save(contentOf(25));
  assertEquals(entry.sequence, 4);
  assertEquals((await open().load("last")).entry.step, 25);
  assertEquals(stepsIn(files), [20, 25, 30]);
  files.remove(`${DIR}/index.json`);
  assertEquals(await steps(open()), [20, 30, 25]);
  assertEquals((await open().load("last")).entry.step, 25);
});

test("a checkpoint of the same step is replaced", async () => {
  const { files, store } = setup();
  await store.save(contentOf(1, { loss: 1 }));
  await store.save(contentOf(1, { loss: 2 }));
  assertEquals((await store.entries()).map(({ step, metrics }) => [step, metrics]), [
    [1, { loss: 2 }],
  ]);
  assertEquals((await store.load("last")).entry.metrics, { loss: 2 });
  assertEquals(stepsIn(files), [1]);
});

test("what is saved is what was there when save was called, in the order of the calls", async () => {
  const { store } = setup({ last: 5 });
  const tensor = { shape: [1], dtype: "f32" as const, data: Float32Array.of(1) };
  const state = { list: [1] };
  const saves = [1, 2, 3].map((step) => {
    tensor.data[0] = step;
    state.list[0] = step;
    return store.save({ tensors: { w: tensor }, state, step, epoch: 0 });
  });
  const loading = store.load("last");
  tensor.data[0] = 99;
  state.list[0] = 99;
  assertEquals((await Promise.all(saves)).map((entry) => entry.sequence), [1, 2, 3]);
  const loaded = await loading;
  assertEquals([loaded.entry.step, loaded.tensors.w.data[0]], [3, 3]);
  assertEquals((await store.load(1)).state, { list: [1] });
});

test("a damaged last or best checkpoint is passed over aloud, one asked for by step refused", async () => {
  const best = { metric: "loss", mode: "min" } as const;
  const { files, store, open } = setup({ last: 3, best });
  for (const step of [1, 2, 3]) await store.save(contentOf(step, { loss: 1 / step }));
  flip(files, fileOf(3), -1);
  for (const which of ["last", "best"] as const) {
    const loaded = await open({ best }).load(which);
    assertEquals(checkContent(loaded).step, 2);
    const [error] = loaded.skipped;
    assertEquals([error.path, error.tensor], [fileOf(3), "optimizer.mask"]);
    assertEquals(error.offset, files.read(fileOf(3)).length - 3);
    const [warning, ...more] = takeWarnings();
    assertEquals(more, []);
    for (
      const part of [fileOf(3), '"optimizer.mask"', `bytes ${error.offset}`, "trying step-00000002"]
    ) {
      assert(warning.includes(part), warning);
    }
  }
  const error = await assertRejects(() => store.load(3), CheckpointError, "optimizer.mask");
  assertEquals(error.reason, "damaged");
  assertEquals(takeWarnings(), []);

  // the damaged one does not count when the next are kept, nor is it the best
  assertEquals((await store.load("last")).entry.step, 2);
  await store.save(contentOf(4, { loss: 0.9 }));
  assertEquals(stepsIn(files), [1, 2, 4]);
  assertEquals(indexOf(files).best, "step-00000002.safetensors");
  takeWarnings();

  for (const step of [1, 2, 4]) flip(files, fileOf(step), 20);
  const none = await assertRejects(() => open().load("last"), CheckpointError, "none is sound");
  for (const step of [1, 2, 4]) assert(none.message.includes(fileOf(step)), none.message);
  assertEquals((none.cause as AggregateError).errors.length, 3);
});

test("the console warns where logging is not configured", async () => {
  const { files, store, open } = setup();
  for (const step of [1, 2]) await store.save(contentOf(step));
  flip(files, fileOf(2), -1);
  const { resetSync } = await import("@logtape/logtape");
  resetSync();
  const before = console.warn;
  const lines: unknown[] = [];
  console.warn = (...line) => lines.push(...line);
  try {
    assertEquals((await open().load("last")).entry.step, 1);
  } finally {
    console.warn = before;
  }
  assertEquals(lines.length, 1);
  assert(String(lines[0]).includes(fileOf(2)));
});

test("leftovers of a killed program go at the next save, and reading removes nothing", async () => {
  const { files, store, open } = setup();
  await store.save(contentOf(1));
  files.files.set(`${DIR}/.tmp-1-0`, Uint8Array.of(1));
  const next = open();
  await next.load();
  assert(files.files.has(`${DIR}/.tmp-1-0`));
  await next.save(contentOf(2));
  assert(!files.files.has(`${DIR}/.tmp-1-0`));
});

test("two stores that save into one folder lose nothing that either keeps", async () => {
  const { files, open } = setup();
  const [a, b] = [open({ last: 100 }), open({ last: 100 })];
  const saves: Promise<unknown>[] = [];
  for (let step = 1; step <= 20; step++) {
    saves.push((step % 2 ? a : b).save(contentOf(step)));
    if (step % 5 === 0) saves.push(a.save(contentOf(100)), b.save(contentOf(100)));
  }
  await Promise.all(saves);
  for (const store of [a, b, open()]) {
    const found = await steps(store);
    assertEquals(found.toSorted((x, y) => x - y), [
      ...Array.from({ length: 20 }, (_, i) => i + 1),
      100,
    ]);
    for (const step of found) checkContent(await store.load(step));
  }
  assertEquals(stepsIn(files).length, 21);
  assertEquals(files.openFiles, 0);
  assert(takeWarnings().every((line) => line.includes("is sound and used")));
});

test("two stores that prune at once leave what each saved last", async () => {
  const { open } = setup();
  const [a, b] = [open({ last: 1 }), open({ last: 1 })];
  for (let step = 1; step <= 20; step += 2) {
    await Promise.all([a.save(contentOf(step)), b.save(contentOf(step + 1))]);
    const loaded: Checkpoint = await open().load("last");
    assert(checkContent(loaded).step >= step);
    assertEquals(loaded.skipped, []);
  }
});

test("CheckpointStore says what it expected", async () => {
  const { store, open } = setup();
  const absent = await assertRejects(() => store.load(), CheckpointError, "a last one, found none");
  assertEquals([absent.reason, absent.path], ["absent", DIR]);
  assertEquals(await store.entries(), []);
  await store.save(contentOf(1, { loss: NaN }));
  await assertRejects(
    () => store.load(2),
    CheckpointError,
    "one of step 2, found those of steps 1",
  );
  await assertRejects(() => store.load("best"), TypeError, "expected the option best");
  const best = open({ best: { metric: "loss", mode: "min" } });
  await assertRejects(() => best.load("best"), CheckpointError, "expected a best one");
  // deno-lint-ignore no-explicit-any
  const any = (value: unknown) => value as any;
  await assertRejects(() => store.load(any("first")), TypeError, 'found "first"');
  await assertRejects(() => store.load(-1), TypeError, "found -1");
  await assertRejects(() => store.save({ ...contentOf(1), step: 1.5 }), RangeError, "found 1.5");
  await assertRejects(() => store.save({ ...contentOf(1), epoch: -1 }), RangeError, "epoch");
  await assertRejects(
    () => store.save({ ...contentOf(1), metrics: any({ a: "1" }) }),
    TypeError,
    'metric "a" to be a number, found "1"',
  );
  await assertRejects(() => store.save(contentOf(1), { tags: any([1]) }), TypeError, "tags");
  await assertRejects(() => store.save(contentOf(1), { keep: any(1) }), TypeError, "found 1");
  assertEquals((await store.entries()).length, 1);
  assertThrows(() => open({ last: 0 }), RangeError, "last to be a count from 1, found 0");
  assertThrows(() => open({ every: 0.5 }), RangeError, "every");
  assertThrows(() => open({ best: any({ metric: "", mode: "min" }) }), TypeError, "best.metric");
  assertThrows(() => open({ best: any({ metric: "a", mode: "up" }) }), TypeError, "best.mode");
  assertThrows(() => open({ best: { metric: "a", mode: "max", keep: 0 } }), RangeError, "keep");
  assertThrows(() => new CheckpointStore(""), TypeError, 'expected a folder, found ""');
});

const canWrite = (await Deno.permissions.query({ name: "write" })).state === "granted" &&
  (await Deno.permissions.query({ name: "read" })).state === "granted";

Deno.test({
  name: "CheckpointStore works on the real file system",
  ignore: !canWrite,
  fn: catchWarnings(async () => {
    const root = await Deno.makeTempDir();
    try {
      const dir = `${root}/runs/a/checkpoints`;
      const store = new CheckpointStore(dir, { last: 2 });
      for (const step of [1, 2, 3]) await store.save(contentOf(step));
      assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name).sort(), [
        "index.json",
        "step-00000002.safetensors",
        "step-00000003.safetensors",
      ]);
      Deno.truncateSync(`${dir}/step-00000003.safetensors`, 1300);
      const loaded = await new CheckpointStore(dir).load();
      assertEquals([checkContent(loaded).step, loaded.skipped.length], [2, 1]);
      assertEquals(takeWarnings().length, 1);
      Deno.removeSync(`${dir}/index.json`);
      assertEquals((await new CheckpointStore(dir).load()).entry.step, 2);
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  }),
});
