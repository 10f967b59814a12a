/** The most that an adapter gives: multiply-adds in registers, and a copy. */

import type { Kernel } from "../../core/mod.ts";

const THREADS_X = 4096;
const TURNS = 2048;

function plain(key: string, code: string, groups: [number, number, number]): Kernel {
  return {
    op: "floor",
    key: `floor|${key}`,
    params: null,
    inputs: ["f32"],
    outputs: ["f32"],
    scalars: [],
    wgsl: () => ({ code, groups }),
    reference: () => {
      throw new Error("Cannot run a floor kernel on the reference device");
    },
  };
}

/** A kernel of multiply-adds alone, with its floating-point operations. */
export interface Floor {
  readonly name: string;
  readonly kernel: Kernel;
  readonly flops: number;
  readonly bytes: number;
}

/** Sums of `sums` vec4 per thread, in workgroups of `lanes`; each turn adds 8 products to each. */
function multiplyAdds(sums: number, lanes: number, threads: number): Floor {
  const all = Array.from({ length: sums }, (_, s) => s);
  const unrolled = 8;
  const steps = Array.from(
    { length: unrolled },
    () => all.map((s) => `s${s} = s${s} * a + b;`).join(" "),
  );
  const code = `@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = x[id.x]; let b = x[id.x + 1u];
  ${all.map((s) => `var s${s} = x[id.x + ${s + 2}u];`).join(" ")}
  for (var k = 0u; k < ${TURNS}u; k++) { ${steps.join("\n")} }
  y[id.x] = ${all.map((s) => `s${s}`).join(" + ")};
}`;
  return {
    name: `multiply-add, ${sums} vec4 sums, ${lanes} lanes`,
    kernel: plain(`fma|${sums}|${lanes}|${threads}`, code, [threads / lanes, 1, 1]),
    flops: threads * TURNS * unrolled * sums * 4 * 2,
    bytes: 0,
  };
}

/** A copy of so many floats, four per thread. */
function copy(count: number, lanes: number): Floor {
  const groups = count / 4 / lanes;
  const across = Math.min(groups, 4096);
  const code = `@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wg.y * ${across}u + wg.x) * ${lanes}u + lane;
  y[i] = x[i];
}`;
  return {
    name: `copy, ${count / 2 ** 18} MiB, ${lanes} lanes`,
    kernel: plain(`copy|${count}|${lanes}`, code, [across, groups / across, 1]),
    flops: 0,
    bytes: count * 8,
  };
}

/** Candidates; the best of each kind is the adapter's limit. */
export function floors(software: boolean): Floor[] {
  const threads = software ? THREADS_X : THREADS_X * 64;
  const lanes = software ? [8, 64] : [64, 256];
  const sums = [1, 2, 3, 4];
  const megabytes = software ? 32 : 256;
  return [
    ...lanes.flatMap((l) => sums.map((s) => multiplyAdds(s, l, threads))),
    ...[64, 256].map((l) => copy(megabytes * 2 ** 18, l)),
  ];
}

/** Floats that the buffers of a floor kernel need. */
export function floorSize(software: boolean): number {
  return (software ? 32 : 256) * 2 ** 18;
}
