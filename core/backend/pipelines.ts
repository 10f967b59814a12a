/** Compiled kernels and their bind groups, each made once. */

import { bytesPerElement } from "../../kernels/types.ts";
import type { DeviceTraits, Kernel, KernelCall } from "../../kernels/types.ts";
import { ShapeError } from "../errors.ts";
import type { PoolBuffer } from "./pool.ts";

/** A kernel as this device runs it. */
export interface PipelineEntry {
  readonly kernel: Kernel;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly groups: readonly [number, number, number];
  readonly bound: BoundTree;
}

/** Bind groups by the places of their operands, one level for each operand. */
type BoundTree = Map<number, BoundTree | GPUBindGroup>;

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
  readonly #entries = new Map<Kernel, PipelineEntry>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  /** Counts the submissions that really ran. */
  readonly stampPipeline: GPUComputePipeline;
  #made = 0;
  #alive = 0;

  constructor(device: GPUDevice, traits: DeviceTraits, uniforms: GPUBuffer) {
    this.#device = device;
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

  /** The compiled kernel. */
  get(kernel: Kernel): PipelineEntry {
    let entry = this.#entries.get(kernel);
    if (entry === undefined) {
      entry = this.#make(kernel);
      this.#entries.set(kernel, entry);
    }
    return entry;
  }

  /** The bind group of a call; the scalars are bound with a dynamic offset. */
  bindGroup(entry: PipelineEntry, call: KernelCall<PoolBuffer>): GPUBindGroup {
    // Sizes follow from the kernel, so the places of the operands say it all.
    const operands = [...call.inputs, ...call.outputs];
    const last = placeOf(operands.pop()!);
    let level = entry.bound;
    for (const operand of operands) {
      const place = placeOf(operand);
      let next = level.get(place) as BoundTree | undefined;
      if (next === undefined) level.set(place, next = new Map());
      level = next;
    }
    const known = level.get(last) as GPUBindGroup | undefined;
    if (known !== undefined) return known;
    if (this.#alive >= MAX_BIND_GROUPS) {
      this.forgetBindGroups();
      return this.bindGroup(entry, call);
    }
    const group = this.#bind(entry, call);
    level.set(last, group);
    this.#alive++;
    this.#made++;
    return group;
  }

  /** Drops all bind groups, since they keep their buffers alive. */
  forgetBindGroups(): void {
    for (const entry of this.#entries.values()) entry.bound.clear();
    this.#alive = 0;
  }

  #make(kernel: Kernel): PipelineEntry {
    const bindings = kernel.inputs.length + kernel.outputs.length;
    const limit = this.#device.limits.maxStorageBuffersPerShaderStage;
    if (bindings > limit) {
      throw new ShapeError(
        `Cannot run ${kernel.op} over ${bindings} buffers: this device binds at most ${limit} in one kernel`,
      );
    }
    const { code, groups } = kernel.wgsl(this.#traits);
    if (groups.some((n) => n > this.#traits.maxGroups)) {
      throw new ShapeError(
        `Cannot run ${kernel.op} in ${groups.join(" × ")} workgroups: this device starts at most ` +
          `${this.#traits.maxGroups} in one dimension`,
      );
    }
    const layout = this.#layout(
      kernel.inputs.length,
      kernel.outputs.length,
      kernel.scalars.length > 0,
    );
    const pipeline = this.#compile(kernel.key.slice(0, 120), code, layout);
    return { kernel, pipeline, layout, groups, bound: new Map() };
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
