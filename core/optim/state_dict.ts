/**
 * State dicts of optimizers: PyTorch's structure and names, checked as a whole before anything
 * changes.
 */

import { isFloat, type Shape } from "../../kernels/types.ts";
import { showShape } from "../errors.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { OptimizerOptions, ParamGroup, UpdateRule } from "./options.ts";

/** The state of an optimizer in PyTorch's structure. */
export interface OptimizerStateDict {
  /**
   * By the number of the parameter: its steps (`step`), a scalar tensor where the device counts
   * them, and its slots, such as `exp_avg`.
   */
  readonly state: Readonly<Record<string, Readonly<Record<string, number | Tensor>>>>;
  /**
   * Options of the groups under PyTorch's names, and the numbers of their parameters (`params`).
   */
  readonly param_groups: readonly Readonly<Record<string, unknown>>[];
}

/** A state dict that does not fit its optimizer. */
export class OptimizerStateError extends Error {
  /** The name of the class. */
  override readonly name = "OptimizerStateError";
  /**
   * Puts all problems into one message.
   *
   * @param optimizer name of the optimizer
   * @param problems everything that does not fit, one sentence each
   */
  constructor(optimizer: string, readonly problems: readonly string[]) {
    super(`Cannot load the state of ${optimizer}: ${problems.join("; ")}`);
  }
}

/** State of one parameter, checked. */
export interface LoadedState {
  readonly step: number | Tensor;
  /** What parameters with equal steps share; null where it is not known. */
  readonly history: number | null;
  readonly slots: ReadonlyMap<string, Tensor>;
}

/** A state dict in the terms of its optimizer. */
export interface LoadedStateDict<O extends OptimizerOptions> {
  /** Options of every group. */
  readonly options: readonly O[];
  readonly states: ReadonlyMap<Tensor, LoadedState>;
}

/** Options of PyTorch that say how it computes, not what. */
const IGNORED = ["params", "initial_lr", "foreach", "fused", "capturable", "differentiable"];

/** A name in PyTorch's spelling. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The options of a group under PyTorch's names. */
export function encodeGroup<O extends OptimizerOptions>(
  defaults: O,
  group: ParamGroup<O>,
  ids: readonly number[],
): Record<string, unknown> {
  const entry: Record<string, unknown> = {};
  for (const name of Object.keys(defaults) as (keyof O & string)[]) {
    const value = group[name];
    entry[snake(name)] = Array.isArray(value) ? [...value] : value;
  }
  return { ...entry, params: [...ids] };
}

/**
 * Checks a state dict against the groups of an optimizer.
 *
 * @param extra names of slots that the optimizer takes beside those of its rule
 * @throws {OptimizerStateError} naming everything that does not fit
 */
export function readStateDict<O extends OptimizerOptions>(
  stateDict: OptimizerStateDict,
  groups: readonly ParamGroup<O>[],
  defaults: O,
  rule: UpdateRule<O>,
  extra: readonly string[] = [],
): LoadedStateDict<O> {
  const problems: string[] = [];
  if (!isRecord(stateDict?.state) || !Array.isArray(stateDict?.param_groups)) {
    throw new OptimizerStateError(rule.name, [
      'expected an object with "state" and "param_groups"',
    ]);
  }
  const saved = stateDict.param_groups;
  if (saved.length !== groups.length) {
    const found = `expected ${groups.length} groups, found ${saved.length}`;
    throw new OptimizerStateError(rule.name, [found]);
  }
  const owners = new Map<string, { parameter: Tensor; options: O }>();
  const options = groups.map((group, g) => {
    const read = readOptions(saved[g], `group ${g}`, defaults, rule, problems);
    matchParameters(saved[g], group, `group ${g}`, problems)
      .forEach((id, i) => owners.set(id, { parameter: group.params[i], options: read }));
    return read;
  });
  const states = new Map<Tensor, LoadedState>();
  for (const [id, entry] of Object.entries(stateDict.state)) {
    const owner = owners.get(id);
    if (owner === undefined) problems.push(`no group has the parameter ${id} of the state`);
    else states.set(owner.parameter, readState(id, entry, owner, rule, extra, problems));
  }
  if (problems.length > 0) throw new OptimizerStateError(rule.name, problems);
  return { options, states };
}

