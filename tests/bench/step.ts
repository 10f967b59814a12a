/**
 * Times training steps: Adam and cross-entropy on fixed random data.
 *
 *   deno task bench:step --model tinycnn --batch 64 --steps 5 --json
 *
 * `msPerStep` is the median of whole steps with one wait each, less the median cost of a wait on an idle device; `hostUsPerDispatch` is
 * the time that the host needs to record, encode and submit a step, per dispatch, the median over steps that start with
 * an idle device.
 */

import { parseArgs } from "@std/cli/parse-args";
import {
  Adam,
  Conv2d,
  crossEntropy,
  Flatten,
  getDevice,
  Linear,
  MaxPool2d,
  type Module,
  ReLU,
  seedScope,
  Sequential,
  type Tensor,
  tensor,
  TinyCNNNode,
} from "../../mod.ts";
import { threefry2x32 } from "../../core/mod.ts";

interface Model {
  readonly module: Module;
  readonly input: readonly number[];
}

function mlp(...sizes: number[]): Module {
  return new Sequential(
    ...sizes.slice(1).flatMap((n, i) =>
      i === sizes.length - 2 ? [new Linear(sizes[i], n)] : [new Linear(sizes[i], n), new ReLU()]
    ),
  );
}

function buildModel(name: string): Model {
  using _ = seedScope(1);
  switch (name) {
    case "mlp":
      return { module: mlp(784, 256, 128, 10), input: [784] };
    case "small":
      return { module: mlp(784, 64, 32, 10), input: [784] };
    case "tinycnn":
      return { module: new TinyCNNNode().build({ seed: 1 }), input: [1, 28, 28] };
    case "convnet":
      return {
        module: new Sequential(
          new Conv2d(1, 24, { kernelSize: 5 }),
          new MaxPool2d({ kernelSize: 2 }),
          new ReLU(),
          new Conv2d(24, 32, { kernelSize: 3 }),
          new MaxPool2d({ kernelSize: 2 }),
          new ReLU(),
          new Flatten(),
          new Linear(800, 128),
          new ReLU(),
          new Linear(128, 10),
        ),
        input: [1, 28, 28],
      };
    default:
      throw new RangeError(`Cannot build model ${name}: expected mlp, small, tinycnn or convnet`);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

const flags = parseArgs(Deno.args, {
  string: ["model", "batch", "steps", "device"],
  boolean: ["json"],
  default: { model: "tinycnn", batch: "64", steps: "10", device: "auto" },
});
const device = await getDevice({ kind: flags.device as "auto" });
const { module, input } = buildModel(flags.model);
const batch = Number(flags.batch);
const steps = Number(flags.steps);
const optimizer = new Adam(module.parameters(), { lr: 1e-3 });
const pixels = Float32Array.from(
  { length: batch * input.reduce((a, b) => a * b) },
  (_, i) => threefry2x32(1, 2, i, 0)[0] / 2 ** 31 - 1,
);
const inputs = tensor(pixels, { device, shape: [batch, ...input] });
const targets = tensor(Int32Array.from({ length: batch }, (_, i) => i % 10), { device });

function step(): void {
  using _ = device.scope();
  const loss: Tensor = crossEntropy(
    (module as Module & { forward(x: Tensor): Tensor }).forward(inputs),
    targets,
  );
  optimizer.zeroGrad();
  loss.backward();
  optimizer.step();
}

async function timed(run: () => void): Promise<{ host: number; whole: number }> {
  await device.sync();
  const start = performance.now();
  run();
  device.flush();
  const host = performance.now() - start;
  await device.sync();
  return { host, whole: performance.now() - start };
}

const firstStepMs = (await timed(step)).whole;
await timed(step);
const before = device.work();
const waits: number[] = [];
const times: { host: number; whole: number }[] = [];
for (let i = 0; i < steps; i++) {
  waits.push((await timed(() => {})).whole);
  times.push(await timed(step));
}
const after = device.work();
const dispatches = (after.dispatches - before.dispatches) / steps;
const result = {
  model: flags.model,
  batch,
  device: device.kind,
  adapter: device.name,
  msPerStep: median(times.map((t) => t.whole)) - median(waits),
  waitMs: median(waits),
  dispatches,
  hostUsPerDispatch: median(times.map((t) => t.host)) * 1000 / dispatches,
  submits: (after.submits - before.submits) / steps,
  bindGroupsCreated: (after.bindGroups - before.bindGroups) / steps,
  buffersCreated: (after.buffers - before.buffers) / steps,
  peakBytes: device.memory().peakBytes,
  firstStepMs,
};
if (flags.json) console.log(JSON.stringify(result));
else console.table(result);
device.close();
