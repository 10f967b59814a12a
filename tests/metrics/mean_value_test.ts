import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DictStepOutput } from "../../core/engine/mod.ts";
import { type Device, jit, ShapeError, tensor } from "../../core/mod.ts";
import { MetricInputError, RunningMean, WindowedMean } from "../../metrics/mod.ts";
import { devices, reference } from "../util.ts";

/** A step's value, on a device or on the host, and its samples. */
function step(value: number, count: number, device: Device | null) {
  return new DictStepOutput({ x: device === null ? value : tensor([value], { device }), count });
}

function meanOf(pairs: readonly (readonly [number, number])[]): number {
  const weight = pairs.reduce((sum, [, w]) => sum + w, 0);
  return pairs.reduce((sum, [x, w]) => sum + x * w, 0) / weight;
}

for (const device of [null, ...devices]) {
  const where = device?.kind ?? "host";
  Deno.test(`RunningMean and WindowedMean weigh as they are told (${where})`, async () => {
    const steps = [[0.5, 4], [-2, 4], [8, 1], [3, 2], [0, 4]] as const;
    for (const weighted of [false, true]) {
      const weighed = steps.map(([x, w]) => [x, weighted ? w : 1] as const);
      const running = new RunningMean({ field: "x", weighted });
      for (const window of [1, 2, 3, 7]) {
        const windowed = new WindowedMean({ field: "x", weighted, window, name: "last" });
        for (const [i, [x, w]] of steps.entries()) {
          windowed.update(step(x, w, device));
          const { last } = await windowed.compute();
          const want = meanOf(weighed.slice(Math.max(0, i + 1 - window), i + 1));
          assertAlmostEquals(last, want, 1e-12);
        }
      }
      for (const [x, w] of steps) running.update(step(x, w, device));
      assertAlmostEquals((await running.compute()).x, meanOf(weighed), 1e-6);
    }
  });

  Deno.test(`WindowedMean forgets also NaN, RunningMean does not (${where})`, async () => {
    const [running, windowed] = [
      new RunningMean({ field: "x" }),
      new WindowedMean({ field: "x", window: 2 }),
    ];
    assertEquals(await running.compute(), { x: NaN });
    assertEquals(await windowed.compute(), { x: NaN });
    for (const x of [NaN, 1, 2]) {
      for (const metric of [running, windowed]) metric.update(step(x, 1, device));
    }
    assertEquals(await running.compute(), { x: NaN });
    assertEquals(await windowed.compute(), { x: 1.5 });
  });

  Deno.test(`WindowedMean merges windows, and goes on from a saved one (${where})`, async () => {
    const make = () => new WindowedMean({ field: "x", window: 2 });
    const [here, there] = [make(), make()];
    for (const x of [9, 1, 3]) here.update(step(x, 1, device));
    there.update(step(8, 1, device));
    await here.merge(there);
    assertEquals(await here.compute(), { x: 4 });
    const next = make();
    next.load(JSON.parse(JSON.stringify(await there.state())));
    for (const x of [2, 4]) next.update(step(x, 1, device));
    assertEquals(await next.compute(), { x: 3 });
    assertEquals(await there.compute(), { x: 8 });
  });
}

Deno.test("WindowedMean is the mean of the last values, whatever they are", async () => {
  const value = fc.integer({ min: -100, max: 100 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(value, { minLength: 1, maxLength: 25 }),
      fc.integer({ min: 1, max: 12 }),
      async (values, window) => {
        const [here, there] = [0, 1].map(() => new WindowedMean({ field: "x", window }));
        for (const x of values) {
          here.update(step(x, 1, null));
          there.update(step(x, 1, reference));
        }
        const want = meanOf(values.slice(-window).map((x) => [x, 1]));
        assertAlmostEquals((await here.compute()).x, want, 1e-12);
        assertEquals(await there.compute(), await here.compute());
      },
    ),
    { seed: 61, numRuns: 60 },
  );
});

Deno.test("means refuse values that are missing, no numbers, or of the host in captured steps", async () => {
  for (const make of [RunningMean, WindowedMean]) {
    const metric = new make({ field: "x" });
    assertThrows(
      () => metric.update(new DictStepOutput({ y: 1 })),
      MetricInputError,
      'Cannot update metric "x": expected a number or a tensor "x" in the step output, found only y',
    );
    assertThrows(() => metric.update(new DictStepOutput({ x: "1" })), MetricInputError, "string");
    assertThrows(
      () => metric.update(new DictStepOutput({ x: tensor([1, 2], { device: reference }) })),
      ShapeError,
      'expected "x" to have one element, found shape [2]',
    );
    const captured = jit(() => metric.update(new DictStepOutput({ x: 1 })), { device: reference });
    assertThrows(captured, Error, "it reads a number of the host");
    assertEquals(await metric.compute(), { x: NaN });
  }
  const windowed = new WindowedMean({ field: "x" });
  windowed.update(step(1, 1, null));
  assertThrows(
    () => windowed.update(step(1, 1, reference)),
    TypeError,
    "expected numbers of the host as before, found tensors",
  );
  assertThrows(() => new WindowedMean({ field: "x", window: 0 }), RangeError, "expected window");
  await assertRejects(
    () => new RunningMean({ field: "x" }).merge(new RunningMean({ field: "y" })),
    TypeError,
    "Cannot merge",
  );
});
