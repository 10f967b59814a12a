/** Augmentation against PyTorch's grid_sample, colorsys, Pillow and torchvision's formulas. */

import { assert } from "@std/assert";
import {
  type AugmentMachine,
  changeColours,
  CODES,
  deviceMachine,
  rowsOf,
  type RowsSpec,
  warp,
} from "../../core/tensor/augment_images.ts";
import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import { AUGMENT_OPS, type AugmentOp, randAugment, trivialAugmentWide } from "../../data/mod.ts";
import type { PlannedStep } from "../../data/augment/step.ts";
import type { GoldenTensor } from "../golden/load.ts";
import {
  augmentImages,
  changeCases,
  jitterCases,
  policyCases,
  warpCases,
} from "../golden/load_augment.ts";
import { assertClose, devices } from "../util.ts";

function imageOn(device: Device, { data, shape }: GoldenTensor): Tensor {
  const values = Float64Array.from(data as number[], (byte) => byte / 255);
  return tensor(values, { device, shape, dtype: "f32" });
}

function rowOn(device: Device, values: readonly number[]): Tensor {
  return tensor(Float64Array.from(values), { device, shape: [1, values.length], dtype: "f32" });
}

/** f32 pixels differ from those of f64 by 3e-8, which the bounds of the reference allow for. */
async function compare(got: Tensor, want: GoldenTensor, label: string): Promise<void> {
  const abs = got.device.kind === "reference" ? 3e-7 : 3e-6;
  assertClose(await got.data(), want.data as number[], { rel: 0, abs }, label);
}

const onEach =
  (fn: (device: Device, machine: AugmentMachine<Tensor>) => Promise<void>) => async () => {
    for (const device of devices) {
      using _ = device.scope();
      await fn(device, deviceMachine(device));
    }
  };

Deno.test(
  "turns, shifts, scales and shears are PyTorch's grid_sample",
  onEach(async (device, machine) => {
    const image = imageOn(device, augmentImages.policy);
    for (const { name, numbers, bilinear, fill, output } of warpCases) {
      const rows = rowsOf(machine, { kind: "affine", column: 0 }, rowOn(device, [1, ...numbers]));
      await compare(
        warp(machine, image, rows, { bilinear, fill }),
        output,
        `${name}, ${device.kind}`,
      );
    }
  }),
);

Deno.test(
  "changes of colour are colorsys', Pillow's and torchvision's",
  onEach(async (device, machine) => {
    for (const { name, change, strength, input, output } of changeCases) {
      const code = CODES[change as keyof typeof CODES];
      const own = change === "solarize" ? strength / 255 - 2 ** -16 : strength;
      const rows = rowsOf(machine, { kind: "fixed", column: 0, code }, rowOn(device, [1, own]));
      const options = { codes: [code], slots: 1, column: 0 };
      const image = imageOn(device, augmentImages[input]);
      await compare(
        changeColours(machine, image, rows, options),
        output,
        `${name}, ${device.kind}`,
      );
    }
  }),
);

Deno.test(
  "four changes of colour follow each other in every order",
  onEach(async (device, machine) => {
    const codes = [CODES.brightness, CODES.contrast, CODES.saturation, CODES.hue];
    const image = imageOn(device, augmentImages.colours);
    for (const { name, order, factors, output } of jitterCases) {
      const draws = rowOn(device, [1, order, ...factors]);
      const rows = rowsOf(machine, { kind: "jitter", column: 0, codes }, draws);
      const got = changeColours(machine, image, rows, { codes, slots: 4, column: 0 });
      await compare(got, output, `${name}, ${device.kind}`);
    }
  }),
);

Deno.test(
  "ops of RandAugment and TrivialAugment have torchvision's strengths",
  onEach(async (device, real) => {
    const image = imageOn(device, augmentImages.policy);
    for (const { name, policy, op, bin, negative, output } of policyCases) {
      const make = policy === "randAugment"
        ? (ops: readonly AugmentOp[]) => randAugment({ numOps: 1, magnitude: bin, ops })
        : (ops: readonly AugmentOp[]) => trivialAugmentWide({ ops });
      const plan = (make([op as AugmentOp]) as PlannedStep).plan([3, 6, 7], 0);
      assert(plan.columns.length === 3);
      // The step as it is, with these draws instead of random ones.
      const draws = rowOn(device, [0, negative ? 1 : 0, bin]);
      await compare(plan.apply!(real, image, draws), output, `${name}, ${device.kind}`);
    }
    assert(policyCases.every(({ op, number }) => AUGMENT_OPS[number] === op));
  }),
);

Deno.test("a row whose flag is not set leaves the image as it is, bit for bit", async () => {
  for (const device of devices) {
    using _ = device.scope();
    const machine = deviceMachine(device);
    const image = imageOn(device, augmentImages.policy);
    const want = await image.data();
    const affine: RowsSpec = { kind: "affine", column: 0 };
    const still = rowsOf(machine, affine, rowOn(device, [0, 50, 3, 3, 2, 20, 20]));
    const identity = rowsOf(machine, affine, rowOn(device, [1, 0, 0, 0, 1, 0, 0]));
    for (const rows of [still, identity]) {
      for (const bilinear of [false, true]) {
        const got = await warp(machine, image, rows, { bilinear, fill: [0.5] }).data();
        assertClose(got, want, 0, device.kind);
      }
    }
  }
});
