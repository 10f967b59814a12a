/** Clocks and memories of a display: speed, remaining time, the smoothed loss, the best value. */

import type { EngineState } from "../state.ts";

/** Weight of the past in the smoothed loss, per reading. */
const SMOOTHING = 0.8;

/** The best value of a metric that a display has seen. */
export interface Best {
  /** The name of the metric. */
  readonly metric: string;
  /** Its best value. */
  readonly value: number;
  /** Number of the epoch that had it. */
  readonly epoch: number;
  /** Where the display began to look, if training did not begin there: completed steps. */
  readonly since: number | null;
}

/** Says whether larger or smaller values of a metric are better, where it knows. */
export type BetterOf = (key: string) => "up" | "down" | null;

/** Follows one metric over the epochs of a loop. */
export class BestSoFar {
  readonly #monitor: string | undefined;
  readonly #since: number | null;
  #best: Best | null = null;

  /**
   * @param monitor the metric; by default the first one that is evaluated and has a direction
   * @param firstStep completed steps when the loop began
   */
  constructor(monitor: string | undefined, firstStep: number) {
    this.#monitor = monitor;
    this.#since = firstStep === 0 ? null : firstStep;
  }

  /** The best value, or null before the first one. */
  get best(): Best | null {
    return this.#best;
  }

  /**
   * Looks at the metrics of an epoch.
   *
   * @throws {RangeError} if nobody knows the direction of a metric that was asked for
   */
  observe(epoch: number, metrics: Readonly<Record<string, number>>, betterOf: BetterOf): void {
    const metric = this.#monitor ?? this.#choose(metrics, betterOf);
    if (metric === undefined || !Number.isFinite(metrics[metric])) return;
    const direction = betterOf(metric);
    if (direction === null) {
      throw new RangeError(
        `Cannot show the best "${metric}": expected a metric that knows what is better, found one ` +
          "that does not",
      );
    }
    const value = metrics[metric];
    const sign = direction === "up" ? 1 : -1;
    const before = this.#best?.metric === metric ? this.#best.value : null;
    if (before !== null && !(sign * value > sign * before)) return;
    this.#best = { metric, value, epoch, since: this.#since };
  }

  /** The first metric with a direction, one of evaluations before one of training; then the same one. */
  #choose(metrics: Readonly<Record<string, number>>, betterOf: BetterOf): string | undefined {
    const known = this.#best?.metric;
    if (known?.includes("/")) return known;
    const directed = Object.keys(metrics).filter((key) => betterOf(key) !== null);
    return directed.find((key) => key.includes("/")) ?? known ?? directed[0];
  }
}

/** The times of a loop, by a clock that tells milliseconds. */
export class Clocks {
  readonly #now: () => number;
  #loop = { start: 0, steps: 0, samples: 0 };
  #epoch = { start: 0, samples: 0 };
  #lastStep = 0;

  /** @param now the time in milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Starts the loop's clock, and that of the epoch, which may be resumed in its middle. */
  startLoop({ globalStep, samples }: EngineState): void {
    this.#lastStep = this.#now();
    this.#loop = { start: this.#lastStep, steps: globalStep, samples };
    this.#epoch = { start: this.#lastStep, samples };
  }

  /** Starts the epoch's clock. */
  startEpoch({ samples }: EngineState): void {
    this.#epoch = { start: this.#now(), samples };
  }

  /** Notes that a step has ended, and gives the time. */
  step(): number {
    return this.#lastStep = this.#now();
  }

  /** Completed steps when the loop started. */
  get firstStep(): number {
    return this.#loop.steps;
  }

  /** Seconds of the epoch. */
  get epochSeconds(): number {
    return (this.#now() - this.#epoch.start) / 1000;
  }

  /** Seconds of the loop. */
  get loopSeconds(): number {
    return (this.#now() - this.#loop.start) / 1000;
  }

  /** Samples per second from the epoch's start to its latest step; null before the first one. */
  rate({ samples }: EngineState): number | null {
    const seconds = (this.#lastStep - this.#epoch.start) / 1000;
    return seconds > 0 ? (samples - this.#epoch.samples) / seconds : null;
  }

  /** Seconds until the limit, at the loop's mean speed so far, evaluations included. */
  eta(state: EngineState): number | null {
    const { stepsPerEpoch, maxEpochs, epoch, localStep, maxSteps, globalStep, samples } = state;
    const done = globalStep - this.#loop.steps;
    const seen = samples - this.#loop.samples;
    // An epoch that is complete is counted, and its steps are not left any more.
    const inEpoch = state.current.epoch > epoch ? localStep : 0;
    const byEpochs = stepsPerEpoch === null
      ? Infinity
      : (maxEpochs - epoch) * stepsPerEpoch - inEpoch;
    const bySamples = seen > 0 ? (state.maxSamples - samples) * done / seen : Infinity;
    const left = Math.min(byEpochs, maxSteps - globalStep, bySamples);
    if (!Number.isFinite(left) || done <= 0) return null;
    return Math.max(0, left) * this.loopSeconds / done;
  }
}

/** An exponential mean without the pull of its start; values that are not finite pass through. */
export class SmoothedValue {
  #sum = 0;
  #weight = 0;
  #odd: number | null = null;

  /** Takes the next value. */
  add(value: number): void {
    this.#odd = Number.isFinite(value) ? null : value;
    if (this.#odd !== null) return;
    this.#sum = SMOOTHING * this.#sum + (1 - SMOOTHING) * value;
    this.#weight = SMOOTHING * this.#weight + (1 - SMOOTHING);
  }

  /** The mean; the latest value where that is not finite; null before the first one. */
  get value(): number | null {
    return this.#odd ?? (this.#weight === 0 ? null : this.#sum / this.#weight);
  }
}
