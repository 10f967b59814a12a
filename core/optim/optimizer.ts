/** What all optimizers share: groups, arenas, steps, and the state dict. */

import { effect } from "../backend/capture.ts";
import type { Device } from "../backend/device.ts";
import { copyInto, fillInto } from "../tensor/in_place.ts";
import { noGrad } from "../tensor/tape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { Arena, type ArenaRange, placeOf, planArenas, rangeOperand } from "./arena.ts";
import { AVERAGE, averagesOf, ParameterAverages } from "./ema.ts";
import { type GradientScale, Judge } from "./judge.ts";
import {
  groupOf,
  type GroupOptions,
  needLimit,
  type OptimizerOptions,
  type ParamGroup,
  type ParamState,
  type StepControls,
  type UpdateRule,
  type UpdateSpan,
} from "./options.ts";
import { checkParameters, placeGradient } from "./parameters.ts";
import { StepCounts } from "./step_counts.ts";
import {
  encodeGroup,
  type LoadedState,
  type OptimizerStateDict,
  readStateDict,
} from "./state_dict.ts";
import { recordUpdate, slotView } from "./update.ts";

interface GroupArena<O extends OptimizerOptions> {
  readonly group: ParamGroup<O>;
  readonly arena: Arena;
}

/** What one step takes along. */
export interface StepOptions {
  /**
   * The factor by which the loss was multiplied, as LossScaler.step() hands it over: gradients are
   * divided by it, and a step with a NaN or infinite one is skipped. @default {null}
   */
  readonly scale?: GradientScale | null;
}

/** Neighbours that one kernel call updates. */
interface Update<O extends OptimizerOptions> extends GroupArena<O> {
  readonly range: ArenaRange;
}

/**
 * An optimizer: moves its parameters into flat memory when it is made, and changes them after every
 * backward().
 *
 * Parameters of one group and dtype share an arena, which one kernel call updates (D5). Views and
 * detached handles that were taken of a parameter before keep the old memory, so make the optimizer
 * before them. A parameter whose `grad` is null is skipped: no decay, no momentum, no count.
 *
 * With `maxGradNorm`, `skipNonFinite` or a loss scale, each step is judged on the device first: the
 * norm of all gradients in one pass, the verdict in another; the update reads it. The gradients
 * themselves stay as they are. Nothing is read by the host.
 */
export class Optimizer<O extends OptimizerOptions = OptimizerOptions> implements Disposable {
  readonly #rule: UpdateRule<O>;
  readonly #defaults: O;
  readonly #groups: ParamGroup<O>[] = [];
  readonly #arenas: GroupArena<O>[] = [];
  readonly #states = new Map<Tensor, ParamState>();
  readonly #controls: StepControls;
  readonly #averages: ParameterAverages | null;
  #maxGradNorm: number | null;
  #judge: Judge | null = null;
  /** From the first step on that the device may skip. */
  #counts: StepCounts | null = null;
  #disposed = false;

