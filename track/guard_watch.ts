/** Runs a model and keeps what goes into each of its modules and comes out of it. */

import type { Tensor } from "../core/mod.ts";
import { tensorsIn } from "../core/tensor/structure.ts";

/** The part of a model that is watched. */
export interface WatchedModel {
  /** The parts with their paths, the model itself first, with the path "". */
  namedModules(): readonly (readonly [string, object])[];
  /** The parameters with their names. */
  namedParameters(): readonly (readonly [string, Tensor])[];
}

/** One call of a module's `forward`. */
export interface WatchedCall {
  /** The path of the module; "" for the model. */
  readonly name: string;
  /** The class of the module. */
  readonly type: string;
  /** Tensors among the arguments. */
  readonly inputs: readonly Tensor[];
  /** Tensors in the result. */
  readonly outputs: readonly Tensor[];
  /** Number of the call, counted when it began. */
  readonly begin: number;
  /** How many calls had begun when it ended: it holds those from `begin` to here. */
  readonly end: number;
}

/**
 * Runs a function while each `forward` of a model notes its calls.
 *
 * @param model what is watched
 * @param fn calls it, and returns at once
 * @returns what the function gave, and the calls in the order in which they ended
 */
export function watchCalls<T>(model: WatchedModel, fn: () => T): [T, WatchedCall[]] {
  const calls: WatchedCall[] = [];
  let begun = 0;
  const undo = model.namedModules().flatMap(([name, module]) => {
    const { forward } = module as { forward?: (...args: unknown[]) => unknown };
    if (forward === undefined) return [];
    const own = Object.getOwnPropertyDescriptor(module, "forward");
    const value = (...args: unknown[]): unknown => {
      const begin = begun++;
      const result = forward.apply(module, args);
      const [inputs, outputs] = [tensorsIn(args), tensorsIn(result)];
      calls.push({ name, type: module.constructor.name, inputs, outputs, begin, end: begun });
      return result;
    };
    Object.defineProperty(module, "forward", { value, configurable: true, enumerable: false });
    return [() => {
      if (own === undefined) delete (module as { forward?: unknown }).forward;
      else Object.defineProperty(module, "forward", own);
    }];
  });
  try {
    return [fn(), calls];
  } finally {
    undo.forEach((one) => one());
  }
}
