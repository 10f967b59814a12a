import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { decodeSafetensors } from "../../data/safetensors.ts";
import { denoFileOps, type FileOps, type OpenFile } from "../../track/file_ops.ts";
import { readRun, readScalars, run, type RunSession, TrackError } from "../../track/mod.ts";
import { AppendFile, writeWhole } from "../../track/writing.ts";
import { type Fault, type FaultPlan, MemoryFiles } from "./memory_files.ts";

const canWrite = (await Deno.permissions.query({ name: "write" })).state === "granted" &&
  (await Deno.permissions.query({ name: "read" })).state === "granted";

const now = () => new Date(Date.UTC(2026, 0, 1));
const model = {
  stateDict: () => ({
    w: { shape: [3], dtype: "f32", data: () => Promise.resolve(Float32Array.of(1, 2, 3)) },
  }),
};

const STEPS: ((session: RunSession) => unknown)[] = [
  (session) => session.logParams({ lr: 0.1 }),
  (session) => session.logScalars({ loss: 1, accuracy: 0.1 }, { step: 1, split: "train" }),
  (session) => session.logScalars({ loss: 0.5, accuracy: 0.2 }, { step: 2, split: "train" }),
  (session) => session.logText("notes", "first"),
  (session) => session.logEvent("epoch", { number: 1 }),
  (session) => session.logText("notes", "second"),
  (session) => session.saveArtifact("deep/table.json", { rows: [1, 2, 3] }),
  (session) => session.saveArtifact("deep/table.json", { rows: [4, 5, 6] }),
  (session) => session.saveModel(model),
  (session) => session.resumeFrom({ rows: Math.min(2, session.rows), step: 1, epoch: 0 }),
  (session) => session.logScalars({ loss: 0.25 }, { step: 3, split: "train" }),
];

/** Runs an action until it passes; returns its errors, each of which has left whole files. */
async function insist<T>(
  files: MemoryFiles,
  action: () => T | Promise<T>,
): Promise<{ result: T; errors: TrackError[] }> {
  const errors: TrackError[] = [];
  for (;;) {
    try {
      return { result: await action(), errors };
    } catch (error) {
      assertInstanceOf(error, TrackError);
      assert(error.message.includes("ENOSPC: No space left on device"), error.message);
      assert(error.message.includes(error.path) && error.path.startsWith("/runs"), error.message);
      assertEquals(error.code, "ENOSPC");
      assertEquals((error.cause as { code: string }).code, "ENOSPC");
      errors.push(error);
      checkWhole(files);
      assert(errors.length < 3, error.message);
    }
  }
}

/** No file under a final name is a part of what it should be. */
function checkWhole(files: MemoryFiles): void {
  for (const [path, bytes] of files.files) {
    const text = new TextDecoder().decode(bytes);
    assert(!path.includes(".tmp"), `${path} is left behind`);
    if (path.endsWith(".json")) JSON.parse(text);
    else if (path.endsWith(".safetensors")) decodeSafetensors(bytes);
    else assert(text === "" || text.endsWith("\n"), `${path} ends in a torn line: ${text}`);
    if (path.endsWith("scalars.csv")) readScalars(path, { files });
  }
}

/** The content of all files but `meta.json`, which names the folder, by their path in it. */
function contentOf(files: MemoryFiles, dir: string): Record<string, string> {
  const paths = [...files.files.keys()].filter((path) => !path.endsWith("meta.json")).sort();
  return Object.fromEntries(paths.map((path) => [path.slice(dir.length), files.text(path)]));
}

async function wholeRun(plan: FaultPlan | null) {
  const files = new MemoryFiles(plan);
  const opening = await insist(files, () => run({ dir: "/runs", files, now }));
  const session = opening.result;
  const folders = [...files.folders].filter((path) => /^\/runs\/[^/]+$/.test(path));
  assertEquals(folders, [session.dir], "a run that could not be opened leaves no folder");
  const errors = [...opening.errors];
  for (const step of STEPS) errors.push(...(await insist(files, () => step(session))).errors);
  const operations = files.log.length;
  const closing = await insist(files, () => session.close());
  checkWhole(files);
  assertEquals(files.openFiles, 0);
  return { files, session, errors, operations, closing: closing.errors };
}

