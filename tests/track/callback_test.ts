import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine, SupervisedStepOutput, type TensorLike } from "../../core/engine/mod.ts";
import { referenceDevice, tensor } from "../../core/mod.ts";
import { readRun, run, type RunSession, TrackError, TrackingCallback } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

const open = async (): Promise<{ files: MemoryFiles; session: RunSession }> => {
  const files = new MemoryFiles();
  return { files, session: await run({ dir: "/runs", files }) };
};

/** A scalar that counts its handles and its reads. */
class Probe implements TensorLike {
  static live = 0;
  static reading = 0;
  /** How many reads were under way at once, one number a group. */
  static groups: number[] = [];
  readonly shape: readonly number[] = [];
  // false, so that the engine makes no handles of its own
  readonly requiresGrad = false;
  constructor(readonly value: number, readonly fault: Error | null = null) {
    Probe.live++;
  }
  static reset(): void {
    Probe.live = Probe.reading = 0;
    Probe.groups = [];
  }
  detach(): Probe {
    return new Probe(this.value, this.fault);
  }
  dispose(): void {
    Probe.live--;
  }
  backward(): void {}
  async item(): Promise<number> {
    if (this.fault !== null) throw this.fault;
    if (Probe.reading++ === 0) Probe.groups.push(0);
    Probe.groups[Probe.groups.length - 1]++;
    await new Promise((resolve) => setTimeout(resolve));
    Probe.reading--;
    return this.value;
  }
}

Deno.test("TrackingCallback records steps and epochs of a training on tensors", async () => {
  const { files, session } = await open();
  const device = referenceDevice();
  const w = tensor([1, 2], { device, requiresGrad: true });
  const context = new Context({ model: { parameters: () => [w] }, device });
  const trainer = new Engine(
    (engine, batch: number[]) => {
      const x = tensor(batch, { shape: [batch.length / 2, 2], device });
      const predictions = x.mul(w);
      const loss = predictions.sum();
      engine.backward(loss);
      return new SupervisedStepOutput({ loss, predictions });
    },
    context,
    { callbacks: [new TrackingCallback(session, { every: 1 })] },
  );
  trainer.on("epochEnd", ({ state }) => {
    Object.assign(state.metrics, { loss: state.epoch / 2, "eval/accuracy": NaN });
  }, { phase: "evaluate" });
  await trainer.loop([[1, 1], [2, 2, 3, 3]], { maxEpochs: 2 });
  await session.close();

  const { scalars } = readRun(session.dir, { files });
  // the loss is the sum of x (1, 2): 3 a pair of ones
  assertEquals(
    scalars.map(({ key, step, epoch, samples, value }) => [key, step, epoch, samples, value]),
    [
      ["step/loss", 1, 0, 1, 3],
      ["step/loss", 2, 0, 3, 15],
      ["train/loss", 2, 1, 3, 0.5],
      ["eval/accuracy", 2, 1, 3, NaN],
      ["step/loss", 3, 1, 4, 3],
      ["step/loss", 4, 1, 6, 15],
      ["train/loss", 4, 2, 6, 1],
      ["eval/accuracy", 4, 2, 6, NaN],
    ],
  );
});

Deno.test("TrackingCallback leaves no buffer behind", async () => {
  const { session } = await open();
  const device = referenceDevice();
  const live: number[] = [];
  const trainer = new Engine(
    (_engine, x: number) => ({ loss: tensor(x, { device }).mul(2) }),
    new Context({ model: null, device }),
    { callbacks: [new TrackingCallback(session, { every: 3 })] },
  );
  trainer.on("epochStart", () => void live.push(device.memory().liveBuffers));
  trainer.on("engineEnd", () => void live.push(device.memory().liveBuffers));
  const before = device.memory().liveBuffers;
  await trainer.loop(Array.from({ length: 50 }, (_, i) => i), { maxEpochs: 4 });
  assertEquals(device.memory().liveBuffers, before);
  assertEquals(new Set(live.slice(1, 4)).size, 1, `${live}`);
  await session.close();
});

