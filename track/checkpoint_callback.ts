/** Saves checkpoints of a training run, and goes on from them. */

import type {
  Callback,
  Context,
  EngineEndEvent,
  EngineEvent,
  EngineStartEvent,
  EpochEndEvent,
  Phase,
  StepEndEvent,
  Subscription,
} from "../core/mod.ts";
import type { CheckpointContent } from "./checkpoint_file.ts";
import { bestRuleOf, checkCheckpointOptions, checkHasLoader } from "./checkpoint_options.ts";
import type { CheckpointedEngine, CheckpointOptions } from "./checkpoint_options.ts";
import type { CheckpointEntry } from "./checkpoint_record.ts";
import type { CheckpointStore, SaveOptions, WhichCheckpoint } from "./checkpoint_store.ts";
import { CheckpointError } from "./errors.ts";
import { describeValue } from "./json_values.ts";
import type { WithStateDict } from "./training_parts.ts";
import {
  captureTraining,
  restoreTraining,
  type ResumableModel,
  type TrainingParts,
} from "./training_state.ts";

/**
 * Saves everything that a run needs to go on to the bit, and goes on from there.
 *
 * **What is promised.** A run that was stopped or killed after any step, and resumed in a new
 * process, ends with the bits of one that never stopped: weights, states, metrics, and the scalars
 * of a `TrackingCallback`. For that, build everything anew as before, call `resume`, and call `loop`
 * with what is left: `maxEpochs: epochs - trainer.state.epoch`. The loader must be among `parts`,
 * and so must a loss scaler, a gradient accumulator, and augmentations that count their draws.
 * Model and optimizer come from the engine's context; callbacks bring their own states and parts,
 * such as averages of buffers (`EmaCallback`) and the best weights (`EarlyStoppingCallback`).
 *
 * **What is not promised.** Another device, driver, or version of the library computes other bits,
 * though it reads the checkpoint. Not saved are handlers of `engine.on` with filters that fire once
 * or look at seconds or at calls of `loop`, what a program changes by itself as it goes on (frozen
 * parameters, groups added to an optimizer, variables of a step function), and what a data set reads
 * that is not the same every time. Handlers of "epochStart" do not run again for an epoch that is
 * resumed in its middle. A schedule takes its length from the limits of the running loop: where the
 * stopped loop had another limit, give the schedule its `total`. The reference device computes in
 * double precision, which files round to f32. All of a run must lie on one device.
 *
 * **Epochs that are cut short** by `stop`, a signal or a limit: the checkpoint at the end of such a
 * loop is that of its last step, whatever the handlers of "epochEnd" do, so that it goes on in the
 * midst of the epoch. Only the values by which checkpoints are compared are those of the moment.
 * Those that an epoch finds when it starts belong to checkpoints before it, and never make one
 * within it the best.
 *
 * A checkpoint that is refused leaves the run as it was.
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
 *   const trainer = new Engine(
 *     supervisedStep(),
 *     new Context({ model, optimizer, lossFn: mseLoss, device }),
 *     { callbacks: [new CheckpointCallback(new CheckpointStore(dir))] },
 *   );
 *   return { model, trainer };
 * };
 *
 * const first = setUp();
 * await first.trainer.loop([batch], { maxEpochs: 3 });
 *
 * const second = setUp();
 * await second.trainer.resume();
 * assertEquals(second.trainer.state.epoch, 3);
 * assertEquals(await second.model.weight.array(), await first.model.weight.array());
 * await second.trainer.loop([batch], { maxEpochs: 5 - second.trainer.state.epoch });
 * ```
 *
 * @example Keep the two best by a metric that knows what is better, and the last
 * ```ts
 * import { Context, Engine, getDevice, SGD, supervisedStep, tensor } from "@legoml/legoml/core";
 * import { MeanLoss, MetricsCallback } from "@legoml/legoml/metrics";
 * import { Linear, mseLoss } from "@legoml/legoml/nn";
 * import { CheckpointCallback, CheckpointStore } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const device = await getDevice({ kind: "cpu" });
 * const batch = { inputs: tensor([[1], [2]], { device }), targets: tensor([[3], [5]], { device }) };
 * const model = new Linear(1, 1, { device });
 * const optimizer = new SGD(model.parameters(), { lr: 0.1 });
 * const store = new CheckpointStore(await Deno.makeTempDir(), { last: 1 });
 * const trainer = new Engine(
 *   supervisedStep(),
 *   new Context({ model, optimizer, lossFn: mseLoss, device }),
 *   {
 *     callbacks: [
 *       new MetricsCallback([new MeanLoss()]),
 *       new CheckpointCallback(store, { best: { monitor: "loss", keep: 2 } }),
 *     ],
 *   },
 * );
 * await trainer.loop([batch], { maxEpochs: 4 });
 * assertEquals((await store.load("best")).entry.step, 4);
 * assertEquals((await store.entries()).map(({ step }) => step), [3, 4]);
 * ```
 */