const clean = await wholeRun(null);
const expected = contentOf(clean.files, clean.session.dir);
const total = clean.files.log.length;

for (const kind of ["before", "half", "after"] satisfies Fault[]) {
  Deno.test(`RunSession survives ENOSPC ${kind} each of its file operations`, async () => {
    assert(total > 50, `only ${total} operations`);
    for (let at = 1; at <= total; at++) {
      const { files, session, errors, closing } = await wholeRun({ at, kind });
      const what = `operation ${at}, ${files.log[at - 1]}`;
      assertEquals(errors.length + closing.length, 1, what);
      assertEquals(contentOf(files, session.dir), expected, what);
      const { meta } = readRun(session.dir, { files });
      assertEquals(meta.params, { lr: 0.1 }, what);
      assertEquals(meta.segments.map(({ from }) => from?.rows ?? null), [null, 2], what);
      // logs that could not be finished must not look complete
      const lostLog = closing.some((error) => error.path.includes("/logs/"));
      assertEquals(meta.status, lostLog ? "failed" : "completed", what);
      assertEquals(meta.error?.message ?? null, lostLog ? closing[0].message : null, what);
    }
  });
}

Deno.test("RunSession keeps whole files on a disk that stays full", async () => {
  for (let at = 1; at <= total; at++) {
    const files = new MemoryFiles({ at, kind: "half", lasting: true });
    const session = await run({ dir: "/runs", files, now }).catch((error) => error as TrackError);
    if (session instanceof TrackError) {
      assertEquals([...files.files.keys()], []);
      continue;
    }
    for (const step of [...STEPS, () => session.close()]) {
      await Promise.try(step, session).catch((error) => assertInstanceOf(error, TrackError));
      checkWhole(files);
    }
    // what was acknowledged before is still there
    const rows = readRun(session.dir, { files }).scalars;
    assert(rows.length <= 5 && rows.every((row, i) => row.value === [1, 0.1, 0.5, 0.2, 0.25][i]));
    assertEquals(files.openFiles, 0);
  }
});

Deno.test("RunSession.close() tries meta.json again when called again", async () => {
  const files = new MemoryFiles();
  const session = await run({ dir: "/runs", files, now });
  session.logScalars({ a: 1 });
  files.plan = { at: files.log.length + 3, kind: "before", lasting: true };
  await assertRejects(() => session.close(), TrackError, "meta.json: ENOSPC");
  assertEquals(readRun(session.dir, { files }).meta.status, "running");
  assertThrows(() => session.logScalars({ a: 2 }), TrackError, "is closed");
  files.plan = null;
  await session.close();
  assertEquals(readRun(session.dir, { files }).meta.status, "completed");
});

Deno.test("RunSession.close() reports all logs that cannot be finished", async () => {
  class UnreliableLogs extends MemoryFiles {
    override open(path: string, mode: "create" | "append"): OpenFile {
      const file = super.open(path, mode);
      if (!path.includes("/logs/")) return file;
      const sync = () => {
        throw Object.assign(new Error("Input/output error (os error 5)"), { code: "EIO" });
      };
      return { ...file, sync };
    }
  }
  const files = new UnreliableLogs();
  const session = await run({ dir: "/runs", now, files });
  session.logScalars({ a: 1 });
  session.logEvent("x");
  const error = await assertRejects(() => session.close("completed"), TrackError);
  assert(error.message.includes("scalars.csv: EIO"), error.message);
  assert(error.message.includes("events.jsonl: EIO"), error.message);
  assertInstanceOf(error.cause, AggregateError);
  assertEquals(readRun(session.dir, { files }).meta.status, "failed");
  assertEquals(files.openFiles, 0);
});

