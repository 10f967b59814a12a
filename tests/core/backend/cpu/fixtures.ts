/** Kernels made by hand, and CPU devices of one test. */

import { CpuBackend, type CpuOptions } from "../../../../core/backend/cpu/cpu.ts";
import type { Block } from "../../../../core/backend/cpu/heap.ts";
import type { Kernel, KernelCall } from "../../../../kernels/types.ts";
import { type Code, countUp, get, i32 } from "../../../../kernels/wasm/instructions.ts";
import {
  type FunctionBuilder,
  ModuleBuilder,
  type WasmFeatures,
} from "../../../../kernels/wasm/module.ts";
import { argOffsets, type CpuProgram } from "../../../../kernels/wasm/program.ts";

/** A kernel that says itself what its module is. */
export interface HandMade extends Kernel {
  readonly program: (features: WasmFeatures) => CpuProgram;
}

/** Fields of a kernel, the rest by default. */
export function handMade(
  op: string,
  program: (features: WasmFeatures) => CpuProgram,
  rest: Partial<Kernel> = {},
): HandMade {
  return {
    op,
    key: op,
    params: null,
    inputs: [],
    outputs: ["i32"],
    scalars: [],
    wgsl: () => ({ code: "", groups: [1, 1, 1] }),
    reference: () => {},
    program,
    ...rest,
  };
}

/** A phase as code for one task. */
export interface HandMadePhase {
  readonly tasks: number;
  readonly taskNs: number;
  /** What task number `task` does. */
  readonly body: (f: FunctionBuilder, task: Code, args: Code, scratch: Code) => Code;
}

/** A program of some phases. */
export function programOf(
  features: WasmFeatures,
  phases: readonly HandMadePhase[],
  scratch: { sharedBytes?: number; threadBytes?: number } = {},
): CpuProgram {
  const module = new ModuleBuilder(features);
  phases.forEach(({ body }, i) => {
    const f = module.function(["i32", "i32", "i32", "i32"], null, `phase${i}`);
    const [args, begin, end, own] = f.params;
    const task = f.local("i32");
    const code = body(f, get(task), get(args), get(own));
    f.emit(countUp(task, get(begin), get(end), 1, code));
  });
  return {
    code: module.encode(),
    phases: phases.map(({ tasks, taskNs }) => ({ tasks, taskNs })),
    sharedBytes: scratch.sharedBytes ?? 0,
    threadBytes: scratch.threadBytes ?? 0,
  };
}

/** The address of the word `index` of operand `n`. */
export function wordOf(args: Code, n: number, index: Code): Code {
  return i32.add(i32.load(args, argOffsets.operand(n)), i32.shl(index, i32.const(2)));
}

/** A kernel whose task t adds 1 + t to word t of its output, so that each must run exactly once. */
export function counting(tasks: number, taskNs: number, name = "counting"): HandMade {
  return handMade(`${name} ${tasks}`, (features) =>
    programOf(features, [{
      tasks,
      taskNs,
      body: (f, task, args) => {
        const at = f.local("i32");
        return [
          [wordOf(args, 0, task), 0x21, at.index],
          i32.store(
            get(at),
            i32.add(i32.load(get(at)), i32.add(task, i32.const(1))),
          ),
        ];
      },
    }]));
}

/** A kernel that traps in one of its tasks. */
export function trapping(tasks: number, at: number): HandMade {
  return handMade("trapping", (features) =>
    programOf(features, [{
      tasks,
      taskNs: 1e8,
      body: (_, task) => [task, i32.const(at), 0x46, 0x04, 0x40, 0x00, 0x0b],
    }]));
}

/** A CPU backend for kernels made by hand. */
export function cpuBackend(options: Partial<CpuOptions> = {}): CpuBackend {
  return new CpuBackend({
    memoryBudget: 2 ** 30,
    compile: (kernel, features) => (kernel as HandMade).program(features),
    ...options,
  });
}

/** Runs a kernel over whole buffers, inputs first. */
export function runOver(
  backend: CpuBackend,
  kernel: Kernel,
  buffers: readonly { readonly buffer: Block; readonly size: number }[],
  scalars: readonly number[] = [],
): void {
  const operands = buffers.map(({ buffer, size }) => ({ buffer, offset: 0, size }));
  const call: KernelCall<Block> = {
    kernel,
    inputs: operands.slice(0, kernel.inputs.length),
    outputs: operands.slice(kernel.inputs.length),
    scalars,
  };
  backend.run(call);
}
