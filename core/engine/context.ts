/** What an engine hands to its step function: the model and what trains it. */

import type { DeviceLike } from "./tensor_like.ts";

/** What a `Context` is made of. */
export interface ContextOptions<M, P, L, S, G, D> {
  /** What the step runs: a module, or a record of modules. */
  model: M;
  /** What updates the model's parameters. */
  optimizer?: P;
  /** What turns predictions and targets into a scalar. */
  lossFn?: L;
  /** The schedule of the learning rate. */
  scheduler?: S;
  /** The program's own settings. */
  config?: G;
  /** Where the step runs; by default the device of the model's first parameter, if it has one. */
  device?: D;
}

/**
 * The objects that a step function works with, each with its own type.
 *
 * The engine asks `device` for a scope around each step, which releases what the step made and did
 * not return or keep.
 *
 * @example Types flow from the context into the step
 * ```ts
 * import { Context, Engine } from "@legoml/legoml/core";
 *
 * const context = new Context({ model: { scale: 3 }, config: { offset: 1 } });
 * const engine = new Engine(
 *   (_engine, x: number, { model, config }) => ({ y: model.scale * x + config.offset }),
 *   context,
 * );
 * engine.on("stepEnd", ({ output }) => console.assert(output.get("y") === 7));
 * await engine.loop([2]);
 * ```
 */
export class Context<
  M = unknown,
  P = unknown,
  L = unknown,
  S = unknown,
  G = unknown,
  D extends DeviceLike | undefined = DeviceLike | undefined,
> {
  /** What the step runs. */
  readonly model: M;
  /** What updates the model's parameters; `undefined` where not given. */
  readonly optimizer: P;
  /** What turns predictions and targets into a scalar; `undefined` where not given. */
  readonly lossFn: L;
  /** The schedule of the learning rate; `undefined` where not given. */
  readonly scheduler: S;
  /** The program's own settings; `undefined` where not given. */
  readonly config: G;
  /** Where the step runs, where that is known. */
  readonly device: D;

  /**
   * Gathers the objects.
   *
   * @param options the model, and optionally what trains it
   */
  constructor(options: ContextOptions<M, P, L, S, G, D>) {
    this.model = options.model;
    this.optimizer = options.optimizer as P;
    this.lossFn = options.lossFn as L;
    this.scheduler = options.scheduler as S;
    this.config = options.config as G;
    this.device = options.device ?? deviceOf(options.model) as D;
  }
}

function deviceOf(model: unknown): DeviceLike | undefined {
  const parameters = (model as { parameters?: unknown } | null | undefined)?.parameters;
  if (typeof parameters !== "function") return undefined;
  const all: unknown = parameters.call(model);
  if (typeof all !== "object" || all === null || !(Symbol.iterator in all)) return undefined;
  for (const parameter of all as Iterable<{ device?: DeviceLike }>) return parameter.device;
  return undefined;
}
