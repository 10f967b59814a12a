/** Finding a WebGPU adapter and asking it for all that it can give. */

import type { DeviceTraits } from "../../kernels/types.ts";
import { DeviceError } from "../errors.ts";
import { debugLine } from "./debug.ts";
import { environment } from "./host.ts";
import { tuneStoreFor } from "./tune_store.ts";
import { type TuneOptions, WebGpuBackend } from "./webgpu.ts";

/** Which adapter is wanted and how much memory it may use. */
export interface AdapterOptions {
  /** Only adapters that run on the CPU's cores. */
  readonly software: boolean;
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

const NO_ADAPTER = "no WebGPU adapter was found; install a Vulkan driver " +
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

/** A backend on the best adapter that fits. */
export async function openWebGpu(options: AdapterOptions): Promise<WebGpuBackend> {
  const adapter = await requestAdapter(options.software);
  const info = adapter.info;
  const name = [info.description || info.device || "unnamed adapter", info.vendor]
    .filter((part) => part !== "" && !/^\d+$/.test(part)).join(", ");
  const software = isSoftware(adapter);
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

async function requestAdapter(software: boolean): Promise<GPUAdapter> {
  const gpu = globalThis.navigator?.gpu;
  if (gpu === undefined) {
    throw new DeviceError("Cannot get a device: this runtime has no WebGPU (navigator.gpu)");
  }
  const adapter = await gpu.requestAdapter(
    software ? { forceFallbackAdapter: true } : { powerPreference: "high-performance" },
  );
  if (adapter === null) throw new DeviceError(`Cannot get a device: ${NO_ADAPTER}`);
  if (software && !isSoftware(adapter)) {
    throw new DeviceError(
      'Cannot get a device of kind "cpu": expected a software adapter, found ' +
        `"${adapter.info.description}"`,
    );
  }
  return adapter;
}

/** True for adapters that run on the CPU's cores. */
function isSoftware(adapter: GPUAdapter): boolean {
  const info = adapter.info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  return info.isFallbackAdapter === true ||
    /llvmpipe|swiftshader|software|basic render/i.test(`${info.description} ${info.device}`);
}
