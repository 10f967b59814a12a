/**
 * Times every variant of every kernel family against a plain kernel of one output per thread.
 *
 *   deno task bench:kernels --family matmul --family conv --match 1000
 *
 * The kernel calls of an op are run again and again in few submissions; the least time of some
 * repeats counts, less the wait for an idle device. GB/s counts each operand once. The first lines
 * are the adapter's limits: multiply-adds in registers, and a copy.
 */

import { parseArgs } from "@std/cli/parse-args";
import { type Device, getDevice, type Kernel, type KernelCall } from "../../core/mod.ts";
import { refuse, valuesOf } from "./flags.ts";
import { floors, floorSize } from "./floor.ts";
import { type Case, kernelCases } from "./kernel_cases.ts";
import type { Naive } from "./naive.ts";
import { digits, textTable } from "./text_table.ts";
import { median } from "./trainer.ts";

type Call = KernelCall<unknown>;

/** What is printed of one way to do an op. */
interface Result {
  readonly family: string;
  readonly name: string;
  readonly variant: string;
  readonly dispatches: number;
  readonly ms: number;
  readonly gflops: number;
  readonly gbs: number;
  /** Time of the plain kernel over this one. */
  readonly speedup: number;
}

/** Time that one measurement shall take, and the most runs of an op in it. */
const TARGET_MS = 120;
const MOST_RUNS = 500;
const REPEATS = 4;

/** Milliseconds of a wait for an idle device. */
async function idleWait(device: Device): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 7; i++) times.push(await timed(device, [], 1));
  return median(times);
}

async function timed(device: Device, calls: readonly Call[], runs: number): Promise<number> {
  await device.sync();
  const start = performance.now();
  for (let i = 0; i < runs; i++) for (const call of calls) device.backend.run(call);
  device.flush();
  await device.sync();
  return performance.now() - start;
}

/** The least milliseconds of one run of the calls. */
async function timeCalls(device: Device, calls: readonly Call[], wait: number): Promise<number> {
  await timed(device, calls, 1);
  const once = Math.max(0.02, await timed(device, calls, 1) - wait);
  const runs = Math.min(MOST_RUNS, Math.max(1, Math.ceil(TARGET_MS / once)));
  const times: number[] = [];
  for (let i = 0; i < REPEATS; i++) times.push((await timed(device, calls, runs) - wait) / runs);
  return Math.max(1e-4, Math.min(...times));
}

/** The kernel calls that an op makes. */
function callsOf(device: Device, run: () => void): Call[] {
  const calls: Call[] = [];
  const stop = device.intercept({
    record: (call) => {
      calls.push(call);
      device.backend.run(call);
    },
  });
  run();
  stop();
  return calls;
}

/** The same work in one named way, so that no measured choice comes between. */
function fixed(kernel: Kernel, variant: string): Kernel {
  return {
    ...kernel,
    key: `${kernel.key}|${variant}`,
    variants: undefined,
    wgsl: (traits) => kernel.wgsl(traits, variant),
    reference: (...args) => kernel.reference(...args),
  };
}

/** The calls of an op in each way that its kernels know; the first is the rule's choice. */
function waysOf(device: Device, calls: readonly Call[]): [string, Call[]][] {
  const main = calls.findIndex(({ kernel }) => (kernel.variants?.(device.traits).length ?? 0) > 1);
  const names = main < 0 ? ["rule"] : calls[main].kernel.variants!(device.traits);
  return names.map((name) => [
    name,
    calls.map((call, i) => {
      const { kernel } = call;
      const own = kernel.variants?.(device.traits) ?? [];
      const wanted = i === main ? name : own[0];
      return wanted === undefined ? call : { ...call, kernel: fixed(kernel, wanted) };
    }),
  ]);
}

/** The largest distance between two results, over the largest value. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let worst = 0;
  let scale = 1e-30;
  for (let i = 0; i < b.length; i++) {
    scale = Math.max(scale, Math.abs(b[i]));
    const d = Math.abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;
  }
  return a.length === b.length ? worst / scale : Infinity;
}

/** The call of a plain kernel on buffers of its own. */
function naiveCall(device: Device, { kernel, inputs, count }: Naive): Call {
  return {
    kernel,
    inputs: inputs.map(({ storage }) => ({
      buffer: storage.buffer,
      offset: 0,
      size: storage.count,
    })),
    outputs: [{ buffer: device.backend.allocate(count, "f32", "plain"), offset: 0, size: count }],
    scalars: [],
  };
}

