import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Context, Engine, type EngineSnapshot } from "../../core/engine/mod.ts";
import { currentScalars, readRun, run, type ScalarRow, TrackingCallback } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

const BATCHES = [1, 2, 3, 4];
const STEPS = 12;

/** A training whose values depend on all steps before: a resumed one that lost any would differ. */
function trainer(session: Parameters<typeof track>[0], every: number, readEveryMs: number) {
  const engine = new Engine(
    (engine, x: number) => {
      sum = Math.fround(sum * 1.25 + x * engine.state.current.step);
      return { loss: sum, count: x };
    },
    new Context({ model: null }),
    { callbacks: [track(session, every, readEveryMs)] },
  );
  let sum = 0;
  engine.on("epochEnd", ({ state }) => {
    Object.assign(state.metrics, { mean: sum / state.localStep, "eval/score": -sum });
  }, { phase: "metrics" });
  const save = async (): Promise<Saved> => ({ engine: await engine.snapshot(), sum });
  const load = async (saved: Saved) => {
    sum = saved.sum;
    await engine.restore(structuredClone(saved.engine));
  };
  return { engine, save, load };
}

interface Saved {
  readonly engine: EngineSnapshot;
  readonly sum: number;
}

function track(
  session: ConstructorParameters<typeof TrackingCallback>[0],
  every: number,
  readEveryMs: number,
): TrackingCallback {
  let time = 0;
  return new TrackingCallback(session, { every, readEveryMs, now: () => time += 10 });
}

/** The batches that are left of the epoch that was saved, then whole epochs. */
const rest = ({ engine: { state } }: Saved) => ({
  length: BATCHES.length,
  left: state.inEpoch ? BATCHES.slice(state.localStep) : BATCHES,
  *[Symbol.iterator]() {
    yield* this.left;
    this.left = BATCHES;
  },
});

const values = (rows: readonly ScalarRow[]) =>
  rows.map(({ step, epoch, samples, key, value }) => [step, epoch, samples, key, value]);

async function uninterrupted(every: number, readEveryMs: number) {
  const files = new MemoryFiles();
  return await run({ dir: "/runs", files }, async (session) => {
    await trainer(session, every, readEveryMs).engine.loop(BATCHES, { maxSteps: STEPS });
    return values(readRun(session.dir, { files }).scalars);
  });
}

interface Cut {
  /** Steps before the checkpoint. */
  readonly at: number;
  /** Steps behind it that a run which dies still logs; null where a signal ends it in order. */
  readonly more: number | null;
  readonly every: number;
  readonly readEveryMs: number;
}

/** Trains up to a checkpoint, ends, and goes on in the same folder; gives all that was logged. */
async function cutRun({ at, more, every, readEveryMs }: Cut) {
  const files = new MemoryFiles();
  const first = await run({ dir: "/runs", files });
  const a = trainer(first, every, readEveryMs);
  let saved: Saved | undefined;
  if (more === null) {
    a.engine.on("engineEnd", async () => void (saved = await a.save()), { phase: "persist" });
    await a.engine.loop(BATCHES, { maxSteps: at });
    await first.close("interrupted");
  } else {
    // the folder as it is when the process dies, with half a line of what comes next
    let dead: [string, Uint8Array][] = [];
    a.engine.on("stepEnd", async ({ state }) => {
      if (state.globalStep === at) saved = await a.save();
      if (state.globalStep !== at + more) return;
      dead = [...files.files].map(([path, bytes]) => [path, bytes.slice()]);
    }, { phase: "persist" });
    await a.engine.loop(BATCHES, { maxSteps: at + more });
    files.files.clear();
    for (const [path, bytes] of dead) {
      const isLog = path.includes("/logs/");
      const torn = new TextEncoder().encode(isLog ? `2026-01-01T00:00:00.000Z,1,"é` : "");
      files.files.set(path, Uint8Array.of(...bytes, ...torn));
    }
  }
  const second = await run({ resume: first.dir, files, force: true });
  const b = trainer(second, every, readEveryMs);
  await b.load(saved!);
  await b.engine.loop(rest(saved!), { maxSteps: STEPS - at });
  await second.close();
  return readRun(first.dir, { files });
}

