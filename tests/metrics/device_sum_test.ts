import { assertEquals, assertThrows } from "@std/assert";
import { isGradEnabled, referenceDevice, tensor } from "../../core/mod.ts";
import { DeviceSum } from "../../metrics/device_sum.ts";

Deno.test("DeviceSum.add() releases temporary tensors and records no gradients", async () => {
  const device = referenceDevice();
  const weight = tensor([1, 2], { device, requiresGrad: true });
  const before = device.memory().liveBuffers;
  const sum = new DeviceSum(2);
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

Deno.test("DeviceSum.load() takes what save() gave, and nothing else", async () => {
  const sum = new DeviceSum(3);
  sum.load("x", [1, "NaN", "-Infinity"]);
  assertEquals(await sum.read(), [1, NaN, -Infinity]);
  assertEquals(await sum.save(), [1, "NaN", "-Infinity"]);
  for (const bad of [[1, 2], [1, 2, null], [1, 2, "3"], "123", undefined]) {
    assertThrows(() => sum.load("x", bad), TypeError, 'Cannot load metric "x": expected 3 numbers');
  }
  assertEquals(await sum.read(), [1, NaN, -Infinity]);
});
