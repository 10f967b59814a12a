import {
  Adam,
  type AdamOptions,
  AdamW,
  type OptimizerOptions,
  schedule,
  type Tensor,
  zeros,
} from "../../core/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  defaultGroups,
  describeGroups,
  Flatten,
  GRN,
  LayerNorm,
  LayerScale,
  layerwiseLrDecay,
  Linear,
  matchName,
  matchPrefix,
  Module,
  moduleIs,
  noWeightDecayOn1d,
  noWeightDecayOnBias,
  noWeightDecayOnNorm,
  paramGroups,
  type ParamRule,
  Sequential,
} from "../../nn/mod.ts";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { reference } from "../util.ts";

const device = reference;

/** The model of the original system's reference vector. */
function small(): Sequential {
  return new Sequential(
    new Conv2d(3, 4, { kernelSize: 3, bias: false, device }),
    new BatchNorm2d(4, { device }),
    new LayerScale(4, { device }),
    new Flatten(),
    new Linear(4, 2, { device }),
  );
}

/** Groups as options and names. */
function named(model: Module, groups: readonly { params: Iterable<Tensor> }[]) {
  const names = new Map(model.namedParameters().map(([name, param]) => [param, name]));
  return groups.map(({ params, ...options }) => [options, [...params].map((p) => names.get(p))]);
}

Deno.test("defaultGroups() gives the original's three groups", () => {
  const model = small();
  const groups = defaultGroups(model, { lr: 0.1, weightDecay: 5e-4 });
  assertEquals(named(model, groups), [
    [{ lr: 0.1, weightDecay: 5e-4 }, ["0.weight", "4.weight"]],
    [{ lr: 0.1, weightDecay: 0 }, ["1.weight", "1.bias", "4.bias"]],
    [{ lr: 0.2, weightDecay: 5e-4 }, ["2.gamma"]],
  ]);
  using optimizer = new AdamW(groups);
  assertEquals(optimizer.groups.map((g) => [g.lr, g.weightDecay]), [
    [0.1, 5e-4],
    [0.1, 0],
    [0.2, 5e-4],
  ]);
});

Deno.test("defaultGroups() distinguishes what it is asked to", () => {
  const model = small();
  const base = { lr: 1, weightDecay: 0.5 };
  const none = { noWdBias: false, noWdNorm: false, noWd1d: false, highLrLayerScale: false };
  const names = model.namedParameters().map(([name]) => name);
  assertEquals(named(model, defaultGroups(model, { ...base, ...none })), [[base, names]]);
  const without = (flags: object) =>
    named(model, defaultGroups(model, { ...base, ...none, ...flags }))
      .filter(([options]) => (options as { weightDecay: number }).weightDecay === 0)
      .flatMap(([, list]) => list);
  assertEquals(without({ noWdBias: true }), ["1.bias", "4.bias"]);
  assertEquals(without({ noWdNorm: true }), ["1.weight", "1.bias"]);
  assertEquals(without({ noWd1d: true }), ["1.weight", "1.bias", "4.bias"]);
  assertEquals(without({ noWdLayerScale: true }), ["2.gamma"]);
  const fast = defaultGroups(model, { ...base, ...none, highLrLayerScale: true });
  assertEquals(named(model, fast)[1], [{ lr: 2, weightDecay: 0.5 }, ["2.gamma"]]);
});

class Odd extends Module {
  readonly bias: Tensor = this.registerParameter("bias", zeros([2, 3], { device }));
  readonly unbiased: Tensor = this.registerParameter("unbiased", zeros([2, 3], { device }));
  readonly head = new Linear(3, 3, { device });
  readonly tied = new Linear(3, 3, { device });
  readonly grn = new GRN(3, { device });

  constructor() {
    super();
    this.tied.registerParameter("weight", this.head.weight);
    this.head.bias!.requiresGrad = false;
  }

  forward(): never {
    throw new Error("no forward");
  }
}

Deno.test("paramGroups() takes trainable parameters once, a root-level bias too", () => {
  const model = new Odd();
  const groups = paramGroups(model, { lr: 1, weightDecay: 2 }, [noWeightDecayOnBias()]);
  assertEquals(named(model, groups), [
    [{ lr: 1, weightDecay: 0 }, ["bias", "tied.bias"]],
    [{ lr: 1, weightDecay: 2 }, ["unbiased", "head.weight", "grn.gamma", "grn.beta"]],
  ]);
  const norm = paramGroups(model, { lr: 1, weightDecay: 2 }, [noWeightDecayOnNorm()]);
  assertEquals(named(model, norm)[1], [{ lr: 1, weightDecay: 0 }, ["grn.gamma", "grn.beta"]]);
  const flat = paramGroups(model, { lr: 1, weightDecay: 2 }, [noWeightDecayOn1d()]);
  assertEquals(named(model, flat)[1], [{ lr: 1, weightDecay: 0 }, ["tied.bias"]]);
  const owned = paramGroups(model, { lr: 1 }, [moduleIs(Odd, { lr: 3 })]);
  assertEquals(named(model, owned)[0], [{ lr: 3 }, ["bias", "unbiased"]]);
  model.requiresGrad_(false);
  assertThrows(() => paramGroups(model, { lr: 1 }), RangeError, "expected at least one that is");
});