/** Times an op in all ways and with the plain kernel, whose result must be the same. */
async function measureCase(device: Device, item: Case, wait: number): Promise<Result[]> {
  using _ = device.scope();
  const { run, naive } = item.prepare(device);
  let result = null as ReturnType<typeof run> | null;
  const calls = callsOf(device, () => result = run());
  const plain = naiveCall(device, naive);
  device.backend.run(plain);
  const values = await result!.data();
  const off = distance(values, await device.backend.read(plain.outputs[0], "f32"));
  if (!(off < 1e-3)) {
    throw new Error(`Cannot compare ${item.name}: it is ${off} off the plain kernel's result`);
  }
  const plainMs = await timeCalls(device, [plain], wait);
  const resultOf = (variant: string, dispatches: number, ms: number): Result => ({
    family: item.family,
    name: item.name,
    variant,
    dispatches,
    ms,
    gflops: item.flops / ms / 1e6,
    gbs: item.bytes / ms / 1e6,
    speedup: plainMs / ms,
  });
  const results = [resultOf("plain", 1, plainMs)];
  for (const [name, way] of waysOf(device, calls)) {
    results.push(resultOf(name, way.length, await timeCalls(device, way, wait)));
    const same = distance(await result!.data(), values);
    if (same !== 0) throw new Error(`Cannot use variant ${name} of ${item.name}: other bits`);
  }
  device.backend.free(plain.outputs[0].buffer);
  return results;
}

/** The adapter's limits: the best of some kernels of each kind. */
async function measureFloors(device: Device, wait: number): Promise<Result[]> {
  const size = floorSize(device.traits.software);
  const allocate = () => device.backend.allocate(size, "f32", "floor");
  const [x, y] = [allocate(), allocate()];
  const results: Result[] = [];
  for (const { name, kernel, flops, bytes } of floors(device.traits.software)) {
    const call: Call = {
      kernel,
      inputs: [{ buffer: x, offset: 0, size }],
      outputs: [{ buffer: y, offset: 0, size }],
      scalars: [],
    };
    const ms = await timeCalls(device, [call], wait);
    const [gflops, gbs] = [flops / ms / 1e6, bytes / ms / 1e6];
    results.push({
      family: "floor",
      name,
      variant: "",
      dispatches: 1,
      ms,
      gflops,
      gbs,
      speedup: 1,
    });
  }
  for (const buffer of [x, y]) device.backend.free(buffer);
  const best = (of: (r: Result) => number) => results.reduce((a, b) => of(b) > of(a) ? b : a);
  return [best((r) => r.gflops), best((r) => r.gbs)];
}

function rowOf(result: Result, peak: Result): string[] {
  const { name, variant, dispatches, ms, gflops, gbs, speedup, family } = result;
  const share = family === "floor" || gflops === 0 ? "" : digits(100 * gflops / peak.gflops);
  return [
    name,
    variant,
    String(dispatches),
    digits(ms),
    gflops === 0 ? "" : digits(gflops),
    share,
    gbs === 0 ? "" : digits(gbs),
    variant === "plain" || family === "floor" ? "" : `${digits(speedup)} ×`,
  ];
}

const flags = parseArgs(Deno.args, {
  string: ["family", "match", "device"],
  boolean: ["json"],
  default: { match: "", device: "auto" },
  unknown: refuse("--family matmul|conv|reduce|map|norm --match TEXT --device webgpu|cpu --json"),
});
// Variants are chosen here, not by what some earlier run has measured.
Deno.env.set("LEGOML_TUNE", "0");
const device = await getDevice({ kind: flags.device as "auto" });
const wait = await idleWait(device);
const limits = await measureFloors(device, wait);
const results: Result[] = [...limits];
const wanted = valuesOf(Deno.args, "family");
for (const item of kernelCases(device.traits.software)) {
  if (wanted.length > 0 && !wanted.includes(item.family)) continue;
  if (!item.name.includes(flags.match)) continue;
  console.error(item.name);
  results.push(...await measureCase(device, item, wait));
}
if (flags.json) {
  console.log(JSON.stringify({ adapter: device.name, results }));
} else {
  const head = ["op", "variant", "calls", "ms", "GFLOP/s", "% of peak", "GB/s", "vs plain"];
  console.log(`${device.name}\n`);
  console.log(textTable(head, results.map((r) => rowOf(r, limits[0])), 2));
}
device.close();
