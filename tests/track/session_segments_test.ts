import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine } from "../../core/engine/mod.ts";
import type { RunMeta } from "../../track/meta.ts";
import {
  CRASHED_AFTER_MS,
  currentScalars,
  readRun,
  readScalars,
  run,
  type RunOptions,
  type RunSession,
  runState,
  TrackError,
  TrackingCallback,
} from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

const START = Date.UTC(2026, 0, 31, 23, 59, 58);

/** A run with a clock that the test sets, in seconds. */
async function timedRun(options: RunOptions = {}) {
  const files = new MemoryFiles();
  const clock = { seconds: 0 };
  const now = () => new Date(START + 1000 * clock.seconds);
  const session = await run({ dir: "/runs", files, now, ...options });
  const path = `${session.dir}/meta.json`;
  const meta = (): RunMeta => JSON.parse(files.text(path));
  const written = () => files.log.filter((line) => line === `rename ${path}`).length;
  return { files, clock, session, meta, written };
}

const LOGS: Readonly<Record<string, (session: RunSession) => void>> = {
  logScalars: (session) => session.logScalars({ a: 1 }),
  logText: (session) => session.logText("a", "b"),
  logEvent: (session) => session.logEvent("a"),
  heartbeat: (session) => session.heartbeat(),
};

for (const [name, log] of Object.entries(LOGS)) {
  Deno.test(`RunSession.${name}() says that the run lives, at most every ten seconds`, async () => {
    const { clock, session, meta, written } = await timedRun();
    for (clock.seconds = 1; clock.seconds <= 35; clock.seconds++) log(session);
    assertEquals(written(), 1 + 3);
    assertEquals(Date.parse(meta().heartbeatAt), START + 30_000);
    assertEquals([meta().status, meta().endedAt], ["running", null]);
    await session.close();
  });
}

Deno.test("RunSession.logScalars() writes nothing if it cannot say that the run lives", async () => {
  const { files, clock, session } = await timedRun();
  session.logScalars({ a: 1 });
  clock.seconds = 11;
  files.plan = { at: files.log.length + 2, kind: "before" };
  assertThrows(() => session.logScalars({ a: 2 }), TrackError, "meta.json: ENOSPC");
  assertEquals(readRun(session.dir, { files }).scalars.length, 1);
  session.logScalars({ a: 2 });
  await session.close();
  assertEquals(readRun(session.dir, { files }).scalars.map(({ value }) => value), [1, 2]);
});

Deno.test("TrackingCallback says with every step that the run lives", async () => {
  const { clock, session, meta, written } = await timedRun();
  const engine = new Engine(() => void (clock.seconds += 4), new Context({ model: null }), {
    callbacks: [new TrackingCallback(session, { every: 1000 })],
  });
  await engine.loop(Array(9).fill(0), { maxSteps: 8 });
  // at 12 and 24 seconds, and where the loop begins (its settings) and ends
  assertEquals(written(), 1 + 1 + 2);
  assertEquals(Date.parse(meta().heartbeatAt), START + 24_000);
  await session.close();
});

Deno.test("runState() tells a crashed run by its silence", async () => {
  const { session, meta } = await timedRun();
  const elsewhere: RunMeta = {
    ...meta(),
    segments: [{ ...meta().segments[0], pid: 1, hostname: "elsewhere" }],
  };
  const after = (ms: number) => new Date(START + ms);
  assertEquals(CRASHED_AFTER_MS, 600_000);
  assertEquals(runState(elsewhere, after(0)), "running");
  assertEquals(runState(elsewhere, after(600_000)), "running");
  assertEquals(runState(elsewhere, after(600_001)), "crashed");
  // a clock that is behind that of the machine
  assertEquals(runState(elsewhere, after(-3_600_000)), "running");
  for (const status of ["completed", "interrupted", "failed"] as const) {
    assertEquals(runState({ ...elsewhere, status }, after(1e9)), status);
  }
  await session.close();
});

