import {
  Context,
  Engine,
  GradientAccumulator,
  GradNormCallback,
  SGD,
  supervisedStep,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { stepScalarsOf } from "../../core/engine/step_scalars.ts";
import { Linear, mseLoss } from "../../nn/mod.ts";
import {
  CheckpointCallback,
  CheckpointStore,
  NumericFaultError,
  NumericGuardCallback,
  type NumericGuardOptions,
} from "../../track/mod.ts";
import { SpikeWindow } from "../../track/guard_spike.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ownDevice } from "../core/devices.ts";
import { assertClose, randomValues, reference, testOnDevices } from "../util.ts";
import { type GuardBatch, ImageNet, images, poison } from "./guard_models.ts";
import { quietly } from "./guard_warnings.ts";
import { MemoryFiles } from "./memory_files.ts";

class Log {
  readonly events: [string, Readonly<Record<string, unknown>>][] = [];
  logEvent(name: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.events.push([name, fields]);
  }
}

testOnDevices({
  name: "training is the same to the bit with a guard and without, and so is what others see",
  fn: async (device) => {
    const run = async (options: NumericGuardOptions | null) => {
      const model = new ImageNet(device);
      const optimizer = new SGD(model.parameters(), { lr: 0.05, momentum: 0.9, maxGradNorm: 1 });
      const context = new Context({ model, optimizer, lossFn: mseLoss, device });
      const engine = new Engine(supervisedStep<GuardBatch>(), context);
      if (options !== null) engine.add(new NumericGuardCallback(options));
      const norms = new GradNormCallback({ each: "layer" });
      engine.add(norms);
      const seen: Promise<number>[] = [];
      engine.on("stepEnd", (event) => {
        const values = stepScalarsOf(event as never).map(([, value]) => value as Tensor);
        seen.push(...values.map((value) => value.alias().keep().item()));
      });
      await engine.loop(images(device), { maxEpochs: 2 });
      return [await Promise.all(model.parameters().map((p) => p.array())), await Promise.all(seen)];
    };
    const want = await run(null);
    assertEquals(await run({ every: 3, spike: {} }), want);
    assertEquals(await run({ policy: "rollback", every: 2 }), want);
    assertEquals(await run({ policy: "skip" }), want);
  },
});

testOnDevices({
  name: "reporting a fault leaves a run as it was, gradients of a window too",
  fn: async (device) => {
    const run = async (guarded: boolean) => {
      const model = new ImageNet(device);
      const optimizer = new SGD(model.parameters(), { lr: 0.05, skipNonFinite: true });
      const accumulator = new GradientAccumulator(optimizer, { every: 3 });
      const context = new Context({ model, optimizer, lossFn: mseLoss, device });
      const log = new Log();
      const guard = new NumericGuardCallback({
        policy: "report",
        every: 2,
        parts: { accumulator },
        session: log,
      });
      const engine = new Engine(supervisedStep<GuardBatch>({ accumulator }), context);
      if (guarded) engine.add(guard);
      const batches = images(device, 9);
      batches[3].targets = batches[3].targets.mul(NaN);
      const { warnings } = await quietly(() => engine.loop(batches));
      return { values: await Promise.all(model.parameters().map((p) => p.array())), log, warnings };
    };
    const [free, watched] = [await run(false), await run(true)];
    assertEquals(watched.values, free.values);
    const [name, fields] = watched.log.events[0];
    assertEquals([name, fields.kind, fields.step, fields.policy], [
      "numericFault",
      "loss",
      4,
      "report",
    ]);
    assertEquals((fields.origin as { name: string }).name, "targets");
    assert(watched.warnings[0].endsWith("; the run goes on"));
  },
});

testOnDevices({
  name: "a guard keeps no memory, whether it finds something or not",
  fn: async ({ kind }) => {
    // What other tests have left on the common device may be given back at any time.
    const device = await ownDevice({ kind });
    const model = new ImageNet(device);
    const optimizer = new SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const batches = images(device);
    batches[4] = { ...batches[4], inputs: batches[4].inputs.mul(NaN) };
    const live: number[] = [];
    for (const policy of ["skip", "rollback"] as const) {
      const guard = new NumericGuardCallback({ policy, maxRollbacks: 100, traces: 2 });
      const engine = new Engine(
        supervisedStep<GuardBatch>({ capture: false }),
        new Context({ model, optimizer, lossFn: mseLoss, device }),
        { callbacks: [guard] },
      );
      for (let i = 0; i < 3; i++) {
        await quietly(() => engine.loop(batches, { maxEpochs: 2 }));
        live.push(device.memory().liveBuffers);
      }
      assertEquals(guard.faults, 6);
    }
    assertEquals(new Set(live.slice(1)).size, 1, `${live}`);
    device.close();
  },
});

Deno.test("a run that is stopped fails, and saves nothing more", async () => {
  const device = reference;
  const model = new ImageNet(device);
  const optimizer = new SGD(model.parameters(), { lr: 0.01 });
  const store = new CheckpointStore("/run/checkpoints", { files: new MemoryFiles() });
  const log = new Log();
  const checkpoints = new CheckpointCallback(store, { everySteps: 2, everyEpochs: 1 });
  const engine = new Engine(
    supervisedStep<GuardBatch>(),
    new Context({ model, optimizer, lossFn: mseLoss, device }),
    { callbacks: [checkpoints as never, new NumericGuardCallback({ every: 2, session: log })] },
  );
  const ends: string[] = [];
  engine.on("engineEnd", ({ reason }) => void ends.push(reason));
  const batches = images(device);
  batches[4].targets = batches[4].targets.mul(Infinity);
  await assertRejects(() => engine.loop(batches), NumericFaultError, "step 5 (epoch 1)");
  assertEquals([(await store.entries()).map(({ step }) => step), ends], [[2, 4], ["failed"]]);
  const names = log.events.map(([name]) => name);
  assertEquals(names, ["numericFault"]);
  JSON.stringify(log.events); // plain data
});

Deno.test("faults behind the last trace are told without an origin", async () => {
  const device = reference;
  const model = new ImageNet(device);
  const optimizer = new SGD(model.parameters(), { lr: 0.01 });
  const log = new Log();
  const guard = new NumericGuardCallback({ policy: "skip", traces: 1, session: log });
  const engine = new Engine(
    supervisedStep<GuardBatch>(),
    new Context({ model, optimizer, lossFn: mseLoss, device }),
    { callbacks: [guard] },
  );
  const batches = images(device).map((b, i) => i < 2 ? { ...b, inputs: b.inputs.mul(NaN) } : b);
  const { warnings } = await quietly(() => engine.loop(batches));
  const origins = log.events.map(([, { origin }]) => origin !== null);
  assertEquals([origins, guard.fault!.origin], [[true, false], null]);
  assertEquals(warnings[1], "legoml: Loss is NaN at step 2 (epoch 1); the step was undone");
});

Deno.test("other steps run again with the option forward; without it that is said", async () => {
  const device = reference;
  const layer = new Linear(2, 2, { device });
  const optimizer = new SGD(layer.parameters(), { lr: 0.1 });
  const loss = (x: Tensor) => layer.forward(x).square().mean().log();
  const run = async (options: NumericGuardOptions) => {
    const engine = new Engine(
      (engine, { pixels }: { pixels: Tensor }) => {
        const value = loss(pixels);
        optimizer.zeroGrad();
        engine.backward(value);
        optimizer.step();
        return { loss: value };
      },
      new Context({ model: layer, optimizer, device }),
      { callbacks: [new NumericGuardCallback(options)] },
    );
    const pixels = tensor([[1, NaN], [2, 3]], { device });
    return await assertRejects(() => engine.loop([{ pixels }]), NumericFaultError);
  };
  const forward = (batch: unknown) => loss((batch as { pixels: Tensor }).pixels);
  const { fault } = await run({ forward });
  assertEquals([fault.origin!.where, fault.origin!.name, fault.origin!.samples], [
    "data",
    "pixels",
    [0],
  ]);
  layer.parameters().forEach((p) => p.detach().fill_(0.5));
  const { message } = await run({});
  assert(message.endsWith(
    "its batch cannot be run again: expected a batch with a tensor inputs; the option forward runs others",
  ));
});

Deno.test("values that something else has changed are told as such", async () => {
  const device = reference;
  const model = new ImageNet(device);
  const optimizer = new SGD(model.parameters(), { lr: 0.01, skipNonFinite: true });
  const engine = new Engine(
    supervisedStep<GuardBatch>(),
    new Context({ model, optimizer, lossFn: mseLoss, device }),
    { callbacks: [new NumericGuardCallback({ every: 4 })] },
  );
  // Put in and taken out again, so that neither the weights before nor those after show it.
  engine.on("stepStart", ({ state }) => void (state.globalStep === 5 && poison(model.head.weight)));
  engine.on(
    "stepEnd",
    ({ state }) => void (state.globalStep === 6 && poison(model.head.weight, 0.5)),
  );
  const { message, fault } = await assertRejects(
    () => engine.loop(images(device)),
    NumericFaultError,
  );
  assertEquals(fault.origin, null);
  assert(message.includes("something else than model, loss and optimizer has changed the values"));
});

Deno.test("a spike is what exceeds the median by so many deviations", () => {
  const window = new SpikeWindow({ window: 8, sigmas: 3 });
  [1, 2, 4].forEach((loss) => window.add(loss));
  assertEquals(window.limit, Infinity); // less than half of the window
  window.add(10);
  // median 3, distances 2, 1, 1, 7, their median 1.5
  assertClose([window.limit], [3 + 3 * 1.4826 * 1.5], 1e-12);
  [3, 3, 3, 3, 3, 3, 3].forEach((loss) => window.add(loss));
  // 10 and seven times 3: no distance, so a thousandth of the median
  assertEquals(window.values, [10, 3, 3, 3, 3, 3, 3, 3]);
  assertClose([window.limit], [3 + 3 * 0.003], 1e-12);
  assertThrows(() => new SpikeWindow({ window: 3 }), RangeError, "found window 3 and sigmas 10");
  // Normal noise: about one in 741 lies above three deviations.
  const noise = randomValues(2000, 1).map((u, i, all) =>
    Math.sqrt(-2 * Math.log((u + 1) / 2 + 1e-9)) * Math.cos(Math.PI * all[(i + 1000) % 2000])
  );
  const wide = new SpikeWindow({ window: 200, sigmas: 3 });
  let above = 0;
  for (const value of noise) {
    if (value > wide.limit) above++;
    wide.add(value);
  }
  assert(above > 0 && above < 15, `${above}`);
});

Deno.test("counts and losses are saved", async () => {
  const make = () => {
    const model = new Linear(1, 1, { device: reference });
    const guard = new NumericGuardCallback({ spike: { window: 4, sigmas: 5 }, policy: "report" });
    const context = new Context({ model, device: reference });
    const engine = new Engine((_e, loss: number) => ({ loss }), context, { callbacks: [guard] });
    return { engine, guard };
  };
  const first = make();
  await quietly(() => first.engine.loop([1, 1.5, 1.2, 1.1, NaN]));
  const saved = JSON.parse(JSON.stringify(await first.engine.snapshot()));
  assertEquals(saved.callbacks.NumericGuardCallback, {
    faults: 1,
    rollbacks: 0,
    lrScale: 1,
    losses: [1, 1.5, 1.2, 1.1],
  });
  const second = make();
  await second.engine.restore(saved);
  const { warnings } = await quietly(() => second.engine.loop([9]));
  assert(warnings[0].includes("Loss 9 at step 6 (epoch 2) is a spike: expected at most 1.8913"));
  assertEquals([second.guard.faults, make().guard.faults], [2, 0]);
  assertThrows(
    () => second.guard.load({ faults: -1, rollbacks: 0, lrScale: 1, losses: [] }),
    TypeError,
    "expected faults, rollbacks, lrScale and losses, found",
  );
});

Deno.test("options that cannot work are refused", async () => {
  const make = (options: object) => () => new NumericGuardCallback(options);
  const cases: [object, string][] = [
    [{ policy: "ignore" }, "expected policy to be one of stop, skip, rollback, report"],
    [{ every: 0 }, "expected every to be a whole number from 1, found 0"],
    [{ traces: 0.5 }, "expected traces to be a whole number from 0, found 0.5"],
    [{ policy: "skip", every: 2 }, "expected every to be 1 where steps are skipped, found 2"],
    [{ lrFactor: 0 }, "expected lrFactor to be a finite number above 0, found 0"],
    [{ spike: { sigmas: 0 } }, "found window 100 and sigmas 0"],
  ];
  for (const [options, message] of cases) assertThrows(make(options), Error, message);
  const engine = new Engine(() => {}, new Context({ model: { weight: 1 } }), {
    callbacks: [new NumericGuardCallback()],
  });
  await assertRejects(
    () => engine.loop([0]),
    TypeError,
    "expected the context's model to be a module, found an Object",
  );
});
