/** What all optimizers share: groups, arenas, steps, and the state dict. */

import { input } from "../../kernels/expr.ts";
import { isFloat } from "../../kernels/types.ts";
import { currentCapture, effect } from "../backend/capture.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { copyInto, fillInto } from "../tensor/in_place.ts";
import { launchMapInto, noScalars } from "../tensor/launch.ts";
import { noGrad } from "../tensor/tape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { Arena, type ArenaRange, placeOf, planArenas, rangeOperand } from "./arena.ts";
import type {
  GroupOptions,
  OptimizerOptions,
  ParamGroup,
  ParamState,
  UpdateRule,
} from "./options.ts";
import {
  encodeGroup,
  type LoadedState,
  type OptimizerStateDict,
  readStateDict,
} from "./state_dict.ts";

interface GroupArena<O extends OptimizerOptions> {
  readonly group: ParamGroup<O>;
  readonly arena: Arena;
}

/**
 * An optimizer: moves its parameters into flat memory when it is made, and changes them after every
 * backward().
 *
 * Parameters of one group and dtype share an arena, which one kernel call updates (D5). Views and
 * detached handles that were taken of a parameter before keep the old memory, so make the optimizer
 * before them. A parameter whose `grad` is null is skipped: no decay, no momentum, no count.
 */
export class Optimizer<O extends OptimizerOptions = OptimizerOptions> implements Disposable {
  readonly #rule: UpdateRule<O>;
  readonly #defaults: O;
  readonly #groups: ParamGroup<O>[] = [];
  readonly #arenas: GroupArena<O>[] = [];
  readonly #states = new Map<Tensor, ParamState>();
  #disposed = false;

