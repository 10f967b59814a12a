/** Measures the ways to do a kernel, on memory of its own, while somebody waits for the device anyway. */

import { bytesPerElement, type KernelCall, type WgslProgram } from "../../kernels/types.ts";
import { kernelLabel } from "../../kernels/label.ts";
import { debugLine } from "./debug.ts";
import { writeError } from "./host.ts";
import type { PipelineEntry } from "./pipelines.ts";
import type { PoolBuffer } from "./pool.ts";
import { firstTime, PassTimes, passTimes } from "./timestamps.ts";
import { hashOf, type TuneStore } from "./tune_store.ts";

/** How much measuring may cost. */
export interface TunerLimits {
  /** Milliseconds in one read; a kernel that takes longer than this gets a read of its own. */
  readonly perReadMs: number;
  /** Milliseconds from the start on. */
  readonly initialMs: number;
  /** Part of the time since the start that may be spent besides. */
  readonly share: number;
  /** Runs of a kernel before it counts as one that comes again and again. */
  readonly minCalls: number;
}

const LIMITS: TunerLimits = { perReadMs: 50, initialMs: 100, share: 0.04, minCalls: 3 };

/**
 * What adapters differ in: rounds of each variant, of which the fastest counts; µs below which there is nothing to win; µs that one measurement should
 * last at least; bytes of memory to try on; a first guess of operations and bytes in a ms, and of ms to compile.
 */
const SOFTWARE = {
  rounds: 2,
  leastUs: 50,
  lastsUs: 0,
  scratch: 64 * 2 ** 20,
  flops: 15e6,
  bytes: 2e6,
  compileMs: 15,
};
const HARDWARE: typeof SOFTWARE = {
  rounds: 3,
  leastUs: 5,
  lastsUs: 200,
  scratch: 256 * 2 ** 20,
  flops: 500e6,
  bytes: 50e6,
  compileMs: 10,
};

/** A variant must be this much faster than the rule's choice to replace it, since times vary. */
const MARGIN = 0.93;

/** Trials in one read at most, of four passes each. */
const MAX_TRIALS = 16;

/** A compiled variant. */
export interface CompiledVariant {
  readonly pipeline: GPUComputePipeline;
  readonly groups: WgslProgram["groups"];
  readonly code: string;
}

/** What a tuner works with. */
export interface TunerParts {
  readonly device: GPUDevice;
  readonly software: boolean;
  readonly store: TuneStore;
  /** Compiles a variant. */
  readonly compile: (entry: PipelineEntry, variant: string) => CompiledVariant;
  readonly limits?: Partial<TunerLimits>;
}

/** A kernel whose variants are to be measured. */
interface Candidate {
  readonly entry: PipelineEntry;
  readonly variants: readonly string[];
  readonly bytes: { readonly inputs: readonly number[]; readonly outputs: readonly number[] };
  readonly scalars: readonly number[];
  readonly compiled: CompiledVariant[];
  /** µs of one run, in the order of the variants. */
  readonly times: number[];
  /** The variant that seems better than the first; both are measured again, side by side. */
  rival: number | null;
  /** µs of one run of the first variant, then of its rival. */
  readonly finals: number[];
  /** µs of one run of the first variant: a guess, then what a probe found. */
  guess: number;
  /** Runs in one measurement; 0 until the first variant was probed. */
  runs: number;
}

interface Trial {
  readonly candidate: Candidate;
  readonly variant: number;
  readonly runs: number;
  /** How long the host took to compile the variant; null where that was done before. */
  compiledMs: number | null;
}

/** Measurements that were handed to the device. */
export interface TuneRun {
  /** Where the times will be. */
  readonly buffer: GPUBuffer;
  /** Takes the content of that buffer. */
  readonly finish: (data: ArrayBuffer) => Promise<void>;
  /** To be called instead where it could not be read. */
  readonly abandon: () => void;
}

/** Finds the fastest variants of kernels that run again and again. */
export class Tuner {
  readonly #parts: TunerParts;
  readonly #limits: TunerLimits;
  readonly #kind: typeof SOFTWARE;
  readonly #began = performance.now();
  #candidates: Candidate[] = [];
  #times: PassTimes | null = null;
  #running = false;
  #spentMs = 0;
  /** What compiling a variant costs, the work that drivers put off until the first run included. */
  #compileMs: number;

  constructor(parts: TunerParts) {
    this.#parts = parts;
    this.#limits = { ...LIMITS, ...parts.limits };
    this.#kind = parts.software ? SOFTWARE : HARDWARE;
    this.#compileMs = this.#kind.compileMs;
  }

  /** Kernels that wait to be measured. */
  get pending(): number {
    return this.#candidates.length;
  }

  /** Milliseconds spent so far. */
  get spentMs(): number {
    return this.#spentMs;
  }

