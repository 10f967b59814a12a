import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Device } from "../../../core/mod.ts";
import { gpu, reference } from "../../util.ts";
import { describe, KINDS, observe, type RandomStep } from "./random_steps.ts";

const number = fc.oneof(fc.nat({ max: 63 }), fc.nat({ max: 5 }));
const steps: fc.Arbitrary<RandomStep> = fc.record({
  instructions: fc.array(fc.tuple(fc.nat({ max: KINDS - 1 }), number, number, number), {
    minLength: 1,
    maxLength: 24,
    size: "max",
  }),
  results: fc.array(number, { minLength: 1, maxLength: 8, size: "max" }),
});

/** Index of the first numbers that differ in their bits; NaN is one value. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

async function check(device: Device, step: RandomStep): Promise<void> {
  const eager = await observe(device, step, false);
  const captured = await observe(device, step, true);
  assertEquals(captured.shapes, eager.shapes);
  eager.values.forEach((turn, n) =>
    turn.forEach((want, i) => {
      const got = captured.values[n][i];
      const at = difference(got, want);
      if (at >= 0) {
        throw new Error(
          `turn ${n}, tensor ${i}, element ${at}: ${got[at]} replayed, ${want[at]} op by op, in ` +
            describe(step),
        );
      }
    })
  );
}

const seed = Number(Deno.env.get("FC_SEED") ?? 1);
const runs = Number(Deno.env.get("FC_RUNS") ?? 300);

Deno.test("jit() gives the bits of random steps run op by op, on the reference", async () => {
  await fc.assert(fc.asyncProperty(steps, (step) => check(reference, step)), {
    numRuns: runs,
    seed,
  });
});

Deno.test({
  name: "jit() gives the bits of random steps run op by op, on the GPU",
  ignore: gpu === null,
  fn: async () => {
    await fc.assert(fc.asyncProperty(steps, (step) => check(gpu!, step)), {
      numRuns: Number(Deno.env.get("FC_GPU") ?? 40),
      seed,
    });
  },
});