Deno.test("noWeightDecayOnBias() knows the names of biases, and no others", () => {
  const rule = noWeightDecayOnBias();
  const param = zeros([2, 2], { device });
  const module = new Linear(1, 1, { device });
  const matched = (name: string) => rule({ name, param, module }, {}) !== null;
  for (const name of ["bias", "a.0.bias", "in_proj_bias", "rnn.bias_ih_l0", "a.bias_k"]) {
    assertEquals(matched(name), true, name);
  }
  for (const name of ["biased", "unbias", "bias.weight", "a.debias", "weight"]) {
    assertEquals(matched(name), false, name);
  }
});

Deno.test("later rules override earlier ones, and equal options are one group", () => {
  const model = new Sequential(
    new Linear(2, 2, { device }),
    new Linear(2, 2, { device }),
    new LayerNorm(2, { device }),
  );
  const rules: ParamRule<AdamOptions>[] = [
    matchPrefix<AdamOptions>("0", { betas: [0.5, 0.9], weightDecay: 1 }),
    matchName<AdamOptions>(/bias$/g, { weightDecay: 0 }),
    // The same options in another order, and a list of its own.
    matchPrefix<AdamOptions>("1.", { weightDecay: 1, betas: [0.5, 0.9] }),
    matchName<AdamOptions>(/^1\.bias/, { weightDecay: 0 }),
  ];
  const groups = paramGroups<AdamOptions>(model, { lr: 0.1 }, rules);
  assertEquals(named(model, groups), [
    [{ lr: 0.1, betas: [0.5, 0.9], weightDecay: 1 }, ["0.weight", "1.weight"]],
    [{ lr: 0.1, betas: [0.5, 0.9], weightDecay: 0 }, ["0.bias", "1.bias"]],
    [{ lr: 0.1 }, ["2.weight"]],
    [{ lr: 0.1, weightDecay: 0 }, ["2.bias"]],
  ]);
  using optimizer = new Adam(groups, { weightDecay: 0.25 });
  assertEquals(optimizer.groups.map((g) => g.weightDecay), [1, 0, 0.25, 0]);
});

Deno.test("matchPrefix() ends where a part ends", () => {
  const model = new Sequential(
    ...Array.from({ length: 11 }, () => new Linear(1, 1, { bias: false, device })),
  );
  const groups = paramGroups(model, { lr: 1 }, [matchPrefix("1", { lr: 5 })]);
  assertEquals(named(model, groups)[1], [{ lr: 5 }, ["1.weight"]]);
});

Deno.test("layerwiseLrDecay() multiplies the rate so far by a power of gamma", () => {
  const linear = () => new Linear(1, 1, { bias: false, device });
  const model = new Sequential(linear(), linear(), linear(), linear());
  const depth = ({ name }: { name: string }) => name[0] === "3" ? null : 2 - Number(name[0]);
  const groups = paramGroups<OptimizerOptions>(model, { lr: 1 }, [
    matchPrefix<OptimizerOptions>("1", { lr: 10 }),
    layerwiseLrDecay(depth, 0.5),
  ]);
  assertEquals(named(model, groups), [
    [{ lr: 0.25 }, ["0.weight"]],
    [{ lr: 5 }, ["1.weight"]],
    [{ lr: 1 }, ["2.weight", "3.weight"]],
  ]);
  assertThrows(() => layerwiseLrDecay(depth, 0), RangeError, "gamma 0");
  assertThrows(
    () => paramGroups<OptimizerOptions>(model, { lr: 1 }, [layerwiseLrDecay(() => NaN, 0.5)]),
    RangeError,
    'of "0.weight" at depth NaN',
  );
  assertThrows(
    () => paramGroups<OptimizerOptions>(model, {}, [layerwiseLrDecay(() => 1, 0.5)]),
    RangeError,
    "expected lr among the base options",
  );
});

Deno.test("ratios of groups survive a schedule", () => {
  const model = small();
  const groups = defaultGroups(model, { lr: 0.1, weightDecay: 5e-4 });
  using optimizer = new AdamW(groups);
  const bases = optimizer.groups.map((group) => group.lr);
  const rates = schedule.warmup(3).then(schedule.cosine({ tMax: 10 }));
  for (let step = 0; step < 12; step++) {
    optimizer.groups.forEach((group, index) => {
      group.lr = rates.lr(step, { base: bases[index], first: bases[0], index });
    });
    const [weights, plain, scale] = optimizer.groups.map((group) => group.lr);
    assertEquals(plain, weights);
    assertAlmostEquals(scale, 2 * weights, 1e-15);
  }
});

Deno.test("describeGroups() is a table of options, counts and names", () => {
  const model = small();
  model.namedParameters().find(([name]) => name === "4.bias")![1].requiresGrad = false;
  const groups = defaultGroups(model, { lr: 0.1, weightDecay: 5e-4 });
  assertEquals(
    describeGroups(model, groups),
    [
      "group  lr   weightDecay  tensors  elements  names",
      "0      0.1  0.0005       2        116       0.weight, 4.weight",
      "1      0.1  0            2        8         1.weight, 1.bias",
      "2      0.2  0.0005       1        4         2.gamma",
      "none                     1        2         4.bias",
    ].join("\n"),
  );
  const short = describeGroups(model, groups, { maxNames: 1 }).split("\n");
  assertEquals(short[1].endsWith("0.weight, … 1 more"), true);
  using optimizer = new Adam(groups);
  assertEquals(describeGroups(model, optimizer.groups).includes("[0.9, 0.999]"), true);
});
