import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Device } from "../../core/mod.ts";
import { BinaryCalibrationError, CalibrationError } from "../../metrics/mod.ts";
import { assertClose, devices, randomValues, reference } from "../util.ts";
import { randomLabels } from "./every.ts";
import { outputOf } from "./outputs.ts";

/** Bins of samples (confidence, right), by the definition. */
function binned(samples: readonly (readonly [number, boolean])[], bins: number) {
  return Array.from({ length: bins }, (_, bin) => {
    const own = samples.filter(([p]) => Math.min(bins - 1, Math.floor(p * bins)) === bin);
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    return {
      low: bin / bins,
      high: (bin + 1) / bins,
      count: own.length,
      confidence: mean(own.map(([p]) => p)),
      accuracy: mean(own.map(([, right]) => Number(right))),
    };
  });
}

function errorsOf(curve: ReturnType<typeof binned>) {
  const full = curve.filter(({ count }) => count > 0);
  const total = full.reduce((sum, { count }) => sum + count, 0);
  const gaps = full.map(({ accuracy, confidence }) => Math.abs(accuracy - confidence));
  return {
    ece: gaps.reduce((s, g, i) => s + g * full[i].count / total, 0),
    max: Math.max(...gaps),
  };
}

function assertCurve(got: ReturnType<typeof binned>, want: ReturnType<typeof binned>) {
  const flat = (curve: ReturnType<typeof binned>) => curve.flatMap((bin) => Object.values(bin));
  assertClose(flat(got), flat(want), 1e-6, "curve");
}

for (const device of devices) {
  Deno.test(`CalibrationError compares confidence with accuracy in bins (${device.kind})`, async () => {
    const [n, classes, bins] = [200, 4, 10];
    const logits = randomValues(n * classes, 1, -3, 3);
    const targets = randomLabels(n, 2, classes);
    const rows = targets.map((_, i) => [...logits.subarray(i * classes, (i + 1) * classes)]);
    const samples = rows.map((row, i) => {
      const powers = row.map(Math.exp);
      const top = row.indexOf(Math.max(...row));
      return [powers[top] / powers.reduce((a, b) => a + b, 0), top === targets[i]] as const;
    });
    const error = new CalibrationError({ bins });
    for (const [from, to] of [[0, 90], [90, 180], [180, n]]) {
      const batch = { predictions: rows.slice(from, to), targets: targets.slice(from, to) };
      error.update(outputOf(device, batch));
    }
    const want = binned(samples, bins);
    assertCurve(await error.curve() as ReturnType<typeof binned>, want);
    const { ece, "ece/max": max } = await error.compute();
    assertClose([ece, max], Object.values(errorsOf(want)), 1e-6, "errors");
  });

  Deno.test(`BinaryCalibrationError compares probability with share of positives (${device.kind})`, async () => {
    const [n, bins] = [150, 7];
    const logits = randomValues(n, 3, -4, 4);
    const targets = randomLabels(n, 4, 2);
    const samples = targets.map((t, i) => [1 / (1 + Math.exp(-logits[i])), t === 1] as const);
    const want = binned(samples, bins);
    const fromLogits = new BinaryCalibrationError({ bins, name: "cal" });
    fromLogits.update(outputOf(device, { predictions: [...logits], targets }));
    const { cal, "cal/max": max } = await fromLogits.compute();
    assertClose([cal, max], Object.values(errorsOf(want)), 1e-6, "errors");
    const probabilities = samples.map(([p]) => p);
    const direct = new BinaryCalibrationError({ bins, applySigmoid: false });
    direct.update(outputOf(device, { predictions: probabilities, targets }));
    assertCurve(await direct.curve() as ReturnType<typeof binned>, want);
  });

  Deno.test(`calibration errors refuse what is no probability, and take 0 and 1 (${device.kind})`, async () => {
    const make = () => new BinaryCalibrationError({ bins: 4, applySigmoid: false });
    const edges = make();
    edges.update(outputOf(device, { predictions: [0, 1, 1], targets: [0, 1, 0] }));
    const curve = await edges.curve();
    assertEquals(curve.map(({ count }) => count), [1, 0, 0, 2]);
    assertAlmostEquals((await edges.compute()).ece, 1 / 3, 1e-6);
    const bad = make();
    bad.update(outputOf(device, { predictions: [NaN, 1.25, -0.5, 0.5], targets: [0, 1, 1, 1] }));
    await assertRejects(
      () => bad.compute(),
      RangeError,
      'Cannot compute metric "ece": expected confidences from 0 to 1, found 3 of 4 that are not',
    );
    bad.reset();
    bad.update(outputOf(device, { predictions: [0.5], targets: [1] }));
    assertEquals(await bad.compute(), { "ece": 0.5, "ece/max": 0.5 });
    const labels = new CalibrationError();
    labels.update(outputOf(device, { predictions: [[1, 2], [2, 1]], targets: [5, 0] }));
    await assertRejects(() => labels.compute(), RangeError, "found 1 of 2 outside");
  });
}

Deno.test("calibration errors are NaN without samples, and 0 where confidence is right", async () => {
  assertEquals(await new CalibrationError().compute(), { "ece": NaN, "ece/max": NaN });
  const even = new BinaryCalibrationError();
  const half = (device: Device) => outputOf(device, { predictions: [0, 0], targets: [0, 1] });
  even.update(half(reference));
  assertEquals(await even.compute(), { "ece": 0, "ece/max": 0 });
  assertThrows(() => new CalibrationError({ bins: 0 }), RangeError, "expected bins to be");
});
