import { assertEquals, assertRejects } from "@std/assert";
import { isGradEnabled, referenceDevice, tensor } from "../../core/mod.ts";
import { DeviceSum } from "../../metrics/device_sum.ts";
import { devices } from "../util.ts";

Deno.test("DeviceSum.add() releases temporary tensors and records no gradients", async () => {
  const device = referenceDevice();
  const weight = tensor([1, 2], { device, requiresGrad: true });
  const before = device.memory().liveBuffers;
  const sum = new DeviceSum(2, "f32");
  for (let i = 0; i < 5; i++) {
    sum.add(weight, () => {
      assertEquals(isGradEnabled(), false);
      return weight.mul(weight).add(1).sub(1);
    });
    assertEquals(device.memory().liveBuffers, before + 1);
  }
  assertEquals(await sum.read(), [5, 20]);
  assertEquals(isGradEnabled(), true);
  sum.reset();
  // The place stays, since captured steps go on adding there.
  assertEquals(device.memory().liveBuffers, before + 1);
  assertEquals(await sum.read(), [0, 0]);
});

Deno.test("DeviceSum counts in whole numbers where it is given them", async () => {
  const device = referenceDevice();
  const sum = new DeviceSum(1);
  const big = tensor([2 ** 24], { device, dtype: "i32" });
  const one = tensor([1], { device, dtype: "i32" });
  sum.add(big, () => big.mul(1));
  sum.add(one, () => one.mul(1));
  // An f32 sum would lose the one.
  assertEquals(await sum.read(), [2 ** 24 + 1]);
});

Deno.test("DeviceSum refuses counts that may have passed the range of i32", async () => {
  const device = referenceDevice();
  const sum = new DeviceSum(1);
  const one = tensor([1], { device, dtype: "i32" });
  sum.add(one, () => one.mul(1), 2 ** 30);
  sum.add(one, () => one.mul(1), 2 ** 30 - 1);
  assertEquals(await sum.read(), [2]);
  sum.add(one, () => one.mul(1), 1);
  await assertRejects(() => sum.read(), RangeError, "expected at most 2147483647");
  sum.reset();
  assertEquals(await sum.read(), [0]);
});

for (const device of devices) {
  Deno.test(`DeviceSum goes on from what it loads, before and after its first step (${device.kind})`, async () => {
    const part = tensor([1, 2, 3], { device });
    for (const dtype of ["i32", "f32"] as const) {
      const sum = new DeviceSum(3, dtype);
      sum.load([10, 0, 2 ** 40]);
      assertEquals(await sum.read(), [10, 0, 2 ** 40]);
      sum.add(part, () => part.mul(1));
      // In f32 there is no 2 ** 40 + 3.
      const last = dtype === "i32" || device.kind === "reference" ? 2 ** 40 + 3 : 2 ** 40;
      assertEquals(await sum.read(), [11, 2, last]);
      sum.load([5, 6, 7]);
      sum.absorb([0.5, 0, 2 ** 50]);
      sum.add(part, () => part.mul(1));
      assertEquals(await sum.read(), [6.5, 8, 2 ** 50 + 10]);
    }
  });
}

Deno.test("DeviceSum tells what it can be loaded with", () => {
  const [counts, sum] = [new DeviceSum(2, "i32"), new DeviceSum(2, "f32")];
  assertEquals([counts.accepts([1, 2]), sum.accepts([1, NaN])], [true, true]);
  for (const bad of [[1], [1, 2, 3], [1, -1], [1, 0.5], [1, NaN]]) {
    assertEquals(counts.accepts(bad), false, String(bad));
  }
  assertEquals(sum.accepts([1]), false);
});
