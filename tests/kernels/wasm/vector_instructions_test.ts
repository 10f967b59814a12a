import { assertEquals } from "@std/assert";
import {
  type Code,
  f32,
  f32x4,
  i16x8,
  i32,
  i32x4,
  select,
  v128,
} from "../../../kernels/wasm/instructions.ts";
import { floatWords, machine, onVectors, paramsOf, wordFloats, type Words } from "./machine.ts";

const INTS: readonly Words[] = [
  [0, 1, 0xffffffff, 0x80000000],
  [5, 0x7fffffff, 0xfffffffe, 3],
  [0x80000001, 0, 65537, 0xffff0000],
];
const FLOATS: readonly (readonly number[])[] = [
  [0, -0, 1.5, -2.5],
  [NaN, Infinity, -Infinity, 3e9],
  [2.5, -3e38, 1e-40, -0.25],
  [1e38, 0.5, -0.5, 5e9],
];

const word = (x: number) => x >>> 0;
const mask = (truth: boolean) => truth ? 0xffffffff : 0;

type OnWords = (...args: number[]) => number;

/** What each lane gives, from words of 32 bits. */
const intLanes: Record<string, OnWords> = {
  eq: (a, b) => mask(a === b),
  ne: (a, b) => mask(a !== b),
  lt_s: (a, b) => mask((a | 0) < (b | 0)),
  lt_u: (a, b) => mask(a < b),
  gt_s: (a, b) => mask((a | 0) > (b | 0)),
  gt_u: (a, b) => mask(a > b),
  le_s: (a, b) => mask((a | 0) <= (b | 0)),
  le_u: (a, b) => mask(a <= b),
  ge_s: (a, b) => mask((a | 0) >= (b | 0)),
  ge_u: (a, b) => mask(a >= b),
  abs: (a) => word(Math.abs(a | 0)),
  neg: (a) => word(-(a | 0)),
  add: (a, b) => word(a + b),
  sub: (a, b) => word(a - b),
  mul: (a, b) => word(Math.imul(a, b)),
  min_s: (a, b) => word(Math.min(a | 0, b | 0)),
  min_u: Math.min,
  max_s: (a, b) => word(Math.max(a | 0, b | 0)),
  max_u: Math.max,
};
const bitLanes: Record<string, OnWords> = {
  not: (a) => word(~a),
  and: (a, b) => word(a & b),
  andnot: (a, b) => word(a & ~b),
  or: (a, b) => word(a | b),
  xor: (a, b) => word(a ^ b),
};
const floatLanes: Record<string, OnWords> = {
  ceil: Math.ceil,
  floor: Math.floor,
  trunc: Math.trunc,
  nearest: (a) => Math.abs(a) >= 2 ** 23 || !Number.isFinite(a) ? a : even(a),
  abs: Math.abs,
  neg: (a) => -a,
  sqrt: Math.sqrt,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  pmin: (a, b) => b < a ? b : a,
  pmax: (a, b) => a < b ? b : a,
};
const floatMasks: Record<string, (a: number, b: number) => boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  gt: (a, b) => a > b,
  le: (a, b) => a <= b,
  ge: (a, b) => a >= b,
};

function even(x: number): number {
  const low = Math.floor(x);
  const up = x - low > 0.5 || (x - low === 0.5 && low % 2 !== 0);
  const value = up ? low + 1 : low;
  return value === 0 && (x < 0 || Object.is(x, -0)) ? -0 : value;
}

function clamped(x: number, least: number, most: number): number {
  return word(Number.isNaN(x) ? 0 : Math.max(least, Math.min(most, Math.trunc(x))));
}

type Make = (...args: Code[]) => Code;

function eachPair<T>(values: readonly T[], count: number, visit: (...args: T[]) => void): void {
  for (const a of values) for (const b of count > 1 ? values : [a]) visit(a, b);
}

Deno.test("instructions on four integers give what the specification says", async (t) => {
  for (const [table, group] of [[intLanes, i32x4], [bitLanes, v128]] as const) {
    for (const [name, want] of Object.entries(table)) {
      await t.step(name, () => {
        const make = (group as unknown as Record<string, Make>)[name];
        eachPair(INTS, make.length, (a, b) => {
          const got = onVectors([a, b], (v) => make(...v.slice(0, make.length)));
          assertEquals(got, a.map((x, n) => want(x, b[n])), `${name} of ${a} and ${b}`);
        });
      });
    }
  }
});

