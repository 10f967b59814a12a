import { assert, assertEquals, assertThrows } from "@std/assert";
import { INTEGERS } from "../points.ts";
import { bound, compileText, runText, runThreads } from "./text.ts";

const U = { dtype: "u32" } as const;
const I = { dtype: "i32" } as const;

Deno.test("integers wrap, divide as WGSL defines it, and shift modulo 32", () => {
  const pairs = INTEGERS.flatMap((a) => INTEGERS.map((b) => [a, b]));
  const [a, b] = [0, 1].map((k) => pairs.map((p) => p[k]));
  const signed = { inputs: [bound("a", "i32", a), bound("b", "i32", b)], output: I };
  const run = (text: string) => runThreads(`  y[i] = ${text};`, pairs.length, signed);
  const want = (f: (a: number, b: number) => number) => pairs.map(([p, q]) => f(p, q) | 0);
  assertEquals(run("a[i] * b[i] + a[i] - b[i]"), want((p, q) => Math.imul(p, q) + p - q));
  assertEquals(run("a[i] / b[i]"), want((p, q) => q === 0 ? p : Math.trunc(p / q)));
  assertEquals(run("a[i] % b[i]"), want((p, q) => q === 0 ? 0 : p % q));
  assertEquals(run("a[i] >> u32(b[i])"), want((p, q) => p >> q));
  assertEquals(run("a[i] << u32(b[i])"), want((p, q) => p << q));
  assertEquals(run("(a[i] & b[i]) ^ (a[i] | ~b[i])"), want((p, q) => (p & q) ^ (p | ~q)));
  assertEquals(run("i32(u32(a[i]) / 8u + u32(a[i]) % 16u)"), want((p) => (p >>> 3) + (p & 15)));
  assertEquals(run("abs(min(a[i], b[i]))"), want((p, q) => Math.abs(Math.min(p, q))));
  assertEquals(run("i32(max(u32(a[i]), u32(b[i])))"), want((p, q) => Math.max(p >>> 0, q >>> 0)));
  assertEquals(run("select(0, 1, a[i] < b[i])"), want((p, q) => Number(p < q)));
  assertEquals(
    run("select(0, 1, u32(a[i]) >= u32(b[i]))"),
    want((p, q) => Number(p >>> 0 >= q >>> 0)),
  );
});

Deno.test("integer vectors divide and shift by vectors as single numbers do", () => {
  const a = [17, -9, 2147483647, -2147483648, 5, 0, -1, 100];
  const b = [5, 2, -1, -1, 0, 3, 33, 7];
  const options = {
    inputs: [bound("a", "i32", a, 4), bound("b", "i32", b, 4)],
    output: { ...I, width: 4 } as const,
  };
  const run = (text: string) =>
    runThreads(`  y[i] = ${text};`, 2, { ...options, size: 8, groups: [1, 1, 1] });
  assertEquals(run("a[i] / b[i]"), [3, -4, -2147483647, -2147483648, 5, 0, 0, 14]);
  assertEquals(run("a[i] % b[i]"), [2, -1, 0, 0, 0, 0, -1, 2]);
  assertEquals(run("a[i] << vec4<u32>(b[i])"), a.map((x, n) => x << b[n]));
  assertEquals(run("a[i] >> vec4<u32>(2u)"), a.map((x) => x >> 2));
});

Deno.test("floats become integers towards zero, held to the floats of the type", () => {
  const x = [
    1.9,
    -1.9,
    3e9,
    -3e9,
    5e9,
    NaN,
    Infinity,
    -Infinity,
    2147483520,
    -0.5,
    4294967040,
    1e-40,
  ];
  const i32 = [
    1,
    -1,
    2147483520,
    -2147483648,
    2147483520,
    0,
    2147483520,
    -2147483648,
    2147483520,
    0,
    2147483520,
    0,
  ];
  const u32 = [1, 0, 3e9, 0, 4294967040, 0, 4294967040, 0, 2147483520, 0, 4294967040, 0];
  const inputs = [bound("x", "f32", x)];
  const wide = { inputs: [bound("x", "f32", x, 4)], size: 12, groups: [1, 1, 1] } as const;
  assertEquals(runThreads("  y[i] = i32(x[i]);", 12, { inputs, output: I }), i32);
  assertEquals(runThreads("  y[i] = u32(x[i]);", 12, { inputs, output: U }), u32);
  assertEquals(
    runThreads("  y[i] = vec4<i32>(x[i]);", 3, { ...wide, output: { ...I, width: 4 } }),
    i32,
  );
  assertEquals(
    runThreads("  y[i] = vec4<u32>(x[i]);", 3, { ...wide, output: { ...U, width: 4 } }),
    u32,
  );
  assertEquals(runThreads("  y[i] = i32(3e9f) + i32(bool(2.5));", 1, { output: I }), [
    2147483521 | 0,
  ]);
});