  /**
   * Moves the parameters into flat memory.
   *
   * @param rule the method
   * @param params leaves of dtype f32 or f16, or groups of them with options of their own
   * @param defaults options of all groups that do not set their own
   * @throws {RangeError} if an option has no meaning, or there are no parameters
   * @throws {TypeError} if a parameter cannot be optimized
   */
  protected constructor(
    rule: UpdateRule<O>,
    params: Iterable<Tensor> | Iterable<GroupOptions<O>>,
    defaults: O,
  ) {
    this.#rule = rule;
    this.#defaults = defaults;
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

  /** Changes every parameter that has a gradient. */
  step(): void {
    this.#needAlive("step");
    for (const group of this.#groups) this.#rule.check(group);
    for (const { group, arena } of this.#arenas) {
      const ranges = arena.ranges((index) => this.#prepare(arena, index));
      for (const range of ranges) this.#update(group, arena, range);
    }
  }

  /**
   * What a checkpoint needs, in PyTorch's structure and with PyTorch's names: steps and slots by
   * the number of the parameter, and the options of the groups. The tensors are views of the living
   * state: read them before the next step.
   */
  stateDict(): OptimizerStateDict {
    this.#needAlive("take the state of");
    const state: Record<string, Record<string, number | Tensor>> = {};
    [...this.#states].forEach(([parameter, known], id) => {
      if (known.steps === 0 && known.slots.size === 0) return;
      const { arena, index } = placeOf(parameter)!;
      const entry: Record<string, number | Tensor> = this.#rule.countsSteps
        ? { step: known.steps }
        : {};
      for (const name of known.slots) entry[name] = arena.view(arena.slot(name), index);
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
    const loaded = readStateDict(stateDict, this.#groups, this.#defaults, this.#rule);
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
  }

  /** Disposes the optimizer at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #add(groups: readonly GroupOptions<O>[]): void {
    const added = groups.map((options) => this.#groupOf(options));
    const parameters = added.flatMap((group) => group.params);
    checkParameters(this.#rule.name, parameters, this.#states);
    for (const group of added) {
      this.#groups.push(group);
      for (const parameter of group.params) {
        this.#states.set(parameter, { steps: 0, slots: new Set() });
      }
      for (const plan of planArenas(group.params)) {
        this.#arenas.push({ group, arena: new Arena(plan) });
      }
    }
  }

  #groupOf({ params, ...own }: GroupOptions<O>): ParamGroup<O> {
    if (typeof params?.[Symbol.iterator] !== "function") {
      throw new TypeError(
        `Cannot make ${this.#rule.name} of a group without params: expected tensors under "params"`,
      );
    }
    const unknown = Object.keys(own).filter((name) => !Object.hasOwn(this.#defaults, name));
    if (unknown.length > 0) {
      throw new RangeError(
        `Cannot use ${this.#rule.name} with unknown options ${
          unknown.join(", ")
        }: expected some of ` +
          Object.keys(this.#defaults).join(", "),
      );
    }
    const group = { ...this.#defaults, ...own, params: [...params] };
    this.#rule.check(group);
    return group;
  }

  /** Counts the step of a parameter and puts its gradient in place; null where it has none. */
  #prepare(arena: Arena, index: number): number | null {
    const parameter = arena.tensors[index];
    const { grad, gradSlot } = parameter;
    if (grad === null) return null;
    if (grad !== gradSlot) placeGradient(this.#rule.name, parameter, grad, gradSlot!);
    const state = this.#states.get(parameter)!;
    effect(() => void state.steps++, () => void state.steps--);
    return this.#rule.phase(state);
  }

  #update(group: ParamGroup<O>, arena: Arena, range: ArenaRange): void {
    const names = this.#rule.slots(group);
    const flats = [arena.values, ...names.map((name) => arena.slot(name))];
    const members = arena.tensors.slice(range.first, range.end);
    const states = members.map((parameter) => this.#states.get(parameter)!);
    if (range.count > 0) {
      const kernelNow = () => this.#rule.kernel(group, { count: range.count, dtype: arena.dtype });
      const live = () => this.#rule.scalars(group, states[0]);
      const kernel = kernelNow();
      currentCapture()?.guard(() => kernelNow() === kernel);
      arena.values.device.record({
        kernel,
        inputs: [rangeOperand(arena.gradients, range)],
        outputs: flats.map((flat) => rangeOperand(flat, range)),
        scalars: live(),
        live,
      });
      for (const flat of flats) flat.storage.version++;
    }
    for (const state of states) for (const name of names) state.slots.add(name);
  }

  #restore(parameter: Tensor, state: ParamState, loaded: LoadedState | undefined): void {
    const { arena, index } = placeOf(parameter)!;
    state.steps = loaded?.step ?? 0;
    const names = new Set([...state.slots, ...loaded?.slots.keys() ?? []]);
    state.slots.clear();
    for (const name of names) {
      using view = arena.view(arena.slot(name), index);
      const values = loaded?.slots.get(name);
      if (values === undefined) {
        fillInto(view, 0);
      } else {
        copyInto(view, values);
        state.slots.add(name);
      }
    }
  }

  #needAlive(action: string): void {
    if (this.#disposed) {
      throw new Error(`Cannot ${action} this ${this.#rule.name}: it was disposed`);
    }
  }
}

/** Fails unless all parameters can be moved into arenas, before any of them is. */
function checkParameters(
  name: string,
  parameters: readonly Tensor[],
  held: ReadonlyMap<Tensor, ParamState>,
): void {
  const seen = new Set<Tensor>(held.keys());
  const device = [...held.keys(), ...parameters][0]?.device;
  parameters.forEach((parameter, i) => {
    if (!(parameter instanceof Tensor)) {
      throw new TypeError(
        `Cannot make ${name} of parameter ${i}: expected a tensor, found ${typeof parameter}`,
      );
    }
    const fail = (reason: string) =>
      `Cannot make ${name} of parameter ${i} (${parameter}): ${reason}`;
    if (seen.has(parameter)) throw new TypeError(fail("it is listed twice"));
    seen.add(parameter);
    if (!isFloat(parameter.dtype)) throw new DTypeError(fail("expected dtype f32 or f16"));
    if (!parameter.isLeaf) throw new TypeError(fail("expected a leaf, found the result of an op"));
    if (parameter.isReleased) throw new TypeError(fail("it was released"));
    if (parameter.device !== device) {
      throw new TypeError(fail(`expected the device "${device?.name}" of the parameters before`));
    }
    if (placeOf(parameter) !== null) {
      throw new TypeError(fail("another optimizer holds it; dispose() of that one first"));
    }
  });
  if (parameters.length === 0) {
    throw new RangeError(`Cannot make ${name} without parameters: expected at least one`);
  }
}

/**
 * Copies a gradient that was set by hand, or made with createGraph, to where the kernel expects it.
 */
function placeGradient(name: string, parameter: Tensor, gradient: Tensor, slot: Tensor): void {
  if (String(gradient.shape) !== String(parameter.shape)) {
    throw new ShapeError(
      `Cannot step ${name}: a parameter of shape ${
        showShape(parameter.shape)
      } has a gradient of shape ${showShape(gradient.shape)}`,
    );
  }
  if (gradient.device !== parameter.device) {
    throw new TypeError(`Cannot step ${name}: the gradient of ${parameter} is on another device`);
  }
  launchMapInto(input(0), [gradient], slot, noScalars);
}
