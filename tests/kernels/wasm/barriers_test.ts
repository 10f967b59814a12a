import { assertEquals, assertThrows } from "@std/assert";
import { bound, compileText, runText } from "./text.ts";

const HEAD = `@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {`;
const X = Array.from({ length: 24 }, (_, n) => n * n % 17);
const inputs = [bound("x", "f32", X)];

/** What three workgroups of eight threads store, one number each. */
function run(text: string): number[] {
  return runText(text, { inputs, size: 24, groups: [3, 1, 1] });
}

function groups(f: (own: readonly number[], lane: number, group: number) => number): number[] {
  return X.map((_, n) => {
    const group = Math.floor(n / 8);
    return f(X.slice(8 * group, 8 * group + 8), n % 8, group);
  });
}

Deno.test("threads see what others stored before a barrier", () => {
  const text = `var<workgroup> part: array<f32, 8>;
${HEAD}
  let i = wg.x * 8u + lane;
  part[lane] = x[i];
  workgroupBarrier();
  y[i] = part[7u - lane] * 2.0;
}`;
  assertEquals(run(text), groups((own, lane) => own[7 - lane] * 2));
});

Deno.test("variables of all kinds live across barriers", () => {
  const text = `var<workgroup> part: array<vec4<f32>, 8>;
${HEAD}
  let i = wg.x * 8u + lane;
  let odd = lane % 2u == 1u;
  let pair = vec2<f32>(f32(lane), x[i]);
  var count = i32(lane);
  var sum = vec4<f32>(pair.y, 1.0, 2.0, f32(i));
  part[lane] = sum;
  workgroupBarrier();
  sum += part[(lane + 1u) % 8u];
  count += 1;
  workgroupBarrier();
  if (odd) { count *= 10; }
  y[i] = sum.x + sum.w + pair.x + f32(count);
}`;
  const want = groups((own, lane, group) => {
    const i = 8 * group + lane;
    const next = 8 * group + (lane + 1) % 8;
    const count = (lane + 1) * (lane % 2 ? 10 : 1);
    return own[lane] + own[(lane + 1) % 8] + i + next + lane + count;
  });
  assertEquals(run(text), want);
});

Deno.test("loops around barriers fold trees", () => {
  const text = `var<workgroup> part: array<f32, 8>;
${HEAD}
  part[lane] = x[wg.x * 8u + lane];
  workgroupBarrier();
  for (var k = 4u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] += part[lane + k]; }
    workgroupBarrier();
  }
  y[wg.x * 8u + lane] = part[0];
}`;
  assertEquals(run(text), groups((own) => own.reduce((a, b) => a + b)));
});

Deno.test("functions that wait are written out wherever they are called", () => {
  const text = `var<workgroup> part: array<f32, 8>;
fn total(lane: u32, value: f32) -> f32 {
  workgroupBarrier();
  part[lane] = value;
  workgroupBarrier();
  for (var k = 4u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] = part[lane] + part[lane + k]; }
    workgroupBarrier();
  }
  return part[0];
}
${HEAD}
  let i = wg.x * 8u + lane;
  var k = x[i];
  {
    let sum = total(lane, k) / 2.0;
    k -= sum;
  }
  let rest = total(lane, abs(k) + 1.0);
  for (var t = 0u; t < 2u; t++) { k += total(lane, f32(t)); }
  y[i] = k * 1000.0 + rest;
}`;
  const want = groups((own, lane) => {
    const half = own.reduce((a, b) => a + b) / 2;
    const rest = own.reduce((sum, v) => sum + Math.abs(v - half) + 1, 0);
    return (own[lane] - half + 8) * 1000 + rest;
  });
  assertEquals(run(text), want.map(Math.fround));
});

Deno.test("a workgroup returns as one, and threads return alone behind the last barrier", () => {
  const text = `var<workgroup> part: array<array<f32, 2>, 8>;
${HEAD}
  let o = wg.x;
  if (o >= 2u) { return; }
  part[lane][0] = x[o * 8u + lane];
  part[lane][1] = 1.0;
  workgroupBarrier();
  if (lane == 3u) { return; }
  y[o * 8u + lane] = part[lane ^ 1u][0] + part[lane][1];
}`;
  assertEquals(
    run(text),
    groups((own, lane, group) => group > 1 || lane === 3 ? 0 : own[lane ^ 1] + 1),
  );
});

Deno.test("a thread alone waits for nobody", () => {
  const text = `@compute @workgroup_size(1)
fn main() { workgroupBarrier(); y[0] = 3.0; workgroupBarrier(); }`;
  assertEquals(runText(text, { size: 1 }), [3]);
});

Deno.test("barriers that not all threads may reach are refused", () => {
  const branch = `${HEAD}\n  if (lane < 4u) { workgroupBarrier(); }\n}`;
  assertThrows(() => compileText(branch), Error, "a barrier inside of a branch");
  const turns = `${HEAD}\n  for (var k = lane; k < 8u; k++) { workgroupBarrier(); }\n}`;
  assertThrows(() => compileText(turns), Error, "a barrier in a loop");
});
