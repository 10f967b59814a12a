import { assertEquals } from "@std/assert";
import {
  type BinaryName,
  concat,
  type Device,
  grad,
  oneHot,
  ShapeError,
  stack,
  Tensor,
  tensor,
  type UnaryName,
} from "../../core/mod.ts";
import { tril, triu } from "../../core/tensor/triangle.ts";
import { type GoldenTensor, type OpCase, opCases, typedValues, values } from "../golden/load.ts";
import { type Bounds, devices, reference } from "../util.ts";

/** Options of the vectors; which of them an op has is up to the op. */
interface Options {
  readonly dim?: number;
  readonly dims?: number[];
  readonly keepdim?: boolean;
  readonly unbiased?: boolean;
  readonly exponent?: number;
  readonly weight?: number;
  readonly min?: number;
  readonly max?: number;
  readonly k?: number;
  readonly largest?: boolean;
  readonly descending?: boolean;
  readonly numClasses?: number;
  readonly repeats?: number[];
  readonly shape?: number[];
  readonly permute?: number[];
  readonly transpose?: string[];
  readonly diagonal?: number;
  readonly padding?: number[];
  readonly value?: number;
  readonly ranges?: [number, number, number][];
  readonly size?: number | number[];
}

type Outputs = Readonly<Record<string, Tensor>>;
type Call = (inputs: readonly Tensor[], options: Options) => Tensor | Outputs;

function unary(...names: UnaryName[]): Record<string, Call> {
  return Object.fromEntries(names.map((name) => [name, ([x]) => x[name]()]));
}

function binary(...names: Exclude<BinaryName, "pow">[]): Record<string, Call> {
  return Object.fromEntries(names.map((name) => [name, ([x, other]) => x[name](other)]));
}

/** Padding as PyTorch lists it, the last axis first, for each axis in order. */
function pairs(padding: readonly number[], ndim: number): [number, number][] {
  return Array.from({ length: ndim }, (_, d) => {
    const at = 2 * (ndim - 1 - d);
    return [padding[at] ?? 0, padding[at + 1] ?? 0];
  });
}