Deno.test("AppendFile takes a torn line back before the next one", () => {
  const files = new MemoryFiles();
  files.makeFolder("/logs");
  const file = new AppendFile(files, "/logs/log.txt");
  file.append("one\n");
  // the write and the first attempt to take its half back both fail
  files.plan = { at: files.log.length + 1, kind: "half" };
  const truncate = files.log.length + 2;
  const push = files.log.push.bind(files.log);
  files.log.push = (...lines: string[]) => {
    const length = push(...lines);
    if (length === truncate) files.plan = { at: truncate, kind: "before" };
    return length;
  };
  assertThrows(
    () => file.append("two\n"),
    TrackError,
    "the torn line could not be taken back either (ENOSPC: No space left on device",
  );
  assertEquals(files.text("/logs/log.txt"), "one\ntw");
  file.append("three\n");
  assertEquals(files.text("/logs/log.txt"), "one\nthree\n");
  file.close();
});

Deno.test("writeWhole() syncs the file before, and the folder after renaming", () => {
  const files = new MemoryFiles();
  files.makeFolder("/x");
  writeWhole(files, "/x/a.json", Uint8Array.of(1, 2));
  const operations = files.log.slice(1).map((line) => line.replace(/\.tmp-\d+-\d+/, "tmp"));
  assertEquals(operations, [
    "open /x/tmp",
    "write /x/tmp",
    "sync /x/tmp",
    "close /x/tmp",
    "rename /x/a.json",
    "syncFolder /x",
  ]);
});

Deno.test("RunSession.close() syncs the logs before it records the end", async () => {
  const files = new MemoryFiles();
  const session = await run({ dir: "/runs", files, now });
  session.logScalars({ a: 1 });
  session.logText("notes", "x");
  const before = files.log.length;
  await session.close();
  const operations = files.log.slice(before).map((line) => line.replace(session.dir, ""));
  assertEquals(operations.slice(0, 4), [
    "sync /logs/scalars.csv",
    "close /logs/scalars.csv",
    "sync /logs/notes.txt",
    "close /logs/notes.txt",
  ]);
  assertEquals(operations.at(-2), "rename /meta.json");
});

Deno.test("writeWhole() says when its temporary file stays behind", () => {
  const files = new MemoryFiles();
  files.makeFolder("/x");
  files.remove = () => {
    throw Object.assign(new Error("Read-only file system (os error 30)"), { code: "EROFS" });
  };
  files.plan = { at: 3, kind: "half" };
  const error = assertThrows(() => writeWhole(files, "/x/a.json", Uint8Array.of(1, 2)), TrackError);
  assertEquals(
    error.message.replace(/tmp-\d+-\d+/, "tmp"),
    "Cannot write /x/a.json: ENOSPC: No space left on device (os error 28); /x/.tmp " +
      "could not be removed either (EROFS: Read-only file system (os error 30))",
  );
});

// every write goes to a device that is always full; everything else is real
function fullDisk(only: (path: string) => boolean): FileOps {
  return {
    ...denoFileOps,
    open(path: string, mode: "create" | "append"): OpenFile {
      const file = denoFileOps.open(path, mode);
      if (!only(path)) return file;
      const full = Deno.openSync("/dev/full", { write: true });
      return {
        write: (bytes) => void full.writeSync(bytes),
        truncate: (length) => file.truncate(length),
        sync: () => file.sync(),
        close: () => {
          full.close();
          file.close();
        },
      };
    },
  };
}

const hasFullDevice = canWrite && await Deno.stat("/dev/full").then(() => true, () => false);

Deno.test({
  name: "run() reports the system's reason from a device without space",
  ignore: !hasFullDevice,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const error = await assertRejects(
        () => run({ dir, files: fullDisk(() => true) }),
        TrackError,
        "meta.json: ENOSPC: No space left on device (os error 28)",
      );
      assertEquals(error.code, "ENOSPC");
      assertEquals([...Deno.readDirSync(dir)], []);

      const files = fullDisk((path) => path.endsWith("scalars.csv"));
      const session = await run({ dir, files });
      assertThrows(() => session.logScalars({ a: 1 }), TrackError, "scalars.csv: ENOSPC");
      session.logEvent("still there");
      await session.close();
      const { meta, scalars, events } = readRun(session.dir);
      assertEquals([meta.status, scalars.length, events.length], ["completed", 0, 1]);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
