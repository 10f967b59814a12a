/**
 * A training whose device is lost: at any call of the device it ends in an error that says so, nothing wrong is saved or logged,
 * and on another device it goes on from its last checkpoint to the bits of a run that nothing disturbed.
 */

import { assert, assertEquals } from "@std/assert";
import { type Device, DeviceLostError, tensor } from "../../../core/mod.ts";
import { CheckpointStore, readRun, run } from "../../../track/mod.ts";
import { dice, type Roll } from "../../fuzz.ts";
import { MemoryFiles } from "../../track/memory_files.ts";
import { contentOf, wholeTraining } from "../../track/whole_training.ts";
import { gpu } from "../../util.ts";
import { type GpuCall, type LossPlan, lossyDevice } from "./lossy_gpu.ts";

const canUseEnv = (await Deno.permissions.query({ name: "env" })).state === "granted";
/** LEGOML_LOSSES=200 is the run before a release. */
const COUNT = Number((canUseEnv && Deno.env.get("LEGOML_LOSSES")) || 4);
const DIR = "/checkpoints";

interface Outcome {
  readonly files: MemoryFiles;
  readonly error: unknown;
  /** Values that were logged, by step and name. */
  readonly logged: Map<string, number | null>;
}

/** Trains from the last checkpoint there is to the end, or to an error. */
async function train(device: Device, files: MemoryFiles, captured: boolean): Promise<Outcome> {
  const session = await run({ dir: "/runs", files });
  const store = new CheckpointStore(DIR, { files, last: 100 });
  let error: unknown = null;
  try {
    const training = wholeTraining({ device, store, session, captured, everySteps: 2, width: 8 });
    await training.checkpoints!.resume(training.trainer);
    await training.run();
  } catch (thrown) {
    error = thrown;
  }
  await session.close();
  const rows = readRun(session.dir, { files }).scalars;
  const logged = new Map(rows.map(({ key, step, value }) => [`${step} ${key}`, value]));
  assertEquals(logged.size, rows.length);
  return { files, error, logged };
}

interface Undisturbed {
  /** The numbers of the calls of each kind. */
  readonly calls: ReadonlyMap<GpuCall, readonly number[]>;
  readonly logged: Map<string, number | null>;
  readonly contents: Map<number, string>;
}

async function undisturbed(captured: boolean): Promise<Undisturbed> {
  const { device, calls } = await lossyDevice(null);
  const { files, error, logged } = await train(device, new MemoryFiles(), captured);
  if (error !== null) throw error;
  const numbers = Map.groupBy(calls.keys(), (i) => calls[i]);
  device.close();
  const store = new CheckpointStore(DIR, { files });
  const contents = new Map<number, string>();
  for (const { step } of await store.entries()) contents.set(step, await contentOf(store, step));
  assertEquals([...contents.keys()], [2, 4, 6, 8, 9]);
  return { calls: numbers, logged, contents };
}

/** A call of any kind: most of all calls are of few kinds. */
function anyPlan({ calls }: Undisturbed, roll: Roll): LossPlan {
  const numbers = [...calls.values()][roll(calls.size)];
  return { at: 1 + numbers[roll(numbers.length)], when: roll(2) === 0 ? "before" : "after" };
}

/** Everything that was saved or logged is what it would have been without the loss. */
async function checkSame({ files, logged }: Outcome, want: Undisturbed): Promise<number> {
  const store = new CheckpointStore(DIR, { files });
  const entries = await store.entries();
  for (const { step } of entries) {
    assert(await contentOf(store, step) === want.contents.get(step), `checkpoint of step ${step}`);
  }
  for (const [name, value] of logged) assertEquals(value, want.logged.get(name), name);
  return entries.length;
}

function checkError(error: unknown): void {
  const isOurs = error instanceof DeviceLostError &&
    error.message.startsWith("The device was lost");
  assert(isOurs, `${error}\n${(error as Error)?.stack}`);
}

Deno.test({
  name: `a training whose device is lost at ${COUNT} random calls loses nothing that was saved`,
  ignore: gpu === null,
  async fn() {
    const wants = { true: await undisturbed(true), false: await undisturbed(false) };
    const healthy = await lossyDevice(null);
    const roll = dice(2026);
    const ends: Record<string, number> = {};
    const start = performance.now();
    for (let i = 0; i < COUNT; i++) {
      const captured = roll(2) === 0;
      const want = wants[`${captured}`];
      const plan = anyPlan(want, roll);
      const what = `loss ${i}, ${captured ? "captured" : "eager"}, ${plan.when} call ${plan.at}`;
      try {
        const lossy = await lossyDevice(plan);
        const outcome = await train(lossy.device, new MemoryFiles(), captured);
        const saved = await checkSame(outcome, want);
        // Behind the last read, or where a busy machine reads less often, nothing is missing.
        if (outcome.error === null) assertEquals(saved, want.contents.size);
        else checkError(outcome.error);
        const again = await train(healthy.device, outcome.files, captured);
        assertEquals(again.error, null);
        assertEquals(await checkSame(again, want), want.contents.size);
        const name = (outcome.error as Error | null)?.name ?? "done";
        for (const end of [name, lossy.lostAt() ?? "not lost"]) ends[end] = (ends[end] ?? 0) + 1;
      } catch (cause) {
        throw new Error(`${what}: ${(cause as Error).message}`, { cause });
      }
    }
    healthy.device.close();
    assert((ends["not lost"] ?? 0) <= COUNT / 10, JSON.stringify(ends));
    if (COUNT > 4) {
      const seconds = ((performance.now() - start) / 1000).toFixed(0);
      console.log(`${COUNT} losses in ${seconds} s:`, ends);
    }
  },
});

Deno.test({
  name: "a read whose device is lost on the way says so, at each of its calls",
  ignore: gpu === null,
  async fn() {
    const { device: whole, calls } = await lossyDevice(null);
    assertEquals(await tensor([1, 2], { device: whole }).mul(2).array(), [2, 4]);
    whole.close();
    for (const when of ["before", "after"] as const) {
      for (let at = 1 + calls.indexOf("submit"); at <= calls.length; at++) {
        const { device, lostAt } = await lossyDevice({ at, when });
        const what = `${when} ${calls[at - 1]}`;
        try {
          // Read before the loss, or not at all: never zeros.
          assertEquals(await tensor([1, 2], { device }).mul(2).array(), [2, 4], what);
        } catch (error) {
          if (!(error instanceof DeviceLostError)) throw error;
        }
        assertEquals(lostAt(), calls[at - 1], what);
      }
    }
  },
});
