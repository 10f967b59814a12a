/** Watches calls of WebGPU by any library, through the prototypes of its classes. */

/** Notes the adapter of each device that is opened from now on; the result gives the last one. */
export function watchAdapter(): () => string {
  let name = "";
  const original = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = function (this: GPUAdapter, ...args): Promise<GPUDevice> {
    name = this.info.description || this.info.device || "unnamed adapter";
    return original.apply(this, args);
  };
  return () => name;
}

/** Calls of one training step. */
export interface Counts {
  readonly dispatches: number;
  readonly submits: number;
  readonly bindGroups: number;
  readonly buffers: number;
  readonly pipelines: number;
  readonly writes: number;
}

const NONE: Counts = {
  dispatches: 0,
  submits: 0,
  bindGroups: 0,
  buffers: 0,
  pipelines: 0,
  writes: 0,
};

type Methods = Record<string, (...args: unknown[]) => unknown>;

/** Which methods raise which count. */
function watched(): [unknown, string, keyof Counts][] {
  return [
    [GPUComputePassEncoder.prototype, "dispatchWorkgroups", "dispatches"],
    [GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", "dispatches"],
    [GPUQueue.prototype, "submit", "submits"],
    [GPUQueue.prototype, "writeBuffer", "writes"],
    [GPUDevice.prototype, "createBindGroup", "bindGroups"],
    [GPUDevice.prototype, "createBuffer", "buffers"],
    [GPUDevice.prototype, "createComputePipeline", "pipelines"],
    [GPUDevice.prototype, "createComputePipelineAsync", "pipelines"],
  ];
}

/** Counts the calls of WebGPU while something runs. */
async function countWhile(run: () => Promise<unknown>): Promise<Counts> {
  const counts = { ...NONE };
  const restore: (() => void)[] = [];
  for (const [prototype, name, count] of watched()) {
    const methods = prototype as Methods;
    const original = methods[name];
    if (typeof original !== "function") continue;
    methods[name] = function (this: unknown, ...args: unknown[]): unknown {
      counts[count]++;
      return original.apply(this, args);
    };
    restore.push(() => methods[name] = original);
  }
  try {
    await run();
  } finally {
    for (const undo of restore) undo();
  }
  return counts;
}

/** Calls of WebGPU that one more step makes: two steps with a read, less one step with a read. */
async function difference(run: (steps: number) => Promise<unknown>): Promise<Counts> {
  const one = await countWhile(() => run(1));
  const two = await countWhile(() => run(2));
  const names = Object.keys(NONE) as (keyof Counts)[];
  return Object.fromEntries(names.map((n) => [n, two[n] - one[n]])) as unknown as Counts;
}

/**
 * Counts of one step without its read: each the median of three tries, since a library may do
 * other work when it is read.
 *
 * @param run runs so many steps and reads the last loss
 */
export async function countsOfStep(run: (steps: number) => Promise<unknown>): Promise<Counts> {
  const tries = [await difference(run), await difference(run), await difference(run)];
  const names = Object.keys(NONE) as (keyof Counts)[];
  const middle = (name: keyof Counts) => tries.map((t) => t[name]).sort((a, b) => a - b)[1];
  return Object.fromEntries(names.map((n) => [n, middle(n)])) as unknown as Counts;
}
