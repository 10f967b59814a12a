/** Parts of metrics: what they have counted, on the device or on the host. */

import { effect } from "../core/backend/capture.ts";

/** What a metric has gathered of one kind; a metric consists of one or more of them. */
export interface Accumulator {
  /** How many numbers it is saved as; null where that grows. */
  readonly length: number | null;
  /** The numbers to save. What is asked for at once is of one moment. */
  read(): Promise<ArrayLike<number>>;
  /** Forgets everything. */
  reset(): void;
  /** Whether `read` could have given these numbers. */
  accepts(values: readonly number[]): boolean;
  /** Becomes what gave these numbers. */
  load(values: ArrayLike<number>): void;
  /** Takes in what gave these numbers. */
  absorb(values: ArrayLike<number>): void;
}

/** A sum of numbers that the host knows; captured steps repeat its additions. */
export class HostSum implements Accumulator {
  /** Saved as one number. */
  readonly length = 1;
  #whole: boolean;
  #value = 0;

  /**
   * A sum of nothing.
   *
   * @param kind whether it counts, so that it must be a whole number
   */
  constructor(kind: "count" | "number" = "count") {
    this.#whole = kind === "count";
  }

  /** Adds a number. */
  add(value: number): void {
    effect(() => void (this.#value += value), () => void (this.#value -= value));
  }

  /** The sum so far. */
  get value(): number {
    return this.#value;
  }

  /** The sum. */
  read(): Promise<readonly number[]> {
    return Promise.resolve([this.#value]);
  }

  /** Sets it to 0. */
  reset(): void {
    this.#value = 0;
  }

  /** Whether it is one number, a whole one from 0 if this counts. */
  accepts([value]: readonly number[]): boolean {
    return !this.#whole || (Number.isSafeInteger(value) && value >= 0);
  }

  /** Sets it to another sum. */
  load(values: ArrayLike<number>): void {
    this.#value = values[0];
  }

  /** Adds another sum. */
  absorb(values: ArrayLike<number>): void {
    this.#value += values[0];
  }
}

/** Numbers as JSON values: words for NaN and infinities. */
export type SavedSum = readonly (number | string)[];

/** Numbers as JSON values. */
export function savedNumbers(values: ArrayLike<number>): (number | string)[] {
  return Array.from(values, (value) => Number.isFinite(value) ? value : String(value));
}

/** Numbers from JSON values, or null where there is something else among them. */
export function numbersOf(saved: unknown): number[] | null {
  if (!Array.isArray(saved)) return null;
  const values = saved.map((value) =>
    typeof value === "number" ? value : words.includes(value) ? Number(value) : null
  );
  return values.includes(null) ? null : values as number[];
}

const words: readonly unknown[] = ["NaN", "Infinity", "-Infinity"];

/** A JSON value in at most about 80 letters, for errors. */
export function showJson(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
