/** When a handler runs: filters on counters and time, and its place among the others. */

import { checkPhase, type Phase } from "./callback.ts";
import type { EngineState } from "./state.ts";

/** A bound or an interval of a filter: a count of the event, or epochs or seconds instead. */
export type Interval =
  | number
  | {
    /** Whole epochs. */
    readonly epochs: number;
  }
  | {
    /** Seconds, also fractions. */
    readonly seconds: number;
  };

/**
 * When a handler runs.
 *
 * Plain numbers are counts of the event, from 1: steps for step events, epochs for epoch events,
 * calls of `backward` for its events, emissions for events of the program's own, calls of `loop` for
 * the others. `{ epochs }` looks at the number of the running epoch, `{ seconds }` at the time since
 * the loop started. Filters combine by "and", and none shifts another: `{ every: 10, after: 5 }`
 * runs at 10, 20, 30.
 *
 * @example Every 10 steps, but not in the first epoch; and at most once a minute
 * ```ts
 * import { Context, Engine } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const engine = new Engine(() => {}, new Context({ model: null }));
 * const steps: number[] = [];
 * engine.on("stepEnd", ({ state }) => void steps.push(state.globalStep), {
 *   every: 10,
 *   after: { epochs: 1 },
 * });
 * engine.on("stepEnd", () => console.log("still here"), { every: { seconds: 60 } });
 * await engine.loop(Array(25).fill(0), { maxEpochs: 2 });
 * assertEquals(steps, [30, 40, 50]);
 * ```
 */
export interface HandlerOptions {
  /**
   * Run at multiples of this count; `{ epochs }`: in epochs that are multiples; `{ seconds }`: when so
   * much time has passed since it ran last, or since the loop started.
   */
  every?: Interval;
  /** Run at this count alone; `true`: run the first time that the other filters allow. */
  once?: number | true;
  /** Run at counts above this one, in epochs above, or when more time has passed. */
  after?: Interval;
  /** Run at counts below this one, in epochs below, or while less time has passed. */
  before?: Interval;
  /** The part of the event's work that it does. @default {"log"} */
  phase?: Phase;
  /** How plans and errors call it; by default the function's name. */
  name?: string;
  /** Names of handlers or callbacks of the same or an earlier phase that run before it. */
  runAfter?: string | readonly string[];
  /** Names of handlers or callbacks of the same or a later phase that run after it. */
  runBefore?: string | readonly string[];
}

/** The time and the epoch that filters look at. */
export class LoopClock {
  /** When the loop started, in milliseconds. */
  start = 0;
  #state: EngineState;

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** The number of the running epoch. */
  get epoch(): number {
    return this.#state.current.epoch;
  }

  /** Milliseconds on the clock of `start`. */
  now(): number {
    return performance.now();
  }
}

/** Whether all filters let a handler run now, which last ran at time `last`. */
export function isDue(
  { every, once, after, before }: HandlerOptions,
  count: number,
  clock: LoopClock,
  last: number,
): boolean {
  return (every === undefined || isMultiple(every, count, clock, last)) &&
    (typeof once !== "number" || count === once) &&
    (after === undefined || passed(after, count, clock) > bound(after)) &&
    (before === undefined || passed(before, count, clock) < bound(before));
}

function isMultiple(every: Interval, count: number, clock: LoopClock, last: number): boolean {
  if (typeof every === "number") return count % every === 0;
  if ("epochs" in every) return clock.epoch > 0 && clock.epoch % every.epochs === 0;
  return clock.now() - Math.max(last, clock.start) >= 1000 * every.seconds;
}

function passed(interval: Interval, count: number, clock: LoopClock): number {
  if (typeof interval === "number") return count;
  return "epochs" in interval ? clock.epoch : (clock.now() - clock.start) / 1000;
}

function bound(interval: Interval): number {
  if (typeof interval === "number") return interval;
  return "epochs" in interval ? interval.epochs : interval.seconds;
}

const LEAST = { every: 1, once: 1, after: 0, before: 1 } as const;

/** Throws where a filter, the phase or a name is none. */
export function checkOptions(event: string, options: HandlerOptions): void {
  const what = `a handler of ${event}`;
  for (const name of ["every", "once", "after", "before"] as const) {
    const value: unknown = options[name];
    if (value === undefined || (name === "once" && value === true)) continue;
    checkFilter(what, name, value);
  }
  for (const name of ["runAfter", "runBefore"] as const) {
    if (namesIn(options[name]).every((other) => typeof other === "string")) continue;
    throw new TypeError(`Cannot add ${what}: expected ${name} to be names, found another value`);
  }
  if (options.phase !== undefined) checkPhase(options.phase, what);
}

function checkFilter(what: string, name: keyof typeof LEAST, value: unknown): void {
  const min = LEAST[name];
  if (typeof value === "object" && value !== null && name !== "once") {
    const { epochs, seconds } = value as { epochs?: unknown; seconds?: unknown };
    if (seconds === undefined && isCount(epochs, min)) return;
    if (epochs === undefined && typeof seconds === "number" && seconds >= 0) return;
    throw new RangeError(
      `Cannot add ${what}: expected ${name} to be { epochs } with a whole number from ${min} or ` +
        `{ seconds } with a number from 0, found ${JSON.stringify(value)}`,
    );
  }
  if (isCount(value, min)) return;
  throw new RangeError(
    `Cannot add ${what}: expected ${name} to be a whole number from ${min}, found ${value}`,
  );
}

function isCount(value: unknown, min: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= min;
}

/** The filters and the order that a handler asks for, in words; "" where there are none. */
export function describeOptions(options: HandlerOptions): string {
  const filters = (["every", "once", "after", "before"] as const)
    .filter((name) => options[name] !== undefined)
    .map((name) => options[name] === true ? name : `${name} ${describe(options[name]!)}`);
  const order = (["runAfter", "runBefore"] as const)
    .filter((name) => namesIn(options[name]).length > 0)
    .map((name) => `${name} ${namesIn(options[name]).join(" and ")}`);
  return [...filters, ...order].join(", ");
}

function describe(interval: Interval | true): string {
  if (typeof interval !== "object") return String(interval);
  const unit = "epochs" in interval ? "epoch" : "second";
  const amount = bound(interval);
  return `${amount} ${unit}${amount === 1 ? "" : "s"}`;
}

/** A name or several as a list. */
export function namesIn(names: string | readonly string[] | undefined): readonly string[] {
  if (names === undefined) return [];
  return Array.isArray(names) ? names : [names as string];
}