export class CheckpointCallback implements Callback {
  /** How errors, plans and saved states call it. */
  readonly name: string = "CheckpointCallback";
  /** After evaluation and decisions, so that a checkpoint knows of both. */
  readonly phase: Phase = "persist";
  /** Where checkpoints lie. */
  readonly store: CheckpointStore;
  readonly #options: CheckpointOptions;
  readonly #now: () => number;
  #savedAt = 0;
  #savedStep = -1;
  /** The metrics that the running epoch found when it started. */
  #found: Readonly<Record<string, number>> = {};
  /** What the last step of an epoch that was cut short has left. */
  #cut: CheckpointContent | null = null;
  #onCut: Subscription | null = null;

  /**
   * Takes the store and the times.
   *
   * @param store where checkpoints lie, and how many are kept
   * @param options everySteps, everyEpochs, everySeconds, atEnd, best, parts
   * @throws {RangeError} if a number is none of its range
   * @throws {TypeError} if `best` names no metric or no direction
   */
  constructor(store: CheckpointStore, options: CheckpointOptions = {}) {
    checkCheckpointOptions(options);
    const { everySteps = null, everyEpochs = 1, everySeconds = null, atEnd = true } = options;
    this.store = store;
    this.#options = { ...options, everySteps, everyEpochs, everySeconds, atEnd };
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * Saves a checkpoint now. Call it between steps: in a handler, or where the engine is idle.
   *
   * @param engine the engine that this callback belongs to
   * @param options whether it is kept for ever, labels
   * @returns what the index says of it
   * @throws {TypeError} naming the part, or the path of the state, that cannot be stored
   * @throws {CheckpointError} if it cannot be written; the checkpoints that were there still are
   */
  async save(engine: CheckpointedEngine, options: SaveOptions = {}): Promise<CheckpointEntry> {
    return await this.#store(await captureTraining(this.#partsOf(engine)), engine, options);
  }

  /**
   * Goes on from a checkpoint: puts everything back into the engine, its model and its optimizer, and the
   * other parts. Call it before `loop`. Where it fails, all of them are as they were.
   *
   * @param engine the engine that this callback belongs to, made anew
   * @param which the checkpoint
   * @param store where it lies, such as the folder of an earlier run; by default that of this callback
   * @returns what is known of it, or null where there is none
   * @throws {CheckpointError} if none is sound
   * @throws {TypeError} if it is of a run of other parts
   * @throws {Error} if the engine runs, or a part does not take its state
   */
  async resume(
    engine: CheckpointedEngine,
    which: WhichCheckpoint = "last",
    store: CheckpointStore = this.store,
  ): Promise<CheckpointEntry | null> {
    if (which === "best") this.#tellBest(engine, store);
    const found = await store.load(which).catch((error: unknown) => {
      if (error instanceof CheckpointError && error.reason === "absent") return null;
      throw error;
    });
    if (found === null) return null;
    await restoreTraining(this.#partsOf(engine), found);
    if (store === this.store) this.#savedStep = found.entry.step;
    return found.entry;
  }

  /** Finds what is best, checks that the loader is saved, and watches for an epoch that is cut short. */
  onEngineStart({ engine, loader }: EngineStartEvent): void {
    checkHasLoader(loader, this.#options.parts ?? {});
    this.#tellBest(engine, this.store);
    this.#savedAt = this.#now();
    this.#onCut = engine.on("epochEnd", (event) => this.#keepCut(event), {
      phase: "metrics",
      name: `${this.name}, of an epoch that is cut short`,
    });
  }

  /** Notes the metrics of earlier epochs. */
  onEpochStart({ state }: EngineEvent): void {
    this.#found = { ...state.metrics };
  }

  /** Saves where the number of steps or the time says so. */
  async onStepEnd({ engine, state }: StepEndEvent): Promise<void> {
    const { everySteps, everySeconds } = this.#options;
    const due = everySteps != null && state.globalStep % everySteps === 0;
    const late = everySeconds != null && this.#now() - this.#savedAt >= 1000 * everySeconds;
    if (due || late) await this.save(engine);
  }

  /** Saves where the number of epochs says so. */
  async onEpochEnd({ engine, state, complete }: EpochEndEvent): Promise<void> {
    const { everyEpochs } = this.#options;
    if (!complete) return;
    this.#found = {};
    if (everyEpochs != null && state.epoch % everyEpochs === 0) await this.save(engine);
  }

  /** Saves what has not been saved yet, unless something failed. */
  async onEngineEnd({ engine, state, reason }: EngineEndEvent): Promise<void> {
    const cut = this.#cut;
    this.#cut = null;
    this.#onCut?.remove();
    const { atEnd } = this.#options;
    if (!atEnd || reason === "failed" || state.globalStep === this.#savedStep) return;
    if (cut?.step === state.globalStep) await this.#store(cut, engine);
    else await this.save(engine);
  }

  /** The metrics that do not belong to checkpoints of the running epoch. */
  state(): unknown {
    const words = (value: number) => Number.isFinite(value) ? value : String(value);
    return { found: Object.entries(this.#found).map(([name, value]) => [name, words(value)]) };
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  load(state: unknown): void {
    const { found } = (state ?? {}) as { found?: unknown };
    const isMetric = (item: unknown) =>
      Array.isArray(item) && typeof item[0] === "string" &&
      ["number", "string"].includes(typeof item[1]);
    if (!Array.isArray(found) || !found.every(isMetric)) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected a list of metrics, found ` +
          describeValue(found),
      );
    }
    this.#found = Object.fromEntries(found.map(([name, value]) => [name, Number(value)]));
  }

  /** Keeps what the last step has left, before other handlers go on, as evaluations do. */
  async #keepCut({ engine, state, complete }: EpochEndEvent): Promise<void> {
    if (complete || !this.#options.atEnd || state.globalStep === this.#savedStep) return;
    this.#cut = await captureTraining(this.#partsOf(engine));
  }

  async #store(
    content: CheckpointContent,
    { state }: CheckpointedEngine,
    options: SaveOptions = {},
  ): Promise<CheckpointEntry> {
    const own = Object.entries(state.metrics).filter(([name, value]) =>
      !Object.is(this.#found[name], value)
    );
    const entry = await this.store.save({ ...content, metrics: Object.fromEntries(own) }, options);
    this.#savedAt = this.#now();
    this.#savedStep = content.step;
    return entry;
  }

  #tellBest(engine: CheckpointedEngine, store: CheckpointStore): void {
    const { best } = this.#options;
    if (best !== undefined) store.setBest(bestRuleOf(best, engine));
  }

  #partsOf(engine: CheckpointedEngine): TrainingParts {
    const { model, optimizer } = engine.context as Context<
      ResumableModel,
      WithStateDict | undefined
    >;
    if (typeof model?.stateDict !== "function" || typeof model.namedModules !== "function") {
      throw new TypeError(
        "Cannot save a checkpoint: expected the context's model to be a module, found " +
          describeValue(model),
      );
    }
    const { parts } = this.#options;
    return { engine, model, parts: optimizer === undefined ? parts : { optimizer, ...parts } };
  }
}
