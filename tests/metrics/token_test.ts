import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DictStepOutput } from "../../core/engine/mod.ts";
import { type Device, ShapeError, tensor } from "../../core/mod.ts";
import { type Metric, Perplexity, TokenAccuracy } from "../../metrics/mod.ts";
import { devices, randomValues, reference } from "../util.ts";
import { randomLabels } from "./every.ts";

const VOCABULARY = 11;

interface Text {
  readonly logits: Float64Array;
  readonly targets: number[];
  readonly shape: [number, number];
}

/** Texts of which the second is padded almost to the end. */
function texts(ignore: number): Text[] {
  return [[3, 7, 0], [2, 7, 12]].map(([n, t, padded], i) => ({
    logits: randomValues(n * t * VOCABULARY, 10 + i, -3, 3),
    targets: randomLabels(n * t, 20 + i, VOCABULARY).map((y, k) => k < padded ? ignore : y),
    shape: [n, t],
  }));
}

function outputOf(device: Device, { logits, targets, shape }: Text, classesSecond = false) {
  const predictions = tensor(logits, { device, shape: [...shape, VOCABULARY] });
  return new DictStepOutput({
    predictions: classesSecond ? predictions.permute([0, 2, 1]) : predictions,
    targets: tensor(targets, { device, dtype: "i32" }).reshape(shape),
  });
}

/** Each token's log-probabilities and target, without those to ignore. */
function tokensOf(all: readonly Text[], ignore: number) {
  return all.flatMap(({ logits, targets }) =>
    targets.flatMap((target, i) => {
      if (target === ignore) return [];
      const row = [...logits.subarray(i * VOCABULARY, (i + 1) * VOCABULARY)];
      const total = Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0));
      return [{ row, target, nll: total - row[target] }];
    })
  );
}

for (const device of devices) {
  Deno.test(`TokenAccuracy and Perplexity weigh tokens alike (${device.kind})`, async () => {
    for (const [ignore, options] of [[-100, {}], [0, { ignoreIndex: 0 }]] as const) {
      const all = texts(ignore);
      const tokens = tokensOf(all, ignore);
      const right = tokens.filter(({ row, target }) => row[target] === Math.max(...row));
      const nll = tokens.reduce((sum, token) => sum + token.nll, 0) / tokens.length;
      for (const classDim of [-1, 1]) {
        const accuracy = new TokenAccuracy({ ...options, classDim });
        const perplexity = new Perplexity({ ...options, classDim });
        for (const text of all) {
          for (const m of [accuracy, perplexity]) m.update(outputOf(device, text, classDim === 1));
        }
        assertEquals(await accuracy.compute(), { token_accuracy: right.length / tokens.length });
        const { perplexity: value } = await perplexity.compute();
        assertAlmostEquals(value / Math.exp(nll), 1, 2e-6);
      }
    }
  });
}

Deno.test("TokenAccuracy and Perplexity have documented values without tokens", async () => {
  const [accuracy, perplexity] = [new TokenAccuracy(), new Perplexity()];
  assertEquals(await accuracy.compute(), { token_accuracy: 0 });
  assertEquals(await perplexity.compute(), { perplexity: NaN });
  const [text] = texts(-100);
  const padded = { ...text, targets: text.targets.map(() => -100) };
  for (const metric of [accuracy, perplexity]) metric.update(outputOf(reference, padded));
  assertEquals(await accuracy.compute(), { token_accuracy: 0 });
  assertEquals(await perplexity.compute(), { perplexity: NaN });
});

Deno.test("TokenAccuracy and Perplexity refuse tokens that are none, and shapes", async () => {
  const [text] = texts(-100);
  const wrong = { ...text, targets: text.targets.map((t, i) => i < 2 ? VOCABULARY + i : t) };
  for (const metric of [new TokenAccuracy(), new Perplexity()] as Metric[]) {
    metric.update(outputOf(reference, wrong));
    await assertRejects(
      async () => await metric.compute(),
      RangeError,
      `Cannot compute metric "${metric.name}": expected targets from 0 to 10, found 2 of 21 outside`,
    );
    assertThrows(
      () => metric.update(outputOf(reference, { ...text, shape: [7, 3] }, true)),
      ShapeError,
      "expected targets of the shape of the predictions without their axis -1, found [7, 11, 3] and [7, 3]",
    );
  }
  assertThrows(() => new Perplexity({ ignoreIndex: 2 ** 31 }), RangeError, "ignoreIndex");
});
