import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Device } from "../../../core/mod.ts";
import { kernelSets } from "../devices.ts";
import { reference } from "../../util.ts";
import { describe, KINDS, observe, type RandomStep } from "./random_steps.ts";

// Small numbers come often, so that instructions meet at the same tensors.
const number = fc.oneof(fc.nat({ max: 63 }), fc.nat({ max: 5 }));
const instruction = fc.tuple(fc.nat({ max: KINDS - 1 }), number, number, number);
const steps: fc.Arbitrary<RandomStep> = fc.record({
  instructions: fc.array(instruction, { minLength: 1, maxLength: 24, size: "max" }),
  results: fc.array(number, { minLength: 1, maxLength: 8, size: "max" }),
});

/** Index of the first numbers that differ in their bits, or -1; NaN is one value. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

/** Runs a step both ways and fails at the first bit that differs. */
async function check(device: Device, step: RandomStep): Promise<void> {
  const eager = await observe(device, step, false);
  const captured = await observe(device, step, true);
  assertEquals(captured.shapes, eager.shapes);
  eager.values.forEach((turn, n) =>
    turn.forEach((want, i) => {
      const got = captured.values[n][i];
      const at = difference(got, want);
      if (at < 0) return;
      const show = (x: number) => Object.is(x, -0) ? "-0" : String(x);
      throw new Error(
        `turn ${n}, tensor ${i}, element ${at}: ${show(got[at])} replayed, ${show(want[at])} op ` +
          `by op, in ${describe(step)}`,
      );
    })
  );
}

/** Checks so many random steps. */
async function checkMany(device: Device, numRuns: number, seed: number): Promise<void> {
  const property = fc.asyncProperty(steps, (step) => check(device, step));
  await fc.assert(property, { numRuns, seed });
}

Deno.test("jit() gives the bits of random steps run op by op, on the reference", async () => {
  await checkMany(reference, 600, 1);
});

for (const [name, device] of kernelSets) {
  Deno.test({
    name: `jit() gives the bits of random steps run op by op, ${name}`,
    ignore: device === null,
    fn: () => checkMany(device!, 40, 2),
  });
}
