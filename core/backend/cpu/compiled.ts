/** Kernels as the CPU device runs them. */

import { kernelLabel } from "../../../kernels/label.ts";
import { bytesPerElement, type Kernel, type ScalarType } from "../../../kernels/types.ts";
import type { WasmFeatures } from "../../../kernels/wasm/module.ts";
import type { CpuProgram } from "../../../kernels/wasm/program.ts";
import { DeviceError, ShapeError } from "../../errors.ts";
import { debugLine } from "../debug.ts";
import type { Heap } from "./heap.ts";
import { sharesOf, Timing } from "./plan.ts";
import type { PhaseFunction, Share, SharedCode } from "./threads.ts";

/** Turns a kernel into a module. */
export type CompileKernel = (kernel: Kernel, features: WasmFeatures) => CpuProgram;

/** A phase of a kernel. */
export interface CompiledPhase {
  /** Does some tasks. */
  readonly run: PhaseFunction;
  /** How many there are. */
  readonly tasks: number;
  /** How threads share them; null where the calling thread does them alone. */
  share: Share | null;
}

/** A kernel, ready to run. */
export interface CompiledKernel {
  /** Bytes of an element of each operand, inputs first. */
  readonly widths: readonly number[];
  /** Types of the run-time numbers. */
  readonly scalars: readonly ScalarType[];
  /** What is done, in this order. */
  readonly phases: readonly CompiledPhase[];
  /** How long it takes. */
  readonly timing: Timing;
  /** Where workers find it; null where there are none. */
  readonly code: SharedCode | null;
  /** Shares the tasks out by the time that is known now. */
  plan(): void;
}

/** What a kernel is compiled with. */
export interface CompilerParts {
  /** Makes the module. */
  readonly compile: CompileKernel;
  /** What the machine offers. */
  readonly features: WasmFeatures;
  /** What the module works on, and where it lies for workers. */
  readonly heap: Heap;
  /** Threads beside the calling one. */
  readonly workers: number;
  /** Words that the arguments of a call may take. */
  readonly maxWords: number;
}

/**
 * A kernel, ready to run, and its program.
 *
 * @param number by which workers know it
 * @throws {ShapeError} if it has too many operands
 * @throws {DeviceError} if it cannot be compiled
 */
export function compileKernel(
  kernel: Kernel,
  number: number,
  parts: CompilerParts,
): { compiled: CompiledKernel; program: CpuProgram } {
  checkOperands(kernel, parts.maxWords);
  const { program, functions } = instantiate(kernel, parts);
  const timing = new Timing(program.phases);
  const phases: CompiledPhase[] = program.phases.map(({ tasks }, i) => {
    return { run: functions[i], tasks, share: null };
  });
  const compiled: CompiledKernel = {
    widths: [...kernel.inputs, ...kernel.outputs].map(bytesPerElement),
    scalars: kernel.scalars,
    phases: phases.filter(({ tasks }) => tasks > 0),
    timing,
    code: parts.workers === 0 ? null : store(number, program, parts.heap),
    plan: () => {
      const shares = sharesOf(program.phases, timing.ns, parts.workers);
      shares.forEach((share, i) => phases[i].share = share);
    },
  };
  if (!timing.onTrial) compiled.plan();
  return { compiled, program };
}

function checkOperands({ op, inputs, outputs, scalars }: Kernel, maxWords: number): void {
  const words = 1 + inputs.length + outputs.length + scalars.length;
  if (words <= maxWords) return;
  throw new ShapeError(
    `Cannot run ${op} over ${
      inputs.length + outputs.length
    } buffers and ${scalars.length} numbers: ` +
      `this device takes at most ${maxWords - 1} of both`,
  );
}

function instantiate(kernel: Kernel, { compile, features, heap }: CompilerParts) {
  try {
    const program = compile(kernel, features);
    debugLine(4, () => describe(kernel, program));
    const module = new WebAssembly.Module(program.code);
    const { exports } = new WebAssembly.Instance(module, { host: { memory: heap.source } });
    const functions = program.phases.map((_, i) => exports[`phase${i}`] as PhaseFunction);
    return { program, functions };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DeviceError(`Cannot compile ${kernelLabel(kernel)} for the CPU: ${reason}`, {
      cause: error,
    });
  }
}

/** Workers compile the module themselves, from bytes that stay as long as the device does. */
function store(number: number, { code }: CpuProgram, heap: Heap): SharedCode {
  const { address } = heap.reserve(code.length, "code of a kernel");
  heap.views.bytes.set(code, address);
  return { number, address, bytes: code.length };
}

function describe(kernel: Kernel, { code, phases, sharedBytes, threadBytes }: CpuProgram): string {
  const work = phases.map(({ tasks, taskNs }) => `${tasks} tasks of ${taskNs.toFixed(0)} ns`);
  return `${kernelLabel(kernel)}: ${code.length} bytes of WebAssembly, ${work.join(", then ")}; ` +
    `${sharedBytes} bytes of scratch memory, ${threadBytes} more for each thread`;
}
