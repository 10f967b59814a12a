import { assertEquals, assertRejects } from "@std/assert";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { readRun, run, type RunOptions, type RunSink } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

/** A sink that notes its calls, and throws at the n-th of one kind. */
function noting(name: string, fail?: { action: string; at: number }) {
  const calls: unknown[][] = [];
  const note = (action: string, ...args: unknown[]) => {
    calls.push([action, ...args]);
    const count = calls.filter(([each]) => each === action).length;
    if (fail?.action === action && fail.at === count) {
      throw Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
    }
  };
  const sink: RunSink = {
    name,
    open: ({ files: _, ...run }) => note("open", run),
    scalars: (values, { time: _, ...at }) => note("scalars", values, at),
    resumed: (step) => note("resumed", step),
    close: () => note("close"),
  };
  return { sink, calls };
}

/** Runs a test with all warnings of the tracker. */
async function withWarnings(test: (warnings: LogRecord[]) => Promise<void>): Promise<void> {
  const warnings: LogRecord[] = [];
  await configure({
    sinks: { list: (record) => void (record.level === "warning" && warnings.push(record)) },
    loggers: [
      { category: "legoml", sinks: ["list"], lowestLevel: "debug" },
      { category: ["logtape", "meta"], sinks: [], lowestLevel: "fatal" },
    ],
  });
  try {
    await test(warnings);
  } finally {
    await reset();
  }
}

async function trained(sinks: readonly RunSink[], more: RunOptions = {}) {
  const files = more.files as MemoryFiles ?? new MemoryFiles();
  const dir = await run({ dir: "/runs", files, sinks, ...more }, (session) => {
    session.logScalars({ loss: 1, "train/x": NaN }, { step: 1, split: "train" });
    session.logScalars({ lr: null }, { epoch: 2, samples: 64 });
    session.resumeFrom({ rows: 2, step: 1, epoch: 0 });
    session.logScalars({ loss: 0.5 }, { step: 2 });
    return session.dir;
  });
  return { files, dir };
}

Deno.test("a sink gets what is logged, with full names and places", async () => {
  const { sink, calls } = noting("a");
  const { dir, files } = await trained([sink]);
  const id = dir.slice("/runs/".length);
  assertEquals(calls, [
    ["open", { dir, id, segment: 1 }],
    ["scalars", { "train/loss": 1, "train/x": NaN }, { step: 1, epoch: null, samples: null }],
    ["scalars", { lr: null }, { step: null, epoch: 2, samples: 64 }],
    ["resumed", 1],
    ["scalars", { loss: 0.5 }, { step: 2, epoch: null, samples: null }],
    ["close"],
  ]);
  calls.length = 0;
  await run({ resume: dir, files, sinks: [sink] }, () => {});
  assertEquals(calls, [["open", { dir, id, segment: 3 }], ["close"]]);
});

Deno.test("a sink gets nothing that could not be written", async () => {
  const files = new MemoryFiles();
  const { sink, calls } = noting("a");
  const session = await run({ dir: "/runs", files, sinks: [sink] });
  files.plan = { at: files.log.length + 2, kind: "half" };
  await assertRejects(() => Promise.try(() => session.logScalars({ a: 1 })), Error, "ENOSPC");
  session.logScalars({ a: 2 });
  await session.close();
  assertEquals(calls.filter(([action]) => action === "scalars").map(([, values]) => values), [
    { a: 2 },
  ]);
});

for (
  const [action, count] of [["open", 1], ["scalars", 3], ["resumed", 1], ["close", 1]] as const
) {
  for (let at = 1; at <= count; at++) {
    Deno.test(`a sink that throws at its ${action} ${at} is warned of once, and dropped`, () =>
      withWarnings(async (warnings) => {
        const bad = noting("bad", { action, at });
        const good = noting("good");
        const { files, dir } = await trained([bad.sink, good.sink]);
        const { meta, scalars, events } = readRun(dir, { files });
        assertEquals([meta.status, scalars.length], ["completed", 4]);
        assertEquals(good.calls.length, 6, "the others go on");
        const last = bad.calls.slice(action === "close" ? -1 : -2).map(([each]) => each);
        assertEquals(last, action === "close" ? ["close"] : [action, "close"]);
        assertEquals(bad.calls.filter(([each]) => each === action).length, at);
        const told = events.filter(({ event }) => event === "sinkFailed");
        const reason = "ENOSPC: No space left on device";
        assertEquals(told.map(({ fields }) => fields), [{ sink: "bad", action, reason }]);
        assertEquals(warnings.map(({ properties }) => properties), [
          { sink: "bad", action, reason },
        ]);
      }));
  }
}

Deno.test("a sink that throws on a full disk does not end the run", () =>
  withWarnings(async (warnings) => {
    const files = new MemoryFiles();
    let closed = 0;
    const sink: RunSink = {
      name: "full",
      open: () => {},
      scalars: () => {
        files.plan = { at: files.log.length + 1, kind: "before" };
        throw new Error("full");
      },
      close: () => void closed++,
    };
    const session = await run({ dir: "/runs", files, sinks: [sink] });
    session.logScalars({ a: 1 });
    await session.close();
    assertEquals(readRun(session.dir, { files }).meta.status, "completed");
    assertEquals(warnings.length, 2, "one of the sink, one of the event that could not be written");
    assertEquals(closed, 1, "what it holds is given back");
  }));

Deno.test("run() refuses sinks that are none", async () => {
  const files = new MemoryFiles();
  const { sink } = noting("a");
  for (const sinks of [sink, [null], [{ ...sink, name: 3 }], [{ ...sink, scalars: undefined }]]) {
    await assertRejects(
      () => run({ dir: "/runs", files, sinks: sinks as never }),
      TypeError,
      "Cannot open a run: expected sinks to be sinks, found",
    );
  }
  assertEquals(files.files.size, 0);
});