Deno.test("instructions on four floats give what the specification says", async (t) => {
  for (const [name, want] of Object.entries(floatLanes)) {
    await t.step(name, () => {
      const make = (f32x4 as unknown as Record<string, Make>)[name];
      eachPair(FLOATS, make.length, (a, b) => {
        const [x, y] = [a.map(Math.fround), b.map(Math.fround)];
        const got = onVectors(
          [floatWords(x), floatWords(y)],
          (v) => make(...v.slice(0, make.length)),
        );
        assertEquals(
          wordFloats(got),
          x.map((p, n) => Math.fround(want(p, y[n]))),
          `${name} ${a} ${b}`,
        );
      });
    });
  }
  for (const [name, want] of Object.entries(floatMasks)) {
    const make = (f32x4 as unknown as Record<string, Make>)[name];
    eachPair(FLOATS, 2, (a, b) => {
      const got = onVectors([floatWords(a), floatWords(b)], (v) => make(...v));
      assertEquals(got, a.map((p, n) => mask(want(Math.fround(p), Math.fround(b[n])))), name);
    });
  }
});

Deno.test("conversions of four numbers saturate, and read words as their type says", () => {
  for (const floats of FLOATS) {
    const vector = floatWords(floats);
    assertEquals(
      onVectors([vector], ([v]) => i32x4.trunc_sat_f32x4_s(v)),
      floats.map((x) => clamped(Math.fround(x), -2147483648, 2147483647)),
    );
    assertEquals(
      onVectors([vector], ([v]) => i32x4.trunc_sat_f32x4_u(v)),
      floats.map((x) => clamped(Math.fround(x), 0, 4294967295)),
    );
  }
  for (const words of INTS) {
    assertEquals(
      wordFloats(onVectors([words], ([v]) => f32x4.convert_i32x4_s(v))),
      words.map((x) => Math.fround(x | 0)),
    );
    assertEquals(
      wordFloats(onVectors([words], ([v]) => f32x4.convert_i32x4_u(v))),
      words.map((x) => Math.fround(x)),
    );
  }
});

Deno.test("shifts of four integers count modulo 32", () => {
  const by = [0, 1, 31, 33];
  for (const n of by) {
    const amount = i32.const(n);
    for (const a of INTS) {
      assertEquals(onVectors([a], ([v]) => i32x4.shl(v, amount)), a.map((x) => word(x << n)));
      assertEquals(onVectors([a], ([v]) => i32x4.shr_s(v, amount)), a.map((x) => word(x >> n)));
      assertEquals(onVectors([a], ([v]) => i32x4.shr_u(v, amount)), a.map((x) => x >>> n));
    }
  }
});

Deno.test("lanes are set, read and tested", () => {
  const [a] = INTS;
  const b: Words = [0xffffffff, 0xffffffff, 1, 0x80000000];
  assertEquals(onVectors([], () => i32x4.splat(i32.const(-7))), new Array(4).fill(word(-7)));
  assertEquals(wordFloats(onVectors([], () => f32x4.splat(f32.const(2.5)))), [2.5, 2.5, 2.5, 2.5]);
  assertEquals(onVectors([], () => v128.const(b)), [...b]);
  for (const lane of [0, 1, 2, 3]) {
    const [got] = onVectors([a], ([v]) => i32x4.extract_lane(v, lane), "i32");
    assertEquals(word(got), a[lane]);
    const floats = floatWords([1, 2, 3, 4]);
    assertEquals(onVectors([floats], ([v]) => f32x4.extract_lane(v, lane), "f32"), [lane + 1]);
    const replaced = onVectors([a], ([v]) => i32x4.replace_lane(v, lane, i32.const(9)));
    assertEquals(replaced, a.map((x, n) => n === lane ? 9 : x));
    const float = onVectors([floats], ([v]) => f32x4.replace_lane(v, lane, f32.const(9)));
    assertEquals(wordFloats(float), [1, 2, 3, 4].map((x, n) => n === lane ? 9 : x));
  }
  const test = (code: (v: Code) => Code, v: Words) => onVectors([v], ([x]) => code(x), "i32")[0];
  assertEquals([test(v128.any_true, [0, 0, 0, 0]), test(v128.any_true, [0, 0, 4, 0])], [0, 1]);
  assertEquals([test(i32x4.all_true, [1, 2, 3, 0]), test(i32x4.all_true, [1, 2, 3, 4])], [0, 1]);
  assertEquals(test(i32x4.bitmask, [0x80000000, 1, 0xffffffff, 0]), 0b101);
});