Deno.test("round() goes to even, select() picks its second value where the condition holds", () => {
  const x = [0.5, 1.5, -0.5, -1.5, 2.5, 2.4999, -2.6, 8388609];
  const inputs = [bound("x", "f32", x)];
  assertEquals(runThreads("  y[i] = round(x[i]);", 8, { inputs }), [
    0,
    2,
    -0,
    -2,
    2,
    2,
    -3,
    8388609,
  ]);
  assertEquals(
    runThreads("  y[i] = select(1.0, 2.0, x[i] > 0.0);", 8, { inputs }),
    x.map((v) => v > 0 ? 2 : 1),
  );
  const constants =
    "round(2.5) + 10.0 * round(-3.5) + 100.0 * floor(-0.5) + 1000.0 * trunc(-1.5) + clamp(7.0, 0.0, 1.0)";
  assertEquals(runThreads(`  y[i] = ${constants};`, 1), [2 - 40 - 100 - 1000 + 1]);
});

Deno.test("a product and a sum are rounded one after the other", () => {
  const [a, b, c] = [1 + 2 ** -12, 1 + 2 ** -12, -(1 + 2 ** -11)];
  const inputs = [bound("x", "f32", [a, b, c])];
  const text = "x[0] * x[1] + x[2]";
  assertEquals(runThreads(`  y[i] = ${text};`, 1, { inputs }), [Math.fround(a * b) + c]);
  const lanes = "  let v = vec4(x[0]);\n  let r = v * x[1] + x[2];\n  y[i] = r.z;";
  assertEquals(runThreads(lanes, 1, { inputs }), [Math.fround(a * b) + c]);
});

Deno.test("constants are those of the text: hexadecimal, with exponents, infinite and negative zero", () => {
  const run = (text: string) => runThreads(`  y[i] = ${text};`, 1);
  assertEquals(run("f32(0xffu) + 1e-3f + .5 + 2e2"), [
    Math.fround(Math.fround(Math.fround(255 + Math.fround(1e-3)) + 0.5) + 200),
  ]);
  assertEquals(run("1.0 / -0.0f"), [-Infinity]);
  assertEquals(run("bitcast<f32>(0x7f800000u)"), [Infinity]);
  assertEquals(run("f32(bitcast<u32>(1.0f) >> 23u)"), [127]);
  assertEquals(runThreads("  y[i] = bitcast<u32>(bitcast<f32>(0xffc12345u));", 1, { output: U }), [
    0xffc12345,
  ]);
});

Deno.test("loops count, skip turns, end early and nest", () => {
  const body = `  var sum = 0u;
  for (var a = 0u; a < i; a++) {
    if (a % 3u == 1u) { continue; }
    var b = 0u;
    while (true) {
      if (b >= a) { break; }
      b += 2u;
      sum += b;
    }
    if (sum > 60u) { break; }
  }
  y[i] = sum;`;
  const want = (i: number) => {
    let sum = 0;
    for (let a = 0; a < i; a++) {
      if (a % 3 === 1) continue;
      for (let b = 0; b < a;) sum += b += 2;
      if (sum > 60) break;
    }
    return sum;
  };
  assertEquals(runThreads(body, 20, { output: U }), Array.from({ length: 20 }, (_, i) => want(i)));
});

Deno.test("branches take one side, threads return early, names are those of their block", () => {
  const body = `  let v = i;
  if (i == 3u) { y[i] = 100u; return; }
  if (i < 2u) { let v = 7u; y[i] = v; }
  else if (i < 5u) { var v = 1u; { v += i; } y[i] = v; }
  else { y[i] = v * 2u; }
  y[i] += 1u;`;
  assertEquals(runThreads(body, 8, { output: U }), [8, 8, 4, 100, 6, 11, 13, 15]);
});

Deno.test("vectors are made, taken apart and compared", () => {
  const functions = `fn pair(a: f32, b: vec2<f32>) -> vec3<f32> { return vec3(b.y, a, b.x); }`;
  const body = `  let p = pair(1.0, vec2<f32>(2.0, 3.0));
  var v = vec4<f32>(p.xy, p.zx);
  v.y = 10.0;
  let m = v.wzyx > vec4<f32>(2.5);
  var q = vec2<f32>();
  q.x = select(0.0, 1.0, any(m)) + select(0.0, 2.0, all(m));
  q += vec2(v.y, 1.0) * 2.0;
  y[i] = q.x + 100.0 * q.y + 1000.0 * dotted(vec4<f32>(vec3<f32>(1.0), 2.0) - 0.5);`;
  const dotted = `fn dotted(v: vec4<f32>) -> f32 { return v.x + v.y + v.z + v.w; }`;
  assertEquals(runThreads(body, 1, {}, functions + dotted), [21 + 200 + 3000]);
});

