/** Comparison of replays with the same step run op by op. */

import type { HostArray } from "../backend/backend.ts";
import type { Storage } from "../backend/device.ts";
import { ReplayMismatchError } from "../errors.ts";
import type { Program } from "../program/program.ts";
import { copyInto, copyOf } from "./in_place.ts";
import { tensorsIn } from "./structure.ts";
import { noGrad } from "./tape.ts";
import { Tensor } from "./tensor.ts";

/** Runs both ways and compares everything that they change or return, bit for bit but for NaN. */
export class Verification {
  #left: number;
  #failure: ReplayMismatchError | null = null;
  #pending: Promise<void>[] = [];

  /** @param count how many replays are compared */
  constructor(count: number) {
    this.#left = count;
  }

  /** True once enough replays were compared. */
  get isOver(): boolean {
    return this.#left === 0;
  }

  /** Fails where a comparison has failed. @throws {ReplayMismatchError} */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Waits for all comparisons. @throws {ReplayMismatchError} if one has failed */
  async done(): Promise<void> {
    await Promise.all(this.#pending.splice(0));
    this.check();
  }

  /**
   * Replays a step, takes its changes back, runs it op by op, and compares later, when the numbers are there.
   *
   * @param changed all memory that the step changes
   * @returns what the replay returned
   */
  compare(
    program: Program,
    changed: readonly Storage[],
    replay: () => unknown,
    eager: () => unknown,
  ): unknown {
    const step = --this.#left;
    const before = changed.map(snapshot);
    const result = replay();
    const replayed = changed.map(snapshot);
    program.undo();
    before.forEach((copy, i) => copyBack(changed[i], copy));
    for (const copy of before) copy.dispose();
    const results = tensorsIn(result);
    using _ = changed[0]?.device.scope();
    const expected = tensorsIn(eager());
    const pairs = [
      ...changed.map((storage, i) => [replayed[i], snapshot(storage)] as const),
      ...expected.map((t, i) => [results[i].alias().keep(), t.alias().keep()] as const),
    ];
    const nameOf = (pair: number, element: number) => {
      const storage: Storage | undefined = changed[pair];
      if (storage === undefined) return `result ${pair - changed.length}, element ${element}`;
      return storage.describe?.(element) ??
        `memory of ${storage.count} elements, element ${element}`;
    };
    this.#pending.push(this.#compareLater(pairs, nameOf, step));
    return result;
  }

  async #compareLater(
    pairs: readonly (readonly [Tensor, Tensor])[],
    nameOf: (pair: number, element: number) => string,
    left: number,
  ): Promise<void> {
    try {
      const values = await Promise.all(pairs.map(([a, b]) => Promise.all([a.data(), b.data()])));
      values.forEach(([a, b], i) => {
        const at = firstDifference(a, b);
        if (at < 0 || this.#failure !== null) return;
        this.#failure = new ReplayMismatchError(
          `Cannot trust the captured step: ${nameOf(i, at)} is ${a[at]} after a replay and ${
            b[at]
          } when the step runs op by op ` +
            `(${left} comparisons left); the step reads something that a replay does not see`,
        );
      });
    } finally {
      for (const [a, b] of pairs) {
        a.dispose();
        b.dispose();
      }
    }
  }
}

/** All of a memory as a tensor. */
function whole(storage: Storage): Tensor {
  storage.handles++;
  return new Tensor(storage, { shape: [storage.count], strides: [1], offset: 0 });
}

function snapshot(storage: Storage): Tensor {
  using _ = storage.device.scope();
  return noGrad(() => copyOf(whole(storage))).keep();
}

function copyBack(storage: Storage, copy: Tensor): void {
  using _ = storage.device.scope();
  noGrad(() => copyInto(whole(storage), copy));
}

/**
 * Index of the first elements with different bits, or -1; all NaN count as one, since which bits
 * they get is up to the device.
 */
export function firstDifference(a: HostArray, b: HostArray): number {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}