Deno.test("RunSession.interrupt() makes close() record it, unless the run also failed", async () => {
  const one = await timedRun();
  one.session.interrupt("SIGTERM");
  assertEquals(one.meta().status, "running");
  await one.session.close();
  assertEquals([one.meta().status, one.meta().reason], ["interrupted", "SIGTERM"]);
  assertEquals(one.meta().error, null);
  const two = await timedRun();
  two.session.interrupt();
  two.session.fail(new Error("x"));
  await two.session.close();
  assertEquals([two.meta().status, two.meta().reason], ["failed", null]);
  assertEquals(two.meta().error?.message, "x");
  const three = await timedRun();
  three.session.interrupt();
  await three.session.close("completed");
  assertEquals([three.meta().status, three.meta().reason], ["completed", null]);
  const four = await timedRun();
  await four.session.close("interrupted");
  assertEquals([four.meta().status, four.meta().reason], ["interrupted", null]);
});

Deno.test({
  name: "TrackingCallback makes a run that a signal ends an interrupted one",
  ignore: Deno.build.os === "windows" ||
    (await Deno.permissions.query({ name: "run" })).state !== "granted",
  fn: async () => {
    const { session, meta } = await timedRun();
    const engine = new Engine(() => {}, new Context({ model: null }), {
      callbacks: [new TrackingCallback(session, { every: 1 })],
    });
    engine.on("stepEnd", async ({ state }) => {
      if (state.globalStep !== 2) return;
      Deno.kill(Deno.pid, "SIGTERM");
      await new Promise((resolve) => setTimeout(resolve, 50));
    });
    await engine.loop([1, 2, 3, 4]);
    await session.close();
    assertEquals([meta().status, meta().reason], ["interrupted", "SIGTERM"]);
  },
});

Deno.test("RunSession.resumeFrom() marks what is behind the cursor, and deletes nothing", async () => {
  const { files, session, meta } = await timedRun();
  const log = (value: number) => session.logScalars({ a: value }, { step: value });
  session.resumeFrom({ rows: 0, step: 0, epoch: 0 });
  assertEquals(session.segment, 1, "a segment without rows takes the cursor itself");
  [1, 2, 3, 4].forEach(log);
  assertEquals(session.rows, 4);
  session.resumeFrom({ rows: 3, step: 3, epoch: 0 });
  [4, 5].forEach(log);
  session.resumeFrom({ rows: 5, step: 4, epoch: 1 });
  assertEquals([session.segment, session.rows], [3, 6]);
  log(5);
  session.resumeFrom({ rows: 2, step: 2, epoch: 0 });
  log(3);
  await session.close();
  assertEquals(meta().segments.map(({ segment, from }) => [segment, from]), [
    [1, { rows: 0, step: 0, epoch: 0 }],
    [2, { rows: 3, step: 3, epoch: 0 }],
    [3, { rows: 5, step: 4, epoch: 1 }],
    [4, { rows: 2, step: 2, epoch: 0 }],
  ]);
  const { scalars, events } = readRun(session.dir, { files });
  assertEquals(scalars.map(({ segment, value, superseded }) => [segment, value, superseded]), [
    [1, 1, false],
    [1, 2, false],
    [1, 3, true],
    [1, 4, true],
    [2, 4, true],
    [2, 5, true],
    [3, 5, true],
    [4, 3, false],
  ]);
  assertEquals(currentScalars(scalars).map(({ value }) => value), [1, 2, 3]);
  assertEquals(readScalars(`${session.dir}/logs/scalars.csv`, { files }), scalars);
  const resumes = events.filter(({ event }) => event === "resume").map(({ fields }) => fields);
  assertEquals(resumes.at(-1), { segment: 4, rows: 2, step: 2, epoch: 0 });
});

Deno.test("RunSession.resumeFrom() refuses a cursor that is none and writes nothing", async () => {
  const { files, session } = await timedRun();
  session.logScalars({ a: 1, b: 2 });
  const before = files.log.length;
  const cases: [unknown, string][] = [
    [
      { rows: 3, step: 1, epoch: 0 },
      "row 3 of scalars.csv: expected at least as many rows, found 2",
    ],
    [{ rows: -1, step: 1, epoch: 0 }, "expected rows to be a whole number from 0, found -1"],
    [{ rows: 1, step: 1.5, epoch: 0 }, "expected step to be a whole number from 0, found 1.5"],
    [{ rows: 1, step: 1 }, "expected epoch to be a whole number from 0, found undefined"],
    [null, "expected rows to be a whole number from 0, found undefined"],
  ];
  for (const [cursor, message] of cases) {
    const resume = () => session.resumeFrom(cursor as never);
    assertThrows(resume, RangeError, message);
  }
  assertEquals([files.log.length, session.segment], [before, 1]);
  await session.close();
  const resume = () => session.resumeFrom({ rows: 0, step: 0, epoch: 0 });
  assertThrows(resume, TrackError, "Cannot resume: expected an open run");
});

