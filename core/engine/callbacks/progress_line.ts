/** What a display tells of training, and how that reads in one line of text. */

import type { Best } from "./live_meter.ts";

/** What a display tells. */
export interface Progress {
  /** Number of the running epoch, from 1. */
  readonly epoch: number;
  /** Number of the last epoch, or Infinity. */
  readonly epochs: number;
  /** Completed steps of the epoch. */
  readonly step: number;
  /** Steps of the epoch, where known. */
  readonly steps: number | null;
  /** Numbers by name: the loss, the learning rate, the metrics. */
  readonly values: Readonly<Record<string, number>>;
  /** The best value of the followed metric, where there is one. */
  readonly best: Best | null;
  /** Samples per second, where known. */
  readonly rate: number | null;
  /** Share of the time in which the loop waited for batches, from 0 to 1, where known. */
  readonly wait: number | null;
  /** Seconds that the epoch has taken. */
  readonly seconds: number;
  /** Seconds that the loop has taken. */
  readonly total: number;
  /** Seconds until the end of the run, where known. */
  readonly eta: number | null;
}

/** A plain line about a running or a finished epoch. */
export function progressLine(progress: Progress): string {
  const { seconds, eta } = progress;
  return [
    ...headOf(progress),
    ...Object.entries(progress.values).map(([name, value]) => `${name} ${showNumber(value)}`),
    ...bestOf(progress),
    ...speedOf(progress),
    showTime(seconds),
    ...(eta === null ? [] : [`ETA ${showTime(eta)}`]),
  ].join("  ");
}

/** Where training stands: the epoch and the step. */
export function headOf({ epoch, epochs, step, steps }: Progress): [string, string] {
  const head = `epoch ${epoch}${Number.isFinite(epochs) ? `/${epochs}` : ""}`;
  return [head, steps === null ? `step ${step}` : `${percent(step, steps)} ${step}/${steps}`];
}

/** The best value, and how long ago it was, where there is one. */
export function bestOf({ best, epoch }: Progress): string[] {
  if (best === null) return [];
  const ago = epoch - best.epoch;
  const when = ago === 0 ? "now" : `${ago} epoch${ago === 1 ? "" : "s"} ago`;
  const since = best.since === null ? "" : ` since step ${best.since}`;
  return [`best ${best.metric}${since} ${showNumber(best.value)} ${when}`];
}

/** How fast it goes, as far as that is known. */
export function speedOf({ rate, wait }: Progress): string[] {
  return [
    ...(rate === null ? [] : [`${showCount(rate)} samples/s`]),
    ...(wait === null ? [] : [`data wait ${Math.round(100 * wait)}%`]),
  ];
}

function percent(step: number, steps: number): string {
  const share = steps === 0 ? 100 : Math.floor(100 * step / steps);
  return `${share}%`.padStart(4);
}

/** A number with four significant digits; whole numbers up to six digits as they are. */
export function showNumber(value: number): string {
  if (!Number.isFinite(value) || (Number.isInteger(value) && Math.abs(value) < 1e6)) {
    return String(value);
  }
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? value.toPrecision(4) : value.toExponential(3);
}

/** A count with a comma between groups of three digits. */
export function showCount(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Seconds as `m:ss` or `h:mm:ss`. */
export function showTime(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((n) => String(n).padStart(2, "0"));
  const hours = Math.floor(whole / 3600);
  return hours > 0 ? `${hours}:${parts.join(":")}` : parts.join(":").replace(/^0/, "");
}
