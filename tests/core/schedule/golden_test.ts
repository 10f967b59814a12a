import { schedule } from "../../../core/mod.ts";
import type { Schedule } from "../../../core/mod.ts";
import { assert, assertEquals } from "@std/assert";
import { plateauCases, scheduleCases } from "../../golden/load_schedules.ts";
import { assertClose } from "../../util.ts";

const bounds = { rel: 1e-10, abs: 1e-15 };

/** The rates of all groups at a step. */
function rates(made: Schedule, step: number, bases: readonly number[]): number[] {
  return bases.map((base, index) => made.lr(step, { base, first: bases[0], index }));
}

for (const { name, schedule: json, bases, lrs, momentum } of scheduleCases) {
  Deno.test(`PyTorch's rates: ${name}`, () => {
    const made = schedule.fromJSON(json);
    lrs.forEach((want, step) =>
      assertClose(rates(made, step, bases), want, bounds, `step ${step}`)
    );
    // The rates are functions: asked for backwards they are the same.
    const again = schedule.fromJSON(JSON.parse(JSON.stringify(made)));
    for (let step = lrs.length - 1; step >= 0; step--) {
      assertEquals(rates(again, step, bases), rates(made, step, bases));
    }
    if (momentum === undefined) return assertEquals(made.momentum(3), null);
    const cycled = json.cycleMomentum !== false;
    const found = momentum.map((_, step) => made.momentum(step) ?? 0.9);
    assertEquals(made.momentum(0) !== null, cycled);
    assertClose(found, momentum, bounds, "momentum");
  });
}

for (const { name, schedule: json, bases, metrics, lrs } of plateauCases) {
  Deno.test(`PyTorch's rates on a plateau: ${name}`, () => {
    let made = schedule.fromJSON(json);
    assert(made.watches);
    metrics.forEach((metric, i) => {
      made.observe(Number(metric), i + 1);
      assertClose(rates(made, i + 1, bases), lrs[i], bounds, `after value ${i}`);
      // Saved and loaded after each value.
      const next = schedule.fromJSON(JSON.parse(JSON.stringify(made)));
      next.load(JSON.parse(JSON.stringify(made.state())));
      made = next;
    });
  });
}
