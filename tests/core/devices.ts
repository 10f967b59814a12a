/** Devices that tests open for themselves. */

import { openWebGpu } from "../../core/backend/adapter.ts";
import { openCpu } from "../../core/backend/cpu/open.ts";
import { Device, referenceDevice } from "../../core/backend/device.ts";
import type { DeviceTraits } from "../../kernels/types.ts";
import { cpu, gpu } from "../util.ts";

export { devices } from "../util.ts";

/** What a device of one test is opened with. */
export interface OwnDeviceOptions {
  /** Which kind of device. @default {"webgpu"} */
  readonly kind?: string;
  /** Bytes that tensors may take in all. */
  readonly memoryBudget?: number;
  /** Told to WebGPU kernels instead of what the adapter says. */
  readonly traits?: Partial<DeviceTraits>;
}

/** A device that only the caller uses, and closes. */
export async function ownDevice(options: OwnDeviceOptions = {}): Promise<Device> {
  const { kind = "webgpu", memoryBudget = 2 ** 30, traits = {} } = options;
  if (kind === "reference") return referenceDevice();
  if (kind === "cpu") return new Device(openCpu({ memoryBudget }));
  return new Device(await openWebGpu({ memoryBudget, traits }));
}

/** The WebGPU device with the kernels that hardware adapters get, whatever the adapter is; null where there is none. */
export const hardwareKernels: Device | null = gpu === null
  ? null
  : await ownDevice({ traits: { software: false } });

/** All kernels that there are for a piece of work, by name; null where there is no device for them. */
export const kernelSets: readonly (readonly [string, Device | null])[] = [
  ["webgpu", gpu],
  ["webgpu with the kernels for hardware", hardwareKernels],
  ["cpu", cpu],
];
