/** What a kernel is: data that a backend can turn into device work. Nothing here touches a device. */

/** Element types. `bool` takes 4 bytes per element on a device; `f16` is storage only, sums are f32. */
export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/** Sizes of the axes, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Where the elements of an operand lie: element (i, j, …) is at `offset + i·strides[0] + j·strides[1] + …`. */
export interface Layout {
  /** Sizes of the axes. */
  readonly shape: Shape;
  /** In elements; 0 repeats, negative runs backwards. */
  readonly strides: readonly number[];
  /** In elements, from the start of the bound range. */
  readonly offset: number;
}

/** What kernels need to know of the device that they are generated for. */
export interface DeviceTraits {
  /** True for adapters that run on CPU cores: narrow vectors, no fast workgroup memory. */
  readonly software: boolean;
  /** Largest number of workgroups in one dimension of a dispatch. */
  readonly maxGroups: number;
  /** True where kernels may declare `f16` storage. */
  readonly f16: boolean;
  /** Buffers that one kernel may bind. @default {8, which every device has} */
  readonly maxBindings?: number;
  /**
   * True where kernels are WebAssembly on a few CPU threads, whose sums need no slices to be shared out or to stay short.
   * @default {false}
   */
  readonly wasm?: boolean;
}

/** WGSL text with its entry point `main`, and how many workgroups to start. */
export interface WgslProgram {
  /** The shader. */
  readonly code: string;
  /** Workgroups along x, y and z. */
  readonly groups: readonly [number, number, number];
}

/** Run-time words that a kernel reads, in the order of its scalar list. */
export type ScalarType = "f32" | "i32" | "u32";

/**
 * One piece of device work, free of buffers: the same `key` always means the same code.
 *
 * Bindings are the inputs, then the outputs; the scalars follow in one uniform block. An output may be read as well as
 * written (`inout` work such as an optimizer update).
 */
export interface Kernel {
  /** The family, e.g. "map" or "matmul". */
  readonly op: string;
  /** Identity: family and parameters. */
  readonly key: string;
  /** The parameters, for backends that generate their own code. */
  readonly params: unknown;
  /** Element types of the inputs. */
  readonly inputs: readonly DType[];
  /** Element types of the outputs. */
  readonly outputs: readonly DType[];
  /** Types of the run-time numbers. */
  readonly scalars: readonly ScalarType[];
  /** Floating-point operations of one run, where the family counts them. */
  readonly flops?: number;
  /**
   * Names of the ways to do it on a device, the first by rule; all give the same bits, so that a measurement may choose.
   * One nameless way where it is absent.
   */
  variants?(traits: DeviceTraits): readonly string[];
  /** The shader for a device, in the first way or in the one named. */
  wgsl(traits: DeviceTraits, variant?: string): WgslProgram;
  /** The same work on plain loops in double precision; one number per element, whatever the dtype. */
  reference(
    inputs: readonly Float64Array[],
    outputs: readonly Float64Array[],
    scalars: readonly number[],
  ): void;
}

/** The range of a buffer that a kernel works on, in elements. */
export interface Operand<Buffer> {
  /** What the backend calls it by. */
  readonly buffer: Buffer;
  /** First element. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
}

/** A kernel with its operands: what an op appends, what a recorder keeps, what a backend runs. */
export interface KernelCall<Buffer> {
  /** What runs. */
  readonly kernel: Kernel;
  /** What it reads. */
  readonly inputs: readonly Operand<Buffer>[];
  /** What it writes. */
  readonly outputs: readonly Operand<Buffer>[];
  /** Its run-time numbers. */
  readonly scalars: readonly number[];
  /** Gives the run-time numbers anew for every replay of a captured step; without it they stay. */
  readonly live?: () => readonly number[];
}

/** Bytes of one element on a device. */
export function bytesPerElement(dtype: DType): number {
  return dtype === "f16" ? 2 : 4;
}

/** True for f32 and f16. */
export function isFloat(dtype: DType): boolean {
  return dtype === "f32" || dtype === "f16";
}

/** Product of the sizes; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const n of shape) size *= n;
  return size;
}

const kernels = new Map<string, Kernel>();

/** The kernel with this key, made once. */
export function intern(key: string, make: () => Kernel): Kernel {
  let kernel = kernels.get(key);
  if (kernel === undefined) {
    kernel = make();
    kernels.set(key, kernel);
  }
  return kernel;
}