function readOptions<O extends OptimizerOptions>(
  saved: unknown,
  label: string,
  defaults: O,
  rule: UpdateRule<O>,
  problems: string[],
): O {
  if (!isRecord(saved)) {
    problems.push(`${label} is no object`);
    return defaults;
  }
  const before = problems.length;
  const names = new Map(Object.keys(defaults).map((name) => [snake(name), name]));
  const options: Record<string, unknown> = {};
  for (const [key, name] of names) {
    if (Object.hasOwn(saved, key)) options[name] = saved[key];
    else problems.push(`${label} has no ${key}`);
  }
  for (const [key, value] of Object.entries(saved)) {
    if (names.has(key) || IGNORED.includes(key)) continue;
    const same = Object.hasOwn(rule.fixed, key) && (value ?? false) === rule.fixed[key];
    if (!same) problems.push(`${label} has ${key} = ${value}, which ${rule.name} does not know`);
  }
  if (problems.length > before) return defaults;
  try {
    rule.check(options as unknown as O);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.push(`${label}: ${error.message}`);
    return defaults;
  }
  return options as unknown as O;
}

/** The saved numbers of a group's parameters, in their order; none where they do not fit. */
function matchParameters<O extends OptimizerOptions>(
  saved: unknown,
  group: ParamGroup<O>,
  label: string,
  problems: string[],
): string[] {
  const ids = isRecord(saved) ? saved.params : undefined;
  if (!Array.isArray(ids) || ids.length !== group.params.length) {
    const found = Array.isArray(ids) ? `${ids.length} parameters` : "no list of them";
    problems.push(`${label}: expected ${group.params.length} parameters, found ${found}`);
    return [];
  }
  return ids.map(String);
}

function readState<O extends OptimizerOptions>(
  id: string,
  entry: unknown,
  { parameter, options }: { parameter: Tensor; options: O },
  rule: UpdateRule<O>,
  extra: readonly string[],
  problems: string[],
): LoadedState {
  const label = `parameter ${id}`;
  const slots = new Map<string, Tensor>();
  let step: number | Tensor = 0;
  let history: number | null = null;
  if (!isRecord(entry)) {
    problems.push(`${label}: its state is no object`);
    return { step, history, slots };
  }
  const known = rule.slots(options);
  for (const [name, value] of Object.entries(entry)) {
    // PyTorch writes null for slots that are not in use.
    if (value === null || value === undefined) continue;
    const counts = rule.countsSteps(options) || extra.includes(name) || value instanceof Tensor;
    if (name === "step" && counts) {
      const problem = stepProblem(value, parameter);
      if (problem === null) step = value as number | Tensor;
      else problems.push(`${label}: expected step to be ${problem}`);
    } else if (name === "history" && Number.isSafeInteger(value)) {
      history = value as number;
    } else if (known.includes(name) || extra.includes(name)) {
      const single = rule.single?.includes(name) ?? false;
      const problem = slotProblem(value, parameter, single ? [] : parameter.shape);
      if (problem === null) slots.set(name, value as Tensor);
      else problems.push(`${label}: ${name} ${problem}`);
    } else {
      problems.push(`${label}: ${rule.name} with these options has no ${name}`);
    }
  }
  const needed = rule.countsSteps(options) ? ["step", ...known] : [];
  for (const name of needed) {
    if (entry[name] === null || entry[name] === undefined) problems.push(`${label} has no ${name}`);
  }
  return { step, history, slots };
}

function stepProblem(value: unknown, parameter: Tensor): string | null {
  if (!(value instanceof Tensor)) {
    const counts = Number.isSafeInteger(value) && (value as number) >= 0;
    return counts ? null : `an integer of at least 0, found ${value}`;
  }
  const fits = value.size === 1 && !value.isReleased && value.device === parameter.device &&
    value.dtype !== "bool";
  return fits ? null : `one number on the device of its parameter, found ${value}`;
}

function slotProblem(value: unknown, parameter: Tensor, shape: Shape): string | null {
  if (!(value instanceof Tensor)) return `is ${typeof value}, expected a tensor`;
  if (value.isReleased) return "was released";
  if (!isFloat(value.dtype)) return `has dtype ${value.dtype}, expected f32 or f16`;
  if (value.device !== parameter.device) return "is on another device than its parameter";
  const [found, expected] = [showShape(value.shape), showShape(shape)];
  return found === expected ? null : `has shape ${found}, expected ${expected}`;
}
