import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import type { RunMeta } from "../../track/meta.ts";
import {
  currentScalars,
  readRun,
  readScalars,
  run,
  type RunSession,
  runState,
  TrackError,
} from "../../track/mod.ts";
import { type Fault, MemoryFiles } from "./memory_files.ts";

const START = Date.UTC(2026, 0, 31, 23, 59, 58);
const at = (seconds: number) => () => new Date(START + 1000 * seconds);

async function ended(
  files: MemoryFiles,
  work: (session: RunSession) => unknown = () => {},
): Promise<string> {
  return await run({ dir: "/runs", files, now: at(0), name: "a", config: { lr: 1, x: 2 } }, (s) => {
    work(s);
    return s.dir;
  });
}

const metaOf = (files: MemoryFiles, dir: string): RunMeta =>
  JSON.parse(files.text(`${dir}/meta.json`));

function writeMeta(files: MemoryFiles, dir: string, change: object): void {
  const text = JSON.stringify({ ...metaOf(files, dir), ...change });
  files.files.set(`${dir}/meta.json`, new TextEncoder().encode(text));
}

Deno.test("run({ resume }) goes on in the folder, with the record of the first start", async () => {
  const files = new MemoryFiles();
  const dir = await ended(files, (s) => {
    s.logScalars({ a: 1, b: 2 }, { step: 1 });
    s.logText("notes", "one");
    s.fail(new RangeError("too large"));
  });
  const before = metaOf(files, dir);
  const session = await run({
    resume: `${dir}/`,
    files,
    now: at(100),
    config: { lr: 3 },
    tags: { again: "yes" },
    name: "not used",
  });
  assertEquals([session.dir, session.id, session.name], [dir, before.id, "a"]);
  assertEquals([session.segment, session.rows], [2, 2]);
  const { segments, heartbeatAt, ...meta } = metaOf(files, dir);
  const kept = { schema: 2, id: before.id, createdAt: before.createdAt, env: before.env };
  assertEquals({ ...meta, ...kept }, meta);
  assertEquals([meta.status, meta.endedAt, meta.error], ["running", null, null]);
  assertEquals([meta.params, meta.tags], [{ lr: 3, x: 2 }, { again: "yes" }]);
  const startedAt = "2026-02-01T00:01:38.000Z";
  assertEquals(heartbeatAt, startedAt);
  const { hostname } = before.env;
  assertEquals(segments, [
    before.segments[0],
    { segment: 2, startedAt, from: null, pid: Deno.pid, hostname },
  ]);
  session.logScalars({ a: 3 }, { step: 2 });
  session.logText("notes", "two");
  await session.close();
  const record = readRun(dir, { files });
  assertEquals(
    record.scalars.map(({ segment, key, value }) => [segment, key, value]),
    [[1, "a", 1], [1, "b", 2], [2, "a", 3]],
  );
  assertEquals(currentScalars(record.scalars), record.scalars);
  assertEquals(files.text(`${dir}/logs/notes.txt`), "one\ntwo\n");
  const [{ event, time, fields }] = record.events;
  assertEquals([event, time.toISOString(), fields.segment], ["reopened", startedAt, 2]);
  assertEquals(fields.before, {
    status: "failed",
    endedAt: "2026-01-31T23:59:58.000Z",
    error: "RangeError: too large",
  });
  assertEquals([...files.files.keys()].filter((path) => path.endsWith(".lock")), []);
  assertEquals(files.openFiles, 0);
});

