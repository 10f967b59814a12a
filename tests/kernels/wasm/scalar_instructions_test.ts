import { assertEquals } from "@std/assert";
import { type Code, f32, i32, select } from "../../../kernels/wasm/instructions.ts";
import { INTEGERS, SPECIALS } from "../points.ts";
import { machine, paramsOf } from "./machine.ts";

type Numbers = (...args: number[]) => number;

const both = (a: number) => a | 0;
const bits = new DataView(new ArrayBuffer(4));
function bitsOf(x: number): number {
  bits.setFloat32(0, x);
  return bits.getInt32(0);
}
function floatOf(word: number): number {
  bits.setInt32(0, word);
  return bits.getFloat32(0);
}
function nearest(x: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 23) return x;
  const low = Math.floor(x);
  const up = x - low > 0.5 || (x - low === 0.5 && low % 2 !== 0);
  const value = up ? low + 1 : low;
  return value === 0 && (x < 0 || Object.is(x, -0)) ? -0 : value;
}
function saturated(x: number, least: number, most: number): number {
  return Number.isNaN(x) ? 0 : Math.max(least, Math.min(most, Math.trunc(x)));
}

/** What instructions on integers give, by the specification. */
const onIntegers: Record<string, Numbers> = {
  eqz: (a) => Number(a === 0),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt_s: (a, b) => Number(a < b),
  lt_u: (a, b) => Number(a >>> 0 < b >>> 0),
  gt_s: (a, b) => Number(a > b),
  gt_u: (a, b) => Number(a >>> 0 > b >>> 0),
  le_s: (a, b) => Number(a <= b),
  le_u: (a, b) => Number(a >>> 0 <= b >>> 0),
  ge_s: (a, b) => Number(a >= b),
  ge_u: (a, b) => Number(a >>> 0 >= b >>> 0),
  clz: (a) => Math.clz32(a),
  ctz: (a) => a === 0 ? 32 : 31 - Math.clz32(a & -a),
  popcnt: (a) => [...(a >>> 0).toString(2)].filter((digit) => digit === "1").length,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => Number(BigInt.asIntN(32, BigInt(a) * BigInt(b))),
  div_s: (a, b) => Math.trunc(a / b),
  div_u: (a, b) => Math.floor((a >>> 0) / (b >>> 0)),
  rem_s: (a, b) => a % b,
  rem_u: (a, b) => (a >>> 0) % (b >>> 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr_s: (a, b) => a >> b,
  shr_u: (a, b) => a >>> b,
  rotl: (a, b) => (a << (b & 31)) | (b & 31 ? a >>> (32 - (b & 31)) : 0),
  rotr: (a, b) => (a >>> (b & 31)) | (b & 31 ? a << (32 - (b & 31)) : 0),
};

/** The same for those that take floats and give integers. */
const toIntegers: Record<string, Numbers> = {
  trunc_sat_f32_s: (a) => saturated(a, -2147483648, 2147483647),
  trunc_sat_f32_u: (a) => saturated(a, 0, 4294967295) | 0,
  reinterpret_f32: (a) => bitsOf(a),
};

const compareFloats: Record<string, Numbers> = {
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  gt: (a, b) => Number(a > b),
  le: (a, b) => Number(a <= b),
  ge: (a, b) => Number(a >= b),
};

const onFloats: Record<string, Numbers> = {
  abs: Math.abs,
  neg: (a) => -a,
  ceil: Math.ceil,
  floor: Math.floor,
  trunc: Math.trunc,
  nearest,
  sqrt: (a) => Math.sqrt(a),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  copysign: (a, b) => (b < 0 || Object.is(b, -0)) ? -Math.abs(a) : Math.abs(a),
};

const fromIntegers: Record<string, Numbers> = {
  convert_i32_s: (a) => a,
  convert_i32_u: (a) => a >>> 0,
  reinterpret_i32: floatOf,
};

const FLOATS = [...SPECIALS, 0.5, 1.5, -2.5, 2.25, -0.25, 3e9, 5e9, -3e9, 8388607.5, 1e-45].map(
  Math.fround,
);
/** Covered by tests of their own. */
const OTHERS = ["const", "load", "store", "load8_u", "load16_u", "store8", "store16"];

async function checkAll(
  t: Deno.TestContext,
  table: Record<string, Numbers>,
  instructions: Record<string, unknown>,
  param: "i32" | "f32",
  result: "i32" | "f32",
): Promise<void> {
  for (const [name, want] of Object.entries(table)) {
    await t.step(`${name} of ${param}`, () => {
      const make = instructions[name] as (...args: Code[]) => Code;
      const values = param === "i32" ? INTEGERS : FLOATS;
      const { f } = machine(
        new Array(make.length).fill(param),
        result,
        (fn) => make(...paramsOf(fn)),
      );
      for (const a of values) {
        for (const b of make.length > 1 ? values : [0]) {
          const divides = name.startsWith("div_") || name.startsWith("rem_");
          if (divides && param === "i32" && (b === 0 || (a === -2147483648 && b === -1))) continue;
          const raw = want(a, b);
          const number = result === "i32" ? both(raw) : Math.fround(raw);
          assertEquals(f(a, b), number, `${name}(${a}, ${b})`);
        }
      }
    });
  }
}

Deno.test("instructions on integers give what the specification says", async (t) => {
  await checkAll(t, onIntegers, i32, "i32", "i32");
  await checkAll(t, toIntegers, i32, "f32", "i32");
});

Deno.test("instructions on floats give what the specification says", async (t) => {
  await checkAll(t, compareFloats, f32, "f32", "i32");
  await checkAll(t, onFloats, f32, "f32", "f32");
  const integers = Object.fromEntries(
    Object.entries(fromIntegers).filter(([name]) => name !== "reinterpret_i32"),
  );
  await checkAll(t, integers, f32, "i32", "f32");
});

Deno.test("reinterpret_i32 gives the float of a word", () => {
  const { f } = machine(["i32"], "f32", (fn) => f32.reinterpret_i32(paramsOf(fn)[0]));
  for (const x of FLOATS) assertEquals(f(bitsOf(x)), Math.fround(x));
});

Deno.test("every scalar instruction stands in a table of these tests", () => {
  const known = { ...onIntegers, ...toIntegers };
  assertEquals(Object.keys(i32).filter((n) => !(n in known) && !OTHERS.includes(n)), []);
  const floats = { ...compareFloats, ...onFloats, ...fromIntegers };
  assertEquals(Object.keys(f32).filter((n) => !(n in floats) && !OTHERS.includes(n)), []);
});

Deno.test("constants of any size survive their encoding", () => {
  const words = [
    -65,
    -64,
    -1,
    0,
    63,
    64,
    127,
    128,
    8191,
    8192,
    -8192,
    -8193,
    2 ** 31 - 1,
    -(2 ** 31),
  ];
  for (const n of words) assertEquals(machine([], "i32", () => i32.const(n)).f(), n);
  for (const x of FLOATS) assertEquals(machine([], "f32", () => f32.const(x)).f(), Math.fround(x));
});

Deno.test("loads and stores reach the bytes at address plus offset", () => {
  const offsets = [0, 1, 127, 128, 16383, 16384, 40000];
  for (const offset of offsets) {
    const { f, memory } = machine(["i32", "i32"], "i32", (fn) => {
      const [at, value] = paramsOf(fn);
      return [
        i32.store(at, value, offset),
        i32.store8(at, i32.const(0x1ff), offset + 4),
        i32.store16(at, i32.const(0x1fffe), offset + 6),
        f32.store(at, f32.const(1.5), offset + 8),
        i32.load(at, offset),
      ];
    });
    assertEquals(f(12, -123456789), -123456789);
    const at = 12 + offset;
    assertEquals(memory.getInt32(at, true), -123456789);
    assertEquals([memory.getUint8(at + 4), memory.getUint8(at + 5)], [0xff, 0]);
    assertEquals(memory.getUint16(at + 6, true), 0xfffe);
    assertEquals(memory.getFloat32(at + 8, true), 1.5);
  }
  const { f, memory } = machine(["i32"], "i32", (fn) => {
    const [at] = paramsOf(fn);
    return i32.add(i32.load8_u(at, 1), i32.shl(i32.load16_u(at, 2), i32.const(8)));
  });
  memory.setUint32(100, 0xabcdef01, true);
  assertEquals(f(100), 0xabcdef);
  const floats = machine(["i32"], "f32", (fn) => f32.load(paramsOf(fn)[0], 4));
  floats.memory.setFloat32(24, -2.75, true);
  assertEquals(floats.f(20), -2.75);
});

Deno.test("select() picks by the condition", () => {
  const { f } = machine(
    ["i32"],
    "f32",
    (fn) => select(f32.const(1), f32.const(2), paramsOf(fn)[0]),
  );
  assertEquals([f(5), f(0)], [1, 2]);
});
