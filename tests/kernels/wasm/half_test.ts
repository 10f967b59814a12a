import { assertEquals } from "@std/assert";
import {
  floatOfHalf,
  floatsOfHalves,
  halfOfFloat,
  loadHalves,
  storeHalves,
} from "../../../kernels/wasm/half.ts";
import { v128 } from "../../../kernels/wasm/instructions.ts";
import { keyed } from "../points.ts";
import { machine, paramsOf } from "./machine.ts";

const bits = new DataView(new ArrayBuffer(4));

/** The float of a word, by the built-in type. */
function floatOf(word: number): number {
  return new Float16Array(Uint16Array.of(word).buffer)[0];
}

function wordOf(x: number): number {
  return new Uint16Array(Float16Array.of(x).buffer)[0];
}

/** Floats at and next to the middle between two of 16 bits, and everywhere else. */
function floats(): number[] {
  const drawn = Array.from({ length: 20000 }, (_, n) => {
    bits.setUint32(0, keyed(1, n) * 2 ** 32);
    return bits.getFloat32(0);
  });
  const near = Array.from({ length: 4000 }, (_, n) => {
    const word = Math.floor(keyed(2, n) * 0x7c00);
    const middle = (floatOf(word) + floatOf(word + 1)) / 2;
    bits.setFloat32(0, Number.isFinite(middle) ? middle : 65519.996);
    bits.setUint32(0, bits.getUint32(0) + n % 3 - 1);
    return (n % 2 ? 1 : -1) * bits.getFloat32(0);
  });
  const edges = [65504, 65519, 65520, 65536, 2 ** -14, 2 ** -24, 2 ** -25, 2 ** -26, 1e-45, 0];
  return [...drawn, ...near, ...edges.flatMap((x) => [x, -x]), Infinity, -Infinity, NaN].map(
    Math.fround,
  );
}

Deno.test("every float of 16 bits has its value", () => {
  const single = machine(["i32"], "f32", (fn) => floatOfHalf(fn, paramsOf(fn)[0]));
  const lanes = machine(["i32"], null, (fn) => {
    const [at] = paramsOf(fn);
    return v128.store(at, loadHalves(fn, at, 64), 128);
  });
  for (let word = 0; word < 65536; word++) {
    assertEquals(single.f(word), floatOf(word), `${word}`);
    if (word % 4 !== 0) continue;
    for (let n = 0; n < 4; n++) lanes.memory.setUint16(64 + 2 * n, word + n, true);
    lanes.f(0);
    for (let n = 0; n < 4; n++) {
      assertEquals(lanes.memory.getFloat32(128 + 4 * n, true), floatOf(word + n));
    }
  }
});

Deno.test("floats are rounded to the nearest of 16 bits, to even in the middle", () => {
  const single = machine(["f32"], "i32", (fn) => halfOfFloat(fn, paramsOf(fn)[0]));
  const lanes = machine(["i32"], null, (fn) => {
    const [at] = paramsOf(fn);
    return storeHalves(fn, at, v128.load(at, 64), 128);
  });
  const all = floats();
  const same = (got: number, x: number) =>
    Number.isNaN(x)
      ? assertEquals(Number.isNaN(floatOf(got)), true)
      : assertEquals(got, wordOf(x), `${x}`);
  all.forEach((x, n) => {
    same(single.f(x), x);
    if (n % 4 !== 0) return;
    const some = [0, 1, 2, 3].map((k) => all[(n + k) % all.length]);
    some.forEach((v, k) => lanes.memory.setFloat32(64 + 4 * k, v, true));
    lanes.f(0);
    some.forEach((v, k) => same(lanes.memory.getUint16(128 + 2 * k, true), v));
    assertEquals(lanes.memory.getUint32(136, true), 0);
  });
});

Deno.test("words in lanes of 32 bits become floats whatever lies in memory", () => {
  const { f, memory } = machine(["i32"], null, (fn) => {
    const [at] = paramsOf(fn);
    return v128.store(at, floatsOfHalves(fn, v128.const([0x3c00, 0xc000, 1, 0xfc00])), 48);
  });
  f(16);
  assertEquals([0, 4, 8, 12].map((n) => memory.getFloat32(64 + n, true)), [
    1,
    -2,
    2 ** -24,
    -Infinity,
  ]);
});
