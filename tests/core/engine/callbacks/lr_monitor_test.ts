import {
  AdamW,
  Context,
  Engine,
  LrMonitorCallback,
  LrScheduleCallback,
  schedule,
  tensor,
} from "../../../../core/mod.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { stepScalarsOf } from "../../../../core/engine/step_scalars.ts";
import { assertClose, reference } from "../../../util.ts";

const device = reference;

function scalars(engine: Engine): Record<string, unknown>[] {
  const seen: Record<string, unknown>[] = [];
  engine.on("stepEnd", (event) => void seen.push(Object.fromEntries(stepScalarsOf(event))));
  return seen;
}

Deno.test("LrMonitorCallback tells the rate and momentum that each step was taken with", async () => {
  const [a, b, c] = [1, 2, 3].map((x) => tensor([x], { device, requiresGrad: true }));
  const optimizer = new AdamW([{ params: [a] }, { params: [b] }, { params: [c], lr: 0.01 }], {
    lr: 0.1,
  });
  const rates = schedule.oneCycle({ maxLr: 1, pctStart: 0.5 });
  const engine = new Engine(() => {}, new Context({ model: null, optimizer }), {
    callbacks: [new LrScheduleCallback(rates), new LrMonitorCallback({ momentum: true })],
  });
  const seen = scalars(engine as unknown as Engine);
  await engine.loop(Array(5).fill(0));
  // The schedule itself, asked once more, is the independent source.
  const again = rates;
  for (const [step, values] of seen.entries()) {
    const time = { step, total: 5 };
    const want = [
      again.lr(time, { base: 0.1, first: 0.1, index: 0 }),
      again.lr(time, { base: 0.01, first: 0.1, index: 2 }),
      again.momentum(time)!,
    ];
    assertEquals(Object.keys(values), ["lr", "lr/2", "momentum"]);
    assertClose(Object.values(values) as number[], want, 1e-15);
  }
  assertEquals(new Set(seen.map(({ lr }) => lr)).size > 2, true);
});

Deno.test("it needs an optimizer, and no schedule", async () => {
  const optimizer = { groups: [{ lr: 2, momentum: 0.5 }] };
  const given = new Engine(() => {}, new Context({ model: null }), {
    callbacks: [new LrMonitorCallback({ optimizer })],
  });
  const seen = scalars(given as unknown as Engine);
  given.on("stepStart", ({ state }) => void (optimizer.groups[0].lr = 2 - state.globalStep));
  await given.loop([0, 0]);
  assertEquals(seen, [{ lr: 2 }, { lr: 1 }]);
  const none = new Engine(() => {}, new Context({ model: null }), {
    callbacks: [new LrMonitorCallback()],
  });
  await assertRejects(
    () => none.loop([0]),
    TypeError,
    "Cannot monitor learning rates: expected an optimizer with groups in the context, found nothing",
  );
});

Deno.test("two callbacks that give a value of one name are refused", async () => {
  const optimizer = { groups: [{ lr: 2 }] };
  const engine = new Engine(() => {}, new Context({ model: null, optimizer }), {
    callbacks: [new LrMonitorCallback(), new LrMonitorCallback()],
  });
  scalars(engine as unknown as Engine);
  await assertRejects(
    () => engine.loop([0]),
    Error,
    'Cannot record "lr" of step 1: expected one callback that gives it, found two',
  );
});
