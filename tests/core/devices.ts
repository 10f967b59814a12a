/** Devices that tests open for themselves. */

import { openWebGpu } from "../../core/backend/adapter.ts";
import { Device } from "../../core/backend/device.ts";
import type { DeviceTraits } from "../../kernels/types.ts";
import { gpu, reference } from "../util.ts";

/** What a device of one test is opened with. */
export interface OwnDeviceOptions {
  /** Bytes that tensors may take in all. */
  readonly memoryBudget?: number;
  /** Told to kernels instead of what the adapter says. */
  readonly traits?: Partial<DeviceTraits>;
}

/** A WebGPU device that only the caller uses, and closes. */
export async function ownDevice(options: OwnDeviceOptions = {}): Promise<Device> {
  const { memoryBudget = 2 ** 30, traits = {} } = options;
  return new Device(await openWebGpu({ software: false, memoryBudget, traits }));
}

/** The WebGPU device with the kernels that hardware adapters get, whatever the adapter is; null where there is none. */
export const hardwareKernels: Device | null = gpu === null
  ? null
  : await ownDevice({ traits: { software: false } });

/** The reference and, where there is one, the WebGPU device. */
export const devices: readonly Device[] = gpu === null ? [reference] : [reference, gpu];