  /**
   * Puts a kernel on the list.
   *
   * @param entry the kernel as it runs, in its first variant
   * @param code the shader of that
   * @param call says how large the operands are
   */
  add(
    entry: PipelineEntry,
    variants: readonly string[],
    code: string,
    call: KernelCall<PoolBuffer>,
  ): void {
    const { kernel } = entry;
    const inputs = call.inputs.map((o, i) => padded(o.size * bytesPerElement(kernel.inputs[i])));
    const outputs = call.outputs.map((o, i) => padded(o.size * bytesPerElement(kernel.outputs[i])));
    const all = [...inputs, ...outputs].reduce((a, b) => a + b, 0);
    if (all > this.#kind.scratch) return;
    const ms = Math.max((kernel.flops ?? 0) / this.#kind.flops, all / this.#kind.bytes);
    this.#candidates.push({
      entry,
      variants,
      bytes: { inputs, outputs },
      scalars: [...call.scalars],
      compiled: [{ pipeline: entry.pipeline, groups: entry.groups, code }],
      times: [],
      rival: null,
      finals: [],
      guess: ms * 1000,
      runs: 0,
    });
  }

  /** Hands measurements to the device; null where there is nothing to measure, or no time for it. */
  start(): TuneRun | null {
    if (this.#running || this.#candidates.length === 0) return null;
    const trials = this.#choose();
    if (trials.length === 0) return null;
    const began = performance.now();
    const { device } = this.#parts;
    this.#times ??= new PassTimes(device, 4 * MAX_TRIALS);
    const scratch: GPUBuffer[] = [];
    // What goes wrong here must not count as a fault of the program's own work.
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const encoder = device.createCommandEncoder({ label: "measuring" });
    for (const trial of trials) this.#encode(encoder, trial, scratch);
    const buffer = this.#times.resolve(encoder);
    device.queue.submit([encoder.finish()]);
    const errors = Promise.all([device.popErrorScope(), device.popErrorScope()]);
    this.#running = true;
    this.#spentMs += performance.now() - began;
    const end = () => {
      this.#running = false;
      for (const used of [buffer, ...scratch]) used.destroy();
    };
    const finish = async (data: ArrayBuffer) => {
      const error = (await errors).find((found) => found !== null);
      end();
      if (error) this.#leaveOut(trials, error.message);
      else this.#evaluate(trials, data);
    };
    return { buffer, finish, abandon: end };
  }

  /** Writes what was found. */
  save(): void {
    this.#parts.store.save();
  }

  /** Trials for this read: kernels with the most work first, as many as the time allows. */
  #choose(): Trial[] {
    const { perReadMs, initialMs, share, minCalls } = this.#limits;
    const credit = initialMs + share * (performance.now() - this.#began) - this.#spentMs;
    const often = this.#candidates.filter(({ entry }) => entry.calls >= minCalls);
    often.sort((a, b) => b.entry.calls * b.guess - a.entry.calls * a.guess);
    const trials: Trial[] = [];
    let cost = 0;
    for (const candidate of often) {
      for (const trial of this.#trialsOf(candidate)) {
        cost += this.#costOf(trial);
        if (trials.length === MAX_TRIALS) return trials;
        if (cost > credit || (trials.length > 0 && cost > perReadMs)) return trials;
        trials.push(trial);
      }
    }
    return trials;
  }

  /** What is next for a kernel: a probe of the first variant, then all that are not measured, then the two finalists. */
  #trialsOf(candidate: Candidate): Trial[] {
    const { runs, times, variants, rival, finals } = candidate;
    const trial = (variant: number) => ({
      candidate,
      variant,
      runs: Math.max(runs, 1),
      compiledMs: null,
    });
    if (runs === 0) return [trial(0)];
    if (rival !== null) return [0, rival].slice(finals.length).map(trial);
    return variants.map((_, variant) => trial(variant)).slice(times.length);
  }

  /** Milliseconds that a trial may take. */
  #costOf({ candidate, variant, runs }: Trial): number {
    const { guess, compiled, bytes } = candidate;
    const compile = compiled[variant] === undefined ? this.#compileMs : 0;
    const fill = [...bytes.inputs, ...bytes.outputs].reduce((a, b) => a + b, 0) / this.#kind.bytes;
    return compile + fill + (1 + this.#kind.rounds * runs) * guess / 1000;
  }

  /** One run to warm up, then the rounds; each is a pass of its own. */
  #encode(encoder: GPUCommandEncoder, trial: Trial, scratch: GPUBuffer[]): void {
    const { candidate, variant, runs } = trial;
    const { pipeline, groups } = candidate.compiled[variant] ?? this.#compile(trial);
    const group = this.#bind(candidate, scratch);
    for (let round = 0; round <= this.#kind.rounds; round++) {
      const pass = encoder.beginComputePass({ timestampWrites: this.#times!.next() });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group, candidate.scalars.length > 0 ? [0] : []);
      const count = round === 0 ? 1 : runs;
      for (let run = 0; run < count; run++) {
        pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
      }
      pass.end();
    }
  }

  #compile(trial: Trial): CompiledVariant {
    const { entry, variants, compiled } = trial.candidate;
    const start = performance.now();
    const made = this.#parts.compile(entry, variants[trial.variant]);
    trial.compiledMs = performance.now() - start;
    return compiled[trial.variant] = made;
  }

