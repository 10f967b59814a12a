/** Backends that kernels are tried on. */

import { openWebGpu } from "../../core/backend/adapter.ts";
import type { Backend } from "../../core/backend/backend.ts";
import { openCpu } from "../../core/backend/cpu/open.ts";

/** Whether there is a WebGPU adapter. */
export const hasAdapter: boolean = (await navigator.gpu?.requestAdapter() ?? null) !== null;

/** A backend that a test opens for itself, and closes. */
export interface BackendChoice {
  /** Which kernels it has. */
  readonly name: string;
  /** Whether it cannot be had here. */
  readonly ignore: boolean;
  /** Opens it. */
  readonly open: () => Promise<Backend> | Backend;
}

const memoryBudget = 2 ** 28;

function webGpu(software: boolean): BackendChoice {
  return {
    name: `webgpu with the kernels for ${software ? "software" : "hardware"}`,
    ignore: !hasAdapter,
    open: () => openWebGpu({ memoryBudget, traits: { software } }),
  };
}

const cpu: BackendChoice = { name: "cpu", ignore: false, open: () => openCpu({ memoryBudget }) };

/** All kernels that there are. */
export const everyKernel: readonly BackendChoice[] = [webGpu(true), webGpu(false), cpu];

/** The kernels that users get. */
export const usualKernels: readonly BackendChoice[] = [
  { name: "webgpu", ignore: !hasAdapter, open: () => openWebGpu({ memoryBudget }) },
  cpu,
];
