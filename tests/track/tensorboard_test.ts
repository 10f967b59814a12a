import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  currentScalars,
  type FileOps,
  type OpenFile,
  readRun,
  readScalars,
  run,
  type RunSink,
  tensorBoardSink,
  TrackError,
} from "../../track/mod.ts";
import { crc32c } from "../../track/tensorboard_record.ts";
import { readEvents } from "./event_files.ts";
import { MemoryFiles } from "./memory_files.ts";

const START = Date.UTC(2026, 0, 31, 23, 59, 58, 250);
const at = (step: number | null, epoch: number | null = null) => ({
  step,
  epoch,
  samples: null,
  time: new Date(START),
});

function opened(files: FileOps, segment = 1): RunSink {
  const sink = tensorBoardSink();
  sink.open({ dir: "/runs/a", id: "a", files, segment });
  return sink;
}

/** The event files of a folder, in the order in which readers take them. */
function filesOf(files: MemoryFiles, folder = "/runs/a/tensorboard"): string[] {
  return files.list(folder).map(({ name }) => `${folder}/${name}`).sort();
}

Deno.test("crc32c() gives the checksums of RFC 3720, appendix B.4", () => {
  const of = (value: (i: number) => number) =>
    crc32c(Uint8Array.from({ length: 32 }, (_, i) => value(i)));
  const scsi = Uint8Array.fromHex(
    "01c00000000000000000000000000000140000000000040000000014000000182800000000000000" +
      "0200000000000000",
  );
  const found = [of(() => 0), of(() => 255), of((i) => i), of((i) => 31 - i), crc32c(scsi)];
  // The appendix lists the bytes as they are sent, the lowest first.
  const sent = found.map((crc) => new Uint8Array(Uint32Array.of(crc).buffer).toHex());
  assertEquals(sent, ["aa36918a", "43aba862", "4e79dd46", "5cdb3f11", "563a96d9"]);
});

Deno.test("an event file begins as those of TensorFlow, and a library reads what was logged", () => {
  const files = new MemoryFiles();
  const before = Date.now() / 1000;
  const sink = opened(files);
  sink.scalars({ "train/loss": 0.1, "train/größe": NaN }, at(1));
  sink.scalars(
    { up: Infinity, down: -Infinity, zero: -0, none: null, huge: 1e300 },
    at(2 ** 40 + 3),
  );
  sink.scalars({ none: null }, at(4));
  sink.close();
  sink.close();
  const [path, ...others] = filesOf(files);
  assertEquals(others, []);
  assertMatch(path, /^\/runs\/a\/tensorboard\/events\.out\.tfevents\.\d{10}\.[\w-]+\.\d+\.\d+$/);
  const bytes = files.read(path);
  // The length 24, its checksum, and the time: so begins any such file that TensorFlow writes.
  assertEquals(bytes.slice(0, 13).toHex(), "1800000000000000a37f4b2209");
  const [version, start, first, second, ...more] = readEvents(bytes);
  assertEquals(more, []);
  assertEquals([start.what, start.session, start.step], ["session_log", "START", 0]);
  assertEquals([version.what, version.fileVersion], ["file_version", "brain.Event:2"]);
  assert(version.wallTime >= before && version.wallTime <= Date.now() / 1000);
  assertEquals([first.wallTime, first.step], [START / 1000, 1]);
  assertEquals(first.values, [["train/loss", Math.fround(0.1)], ["train/größe", NaN]]);
  assertEquals(second.step, 2 ** 40 + 3);
  assertEquals(second.values, [
    ["up", Infinity],
    ["down", -Infinity],
    ["zero", -0],
    ["huge", Infinity],
  ]);
  assertEquals(files.openFiles, 0);
});

Deno.test("what is written is what a library reads, whatever the names, numbers and steps", () => {
  const name = fc.string({ minLength: 1, unit: "grapheme" });
  const values = fc.dictionary(name, fc.option(fc.double()), { maxKeys: 5 });
  const rows = fc.array(fc.tuple(fc.maxSafeNat(), values), { maxLength: 5 });
  fc.assert(
    fc.property(rows, (list) => {
      const files = new MemoryFiles();
      const sink = opened(files);
      for (const [step, scalars] of list) sink.scalars(scalars, at(step));
      const expected = list.flatMap(([step, scalars]) => {
        const given = Object.entries(scalars).filter(([, value]) => value !== null);
        return given.length === 0 ? [] : [{
          step,
          values: given.map(([tag, value]) => [tag, Math.fround(value!)]),
        }];
      });
      const read = readEvents(files.read(filesOf(files)[0])).slice(2);
      assertEquals<unknown>(read.map(({ step, values }) => ({ step, values })), expected);
    }),
    { numRuns: 200 },
  );
});

