/** Data sets that tests open in workers. */

import { type Dataset, digits, type LabelledItem } from "../../data/mod.ts";

/** What the module shall do. */
export interface ModuleArgs {
  /** Number of digits. */
  readonly count: number;
  /** What goes wrong: opening, item 7, or the whole worker at item 7. */
  readonly fails?: "open" | "item" | "worker" | "length" | "slowly";
}

/** Whether this runs in a worker: there, no window and no main program is. */
const inWorker = !(globalThis.process?.getBuiltinModule?.("node:worker_threads")?.isMainThread);

class Broken implements Dataset<LabelledItem> {
  readonly #digits;
  readonly #fails;

  constructor({ count, fails }: ModuleArgs) {
    this.#digits = digits({ split: "train", count, seed: 1 });
    this.#fails = fails;
  }

  get length(): number {
    return this.#digits.length + (this.#fails === "length" && inWorker ? 1 : 0);
  }

  get(index: number): LabelledItem {
    if (index === 7 && this.#fails === "item") throw new SyntaxError("digit 7 is smudged");
    if (index === 7 && this.#fails === "worker") {
      setTimeout(() => globalThis.reportError(new Error("out of ink")));
    }
    return this.#digits.get(index);
  }
}

/** Opens some digits. */
export default function open(args: ModuleArgs): Dataset<LabelledItem> {
  if (args.fails === "open") throw new RangeError("no digits are left");
  return new Broken(args);
}
