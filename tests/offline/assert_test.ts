import * as std from "@std/assert";
import { deepStrictEqual, equal, match, ok, rejects, throws } from "node:assert";

// The assertions are checked with node:assert, so that they do not vouch for themselves

/** Whether a call throws an AssertionError; any other error comes through. */
function fails(fn: () => unknown): boolean {
  try {
    fn();
    return false;
  } catch (error) {
    ok(error instanceof std.AssertionError, String(error));
    return true;
  }
}

const same: [string, unknown, unknown][] = [
  ["NaN", NaN, NaN],
  ["zeros of both signs", 0, -0],
  ["nested objects", { a: [1, { b: null }] }, { a: [1, { b: null }] }],
  ["key order", { a: 1, b: 2 }, { b: 2, a: 1 }],
  ["typed arrays", new Float32Array([1, NaN, 0]), new Float32Array([1, NaN, -0])],
  ["maps", new Map([["a", [1]]]), new Map([["a", [1]]])],
  ["maps with object keys", new Map([[{ k: 1 }, 2]]), new Map([[{ k: 1 }, 2]])],
  ["sets", new Set([1, "a"]), new Set(["a", 1])],
  ["dates", new Date(5), new Date(5)],
  ["patterns", /a/g, /a/g],
  ["null prototypes", { __proto__: null, a: 1 }, { a: 1 }],
];

const different: [string, unknown, unknown][] = [
  ["types", 1, "1"],
  ["null and undefined", null, undefined],
  ["values", { a: [1, { b: 2 }] }, { a: [1, { b: 3 }] }],
  ["missing keys", { a: 1 }, { a: 1, b: undefined }],
  ["lengths", [1, 2], [1, 2, 3]],
  ["array classes", new Float32Array([1]), new Float64Array([1])],
  ["typed values", new Uint8Array([1, 2]), new Uint8Array([1, 3])],
  ["an array and a typed array", [1], new Uint8Array([1])],
  ["maps", new Map([["a", 1]]), new Map([["a", 2]])],
  ["map keys", new Map([["a", 1]]), new Map([["b", 1]])],
  ["sets", new Set([1]), new Set([2])],
  ["dates", new Date(5), new Date(6)],
  ["patterns", /a/g, /a/i],
  ["functions", () => 1, () => 1],
];

for (const [name, a, b] of same) {
  Deno.test(`assertEquals() takes ${name} as equal`, () => {
    equal(fails(() => std.assertEquals(a, b)), false);
    equal(fails(() => std.assertNotEquals(a, b)), true);
  });
}

for (const [name, a, b] of different) {
  Deno.test(`assertEquals() tells ${name} apart`, () => {
    equal(fails(() => std.assertEquals(a, b)), true);
    equal(fails(() => std.assertEquals(b, a)), true);
    equal(fails(() => std.assertNotEquals(a, b)), false);
  });
}

Deno.test("assertEquals() compares cyclic objects", () => {
  const [a, b]: { self?: unknown; n: number }[] = [{ n: 1 }, { n: 1 }];
  a.self = a;
  b.self = b;
  equal(fails(() => std.assertEquals(a, b)), false);
  b.n = 2;
  equal(fails(() => std.assertEquals(a, b)), true);
});

Deno.test("assertEquals() shows both values and the message", () => {
  throws(() => std.assertEquals([1, 2], [1, 3], "third try"), (error: Error) => {
    match(error.message, /2[\s\S]*3/);
    match(error.message, /third try/);
    return true;
  });
});

Deno.test("assertAlmostEquals() allows 1e-7 of the expected value", () => {
  equal(fails(() => std.assertAlmostEquals(1000.00009, 1000)), false);
  equal(fails(() => std.assertAlmostEquals(1000.00011, 1000)), true);
  equal(fails(() => std.assertAlmostEquals(1e-8, 1.1e-8)), true);
  equal(fails(() => std.assertAlmostEquals(1e-9, 0)), true);
  equal(fails(() => std.assertAlmostEquals(NaN, NaN)), false);
  equal(fails(() => std.assertAlmostEquals(NaN, 1)), true);
  equal(fails(() => std.assertAlmostEquals(Infinity, Infinity)), false);
  equal(fails(() => std.assertAlmostEquals(Infinity, 1)), true);
});

Deno.test("assertAlmostEquals() takes an absolute tolerance", () => {
  equal(fails(() => std.assertAlmostEquals(1.05, 1, 0.06)), false);
  equal(fails(() => std.assertAlmostEquals(1.05, 1, 0.04)), true);
});

Deno.test("assertThrows() checks class and message, and returns the error", () => {
  const error = new RangeError("too far");
  function fn(): never {
    throw error;
  }
  equal(std.assertThrows(fn), error);
  equal(std.assertThrows(fn, RangeError, "far"), error);
  equal(std.assertThrows(fn, Error), error);
  equal(fails(() => std.assertThrows(fn, TypeError)), true);
  equal(fails(() => std.assertThrows(fn, RangeError, "near")), true);
  equal(fails(() => std.assertThrows(() => 1)), true);
  equal(fails(() => std.assertThrows(() => 1, Error)), true);
});

Deno.test("assertRejects() checks class and message, and returns the reason", async () => {
  const error = new RangeError("too far");
  const fn = () => Promise.reject(error);
  equal(await std.assertRejects(fn), error);
  equal(await std.assertRejects(fn, RangeError, "far"), error);
  await rejects(std.assertRejects(fn, TypeError), std.AssertionError);
  await rejects(std.assertRejects(fn, RangeError, "near"), std.AssertionError);
  await rejects(std.assertRejects(() => Promise.resolve(1)), std.AssertionError);
});

Deno.test("assertRejects() fails when the function throws at once", async () => {
  const fn = (): Promise<void> => {
    throw new RangeError("early");
  };
  await rejects(std.assertRejects(fn, RangeError), std.AssertionError);
});

Deno.test("assert() and the others fail when they must, and only then", () => {
  const rows: [fine: () => unknown, wrong: () => unknown][] = [
    [() => std.assert(1), () => std.assert("")],
    [() => std.assertStrictEquals(NaN, NaN), () => std.assertStrictEquals<unknown>({}, {})],
    [() => std.assertStrictEquals(0, 0), () => std.assertStrictEquals(0, -0)],
    [() => std.assertMatch("abc", /b/), () => std.assertMatch("abc", /d/)],
    [() => std.assertStringIncludes("abc", "bc"), () => std.assertStringIncludes("abc", "d")],
    [() => std.assertInstanceOf(new Map(), Map), () => std.assertInstanceOf({}, Map)],
    [() => std.assertExists(0), () => std.assertExists(null)],
    [() => std.assertExists(""), () => std.assertExists(undefined)],
    [() => std.assertGreater(2, 1), () => std.assertGreater(1, 1)],
    [() => std.assertGreaterOrEqual(1, 1), () => std.assertGreaterOrEqual(0, 1)],
    [() => std.assertLess(0, 1), () => std.assertLess(1, 1)],
    [() => std.assertLessOrEqual(1, 1), () => std.assertLessOrEqual(NaN, 1)],
  ];
  deepStrictEqual(
    rows.map(([fine, wrong]) => [fails(fine), fails(wrong)]),
    rows.map(() => [false, true]),
  );
  equal(fails(() => std.fail("on purpose")), true);
});
