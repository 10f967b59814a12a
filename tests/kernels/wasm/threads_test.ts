import { assert, assertEquals } from "@std/assert";
import { values } from "./cases.ts";
import { bound, compileText, runText, runThreads, type TextOptions } from "./text.ts";

const COUNT = 29;
const X = Array.from(values(200, 1, -4, 4), (x) => Math.round(8 * x) / 8);
const inputs = [bound("x", "f32", X)];

/** Whether statements of threads run on four at a time. */
function isWide(body: string, options: Partial<TextOptions> = {}, functions = ""): boolean {
  const text = `${functions}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = wg.x * 8u + lane;
  if (i >= ${COUNT}u) { return; }
${body}
}`;
  const code = compileText(text, { size: COUNT, inputs, ...options });
  // The prefix of vector instructions and the number of f32x4.mul.
  return code.some((byte, n) => byte === 0xfd && code[n + 1] === 0xe6 && code[n + 2] === 0x01);
}

function check(
  body: string,
  want: (i: number) => number,
  { functions = "", options = {} as Partial<TextOptions>, wide = true } = {},
): void {
  const got = runThreads(body, COUNT, { inputs, ...options }, functions);
  assertEquals(got, Array.from({ length: COUNT }, (_, i) => Math.fround(want(i))), body);
  assertEquals(isWide(body, options, functions), wide, body);
}

/** A little work, so that lanes are worth it. */
const WORK =
  "fn work(a: f32) -> f32 { let b = a * 2.0 + 1.0; let c = b * 0.5 - a; return c * 4.0 + a * b; }";
const work = (a: number) => {
  const b = a * 2 + 1;
  return (b * 0.5 - a) * 4 + a * b;
};

Deno.test("threads of single numbers run four at a time, and the last ones one by one", () => {
  check("  y[i] = work(x[i]);", (i) => work(X[i]), { functions: WORK });
  check("  let v = x[i];\n  y[i] = v * 2.0 + v;", (i) => X[i] * 3);
});

Deno.test("four threads read and write in steps of any size", () => {
  const functions = WORK;
  check("  y[i] = work(x[3u * i + 5u]);", (i) => work(X[3 * i + 5]), { functions });
  check("  y[i] = work(x[60u - i]);", (i) => work(X[60 - i]), { functions });
  check("  y[i] = work(x[i * 4294967295u + 50u]);", (i) => work(X[50 - i]), { functions });
  check("  y[i] = work(x[7]) + work(x[i]);", (i) => Math.fround(work(X[7])) + work(X[i]), {
    functions,
  });
  check("  y[28u - i] = work(x[i]);", (i) => work(X[28 - i]), { functions });
  check(
    "  let a = i % 5u;\n  let b = i / 5u;\n  y[i] = work(x[a * 7u + b]) + work(x[b * 9u]);",
    (i) => Math.fround(work(X[i % 5 * 7 + Math.floor(i / 5)])) + work(X[Math.floor(i / 5) * 9]),
    { functions },
  );
});

Deno.test("four threads read at places that they have read", () => {
  const places = Array.from({ length: COUNT }, (_, n) => (n * 37) % 100);
  const options = { inputs: [...inputs, bound("places", "i32", places)] };
  const functions = WORK;
  check("  y[i] = work(x[u32(places[i])]);", (i) => work(X[places[i]]), { functions, options });
  const read = `${WORK}\nfn at(k: u32, s: f32) -> f32 { let p = k * 2u; return x[p + 1u] * s; }`;
  check("  y[i] = work(at(i, 2.0));", (i) => work(X[2 * i + 1] * 2), { functions: read });
  const guarded =
    `${WORK}\nfn at(k: u32) -> f32 { if (k > 20u) { return -1.0; } var s = 0.0; if (k < 100u) { s = x[k]; } return s; }`;
  check("  y[i] = work(at(i));", (i) => work(i > 20 ? -1 : X[i]), { functions: guarded });
});

Deno.test("four threads of numbers of 16 bits, integers and truth values", () => {
  const half = Array.from(Float16Array.from(X));
  const halves = { inputs: [bound("x", "f16", half)], output: { dtype: "f16" } as const };
  const round = (x: number) => Float16Array.of(x)[0];
  for (const step of [1, 3]) {
    const body = `  y[i] = f16(f32(x[i * ${step}u]) * 1.5 + f32(x[i * ${step}u]) * 0.5);`;
    check(body, (i) => round(half[step * i] * 2), { options: halves });
  }
  const truth = `  let v = x[i];
  let big = v * 2.0 > 1.0;
  y[i] = select(0u, 1u, big && !(v * 4.0 > 9.0));`;
  const options = { output: { dtype: "bool" } as const };
  check(truth, (i) => Number(X[i] > 0.5 && !(X[i] > 2.25)), { options });
});

Deno.test("loops of as many turns in all threads, and variables that differ", () => {
  const body = `  var sum = 0.0;
  var n = 0u;
  for (var k = 0u; k < 5u; k++) {
    sum += x[k * 30u + i] * f32(k + 1u);
    n += 2u;
  }
  y[i] = sum + f32(n);`;
  check(body, (i) => [0, 1, 2, 3, 4].reduce((sum, k) => sum + X[30 * k + i] * (k + 1), 0) + 10);
});

