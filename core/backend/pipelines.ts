/** Compiled kernels and their bind groups, each made once. */

import { bytesPerElement } from "../../kernels/types.ts";
import type {
  DeviceTraits,
  Kernel,
  KernelCall,
  Operand,
  WgslProgram,
} from "../../kernels/types.ts";
import { ShapeError } from "../errors.ts";
import type { PoolBuffer } from "./pool.ts";
import { hashOf, type TuneStore } from "./tune_store.ts";
import { debugLine } from "./debug.ts";
import type { CompiledVariant, Tuner } from "./tuner.ts";

/** A kernel as this device runs it. */
export interface PipelineEntry {
  readonly kernel: Kernel;
  readonly layout: GPUBindGroupLayout;
  readonly bound: BoundTree;
  /** The first way to do it, or the one that measured best. */
  pipeline: GPUComputePipeline;
  groups: readonly [number, number, number];
  /** How often it ran. */
  calls: number;
}

/** A kernel with its operands in their places, ready to be encoded. */
export interface BoundCall {
  readonly entry: PipelineEntry;
  readonly group: GPUBindGroup;
  /** Where the operands are, inputs first. */
  readonly buffers: readonly PoolBuffer[];
  readonly offsets: readonly number[];
  /** Bind groups of older generations were dropped. */
  readonly generation: number;
  /** The operands that were last bound here, by identity. */
  outputs: readonly Operand<PoolBuffer>[];
}

/** Bound calls by the places of their operands, one level for each operand. */
type BoundTree = Map<number, BoundTree | BoundCall>;

/** A number for a place: 2^22 buffers of 2^31 elements fit into the exact integers. */
function placeOf(operand: { readonly buffer: PoolBuffer; readonly offset: number }): number {
  return operand.buffer.id * 2 ** 31 + operand.offset;
}

const MAX_BIND_GROUPS = 16384;

const STAMP = `@group(0) @binding(0) var<storage, read_write> count: array<u32>;
@compute @workgroup_size(1) fn main() { count[0] += 1u; }`;

