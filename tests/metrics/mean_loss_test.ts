import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { DictStepOutput, SupervisedStepOutput } from "../../core/engine/mod.ts";
import { referenceDevice, ShapeError, tensor } from "../../core/mod.ts";
import { MeanLoss, MetricInputError } from "../../metrics/mod.ts";
import { outputOf } from "./outputs.ts";

const device = referenceDevice();

Deno.test("MeanLoss weights each step by its samples", async () => {
  const mean = new MeanLoss();
  const losses = [0.5, 1.25, 3];
  const sizes = [64, 64, 17];
  losses.forEach((loss, i) => mean.update(outputOf(device, { loss, count: sizes[i] })));
  const expected = (64 * 0.5 + 64 * 1.25 + 17 * 3) / 145;
  assertAlmostEquals((await mean.compute()).loss, expected, 1e-12);
});

Deno.test("MeanLoss takes the size from the targets, and losses of shape [1]", async () => {
  const mean = new MeanLoss({ name: "train" });
  const output = (loss: number[], targets: number[]) =>
    new SupervisedStepOutput({
      loss: tensor(loss, { device }),
      targets: tensor(targets, { device, dtype: "i32" }),
    });
  mean.update(output([1], [0, 0, 0]));
  mean.update(output([5], [0]));
  assertEquals(await mean.compute(), { train: 2 });
});

Deno.test("MeanLoss is NaN without samples and with a NaN, and recovers by reset()", async () => {
  const mean = new MeanLoss();
  assertEquals(await mean.compute(), { loss: NaN });
  mean.update(outputOf(device, { loss: NaN, count: 2 }));
  mean.update(outputOf(device, { loss: 1, count: 2 }));
  assertEquals(await mean.compute(), { loss: NaN });
  mean.reset();
  mean.update(outputOf(device, { loss: 1, count: 2 }));
  assertEquals(await mean.compute(), { loss: 1 });
});

Deno.test("MeanLoss leaves the loss and its graph alone", async () => {
  const weight = tensor(3, { device, requiresGrad: true });
  const loss = weight.mul(weight);
  const mean = new MeanLoss({ field: "extra" });
  mean.update(new DictStepOutput({ extra: loss, count: 4 }));
  assertEquals([await loss.item(), await mean.compute()], [9, { loss: 9 }]);
  loss.backward();
  assertEquals(await weight.grad?.item(), 6);
});

Deno.test("MeanLoss refuses a loss that is missing, no tensor or no scalar", () => {
  const mean = new MeanLoss();
  assertThrows(
    () => mean.update(new DictStepOutput({ predictions: 1 })),
    MetricInputError,
    'Cannot update metric "loss": expected a tensor "loss" in the step output, found only predictions',
  );
  assertThrows(() => mean.update(new DictStepOutput({ loss: 0.5 })), MetricInputError, "number");
  assertThrows(
    () => mean.update(new DictStepOutput({ loss: tensor([1, 2], { device }) })),
    ShapeError,
    'expected "loss" to have one element, found shape [2]',
  );
});

Deno.test("MeanLoss continues from a saved state, also one that is not finite", async () => {
  const old = new MeanLoss();
  old.update(outputOf(device, { loss: 2, count: 3 }));
  const next = new MeanLoss();
  next.load(JSON.parse(JSON.stringify(await old.state())));
  next.update(outputOf(device, { loss: 6, count: 1 }));
  assertEquals(await next.compute(), { loss: 3 });
  old.update(outputOf(device, { loss: Infinity, count: 1 }));
  next.load(JSON.parse(JSON.stringify(await old.state())));
  assertEquals(await next.compute(), { loss: Infinity });
  assertThrows(() => next.load([1, "many"]), TypeError, 'Cannot load metric "loss"');
});
