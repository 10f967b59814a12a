/** Other WebGPU implementations than the one that is there. */

/** Runs with another `navigator.gpu`. */
export async function withGpu<T>(value: unknown, fn: () => Promise<T>): Promise<T> {
  const own = Object.getOwnPropertyDescriptor(navigator, "gpu");
  Object.defineProperty(navigator, "gpu", { value, configurable: true });
  try {
    return await fn();
  } finally {
    if (own) Object.defineProperty(navigator, "gpu", own);
    else delete (navigator as unknown as { gpu?: unknown }).gpu;
  }
}

/** WebGPU with this adapter. */
export function gpuWith(adapter: unknown): unknown {
  return { requestAdapter: () => Promise.resolve(adapter) };
}

/** An adapter that says no more than what it is. */
export function adapterNamed(description: string, isFallbackAdapter = false): unknown {
  return { info: { description, device: "", vendor: "", isFallbackAdapter } };
}
