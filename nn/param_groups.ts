/** Groups of parameters for optimizers, made from rules over their names, shapes and layers. */

import type { OptimizerOptions, Tensor } from "../core/mod.ts";
import { isFloat } from "../kernels/types.ts";
import { BatchNorm } from "./batch_norm.ts";
import { GRN, LayerNorm2d } from "./channel_norm.ts";
import { LayerScale } from "./channel_ops.ts";
import { InstanceNorm } from "./instance_norm.ts";
import type { Module } from "./module.ts";
import { GroupNorm, LayerNorm } from "./norm.ts";
import { RMSNorm } from "./rms_norm.ts";

/** A class of modules, also an abstract one. */
export type ModuleClass = abstract new (...args: never[]) => Module;

/** A parameter as rules see it. */
export interface ParamInfo {
  /** Its key in the state dict, such as "head.weight". */
  readonly name: string;
  /** The parameter. */
  readonly param: Tensor;
  /** The module that holds it. */
  readonly module: Module;
}

/**
 * What a rule says of a parameter: options that replace those it has so far, or null.
 *
 * @param info the parameter
 * @param options what the base and the rules before say of it
 */
export type ParamRule<O extends OptimizerOptions = DecayOptions> = (
  info: ParamInfo,
  options: Readonly<Partial<O>>,
) => Partial<O> | null;

/** The options that most optimizers share. */
export interface DecayOptions extends OptimizerOptions {
  /** λ, pulls parameters to 0. */
  weightDecay: number;
}

/** A group for the constructor of an optimizer. */
export type ParameterGroup<O extends OptimizerOptions = DecayOptions> = Partial<O> & {
  /** Its parameters, in the order of the model. */
  readonly params: Tensor[];
};

/**
 * The trainable parameters of a model in groups: those with equal options are one group.
 *
 * Frozen parameters and those that are no floats are left out. A parameter that is shared appears
 * once, under its first name. Rules are asked in their order, and later ones override earlier ones.
 * Groups are in the order of their first parameters.
 *
 * Schedules keep the proportions: each group keeps its own rate as the base.
 *
 * @param model whose parameters
 * @param base options of all parameters
 * @param rules what changes them
 * @returns groups for the constructor of an optimizer
 * @throws {RangeError} if the model has no trainable parameters
 *
 * @example AdamW without decay of biases and norms, and a smaller rate for the backbone
 * ```ts
 * import {
 *   Linear,
 *   matchPrefix,
 *   noWeightDecayOnBias,
 *   noWeightDecayOnNorm,
 *   paramGroups,
 *   Sequential,
 * } from "@legoml/legoml/nn";
 * import { AdamW, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Sequential(new Linear(4, 8, { device }), new Linear(8, 2, { device }));
 * const groups = paramGroups(model, { lr: 1e-3, weightDecay: 0.05 }, [
 *   matchPrefix("0", { lr: 1e-4 }),
 *   noWeightDecayOnBias(),
 *   noWeightDecayOnNorm(),
 * ]);
 * const optimizer = new AdamW(groups);
 * assertEquals(optimizer.groups.map((g) => [g.lr, g.weightDecay]), [
 *   [1e-4, 0.05],
 *   [1e-4, 0],
 *   [1e-3, 0.05],
 *   [1e-3, 0],
 * ]);
 * ```
 */
export function paramGroups<O extends OptimizerOptions = DecayOptions>(
  model: Module,
  base: Partial<NoInfer<O>>,
  rules: readonly ParamRule<NoInfer<O>>[] = [],
): ParameterGroup<O>[] {
  const groups = new Map<string, ParameterGroup<O>>();
  for (const info of trainable(model)) {
    let options: Partial<O> = { ...base };
    for (const rule of rules) options = { ...options, ...rule(info, options) };
    const key = keyOf(options);
    let group = groups.get(key);
    if (group === undefined) groups.set(key, group = { ...options, params: [] });
    group.params.push(info.param);
  }
  if (groups.size === 0) {
    throw new RangeError(
      `Cannot group the parameters of ${model.constructor.name}: expected at least one that is ` +
        "trained, found none",
    );
  }
  return [...groups.values()];
}

/** The parameters that backward() reaches, each once, with the modules that hold them. */
function trainable(model: Module): ParamInfo[] {
  const seen = new Set<Tensor>();
  const own = (module: Module, path: string): ParamInfo[] => [
    ...module.namedParameters().filter(([name]) => !name.includes("."))
      .map(([name, param]) => ({ name: path + name, param, module })),
    ...module.namedChildren().flatMap(([name, child]) => own(child, `${path}${name}.`)),
  ];
  return own(model, "").filter(({ param }) => {
    if (seen.has(param) || !param.requiresGrad || !isFloat(param.dtype)) return false;
    seen.add(param);
    return true;
  });
}

/** The same text for equal options, whatever their order. */
function keyOf(options: object): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  entries.sort(([a], [b]) => a < b ? -1 : 1);
  return JSON.stringify(
    entries,
    (_, value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
  );
}