Deno.test("run({ resume }) refuses what is no run, is broken, or still runs", async () => {
  const files = new MemoryFiles();
  const dir = await ended(files, (s) => s.logScalars({ a: 1 }));
  const refuse = async (
    options: object,
    // deno-lint-ignore no-explicit-any -- any class of errors
    kind: new (...args: any[]) => Error,
    message: string,
  ) => {
    const before = files.text(`${dir}/meta.json`);
    await assertRejects(() => run({ files, now: at(1), ...options }), kind, message);
    assertEquals(files.text(`${dir}/meta.json`), before);
    assert(![...files.files.keys()].some((path) => path.endsWith(".lock")));
  };
  await refuse({ resume: 3 }, TypeError, "expected resume to be a string, found 3");
  await refuse({ resume: "" }, RangeError, "expected a folder in resume, found none");
  await refuse({ resume: dir, force: 1 }, TypeError, "expected force to be a boolean, found 1");
  await refuse({ resume: dir, config: { lr: NaN } }, TypeError, "config.lr as JSON");
  await refuse(
    { resume: "/runs" },
    TrackError,
    "Cannot resume /runs: expected the folder of a run, found no meta.json in it",
  );
  writeMeta(files, dir, { status: "running", heartbeatAt: at(0)().toISOString() });
  // a process that nobody can look for
  const away = (heartbeat: number) => ({
    status: "running",
    heartbeatAt: at(heartbeat)().toISOString(),
    segments: [{ ...metaOf(files, dir).segments[0], pid: 77, hostname: "elsewhere" }],
  });
  writeMeta(files, dir, away(-9));
  await refuse(
    { resume: dir },
    TrackError,
    `Cannot resume ${dir}: expected a run that has ended, found that process 77 on elsewhere was at ` +
      "work 10 s ago; use force if it is gone",
  );
  writeMeta(files, dir, away(1 - 600));
  await refuse({ resume: dir }, TrackError, "was at work 600 s ago");
  writeMeta(files, dir, { status: "done" });
  await refuse({ resume: dir }, SyntaxError, 'expected "status" to be one of');
  writeMeta(files, dir, { status: "completed" });
  files.files.set(
    `${dir}/logs/scalars.csv`,
    new TextEncoder().encode("time,segment,step,epoch,samples,key,value\r\nx,1,,,,a,1\r\n"),
  );
  await refuse({ resume: dir }, SyntaxError, 'scalars.csv, line 2: expected "time" to be a date');
});

Deno.test("run({ resume }) takes a run that was silent for ten minutes, or by force", async () => {
  for (const { silence, force } of [{ silence: 601, force: false }, { silence: 0, force: true }]) {
    const files = new MemoryFiles();
    const dir = await ended(files);
    writeMeta(files, dir, {
      status: "running",
      heartbeatAt: at(-silence)().toISOString(),
      segments: [{ ...metaOf(files, dir).segments[0], pid: 77, hostname: "elsewhere" }],
    });
    await run({ resume: dir, files, now: at(0), force }, () => {});
    assertEquals(metaOf(files, dir).status, "completed");
    assertEquals(metaOf(files, dir).segments.length, 2);
  }
});

Deno.test("a session whose run was taken by force says so, and leaves the record alone", async () => {
  const files = new MemoryFiles();
  const first = await run({ dir: "/runs", files });
  const second = await run({ resume: first.dir, files, force: true });
  const message = `Cannot go on with ${first.dir}: expected to be the only one, found that process`;
  assertThrows(() => first.logParams({ a: 1 }), TrackError, message);
  await assertRejects(() => first.close(), TrackError, message);
  assertEquals(metaOf(files, first.dir).segments.length, 2);
  await second.close();
  assertEquals(metaOf(files, first.dir).status, "completed");
});