Deno.test("bits and lanes of two vectors are mixed", () => {
  const [a, b]: Words[] = [[1, 2, 3, 4], [5, 6, 7, 8]];
  assertEquals(
    onVectors([a, b], ([v, w]) => v128.shuffle32(v, w, [0, 5, 7, 2])),
    [1, 6, 8, 3],
  );
  const half: Words = [0xffffffff, 0, 0xffff, 0xf];
  assertEquals(
    onVectors([a, b, half], ([v, w, m]) => v128.bitselect(v, w, m)),
    a.map((x, n) => word((x & half[n]) | (b[n] & ~half[n]))),
  );
  const wide: Words = [0x10002, 0x30004, 0, 0];
  assertEquals(onVectors([wide], ([v]) => i32x4.extend_low_i16x8_u(v)), [2, 1, 4, 3]);
  const big: Words = [1, 65535, 65536, 0xffffffff];
  assertEquals(
    onVectors([big, a], ([v, w]) => i16x8.narrow_i32x4_u(v, w)),
    [0xffff0001, 0x0000ffff, 0x20001, 0x40003],
  );
  for (const condition of [0, 1]) {
    const got = onVectors([a, b], ([v, w]) => select(v, w, i32.const(condition)));
    assertEquals(got, [...(condition ? a : b)]);
  }
});

Deno.test("relaxed_madd multiplies and adds", () => {
  const got = onVectors(
    [[2, 3, -4, 0.5], [5, 7, 2, 8], [1, 1, 1, 1]].map(floatWords),
    ([a, b, c]) => f32x4.relaxed_madd(a, b, c),
  );
  assertEquals(wordFloats(got), [11, 22, -7, 5]);
});

Deno.test("vectors are loaded and stored whole, spread and by lanes", () => {
  const words = [0x01020304, 0x05060708, 0x090a0b0c, 0x0d0e0f10];
  const run = (code: (at: Code, v: Code) => Code) => {
    const { f, memory } = machine(["i32"], null, (fn) => {
      const [at] = paramsOf(fn);
      return v128.store(at, code(at, v128.const([1, 2, 3, 4])), 256);
    });
    words.forEach((w, n) => memory.setUint32(64 + 4 * n, w, true));
    f(0);
    return [0, 1, 2, 3].map((n) => memory.getUint32(256 + 4 * n, true));
  };
  assertEquals(run((at) => v128.load(at, 64)), words);
  assertEquals(run((at) => v128.load8_splat(at, 64)), new Array(4).fill(0x04040404));
  assertEquals(run((at) => v128.load16_splat(at, 64)), new Array(4).fill(0x03040304));
  assertEquals(run((at) => v128.load32_splat(at, 68)), new Array(4).fill(words[1]));
  assertEquals(run((at) => v128.load32_zero(at, 68)), [words[1], 0, 0, 0]);
  assertEquals(run((at) => v128.load64_zero(at, 68)), [words[1], words[2], 0, 0]);
  assertEquals(run((at, v) => v128.load32_lane(at, v, 2, 64)), [1, 2, words[0], 4]);
});

Deno.test("lanes of vectors are stored by themselves", () => {
  const { f, memory } = machine(["i32"], null, (fn) => {
    const [at] = paramsOf(fn);
    const v = v128.const([1, 2, 3, 4]);
    return [v128.store32_lane(at, v, 2, 8), v128.store64_lane(at, v, 1, 16)];
  });
  f(128);
  assertEquals([0, 8, 12, 16, 20, 24].map((n) => memory.getUint32(128 + n, true)), [
    0,
    3,
    0,
    3,
    4,
    0,
  ]);
});

Deno.test("every vector instruction stands in these tests", async () => {
  if ((await Deno.permissions.query({ name: "read" })).state !== "granted") return;
  const text = await Deno.readTextFile(new URL(import.meta.url));
  const tables = [intLanes, bitLanes, floatLanes, floatMasks].flatMap(Object.keys);
  const missing = Object.entries({ v128, i32x4, f32x4, i16x8 }).flatMap(([group, all]) =>
    Object.keys(all).filter((name) => !tables.includes(name) && !text.includes(`${group}.${name}`))
  );
  assertEquals(missing, []);
});
