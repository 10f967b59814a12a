/** Schedules drawn by hand: learning rates at places of the run, and how to get from one to the next. */

import { checkCount, checkNames, checkNumber, checkWord, showValue } from "./checks.ts";
import {
  type Frame,
  framesOf,
  itemsJson,
  type Keyframe,
  type KeyframeItem,
  type TransitionFunction,
  type TransitionPlace,
} from "./keyframe_frames.ts";
import { reduced } from "./plateau_meter.ts";
import { Schedule, type ScheduleJson } from "./schedule.ts";
import {
  groupOf,
  lengthOf,
  misfit,
  rateFor,
  type ScheduleAt,
  type ScheduleGroup,
  type TimeNow,
  timeOf,
} from "./time.ts";

/** Options of `KeyframeLR`. */
export interface KeyframeOptions {
  /**
   * Frames, and between two of them at most one transition; "linear" where there is none. Frames
   * without transitions may come in any order.
   */
  readonly frames: readonly KeyframeItem[];
  /** Steps, or epochs, of the run; null for the length that the run has. @default {null} */
  readonly end?: number | null;
  /** Whether positions are steps, or shares of the run from 0 to 1. @default {"steps"} */
  readonly units?: "steps" | "percent";
}

/**
 * Learning rates at given positions, and transitions between them: linear, cosine, exponential, a
 * plateau that follows a metric, or a function. Before the first frame its rate is held, after the
 * last one that of the last.
 *
 * Rates are those of the first group, the others keep their proportion to it; a list in a frame
 * gives each group its own.
 *
 * @example Up in a straight line over a tenth of the run, then down along a cosine
 * ```ts
 * import { KeyframeLR } from "@legoml/legoml/core";
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 *
 * const rates = new KeyframeLR({
 *   frames: [
 *     { position: 0, lr: 0.01 },
 *     { position: 0.1, lr: 0.3 },
 *     "cosine",
 *     { position: "end", lr: 0.001 },
 *   ],
 *   units: "percent",
 *   end: 100,
 * });
 * assertEquals([0, 10, 100].map((t) => rates.lr(t, 1)), [0.01, 0.3, 0.001]);
 * assertAlmostEquals(rates.lr(55, 1), (0.3 + 0.001) / 2);
 * ```
 */
export class KeyframeLR extends Schedule {
  readonly #frames: readonly Frame[];
  readonly #end: number | null;
  readonly #units: "steps" | "percent";

  /**
   * Checks frames and transitions.
   *
   * @param options `frames`, `end` and `units`
   * @throws {RangeError} if frames or transitions are missing, too many, or out of their range
   * @throws {TypeError} if the frames are no list
   */
  constructor(options: KeyframeOptions) {
    super();
    checkNames("KeyframeLR", options, ["frames", "end", "units"]);
    const { end = null, units = "steps" } = options;
    this.#end = end === null ? null : checkNumber("KeyframeLR", "end", end, [0, Number.MAX_VALUE]);
    if (end === 0) throw new RangeError("Cannot make KeyframeLR with end 0: expected one above 0");
    this.#units = checkWord("KeyframeLR", "units", units, ["steps", "percent"]);
    this.#frames = framesOf(options.frames, units);
    const beyond = this.#frames.find(({ position }) =>
      units === "steps" && end !== null && typeof position === "number" && position > end
    );
    if (beyond !== undefined) {
      throw new RangeError(
        `Cannot make KeyframeLR with a frame at ${beyond.position}: expected none after the end, ` +
          `which is at ${end}`,
      );
    }
  }

  /** The end of the run where it was given, else the last position, if that is a number of steps. */
  get length(): number | null {
    const { position } = this.#frames[this.#frames.length - 1];
    return this.#end ?? (this.#units === "steps" && position !== "end" ? position : null);
  }

  /** Whether a transition follows a metric. */
  override get watches(): boolean {
    return this.#frames.some(({ plateau }) => plateau !== null);
  }

  /** The modes of the transitions that follow a metric. */
  override get modes(): readonly ("min" | "max")[] {
    return this.#frames.flatMap(({ plateau }) => plateau?.meter.options.mode ?? []);
  }

  /**
   * The rate at a step.
   *
   * @param at completed steps, at least 0
   * @param group the group, or its base rate alone
   * @returns exactly that of a frame where there is one
   * @throws {RangeError} as `Schedule.lr()`
   */
  lr(at: ScheduleAt, group: ScheduleGroup | number): number {
    const time = timeOf(at);
    const places = this.#places(time);
    const full = groupOf(group);
    const behind = places.findIndex((place) => place > time.step);
    if (behind === 0) return this.#rate(0, full);
    const index = behind < 0 ? places.length - 1 : behind - 1;
    if (behind < 0 || time.step === places[index]) return this.#rate(index, full);
    if (this.#frames[index].plateau !== null) return this.#rate(behind, full);
    const length = places[behind] - places[index];
    const step = time.step - places[index];
    return transit(this.#frames[index].transition, {
      from: this.#rate(index, full),
      to: this.#rate(behind, full),
      share: step / length,
      step,
      length,
      group: full.index,
    });
  }

  /**
   * Tells the plateau between whose frames the step lies; at frames and elsewhere nothing happens.
   *
   * @param metric the value; NaN counts as bad
   * @param at completed steps
   * @throws {TypeError} if the value is no number
   */
  override observe(metric: number, at: ScheduleAt): void {
    if (!this.watches) return;
    const time = timeOf(at);
    const places = this.#places(time);
    const index = places.findIndex((place, i) => place < time.step && time.step < places[i + 1]);
    this.#frames[index]?.plateau?.meter.observe(metric);
  }

  /** What each plateau remembers. */
  override state(): unknown {
    if (!this.watches) return null;
    return this.#frames.map(({ plateau }) => plateau && plateau.meter.state());
  }

  /** Takes back what `state()` gave. */
  override load(state: unknown): void {
    if (!this.watches) return super.load(state);
    if (!Array.isArray(state) || state.length !== this.#frames.length) {
      throw misfit("KeyframeLR", `a list of ${this.#frames.length}`, state);
    }
    this.#frames.forEach(({ plateau }, i) => plateau?.meter.load(state[i]));
  }

  /** Frames, transitions, end and units as data. */
  toJSON(): ScheduleJson {
    const frames = itemsJson(this.#frames);
    return { type: "keyframe", frames, end: this.#end, units: this.#units };
  }

  /** Positions of the frames in steps. */
  #places(time: TimeNow): number[] {
    const places = this.#frames.map(({ position }) => {
      if (position !== "end" && this.#units === "steps") return position;
      const end = lengthOf("KeyframeLR", "end", this.#end, time);
      return position === "end" ? end : position * end;
    });
    const odd = places.findIndex((place, i) => i > 0 && place <= places[i - 1]);
    if (odd < 0) return places;
    throw new RangeError(
      `Cannot apply KeyframeLR: expected frame ${odd} after the one before it, found positions ` +
        `${places[odd - 1]} and ${places[odd]}`,
    );
  }

  /** The rate of a frame; where a plateau ends, what the metric has left of that before. */
  #rate(index: number, group: Required<ScheduleGroup>): number {
    const { lr } = this.#frames[index];
    if (lr !== null) return rateFor("KeyframeLR", lr, group);
    const { meter, factor, minLr } = this.#frames[index - 1].plateau!;
    return reduced(this.#rate(index - 1, group), {
      reductions: meter.reductions,
      factor,
      least: rateFor("KeyframeLR", minLr, group),
      eps: 0,
    });
  }
}