Deno.test("run({ resume }) cuts torn last lines off, wherever they are torn", async () => {
  const whole = new MemoryFiles();
  const dir = await ended(whole, (s) => {
    s.logScalars({ 'é "x", y': 1 }, { step: 1 });
    s.logEvent("ü");
    s.logText("notes", "first");
  });
  const logs = ["scalars.csv", "events.jsonl", "notes.txt"].map((name) => `${dir}/logs/${name}`);
  const torn = {
    "scalars.csv": '2026-01-31T23:59:58.000Z,1,2,0,128,"ö, ""x""",2\r\n',
    "events.jsonl": '{"time":"2026-01-31T23:59:58.000Z","event":"ö","fields":{}}\n',
    "notes.txt": "sécond\n",
  };
  for (const path of logs) {
    const name = path.slice(path.lastIndexOf("/") + 1) as keyof typeof torn;
    const line = new TextEncoder().encode(torn[name]);
    for (let length = 0; length < line.length; length++) {
      const files = new MemoryFiles();
      for (const folder of whole.folders) files.folders.add(folder);
      for (const [each, bytes] of whole.files) files.files.set(each, bytes.slice());
      const before = files.text(path);
      files.files.set(path, Uint8Array.of(...files.read(path), ...line.subarray(0, length)));
      const session = await run({ resume: dir, files, now: at(9) });
      session.logScalars({ b: 2 }, { step: 2 });
      session.logText("notes", "third");
      await session.close();
      const what = `${name} with ${length} bytes of another line`;
      const { scalars, events } = readRun(dir, { files });
      assertEquals(scalars.map(({ key }) => key), ['é "x", y', "b"], what);
      assertEquals(events.map(({ event }) => event), ["ü", "reopened"], what);
      assertEquals(files.text(logs[2]), "first\nthird\n", what);
      assert(files.text(path).startsWith(before), what);
      assertEquals(events[1].fields.cut, length === 0 ? {} : { [name]: length }, what);
    }
  }
  // a header that is torn itself
  const header = whole.text(logs[0]).split("\r\n")[0];
  for (let length = 0; length <= header.length; length++) {
    const files = new MemoryFiles();
    for (const folder of whole.folders) files.folders.add(folder);
    for (const [each, bytes] of whole.files) files.files.set(each, bytes.slice());
    files.files.set(logs[0], new TextEncoder().encode(header.slice(0, length)));
    await run({ resume: dir, files, now: at(9) }, (s) => {
      assertEquals(s.rows, 0);
      s.logScalars({ b: 2 });
    });
    assertEquals(readRun(dir, { files }).scalars.map(({ key }) => key), ["b"]);
  }
});

const OLD = {
  "meta.json": JSON.stringify({
    schema: 1,
    id: "20260131T235958Z-0f3a-old",
    name: "old",
    status: "completed",
    createdAt: "2026-01-31T23:59:58.000Z",
    endedAt: "2026-02-01T00:09:58.000Z",
    error: null,
    tags: {},
    notes: "",
    params: { lr: 0.1 },
    env: {
      deno: "2.9.6",
      v8: "14.0",
      typescript: "5.9",
      os: "linux",
      arch: "x86_64",
      hostname: "somewhere",
      pid: 4,
      cwd: "/",
      command: ["main.ts"],
    },
    git: null,
  }),
  "logs/scalars.csv": "time,step,epoch,samples,key,value\r\n" +
    "2026-01-31T23:59:59.250Z,1,0,64,train/loss,0.5\r\n" +
    '2026-01-31T23:59:59.500Z,,,,"a, ""b""",NaN\r\n',
  "logs/events.jsonl": '{"time":"2026-01-31T23:59:59.250Z","event":"x","fields":{}}\n',
};

function oldFolder(): { files: MemoryFiles; dir: string } {
  const files = new MemoryFiles();
  const dir = "/runs/20260131T235958Z-0f3a-old";
  for (const folder of ["/runs", dir, `${dir}/logs`]) files.folders.add(folder);
  for (const [name, text] of Object.entries(OLD)) {
    files.files.set(`${dir}/${name}`, new TextEncoder().encode(text));
  }
  return { files, dir };
}

Deno.test("a folder of the first layout is read as a run of one segment", () => {
  const { files, dir } = oldFolder();
  const { meta, scalars } = readRun(dir, { files });
  assertEquals([meta.heartbeatAt, meta.reason], ["2026-02-01T00:09:58.000Z", null]);
  assertEquals(meta.segments, [{
    segment: 1,
    startedAt: "2026-01-31T23:59:58.000Z",
    from: null,
    pid: 4,
    hostname: "somewhere",
  }]);
  assertEquals(scalars.map(({ segment, superseded, key }) => [segment, superseded, key]), [
    [1, false, "train/loss"],
    [1, false, 'a, "b"'],
  ]);
  assertEquals(readScalars(`${dir}/logs/scalars.csv`, { files }), scalars);
  assertEquals(runState(meta), "completed");
  writeMeta(files, dir, { status: "running", endedAt: null });
  const running = readRun(dir, { files }).meta;
  assertEquals(runState(running, at(60)()), "running");
  assertEquals(runState(running, at(601)()), "crashed");
});