Deno.test("run-time numbers come in their types", () => {
  const scalars = [["f32", 1.5], ["i32", -7], ["u32", 4000000000]] as const;
  assertEquals(
    runThreads("  y[i] = u.s0 * f32(u.s1) + f32(u.s2);", 1, { scalars }),
    [4000000000 - 10.5].map(Math.fround),
  );
});

Deno.test("workgroups and their threads are numbered along three axes", () => {
  const text = `@compute @workgroup_size(2, 3)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) wgs: vec3<u32>,
  @builtin(local_invocation_id) lid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = (wg.z * wgs.y + wg.y) * wgs.x + wg.x;
  y[group * 6u + lane] = wg.x + 10u * wg.y + 100u * wg.z + 1000u * lid.x + 10000u * lid.y + 100000u * wgs.z;
}`;
  const got = runText(text, { size: 4 * 3 * 2 * 6, output: U, groups: [4, 3, 2] });
  const want = got.map((_, n) => {
    const [group, lane] = [Math.floor(n / 6), n % 6];
    const [x, y, z] = [group % 4, Math.floor(group / 4) % 3, Math.floor(group / 12)];
    return x + 10 * y + 100 * z + 1000 * (lane % 2) + 10000 * Math.floor(lane / 2) + 200000;
  });
  assertEquals(got, want);
});

Deno.test("an index that wraps round below zero on the way reads the right element", () => {
  const x = Float64Array.from({ length: 40 }, (_, n) => n);
  const inputs = [bound("x", "f32", x)];
  // The operand lies at a low address, which such an index in bytes would fall short of.
  const flip = "  y[i] = x[i * 4294967295u + 39u] + x[(i - 1000u) + 1000u];";
  assertEquals(runThreads(flip, 40, { inputs }), new Array(40).fill(39));
  const lanes = `  let p = i - 500u;
  let v = vec4(x[p + 500u], x[p + 501u], x[p + 502u], x[p + 503u]);
  y[i] = v.x + v.w;`;
  assertEquals(runThreads(lanes, 8, { inputs }), [3, 5, 7, 9, 11, 13, 15, 17]);
});

Deno.test("what is not reached is not read", () => {
  const inputs = [bound("x", "f32", [1, 2, 3])];
  const far = "  y[i] = select(0.0, 1.0, i > 5u && x[i * 100000000u] > 0.0);";
  assertEquals(runThreads(far, 4, { inputs }), [0, 0, 0, 0]);
  const either = "  y[i] = select(0.0, 1.0, i < 5u || x[i * 100000000u] > 0.0);";
  assertEquals(runThreads(either, 4, { inputs }), [1, 1, 1, 1]);
});

Deno.test("a variable read before it changes keeps what was read", () => {
  const functions = "fn same(a: f32) -> f32 { return a; }";
  const body = `  var a = f32(i);
  let before = a;
  let through = same(a);
  a = a * 2.0 + 1.0;
  var b = a;
  a += 1.0;
  y[i] = before + 100.0 * through + 10000.0 * b + 1000000.0 * (a - b);`;
  assertEquals(runThreads(body, 2, {}, functions), [1010000, 1030101]);
});

Deno.test("numbers that are loaded late are those before a store", () => {
  const text = `@compute @workgroup_size(1)
fn main() {
  let a = y[0u];
  let b = y[1u];
  y[0u] = 5.0;
  y[1u] = a + 1.0;
  let c = y[0u];
  if (c > 4.0) { y[2u] = b + c; }
  y[3u] = b;
}`;
  assertEquals(runText(text, { size: 4 }), [5, 1, 5, 0]);
});

Deno.test("what lies outside of the subset is named with its line", () => {
  const entry = (body: string) => `@compute @workgroup_size(1)\nfn main() {\n${body}\n}`;
  const cases: [string, RegExp][] = [
    [entry("  switch (1) { default: {} }"), /internal: .*outside of the WGSL subset/],
    [entry("  y[0] = sinh(1.0);"), /internal: the function sinh in line 5/],
    [entry("\n\n  y[0] = other;"), /internal: the name other in line 7/],
    [entry("  y[0] = 1u;"), /internal: u32 in place of f32 in line 5/],
    [entry("  let a = mat2x2<f32>();"), /internal: .*line 5/],
    [entry("  y[0] = 1.0 $ 2.0;"), /internal: the character "\$"/],
    ["fn helper() -> f32 { return 1.0; }", /internal: a text without an entry point/],
    ["var<private> p: f32;" + entry(""), /internal: the declaration/],
  ];
  for (const [text] of cases) assertThrows(() => compileText(text), Error);
  for (const [text, message] of cases) {
    try {
      compileText(text);
    } catch (error) {
      assert(message.test((error as Error).message), `${(error as Error).message} of ${text}`);
    }
  }
});
