/** Watches the numbers of a training, says where they went bad, and stops, skips or goes back. */

import type {
  Callback,
  EngineEvent,
  EngineStartEvent,
  EpochEndEvent,
  Phase,
  StepEndEvent,
  Subscription,
} from "../core/engine/mod.ts";
import { clipGradNorm, Optimizer, type Tensor } from "../core/mod.ts";
import { placeOf } from "../core/optim/arena.ts";
import { noticed, type NumericFault, NumericFaultError, warn } from "./guard_fault.ts";
import { type HeldStep, holdStep, releaseStep } from "./guard_held.ts";
import {
  badParameters,
  checkGuardOptions,
  type GuardedModel,
  guardedParts,
  type GuardPolicy,
  type NumericGuardOptions,
  partsOfCallbacks,
} from "./guard_options.ts";
import { type GuardedParts, GuardSnapshot } from "./guard_snapshot.ts";
import { SpikeWindow } from "./guard_spike.ts";
import { type Noticed, traceFault } from "./guard_trace.ts";
import { allFinite } from "./guard_values.ts";
import { restoreTraining } from "./training_state.ts";

interface SavedState {
  readonly faults: number;
  readonly rollbacks: number;
  readonly lrScale: number;
  readonly losses: readonly number[];
}

/**
 * Watches losses, gradients and weights for NaN, infinities and, where asked for, spikes.
 *
 * Losses stay on the device until it looks, at every so many steps, with one wait for all of them. On
 * a fault it runs the steps since the last look again from the state that they began with, with every
 * value looked at, and names the first layer whose output is bad, or, where all outputs are finite,
 * whose gradient is; with the parameter, the step, the samples, and how bad. Then, by policy:
 *
 * - "stop": throws a `NumericFaultError`, so that the loop fails and nothing is saved at its end.
 * - "skip": looks after every step, and undoes a bad one: model, optimizer, `parts` and draws of random
 *   numbers are to the bit as if the batch had not been there. Counters and the metrics of the
 *   epoch have seen it.
 * - "rollback": model, optimizer and parts go back to the last look that found nothing, or to the last
 *   checkpoint of `store`. The loader goes on behind the bad batch: the same weights and the same data
 *   would give the same fault again (as in the training of PaLM, Chowdhery et al. 2022, section 5.1).
 *   Schedules go on as well; `lrFactor` multiplies what they set.
 * - "report": tells, and goes on; for optimizers with `skipNonFinite`, which skip such steps without any wait.
 *
 * Register it before callbacks that average weights. Counts, the factor of learning rates and the
 * losses for spikes are saved; steps between the last look and a checkpoint are not looked at again
 * when a run is resumed.
 *
 * @example The layer that overflows is named
 * ```ts
 * import { Context, Engine, referenceDevice, SGD, supervisedStep, tensor } from "@legoml/legoml/core";
 * import { Linear, mseLoss, Sequential } from "@legoml/legoml/nn";
 * import { NumericFaultError, NumericGuardCallback } from "@legoml/legoml/track";
 * import { assert, assertRejects } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Sequential(new Linear(1, 2, { device }), new Linear(2, 1, { device }));
 * const optimizer = new SGD(model.parameters(), { lr: 0.1 });
 * const context = new Context({ model, optimizer, lossFn: mseLoss, device });
 * const engine = new Engine(supervisedStep(), context, { callbacks: [new NumericGuardCallback()] });
 * const batch = { inputs: tensor([[1], [NaN], [3]], { device }), targets: tensor([[1], [2], [3]], { device }) };
 * const { message, fault } = await assertRejects(() => engine.loop([batch]), NumericFaultError);
 * assert(message.includes('the batch itself is bad: in "inputs" 1 of 3 values'));
 * assert(fault.origin?.where === "data" && fault.origin.samples[0] === 1);
 * ```
 */
export class NumericGuardCallback implements Callback {
  /** How errors, plans and saved states call it. */
  readonly name: string = "NumericGuardCallback";
  /** Before all others, so that they see what it has mended. */
  readonly phase: Phase = "metrics";
  readonly #options: NumericGuardOptions;
  readonly #policy: GuardPolicy;
  readonly #every: number;
  readonly #spikes: SpikeWindow | null;
  #held: HeldStep[] = [];
  #good: GuardSnapshot | null = null;
  /** Model, optimizer and the parts of the options, as checkpoints name them. */
  #named: GuardedParts & { readonly model: GuardedModel } | null = null;
  /** All of them, and what callbacks bring along. */
  #guarded: GuardedParts | null = null;
  #optimizer: Optimizer | null = null;
  #skips = 0;
  #faults = 0;
  #rollbacks = 0;
  #lrScale = 1;
  #plainLrs: number[] | null = null;
  #marks: Subscription[] = [];
  #latest: NumericFault | null = null;

