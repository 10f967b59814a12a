/** The handlers of an engine's events: their order, their filters, and how an event calls them. */

import { type HandlerResult, PHASES } from "./callback.ts";
import { EVENT_NAMES, type EventName } from "./events.ts";
import {
  checkOptions,
  describeOptions,
  type HandlerOptions,
  isDue,
  LoopClock,
  namesIn,
} from "./filters.ts";
import { arrange, type Placed } from "./order.ts";
import type { EngineState } from "./state.ts";
import { isPromiseLike } from "./tensor_like.ts";

/** The hold on a handler: removes it at once, or at the end of a `using` block. */
export class Subscription implements Disposable {
  #remove: (() => void) | undefined;

  /**
   * Holds on to a handler.
   *
   * @param remove what takes the handler away
   */
  constructor(remove: () => void) {
    this.#remove = remove;
  }

  /** Takes the handler away; doing so again changes nothing. */
  remove(): void {
    this.#remove?.();
    this.#remove = undefined;
  }

  /** Takes the handler away at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.remove();
  }
}

/** What an event calls; the table knows no payload types, `Engine.on` does. */
export type AnyHandler = (payload: unknown) => HandlerResult;

interface Entry extends Placed {
  readonly call: AnyHandler;
  removed: boolean;
  /** When it ran last, in milliseconds. */
  last: number;
}

/** Handlers by event, in the order in which they run. */
export class HandlerTable {
  #lists = new Map<string, readonly Entry[]>(EVENT_NAMES.map((event) => [event, []]));
  #clock: LoopClock;
  #serial = 0;

  /** @param state tells filters the running epoch */
  constructor(state: EngineState) {
    this.#clock = new LoopClock(state);
  }

  /** Adds a handler to an event of the loop. */
  add(event: EventName, call: AnyHandler, options: HandlerOptions): Subscription {
    if (EVENT_NAMES.includes(event)) return this.#add(event, call, options);
    throw new TypeError(
      `Cannot add a handler: expected an event among ${EVENT_NAMES.join(", ")}, found "${event}"`,
    );
  }

  /** Adds a handler to an event of the program's own. */
  addOwn(event: string, call: AnyHandler, options: HandlerOptions): Subscription {
    return this.#add(event, call, options);
  }

  #add(event: string, call: AnyHandler, options: HandlerOptions): Subscription {
    checkOptions(event, options);
    const entry: Entry = {
      call,
      options,
      name: options.name ?? (call.name || "handler"),
      rank: PHASES.indexOf(options.phase ?? "log"),
      serial: this.#serial++,
      removed: false,
      last: -Infinity,
    };
    // Lists are replaced, never changed, so an event that runs now keeps its list.
    this.#lists.set(event, arrange(event, [...this.#list(event), entry]));
    return new Subscription(() => this.#remove(event, entry));
  }

  /**
   * Starts the clock of the filters.
   *
   * @throws {Error} if a handler asks to run beside one that is not there
   */
  begin(): void {
    const entries = [...this.#lists.values()].flat();
    const known = new Set(entries.map(({ name }) => name));
    for (const { name, options } of entries) {
      const wishes = [...namesIn(options.runAfter), ...namesIn(options.runBefore)];
      const missing = wishes.find((other) => !known.has(other));
      if (missing === undefined) continue;
      throw new Error(
        `Cannot order the handlers: "${name}" asks to run before or after "${missing}", expected one ` +
          `of ${[...known].join(", ")}`,
      );
    }
    this.#clock.start = this.#clock.now();
  }

  /** Whether an event has a handler at all. */
  has(event: string): boolean {
    return this.#list(event).length > 0;
  }

  /**
   * Calls the handlers one after the other; the first error ends the event.
   *
   * @returns a promise where a handler returned one, else nothing
   */
  fire(event: string, payload: unknown, count: number): HandlerResult {
    const list = this.#list(event);
    for (let i = 0; i < list.length; i++) {
      const result = this.#call(event, list[i], payload, count);
      if (isPromiseLike(result)) return this.#fireRest(event, list, i + 1, payload, count, result);
    }
  }

  /** Calls all handlers without waiting and returns the promises that they gave. */
  fireWithoutWaiting(event: EventName, payload: unknown, count: number): PromiseLike<unknown>[] {
    const results = this.#list(event).map((entry) => this.#call(event, entry, payload, count));
    return results.filter((result) => isPromiseLike(result));
  }

  /** Calls every handler whatever the others do; what they throw goes to `errors`. */
  async fireAll(
    event: EventName,
    payload: unknown,
    count: number,
    errors: unknown[],
  ): Promise<void> {
    for (const entry of this.#list(event)) {
      try {
        await this.#call(event, entry, payload, count);
      } catch (error) {
        errors.push(error);
      }
    }
  }

  /** One line per handler, in the order in which they run, under a line per event. */
  explain(): string {
    const lines = [...this.#lists.keys()].filter((event) => this.has(event)).flatMap((event) => [
      event,
      ...this.#list(event).map((entry) => `  ${PHASES[entry.rank].padEnd(9)}${describe(entry)}`),
    ]);
    return lines.join("\n");
  }

  #list(event: string): readonly Entry[] {
    return this.#lists.get(event) ?? [];
  }

  #remove(event: string, entry: Entry): void {
    entry.removed = true;
    this.#lists.set(event, this.#list(event).filter((other) => other !== entry));
  }

  #call(event: string, entry: Entry, payload: unknown, count: number): HandlerResult {
    const { options } = entry;
    if (entry.removed || !isDue(options, count, this.#clock, entry.last)) return;
    if (typeof options.every === "object") entry.last = this.#clock.now();
    if (options.once === true) this.#remove(event, entry);
    return entry.call(payload);
  }

  async #fireRest(
    event: string,
    list: readonly Entry[],
    from: number,
    payload: unknown,
    count: number,
    pending: PromiseLike<unknown>,
  ): Promise<void> {
    await pending;
    for (let i = from; i < list.length; i++) {
      const result = this.#call(event, list[i], payload, count);
      if (isPromiseLike(result)) await result;
    }
  }
}

function describe({ name, options }: Entry): string {
  const words = describeOptions(options);
  return words === "" ? name : `${name} (${words})`;
}