/**
 * No weight decay for biases: parameters named `bias`, also in the model itself, and names such as
 * `in_proj_bias` and `bias_ih_l0`.
 *
 * @returns a rule
 */
export function noWeightDecayOnBias(): ParamRule {
  return ({ name }) => /(^|[._])bias(_[^.]*)?$/.test(name) ? { weightDecay: 0 } : null;
}

/** All layers of this package that normalise. */
const norms: readonly ModuleClass[] = [
  BatchNorm,
  LayerNorm,
  GroupNorm,
  LayerNorm2d,
  InstanceNorm,
  RMSNorm,
  GRN,
];

/**
 * No weight decay for the parameters of layers that normalise: BatchNorm, LayerNorm, GroupNorm,
 * InstanceNorm, RMSNorm, LayerNorm2d, GRN, and classes of these.
 *
 * @param more classes of one's own that count as well
 * @returns a rule
 */
export function noWeightDecayOnNorm(more: readonly ModuleClass[] = []): ParamRule {
  return moduleIs([...norms, ...more], { weightDecay: 0 });
}

/**
 * No weight decay for parameters of at most one axis: biases, the factors of most norms. A LayerScale
 * has as many axes as its input, so it is none of them.
 *
 * @returns a rule
 */
export function noWeightDecayOn1d(): ParamRule {
  return ({ param }) => param.ndim <= 1 ? { weightDecay: 0 } : null;
}

/**
 * Options for parameters by their names.
 *
 * @param pattern what is found somewhere in the key of the state dict; `^` and `$` are its ends
 * @param overrides the options
 * @returns a rule
 */
export function matchName<O extends OptimizerOptions = DecayOptions>(
  pattern: RegExp,
  overrides: Partial<NoInfer<O>>,
): ParamRule<O> {
  // A global or sticky pattern would go on where it stopped at the parameter before.
  const plain = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
  return ({ name }) => plain.test(name) ? overrides : null;
}

/**
 * Options for a part of a model, by its path.
 *
 * @param prefix first parts of the key, such as "encoder.0"; it ends where a part ends, so that
 * "block1" does not take "block10"
 * @param overrides the options
 * @returns a rule
 */
export function matchPrefix<O extends OptimizerOptions = DecayOptions>(
  prefix: string,
  overrides: Partial<NoInfer<O>>,
): ParamRule<O> {
  const path = prefix.replace(/\.$/, "");
  return ({ name }) =>
    path === "" || name === path || name.startsWith(`${path}.`) ? overrides : null;
}

/**
 * Options for the parameters that modules of some classes hold themselves.
 *
 * @param classes the classes; those derived from them count as well
 * @param overrides the options, or what makes them of those so far
 * @returns a rule
 */
export function moduleIs<O extends OptimizerOptions = DecayOptions>(
  classes: ModuleClass | readonly ModuleClass[],
  overrides:
    | Partial<NoInfer<O>>
    | ((options: Readonly<Partial<NoInfer<O>>>) => Partial<NoInfer<O>>),
): ParamRule<O> {
  const list: readonly ModuleClass[] = typeof classes === "function" ? [classes] : classes;
  return ({ module }, options) => {
    if (!list.some((type) => module instanceof type)) return null;
    return typeof overrides === "function" ? overrides(options) : overrides;
  };
}

/**
 * Learning rates that fall from layer to layer: `lr · gammaᵈ` at depth d, of the rate that the
 * parameter has so far.
 *
 * @param depthOf the depth of a parameter, 0 where it keeps its rate (the last layers, as a rule), or
 * null where the rule says nothing
 * @param gamma factor for each layer, above 0
 * @returns a rule
 * @throws {RangeError} if gamma is not above 0; when it is asked, if a depth is no finite number, or
 * the options have no lr
 *
 * @example
 * ```ts
 * import { layerwiseLrDecay, Linear, paramGroups, Sequential } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const options = { bias: false, device: referenceDevice() };
 * const model = new Sequential(new Linear(2, 2, options), new Linear(2, 2, options));
 * const decay = layerwiseLrDecay(({ name }) => 1 - Number(name.split(".")[0]), 0.5);
 * assertEquals(paramGroups(model, { lr: 0.1 }, [decay]).map((group) => group.lr), [0.05, 0.1]);
 * ```
 */
export function layerwiseLrDecay(
  depthOf: (info: ParamInfo) => number | null,
  gamma: number,
): ParamRule<OptimizerOptions> {
  if (!(Number.isFinite(gamma) && gamma > 0)) {
    throw new RangeError(
      `Cannot decay learning rates by gamma ${gamma}: expected a finite number above 0`,
    );
  }
  return (info, { lr }) => {
    const depth = depthOf(info);
    if (depth === null) return null;
    if (!Number.isFinite(depth)) {
      throw new RangeError(
        `Cannot decay the learning rate of "${info.name}" at depth ${depth}: expected a finite ` +
          "number, or null",
      );
    }
    if (lr === undefined) {
      throw new RangeError(
        `Cannot decay the learning rate of "${info.name}": expected lr among the base options`,
      );
    }
    return { lr: lr * gamma ** depth };
  };
}

