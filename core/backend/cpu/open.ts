/** Opens the CPU device with the compiler for its kernels. */

import { cpuProgram } from "../../../kernels/wasm/mod.ts";
import type { OpenOptions } from "../choose.ts";
import { CpuBackend } from "./cpu.ts";

/**
 * A backend on the cores of this machine.
 *
 * @param options budget and threads
 * @throws {DeviceError} if the runtime lacks what it needs
 */
export function openCpu(options: OpenOptions): CpuBackend {
  return new CpuBackend({ ...options, compile: cpuProgram });
}
