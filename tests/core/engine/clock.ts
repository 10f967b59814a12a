/** A clock that tests move by hand, in the place of `performance.now()`. */

/** Replaces the clock until it is disposed. */
export class HandClock implements Disposable {
  #now = 1000;
  readonly #real = performance.now;

  constructor() {
    performance.now = () => this.#now;
  }

  /** Lets so many seconds pass. */
  pass(seconds: number): void {
    this.#now += 1000 * seconds;
  }

  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}