/** What defaultGroups() distinguishes. */
export interface DefaultGroupsOptions extends DecayOptions {
  /** No weight decay for biases. @default {true} */
  readonly noWdBias?: boolean;
  /** No weight decay for layers that normalise. @default {true} */
  readonly noWdNorm?: boolean;
  /** No weight decay for parameters of one axis. @default {true} */
  readonly noWd1d?: boolean;
  /** No weight decay for the factors of LayerScale, which have more axes. @default {false} */
  readonly noWdLayerScale?: boolean;
  /** Twice the learning rate for the factors of LayerScale. @default {true} */
  readonly highLrLayerScale?: boolean;
}

/**
 * The groups that most models want: weights with decay; biases, norms and other parameters of one
 * axis without; factors of LayerScale with twice the learning rate.
 *
 * @param model whose parameters
 * @param options learning rate, weight decay, and what is distinguished
 * @returns groups for the constructor of an optimizer
 * @throws {RangeError} if the model has no trainable parameters
 *
 * @example
 * ```ts
 * import { defaultGroups, describeGroups, LayerScale, Linear, Sequential } from "@legoml/legoml/nn";
 * import { AdamW, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Sequential(new Linear(4, 8, { device }), new LayerScale(8, { dims: 2, device }));
 * const groups = defaultGroups(model, { lr: 0.1, weightDecay: 5e-4 });
 * assertEquals(groups.map((g) => [g.lr, g.weightDecay]), [[0.1, 5e-4], [0.1, 0], [0.2, 5e-4]]);
 * using optimizer = new AdamW(groups);
 * assertEquals(optimizer.groups.length, 3);
 * assertEquals(describeGroups(model, groups).split("\n")[1].includes("0.weight"), true);
 * ```
 */
export function defaultGroups(
  model: Module,
  options: DefaultGroupsOptions,
): ParameterGroup<DecayOptions>[] {
  const { lr, weightDecay, noWdBias = true, noWdNorm = true, noWd1d = true } = options;
  const { noWdLayerScale = false, highLrLayerScale = true } = options;
  return paramGroups<DecayOptions>(model, { lr, weightDecay }, [
    ...noWdBias ? [noWeightDecayOnBias()] : [],
    ...noWdNorm ? [noWeightDecayOnNorm()] : [],
    ...noWd1d ? [noWeightDecayOn1d()] : [],
    ...noWdLayerScale ? [moduleIs(LayerScale, { weightDecay: 0 })] : [],
    ...highLrLayerScale ? [moduleIs(LayerScale, (own) => ({ lr: 2 * (own.lr ?? lr) }))] : [],
  ]);
}

/** How groups are described. */
export interface DescribeGroupsOptions {
  /** Names in a row at most, with a count of the others. @default {all} */
  readonly maxNames?: number;
}

/**
 * Groups as a table: options, number of tensors and elements, names; last the parameters that are in
 * none of them.
 *
 * @param model whose names are used
 * @param groups of paramGroups(), or `optimizer.groups`
 * @param options how many names
 * @returns lines of text, the first one the heads of the columns
 */
export function describeGroups(
  model: Module,
  groups: readonly Readonly<{ params: Iterable<Tensor> }>[],
  { maxNames = Infinity }: DescribeGroupsOptions = {},
): string {
  const names = new Map(model.namedParameters().map(([name, param]) => [param, name]));
  const keys = [...new Set(groups.flatMap((group) => Object.keys(group)))]
    .filter((key) => key !== "params");
  const row = (label: string, params: readonly Tensor[], options: Record<string, unknown>) => [
    label,
    ...keys.map((key) => options[key] === undefined ? "" : show(options[key])),
    String(params.length),
    String(params.reduce((sum, { size }) => sum + size, 0)),
    listed(params.map((param) => names.get(param) ?? `${param} of another model`), maxNames),
  ];
  const grouped = groups.map((group) => [...group.params]);
  const held = new Set(grouped.flat());
  const rest = [...names.keys()].filter((param) => !held.has(param));
  const rows = [
    ["group", ...keys, "tensors", "elements", "names"],
    ...groups.map((group, i) => row(String(i), grouped[i], { ...group })),
    ...rest.length > 0 ? [row("none", rest, {})] : [],
  ];
  const widths = rows[0].map((_, c) => Math.max(...rows.map((cells) => cells[c].length)));
  return rows.map((cells) => cells.map((cell, c) => cell.padEnd(widths[c])).join("  ").trimEnd())
    .join("\n");
}

function show(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
}

function listed(names: readonly string[], most: number): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown}${shown && ", "}… ${names.length - most} more` : shown;
}
