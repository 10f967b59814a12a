/** Saves checkpoints of a training run, and goes on from them. */

import type {
  Callback,
  Context,
  EngineEndEvent,
  EngineEvent,
  EpochEndEvent,
  Phase,
  StepEndEvent,
} from "../core/mod.ts";
import { CheckpointError } from "./errors.ts";
import type { CheckpointEntry } from "./checkpoint_record.ts";
import type { CheckpointStore, WhichCheckpoint } from "./checkpoint_store.ts";
import {
  captureTraining,
  restoreTraining,
  type ResumableEngine,
  type ResumableModel,
  type TrainingParts,
  type WithStateDict,
} from "./training_state.ts";

/** When checkpoints are saved, and what they hold beside model and optimizer. */
export interface CheckpointOptions {
  /**
   * All else that changes while the run goes on: loader, loss scaler, accumulator, averages,
   * augmentation. Model and optimizer come from the engine's context.
   */
  readonly parts?: TrainingParts["parts"];
  /** Save whenever so many steps are complete. @default {null, not by steps} */
  readonly everySteps?: number | null;
  /** Save whenever so many epochs are complete. @default {1} */
  readonly everyEpochs?: number | null;
  /** Save at the end of a step when so many seconds have passed. @default {null, not by time} */
  readonly everySeconds?: number | null;
  /**
   * Save when the loop ends, also where a signal or `stop` ended it, but not after an error.
   * @default {true}
   */
  readonly atEnd?: boolean;
  /** The time in milliseconds. */
  readonly now?: () => number;
}

/** An engine with a context, as the callback needs it. */
export type CheckpointedEngine = ResumableEngine & { readonly context: Context };

/**
 * Saves everything that a run needs to go on to the bit, and goes on from there.
 *
 * A resumed run gives the bits of one that never stopped, on the same device and version: build all
 * parts anew as before, call `resume`, and call `loop` with the same limits in sum. Handlers of
 * "epochStart" do not run again for an epoch that is resumed in its middle.
 *
 * @example Train, stop, and go on
 * ```ts
 * import { Context, Engine, getDevice, SGD, supervisedStep, tensor } from "@legoml/legoml/core";
 * import { Linear, mseLoss } from "@legoml/legoml/nn";
 * import { CheckpointCallback, CheckpointStore } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const device = await getDevice({ kind: "cpu" });
 * const batch = { inputs: tensor([[1], [2]], { device }), targets: tensor([[3], [5]], { device }) };
 * const setUp = () => {
 *   const model = new Linear(1, 1, { device });
 *   const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 *   const checkpoints = new CheckpointCallback(new CheckpointStore(dir));
 *   const trainer = new Engine(
 *     supervisedStep(),
 *     new Context({ model, optimizer, lossFn: mseLoss, device }),
 *     { callbacks: [checkpoints] },
 *   );
 *   return { model, trainer, checkpoints };
 * };
 *
 * const first = setUp();
 * await first.trainer.loop([batch], { maxEpochs: 3 });
 *
 * const second = setUp();
 * const entry = await second.checkpoints.resume(second.trainer);
 * assertEquals(entry?.step, 3);
 * assertEquals(await second.model.weight.array(), await first.model.weight.array());
 * await second.trainer.loop([batch], { maxEpochs: 2 });
 * ```
 */
export class CheckpointCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "CheckpointCallback";
  /** After evaluation and decisions, so that a checkpoint knows of both. */
  readonly phase: Phase = "persist";
  /** Where checkpoints lie. */
  readonly store: CheckpointStore;
  readonly #options: CheckpointOptions;
  readonly #now: () => number;
  #savedAt = 0;
  #savedStep = -1;

  /**
   * Takes the store and the times.
   *
   * @param store where checkpoints lie, and how many are kept
   * @param options everySteps, everyEpochs, everySeconds, atEnd, parts
   * @throws {RangeError} if a number is none of its range
   */
  constructor(store: CheckpointStore, options: CheckpointOptions = {}) {
    const { everySteps = null, everyEpochs = 1, everySeconds = null } = options;
    for (const [name, n] of Object.entries({ everySteps, everyEpochs })) {
      if (n === null || (Number.isSafeInteger(n) && n >= 1)) continue;
      throw new RangeError(
        `Cannot make CheckpointCallback with ${name} ${n}: expected an integer of at least 1, or null`,
      );
    }
    if (everySeconds !== null && !(everySeconds > 0)) {
      throw new RangeError(
        `Cannot make CheckpointCallback with everySeconds ${everySeconds}: expected a number above 0, ` +
          "or null",
      );
    }
    this.store = store;
    this.#options = { ...options, everySteps, everyEpochs, everySeconds };
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * Goes on from a checkpoint: puts everything back into the engine, its model and its optimizer, and the
   * other parts. Call it before `loop`.
   *
   * @param engine the engine that this callback belongs to, made anew
   * @param which the checkpoint
   * @param store where it lies, such as the folder of an earlier run; by default that of this callback
   * @returns what is known of it, or null where there is none
   * @throws {CheckpointError} if none is sound
   * @throws {TypeError} if it is of a run of other parts
   */
  async resume(
    engine: CheckpointedEngine,
    which: WhichCheckpoint = "last",
    store: CheckpointStore = this.store,
  ): Promise<CheckpointEntry | null> {
    const found = await store.load(which).catch((error: unknown) => {
      if (error instanceof CheckpointError && error.reason === "absent") return null;
      throw error;
    });
    if (found === null) return null;
    await restoreTraining(this.#partsOf(engine), found);
    if (store === this.store) this.#savedStep = found.entry.step;
    return found.entry;
  }

  /** Starts the clock. */
  onEngineStart(): void {
    this.#savedAt = this.#now();
  }

  /** Saves where the number of steps, or the time, says so. */
  async onStepEnd({ engine, state }: StepEndEvent): Promise<void> {
    const { everySteps, everySeconds } = this.#options;
    const due = everySteps != null && state.globalStep % everySteps === 0;
    const late = everySeconds != null && this.#now() - this.#savedAt >= 1000 * everySeconds;
    if (due || late) await this.#save(engine);
  }

  /** Saves where the number of epochs says so. */
  async onEpochEnd({ engine, state, complete }: EpochEndEvent): Promise<void> {
    const { everyEpochs } = this.#options;
    if (complete && everyEpochs != null && state.epoch % everyEpochs === 0) {
      await this.#save(engine);
    }
  }

  /** Saves what has not been saved yet, unless something failed. */
  async onEngineEnd({ engine, state, reason }: EngineEndEvent): Promise<void> {
    const { atEnd = true } = this.#options;
    if (atEnd && reason !== "failed" && state.globalStep !== this.#savedStep) {
      await this.#save(engine);
    }
  }

  async #save(engine: EngineEvent["engine"]): Promise<void> {
    const content = await captureTraining(this.#partsOf(engine));
    await this.store.save(content);
    this.#savedAt = this.#now();
    this.#savedStep = content.step;
  }

  #partsOf(engine: CheckpointedEngine): TrainingParts {
    const { model, optimizer } = engine.context as Context<
      ResumableModel,
      WithStateDict | undefined
    >;
    if (typeof model?.stateDict !== "function" || typeof model.namedModules !== "function") {
      throw new TypeError(
        "Cannot save a checkpoint: expected the context's model to be a module",
      );
    }
    const { parts } = this.#options;
    return { engine, model, parts: optimizer === undefined ? parts : { optimizer, ...parts } };
  }
}
