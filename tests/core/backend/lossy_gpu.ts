/** A WebGPU device that is destroyed at a chosen call of its interface. */

import { Device } from "../../../core/backend/device.ts";
import { WebGpuBackend } from "../../../core/backend/webgpu.ts";

/** What the framework calls of a device; each call is counted, and any of them can be the last. */
export type GpuCall =
  | "createBuffer"
  | "createShaderModule"
  | "createPipeline"
  | "createBindGroup"
  | "createEncoder"
  | "beginPass"
  | "dispatch"
  | "writeBuffer"
  | "copy"
  | "finish"
  | "submit"
  | "mapAsync"
  | "mapped"
  | "getMappedRange";

/** When the device is lost: at a call by its number from 1, before it or after it. */
export interface LossPlan {
  readonly at: number;
  readonly when: "before" | "after";
}

/** A device that can be lost. */
export interface LossyDevice {
  readonly device: Device;
  readonly raw: GPUDevice;
  /** The calls so far. */
  readonly calls: GpuCall[];
  /** The call at which it was lost, or null. */
  lostAt(): GpuCall | null;
}

// deno-lint-ignore no-explicit-any -- methods of several classes are replaced
type Methods = Record<string, (...args: any[]) => unknown>;

/** Opens a device of its own that is lost by the plan. */
export async function lossyDevice(plan: LossPlan | null): Promise<LossyDevice> {
  const adapter = await navigator.gpu.requestAdapter();
  const raw = await adapter!.requestDevice();
  const calls: GpuCall[] = [];
  let lostAt: GpuCall | null = null;
  const lose = (call: GpuCall) => {
    lostAt ??= call;
    raw.destroy();
  };
  const count = (call: GpuCall): boolean => plan?.at === calls.push(call);
  /** Counts calls of a method; `then` gets what it returns. */
  const watch = (
    target: object,
    method: string,
    call: GpuCall,
    then = (_result: unknown) => {},
  ) => {
    const methods = target as Methods;
    const original = methods[method].bind(target);
    methods[method] = (...args) => {
      const hit = count(call);
      if (hit && plan!.when === "before") lose(call);
      const result = original(...args);
      if (hit && plan!.when === "after") lose(call);
      then(result);
      return result;
    };
  };
  const watchBuffer = (buffer: object) => {
    const target = buffer as GPUBuffer;
    watch(target, "getMappedRange", "getMappedRange");
    const map = target.mapAsync.bind(target);
    target.mapAsync = (...args) => {
      const hit = count("mapAsync");
      if (hit && plan!.when === "before") lose("mapAsync");
      const mapping = map(...args);
      if (hit && plan!.when === "after") lose("mapAsync");
      // The moment at which it is mapped, and nobody has looked yet.
      return mapping.then(() => {
        if (count("mapped")) lose("mapped");
      }) as Promise<undefined>;
    };
  };
  watch(raw, "createBuffer", "createBuffer", (buffer) => watchBuffer(buffer as object));
  watch(raw, "createShaderModule", "createShaderModule");
  watch(raw, "createComputePipeline", "createPipeline");
  watch(raw, "createBindGroup", "createBindGroup");
  watch(raw, "createCommandEncoder", "createEncoder", (encoder) => {
    watch(encoder as object, "copyBufferToBuffer", "copy");
    watch(encoder as object, "finish", "finish");
    watch(encoder as object, "beginComputePass", "beginPass", (pass) => {
      watch(pass as object, "dispatchWorkgroups", "dispatch");
    });
  });
  watch(raw.queue, "submit", "submit");
  watch(raw.queue, "writeBuffer", "writeBuffer");
  const traits = { software: true, maxGroups: 65535, f16: false };
  const device = new Device(new WebGpuBackend(raw, "test", traits, 2 ** 28));
  return { device, raw, calls, lostAt: () => lostAt };
}
