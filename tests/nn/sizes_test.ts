import { assertEquals, assertThrows } from "@std/assert";
import { autopad, makeDivisible } from "../../nn/mod.ts";

Deno.test("makeDivisible() gives LegoML's numbers of channels", () => {
  const found = [3, 8, 11, 12, 16, 20, 25, 30].map((n) => makeDivisible(n));
  assertEquals(found, [8, 8, 16, 16, 16, 24, 24, 32]);
});

Deno.test("makeDivisible() keeps to divisor, least value and protection", () => {
  assertEquals(makeDivisible(3, { divisor: 4 }), 4);
  assertEquals(makeDivisible(3, { minValue: 16 }), 16);
  assertEquals([makeDivisible(11), makeDivisible(11, { roundDownProtect: false })], [16, 8]);
  for (let n = 1; n < 200; n++) {
    const found = makeDivisible(n);
    assertEquals([found % 8, found >= 0.9 * n, Math.abs(found - n) < 12], [0, true, true], `${n}`);
  }
  assertThrows(() => makeDivisible(0), RangeError, "Cannot make 0 divisible");
  assertThrows(() => makeDivisible(9, { divisor: 0 }), RangeError, "with divisor 0");
  assertThrows(() => makeDivisible(9, { minValue: 1.5 }), RangeError, "with minValue 1.5");
});

Deno.test("autopad() gives LegoML's paddings, and an explicit 0 stays", () => {
  assertEquals([2, 3, 5].map((k) => autopad(k)), [[0, 0], [1, 1], [2, 2]]);
  assertEquals(autopad(3, { dilation: 2 }), [2, 2]);
  assertEquals(autopad([1, 7], { dilation: [1, 3] }), [0, 9]);
  assertEquals(autopad(3, { padding: 0 }), [0, 0]);
  assertEquals(autopad(3, { padding: [0, 2] }), [0, 2]);
  assertThrows(() => autopad(0), RangeError, "choose a padding with kernelSize 0");
  assertThrows(() => autopad(3, { dilation: 0 }), RangeError, "with dilation 0");
  assertThrows(() => autopad(3, { padding: -1 }), RangeError, "with padding -1");
});
