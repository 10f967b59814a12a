/** Runs kernels by their WebAssembly, on arrays of numbers. */

import { assertEquals } from "@std/assert";
import { compileWgsl } from "../../../kernels/wasm/wgsl/compile.ts";
import { argOffsets, type CpuProgram } from "../../../kernels/wasm/program.ts";
import type { DeviceTraits, DType, Kernel } from "../../../kernels/types.ts";

/** What a CPU device asks kernels for, and what it would ask for as hardware. */
export const software: DeviceTraits = {
  software: true,
  maxGroups: 2 ** 31 - 1,
  f16: true,
  maxBindings: 64,
};
export const hardware: DeviceTraits = { ...software, software: false };

const features = { shared: false, relaxed: true, maxPages: 4096 };
/** Bytes around operands that must stay as they are. */
const GUARD = 256;
const PATTERN = 0xa5;

/** Elements of a type as bytes, and back. */
const storage: Readonly<
  Record<DType, {
    readonly bytes: number;
    view(
      buffer: ArrayBufferLike,
      at: number,
      count: number,
    ): Float32Array | Int32Array | Float16Array | Uint32Array;
  }>
> = {
  f32: { bytes: 4, view: (b, at, n) => new Float32Array(b, at, n) },
  f16: { bytes: 2, view: (b, at, n) => new Float16Array(b, at, n) },
  i32: { bytes: 4, view: (b, at, n) => new Int32Array(b, at, n) },
  u32: { bytes: 4, view: (b, at, n) => new Uint32Array(b, at, n) },
  bool: { bytes: 4, view: (b, at, n) => new Uint32Array(b, at, n) },
};

/** Numbers as an element type holds them. */
export function rounded(dtype: DType, values: ArrayLike<number>): Float64Array {
  const { bytes, view } = storage[dtype];
  const elements = view(new ArrayBuffer(bytes * values.length), 0, values.length);
  elements.set(values);
  return Float64Array.from(elements);
}

/** Operands of one run. */
export interface Operands {
  readonly inputs: readonly ArrayLike<number>[];
  /** What the outputs hold at first. */
  readonly outputs: readonly ArrayLike<number>[];
  readonly scalars?: readonly number[];
}

/** A memory with operands in it. */
class Memory {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: features.maxPages });
  readonly #operands: { readonly dtype: DType; readonly at: number; readonly count: number }[] = [];
  #end = GUARD;

  /** Takes bytes, with guards around them. */
  take(bytes: number): number {
    const at = Math.ceil(this.#end / 64) * 64 + GUARD;
    this.#end = at + bytes + GUARD;
    const missing = this.#end - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return at;
  }

  /** An operand that holds these numbers. */
  add(dtype: DType, values: ArrayLike<number>): number {
    const { bytes, view } = storage[dtype];
    const at = this.take(bytes * values.length);
    const all = new Uint8Array(this.memory.buffer, at - GUARD, bytes * values.length + 2 * GUARD);
    all.fill(PATTERN);
    view(this.memory.buffer, at, values.length).set(values);
    this.#operands.push({ dtype, at, count: values.length });
    return at;
  }

  /** What operand `n` holds. */
  read(n: number): Float64Array {
    const { dtype, at, count } = this.#operands[n];
    return Float64Array.from(storage[dtype].view(this.memory.buffer, at, count));
  }

  /** Fails where something was written beside an operand. */
  checkGuards(label: string): void {
    this.#operands.forEach(({ dtype, at, count }, n) => {
      const bytes = count * storage[dtype].bytes;
      for (const from of [at - GUARD, at + bytes]) {
        const guard = new Uint8Array(this.memory.buffer, from, GUARD);
        assertEquals(guard.every((b) => b === PATTERN), true, `${label}: beside operand ${n}`);
      }
    });
  }
}

/** Runs the phases of a program, its tasks in the order that `share` gives. */
export function runProgram(
  program: CpuProgram,
  kernel: Kernel,
  { inputs, outputs, scalars = [] }: Operands,
  share: (tasks: number) => readonly (readonly [number, number])[] = (n) => [[0, n]],
): Float64Array[] {
  const m = new Memory();
  const addresses = [
    ...inputs.map((values, n) => m.add(kernel.inputs[n], values)),
    ...outputs.map((values, n) => m.add(kernel.outputs[n], values)),
  ];
  const scratch = m.take(program.threadBytes);
  const shared = m.take(program.sharedBytes);
  const args = m.take(4 * (1 + addresses.length + scalars.length));
  const words = new DataView(m.memory.buffer);
  for (let n = 0; n < program.threadBytes; n++) words.setUint8(scratch + n, PATTERN);
  words.setUint32(args + argOffsets.shared, shared, true);
  addresses.forEach((at, n) => words.setUint32(args + argOffsets.operand(n), at, true));
  scalars.forEach((value, n) => {
    const at = args + argOffsets.scalar(n, addresses.length);
    if (kernel.scalars[n] === "f32") words.setFloat32(at, value, true);
    else words.setInt32(at, value, true);
  });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(program.code), {
    host: { memory: m.memory },
  });
  program.phases.forEach(({ tasks }, n) => {
    const phase = instance.exports[`phase${n}`] as (...args: number[]) => void;
    for (const [begin, end] of share(tasks)) phase(args, begin, end, scratch);
  });
  m.checkGuards(kernel.key);
  return outputs.map((_, n) => m.read(inputs.length + n));
}

/** Some pieces of the tasks, the last ones first. */
function pieces(tasks: number): [number, number][] {
  const cuts = [0, Math.floor(tasks / 3), Math.floor(tasks / 2), tasks];
  return cuts.slice(1).map((end, n): [number, number] => [cuts[n], end]).reverse();
}

/** The outputs of a kernel; fails where they depend on how its tasks are shared out. */
export function runKernel(
  kernel: Kernel,
  operands: Operands,
  traits: DeviceTraits = software,
  variant?: string,
): Float64Array[] {
  const program = compileWgsl(kernel, kernel.wgsl(traits, variant), features);
  const whole = runProgram(program, kernel, operands);
  const shared = runProgram(program, kernel, operands, pieces);
  assertEquals(shared, whole, `${kernel.key}: tasks shared out differently`);
  return whole;
}

/** The outputs of a kernel by its reference. */
export function referenceOf(
  kernel: Kernel,
  { inputs, outputs, scalars = [] }: Operands,
): Float64Array[] {
  const ins = inputs.map((values, n) => rounded(kernel.inputs[n], values));
  const outs = outputs.map((values, n) => rounded(kernel.outputs[n], values));
  kernel.reference(ins, outs, scalars);
  return outs;
}