Deno.test("values without a step lie at their epoch, else at their number", () => {
  const files = new MemoryFiles();
  const sink = opened(files);
  sink.scalars({ a: 1 }, at(null, 7));
  sink.scalars({ b: 1, c: 2 }, at(null));
  sink.scalars({ b: 3 }, at(null));
  sink.scalars({ b: 4, d: 5 }, at(null));
  const read = readEvents(files.read(filesOf(files)[0])).slice(2);
  assertEquals(read.flatMap(({ step, values }) => values!.map(([tag]) => `${tag} ${step}`)), [
    "a 7",
    "b 1",
    "c 1",
    "b 2",
    "b 3",
    "d 1",
  ]);
});

/** What TensorBoard keeps: the second START and later ones drop what is not below their step. */
function purged(files: MemoryFiles, folder?: string): [number, number][] {
  let kept: [number, number][] = [];
  let started = false;
  for (const path of filesOf(files, folder)) {
    for (const { what, session, step, values } of readEvents(files.read(path))) {
      if (session === "START" && started) kept = kept.filter(([at]) => at < step);
      started ||= session === "START";
      if (what === "summary") kept.push([step, values![0][1]]);
    }
  }
  return kept;
}

Deno.test("a resumed run goes on in a second file, and readers drop what was superseded", () => {
  const files = new MemoryFiles();
  const first = opened(files);
  for (let step = 1; step <= 5; step++) first.scalars({ loss: step }, at(step));
  const second = opened(files, 2);
  second.resumed?.(3);
  for (let step = 4; step <= 6; step++) second.scalars({ loss: 10 * step }, at(step));
  assertEquals(purged(files), [[1, 1], [2, 2], [3, 3], [4, 40], [5, 50], [6, 60]]);
  const [, again] = filesOf(files);
  const [version, start] = readEvents(files.read(again));
  assertEquals([version.fileVersion, start.session, start.step], ["brain.Event:2", "START", 4]);
});

Deno.test("files sort in the order in which they were begun, though the clock may go back", () => {
  const files = new MemoryFiles();
  files.makeFolder("/runs/a/tensorboard", { parents: true });
  const late = "/runs/a/tensorboard/events.out.tfevents.9000000000.host.1.0";
  files.files.set(late, new Uint8Array());
  files.files.set("/runs/a/tensorboard/notes.txt", new Uint8Array());
  opened(files);
  opened(files);
  const own = filesOf(files).filter((path) => path.includes("tfevents"));
  assertEquals(own.map((path) => path.split(".")[3]), ["9000000000", "9000000001", "9000000002"]);
});

Deno.test("a folder for many runs", () => {
  const files = new MemoryFiles();
  const sink = tensorBoardSink({ dir: "/boards" });
  sink.open({ dir: "/runs/a", id: "a", files, segment: 1 });
  assertEquals(filesOf(files, "/boards/a").length, 1);
  assertThrows(() => tensorBoardSink({ dir: "" }), RangeError, "expected a folder in dir");
  assertThrows(() => tensorBoardSink({ dir: 3 as never }), TypeError, "found 3");
  assertThrows(() => tensorBoardSink().scalars({ a: 1 }, at(1)), Error, "expected an open sink");
});

