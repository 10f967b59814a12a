/** What the machine offers: SIMD, fused multiplications, shared memory. */

import { drop, f32, f32x4 } from "../../../kernels/wasm/instructions.ts";
import { ModuleBuilder, type WasmFeatures } from "../../../kernels/wasm/module.ts";
import type { Code } from "../../../kernels/wasm/instructions.ts";
import { DeviceError } from "../../errors.ts";

/** Pages of 64 KiB that addresses of 32 bits reach. */
export const MAX_PAGES = 65536;
/** Pages that a memory has at first. */
const FIRST_PAGES = 256;

/**
 * What kernels may be compiled for.
 *
 * @param shared whether memory is to be shared between threads
 * @throws {DeviceError} without SIMD
 */
export function detectFeatures(shared: boolean): WasmFeatures {
  const features = { shared, relaxed: false, maxPages: MAX_PAGES };
  const vector = f32x4.splat(f32.const(1));
  if (!accepts(features, vector)) {
    throw new DeviceError(
      "Cannot get the CPU device: expected WebAssembly with 128-bit SIMD, found none in this runtime",
    );
  }
  return { ...features, relaxed: accepts(features, f32x4.relaxed_madd(vector, vector, vector)) };
}

/** Whether memory can be shared between threads here; pages in a browser need cross-origin isolation for it. */
export function canShareMemory(): boolean {
  return typeof SharedArrayBuffer !== "undefined";
}

/** Whether a module with this value in it is one. */
function accepts(features: WasmFeatures, value: Code): boolean {
  const module = new ModuleBuilder(features);
  module.function([]).emit(drop(value));
  return WebAssembly.validate(module.encode());
}

/**
 * A memory that may grow as far as the system lets it.
 *
 * @param shared whether threads share it
 * @returns the memory and how many pages it may have
 * @throws {DeviceError} if there is none to be had
 */
export function newMemory(shared: boolean): { memory: WebAssembly.Memory; maxPages: number } {
  for (let maximum = MAX_PAGES; maximum >= FIRST_PAGES; maximum /= 2) {
    try {
      const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared });
      return { memory, maxPages: maximum };
    } catch (error) {
      // Systems with few addresses refuse large maxima.
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new DeviceError(
    `Cannot get the CPU device: expected ${FIRST_PAGES * 65536} bytes of memory, found less`,
  );
}