/**
 * A straight line from one rate to another over the run.
 *
 * @param start the rate of the first step, at least 0
 * @param end the rate at the end, at least 0
 * @returns a schedule over the length of the run
 * @throws {RangeError} if a rate is negative or not finite
 *
 * @example
 * ```ts
 * import { createLinearSchedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(createLinearSchedule(1, 0).lr({ step: 3, total: 4 }, 1), 0.25);
 * ```
 */
export function createLinearSchedule(start: number, end: number): KeyframeLR {
  return new KeyframeLR({ frames: [{ position: 0, lr: start }, { position: "end", lr: end }] });
}

/**
 * From one rate to another by equal ratios: `start · (end / start)^(t / total)`.
 *
 * @param start the rate of the first step, above 0
 * @param end the rate at the end, above 0
 * @param totalSteps steps from one to the other
 * @returns a schedule that ends after `totalSteps`
 * @throws {RangeError} if a rate or the number of steps is not above 0
 *
 * @example
 * ```ts
 * import { createExponentialSchedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * assertAlmostEquals(createExponentialSchedule(1, 0.01, 4).lr(2, 1), 0.1);
 * ```
 */
export function createExponentialSchedule(
  start: number,
  end: number,
  totalSteps: number,
): KeyframeLR {
  for (const [name, value] of Object.entries({ start, end, totalSteps })) {
    if (typeof value === "number" && value > 0 && value < Infinity) continue;
    throw new RangeError(
      `Cannot make an exponential schedule with ${name} ${showValue(value)}: expected a finite ` +
        "number above 0",
    );
  }
  const frames: KeyframeItem[] = [
    { position: 0, lr: start },
    "exponential",
    { position: "end", lr: end },
  ];
  return new KeyframeLR({ frames, end: totalSteps });
}

/**
 * Up and down between two rates in straight lines of `stepSize` steps. Steps that are too few for
 * another line keep the last rate.
 *
 * @param base the rate of the first step, at least 0
 * @param max the rate after `stepSize` steps, at least 0
 * @param stepSize steps of each line, a whole number from 1
 * @param totalSteps steps of the run, a whole number from 1
 * @returns a schedule that ends after `totalSteps`
 * @throws {RangeError} if a number is out of its range
 *
 * @example
 * ```ts
 * import { createCyclicSchedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const rates = createCyclicSchedule(0.1, 0.5, 2, 5);
 * const want = [0.1, 0.3, 0.5, 0.3, 0.1, 0.1];
 * want.forEach((rate, t) => assertAlmostEquals(rates.lr(t, 1), rate));
 * ```
 */
export function createCyclicSchedule(
  base: number,
  max: number,
  stepSize: number,
  totalSteps: number,
): KeyframeLR {
  checkCount("a cyclic schedule", "stepSize", stepSize, 1);
  checkCount("a cyclic schedule", "totalSteps", totalSteps, 1);
  const lines = Math.floor(totalSteps / stepSize);
  const frames = Array.from({ length: lines + 1 }, (_, i): Keyframe => ({
    position: i * stepSize,
    lr: i % 2 === 0 ? base : max,
  }));
  return new KeyframeLR({ frames, end: totalSteps });
}

function transit(
  transition: "linear" | "cosine" | "exponential" | TransitionFunction,
  place: TransitionPlace,
): number {
  const { from, to, share } = place;
  if (typeof transition === "function") return transition(place);
  if (transition === "linear") return from + (to - from) * share;
  if (transition === "cosine") return to + (from - to) * (1 + Math.cos(Math.PI * share)) / 2;
  if (from > 0 && to > 0) return from * (to / from) ** share;
  throw new RangeError(
    `Cannot apply KeyframeLR from ${from} to ${to} by equal ratios: expected rates above 0`,
  );
}
