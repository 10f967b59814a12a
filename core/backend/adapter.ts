/** Finding a WebGPU adapter and asking it for all that it can give. */

import type { DeviceTraits } from "../../kernels/types.ts";
import { DeviceError } from "../errors.ts";
import { debugLine } from "./debug.ts";
import { environment } from "./host.ts";
import { tuneStoreFor } from "./tune_store.ts";
import { type TuneOptions, WebGpuBackend } from "./webgpu.ts";

/** What a WebGPU device is opened with. */
export interface AdapterOptions {
  /** Bytes that buffers may take in all. */
  readonly memoryBudget: number;
  /** Told to kernels instead of what the adapter says, to try their other variants. @default {{}} */
  readonly traits?: Partial<DeviceTraits>;
  /**
   * How variants of kernels are measured; null leaves it to the rule of each kernel. By default all devices of an adapter share
   * what is found, within a small part of the time; `LEGOML_TUNE=all` measures at once, `LEGOML_TUNE=0` or `traits` leave it to
   * the rule.
   */
  readonly tune?: TuneOptions | null;
}

const INSTALL = "install a Vulkan driver " +
  '(on Debian and Ubuntu "apt-get install mesa-vulkan-drivers" gives one that needs no GPU)';

/** Limits that kernels make use of, requested at the adapter's best. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

/** The best adapter that there is. */
export type FoundAdapter =
  | { readonly adapter: GPUAdapter; readonly name: string; readonly software: boolean }
  | { readonly adapter: null; readonly why: string };

/** Asks for the best adapter, hardware or software; says why there is none. */
export async function findAdapter(): Promise<FoundAdapter> {
  const gpu = globalThis.navigator?.gpu;
  if (gpu === undefined) {
    return { adapter: null, why: "this runtime has no WebGPU (navigator.gpu)" };
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) return { adapter, why: "no WebGPU adapter was found" };
  return { adapter, name: nameOf(adapter.info), software: isSoftware(adapter) };
}

/**
 * A backend on the best adapter.
 *
 * @param options budget, and what tests change
 * @param found the adapter, where it was asked for before
 * @throws {DeviceError} if there is none
 */
export async function openWebGpu(
  options: AdapterOptions,
  found?: FoundAdapter,
): Promise<WebGpuBackend> {
  const best = found ?? await findAdapter();
  if (best.adapter === null) throw noAdapter(best.why);
  const { adapter, name, software } = best;
  const { info } = adapter;
  const features: GPUFeatureName[] = [];
  for (const feature of ["shader-f16", "timestamp-query"] as const) {
    if (adapter.features.has(feature)) features.push(feature);
  }
  const requiredLimits: Record<string, number> = {};
  for (const limit of LIMITS) requiredLimits[limit] = Number(adapter.limits[limit]);
  const device = await adapter.requestDevice({
    label: "legoml",
    requiredFeatures: features,
    requiredLimits,
  });
  const traits: DeviceTraits = {
    software,
    maxGroups: device.limits.maxComputeWorkgroupsPerDimension,
    maxBindings: device.limits.maxStorageBuffersPerShaderStage,
    f16: adapter.features.has("shader-f16"),
    ...options.traits,
  };
  debugLine(1, () => describe(name, device, traits));
  const tune = options.tune !== undefined || options.traits !== undefined
    ? options.tune ?? null
    : sharedTuning(info, traits);
  return new WebGpuBackend(device, name, traits, options.memoryBudget, tune);
}

/** `LEGOML_TUNE=all` measures in the first reads whatever there is to measure. */
const unlimited = { perReadMs: Infinity, initialMs: Infinity };

/** What was measured on the same adapter and driver counts again. */
function sharedTuning(info: GPUAdapterInfo, traits: DeviceTraits): TuneOptions | null {
  const { vendor, architecture, device, description } = info;
  const identity = [vendor, architecture, device, description, JSON.stringify(traits)].join("|");
  const store = tuneStoreFor(identity);
  debugLine(1, () => {
    if (store === null) return "kernels are not measured, as LEGOML_TUNE=0 says";
    return `measured kernels are kept in ${store.file ?? "memory"}`;
  });
  return store && { store, limits: environment("LEGOML_TUNE") === "all" ? unlimited : undefined };
}

function describe(name: string, device: GPUDevice, traits: DeviceTraits): string {
  const limits = LIMITS.map((limit) => `${limit} ${device.limits[limit]}`).join(", ");
  const kind = traits.software ? "software" : "hardware";
  return `adapter ${name}, ${kind}; features ${[...device.features].sort().join(", ")}; ${limits}`;
}

function noAdapter(why: string): DeviceError {
  const advice = globalThis.navigator?.gpu === undefined ? "" : `; ${INSTALL}`;
  return new DeviceError(`Cannot get a device: ${why}${advice}`);
}

function nameOf({ description, device, vendor }: GPUAdapterInfo): string {
  return [description || device || "unnamed adapter", vendor]
    .filter((part) => part !== "" && !/^\d+$/.test(part)).join(", ");
}

/** True for adapters that run on the CPU's cores. */
function isSoftware(adapter: GPUAdapter): boolean {
  const info = adapter.info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  return info.isFallbackAdapter === true ||
    /llvmpipe|swiftshader|software|basic render/i.test(`${info.description} ${info.device}`);
}
