import {
  Adam,
  Context,
  type Device,
  Engine,
  Key,
  LrScheduleCallback,
  schedule,
  SGD,
  supervisedStep,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { BatchNorm1d, Dropout, Linear, Module, mseLoss } from "../../nn/mod.ts";
import {
  CheckpointCallback,
  CheckpointStore,
  NumericFaultError,
  NumericGuardCallback,
  type NumericGuardOptions,
} from "../../track/mod.ts";
import { stepScalarsOf } from "../../core/engine/step_scalars.ts";
import { LrMonitorCallback } from "../../core/mod.ts";
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { randomValues, testOnDevices } from "../util.ts";
import { type GuardBatch, SAMPLES } from "./guard_models.ts";
import { MemoryFiles } from "./memory_files.ts";
import { quietly } from "./guard_warnings.ts";

/** All that a step can change: weights, momentum, running statistics, draws. */
class Net extends Module {
  readonly first: Linear;
  readonly bn: BatchNorm1d;
  readonly drop: Dropout = new Dropout(0.4, { key: new Key(7) });
  readonly second: Linear;
  constructor(device: Device) {
    super();
    this.first = new Linear(4, 8, { device });
    this.bn = new BatchNorm1d(8, { device });
    this.second = new Linear(8, 2, { device });
    this.parameters().forEach((p, i) => {
      p.detach().copy_(tensor(randomValues(p.size, 60 + i), { device, shape: p.shape }));
    });
  }
  forward(x: Tensor): Tensor {
    return this.second.forward(this.drop.forward(this.bn.forward(this.first.forward(x)).relu()));
  }
}

type Batch = Omit<GuardBatch, "indices">;

function batches(device: Device, count = 8): Batch[] {
  return Array.from({ length: count }, (_, i) => ({
    inputs: tensor(randomValues(SAMPLES * 4, i), { device, shape: [SAMPLES, 4] }),
    targets: tensor(randomValues(SAMPLES * 2, 40 + i), { device, shape: [SAMPLES, 2] }),
  }));
}

const bad = (batch: Batch): Batch => ({ ...batch, inputs: batch.inputs.mul(NaN) });
const far = (batch: Batch): Batch => ({ ...batch, targets: batch.targets.add(1000) });

interface Rig {
  readonly net: Net;
  readonly optimizer: SGD | Adam;
  readonly engine: Engine<Batch>;
  readonly guard: NumericGuardCallback | null;
}

function rig(device: Device, options: NumericGuardOptions | null, adam = false): Rig {
  const net = new Net(device);
  const optimizer = adam
    ? new Adam(net.parameters(), { lr: 0.01 })
    : new SGD(net.parameters(), { lr: 0.05, momentum: 0.9 });
  const guard = options === null ? null : new NumericGuardCallback(options);
  const engine = new Engine(
    supervisedStep<Batch>(),
    new Context({ model: net, optimizer, lossFn: mseLoss, device }),
  );
  if (guard) engine.add(guard);
  return { net, optimizer, engine: engine as unknown as Engine<Batch>, guard };
}

/** Everything that a step changes, as numbers. */
async function contents({ net, optimizer }: Rig): Promise<unknown> {
  const { state, param_groups } = optimizer.stateDict();
  const read = async (dict: Readonly<Record<string, unknown>>) => {
    const pairs = Object.entries(dict).map(async (
      [name, value],
    ) => [
      name,
      value !== null && typeof value === "object" ? await (value as Tensor).array() : value,
    ]);
    return Object.fromEntries(await Promise.all(pairs));
  };
  const slots = await Promise.all(Object.values(state).map((entry) => read(entry)));
  return [await read(net.stateDict()), slots, param_groups, net.drop.position];
}

/** The result of a run without a guard, over these batches. */
async function plain(device: Device, list: readonly Batch[], adam = false): Promise<unknown> {
  const plainRig = rig(device, null, adam);
  await plainRig.engine.loop(list);
  return await contents(plainRig);
}

for (const adam of [false, true]) {
  testOnDevices({
    name: `"skip" leaves the bits of a run without the bad batches, Adam ${adam}`,
    fn: async (device) => {
      const list = batches(device);
      const [b2, b5] = [bad(list[2]), bad(list[5])];
      const skipping = rig(device, { policy: "skip" }, adam);
      const { warnings } = await quietly(() => skipping.engine.loop(list.with(2, b2).with(5, b5)));
      const want = await plain(device, list.filter((_, i) => i !== 2 && i !== 5), adam);
      assertEquals(await contents(skipping), want);
      assertEquals([skipping.guard!.faults, skipping.engine.state.globalStep], [2, 8]);
      assertEquals(warnings.length, 2);
      assert(warnings[1].includes("Loss is NaN at step 6 (epoch 1): the batch itself is bad"));
      assert(warnings[1].endsWith("; the step was undone"));
      // Without the guard the bad batch does harm.
      assertNotEquals(await plain(device, list.with(5, b5), adam), await plain(device, list, adam));
    },
  });
}

testOnDevices({
  name: '"skip" undoes the step of a spike',
  fn: async (device) => {
    const list = batches(device);
    const options = { policy: "skip", spike: { window: 6, sigmas: 20 } } as const;
    const skipping = rig(device, options);
    const { warnings } = await quietly(() => skipping.engine.loop(list.with(5, far(list[5]))));
    assertEquals(await contents(skipping), await plain(device, list.toSpliced(5, 1)));
    assertEquals([skipping.guard!.fault!.kind, skipping.guard!.fault!.step], ["spike", 6]);
    assert(
      /^legoml: Loss [\d.]+ at step 6 \(epoch 1\) is a spike: expected at most /.test(warnings[0]),
    );
  },
});

testOnDevices({
  name: '"rollback" goes back to the last look, and on behind the bad batch',
  fn: async (device) => {
    const list = batches(device);
    const back = rig(device, { policy: "rollback", every: 3 });
    const { warnings } = await quietly(() => back.engine.loop(list.with(4, bad(list[4]))));
    // Looks after steps 3 and 6: steps 4 to 6 are undone.
    assertEquals(await contents(back), await plain(device, list.toSpliced(3, 3)));
    assertEquals([back.guard!.rollbacks, back.engine.state.globalStep], [1, 8]);
    assert(warnings[0].endsWith("; the run went back to the last good state"));
    assertEquals([back.guard!.fault!.step, back.guard!.fault!.reproduced], [5, true]);
  },
});

testOnDevices({
  name: "after a rollback the learning rates are multiplied, those of a schedule too",
  fn: async (device) => {
    const list = batches(device);
    const options = { policy: "rollback", every: 2, lrFactor: 0.5 } as const;
    const back = rig(device, options);
    await quietly(() => back.engine.loop(list.with(3, bad(list[3]))));
    const slow = rig(device, null);
    await slow.engine.loop(list.slice(0, 2));
    slow.optimizer.lr = 0.025;
    await slow.engine.loop(list.slice(4));
    slow.optimizer.lr = 0.05; // the factor is not in what is set between steps
    assertEquals(await contents(back), await contents(slow));

    const scheduled = rig(device, options);
    const rates = schedule.linear({ startFactor: 1, endFactor: 0.5, totalIters: 5 });
    scheduled.engine.add(new LrScheduleCallback(rates) as never);
    scheduled.engine.add(new LrMonitorCallback() as never);
    const seen: number[] = [];
    scheduled.engine.on("stepEnd", (event) => {
      seen.push(...stepScalarsOf(event as never).map(([, value]) => value as number));
    });
    await quietly(() => scheduled.engine.loop(list.with(3, bad(list[3]))));
    const factor = (i: number) => 0.05 * Math.max(0.5, 1 - 0.1 * i) * (i < 4 ? 1 : 0.5);
    assertEquals(seen.map((lr) => lr.toPrecision(9)), list.map((_, i) => factor(i).toPrecision(9)));
    const saved = scheduled.guard!.state() as { lrScale: number };
    assertEquals([saved.lrScale, scheduled.optimizer.lr], [0.5, 0.05 * 0.5]);
  },
});

testOnDevices({
  name: '"rollback" with a store goes back to the last checkpoint',
  fn: async (device) => {
    const list = batches(device);
    const store = new CheckpointStore("/run/checkpoints", { files: new MemoryFiles() });
    const loader = { state: () => 3, load: () => assert(false, "the loader was moved") };
    const parts = { loader: Object.assign(list.with(5, bad(list[5])), loader) };
    const back = rig(device, { policy: "rollback", every: 1, store, parts });
    back.engine.add(
      new CheckpointCallback(store, { everySteps: 2, everyEpochs: null, parts }) as never,
    );
    await quietly(() => back.engine.loop(parts.loader));
    // The checkpoint of step 4 is the last one: that of step 6 comes after the guard.
    assertEquals(await contents(back), await plain(device, list.toSpliced(4, 2)));
    assertEquals(back.engine.state.globalStep, 8);
  },
});

testOnDevices({
  name: "after so many rollbacks the next fault stops the run",
  fn: async (device) => {
    const list = batches(device).map((batch, i) => i < 2 ? batch : bad(batch));
    const back = rig(device, { policy: "rollback", every: 1, maxRollbacks: 2 });
    const { result: error } = await quietly(() =>
      assertRejects(() => back.engine.loop(list), NumericFaultError)
    );
    assert(error.message.endsWith("(after 2 rollbacks)"));
    assertEquals([error.fault.step, back.guard!.rollbacks, back.guard!.faults], [5, 2, 3]);
    assertEquals(await contents(back).then((c) => JSON.stringify(c).includes("NaN")), false);
  },
});