Deno.test("TrackingCallback reads by time, all waiting values in one wait", async () => {
  Probe.reset();
  const { files, session } = await open();
  let time = 0;
  const tracking = new TrackingCallback(session, { every: 2, readEveryMs: 100, now: () => time });
  const engine = new Engine(
    (_engine, x: number) => {
      time += 10;
      return { loss: new Probe(x), twice: new Probe(2 * x) };
    },
    new Context({ model: null }),
    { callbacks: [tracking] },
  );
  await engine.loop(Array.from({ length: 25 }, (_, i) => i + 1));
  // steps 2..10 after 100 ms, 12..20 after 200 ms, 22 and 24 at the end of the epoch
  assertEquals(Probe.groups, [10, 10, 4]);
  const { scalars } = readRun(session.dir, { files });
  const even = Array.from({ length: 12 }, (_, i) => 2 * (i + 1));
  const expected = even.flatMap((x) => [["step/loss", x, x], ["step/twice", x, 2 * x]]);
  assertEquals(scalars.map(({ key, step, value }) => [key, step, value]), expected);
  // each step made two; the handles of the callback are gone
  assertEquals(Probe.live, 2 * 25);
  await session.close();
});

Deno.test("TrackingCallback takes numbers, scalar tensors and metadata", async () => {
  const { files, session } = await open();
  const device = referenceDevice();
  const context = new Context({ model: null, optimizer: { lr: 0.5 }, device });
  const supervised = new Engine(
    () =>
      new SupervisedStepOutput({
        loss: tensor([7], { device }),
        predictions: tensor([[1]], { device }),
        targets: tensor([1], { device }),
        metadata: { gradNorm: tensor(3, { device }), tag: "x", skipped: 0 },
      }),
    context,
    {
      callbacks: [
        new TrackingCallback(session, {
          every: 1,
          scalars: ({ state }) => ({ lr: 0.5 ** state.globalStep, scale: tensor(9, { device }) }),
        }),
      ],
    },
  );
  await supervised.loop([1]);
  const dict = new Engine(
    () => ({ count: 4, a: 1, b: tensor([1, 2], { device }), c: tensor(2, { device }), d: "x" }),
    context,
    { callbacks: [new TrackingCallback(session, { every: 1 })] },
  );
  await dict.loop([1]);
  await session.close();
  const { scalars } = readRun(session.dir, { files });
  assertEquals(scalars.map(({ key, samples, value }) => [key, samples, value]), [
    ["step/loss", 1, 7],
    ["step/gradNorm", 1, 3],
    ["step/skipped", 1, 0],
    ["step/lr", 1, 0.5],
    ["step/scale", 1, 9],
    ["step/a", 4, 1],
    ["step/c", 4, 2],
  ]);
});

Deno.test("TrackingCallback writes settings, context and the course of the loop", async () => {
  const { files, session } = await open();
  class TinyModel {
    *parameters(): Iterable<TensorLike> {
      yield Object.assign(new Probe(0), { shape: [3, 4] });
      yield Object.assign(new Probe(0), { shape: [5] });
    }
  }
  function crossEntropy(): void {}
  const context = new Context({
    model: new TinyModel(),
    lossFn: crossEntropy,
    config: { lr: 0.1, limit: undefined },
    device: { kind: "webgpu", name: "llvmpipe" } as object,
  });
  let time = 0;
  const engine = new Engine(() => void (time += 500), context, {
    name: "trainer",
    callbacks: [new TrackingCallback(session, { now: () => time })],
  });
  engine.on("stepEnd", ({ state }) => void (state.globalStep === 3 && engine.stop("enough")));
  await engine.loop([1, 2], { maxEpochs: 9 });
  await session.close();
  const { meta, events } = readRun(session.dir, { files });
  assertEquals(meta.params, {
    context: {
      model: "TinyModel",
      lossFn: "crossEntropy",
      device: "webgpu llvmpipe",
      parameters: 17,
    },
    lr: 0.1,
  });
  assertEquals(events.map(({ event, fields }): object => ({ event, ...fields })), [
    {
      event: "engineStart",
      engine: "trainer",
      epoch: 0,
      globalStep: 0,
      maxEpochs: 9,
      maxSteps: "Infinity",
      stepsPerEpoch: 2,
    },
    {
      event: "engineEnd",
      engine: "trainer",
      reason: "stopped",
      detail: "enough",
      step: 3,
      epoch: 1,
      samples: 3,
      seconds: 1.5,
    },
  ]);
});

