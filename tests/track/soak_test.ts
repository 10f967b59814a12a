/** A long training with all callbacks: the same buffers and bytes at its end as after its first steps, and memory that does not grow. */

import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "@std/assert";
import {
  type Callback,
  GradNormCallback,
  LrMonitorCallback,
  TimingCallback,
} from "../../core/mod.ts";
import { CheckpointStore, readRun, run } from "../../track/mod.ts";
import { ownDevice } from "../core/devices.ts";
import { canRun } from "../examples/command.ts";
import { f32Devices } from "../util.ts";
import { wholeTraining } from "./whole_training.ts";

/** LEGOML_SOAK=10000 is the run before a release. */
const STEPS = Number((canRun && Deno.env.get("LEGOML_SOAK")) || 200);
const IMAGES = 64;
/** Four batches of 16 images each. */
const STEPS_PER_EPOCH = 4;
const FIRST = STEPS >= 1000 ? 100 : 60;

/** What is counted at the end of an epoch. */
interface Count {
  readonly step: number;
  readonly liveBuffers: number;
  readonly liveBytes: number;
  readonly pooledBytes: number;
  readonly buffers: number;
}

/** Memory of the host after a collection, in bytes. */
interface Host {
  readonly step: number;
  readonly heap: number;
  readonly rss: number;
}

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

function hostAt(step: number): Host {
  collect();
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return { step, heap: heap + external, rss: Deno.memoryUsage().rss };
}

/** Bytes for each step, of the line that fits best. */
function slope(points: readonly Host[], of: "heap" | "rss"): number {
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [x, y] = [mean(points.map(({ step }) => step)), mean(points.map((p) => p[of]))];
  const over = points.reduce((sum, p) => sum + (p.step - x) * (p[of] - y), 0);
  return over / points.reduce((sum, p) => sum + (p.step - x) ** 2, 0);
}

async function soak(kind: string, captured: boolean): Promise<void> {
  // One of its own, as buffers of other tests wait for the collector.
  const device = await ownDevice({ kind });
  const dir = await Deno.makeTempDir({ prefix: "legoml_soak_" });
  const counts: Count[] = [];
  const hosts: Host[] = [];
  const counting: Callback = {
    name: "counting",
    phase: "display",
    // Losses that wait to be logged have been written by then.
    onEpochEnd({ state: { globalStep: step } }) {
      if (step === FIRST || step === STEPS) {
        const { liveBuffers, liveBytes, pooledBytes } = device.memory();
        counts.push({ step, liveBuffers, liveBytes, pooledBytes, buffers: device.work().buffers });
      }
      if (step % (STEPS / 20) === 0 && step >= STEPS / 4) hosts.push(hostAt(step));
    },
  };
  const start = performance.now();
  try {
    await run({ dir }, async (session) => {
      const training = wholeTraining({
        device,
        captured,
        session,
        store: new CheckpointStore(session.checkpointsDir, { last: 2 }),
        everySteps: STEPS / 10,
        images: IMAGES,
        epochs: STEPS / STEPS_PER_EPOCH,
        width: 8,
        readEveryMs: 200,
        callbacks: [
          new GradNormCallback() as Callback,
          new LrMonitorCallback() as Callback,
          new TimingCallback({ write: () => {} }) as Callback,
          counting,
        ],
      });
      await training.run();
      assertEquals(training.trainer.state.globalStep, STEPS);
      assert(training.trainer.state.metrics.accuracy > 0.8, "it learned meanwhile");
      const { scalars } = readRun(session.dir);
      assertEquals(scalars.filter(({ key }) => key === "step/loss").length, STEPS);
    });
  } finally {
    device.close();
    await Deno.remove(dir, { recursive: true });
  }
  const [{ step: _first, ...first }, { step: _last, ...last }] = counts;
  assertEquals(last, first);
  const [heap, rss] = [slope(hosts, "heap"), slope(hosts, "rss")];
  if (STEPS > 200) {
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    console.log(
      `${device.kind}, ${captured ? "captured" : "eager"}: ${STEPS} steps in ${seconds} s, ` +
        `${last.liveBuffers} buffers of ${mib(last.liveBytes)} live; heap from ` +
        `${mib(hosts[0].heap)} to ${mib(hosts.at(-1)!.heap)}, ${heap.toFixed(1)} bytes a step; ` +
        `RSS from ${mib(hosts[0].rss)} to ${mib(hosts.at(-1)!.rss)}, ${
          rss.toFixed(1)
        } bytes a step`,
    );
  }
  // An object or two a step that are kept; of few steps, code that is being compiled is most of it.
  if (STEPS >= 10_000) assert(heap < 128, `the heap grows by ${heap} bytes a step`);
}

for (const device of f32Devices) {
  for (const captured of [false, true]) {
    Deno.test({
      name: `a training of ${STEPS} steps with all callbacks takes no more memory at its end, ${
        captured ? "captured" : "eager"
      }, ${device.kind}`,
      ignore: !canRun,
      fn: () => soak(device.kind, captured),
    });
  }
}