  /**
   * Moves the parameters into flat memory.
   *
   * @param rule the method
   * @param params leaves of dtype f32 or f16, or groups of them with options of their own
   * @param defaults options of all groups that do not set their own
   * @param controls what the optimizer does beside its method
   * @throws {RangeError} if an option has no meaning, or there are no parameters
   * @throws {TypeError} if a parameter cannot be optimized
   */
  protected constructor(
    rule: UpdateRule<O>,
    params: Iterable<Tensor> | Iterable<GroupOptions<O>>,
    defaults: O,
    controls: StepControls = {},
  ) {
    this.#rule = rule;
    this.#defaults = defaults;
    this.#controls = { ...controls };
    this.#maxGradNorm = controls.maxGradNorm ?? null;
    this.#averages = controls.ema
      ? new ParameterAverages(() => this.#arenas.map(({ arena }) => arena), controls.ema)
      : null;
    const list: (Tensor | GroupOptions<O>)[] = [...params];
    const tensors = list.filter((item) => item instanceof Tensor);
    if (tensors.length > 0 && tensors.length < list.length) {
      throw new TypeError(
        `Cannot make ${rule.name} of tensors and groups at once: expected one or the other`,
      );
    }
    if (list.length === 0) {
      throw new RangeError(`Cannot make ${rule.name} without parameters: expected at least one`);
    }
    const groups = tensors.length > 0 ? [{ params: tensors }] : list;
    this.#add(groups as GroupOptions<O>[]);
  }

  /** The groups; their options may be changed, and count from the next step on. */
  get groups(): readonly ParamGroup<O>[] {
    return this.#groups;
  }

  /** Learning rate of the first group. Setting it sets that of all groups. */
  get lr(): number {
    return this.#groups[0].lr;
  }

  set lr(value: number) {
    this.#rule.check({ ...this.#groups[0], lr: value });
    for (const group of this.#groups) group.lr = value;
  }

  /** Largest norm of all gradients together, or null; may be set, and counts from the next step on. */
  get maxGradNorm(): number | null {
    return this.#maxGradNorm;
  }

  set maxGradNorm(value: number | null) {
    if (value !== null) needLimit(this.#rule.name, value);
    this.#maxGradNorm = value;
  }

  /** Moving averages of the parameters; null without the option `ema`. */
  get ema(): ParameterAverages | null {
    return this.#averages;
  }

  /**
   * The 2-norm of all gradients of the latest step, before clipping and without a loss scale: a
   * scalar that is not read yet, new at each access. Null until a step was judged.
   */
  get gradNorm(): Tensor | null {
    return this.#judge?.norm() ?? null;
  }

  /**
   * How many steps the device has skipped: a scalar of dtype u32 that is not read yet, new at each
   * access. Null until a step was judged.
   */
  get skippedSteps(): Tensor | null {
    return this.#judge?.skipped() ?? null;
  }

  /**
   * Adds parameters with options of their own, as fine-tuning does when it unfreezes layers.
   *
   * @param group parameters that no optimizer holds yet
   * @throws {RangeError} if an option has no meaning
   * @throws {TypeError} if a parameter cannot be optimized
   */
  addParamGroup(group: GroupOptions<O>): void {
    this.#needAlive("add parameters to");
    this.#add([group]);
  }

  /** Forgets all gradients; the next backward() starts them anew. */
  zeroGrad(): void {
    for (const parameter of this.#states.keys()) parameter.grad = null;
  }

  /**
   * Changes every parameter that has a gradient.
   *
   * @param options a loss scale
   * @throws {Error} while averages are in the place of the parameters
   */
  step({ scale = null }: StepOptions = {}): void {
    this.#needAlive("step");
    if (this.#averages?.isApplied) {
      throw new Error(
        `Cannot step ${this.#rule.name}: the averages of its parameters are in their place; ` +
          "swap() them back first",
      );
    }
    for (const group of this.#groups) this.#rule.check(group);
    const skips = scale !== null || (this.#controls.skipNonFinite ?? false);
    if (skips) this.#counts ??= new StepCounts(this.#states.values());
    const stepping = new Set<ParamState>();
    for (const { arena } of this.#arenas) {
      arena.tensors.forEach((parameter) => this.#prepare(parameter, stepping));
    }
    this.#counts?.advance([...stepping]);
    const updates = this.#arenas.flatMap((home) =>
      home.arena.ranges((index) => {
        const state = this.#states.get(home.arena.tensors[index])!;
        return stepping.has(state) ? this.#phase(state) : null;
      }).map((range): Update<O> => ({ ...home, range }))
    );
    const filled = updates.filter(({ range }) => range.count > 0);
    if (this.#isJudged && filled.length > 0) this.#judgeStep(filled, skips, scale);
    for (const update of updates) this.#update(update);
  }

  /**
   * What a checkpoint needs, in PyTorch's structure and with PyTorch's names: steps and slots by
   * the number of the parameter, and the options of the groups. The tensors are views of the living
   * state: read them before the next step. Averages stand under `ema`. Where the device may skip
   * steps, `step` is a scalar of dtype i32, and parameters with equal `history` share its value.
   */
  stateDict(): OptimizerStateDict {
    this.#needAlive("take the state of");
    const state: Record<string, Record<string, number | Tensor>> = {};
    [...this.#states].forEach(([parameter, known], id) => {
      if (known.steps === 0 && known.history === 0 && known.slots.size === 0) return;
      const place = placeOf(parameter)!;
      const group = this.#groupOf(place.arena);
      const entry: Record<string, number | Tensor> = this.#stepEntry(group, parameter, known);
      for (const name of known.slots) entry[name] = slotView(this.#rule, group, place, name);
      if (this.#averages) entry[AVERAGE] = this.#averages.of(parameter);
      if (Object.keys(entry).length > 0) state[id] = entry;
    });
    let next = 0;
    const encode = (group: ParamGroup<O>) =>
      encodeGroup(this.#defaults, group, group.params.map(() => next++));
    return { state, param_groups: this.#groups.map(encode) };
  }

  /**
   * Takes over a state dict of this class, or of PyTorch's optimizer of the same name. All of it is
   * checked first; nothing changes if anything does not fit.
   *
   * @param stateDict as stateDict() gives it, with tensors on the device of the parameters
   * @throws {OptimizerStateError} naming everything that does not fit
   */
  loadStateDict(stateDict: OptimizerStateDict): void {
    this.#needAlive("load the state of");
    // Averages that warm up count steps though the rule may not.
    const extra = this.#averages === null
      ? []
      : [AVERAGE, ...this.#averages.warmup ? ["step"] : []];
    const loaded = readStateDict(stateDict, this.#groups, this.#defaults, this.#rule, extra);
    const steps = [...loaded.states.values()].map((state) => state.step);
    if (this.#controls.skipNonFinite || steps.some((step) => step instanceof Tensor)) {
      this.#counts ??= new StepCounts(this.#states.values());
    }
    loaded.options.forEach((options, i) => Object.assign(this.#groups[i], options));
    using _ = noGrad();
    for (const [parameter, state] of this.#states) {
      this.#restore(parameter, state, loaded.states.get(parameter));
    }
  }

  /** Frees the slots and lets other optimizers take the parameters, which keep their values. */
  dispose(): void {
    this.#disposed = true;
    for (const { arena } of this.#arenas) arena.release();
    this.#judge?.dispose();
    this.#counts?.dispose();
  }

  /** Disposes the optimizer at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  get #device(): Device {
    return this.#arenas[0].arena.values.device;
  }

  #groupOf(arena: Arena): ParamGroup<O> {
    return this.#arenas.find((home) => home.arena === arena)!.group;
  }

  #stepEntry(
    group: ParamGroup<O>,
    parameter: Tensor,
    state: ParamState,
  ): Record<string, number | Tensor> {
    if (this.#counts !== null) {
      return { step: this.#counts.stepOf(parameter, state), history: state.history };
    }
    const counts = this.#rule.countsSteps(group) || this.#averages?.warmup;
    return counts ? { step: state.steps } : {};
  }

  #add(groups: readonly GroupOptions<O>[]): void {
    const added = groups.map((options) => groupOf(this.#rule, this.#defaults, options));
    const parameters = added.flatMap((group) => group.params);
    checkParameters(this.#rule.name, parameters, this.#states);
    for (const group of added) {
      this.#groups.push(group);
      for (const parameter of group.params) {
        this.#states.set(parameter, { steps: 0, history: 0, slots: new Set() });
      }
      for (const plan of planArenas(group.params)) {
        this.#arenas.push({ group, arena: new Arena(plan) });
      }
    }
  }

  /** Whether updates need a verdict; a captured step asks again. */
  get #isJudged(): boolean {
    return this.#maxGradNorm !== null || this.#counts !== null;
  }

  /** Parameters of a group with equal phase are updated alike. */
  #phase(state: ParamState): number {
    return this.#counts === null ? this.#rule.phase(state) : state.history;
  }

  /** Counts the step of a parameter with a gradient, and puts that in place. */
  #prepare(parameter: Tensor, stepping: Set<ParamState>): void {
    const { grad, gradSlot } = parameter;
    if (grad === null) return;
    if (grad !== gradSlot) placeGradient(this.#rule.name, parameter, grad, gradSlot!);
    const state = this.#states.get(parameter)!;
    effect(() => void state.steps++, () => void state.steps--);
    stepping.add(state);
  }

  #judgeStep(updates: readonly Update<O>[], skips: boolean, scale: GradientScale | null): void {
    this.#judge ??= new Judge(this.#device);
    const spans = updates.map(({ arena, range }) => ({
      operand: rangeOperand(arena.gradients, range),
      dtype: arena.dtype,
    }));
    this.#judge.judge(spans, { limit: () => this.#maxGradNorm, skips, scale });
  }

  #update({ group, arena, range }: Update<O>): void {
    const names = this.#rule.slots(group);
    const members = arena.tensors.slice(range.first, range.end);
    const states = members.map((parameter) => this.#states.get(parameter)!);
    if (range.count > 0) {
      recordUpdate({
        rule: this.#rule,
        group,
        arena,
        range,
        state: states[0],
        alike: () => states.every((state) => this.#phase(state) === this.#phase(states[0])),
        span: () => this.#span(arena, range),
        verdict: this.#isJudged ? this.#judge!.operand : null,
        skips: this.#counts?.skipsOf(arena) ?? null,
        average: this.#averages && averagesOf(arena),
        tail: () => this.#tail(states[0], range),
      });
    }
    const fresh = states.flatMap(({ slots }) =>
      names.filter((name) => !slots.has(name)).map((name) => ({ slots, name }))
    );
    if (fresh.length === 0) return;
    const begin = () => fresh.forEach(({ slots, name }) => slots.add(name));
    effect(begin, () => fresh.forEach(({ slots, name }) => slots.delete(name)));
  }

  #span(arena: Arena, { count }: ArenaRange): UpdateSpan {
    const span: UpdateSpan = { count, dtype: arena.dtype };
    const averaged = this.#averages && (this.#averages.warmup ? "warming" : "constant");
    return {
      ...span,
      ...this.#isJudged ? { scaled: true } : {},
      ...this.#counts ? { counted: true } : {},
      ...averaged ? { averaged } : {},
    };
  }

  /** The numbers of an update that follow those of its rule. */
  #tail(state: ParamState, { first, end }: ArenaRange): number[] {
    const counted = this.#counts !== null;
    const scalars: number[] = [];
    // Where the device counts, it also finds the share of a warming average.
    if (this.#averages) scalars.push(this.#averages.share(counted ? Infinity : state.steps));
    if (counted) scalars.push(state.steps, first, end - first);
    return scalars;
  }

  #restore(parameter: Tensor, state: ParamState, loaded: LoadedState | undefined): void {
    const place = placeOf(parameter)!;
    const group = this.#groupOf(place.arena);
    // The first step is another one for a momentum that has not begun.
    const begun = !this.#rule.countsSteps(group) && (loaded?.slots.size ?? 0) > 0;
    const step = loaded?.step || Number(begun);
    if (this.#counts) this.#counts.restore(parameter, state, step, loaded?.history ?? null);
    else state.steps = step as number;
    const names = new Set([...state.slots, ...loaded?.slots.keys() ?? []]);
    names.delete(AVERAGE);
    state.slots.clear();
    for (const name of names) {
      using view = slotView(this.#rule, group, place, name);
      const values = loaded?.slots.get(name);
      if (values === undefined) {
        fillInto(view, this.#rule.initial?.(name, group) ?? 0);
      } else {
        copyInto(view, values.reshape(view.shape));
        state.slots.add(name);
      }
    }
    if (this.#averages === null) return;
    using average = place.arena.view(averagesOf(place.arena), place.index);
    copyInto(average, loaded?.slots.get(AVERAGE) ?? parameter);
  }

  #needAlive(action: string): void {
    if (this.#disposed) {
      throw new Error(`Cannot ${action} this ${this.#rule.name}: it was disposed`);
    }
  }
}
