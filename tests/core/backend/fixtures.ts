import { assert } from "@std/assert";
import { Device, type Tensor } from "../../../core/mod.ts";
import { openWebGpu } from "../../../core/backend/adapter.ts";
import { type TuneOptions, WebGpuBackend } from "../../../core/backend/webgpu.ts";
import type { Kernel } from "../../../kernels/types.ts";
import { gpu } from "../../util.ts";

/** Whether there is an adapter that can time its kernels. */
export const canTime: boolean = gpu !== null &&
  (await navigator.gpu.requestAdapter())!.features.has("timestamp-query");

/** A device of its own whose kernels are measured as told. */
export async function tunedDevice(tune: TuneOptions | null): Promise<Device> {
  return new Device(await openWebGpu({ memoryBudget: 2 ** 28, tune }));
}

/** A device without any optional feature. */
export async function plainDevice(tune: TuneOptions | null = null): Promise<Device> {
  const adapter = await navigator.gpu.requestAdapter();
  const raw = await adapter!.requestDevice();
  const traits = { software: true, maxGroups: 65535, f16: false };
  return new Device(new WebGpuBackend(raw, "plain", traits, 2 ** 28, tune));
}

/** The backend of a device, to look into it. */
export function backendOf(device: Device): WebGpuBackend {
  assert(device.backend instanceof WebGpuBackend);
  return device.backend;
}

/** Lets a kernel read `x` and write `y`, both as one range. */
export function runKernel(kernel: Kernel, x: Tensor, y: Tensor, scalars: number[] = []): void {
  const operand = (t: Tensor) => ({ buffer: t.storage.buffer, offset: 0, size: t.size });
  x.device.record({ kernel, inputs: [operand(x)], outputs: [operand(y)], scalars });
}

/** A kernel `y[i] = x[i] + 1` over `count` elements that goes through a loop of `turns` for each. */
export function slowKernel(key: string, count: number, turns: number): Kernel {
  return {
    op: "slow",
    key,
    params: { count },
    inputs: ["f32"],
    outputs: ["f32"],
    scalars: [],
    flops: 2 * count * turns,
    wgsl: () => ({ code: increment(count, turns), groups: [Math.ceil(count / 64), 1, 1] }),
    reference: ([x], [y]) => x.forEach((v, i) => y[i] = v + 1),
  };
}

/** The shader of that kernel. */
export function increment(count: number, turns: number): string {
  return `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= ${count}u) { return; }
  var s = x[i];
  for (var k = 0u; k < ${turns}u; k++) { s = s * 0.5 + x[(i + k) % ${count}u]; }
  y[i] = x[i] + select(1.0, 2.0, s == 12345.5);
}`;
}
