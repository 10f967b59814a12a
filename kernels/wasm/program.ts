/** Kernels as WebAssembly: what a CPU device needs to run one. */

/** Pieces of work that do not depend on each other; several threads may take some of them each. */
export interface CpuPhase {
  /** Number of tasks. */
  readonly tasks: number;
  /** About how many nanoseconds one task takes, so that small work stays on one thread. */
  readonly taskNs: number;
}

/**
 * A kernel as a module.
 *
 * The module imports `host.memory` and exports `phase0`, `phase1` … for its phases, each
 * `(args: i32, begin: i32, end: i32, scratch: i32) → ()`: it does the tasks from `begin` to before `end`. A phase begins when all
 * tasks of the one before are done. How tasks are shared out never changes a bit of the result.
 *
 * `args` is the address of words: that of the scratch memory that all threads share, then the address of the first element of
 * each operand, inputs first, then the scalars. `scratch` is the address of memory that belongs to the thread alone. Both kinds
 * of scratch memory are aligned to 64 bytes and hold anything at first; operands are aligned to the size of an element, and the 64
 * bytes behind each of them lie inside the memory, so that vectors may be read over an end. Nothing is written there.
 */
export interface CpuProgram {
  /** The binary module. */
  readonly code: Uint8Array<ArrayBuffer>;
  /** At least one. */
  readonly phases: readonly CpuPhase[];
  /** Bytes of scratch memory that all threads share. */
  readonly sharedBytes: number;
  /** Bytes of scratch memory of each thread. */
  readonly threadBytes: number;
}

/** Byte offsets in the words of `args`. */
export const argOffsets = {
  /** The scratch memory that all threads share. */
  shared: 0,
  /** Operand `n`. */
  operand: (n: number): number => 4 + 4 * n,
  /** Scalar `n` of a kernel with so many operands. */
  scalar: (n: number, operands: number): number => 4 + 4 * (operands + n),
};
