import { assertEquals, assertThrows } from "@std/assert";
import { referenceDevice } from "../../core/mod.ts";
import { autoencoderCollate, classificationCollate, type LabelledItem } from "../../data/mod.ts";

const device = referenceDevice();

function image(pixels: number[], label: number): LabelledItem {
  return { input: new Uint8Array(pixels), shape: [1, 1, 2], label, classCount: 10 };
}

Deno.test("classificationCollate() normalises images and numbers the classes", async () => {
  const collate = classificationCollate({ normalization: { mean: 0.5, std: 0.25 } });
  const batch = collate([image([0, 255], 3), image([255, 0], 9)])(device);
  assertEquals([batch.inputs.dtype, batch.inputs.shape], ["f32", [2, 1, 1, 2]]);
  assertEquals([batch.targets.dtype, batch.targets.shape, batch.size], ["i32", [2], 2]);
  assertEquals(await batch.inputs.array(), [[[[-2, 2]]], [[[2, -2]]]]);
  assertEquals(await batch.targets.array(), [3, 9]);
});

Deno.test("classificationCollate() takes features as they are", async () => {
  const item = { input: new Float32Array([1.5, -2]), shape: [2], label: 0, classCount: 2 };
  const batch = classificationCollate({ normalization: { mean: 9, std: 9 } })([item])(device);
  assertEquals(await batch.inputs.array(), [[1.5, -2]]);
});

Deno.test("classificationCollate() copies, so that items may change", async () => {
  const item = image([0, 255], 1);
  const make = classificationCollate()([item]);
  item.input.fill(7);
  assertEquals(await make(device).inputs.array(), [[[[0, 1]]]]);
});

Deno.test("classificationCollate() rejects labels that are no class", () => {
  for (const label of [-1, 10, 1.5, NaN]) {
    assertThrows(
      () => classificationCollate()([image([0, 0], 0), image([0, 0], label)]),
      RangeError,
      `from 0 to 9: got ${label}`,
    );
  }
});

Deno.test("classificationCollate() rejects items of different shapes", () => {
  const wide = { ...image([0, 0, 0], 0), shape: [1, 1, 3] };
  assertThrows(
    () => classificationCollate()([image([0, 0], 0), wide]),
    RangeError,
    "every item must have shape [1, 1, 2]: got [1, 1, 3] with 3 elements",
  );
  assertThrows(() => classificationCollate()([image([0], 0)]), RangeError, "with 1 elements");
});

Deno.test("autoencoderCollate() gives the inputs as targets", async () => {
  const batch = autoencoderCollate()([image([0, 255], 3), image([51, 0], 99)])(device);
  assertEquals(batch.inputs === batch.targets, true);
  assertEquals([batch.size, batch.inputs.shape], [2, [2, 1, 1, 2]]);
  const values = await batch.inputs.data();
  assertEquals([...values].map((value) => Math.fround(value)), [0, 1, Math.fround(0.2), 0]);
});
