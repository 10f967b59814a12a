/** The handlers of an engine's events: their order, their filters, and how an event calls them. */

import type { EventName } from "./events.ts";
import { EVENT_NAMES } from "./events.ts";
import { checkPhase, type HandlerResult, type Phase, PHASES } from "./callback.ts";
import { isPromiseLike } from "./tensor_like.ts";

/**
 * When a handler runs.
 *
 * The filters look at the event's own counter, which starts at 1: steps for step events, epochs for
 * epoch events, calls of `backward` for its events, calls of `loop` for the others. They combine by
 * "and", and none shifts another: `{ every: 10, after: 5 }` runs at 10, 20, 30.
 */
export interface HandlerOptions {
  /** Run at multiples of this count. */
  every?: number;
  /** Run at this count alone; `true`: run the first time that the other filters allow. */
  once?: number | true;
  /** Run at counts above this one. */
  after?: number;
  /** Run at counts below this one. */
  before?: number;
  /** The part of the event's work that it does. @default {"log"} */
  phase?: Phase;
  /** How plans and errors call it; by default the function's name. */
  name?: string;
}

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

interface Entry {
  readonly call: AnyHandler;
  readonly options: HandlerOptions;
  readonly rank: number;
  removed: boolean;
}

/** Handlers by event, in the order in which they run. */
export class HandlerTable {
  #lists = new Map<EventName, readonly Entry[]>(EVENT_NAMES.map((event) => [event, []]));

  /** Adds a handler behind those of its phase. */
  add(event: EventName, call: AnyHandler, options: HandlerOptions): Subscription {
    const list = this.#lists.get(event);
    if (list === undefined) {
      throw new TypeError(
        `Cannot add a handler: expected an event among ${EVENT_NAMES.join(", ")}, found "${event}"`,
      );
    }
    checkOptions(event, options);
    const rank = PHASES.indexOf(options.phase ?? "log");
    const entry: Entry = { call, options, rank, removed: false };
    const at = list.findIndex((other) => other.rank > rank);
    // Lists are replaced, never changed, so an event that runs now keeps its list.
    this.#lists.set(event, list.toSpliced(at < 0 ? list.length : at, 0, entry));
    return new Subscription(() => this.#remove(event, entry));
  }

  /** Whether an event has a handler at all. */
  has(event: EventName): boolean {
    return this.#list(event).length > 0;
  }

  /**
   * Calls the handlers one after the other; the first error ends the event.
   *
   * @returns a promise where a handler returned one, else nothing
   */
  fire(event: EventName, payload: unknown, count: number): HandlerResult {
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
    const lines = EVENT_NAMES.filter((event) => this.has(event)).flatMap((event) => [
      event,
      ...this.#list(event).map((entry) => `  ${PHASES[entry.rank].padEnd(9)}${describe(entry)}`),
    ]);
    return lines.join("\n");
  }

  #list(event: EventName): readonly Entry[] {
    return this.#lists.get(event) ?? [];
  }

  #remove(event: EventName, entry: Entry): void {
    entry.removed = true;
    this.#lists.set(event, this.#list(event).filter((other) => other !== entry));
  }

  #call(event: EventName, entry: Entry, payload: unknown, count: number): HandlerResult {
    if (entry.removed || !isDue(entry.options, count)) return;
    if (entry.options.once === true) this.#remove(event, entry);
    return entry.call(payload);
  }

  async #fireRest(
    event: EventName,
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

function isDue({ every, once, after, before }: HandlerOptions, count: number): boolean {
  return (every === undefined || count % every === 0) &&
    (typeof once !== "number" || count === once) &&
    (after === undefined || count > after) &&
    (before === undefined || count < before);
}

function checkOptions(event: EventName, options: HandlerOptions): void {
  const what = `a handler of ${event}`;
  const least = { every: 1, once: 1, after: 0, before: 1 };
  for (const [name, min] of Object.entries(least)) {
    const value = options[name as keyof typeof least];
    if (value === undefined || (name === "once" && value === true)) continue;
    if (!Number.isSafeInteger(value) || (value as number) < min) {
      throw new RangeError(
        `Cannot add ${what}: expected ${name} to be a whole number from ${min}, found ${value}`,
      );
    }
  }
  if (options.phase !== undefined) checkPhase(options.phase, what);
}

function describe({ call, options }: Entry): string {
  const filters = (["every", "once", "after", "before"] as const)
    .filter((name) => options[name] !== undefined)
    .map((name) => options[name] === true ? name : `${name} ${options[name]}`);
  const name = options.name ?? (call.name || "handler");
  return filters.length === 0 ? name : `${name} (${filters.join(", ")})`;
}