Deno.test("a file that was torn anywhere reads up to its last whole record", () => {
  const files = new MemoryFiles();
  const sink = opened(files);
  // The version is a record of 40 bytes, the start one of 29.
  const ends = [40, files.read(filesOf(files)[0]).length];
  assertEquals(ends, [40, 69]);
  for (let step = 1; step <= 3; step++) {
    sink.scalars({ loss: step, "train/accuracy": 0.5 }, at(step));
    ends.push(files.read(filesOf(files)[0]).length);
  }
  const bytes = files.read(filesOf(files)[0]);
  for (let length = 0; length <= bytes.length; length++) {
    const whole = ends.filter((end) => end <= length).length;
    assertEquals(readEvents(bytes.subarray(0, length)).length, whole, `${length} bytes`);
  }
  // The control: bits that change are found.
  for (let i = 0; i < bytes.length; i++) {
    const changed = bytes.slice();
    changed[i] ^= 1 << i % 8;
    assertThrows(() => readEvents(changed), Error, "Wrong checksum", `byte ${i}`);
  }
});

Deno.test("a full disk is an error that closes the file, with the half of a record taken back", () => {
  for (const kind of ["before", "half", "after"] as const) {
    // Folder, file and version are the operations 1 to 3; the value is the fourth.
    const files = new MemoryFiles({ at: 4, kind });
    const sink = opened(files);
    const error = assertThrows(() => sink.scalars({ loss: 1 }, at(1)), TrackError, "ENOSPC");
    assertEquals([error.code, error.path], ["ENOSPC", filesOf(files)[0]]);
    assertEquals(readEvents(files.read(filesOf(files)[0])).length, 2);
    assertEquals(files.openFiles, 0);
    sink.close();
  }
  assertThrows(() => opened(new MemoryFiles({ at: 1, kind: "before" })), TrackError, "make folder");
  assertThrows(() => opened(new MemoryFiles({ at: 3, kind: "half" })), TrackError, "append to");
});

/** A disk on which the event files find no room from a write on. */
class SmallDisk extends MemoryFiles {
  writes = 0;

  constructor(readonly fits: number) {
    super();
  }

  override open(path: string, mode: "create" | "append"): OpenFile {
    const file = super.open(path, mode);
    if (!path.includes("tfevents")) return file;
    return {
      ...file,
      write: (bytes) => {
        if (++this.writes <= this.fits) return file.write(bytes);
        file.write(bytes.subarray(0, 7));
        throw Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
      },
    };
  }
}

Deno.test("a run goes on without a sink whose disk is full, and notes it once", async () => {
  for (const fits of [0, 1, 3]) {
    const files = new SmallDisk(fits);
    const dir = await run({ dir: "/runs", files, sinks: [tensorBoardSink()] }, (session) => {
      for (let step = 1; step <= 5; step++) session.logScalars({ loss: 1 / step }, { step });
      return session.dir;
    });
    const { meta, scalars, events } = readRun(dir, { files });
    assertEquals([meta.status, scalars.length, files.openFiles], ["completed", 5, 0]);
    const failed = events.filter(({ event }) => event === "sinkFailed");
    assertEquals(failed.map(({ fields }) => [fields.sink, fields.action]), [
      ["TensorBoard", fits === 0 ? "open" : "scalars"],
    ]);
    assertMatch(String(failed[0].fields.reason), /ENOSPC: No space left on device/);
    const [path] = filesOf(files, `${dir}/tensorboard`);
    assertEquals(readEvents(files.read(path)).length, fits === 0 ? 0 : fits + 1);
  }
});

Deno.test("of a run that was resumed, readers keep the values that the run keeps", async () => {
  const files = new MemoryFiles();
  const sinks = () => [tensorBoardSink()];
  const dir = await run({ dir: "/runs", files, sinks: sinks() }, (session) => {
    for (let step = 1; step <= 9; step++) session.logScalars({ loss: step }, { step });
    return session.dir;
  });
  await run({ resume: dir, files, sinks: sinks() }, (session) => {
    session.resumeFrom({ rows: 6, step: 6, epoch: 0 });
    for (let step = 7; step <= 8; step++) session.logScalars({ loss: 10 * step }, { step });
    // The same process goes back once more: the file goes on with another START.
    session.resumeFrom({ rows: 4, step: 4, epoch: 0 });
    session.logScalars({ loss: 500 }, { step: 5 });
  });
  const kept = currentScalars(readScalars(`${dir}/logs/scalars.csv`, { files }));
  const expected = kept.map(({ step, value }) => [step!, value!] as [number, number]);
  assertEquals(expected, [[1, 1], [2, 2], [3, 3], [4, 4], [5, 500]]);
  assertEquals(purged(files, `${dir}/tensorboard`), expected);
});