Deno.test("TrackingCallback refuses a state that is none", async () => {
  const { session } = await timedRun();
  const tracking = new TrackingCallback(session);
  for (const state of [null, undefined, 3, { rows: 1 }, { run: "a" }, { run: "a", rows: 1.5 }]) {
    const load = () => tracking.load(state);
    assertThrows(load, TypeError, "Cannot resume the tracking: expected a run and its rows, found");
  }
  assertEquals(await tracking.state(), { run: session.id, rows: 0 });
  await session.close();
  assertEquals(await tracking.state(), { run: session.id, rows: 0 });
});

Deno.test("TrackingCallback.state() waits until the rows are on the device", async () => {
  const { files, session } = await timedRun();
  const tracking = new TrackingCallback(session, { every: 1, readEveryMs: 1e9 });
  const engine = new Engine(() => ({ loss: 1 }), new Context({ model: null }), {
    callbacks: [tracking],
  });
  const states: unknown[] = [];
  engine.on("stepEnd", async () => {
    const before = files.log.length;
    states.push((await tracking.state()).rows);
    const path = `${session.dir}/logs/scalars.csv`;
    assertEquals(files.log.slice(before).filter((line) => line.endsWith(path)).slice(-2), [
      `write ${path}`,
      `sync ${path}`,
    ]);
  }, { phase: "persist" });
  await engine.loop([1, 2, 3]);
  assertEquals(states, [1, 2, 3]);
  await session.close();
});

Deno.test("rows of a resumed run cannot be read without its record", async () => {
  const { files, session } = await timedRun();
  session.logScalars({ a: 1 });
  const path = `${session.dir}/logs/scalars.csv`;
  const one = files.read(path);
  session.resumeFrom({ rows: 0, step: 0, epoch: 0 });
  session.logScalars({ a: 2 });
  await session.close();
  files.files.set("/one.csv", one);
  assertEquals(readScalars("/one.csv", { files }).map(({ superseded }) => superseded), [false]);
  files.files.set("/two.csv", files.read(path));
  assertThrows(
    () => readScalars("/two.csv", { files }),
    SyntaxError,
    "Cannot read /two.csv, line 3: expected a meta.json beside its folder that tells the segments, " +
      "found segment 2",
  );
  const meta = JSON.parse(files.text(`${session.dir}/meta.json`));
  meta.segments.pop();
  files.files.set(`${session.dir}/meta.json`, new TextEncoder().encode(JSON.stringify(meta)));
  assertThrows(
    () => readRun(session.dir, { files }),
    SyntaxError,
    "scalars.csv, line 3: expected a segment that meta.json names, found segment 2",
  );
});

Deno.test({
  name: "run({ report }) writes the report when the run ends, however it ends",
  ignore: (await Promise.all(
    (["read", "write"] as const).map((name) => Deno.permissions.query({ name })),
  )).some(({ state }) => state !== "granted"),
  fn: async () => {
    const dir = await Deno.makeTempDir();
    try {
      const open = async (end: (session: RunSession) => void) => {
        const session = await run({ dir, report: true });
        session.logScalars({ loss: 0.5 }, { step: 1 });
        end(session);
        await session.close();
        return await Deno.readTextFile(`${session.dir}/report.html`);
      };
      assert((await open(() => {})).includes("completed"));
      assert((await open((s) => s.fail(new Error("no <data>")))).includes("no &lt;data&gt;"));
      assert((await open((s) => s.interrupt("SIGINT"))).includes("interrupted"));
      const without = await run({ dir }, (session) => session.dir);
      await assertRejects(() => Deno.stat(`${without}/report.html`), Deno.errors.NotFound);
      // a folder of that name is in the way
      const session = await run({ dir, report: true });
      await Deno.mkdir(`${session.dir}/report.html/x`, { recursive: true });
      await session.close();
      const { meta, events } = readRun(session.dir);
      assertEquals(meta.status, "completed");
      assertEquals(events.map(({ event }) => event), ["reportFailed"]);
      assert(String(events[0].fields.reason).includes("report.html"), `${events[0].fields.reason}`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