  /**
   * Makes the callback.
   *
   * @param options policy, how often to look, spikes, what is guarded
   * @throws {RangeError} if a number is out of its range, or "skip" shall look less than at every step
   * @throws {TypeError} if the policy is none
   */
  constructor(options: NumericGuardOptions = {}) {
    const { policy = "stop", spike = null } = options;
    checkGuardOptions(options);
    this.#options = { ...options };
    this.#policy = policy;
    this.#every = options.every ?? (policy === "skip" ? 1 : 10);
    this.#spikes = spike === null ? null : new SpikeWindow(spike);
  }

  /** The latest fault; null where there was none. */
  get fault(): NumericFault | null {
    return this.#latest;
  }

  /** How many faults there were. */
  get faults(): number {
    return this.#faults;
  }

  /** How often it went back. */
  get rollbacks(): number {
    return this.#rollbacks;
  }

  /**
   * Takes the state to which it could go back.
   *
   * @throws {TypeError} if the context's model is no module
   * @throws {NumericFaultError} if weights are bad before the first step
   */
  async onEngineStart({ engine, context, state }: EngineStartEvent): Promise<void> {
    const { optimizer } = context;
    this.#named = guardedParts(context, this.#options);
    const parts = { ...this.#named.parts, ...partsOfCallbacks(engine.callbacks) };
    this.#guarded = { model: this.#named.model, parts };
    this.#optimizer = optimizer instanceof Optimizer ? optimizer : null;
    this.#skips = await this.#optimizer?.skippedSteps?.item() ?? 0;
    const bad = await beginningFault(this.#named.model, state);
    if (bad !== null) throw this.#tell(bad);
    if (this.#lrFactor !== 1) {
      this.#marks = [
        engine.on("stepStart", () => this.#scaleRates(), { phase: "display", name: this.name }),
        engine.on("stepEnd", () => this.#plainRates(), { phase: "decide", name: this.name }),
      ];
    }
    this.#remember();
  }

  /** Holds the step, and looks when it is time. */
  onStepEnd(event: StepEndEvent): void | Promise<void> {
    this.#held.push(holdStep(event, this.#optimizer, this.#traces));
    if (event.state.globalStep % this.#every === 0) return this.#look(event);
  }

  /** Looks at the rest of the epoch, before anything is saved. */
  onEpochEnd(event: EpochEndEvent): void | Promise<void> {
    if (this.#held.length > 0) return this.#look(event);
  }

  /** Gives the memory back. */
  onEngineEnd(): void {
    this.#plainRates();
    for (const mark of this.#marks.splice(0)) mark.remove();
    this.#held.splice(0).forEach(releaseStep);
    this.#good?.dispose();
    this.#good = null;
  }

  /** Counts, the factor of learning rates, and the losses that spikes are told by. */
  state(): unknown {
    const saved: SavedState = {
      faults: this.#faults,
      rollbacks: this.#rollbacks,
      lrScale: this.#lrScale,
      losses: [...this.#spikes?.values ?? []],
    };
    return saved;
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  load(state: unknown): void {
    const { faults, rollbacks, lrScale, losses } = (state ?? {}) as Partial<SavedState>;
    const counts = [faults, rollbacks].every((n) => Number.isSafeInteger(n) && n! >= 0);
    const listed = Array.isArray(losses) && losses.every((loss) => Number.isFinite(loss));
    if (!counts || !listed || !(typeof lrScale === "number" && lrScale > 0)) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected faults, rollbacks, lrScale and losses, found ` +
          JSON.stringify(state),
      );
    }
    [this.#faults, this.#rollbacks, this.#lrScale] = [faults!, rollbacks!, lrScale];
    if (this.#spikes !== null) this.#spikes.values = losses;
  }

  get #lrFactor(): number {
    return this.#policy === "rollback" ? this.#options.lrFactor ?? 1 : 1;
  }

  /** Whether the next fault is traced. */
  get #traces(): boolean {
    return this.#faults < (this.#options.traces ?? 3);
  }

  async #look(event: EngineEvent): Promise<void> {
    const held = this.#held;
    this.#held = [];
    try {
      const found = await this.#notice(held);
      if (found === null) this.#remember();
      else await this.#deal(found, held, event);
    } finally {
      held.forEach(releaseStep);
    }
  }

  /** Reads what has gathered, in one wait; gives the first fault. */
  async #notice(held: readonly HeldStep[]): Promise<Noticed | null> {
    const losses = held.map(({ loss }) => typeof loss === "object" ? loss?.item() : loss);
    const [values, norm, skipped, sound] = await Promise.all([
      Promise.all(losses),
      this.#gradNorm()?.item(),
      this.#optimizer?.skippedSteps?.item(),
      this.#weightsFinite()?.item(),
    ]);
    const isNew = skipped !== undefined && skipped > this.#skips;
    this.#skips = skipped ?? 0;
    for (const [i, step] of held.entries()) {
      const loss = values[i] ?? null;
      if (loss === null) continue;
      if (!Number.isFinite(loss)) return { kind: "loss", step, loss };
      const limit = this.#spikes?.limit ?? Infinity;
      if (loss > limit) return { kind: "spike", step, loss, limit };
      this.#spikes?.add(loss);
    }
    const last = { step: held.at(-1)!, loss: values.at(-1) ?? null };
    const watches = this.#options.gradients ?? true;
    if (watches && (isNew || (norm !== undefined && !Number.isFinite(norm)))) {
      return { kind: "gradient", ...last };
    }
    return sound === 0 ? { kind: "weights", ...last } : null;
  }

  /** Names the origin, tells of it, and does what the policy says. */
  async #deal(found: Noticed, held: readonly HeldStep[], event: EngineEvent): Promise<void> {
    const { context } = event;
    const { forward = null } = this.#options;
    const [before, parts] = [this.#good, this.#guarded!];
    const fault = await traceFault(
      found,
      held,
      !this.#traces || before === null
        ? null
        : { context, parts, optimizer: this.#optimizer, before, forward },
    );
    const error = this.#tell(fault);
    const tooMany = this.#rollbacks >= (this.#options.maxRollbacks ?? 3);
    if (this.#policy === "stop") throw error;
    if (this.#policy === "rollback" && tooMany) {
      const words = `${fault.message} (after ${this.#rollbacks} rollbacks)`;
      throw new NumericFaultError(words, fault);
    }
    if (this.#policy === "skip") await this.#withRates(() => this.#good!.restore());
    if (this.#policy === "rollback") await this.#goBack(event);
    this.#skips = await this.#optimizer?.skippedSteps?.item() ?? 0;
    warn(`${fault.message}; ${this.#done()}`);
  }

  /** Counts a fault, and logs it; gives the error that it may become. */
  #tell(fault: NumericFault): NumericFaultError {
    this.#faults++;
    this.#latest = fault;
    const { origin, sampleIds, ...rest } = fault;
    this.#options.session?.logEvent("numericFault", {
      ...rest,
      policy: this.#policy,
      origin: origin === null ? null : { ...origin, sampleIds },
    });
    return new NumericFaultError(fault.message, fault);
  }

  /** Puts the last good state back, and lowers the learning rates. */
  async #goBack({ engine, state }: EngineEvent): Promise<void> {
    const { store } = this.#options;
    await this.#withRates(async () => {
      if (store === undefined) return await this.#good!.restore();
      // The engine runs on with its counters, so it is not given those of the checkpoint.
      const host = {
        state,
        callbacks: engine.callbacks,
        snapshot: () => engine.snapshot(),
        restore: () => Promise.resolve(),
      };
      await restoreTraining({ engine: host, ...this.#named! }, await store.load());
    });
    if (store !== undefined) this.#remember();
    this.#rollbacks++;
    this.#lrScale *= this.#lrFactor;
  }

  /** Puts a state back, and leaves the learning rates as they are, since schedules go on. */
  async #withRates(restore: () => Promise<void>): Promise<void> {
    this.#plainRates();
    const lrs = this.#optimizer?.groups.map(({ lr }) => lr);
    await restore();
    lrs?.forEach((lr, i) => this.#optimizer!.groups[i].lr = lr);
  }

  #done(): string {
    if (this.#policy === "report") return "the run goes on";
    if (this.#policy === "skip") return "the step was undone";
    const scale = this.#lrScale === 1 ? "" : `, with learning rates times ${this.#lrScale}`;
    return `the run went back to the last good state${scale}`;
  }

  #remember(): void {
    const keeps = this.#policy === "skip" || this.#policy === "rollback" || this.#traces;
    this.#good?.dispose();
    this.#good = keeps ? new GuardSnapshot(this.#guarded!) : null;
  }

  #gradNorm(): Tensor | null {
    if (this.#optimizer === null || this.#options.gradients === false) return null;
    const { gradNorm, groups } = this.#optimizer;
    return gradNorm ?? clipGradNorm(groups.flatMap(({ params }) => params), Infinity);
  }

  #weightsFinite(): Tensor | null {
    const parameters = this.#optimizer?.groups.flatMap(({ params }) => params) ?? [];
    const flats = new Set(parameters.map((p) => placeOf(p)?.arena.values ?? p));
    return flats.size === 0 ? null : allFinite([...flats]);
  }

  #scaleRates(): void {
    const groups = this.#optimizer?.groups ?? [];
    this.#plainLrs = groups.map(({ lr }) => lr);
    for (const group of groups) group.lr *= this.#lrScale;
  }

  /** What is set between steps is without the factor, so that a schedule and checkpoints know nothing of it. */
  #plainRates(): void {
    this.#plainLrs?.forEach((lr, i) => this.#optimizer!.groups[i].lr = lr);
    this.#plainLrs = null;
  }
}

/** Weights that are bad already. */
async function beginningFault(
  model: GuardedModel,
  { globalStep, current }: EngineEvent["state"],
): Promise<NumericFault | null> {
  const bad = await badParameters(model);
  if (bad.length === 0) return null;
  const { epoch } = current;
  const plain = { kind: "weights", step: globalStep, epoch, loss: null, origin: null } as const;
  const fault = { ...plain, reproduced: true, sampleIds: [] };
  const names = bad.map((name) => `"${name}"`).join(", ");
  return { ...fault, message: `${noticed(fault)}: those of ${names}` };
}
