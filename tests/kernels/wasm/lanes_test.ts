import { assert, assertEquals } from "@std/assert";
import { apply, input } from "../../../kernels/expr.ts";
import { mapKernel } from "../../../kernels/map.ts";
import { compileWgsl } from "../../../kernels/wasm/wgsl/compile.ts";
import { dense } from "./cases.ts";
import { features } from "./machine.ts";
import { software } from "./runner.ts";
import { bound, compileText, runThreads, type TextOptions } from "./text.ts";

/** Whether code multiplies floats one by one. */
function multipliesSingles(code: Uint8Array): boolean {
  return code.includes(0x94);
}

/** A call of `f` with each component of x, for two vectors. */
const EACH = "  let v = x[i];\n  y[i] = vec4(f(v.x), f(v.y), f(v.z), f(v.w));";
const WIDE = { output: { dtype: "f32", width: 4 }, size: 8, groups: [1, 1, 1] } as const;

function four(functions: string, x: readonly number[]): number[] {
  return runThreads(EACH, 2, { ...WIDE, inputs: [bound("x", "f32", x, 4)] }, functions);
}

const X = [0, 1, -1, 2.5, -3, 4, -0.5, 8];

Deno.test("branches that lanes take differently are merged", () => {
  const early = `fn f(a: f32) -> f32 {
  if (a < 0.0) { return -1.0; }
  if (a > 3.0) { if (a > 5.0) { return 50.0; } return 30.0; }
  return a * 2.0;
}`;
  assertEquals(four(early, X), [0, 2, -1, 5, -1, 30, -1, 50]);
  const both = `fn f(a: f32) -> f32 {
  var r = 1.0;
  let big = abs(a) > 2.0;
  if (big) { r = a; r += 10.0; } else if (a == 0.0) { r = 7.0; } else { r *= 3.0; }
  if (big && a > 0.0) { return r + 100.0; } else { return r; }
}`;
  assertEquals(four(both, X), [7, 3, 3, 112.5, 7, 114, 3, 118]);
});

Deno.test("long branches that no lane takes are skipped, and others merged", () => {
  const long = Array.from({ length: 20 }, (_, n) => `    r = r * 0.5 + ${n}.0;`).join("\n");
  const f = `fn f(a: f32) -> f32 {
  var r = a;
  if (a > 2.0) {
${long}
    if (a > 7.0) { return -r; }
  }
  return r + 1.0;
}`;
  const want = (a: number) => {
    let r = a;
    if (a > 2) { for (let n = 0; n < 20; n++) r = Math.fround(Math.fround(r * 0.5) + n); }
    return a > 7 ? -r : r + 1;
  };
  assertEquals(four(f, X), X.map(want));
  assertEquals(four(f, X.map((x) => x - 20)), X.map((x) => want(x - 20)));
});

Deno.test("functions of vectors and functions with loops are called on lanes", () => {
  const loops =
    `fn g(a: u32) -> u32 { var r = 0u; var n = a; while (n > 0u) { r += n; n -= 1u; } return r; }
fn pair(a: f32) -> vec2<f32> { return vec2<f32>(a * 2.0, f32(g(u32(abs(a))))); }
fn f(a: f32) -> f32 { let p = pair(a); return select(p.x, p.y, a > 1.0); }`;
  assertEquals(
    four(loops, X),
    X.map((a) => a > 1 ? Math.trunc(a) * (Math.trunc(a) + 1) / 2 : a * 2),
  );
});

Deno.test("four like trees become one: no number is multiplied by itself", () => {
  const poly = "fn f(a: f32) -> f32 { var p = 0.5; p = p * a + 1.5; p = p * a * u.s0; return p; }";
  const options: TextOptions = {
    ...WIDE,
    inputs: [bound("x", "f32", X, 4), bound("z", "f32", X)],
    scalars: [["f32", 2]],
  };
  const entry = (body: string) =>
    `${poly}
@compute @workgroup_size(2)
fn main(@builtin(local_invocation_index) i: u32) {
${body}
}`;
  const forms = [
    EACH,
    "  let v = x[i];\n  y[i] = vec4(select(0.0, 1.0, f(v.x) > 1.0), select(0.0, 1.0, f(v.y) > 1.0), select(0.0, 1.0, f(v.z) > 1.0), select(0.0, 1.0, f(v.w) > 1.0));",
    "  let p = i * 4u;\n  let a0 = z[p];\n  let a1 = z[p + 1u];\n  let a2 = z[p + 2u];\n  let a3 = z[p + 3u];\n  y[i] = vec4(f(a0), f(a1), f(a2), f(a3));",
    "  let p = i;\n  y[i] = vec4(f(z[p]), f(z[p + 2u]), f(z[p + 4u]), f(z[p + 6u]));",
    "  let v = x[i];\n  let a = v.x;\n  let b = v.y;\n  let c = v.z;\n  let d = v.w;\n  y[i] = vec4(f(a), f(b), f(c), f(d));",
    "  let a = z[i];\n  y[i] = vec4(f(a + x[i].x), f(a + x[i].y), f(a + x[i].z), f(a + x[i].w));",
  ];
  for (const form of forms) {
    assert(!multipliesSingles(compileText(entry(form), options)), form);
    assert(
      multipliesSingles(
        compileText(
          entry(
            `${form}\n  y[0].x = f(z[i]);`.replace("y[0].x", "y[0]").replace(
              "= f(z[i])",
              "= vec4(f(z[i]))",
            ),
          ),
          options,
        ),
      ),
      form,
    );
  }
});

Deno.test("trees that differ are computed one by one, to the same values", () => {
  const f = "fn f(a: f32) -> f32 { return a * a + 1.0; }\nfn g(a: f32) -> f32 { return a - 2.0; }";
  const body = "  let v = x[i];\n  y[i] = vec4(f(v.y), g(v.x), f(v.z), v.w * 2.0);";
  const inputs = [bound("x", "f32", X, 4)];
  const want = [0, 4].flatMap((n) => {
    const [a, b, c, d] = X.slice(n, n + 4);
    return [b * b + 1, a - 2, c * c + 1, d * 2];
  });
  assertEquals(runThreads(body, 2, { ...WIDE, inputs }, f), want);
  const order = "  let v = x[i];\n  y[i] = vec4(f(v.w), f(v.z), f(v.y), f(v.x));";
  const turned = [3, 2, 1, 0, 7, 6, 5, 4].map((n) => X[n] * X[n] + 1);
  assertEquals(runThreads(order, 2, { ...WIDE, inputs }, f), turned);
});

Deno.test("code for a formula of many helpers stays small and is quickly made", () => {
  const o = dense([4096]);
  const times: number[] = [];
  for (let n = 0; n < 20; n++) {
    const expr = apply("mul", apply("tanh", input(0)), apply("exp", input(0)));
    const kernel = mapKernel({ expr, shape: [4096], inputs: [o], output: o, scalars: [] });
    const program = kernel.wgsl(software);
    const start = performance.now();
    const { code, phases } = compileWgsl(kernel, program, features);
    times.push(performance.now() - start);
    assert(code.length < 3000, `${code.length} bytes`);
    assert(phases[0].tasks === 16 && phases[0].taskNs > 100 && phases[0].taskNs < 20000);
  }
  assert(Math.min(...times) < 20, `${Math.min(...times)} ms`);
});