/** Pipelines by kernel key, bind groups by kernel and operands. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #traits: DeviceTraits;
  readonly #uniforms: GPUBuffer;
  readonly #choices: TuneStore | null;
  /** Measures kernels that can be done in several ways. */
  tuner: Tuner | null = null;
  readonly #entries = new Map<Kernel, PipelineEntry>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  /** Counts the submissions that really ran. */
  readonly stampPipeline: GPUComputePipeline;
  /** What calls that came before found, by their operands: captured steps bring the same ones again. */
  readonly #seen = new WeakMap<readonly Operand<PoolBuffer>[], BoundCall>();
  #made = 0;
  #alive = 0;
  #generation = 0;

  /**
   * @param uniforms where the scalars of calls are written
   * @param choices variants that measured best, where that is known
   */
  constructor(
    device: GPUDevice,
    traits: DeviceTraits,
    uniforms: GPUBuffer,
    choices: TuneStore | null = null,
  ) {
    this.#device = device;
    this.#choices = choices;
    this.#traits = traits;
    this.#uniforms = uniforms;
    this.stampPipeline = this.#compile("stamp", STAMP, this.#layout(0, 1, false));
  }

  /** Pipelines made so far. */
  get count(): number {
    return this.#entries.size;
  }

  /** Bind groups made so far. */
  get bindGroups(): number {
    return this.#made;
  }

  /** The bind group of the stamp kernel. */
  stampGroup(buffer: GPUBuffer): GPUBindGroup {
    const layout = this.#layout(0, 1, false);
    return this.#device.createBindGroup({
      label: "stamp",
      layout,
      entries: [{ binding: 0, resource: { buffer } }],
    });
  }

  /** The call with its pipeline and bind group; the scalars are bound with a dynamic offset. */
  bind(call: KernelCall<PoolBuffer>): BoundCall {
    const seen = this.#seen.get(call.outputs);
    if (seen !== undefined && this.#holds(seen, call)) return seen;
    const bound = this.#find(this.#entries.get(call.kernel) ?? this.#make(call), call);
    // Ops make new arrays for each call; arrays that come twice belong to a captured step.
    if (bound.outputs === call.outputs) this.#seen.set(call.outputs, bound);
    else bound.outputs = call.outputs;
    return bound;
  }

  /** Drops all bind groups, since they keep their buffers alive. */
  forgetBindGroups(): void {
    for (const entry of this.#entries.values()) entry.bound.clear();
    this.#alive = 0;
    this.#generation++;
  }

  /** Whether the call is what it was: a captured step moves its inputs and results. */
  #holds(seen: BoundCall, { kernel, inputs, outputs }: KernelCall<PoolBuffer>): boolean {
    if (seen.entry.kernel !== kernel || seen.generation !== this.#generation) return false;
    const { buffers, offsets } = seen;
    let at = 0;
    for (let i = 0; i < inputs.length; i++, at++) {
      if (inputs[i].buffer !== buffers[at] || inputs[i].offset !== offsets[at]) return false;
    }
    for (let i = 0; i < outputs.length; i++, at++) {
      if (outputs[i].buffer !== buffers[at] || outputs[i].offset !== offsets[at]) return false;
    }
    return true;
  }

  #find(entry: PipelineEntry, call: KernelCall<PoolBuffer>): BoundCall {
    // Sizes follow from the kernel, so the places of the operands say it all.
    const operands = [...call.inputs, ...call.outputs];
    const last = placeOf(operands[operands.length - 1]);
    let level = entry.bound;
    for (let i = 0; i < operands.length - 1; i++) {
      const place = placeOf(operands[i]);
      let next = level.get(place) as BoundTree | undefined;
      if (next === undefined) level.set(place, next = new Map());
      level = next;
    }
    const known = level.get(last) as BoundCall | undefined;
    if (known !== undefined) return known;
    if (this.#alive >= MAX_BIND_GROUPS) {
      this.forgetBindGroups();
      return this.#find(entry, call);
    }
    const bound: BoundCall = {
      entry,
      group: this.#bind(entry, call),
      buffers: operands.map((o) => o.buffer),
      offsets: operands.map((o) => o.offset),
      generation: this.#generation,
      outputs: [],
    };
    level.set(last, bound);
    this.#alive++;
    this.#made++;
    return bound;
  }

  #make(call: KernelCall<PoolBuffer>): PipelineEntry {
    const { kernel } = call;
    const bindings = kernel.inputs.length + kernel.outputs.length;
    const limit = this.#device.limits.maxStorageBuffersPerShaderStage;
    if (bindings > limit) {
      throw new ShapeError(
        `Cannot run ${kernel.op} over ${bindings} buffers: this device binds at most ${limit} in one kernel`,
      );
    }
    const layout = this.#layout(
      kernel.inputs.length,
      kernel.outputs.length,
      kernel.scalars.length > 0,
    );
    const variants = kernel.variants?.(this.#traits) ?? [];
    const remembered = variants.length > 1 ? this.#remembered(kernel, variants) : null;
    const program = remembered ?? kernel.wgsl(this.#traits, variants[0]);
    const { pipeline, groups, code } = this.#build(kernel, layout, program);
    const entry = { kernel, layout, bound: new Map(), pipeline, groups, calls: 0 };
    this.#entries.set(kernel, entry);
    if (variants.length > 1 && remembered === null) this.tuner?.add(entry, variants, code, call);
    return entry;
  }

  /** A kernel in one of its other ways; its bind groups serve them all. */
  variant({ kernel, layout }: PipelineEntry, name: string): CompiledVariant {
    return this.#build(kernel, layout, kernel.wgsl(this.#traits, name));
  }

  /** The way that was measured before, unless its shader is another one now. */
  #remembered(kernel: Kernel, variants: readonly string[]): WgslProgram | null {
    const choice = this.#choices?.get(kernel.key);
    if (choice === undefined || !variants.includes(choice.variant)) return null;
    const program = kernel.wgsl(this.#traits, choice.variant);
    return hashOf(program.code) === choice.code ? program : null;
  }

  #build(kernel: Kernel, layout: GPUBindGroupLayout, program: WgslProgram): CompiledVariant {
    const { code, groups } = program;
    if (groups.some((n) => n > this.#traits.maxGroups)) {
      throw new ShapeError(
        `Cannot run ${kernel.op} in ${groups.join(" × ")} workgroups: this device starts at most ` +
          `${this.#traits.maxGroups} in one dimension`,
      );
    }
    debugLine(4, () => `${kernel.key} in ${groups.join(" × ")} workgroups\n${code}`);
    return { pipeline: this.#compile(kernel.key.slice(0, 120), code, layout), groups, code };
  }

  #compile(label: string, code: string, layout: GPUBindGroupLayout): GPUComputePipeline {
    const module = this.#device.createShaderModule({ label, code });
    return this.#device.createComputePipeline({
      label,
      layout: this.#device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
  }

  #layout(inputs: number, outputs: number, scalars: boolean): GPUBindGroupLayout {
    const key = `${inputs},${outputs},${scalars}`;
    let layout = this.#layouts.get(key);
    if (layout === undefined) {
      const entries: GPUBindGroupLayoutEntry[] = [];
      for (let binding = 0; binding < inputs + outputs; binding++) {
        const type = binding < inputs ? "read-only-storage" : "storage";
        entries.push({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } });
      }
      if (scalars) {
        entries.push({
          binding: inputs + outputs,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: "uniform", hasDynamicOffset: true },
        });
      }
      layout = this.#device.createBindGroupLayout({ label: key, entries });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  #bind({ kernel, layout }: PipelineEntry, call: KernelCall<PoolBuffer>): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = [];
    const add = (operand: KernelCall<PoolBuffer>["inputs"][number], width: number) => {
      const offset = operand.offset * width;
      const size = Math.min(
        Math.ceil((operand.size * width) / 16) * 16,
        operand.buffer.bytes - offset,
      );
      entries.push({
        binding: entries.length,
        resource: { buffer: operand.buffer.gpu, offset, size },
      });
    };
    call.inputs.forEach((o, i) => add(o, bytesPerElement(kernel.inputs[i])));
    call.outputs.forEach((o, i) => add(o, bytesPerElement(kernel.outputs[i])));
    if (kernel.scalars.length > 0) {
      const size = Math.ceil(kernel.scalars.length / 4) * 16;
      entries.push({
        binding: entries.length,
        resource: { buffer: this.#uniforms, offset: 0, size },
      });
    }
    return this.#device.createBindGroup({ label: kernel.op, layout, entries });
  }
}
