/** Events of a program's own, beside those of the loop. */

import type { Context } from "./context.ts";
import { type EngineEvent, EVENT_NAMES } from "./events.ts";
import type { StepOutput } from "./step_output.ts";

/**
 * An event that a program fires itself with `engine.emit`; `P` is the type of what it carries.
 *
 * Its name is its identity: two of the same name are one event. Handlers are added with `engine.on`
 * and have phases and filters like any others; their counter is the number of emissions.
 *
 * @example Tell others of a loss that jumps
 * ```ts
 * import { Context, Engine, EventType } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const lossSpike = new EventType<{ ratio: number }>("lossSpike");
 * let last = Infinity;
 * const engine = new Engine((engine, loss: number) => {
 *   if (loss > 2 * last) engine.emit(lossSpike, { ratio: loss / last });
 *   last = loss;
 * }, new Context({ model: null }));
 * const seen: number[] = [];
 * engine.on(lossSpike, ({ payload, state }) => void seen.push(state.current.step, payload.ratio));
 * await engine.loop([4, 2, 6, 5]);
 * assertEquals(seen, [3, 3]);
 * ```
 */
export class EventType<P = void> {
  /** What plans and errors call it. */
  readonly name: string;
  // Never there at run time: it makes types with other payloads other types.
  declare private readonly carries: (payload: P) => P;

  /**
   * Names an event.
   *
   * @param name any text that is no event of the loop
   * @throws {TypeError} if the name is empty or that of an event of the loop
   */
  constructor(name: string) {
    if (typeof name !== "string" || name === "" || EVENT_NAMES.some((known) => known === name)) {
      throw new TypeError(
        `Cannot make an event: expected a name that no event of the loop has, found "${name}"`,
      );
    }
    this.name = name;
  }
}

/** A handler's argument at an event of the program's own. */
export interface EmittedEvent<
  P = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** What `emit` was given. */
  readonly payload: P;
}

/** What `emit` takes behind the event: its payload, which may be left out where it may be undefined. */
export type EmitArguments<P> = undefined extends P ? [payload?: P]
  : P extends void ? [payload?: P]
  : [payload: P];
