/** A model's summary at the start of its training. */

import type {
  Callback,
  EngineStartEvent,
  HandlerResult,
  Phase,
  StepStartEvent,
} from "../core/engine/mod.ts";
import { type Shape, Tensor } from "../core/mod.ts";
import { Module } from "./module.ts";
import { summarize, type Summary, type SummaryOptions } from "./summary.ts";

/** Options of `ModelSummaryCallback`. */
export interface ModelSummaryOptions extends SummaryOptions {
  /**
   * Shape of the input, batch included; or shapes and tensors of several inputs.
   * @default {the inputs of the first batch}
   */
  readonly input?: Shape | readonly (Shape | Tensor)[];
  /**
   * Takes the table, and the summary with its numbers; such as
   * `(table) => session.logText("summary", table)`. @default {console.log}
   */
  readonly write?: (table: string, summary: Summary) => HandlerResult;
  /** What is summarized. @default {the context's model} */
  readonly model?: Module;
}

/**
 * Writes the summary of the model once, before its first step: parameters, shapes, operations and
 * memory of each layer, as `summarize` finds them.
 *
 * Nothing is executed for it. With `input` it is written when the loop starts, else when the first
 * batch is there, whose `inputs` (or the batch itself, where it is a tensor) are the input. A second
 * loop writes nothing.
 *
 * @example Into the run, beside its other logs
 * ```ts
 * import { Context, Engine, referenceDevice } from "@legoml/legoml/core";
 * import { Linear, ModelSummaryCallback } from "@legoml/legoml/nn";
 * import { run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const model = new Linear(4, 3, { device: referenceDevice() });
 * const dir = await run({ dir: await Deno.makeTempDir() }, async (session) => {
 *   const write = (table: string) => session.logText("summary", table);
 *   const engine = new Engine(() => {}, new Context({ model }), {
 *     callbacks: [new ModelSummaryCallback({ input: [8, 4], write })],
 *   });
 *   await engine.loop([0]);
 *   return session.dir;
 * });
 * assert((await Deno.readTextFile(`${dir}/logs/summary.txt`)).includes("parameters: 15 "));
 * ```
 */
export class ModelSummaryCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "ModelSummaryCallback";
  /** Among those that tell what happens. */
  readonly phase: Phase = "log";
  readonly #options: ModelSummaryOptions;
  #summary: Summary | null = null;

  /**
   * Makes the callback.
   *
   * @param options input, depth, where the table goes
   */
  constructor(options: ModelSummaryOptions = {}) {
    this.#options = { ...options };
  }

  /** What was found; null before. */
  get summary(): Summary | null {
    return this.#summary;
  }

  /**
   * Writes the summary where the input is given.
   *
   * @throws {TypeError} if the context holds no module
   * @throws {ShapeError} if a part does not take its input
   */
  onEngineStart({ context }: EngineStartEvent): HandlerResult {
    const model = this.#modelOf(context.model);
    const { input } = this.#options;
    if (input !== undefined) return this.#write(model, input);
  }

  /**
   * Writes the summary where the first batch gives the input.
   *
   * @throws {TypeError} if the batch holds no inputs
   * @throws {ShapeError} if a part does not take its input
   */
  onStepStart({ batch, context }: StepStartEvent): HandlerResult {
    if (this.#summary !== null) return;
    return this.#write(this.#modelOf(context.model), inputsOf(batch));
  }

  #write(model: Module, input: Shape | readonly (Shape | Tensor)[]): HandlerResult {
    if (this.#summary !== null) return;
    const { write = (table: string) => console.log(table), depth } = this.#options;
    this.#summary = summarize(model, input, { depth });
    return write(`${this.#summary}`, this.#summary);
  }

  #modelOf(fromContext: unknown): Module {
    const model = this.#options.model ?? fromContext;
    if (model instanceof Module) return model;
    throw new TypeError(
      "Cannot summarize: expected the context's model to be a module, found another value; the " +
        "option model names one",
    );
  }
}

function inputsOf(batch: unknown): readonly Tensor[] {
  const inputs: unknown = batch instanceof Tensor
    ? batch
    : (batch as { inputs?: unknown } | null | undefined)?.inputs;
  if (inputs instanceof Tensor) return [inputs];
  throw new TypeError(
    "Cannot summarize for a batch: expected its inputs to be a tensor, found another value; the " +
      "option input gives their shape",
  );
}