  /** Memory of zeros for the operands: one buffer for all inputs, one for each output. */
  #bind({ entry, bytes, scalars }: Candidate, scratch: GPUBuffer[]): GPUBindGroup {
    const { device } = this.#parts;
    const create = (size: number, usage: number) => {
      const buffer = device.createBuffer({ label: "measuring", size, usage });
      scratch.push(buffer);
      return buffer;
    };
    const shared = bytes.inputs.length === 0
      ? null
      : create(Math.max(...bytes.inputs), GPUBufferUsage.STORAGE);
    const resources: GPUBufferBinding[] = [
      ...bytes.inputs.map((size) => ({ buffer: shared!, offset: 0, size })),
      ...bytes.outputs.map((size) => ({ buffer: create(size, GPUBufferUsage.STORAGE) })),
    ];
    if (scalars.length > 0) {
      const buffer = create(
        padded(4 * scalars.length),
        GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      );
      device.queue.writeBuffer(buffer, 0, wordsOf(entry.kernel.scalars, scalars));
      resources.push({ buffer });
    }
    return device.createBindGroup({
      label: "measuring",
      layout: entry.layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
  }

  #evaluate(trials: readonly Trial[], data: ArrayBuffer): void {
    const passes = passTimes(data, firstTime(data));
    const last = passes[passes.length - 1];
    this.#spentMs += (last.start + last.duration - passes[0].start) / 1000;
    const { rounds } = this.#kind;
    const before = this.#candidates.length;
    trials.forEach((trial, i) => {
      const { candidate, runs, compiledMs } = trial;
      const [first, ...rest] = passes.slice(i * (1 + rounds), (i + 1) * (1 + rounds));
      const us = Math.min(...rest.map(({ duration }) => duration / runs));
      if (compiledMs !== null) {
        const ms = compiledMs + Math.max(0, first.duration - us) / 1000;
        this.#compileMs = (this.#compileMs + ms) / 2;
      }
      if (candidate.runs === 0) this.#probed(candidate, us);
      else if (candidate.rival === null) candidate.times.push(us);
      else candidate.finals.push(us);
      this.#conclude(candidate);
    });
    if (this.#candidates.length < before) this.save();
  }

  #probed(candidate: Candidate, us: number): void {
    candidate.guess = us;
    candidate.runs = Math.max(1, Math.min(50, Math.ceil(this.#kind.lastsUs / Math.max(us, 1))));
    // One run that lasts long enough is a measurement already.
    if (candidate.runs === 1) candidate.times.push(us);
    if (us < this.#kind.leastUs) this.#drop(candidate);
  }

  /** Finds a rival of the first variant, or ends the matter. */
  #conclude(candidate: Candidate): void {
    const { variants, times, finals } = candidate;
    if (times.length < variants.length) return;
    // A clock without ticks in between tells nothing.
    if ([...times, ...finals].some((us) => us === 0)) return this.#drop(candidate);
    if (candidate.rival === null) {
      const fastest = times.indexOf(Math.min(...times));
      if (times[fastest] < MARGIN * times[0]) candidate.rival = fastest;
      else this.#decide(candidate, 0);
    } else if (finals.length === 2) {
      this.#decide(candidate, finals[1] < MARGIN * finals[0] ? candidate.rival : 0);
    }
  }

  #decide(candidate: Candidate, chosen: number): void {
    const { entry, variants, times, compiled } = candidate;
    this.#drop(candidate);
    const { pipeline, groups, code } = compiled[chosen];
    entry.pipeline = pipeline;
    entry.groups = groups;
    this.#parts.store.set(entry.kernel.key, { variant: variants[chosen], code: hashOf(code) });
    debugLine(1, () => {
      const all = variants.map((name, i) => `${name} ${times[i].toFixed(1)} µs`).join(", ");
      return `${kernelLabel(entry.kernel)} runs as ${variants[chosen]}: ${all}`;
    });
  }

  /** Leaves kernels to their rule. */
  #leaveOut(trials: readonly Trial[], reason: string): void {
    for (const { candidate } of trials) this.#drop(candidate);
    const labels = new Set(trials.map(({ candidate }) => kernelLabel(candidate.entry.kernel)));
    writeError(`legoml: ${[...labels].join(", ")} cannot be measured: ${reason}`);
  }

  #drop(candidate: Candidate): void {
    this.#candidates = this.#candidates.filter((other) => other !== candidate);
  }
}

function padded(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 16) * 16);
}

function wordsOf(types: readonly string[], scalars: readonly number[]): ArrayBuffer {
  const words = new DataView(new ArrayBuffer(padded(4 * scalars.length)));
  scalars.forEach((value, i) => {
    if (types[i] === "f32") words.setFloat32(4 * i, value, true);
    else words.setUint32(4 * i, value, true);
  });
  return words.buffer;
}
