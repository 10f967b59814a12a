/**
 * Times training steps of this library: Adam and cross-entropy on resident batches.
 *
 *   deno task bench:step --model tinycnn --batch 64 --steps 5 --json
 *
 * `msPerStep` is the median over the repeats of (so many steps and one read of the loss) / steps;
 * `msPerStepBest` the least of them. `firstStepMs` holds capture and compilation. `gflops` counts
 * the matrix products and convolutions of a step over its time. Counts are those of one step.
 */

import { parseArgs } from "@std/cli/parse-args";
import type { Device } from "../../mod.ts";
import { countOf, refuse } from "./flags.ts";
import { modelOf, models } from "./models.ts";
import { openOurs, type OurTrainer } from "./ours.ts";
import { measure, median } from "./trainer.ts";

/** Floating-point operations that the kernels of one step count; runs the step. */
function flopsOf(device: Device, step: () => void): number {
  let flops = 0;
  const stop = device.intercept({
    record: (call) => {
      flops += call.kernel.flops ?? 0;
      device.backend.run(call);
    },
  });
  step();
  stop();
  return flops;
}

/** Milliseconds that the host needs to issue a step to an idle device: the median of some. */
async function hostMs({ device, step }: OurTrainer): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 9; i++) {
    await device.sync();
    const start = performance.now();
    step();
    times.push(performance.now() - start);
  }
  return median(times);
}

const flags = parseArgs(Deno.args, {
  string: ["model", "batch", "steps", "repeats", "device"],
  boolean: ["json", "eager"],
  default: { model: "tinycnn", repeats: "5", device: "auto" },
  unknown: refuse(
    `--model ${
      Object.keys(models).join("|")
    } --batch --steps --repeats --device webgpu|cpu|reference ` +
      "--eager --json",
  ),
});
const model = modelOf(flags.model, flags.batch ? countOf("batch", flags.batch) : undefined);
const stepsPerRead = flags.steps ? countOf("steps", flags.steps) : model.stepsPerRead;
const repeats = countOf("repeats", flags.repeats);
const trainer = await openOurs(model, { kind: flags.device as "auto", eager: flags.eager });
const { device } = trainer;
const measurement = await measure(trainer, { stepsPerRead, repeats });
const { counts, msPerStep } = measurement;
const host = await hostMs(trainer);
// Only calls of WebGPU are counted from outside.
const calls = device.work().dispatches;
trainer.step();
const dispatches = device.work().dispatches - calls;
// Taken before the step that counts operations, which runs op by op and needs more.
const peakBytes = device.memory().peakBytes;
const flops = flopsOf(device, trainer.eagerStep);
const result = {
  model: model.name,
  batch: model.batch,
  device: flags.device === "auto" ? device.kind : flags.device,
  adapter: device.name,
  mode: flags.eager ? "eager" : "jit",
  msPerStep,
  msPerStepBest: Math.min(...measurement.repeats),
  dispatches,
  submits: counts.submits,
  bindGroupsCreated: counts.bindGroups,
  buffersCreated: counts.buffers,
  pipelinesCreated: counts.pipelines,
  writes: counts.writes,
  peakBytes,
  firstStepMs: measurement.firstStepMs,
  gflops: flops / msPerStep / 1e6,
  hostUsPerDispatch: host * 1000 / dispatches,
  loss: measurement.losses.at(-1),
};
if (flags.json) console.log(JSON.stringify(result));
else console.table(result);
trainer.close();
