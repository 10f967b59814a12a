import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { CheckpointError, CheckpointStore } from "../../track/mod.ts";
import {
  CrashingFiles,
  type CrashPlan,
  Killed,
  type Lie,
  type Survival,
} from "./checkpoint_crash_files.ts";
import { catchWarnings, checkContent, contentOf, takeWarnings } from "./checkpoint_parts.ts";

const DIR = "/runs/a/checkpoints";
const STEPS = [1, 2, 3, 4, 5, 3, 6];

function open(files: CrashingFiles): CheckpointStore {
  const now = () => new Date(Date.UTC(2026, 0, 1));
  return new CheckpointStore(DIR, {
    files,
    now,
    last: 2,
    best: { metric: "loss", mode: "min" },
  });
}

/** Saves until the end or the crash; returns how many saves were acknowledged. */
async function train(files: CrashingFiles): Promise<number> {
  const store = open(files);
  for (const [done, step] of STEPS.entries()) {
    try {
      await store.save(contentOf(step, { loss: Math.abs(step - 2) }));
    } catch (error) {
      const cause = error instanceof CheckpointError ? error.cause : error;
      assertInstanceOf(cause, Killed);
      return done;
    }
  }
  return STEPS.length;
}

/** Why the folder does not keep the promise, or null. */
async function brokenPromise(files: CrashingFiles, done: number): Promise<string | null> {
  const store = open(files);
  takeWarnings();
  let loaded: number | null = null;
  try {
    const checkpoint = await store.load("last");
    loaded = checkContent(checkpoint).step;
    if (checkpoint.skipped.length > 0) return `skipped ${checkpoint.skipped[0].message}`;
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    if (error.reason !== "absent" || done > 0) return error.message;
  }
  // the last one acknowledged, or the one that was just being saved
  const allowed: (number | null)[] = [STEPS[done - 1] ?? null, STEPS[done] ?? null];
  if (!allowed.includes(loaded)) return `loaded ${loaded} after ${done} saves`;
  for (const { step } of await store.entries()) {
    const sound = await store.load(step).then(checkContent, (error) => error as Error);
    if (sound instanceof Error) return sound.message;
  }
  const damage = takeWarnings().filter((line) => !line.includes("it is made again from the files"));
  if (damage.length > 0) return damage[0];

  // and training goes on, without anything that the crash left
  await store.save(contentOf(9, { loss: 9 }));
  const kept = (await store.entries()).map((entry) => entry.file);
  const names = files.list(DIR).map((entry) => entry.name);
  assertEquals(names.toSorted(), [...kept, "index.json"].toSorted());
  assert(kept.length <= 4 && kept.includes("step-00000009.safetensors"));
  return null;
}

async function operations(lies: readonly Lie[] = []): Promise<string[]> {
  const files = new CrashingFiles(undefined, lies);
  assertEquals(await train(files), STEPS.length);
  assertEquals(await brokenPromise(files, STEPS.length), null);
  return files.log;
}

const KINDS = ["before", "half", "after"] as const;

/** Cuts off at every operation, in each way; returns the broken promises. */
async function crashEverywhere(
  survivals: (seed: number) => Survival[],
  lies: readonly Lie[] = [],
): Promise<{ broken: string[]; crashes: number }> {
  const names = await operations(lies);
  const broken: string[] = [];
  let crashes = 0;
  for (const [i, name] of names.entries()) {
    const at = i + 1;
    for (const kind of KINDS) {
      if (kind === "half" && !name.startsWith("write")) continue;
      for (const survival of survivals(at * 3 + KINDS.indexOf(kind))) {
        const plan: CrashPlan = { at, kind };
        const files = new CrashingFiles(undefined, lies);
        files.plan = plan;
        const done = await train(files);
        const operation = files.log.at(-1);
        const problem = await brokenPromise(files.afterCrash(survival), done);
        if (problem !== null) broken.push(`${kind} operation ${at}, ${operation}: ${problem}`);
        crashes++;
      }
    }
  }
  return { broken, crashes };
}

/** Random numbers in [0, 1) of a seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test(name, catchWarnings(fn));
}

test("a program killed at any file operation finds its newest whole checkpoint", async () => {
  const { broken, crashes } = await crashEverywhere(() => ["all"]);
  assertEquals(broken, []);
  assert(crashes > 300, `only ${crashes} crashes`);
});

test("so does one whose unsynced writes are lost", async () => {
  assertEquals((await crashEverywhere(() => ["none"])).broken, []);
});

test("so does one whose unsynced writes arrive in part and in any order", async () => {
  const survivals = (seed: number) => [random(seed), random(seed + 1e6)];
  assertEquals((await crashEverywhere(survivals)).broken, []);
});

test("the crashes notice a store that does not sync", async () => {
  for (const lie of ["sync", "syncFolder"] as const) {
    const { broken } = await crashEverywhere((seed) => ["none", random(seed)], [lie]);
    assert(broken.length > 10, `without ${lie} only ${broken.length} promises are broken`);
  }
});