/** How each of PyTorch's ops is called here. */
const calls: Readonly<Record<string, Call>> = {
  ...unary("neg", "abs", "sign", "square", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "expm1"),
  ...unary("log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh"),
  ...unary("cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "relu"),
  ...unary("floor", "ceil", "trunc", "round", "frac", "logicalNot"),
  isnan: ([x]) => x.isNan(),
  isinf: ([x]) => x.isInf(),
  isfinite: ([x]) => x.isFinite(),
  ...binary("add", "sub", "mul", "div", "atan2", "maximum", "minimum", "remainder", "fmod"),
  ...binary("floorDivide", "eq", "ne", "lt", "le", "gt", "ge"),
  ...binary("logicalAnd", "logicalOr", "logicalXor"),
  pow: ([x, other], { exponent }) => x.pow(other ?? exponent!),
  clamp: ([x], { min, max }) => x.clamp(min, max),
  where: ([condition, x, other]) => condition.where(x, other),
  lerp: ([x, end, tensorWeight], { weight }) => x.lerp(end, tensorWeight ?? weight!),
  sum: ([x], { dim, keepdim }) => x.sum(dim, { keepdim }),
  mean: ([x], { dim, keepdim }) => x.mean(dim, { keepdim }),
  prod: ([x], { dim, keepdim }) => x.prod(dim, { keepdim }),
  var: ([x], { dim, keepdim, unbiased }) => x.var(dim, { keepdim, correction: unbiased ? 1 : 0 }),
  std: ([x], { dim, keepdim, unbiased }) => x.std(dim, { keepdim, correction: unbiased ? 1 : 0 }),
  logsumexp: ([x], { dim, keepdim }) => x.logsumexp(dim, { keepdim }),
  amax: ([x], { dim, keepdim }) => x.max(dim, { keepdim }),
  amin: ([x], { dim, keepdim }) => x.min(dim, { keepdim }),
  max: ([x], { dim }) => x.max(dim),
  min: ([x], { dim }) => x.min(dim),
  argmax: ([x], { dim, keepdim }) => x.argmax(dim, { keepdim }),
  argmin: ([x], { dim, keepdim }) => x.argmin(dim, { keepdim }),
  all: ([x], { dim, keepdim }) => x.all(dim, { keepdim }),
  any: ([x], { dim, keepdim }) => x.any(dim, { keepdim }),
  cumsum: ([x], { dim }) => x.cumsum(dim!),
  sort: ([x], { dim, descending }) => ({ ...x.sort(dim, { descending }) }),
  topk: ([x], { k, dim, largest }) => ({ ...x.topk(k!, dim, { largest }) }),
  matmul: ([x, other], { transpose = [] }) =>
    (transpose.includes("input") ? x.t() : x)
      .matmul(transpose.includes("other") ? other.t() : other),
  dot: ([x, other]) => x.dot(other),
  outer: ([x, other]) => x.outer(other),
  gather: ([x, index], { dim }) => x.gather(dim!, index),
  scatterAdd: ([x, index, source], { dim }) => x.scatterAdd(dim!, index, source),
  indexSelect: ([x, index], { dim }) => x.indexSelect(dim!, index),
  oneHot: ([labels], { numClasses }) => oneHot(labels, numClasses!),
  flip: ([x], { dims }) => x.flip(dims!),
  repeat: ([x], { repeats }) => x.repeat(repeats!),
  expand: ([x], { shape }) => x.expand(shape!),
  permute: ([x], { dims }) => x.permute(dims!),
  transpose: ([x], { dims }) => x.transpose(dims![0], dims![1]),
  reshape: ([x], { permute, shape }) => (permute ? x.permute(permute) : x).reshape(shape!),
  squeeze: ([x], { dim }) => x.squeeze(dim),
  unsqueeze: ([x], { dim }) => x.unsqueeze(dim!),
  triu: ([x], { diagonal }) => triu(x, diagonal),
  tril: ([x], { diagonal }) => tril(x, diagonal),
  pad: ([x], { padding, value }) => x.pad(pairs(padding!, x.ndim), value),
  slice: ([x], { ranges }) =>
    x.slice(...ranges!.map(([start, stop, step]) => ({ start, stop, step }))),
  cat: (parts, { dim }) => concat(parts, dim),
  stack: (parts, { dim }) => stack(parts, dim),
  split: ([x], { size, dim }) =>
    Object.fromEntries(x.split(size!, dim).map((part, i) => [`part${i}`, part])),
};

/** A use of an op that PyTorch offers and we do not, and how it is written instead. */
interface NotOffered {
  readonly reason: string;
  readonly instead: Call;
}

const pairOfMax: NotOffered = {
  reason: "max(dim) gives one tensor, which shares the gradient among ties; topk(1) gives the pair",
  instead: ([x], { dim }) => squeezed(x.topk(1, dim), dim!),
};

const pairOfMin: NotOffered = {
  reason: "min(dim) gives one tensor, which shares the gradient among ties; topk(1) gives the pair",
  instead: ([x], { dim }) => squeezed(x.topk(1, dim, { largest: false }), dim!),
};

const negativePadding: NotOffered = {
  reason: "pad() refuses negative amounts, since slice() crops",
  instead: ([x], { padding, value }) => {
    const amounts = pairs(padding!, x.ndim);
    const crop = amounts.map(([a, b], d) => ({
      start: Math.max(0, -a),
      stop: x.shape[d] - Math.max(0, -b),
    }));
    const rest = amounts.map(([a, b]) => [Math.max(0, a), Math.max(0, b)] as const);
    return x.slice(...crop).pad(rest, value);
  },
};

const notOffered: Readonly<Record<string, NotOffered>> = {
  "max: values and indices": pairOfMax,
  "max: ties, values and indices": pairOfMax,
  "min: values and indices": pairOfMin,
  "min: ties, values and indices": pairOfMin,
  "pad: negative crops": negativePadding,
  "pad: mixed signs": negativePadding,
};

function squeezed(pair: { values: Tensor; indices: Tensor }, dim: number): Outputs {
  return { values: pair.values.squeeze(dim), indices: pair.indices.squeeze(dim) };
}

/** How far a result in f32 may lie from PyTorch's, relative to its size or that of its terms. */
interface Class extends Bounds {
  readonly summed?: boolean;
  /** Absolute part for gradients alone, where `1 - y` and the like cancel. */
  readonly gradient?: number;
  /** Relative part for gradients alone. @default {rel} */
  readonly relGradient?: number;
}

/** The vectors carry 9 digits. */
const DIGITS = 1e-8;
const ULP = 2 ** -23;
const exact: Class = { rel: 0, abs: 0 };
/** Ties divide the gradient by their number, and WGSL allows quotients 2.5 ULP. */
const shared: Class = { ...exact, relGradient: ULP };
const sums: Class = { rel: 1e-6, abs: 0, summed: true };
const moments: Class = { rel: 5e-6, abs: 5e-6 };
/** Relative down to the smallest arguments. */
const series: Class = { rel: 1e-6, abs: 0, gradient: 1e-7 };

function among(ops: string, bounds: Class): Record<string, Class> {
  return Object.fromEntries(ops.split(" ").map((op) => [op, bounds]));
}

/** Bounds of ops; those of the own series where an op is not named. */
const classes: Readonly<Record<string, Class>> = {
  ...among("neg abs sign floor ceil trunc round frac relu isnan isinf isfinite", exact),
  ...among("eq ne lt le gt ge logicalNot logicalAnd logicalOr logicalXor", exact),
  ...among("maximum minimum clamp where fmod remainder floorDivide", exact),
  ...among("amax amin max min", shared),
  ...among("all any argmax argmin sort topk oneHot gather indexSelect", exact),
  ...among("flip repeat expand permute transpose reshape squeeze unsqueeze triu tril", exact),
  ...among("pad slice cat stack split", exact),
  ...among("add sub mul square outer", { rel: ULP, abs: 0 }),
  ...among("div reciprocal sqrt rsqrt", { rel: 5 * ULP, abs: 0 }),
  ...among("log log2 log10", { rel: 1e-6, abs: 6e-7 }),
  ...among("pow", { rel: 1e-5, abs: 0 }),
  ...among("sin cos tan", { rel: 2e-6, abs: 2e-6 }),
  ...among("sum mean cumsum matmul dot scatterAdd", sums),
  ...among("prod", { rel: ULP, abs: 0, summed: true }),
  ...among("var std", moments),
  ...among("logsumexp", { rel: 2e-6, abs: 2e-6 }),
};

function boundsOf({ name, op, inputs }: OpCase): Class {
  // A mean of 1e4 is known to half of its last place, and the gradient is a difference from it.
  if (name === "var: large mean") return { ...moments, gradient: 2.5e-4 };
  if (op !== "exp" && op !== "exp2") return classes[op] ?? series;
  const sizes = values(inputs.input).filter(Number.isFinite).map(Math.abs);
  return { rel: (4 + 2 * Math.max(...sizes)) * ULP, abs: 0 };
}

function place(device: Device, golden: GoldenTensor, requiresGrad = false): Tensor {
  const { shape, dtype } = golden;
  return tensor(typedValues(golden), { device, shape, dtype, requiresGrad });
}

interface Pass {
  readonly leaves: Outputs;
  readonly outputs: Outputs;
}

function forward(device: Device, golden: OpCase, call: Call): Pass {
  const leaves = Object.fromEntries(
    Object.entries(golden.inputs).map(([k, g]) => [k, place(device, g, k in golden.grads)]),
  );
  const made = call(Object.values(leaves), golden.options);
  return { leaves, outputs: made instanceof Tensor ? { output: made } : made };
}

/** Gradients of `Σ outputs[k] · cotangents[k]` for the leaves. */
function differentiate(device: Device, { cotangents }: OpCase, { outputs }: Pass): void {
  const parts = Object.entries(cotangents).map(([k, g]) => outputs[k].mul(place(device, g)).sum());
  if (parts.length > 0) parts.reduce((a, b) => a.add(b)).backward();
}

/** Sizes of the terms that every number of a case is the sum of, and how many there are. */
interface Terms {
  readonly size: Float64Array;
  readonly count: Float64Array;
}

/**
 * Terms from the derivatives of single outputs on the reference: an output is a sum over the
 * elements of an input, a gradient one over the outputs.
 */
async function termsOf(golden: OpCase, call: Call): Promise<Map<string, Terms>> {
  const { leaves, outputs } = forward(reference, golden, call);
  const names = Object.keys(golden.grads);
  const terms = new Map<string, Terms>();
  const slot = (key: string, { shape }: GoldenTensor): Terms => {
    const count = shape.reduce((a, b) => a * b, 1);
    const made = { size: new Float64Array(count), count: new Float64Array(count) };
    terms.set(key, made);
    return made;
  };
  const sums = names.map((name) => slot(`grad ${name}`, golden.inputs[name]));
  for (const [key, cotangent] of Object.entries(golden.cotangents)) {
    const { shape } = cotangent;
    const weights = values(cotangent);
    const output = slot(key, cotangent);
    for (let j = 0; j < weights.length; j++) {
      const gradient = tensor(weights.map((_, i) => i === j ? 1 : 0), { device: reference, shape });
      const options = { gradient, retainGraph: true, materializeGrads: true };
      const derivatives = grad(outputs[key], names.map((name) => leaves[name]), options);
      for (const [i, name] of names.entries()) {
        const derivative = await derivatives[i].data();
        const x = values(golden.inputs[name]);
        const size = x.reduce((total, v, k) => total + Math.abs(v * derivative[k]), 0);
        output.size[j] = Math.max(output.size[j], size);
        derivative.forEach((d: number, k: number) => {
          sums[i].size[k] += Math.abs(d * weights[j]);
          sums[i].count[k] += d === 0 ? 0 : 1;
        });
      }
    }
  }
  return terms;
}

/** Allowed distances of an output or, four times as wide, of a gradient, which may be a sum too. */
function allowed(bounds: Class, key: string, want: Float64Array, terms?: Terms): Float64Array {
  const { rel, abs, summed, gradient = abs, relGradient = rel } = bounds;
  const isGradient = key.startsWith("grad ");
  return want.map((w, i) => {
    if (!isGradient) return abs + rel * (summed ? terms!.size[i] : Math.abs(w));
    const size = Math.max(Math.abs(w), terms!.size[i]);
    return 4 * (gradient + relGradient * size) + (terms!.count[i] > 1 ? 1e-6 * size : 0);
  });
}

/** One tensor of a case beside PyTorch's. */
interface Item {
  readonly key: string;
  readonly got: Tensor | null;
  readonly want: GoldenTensor;
}

/** Says where numbers are too far apart, or nothing. NaN must meet NaN, infinities each other. */
function distance(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  bounds: ArrayLike<number>,
): string | null {
  for (let i = 0; i < want.length; i++) {
    const same = got[i] === want[i] || (Number.isNaN(got[i]) && Number.isNaN(want[i]));
    if (!same && !(Math.abs(got[i] - want[i]) <= bounds[i])) {
      return `element ${i} is ${got[i]}, expected ${want[i]} within ${bounds[i]}`;
    }
  }
  return null;
}

/** Runs a case and gives a line for everything that is not as in PyTorch. */
async function differences(device: Device, golden: OpCase, call: Call): Promise<string[]> {
  const pass = forward(device, golden, call);
  differentiate(device, golden, pass);
  const items: Item[] = [
    ...Object.entries(golden.outputs).map(([key, want]) => ({
      key,
      got: pass.outputs[key] ?? null,
      want,
    })),
    ...Object.entries(golden.grads).map(([name, want]) => ({
      key: `grad ${name}`,
      got: pass.leaves[name].grad,
      want,
    })),
  ];
  const found = await Promise.all(items.map(({ got }) => got?.data() ?? null));
  const terms = device === reference ? null : await termsOf(golden, call);
  return items.flatMap(({ key, got, want }, i) => {
    const form = got && `${got.dtype} [${got.shape}]`;
    const expected = `${want.dtype} [${want.shape}]`;
    if (form !== expected) return [`${golden.name}, ${key}: ${form}, expected ${expected}`];
    const single = terms !== null && want.dtype === "f32";
    const numbers = single ? values(want).map(Math.fround) : values(want);
    const bounds = terms === null
      ? numbers.map((w) => DIGITS * Math.abs(w))
      : allowed(boundsOf(golden), key, numbers, terms.get(key));
    const line = distance(found[i]!, numbers, bounds);
    return line === null ? [] : [`${golden.name}, ${key}: ${line}`];
  });
}

const byOp = Map.groupBy(opCases, ({ op }) => op);

for (const device of devices) {
  for (const [op, cases] of byOp) {
    Deno.test({
      name: `${op}() gives PyTorch's numbers and gradients, ${device.kind}`,
      fn: async () => {
        using _ = device.scope();
        const lines = await Promise.all(
          cases.map((c) => differences(device, c, notOffered[c.name]?.instead ?? calls[op])),
        );
        assertEquals(lines.flat(), []);
      },
    });
  }
}

Deno.test("every op of the vectors is offered, but for the uses listed with a reason", () => {
  assertEquals(opCases.filter(({ op }) => !(op in calls)).map(({ name }) => name), []);
  const refused = opCases.filter((c) => !gives(c, calls[c.op])).map(({ name }) => name);
  assertEquals(refused.sort(), Object.keys(notOffered).sort());
});

/** Whether a call runs and gives the outputs that PyTorch gives. */
function gives(golden: OpCase, call: Call): boolean {
  try {
    const { outputs } = forward(reference, golden, call);
    return String(Object.keys(outputs)) === String(Object.keys(golden.outputs));
  } catch (error) {
    if (error instanceof ShapeError) return false;
    throw error;
  }
}

Deno.test("the vectors hold at least 324 cases of 101 ops", () => {
  assertEquals([opCases.length >= 324, byOp.size >= 101], [true, true]);
});