for (
  const { every, readEveryMs } of [{ every: 1, readEveryMs: 0 }, { every: 3, readEveryMs: 65 }]
) {
  const what = `values of every ${every} step${every > 1 ? "s, read together" : ""}`;

  Deno.test(`a resumed run has the values of one that never stopped, cut at each step: ${what}`, async () => {
    const expected = await uninterrupted(every, readEveryMs);
    assert(expected.length >= STEPS / every + 6);
    for (let at = 1; at < STEPS; at++) {
      const { meta, scalars } = await cutRun({ at, more: null, every, readEveryMs });
      assertEquals(values(currentScalars(scalars)), expected, `cut at ${at}`);
      assertEquals(meta.status, "completed");
      assertEquals(meta.segments.map(({ segment, from }) => [segment, from?.step ?? null]), [
        [1, null],
        [2, at],
      ]);
      // in the middle of an epoch its metrics so far were logged, and no longer count
      const gone = scalars.filter((row) => row.superseded);
      const partial = at % BATCHES.length === 0 ? [] : [[at, "train/mean"], [at, "eval/score"]];
      assertEquals(gone.map(({ step, key }) => [step, key]), partial, `cut at ${at}`);
    }
  });

  Deno.test(`rows behind the checkpoint of a run that died are superseded: ${what}`, async () => {
    const expected = await uninterrupted(every, readEveryMs);
    for (let at = 1; at < STEPS; at++) {
      for (const more of [0, 1, 2, 5].filter((n) => at + n < STEPS)) {
        const { scalars, events } = await cutRun({ at, more, every, readEveryMs });
        const label = `saved at ${at}, died at ${at + more}`;
        assertEquals(values(currentScalars(scalars)), expected, label);
        const gone = scalars.filter((row) => row.superseded);
        // the checkpoint of an epoch's last step lies before the metrics of that epoch
        const isLater = ({ step, key }: ScalarRow) => step! > at || !key.startsWith("step/");
        assert(gone.every((row) => row.segment === 1 && isLater(row)), label);
        if (every === 1) assert(gone.length >= more - 1 && (more < 2 || gone.length > 0), label);
        const reopened = events.find(({ event }) => event === "reopened")!;
        assertEquals((reopened.fields.cut as Record<string, number>)["events.jsonl"], 30, label);
      }
    }
  });
}

Deno.test("without the cursor the values would not be those of one run", async () => {
  const { scalars } = await cutRun({ at: 6, more: 3, every: 1, readEveryMs: 0 });
  const expected = await uninterrupted(1, 0);
  assertNotEquals(values(scalars), expected);
  assertEquals(values(currentScalars(scalars)), expected);
});

Deno.test("a run may be resumed again and again, also from before the last cursor", async () => {
  const files = new MemoryFiles();
  const expected = await uninterrupted(1, 0);
  const saves = new Map<number, Saved>();
  let dir: string | undefined;
  for (const [from, to] of [[0, 7], [5, 9], [3, 6], [6, 11], [2, STEPS]]) {
    const session = await run({ dir: "/runs", files, ...dir === undefined ? {} : { resume: dir } });
    dir = session.dir;
    const { engine, save, load } = trainer(session, 1, 0);
    engine.on("stepEnd", async ({ state }) => void saves.set(state.globalStep, await save()), {
      phase: "persist",
    });
    const saved = saves.get(from);
    if (saved !== undefined) await load(saved);
    await engine.loop(saved ? rest(saved) : BATCHES, { maxSteps: to - from });
    await session.close();
  }
  const { meta, scalars } = readRun(dir!, { files });
  assertEquals(values(currentScalars(scalars)), expected);
  assertEquals(meta.segments.map(({ from }) => from?.step ?? null), [null, 5, 3, 6, 2]);
});

Deno.test("a checkpoint of another run supersedes nothing", async () => {
  const files = new MemoryFiles();
  const first = await run({ dir: "/runs", files });
  const a = trainer(first, 1, 0);
  await a.engine.loop(BATCHES, { maxSteps: 6 });
  const saved = await a.save();
  await first.close();
  const second = await run({ dir: "/runs", files });
  second.logScalars({ a: 1 });
  const b = trainer(second, 1, 0);
  await b.load(saved);
  await b.engine.loop(rest(saved), { maxSteps: STEPS - 6 });
  await second.close();
  const { meta, scalars, events } = readRun(second.dir, { files });
  assertEquals(meta.segments.length, 1);
  assert(scalars.every((row) => !row.superseded) && scalars[0].key === "a");
  const { fields } = events.find(({ event }) => event === "resumeFromRun")!;
  assertEquals([fields.run, fields.step], [first.id, 6]);
});

Deno.test("a second loop of the same engine keeps the metrics of an epoch that was cut short", async () => {
  const files = new MemoryFiles();
  const session = await run({ dir: "/runs", files });
  const { engine, save, load } = trainer(session, 1, 0);
  await engine.loop(BATCHES, { maxSteps: 2 });
  const saves: Saved[] = [];
  engine.on("stepEnd", async () => void saves.push(await save()), { phase: "persist" });
  await engine.loop(BATCHES, { maxSteps: 3 });
  // went on in the same session: a segment of its own
  await load(saves[1]);
  await engine.loop(rest(saves[1]), { maxSteps: 1 });
  await session.close();
  const { meta, scalars } = readRun(session.dir, { files });
  assertEquals(meta.segments.map(({ from }) => from), [null, { rows: 6, step: 4, epoch: 0 }]);
  const kept = currentScalars(scalars).map(({ segment, step, key }) => [segment, step, key]);
  assertEquals(kept.slice(0, 6), [
    [1, 1, "step/loss"],
    [1, 2, "step/loss"],
    [1, 2, "train/mean"],
    [1, 2, "eval/score"],
    [1, 3, "step/loss"],
    [1, 4, "step/loss"],
  ]);
  assertEquals(kept.slice(6).map(([segment, step]) => [segment, step]), [[2, 5], [2, 5], [2, 5]]);
});
