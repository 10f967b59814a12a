/** Callbacks: objects with a method per event, run in the order of their phase. */

import type { Context } from "./context.ts";
import type {
  BackwardEvent,
  EngineEndEvent,
  EngineEvent,
  EngineStartEvent,
  EpochEndEvent,
  ExceptionEvent,
  StepEndEvent,
  StepStartEvent,
} from "./events.ts";
import { EVENT_METHODS, EVENT_NAMES } from "./events.ts";
import type { MetricSource } from "./metric_source.ts";
import type { FieldOf, OutputReader } from "./output_fields.ts";
import type { StepOutput } from "./step_output.ts";

/** The part of an event's work that a handler does; it decides when the handler runs. */
export type Phase =
  | "metrics"
  | "schedule"
  | "evaluate"
  | "log"
  | "decide"
  | "persist"
  | "display";

/** The phases, in the order in which an event runs them. */
export const PHASES: readonly Phase[] = [
  "metrics",
  "schedule",
  "evaluate",
  "log",
  "decide",
  "persist",
  "display",
];

/** What a handler may return: nothing, or a promise that the engine waits for. */
export type HandlerResult = void | Promise<void>;

/**
 * An object whose methods an engine calls at its events; every method is optional.
 *
 * Callbacks run by phase (metrics, schedule, evaluate, log, decide, persist, display), within a
 * phase in the order of registration unless `runAfter` or `runBefore` ask for another one. A method that throws ends the loop with that error.
 *
 * @example Count the samples of each epoch
 * ```ts
 * import { type Callback, Context, Engine } from "@legoml/legoml/core";
 *
 * const perEpoch: number[] = [];
 * const counter: Callback = {
 *   name: "counter",
 *   onEpochEnd({ state }) {
 *     perEpoch.push(state.samples);
 *   },
 * };
 * const engine = new Engine(
 *   (_engine, batch: number[]) => ({ count: batch.length }),
 *   new Context({ model: null }),
 *   { callbacks: [counter] },
 * );
 * await engine.loop([[1, 2, 3], [4]], { maxEpochs: 2 });
 * console.assert(perEpoch.join() === "4,8");
 * ```
 */
export interface Callback<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
> {
  /** How errors, plans and saved states call it; the class name where absent. */
  readonly name?: string;
  /** When it runs among the handlers of an event; "log" where absent. */
  readonly phase?: Phase;
  /** Names of callbacks or handlers of the same or an earlier phase that run before it. */
  readonly runAfter?: string | readonly string[];
  /** Names of callbacks or handlers of the same or a later phase that run after it. */
  readonly runBefore?: string | readonly string[];
  /** Called once, before the first epoch of a `loop` call. */
  onEngineStart?(event: EngineStartEvent<O, C>): HandlerResult;
  /** Called before the first batch of an epoch. */
  onEpochStart?(event: EngineEvent<O, C>): HandlerResult;
  /** Called before the step function. */
  onStepStart?(event: StepStartEvent<B, O, C>): HandlerResult;
  /** Called by `engine.backward(loss)` before the gradients. */
  onBackwardStart?(event: BackwardEvent<B, O, C>): HandlerResult;
  /** Called by `engine.backward(loss)` after the gradients. */
  onBackwardEnd?(event: BackwardEvent<B, O, C>): HandlerResult;
  /** Called after the step function. */
  onStepEnd?(event: StepEndEvent<B, O, C>): HandlerResult;
  /** Called after the last batch of an epoch. */
  onEpochEnd?(event: EpochEndEvent<O, C>): HandlerResult;
  /** Called exactly once per `loop` call, whatever happened. */
  onEngineEnd?(event: EngineEndEvent<O, C>): HandlerResult;
  /** Called when the step, the loader or a handler threw. */
  onException?(event: ExceptionEvent<O, C>): HandlerResult;
  /**
   * What else must be saved, by name: objects with a state dict, a state, or a position. They may
   * hold tensors, which `state` may not; a `CheckpointCallback` saves them with the run.
   */
  readonly parts?: Readonly<Record<string, object>>;
  /** What must be saved to continue later, as JSON values. */
  state?(): unknown;
  /** Takes back what `state` gave. */
  load?(state: unknown): HandlerResult;
}

/**
 * A callback as an engine takes it: one that says which metrics it writes (`K`), or not, and that
 * reads no value of the steps' outputs that they do not have.
 */
export type AddedCallback<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> = Callback<B, O, C> & Partial<MetricSource<K>> & OutputReader<FieldOf<O>>;

/** The name of a callback: its own, or that of its class. */
export function callbackName(callback: Callback): string {
  const className = Object.getPrototypeOf(callback)?.constructor?.name;
  return callback.name ?? (className === "Object" ? "callback" : className) ?? "callback";
}

/**
 * Refuses an object that an engine would never call, or would call less than its author thinks.
 *
 * @param callback the object to look at
 * @throws {TypeError} if it is no object, has no event method, has a method with almost the name of
 * an event method, an unknown phase, `state` without `load`, or `metricKeys` without `betterOf`
 */
export function checkCallback(callback: Callback): void {
  if (typeof callback !== "object" || callback === null) {
    throw new TypeError(`Cannot add a callback: expected an object, found ${String(callback)}`);
  }
  const name = callbackName(callback);
  const known = new Set<string>(EVENT_NAMES.map((event) => EVENT_METHODS[event]));
  const hooks = methodNames(callback).filter((method) =>
    /^on_?(engine|epoch|step|backward|exception)/i.test(method)
  );
  const unknown = hooks.find((method) => !known.has(method));
  if (unknown !== undefined || hooks.length === 0) {
    const found = unknown === undefined ? "found none of them" : `found "${unknown}"`;
    throw new TypeError(
      `Cannot add callback "${name}": expected methods among ${[...known].join(", ")}, ${found}`,
    );
  }
  if (callback.phase !== undefined) checkPhase(callback.phase, `callback "${name}"`);
  checkPair(callback, ["state", "load"]);
  // Many things have a direction, but only a source of metrics has names.
  if ("metricKeys" in callback) checkPair(callback, ["metricKeys", "betterOf"]);
}

function checkPair(callback: Callback, names: readonly [string, string]): void {
  const there = names.filter((name) => callback[name as keyof Callback] !== undefined);
  if (there.length !== 1) return;
  throw new TypeError(
    `Cannot add callback "${callbackName(callback)}": expected both ${names.join(" and ")} or ` +
      `neither, found only ${there[0]}`,
  );
}

/** Throws unless `phase` is one of the known phases. */
export function checkPhase(phase: Phase, what: string): void {
  if (!PHASES.includes(phase)) {
    throw new TypeError(
      `Cannot add ${what}: expected a phase among ${PHASES.join(", ")}, found "${phase}"`,
    );
  }
}

function methodNames(object: object): string[] {
  const names = new Set<string>();
  for (let at: object | null = object; at && at !== Object.prototype;) {
    for (const name of Object.getOwnPropertyNames(at)) {
      const value = Object.getOwnPropertyDescriptor(at, name)?.value;
      if (typeof value === "function" && name !== "constructor") names.add(name);
    }
    at = Object.getPrototypeOf(at);
  }
  return [...names];
}