Deno.test("a folder of the first layout can be resumed, and gets the column it lacks", async () => {
  const { files, dir } = oldFolder();
  await run({ resume: dir, files, now: at(700) }, (s) => {
    s.resumeFrom({ rows: 1, step: 1, epoch: 0 });
    s.logScalars({ loss: 0.25 }, { step: 2, split: "train" });
  });
  assertEquals(
    files.text(`${dir}/logs/scalars.csv`),
    "time,segment,step,epoch,samples,key,value\r\n" +
      "2026-01-31T23:59:59.250Z,1,1,0,64,train/loss,0.5\r\n" +
      '2026-01-31T23:59:59.500Z,1,,,,"a, ""b""",NaN\r\n' +
      "2026-02-01T00:11:38.000Z,2,2,,,train/loss,0.25\r\n",
  );
  const { meta, scalars } = readRun(dir, { files });
  assertEquals([meta.schema, meta.segments[1].from], [2, { rows: 1, step: 1, epoch: 0 }]);
  assertEquals(scalars.map(({ superseded }) => superseded), [false, true, false]);
});

Deno.test("run({ resume }) removes half-written files of the run's own processes alone", async () => {
  const files = new MemoryFiles();
  const dir = await ended(files, (s) => s.saveArtifact("plots/a.txt", "a"));
  const pid = Deno.pid;
  const own = [`${dir}/.tmp-${pid}-7`, `${dir}/artifacts/plots/.tmp-${pid}-8`];
  const others = [`${dir}/.tmp-${pid + 1}-7`, `${dir}/checkpoints/.tmp-${pid}-9`, `${dir}/tmp-1-1`];
  files.folders.add(`${dir}/checkpoints`);
  for (const path of [...own, ...others]) files.files.set(path, new Uint8Array(3));
  await run({ resume: dir, files, now: at(9) }, () => {});
  assertEquals(own.map((path) => files.files.has(path)), [false, false]);
  assertEquals(others.map((path) => files.files.has(path)), [true, true, true]);
});

for (const kind of ["before", "half", "after"] satisfies Fault[]) {
  Deno.test(`run({ resume }) that fails ${kind} any of its file operations leaves a run to resume`, async () => {
    const prepare = () => {
      const { files, dir } = oldFolder();
      const path = `${dir}/logs/events.jsonl`;
      files.files.set(path, new TextEncoder().encode(OLD["logs/events.jsonl"] + '{"ti'));
      files.countReads = true;
      return { files, dir };
    };
    const clean = prepare();
    await run({ resume: clean.dir, files: clean.files, now: at(700) });
    const total = clean.files.log.length;
    assert(total > 25, `only ${total} operations`);
    for (let n = 1; n <= total; n++) {
      const { files, dir } = prepare();
      files.plan = { at: n, kind };
      const what = `operation ${n}`;
      const session = await run({ resume: dir, files, now: at(700) })
        .catch((error) => error as Error);
      files.plan = null;
      if (session instanceof Error) {
        assert(session instanceof TrackError, `${what}: ${session.message}`);
        assertMatch(session.message, /ENOSPC/, what);
        assertEquals(readRun(dir, { files }).meta.status, "completed", what);
      } else {
        // only the removal of the lock may fail without an error
        assert(files.log[n - 1].startsWith("remove "), `${what}, ${files.log[n - 1]}`);
        await session.close();
      }
      for (const path of files.files.keys()) assert(!path.includes(".tmp"), `${what}: ${path}`);
      const again = await run({ resume: dir, files, now: at(701) }).catch((error) =>
        error as Error
      );
      if (again instanceof Error) {
        // a lock that could not be removed holds while its process lives
        assert(files.log[n - 1].startsWith("remove "), `${what}: ${again.message}`);
        continue;
      }
      again.logScalars({ b: 1 });
      await again.close();
      const { scalars, events } = readRun(dir, { files });
      assertEquals(scalars.map(({ key }) => key), ["train/loss", 'a, "b"', "b"], what);
      assertEquals([events[0].event, events.at(-1)!.event], ["x", "reopened"], what);
      assertEquals(files.openFiles, 0, what);
    }
  });
}
