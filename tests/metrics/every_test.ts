import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine, type StepOutput } from "../../core/engine/mod.ts";
import { type Device, jit, referenceDevice } from "../../core/mod.ts";
import {
  betterOf,
  MeanLoss,
  type Metric,
  MetricsCallback,
  WindowedMean,
} from "../../metrics/mod.ts";
import { assertClose, devices, reference, testOnDevices } from "../util.ts";
import { everyMetric, type Subject } from "./every.ts";

/** The last batch is ragged. */
const SIZES = [16, 16, 16, 5];

function outputs({ output }: Subject, device: Device, sizes = SIZES): StepOutput[] {
  return sizes.map((size, i) => output(device, size, 10 * i + 1));
}

async function valuesOf(
  metric: Metric,
  all: readonly StepOutput[],
): Promise<Record<string, number>> {
  for (const output of all) metric.update(output);
  return await metric.compute();
}

function assertAgree(
  got: Record<string, number>,
  want: Record<string, number>,
  bound: number,
  label: string,
): void {
  assertEquals(Object.keys(got), Object.keys(want), label);
  assertClose(Object.values(got), Object.values(want), bound, label);
}

const json = (value: unknown) => JSON.parse(JSON.stringify(value));

testOnDevices({
  name: "every metric agrees with itself on the reference",
  fn: async (device) => {
    for (const subject of everyMetric) {
      const got = await valuesOf(subject.make(), outputs(subject, device));
      const want = await valuesOf(subject.make(), outputs(subject, reference));
      assertAgree(got, want, subject.rounds ? 2e-5 : 0, subject.title);
      assertEquals(Object.keys(got), [...subject.make().keys], subject.title);
      assert(Object.values(got).every(Number.isFinite), `${subject.title} says something`);
    }
  },
});

for (const device of devices) {
  Deno.test(`every metric merges to what one would give that saw everything (${device.kind})`, async () => {
    for (const subject of everyMetric) {
      const all = outputs(subject, device);
      const whole = subject.make();
      // A window forgets, but not what another one has seen.
      if (whole instanceof WindowedMean) continue;
      const want = await valuesOf(whole, all);
      const [here, there, third] = [subject.make(), subject.make(), subject.make()];
      await valuesOf(here, all.slice(0, 1));
      await valuesOf(there, all.slice(1, 3));
      await valuesOf(third, all.slice(3));
      const sent = subject.make();
      sent.load(json(await there.state()));
      const before = await sent.compute();
      await here.merge!(sent);
      await here.merge!(third);
      await here.merge!(subject.make());
      assertEquals(await sent.compute(), before, `${subject.title} stays as it is`);
      const bound = subject.rounds ? 2e-6 : 1e-15;
      assertAgree(await here.compute(), want, bound, subject.title);
      const again = subject.make();
      again.load(json(await here.state()));
      assertEquals(await again.compute(), await here.compute(), `${subject.title} saves merged`);
    }
  });

  Deno.test(`every metric continues from a saved state with the same bits (${device.kind})`, async () => {
    for (const subject of everyMetric) {
      const all = outputs(subject, device);
      const whole = subject.make();
      const want = await valuesOf(whole, all);
      const first = subject.make();
      await valuesOf(first, all.slice(0, 2));
      const saved = json(await first.state());
      const fresh = subject.make();
      fresh.load(saved);
      assertEquals(await fresh.compute(), await first.compute(), `${subject.title} loads`);
      assertEquals(json(await fresh.state()), saved, `${subject.title} saves what it loaded`);
      const used = subject.make();
      await valuesOf(used, all);
      used.load(saved);
      for (const metric of [fresh, used]) {
        assertEquals(await valuesOf(metric, all.slice(2)), want, `${subject.title} goes on`);
        assertEquals(json(await metric.state()), json(await whole.state()), subject.title);
      }
    }
  });

  Deno.test(`every metric gives captured steps the values of uncaptured ones (${device.kind})`, async () => {
    for (const subject of everyMetric) {
      const all = outputs(subject, device, [4, 4, 4, 3, 4, 3]);
      const want = await valuesOf(subject.make(), all);
      const metric = subject.make();
      const engine = new Engine(
        (_engine, batch: number) => subject.output(device, all[batch].size, 10 * batch + 1),
        new Context({ model: null, device }),
        { callbacks: [new MetricsCallback([metric])] },
      );
      for (let epoch = 0; epoch < 2; epoch++) {
        const { metrics } = await engine.loop([...all.keys()], { maxEpochs: 1 });
        assertEquals(metrics, want, `${subject.title}, epoch ${epoch + 1}`);
      }
    }
  });

  Deno.test(`metrics that can be captured replay bit for bit (${device.kind})`, async () => {
    for (const subject of everyMetric) {
      const metric = subject.make();
      const step = jit((output: StepOutput) => metric.update(output), { verify: 2 });
      const all = outputs(subject, device, [6, 6, 6, 6]);
      const keeps = !metric.capturable && !["RunningMean", "WindowedMean"].includes(subject.title);
      if (keeps) {
        assertThrows(() => step(all[0]), Error, "inside a captured step", subject.title);
        continue;
      }
      for (const output of all) step(output);
      await step.verified();
      assertEquals(step.stats().captures, 1, subject.title);
      assertEquals(await metric.compute(), await valuesOf(subject.make(), all), subject.title);
      metric.reset();
      step(all[1]);
      const one = await valuesOf(subject.make(), [all[1]]);
      assertEquals(await metric.compute(), one, `${subject.title} after reset`);
    }
  });

  Deno.test(`every metric starts anew by reset() (${device.kind})`, async () => {
    for (const subject of everyMetric) {
      const metric = subject.make();
      const empty = await subject.make().compute();
      const all = outputs(subject, device);
      const first = await valuesOf(metric, all);
      metric.reset();
      assertEquals(await metric.compute(), empty, `${subject.title} is empty`);
      assertEquals(await valuesOf(metric, all), first, `${subject.title} starts anew`);
    }
  });
}