Deno.test("TrackingCallback makes an error that of the run", async () => {
  Probe.reset();
  const files = new MemoryFiles();
  let folder = "";
  const training = async () => {
    await using session = await run({ dir: "/runs", files });
    folder = session.dir;
    const engine = new Engine(
      (_engine, x: number) => {
        if (x === 3) throw new RangeError("diverged");
        return { loss: new Probe(x) };
      },
      new Context({ model: null }),
      { callbacks: [new TrackingCallback(session, { every: 1 })] },
    );
    await engine.loop([1, 2, 3]);
  };
  await assertRejects(training, RangeError, "diverged");
  const { meta, scalars, events } = readRun(folder, { files });
  assertEquals([meta.status, meta.error?.message], ["failed", "diverged"]);
  assertEquals(scalars.map(({ step, value }) => [step, value]), [[1, 1], [2, 2]]);
  assertEquals(events.map(({ event }) => event), ["engineStart", "exception", "engineEnd"]);
  assertEquals(events[1].fields, {
    name: "RangeError",
    message: "diverged",
    step: 2,
    epoch: 0,
    samples: 2,
  });
  assertEquals(events[2].fields.reason, "failed");
});

Deno.test("TrackingCallback records which values are better, under the names in the file", async () => {
  const { files, session } = await open();
  const source = {
    metricKeys: ["loss", "val/score", "lr"],
    betterOf: (key: string) =>
      key === "loss" ? "down" as const : key === "lr" ? null : "up" as const,
    onEpochEnd() {},
  };
  const tracking = new TrackingCallback(session, { split: "fit" });
  const engine = new Engine(() => {}, new Context({ model: null }), {
    callbacks: [tracking, source],
  });
  await engine.loop([1]);
  await session.close();
  const { events } = readRun(session.dir, { files });
  assertEquals(events[0].fields.better, { "fit/loss": "down", "val/score": "up" });
});

Deno.test("TrackingCallback tells which values an unreadable device has lost", async () => {
  Probe.reset();
  const { files, session } = await open();
  const fault = Object.assign(new Error("device lost"), { name: "DeviceLostError" });
  const engine = new Engine(
    (_engine, x: number) => ({ loss: new Probe(x, fault) }),
    new Context({ model: null }),
    { callbacks: [new TrackingCallback(session, { every: 1 })] },
  );
  engine.on("stepEnd", ({ state }) => {
    if (state.globalStep === 2) throw fault;
  }, { phase: "display" });
  assertEquals(await assertRejects(() => engine.loop([1, 2, 3])), fault);
  await session.close();
  const { meta, scalars, events } = readRun(session.dir, { files });
  assertEquals([meta.status, scalars], ["failed", []]);
  assertEquals(events[1].fields.lostSteps, 2);
  assertEquals(events[1].fields.lostReason, "DeviceLostError: device lost");
  assertEquals(Probe.live, 2, "only what the steps made");
});

Deno.test("TrackingCallback on a full disk ends the loop with one error", async () => {
  Probe.reset();
  const files = new MemoryFiles();
  const training = async () => {
    await using session = await run({ dir: "/runs", files });
    const engine = new Engine(
      (_engine, x: number) => {
        if (x === 2) files.plan = { at: files.log.length + 1, kind: "before", lasting: true };
        return { loss: new Probe(x) };
      },
      new Context({ model: null }),
      { callbacks: [new TrackingCallback(session, { every: 1, readEveryMs: 0 })] },
    );
    await engine.loop([1, 2, 3]);
  };
  const error = await assertRejects(training, TrackError);
  assert(/^Cannot append to \/runs\/\S+\/logs\/scalars.csv: ENOSPC: [^\n;]+$/.test(error.message));
  assertEquals(Probe.live, 2, "only what the steps made");
});

Deno.test("TrackingCallback refuses intervals that are none", async () => {
  const { session } = await open();
  for (const options of [{ every: 0 }, { every: 1.5 }, { readEveryMs: -1 }, { readEveryMs: NaN }]) {
    assertThrows(() => new TrackingCallback(session, options), RangeError, "Cannot track steps");
  }
  await session.close();
});
