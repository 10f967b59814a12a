/** How training progress reads in one line of text. */

/** What a progress line tells. */
export interface Progress {
  /** Number of the running epoch, from 1. */
  readonly epoch: number;
  /** Number of the last epoch, or Infinity. */
  readonly epochs: number;
  /** Completed steps of the epoch. */
  readonly step: number;
  /** Steps of the epoch, where known. */
  readonly steps: number | null;
  /** Numbers by name, e.g. the loss and the metrics. */
  readonly values: Readonly<Record<string, number>>;
  /** Samples per second, where known. */
  readonly rate: number | null;
  /** Seconds that the epoch has taken. */
  readonly seconds: number;
  /** Seconds until the end of the run, where known. */
  readonly eta: number | null;
}

const BAR_MIN = 8;
const BAR_MAX = 30;

/**
 * One line that fits into `width` columns: the bar gives way first, then the text is cut.
 *
 * @param progress what to tell
 * @param width columns; Infinity for a plain line without a bar
 */
export function progressLine(progress: Progress, width: number): string {
  const { epoch, epochs, step, steps, seconds, eta } = progress;
  const head = `epoch ${epoch}${Number.isFinite(epochs) ? `/${epochs}` : ""}`;
  const count = steps === null ? `step ${step}` : `${percent(step, steps)} ${step}/${steps}`;
  const tail = [
    ...Object.entries(progress.values).map(([name, value]) => `${name} ${showNumber(value)}`),
    ...(progress.rate === null ? [] : [`${showCount(progress.rate)} samples/s`]),
    showTime(seconds),
    ...(eta === null ? [] : [`ETA ${showTime(eta)}`]),
  ];
  const text = [head, count, ...tail].join("  ");
  const room = Math.min(BAR_MAX, width - text.length - 2);
  if (steps === null || !Number.isFinite(width) || room < BAR_MIN) return text.slice(0, width);
  return [head, bar(step / Math.max(1, steps), room), count, ...tail].join("  ");
}

function percent(step: number, steps: number): string {
  const share = steps === 0 ? 100 : Math.floor(100 * step / steps);
  return `${share}%`.padStart(4);
}

function bar(share: number, width: number): string {
  const full = Math.min(width, Math.floor(share * width));
  return "━".repeat(full) + "─".repeat(width - full);
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
