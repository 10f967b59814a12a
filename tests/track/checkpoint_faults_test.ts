import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { CheckpointError, CheckpointStore } from "../../track/mod.ts";
import { catchWarnings, checkContent, contentOf, takeWarnings } from "./checkpoint_parts.ts";
import { type FaultPlan, FAULTS, MemoryFiles } from "./memory_files.ts";

const DIR = "/runs/a/checkpoints";
const STEPS = [1, 2, 3, 4, 5, 6];
const OPTIONS = { last: 2, best: { metric: "loss", mode: "min" } } as const;
const now = () => new Date(Date.UTC(2026, 0, 1));

function setup(plan: FaultPlan | null): MemoryFiles {
  const files = new MemoryFiles();
  files.makeFolder(DIR, { parents: true });
  files.files.set(`${DIR}/.tmp-1-0`, Uint8Array.of(1, 2, 3));
  files.log.length = 0;
  files.plan = plan;
  files.countReads = true;
  return files;
}

/** What a program that starts now would continue from. */
async function loadable(files: MemoryFiles): Promise<number> {
  const { plan, countReads } = files;
  Object.assign(files, { plan: null, countReads: false });
  const store = new CheckpointStore(DIR, { files, now });
  const entries = await store.entries();
  let step = 0;
  if (entries.length > 0) {
    const loaded = await store.load("last");
    assertEquals(loaded.skipped, []);
    step = checkContent(loaded).step;
    for (const entry of entries) checkContent(await store.load(entry.step));
  }
  Object.assign(files, { plan, countReads });
  return step;
}

function snapshot(files: MemoryFiles): Record<string, string> {
  const entries = [...files.files].map(([name, bytes]) => [name, new TextDecoder().decode(bytes)]);
  return Object.fromEntries(entries.sort());
}

/** Saves all steps, each until it passes; returns the errors. */
async function train(files: MemoryFiles): Promise<CheckpointError[]> {
  const store = new CheckpointStore(DIR, { files, now, ...OPTIONS });
  const errors: CheckpointError[] = [];
  for (const [done, step] of STEPS.entries()) {
    const content = contentOf(step, { loss: Math.abs(step - 2) });
    const before = structuredClone(content);
    for (let tries = 0;; tries++) {
      assert(tries < 2, "one fault makes one save fail");
      try {
        const saved = await store.save(content);
        assertEquals(
          await loadable(files),
          saved.step,
          "a save that reports success can be loaded",
        );
        break;
      } catch (error) {
        assertInstanceOf(error, CheckpointError);
        errors.push(error);
        const previous = STEPS[done - 1] ?? 0;
        assert([previous, step].includes(await loadable(files)), error.message);
      }
      assertEquals(content, before, "what is in memory stays as it is");
    }
  }
  return errors;
}

const clean = setup(null);
await catchWarnings(async () => assertEquals(await train(clean), []))();
const expected = snapshot(clean);
const operations = [...clean.log];

// what a fault may hit without making a save fail, as nothing that counts depends on it
function isHarmless(operation: string, { code }: FaultPlan): boolean {
  // a leftover that stays; a folder that is there, but may not be listed; an index that can be made again
  if (operation.startsWith(`remove ${DIR}/.tmp-1-0`) || operation === `list ${DIR}`) return true;
  return code === "EIO" && /^(read|size) .*index\.json$/.test(operation);
}

Deno.test(
  "every file operation of a store meets every fault, and no save lies about it",
  catchWarnings(async () => {
    assert(operations.length > 80, `only ${operations.length} operations`);
    let failed = 0;
    for (let at = 1; at <= operations.length; at++) {
      for (const fault of FAULTS) {
        const operation = operations[at - 1];
        const ofWrites = fault.kind === "half" || fault.kind === "short";
        if (ofWrites && !operation.startsWith("write")) continue;
        const files = setup({ at, ...fault });
        const errors = await train(files);
        const what = `${fault.kind} ${fault.code} at operation ${at}, ${operation}`;
        if (errors.length === 0) assert(isHarmless(operation, { at, ...fault }), what);
        for (const error of errors) {
          const { code, message, path, reason } = error;
          assertEquals(code, fault.kind === "short" ? undefined : fault.code, what);
          assert(path.startsWith(DIR) || path === DIR, message);
          assert(message.includes(path), message);
          assert(["unwritable", "unreadable"].includes(reason), message);
        }
        failed += errors.length;
        takeWarnings();
        const left = `${DIR}/.tmp-1-0`;
        const { [left]: leftover, ...rest } = snapshot(files);
        assertEquals(rest, expected, what);
        if (leftover !== undefined) assert(isHarmless(operation, { at, ...fault }), what);
        assertEquals(files.openFiles, 0, what);
      }
    }
    assert(failed > 300, `only ${failed} saves failed`);
  }),
);

Deno.test(
  "a store on a disk that stays full keeps what it had, and goes on when there is space",
  catchWarnings(async () => {
    for (let at = 1; at <= operations.length; at++) {
      const files = setup({ at, kind: "half", lasting: true });
      const store = new CheckpointStore(DIR, { files, now, ...OPTIONS });
      let last = 0;
      for (const step of STEPS) {
        const saved = await store.save(contentOf(step)).catch((error) => error as Error);
        if (saved instanceof Error) assertInstanceOf(saved, CheckpointError);
        else last = step;
        assert(await loadable(files) >= last);
      }
      files.plan = null;
      await store.save(contentOf(7));
      assertEquals(await loadable(files), 7);
      takeWarnings();
    }
  }),
);

Deno.test(
  "a checkpoint that cannot be read for want of permission is not passed over",
  catchWarnings(async () => {
    const files = setup(null);
    await train(files);
    const store = new CheckpointStore(DIR, { files, now });
    // list, size and read of the index, then the checkpoint
    const at = files.log.length + 4;
    files.plan = { at, kind: "before", code: "EACCES" };
    const denied = await store.load().catch((error) => error as CheckpointError);
    assertInstanceOf(denied, CheckpointError);
    assertEquals([denied.reason, denied.code], ["unreadable", "EACCES"]);
    assert(files.log[at - 1].endsWith("read /runs/a/checkpoints/step-00000006.safetensors"));
    // a bad sector is
    files.plan = { at: files.log.length + 4, kind: "before", code: "EIO" };
    const loaded = await store.load();
    assertEquals([loaded.entry.step, loaded.skipped[0].code], [5, "EIO"]);
    assertEquals(takeWarnings().length, 1);
    // and may be read the next time, so it still counts as one of the last three
    await store.save(contentOf(7));
    assertEquals((await store.entries()).map(({ step }) => step), [5, 6, 7]);
    checkContent(await store.load(6));
  }),
);

Deno.test(
  "older checkpoints that cannot be removed make the save say so",
  catchWarnings(async () => {
    const files = setup(null);
    const store = new CheckpointStore(DIR, { files, now, last: 1 });
    await store.save(contentOf(1));
    files.remove = () => {
      throw Object.assign(new Error("Read-only file system (os error 30)"), { code: "EROFS" });
    };
    const error = await store.save(contentOf(2)).catch((error) => error as CheckpointError);
    assertInstanceOf(error, CheckpointError);
    assertEquals(
      error.message,
      `Cannot prune, after step-00000002.safetensors was saved, ` +
        `${DIR}/step-00000001.safetensors: EROFS: Read-only file system (os error 30)`,
    );
    assertEquals(await loadable(files), 2);
  }),
);