Deno.test("branches that threads take differently keep variables apart", () => {
  const body = `  let v = x[i];
  var r = v * 2.0;
  if (v > 1.0) { r += 10.0; if (v > 2.0) { let d = r * 2.0; r = d; } }
  else if (v < -1.0) { r = -r; }
  y[i] = r;`;
  check(body, (i) => {
    const v = X[i];
    const r = v * 2;
    return v > 1 ? (v > 2 ? (r + 10) * 2 : r + 10) : v < -1 ? -r : r;
  });
  const same = `  var r = x[i] * 2.0;
  if (u.s0 > 1.0) { r = r + 1.0; y[i] = r; return; }
  y[i] = r;`;
  for (const s of [0, 2]) {
    const options = { scalars: [["f32", s]] as const };
    check(same, (i) => X[i] * 2 + (s > 1 ? 1 : 0), { options });
  }
});

Deno.test("what only some threads do is done one by one", () => {
  const one = { wide: false };
  check(
    "  y[i] = x[i] * 2.0 + x[i] * 3.0;\n  if (x[i] > 1.0) { y[i] = 7.0; }",
    (i) => X[i] > 1 ? 7 : X[i] * 5,
    one,
  );
  check(
    "  var v = 0.0;\n  if (i < 5u) { v = x[i * 3u] * 2.0 + v * v; }\n  y[i] = v;",
    (i) => i < 5 ? X[3 * i] * 2 : 0,
    one,
  );
  check(
    "  var v = 1.0;\n  for (var k = 0u; k < i; k++) { v = v * 0.5 + x[k]; }\n  y[i] = v;",
    (i) => {
      let v = 1;
      for (let k = 0; k < i; k++) v = Math.fround(v * 0.5 + X[k]);
      return v;
    },
    one,
  );
  check(
    "  y[i] = x[i] * 2.0;\n  if (x[i] > 3.0) { return; }\n  y[i] = x[i] * 3.0 + 1.0;",
    (i) => X[i] > 3 ? X[i] * 2 : X[i] * 3 + 1,
    one,
  );
});

Deno.test("four interleaved sums are one vector, whose rest is added one by one", () => {
  for (const length of [3, 8, 23]) {
    for (const step of [1, 2]) {
      const at = (k: string) => `x[(${k}) * ${step}u]`;
      const sums = [0, 1, 2, 3];
      const text = `@compute @workgroup_size(1)
fn main() {
${sums.map((k) => `  var a${k} = 1.0;`).join("\n")}
  var r = 0u;
  for (; r + 4u <= ${length}u; r += 4u) {
${sums.map((k) => `    a${k} = a${k} + ${at(`r + ${k}u`)} * 2.0;`).join("\n")}
  }
  for (; r < ${length}u; r++) { a0 = a0 + ${at("r")}; a3 += 1.0; }
  y[0] = (a0 + a1) + (a2 + a3);
}`;
      const whole = length - length % 4;
      let want = 4 + length % 4;
      for (let k = 0; k < length; k++) want += X[k * step] * (k < whole ? 2 : 1);
      assertEquals(runText(text, { inputs, size: 1 }), [want]);
      const code = compileText(text, { size: 1, inputs });
      assert(!code.includes(0x94), "a product of single numbers");
    }
  }
});

Deno.test("like calls in an expression, and in stores that follow each other, are computed together", () => {
  const functions =
    "fn f(a: f32) -> f32 { var p = a; p = p * a + 1.0; p = p * a + 2.0; p = p * a + 3.0; p = p * a + 4.0; return p * a; }";
  const f = (a: number) =>
    [1, 2, 3, 4].reduce((p, n) => Math.fround(Math.fround(p * a) + n), a) * a;
  const text = `${functions}
@compute @workgroup_size(1)
fn main() {
  let p = 3u;
  y[0] = ((f(x[p]) + f(x[p + 2u])) + f(x[p + 4u])) + (f(x[9]) + f(x[p + 1u]));
  y[1] = f(x[10]) - f(x[11]);
${[2, 3, 4, 5].map((n) => `  y[${n}] = f(x[p + ${n}u]) + 1.0;`).join("\n")}
  y[6] = y[5];
}`;
  const [a, b, d, e, g] = [3, 5, 7, 9, 4].map((n) => Math.fround(f(X[n])));
  const sum = Math.fround(Math.fround(Math.fround(a + b) + d) + Math.fround(e + g));
  const want = [sum, f(X[10]) - f(X[11]), ...[5, 6, 7, 8].map((n) => f(X[n]) + 1)].map(Math.fround);
  const got = runText(text, { inputs, size: 7 });
  got.forEach((v, n) =>
    assert(Math.abs(v - [...want, want[5]][n]) <= 1e-5 * Math.abs(v), `${n}: ${v}, ${want[n]}`)
  );
});
