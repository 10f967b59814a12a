/** Follows an input through a model with nothing executed. */

import { DTypeError, referenceDevice, type Shape, Tensor, zeros } from "../core/mod.ts";
import type { Device, Storage } from "../core/backend/device.ts";
import { mapLeaves } from "../core/leaves.ts";
import { type DryRun, dryRun } from "../core/tensor/dry_run.ts";
import { bytesPerElement } from "../kernels/types.ts";
import type { Module, TensorModule } from "./module.ts";

/** One call of a module's `forward`. */
export interface TracedCall {
  /** The path of the module in the model, "" for the model itself. */
  readonly name: string;
  /** What was called. */
  readonly module: Module;
  /** Shapes of the tensors among the arguments. */
  readonly inputs: readonly Shape[];
  /** Shapes of the tensors in the result. */
  readonly outputs: readonly Shape[];
  /** Floating-point operations of matrix products and convolutions, its parts included. */
  readonly flops: number;
  /** What it made, its parts included, as a range of the run's memory. */
  readonly made: readonly [number, number];
}

/** A model followed from input to output. */
export interface Trace {
  /** Calls in the order in which they began. */
  readonly calls: readonly TracedCall[];
  /** Bytes of each piece of memory that was made, where backward() would need it; 0 elsewhere. */
  readonly kept: readonly number[];
}

/** A module that did not take its input. */
export class TraceError extends Error {
  /** The name of the class. */
  override readonly name = "TraceError";

  /**
   * Made by the trace.
   *
   * @param path the modules around the place, the model first, with their paths
   * @param cause what the innermost one threw
   */
  constructor(
    readonly path: readonly (readonly [string, Module])[],
    override readonly cause: Error,
  ) {
    super(cause.message);
  }
}

/**
 * Runs `forward` of a model with nothing executed.
 *
 * @param model the model, on any device
 * @param device where it lies
 * @param inputs shapes of its inputs, batch included; or tensors, of which nothing is read
 * @returns the calls of all modules
 * @throws {TraceError} where an input does not fit
 */
export function trace(
  model: Module,
  device: Device,
  inputs: readonly (Shape | Tensor)[],
): Trace {
  return dryRun(device, (log) => {
    const calls: TracedCall[] = [];
    const tensors = inputs.map((x) => x instanceof Tensor ? x : zeros(x, { device }));
    const output = watched(model, log, calls, () => {
      const forward = model.forward as (...inputs: readonly Tensor[]) => unknown;
      return forward.apply(model, tensors);
    });
    const saved = savedBy(tensorsIn(output), new Set(storagesOf([...tensors, ...stateOf(model)])));
    return {
      calls,
      kept: log.made.map((s) => saved.has(s) ? s.count * bytesPerElement(s.dtype) : 0),
    };
  });
}

/**
 * Sizes of one output of a model from tensor to tensor, without the batch.
 *
 * @param model the model
 * @param device where it lies
 * @param input sizes of one input, without the batch
 * @returns sizes of the output, without the batch
 * @throws {TraceError} where a part does not take its input
 */
export function outputShapeOf(model: TensorModule, device: Device, input: Shape): Shape {
  const follow = (x: Shape | Tensor) => trace(model, device, [x]).calls[0].outputs[0].slice(1);
  const shape = [2, ...input];
  const refused = (error: unknown) =>
    error instanceof TraceError && error.cause instanceof DTypeError;
  try {
    return follow(shape);
  } catch (error) {
    if (!refused(error)) throw error;
    // Models of tokens take integers.
    try {
      return dryRun(device, () => follow(zeros(shape, { dtype: "i32", device })));
    } catch (other) {
      throw refused(other) ? error : other;
    }
  }
}

/** Runs a function while each `forward` of the model notes its calls. */
function watched<T>(model: Module, log: DryRun, calls: TracedCall[], fn: () => T): T {
  const stack: (readonly [string, Module])[] = [];
  let failed: TraceError | null = null;
  const restore = model.namedModules().map(([name, module]) => {
    const own = Object.getOwnPropertyDescriptor(module, "forward");
    const forward = module.forward as unknown as (...args: unknown[]) => unknown;
    const value = (...args: unknown[]): unknown => {
      const place = calls.length;
      const [from, start] = [log.made.length, log.calls.length];
      calls.push(undefined as unknown as TracedCall);
      stack.push([name, module]);
      try {
        const result = forward.apply(module, args);
        const flops = log.calls.slice(start).reduce((sum, c) => sum + (c.kernel.flops ?? 0), 0);
        const [inputs, outputs] = [args, result].map((v) => tensorsIn(v).map((t) => t.shape));
        const made = [from, log.made.length] as const;
        calls[place] = { name, module, inputs, outputs, flops, made };
        return result;
      } catch (error) {
        failed ??= new TraceError([...stack], error as Error);
        throw failed;
      } finally {
        stack.pop();
      }
    };
    Object.defineProperty(module, "forward", { value, configurable: true, enumerable: false });
    return () => {
      if (own === undefined) delete (module as { forward?: unknown }).forward;
      else Object.defineProperty(module, "forward", own);
    };
  });
  try {
    return fn();
  } finally {
    for (const undo of restore) undo();
  }
}

function tensorsIn(value: unknown): Tensor[] {
  const found: Tensor[] = [];
  mapLeaves(value, (leaf) => leaf instanceof Tensor, (tensor) => found.push(tensor));
  return found;
}

function storagesOf(tensors: readonly Tensor[]): Storage[] {
  return tensors.map((t) => t.storage);
}

function stateOf(model: Module): Tensor[] {
  return [...model.parameters(), ...model.buffers()];
}

/** The device that a model lies on; the reference for one without tensors. */
export function deviceOf(model: Module): Device {
  return stateOf(model)[0]?.device ?? referenceDevice();
}

/** The memory that the tape of some results holds, beside what is there anyway. */
function savedBy(results: readonly Tensor[], known: ReadonlySet<Storage>): Set<Storage> {
  const found = new Set<Storage>();
  const seen = new Set<Tensor>(results);
  for (const tensor of seen) {
    for (const input of tensor.node?.inputs ?? []) seen.add(input);
    for (const [saved] of tensor.node?.saved ?? []) {
      if (!known.has(saved.storage)) found.add(saved.storage);
    }
  }
  return found;
}