Deno.test("every metric holds no more memory than its counters", async () => {
  for (const subject of everyMetric) {
    const device = referenceDevice();
    const metric = subject.make();
    const live: number[] = [];
    for (let epoch = 0; epoch < 3; epoch++) {
      {
        using _scope = device.scope();
        for (const output of outputs(subject, device)) metric.update(output);
      }
      await metric.compute();
      metric.reset();
      live.push(device.memory().liveBuffers);
    }
    assertEquals(live, Array(3).fill(live[0]), subject.title);
    assert(live[0] <= 3, `${subject.title}: ${live}`);
  }
});

Deno.test("every metric refuses states and partners of others", async () => {
  for (const subject of everyMetric) {
    const metric = subject.make();
    for (const bad of [null, 7, "x", { x: 1 }, [1, "two"], [NaN, -1, 0.5]]) {
      assertThrows(() => metric.load(bad), TypeError, "Cannot load metric", subject.title);
    }
    const other = metric instanceof MeanLoss ? everyMetric[0].make() : new MeanLoss();
    await assertRejects(
      () => metric.merge!(other),
      TypeError,
      "Cannot merge metric",
      subject.title,
    );
    for (const key of metric.keys) {
      assert(["up", "down", null].includes(betterOf(metric, key)), subject.title);
    }
    assertThrows(() => betterOf(metric, "no such value"), RangeError, "no such value");
  }
});

Deno.test("metrics of other options cannot be merged, of other names they can", async () => {
  const windowed = (window: number, name = "loss") =>
    new WindowedMean({ field: "loss", window, name });
  await assertRejects(
    () => windowed(2).merge(windowed(3)),
    TypeError,
    'expected the same class and options (WindowedMean {"field":"loss","weighted":false,"window":2})',
  );
  await windowed(2).merge(windowed(2, "other"));
});

Deno.test("metrics refuse to be reset, loaded or merged inside a captured step", () => {
  const metric = new MeanLoss();
  for (const change of [() => metric.reset(), () => metric.load([1, 1])]) {
    assertThrows(
      () => jit(change, { device: reference })(),
      Error,
      'metric "loss" inside a captured step',
    );
  }
});
