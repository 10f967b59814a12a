/** Random steps over a few tensors, as data that a property test can shrink. */

import {
  bernoulli,
  concat,
  conv2d,
  type Device,
  type DType,
  full,
  grad,
  jit,
  type Jitted,
  manualSeed,
  noGrad,
  onesLike,
  type Shape,
  type Tensor,
  tensor,
  zerosLike,
} from "../../../core/mod.ts";
import { randomValues } from "../../util.ts";

/** One instruction: which, and numbers that choose its operands among what there is. */
export type Instruction = readonly [kind: number, a: number, b: number, c: number];

/** A step: instructions, and which of the tensors it has at the end it returns. */
export interface RandomStep {
  readonly instructions: readonly Instruction[];
  readonly results: readonly number[];
}

/** Memory that a step uses: its arguments, and what lives on from step to step. */
export interface StepMemory {
  readonly args: readonly Tensor[];
  readonly persistent: readonly Tensor[];
}

type Op = (pool: readonly Tensor[], a: number, b: number, c: number) => readonly Tensor[];

const floats = (pool: readonly Tensor[]) => pool.filter((t) => t.dtype === "f32");
const numbers = (pool: readonly Tensor[]) => pool.filter((t) => t.dtype !== "bool");
const pick = <T>(list: readonly T[], n: number): T => list[n % list.length];

function fits(target: Shape, source: Shape): boolean {
  const lead = target.length - source.length;
  return lead >= 0 && source.every((n, d) => n === 1 || n === target[d + lead]);
}

function meet(a: Shape, b: Shape): boolean {
  const rank = Math.max(a.length, b.length);
  for (let d = 1; d <= rank; d++) {
    const [m, n] = [a[a.length - d] ?? 1, b[b.length - d] ?? 1];
    if (m !== n && m !== 1 && n !== 1) return false;
  }
  return true;
}

/** Whether each element has a place of its own, which an expanded view's have not. */
function isWritable(t: Tensor): boolean {
  return t.strides.every((stride, d) => stride !== 0 || t.shape[d] === 1);
}

/** Results are kept small, so that many steps run in little time. */
const MOST = 4096;

function partner(pool: readonly Tensor[], a: Tensor, n: number): Tensor {
  return pick(
    pool.filter((t) => meet(a.shape, t.shape) && t.size * a.size <= MOST * 16),
    n,
  ) ?? a;
}

const unary = ["relu", "neg", "tanh", "abs", "square", "sigmoid", "floor"] as const;
const binary = ["add", "mul", "sub", "maximum", "minimum", "div"] as const;

const ops: Readonly<Record<string, Op>> = {
  unary: (pool, a, b) => [pick(floats(pool), a)[pick(unary, b)]()],
  binary: (pool, a, b, c) => {
    const x = pick(numbers(pool), a);
    return [x[pick(binary, c)](partner(numbers(pool), x, b))];
  },
  number: (pool, a, b, c) => {
    const x = pick(numbers(pool), a);
    return [x[pick(["add", "mul", "maximum"] as const, b)]((c % 7) - 3)];
  },
  compare: (pool, a, b) => {
    const x = pick(floats(pool), a);
    return [x.gt(partner(floats(pool), x, b))];
  },
  where: (pool, a, b, c) => {
    const x = pick(floats(pool), b);
    const condition = pool.filter((t) => t.dtype === "bool" && fits(x.shape, t.shape));
    if (condition.length === 0) return [];
    const y = pick(floats(pool).filter((t) => fits(x.shape, t.shape)), c);
    return [pick(condition, a).where(x, y)];
  },
  cast: (pool, a, b) => {
    const x = pick(pool, a);
    const types: DType[] = ["f32", "i32", "u32", "bool"];
    if (x.device.traits.f16) types.push("f16");
    return [x.to(pick(types, b))];
  },
  sum: (pool, a, b, c) => {
    const x = pick(floats(pool), a);
    const dims = x.shape.map((_, d) => d).filter((d) => (b >> d) & 1);
    const dim = dims.length === 0 ? undefined : dims;
    const fold = pick(["sum", "mean", "max", "min", "prod"] as const, c);
    return [x[fold](dim, { keepdim: c % 2 === 0 })];
  },
  softmax: (pool, a, b) => {
    const x = pick(floats(pool), a);
    return x.ndim === 0 ? [] : [x.softmax(b % x.ndim)];
  },
  variance: (pool, a, b) => {
    const x = pick(floats(pool), a);
    return x.ndim === 0 ? [] : [x.var(b % x.ndim, { keepdim: true, correction: 0 })];
  },
  matmul: (pool, a, b) => {
    const left = pick(floats(pool).filter((t) => t.ndim >= 2), a);
    if (left === undefined) return [];
    const fitting = floats(pool).filter((t) => t.ndim === 2 && t.shape[0] === left.shape.at(-1));
    const right = pick(fitting, b) ?? left.transpose(-1, -2);
    return [left.matmul(right)];
  },
  conv2d: (pool, a, b, c) => {
    const image = pick(floats(pool).filter((t) => t.ndim >= 2 && t.size % 16 === 0), a);
    if (image === undefined) return [];
    const weight = pick(floats(pool).filter((t) => t.size % 16 === 0), b).reshape([-1]);
    const channels = 1 + c % 2;
    const x = image.reshape([-1, channels, 4 / channels, 4]);
    const w = weight.narrow(0, 0, 16).reshape([4 / channels, channels, 2, 2]);
    return [conv2d(x, w, null, { padding: c % 3 === 0 ? 1 : 0 })];
  },
  permute: (pool, a, b) => {
    const x = pick(pool, a);
    const dims = x.shape.map((_, d) => d);
    for (let d = dims.length - 1; d > 0; d--) {
      const other = (b >> d) % (d + 1);
      [dims[d], dims[other]] = [dims[other], dims[d]];
    }
    return [x.permute(dims)];
  },
  slice: (pool, a, b, c) => {
    const x = pick(pool, a);
    if (x.ndim === 0) return [];
    const axis = b % x.ndim;
    const start = c % x.shape[axis];
    const step = 1 + ((c >> 3) % 2);
    return [x.slice(...x.shape.map((_, d) => d === axis ? { start, step } : null))];
  },
  expand: (pool, a, b) => {
    const x = pick(pool, a);
    if (x.size > 64 || x.ndim > 3) return [];
    return [
      x.unsqueeze(b % (x.ndim + 1)).expand([
        ...x.shape.slice(0, b % (x.ndim + 1)),
        2 + b % 3,
        ...x.shape.slice(b % (x.ndim + 1)),
      ]),
    ];
  },
  flip: (pool, a, b) => {
    const x = pick(pool, a);
    return x.ndim === 0 ? [] : [x.flip(b % x.ndim)];
  },
  pad: (pool, a, b, c) => {
    const x = pick(pool, a);
    const padding = x.shape.map((_, d) => [(b >> d) & 1, (c >> d) % 3] as const);
    return [x.pad(padding, x.dtype === "f32" ? c % 5 : 0)];
  },
  concat: (pool, a, b, c) => {
    const x = pick(pool, a);
    if (x.ndim === 0) return [];
    const axis = b % x.ndim;
    const alike = pool.filter((t) =>
      t.dtype === x.dtype && t.ndim === x.ndim &&
      t.shape.every((n, d) => d === axis || n === x.shape[d])
    );
    return [concat([x, pick(alike, c), pick(alike, b)], axis)];
  },
  reshape: (pool, a, b) => {
    const x = pick(pool, a);
    const first = pick([1, 2, 4, 8].filter((n) => x.size % n === 0), b);
    return [b % 3 === 0 ? x.reshape([-1]) : x.reshape([first, -1])];
  },
  update: (pool, a, b, c) => {
    const target = pick(floats(pool), a);
    const sources = floats(pool).filter((t) => fits(target.shape, t.shape));
    if (!isWritable(target)) return [];
    const source = pick(sources, b);
    if (c % 4 === 0) target.fill_(c % 9);
    else if (c % 4 === 1) target.copy_(source);
    else target.add_(source, c % 4 === 2 ? 1 : 0.5);
    return [];
  },
  started: (pool, a, b, c) => {
    const source = pick(floats(pool).filter((t) => fits([2, 4, 8], t.shape)), a);
    const start = (first: number) => {
      const values = Array.from({ length: 64 }, (_, i) => first + i);
      return tensor(values, { device: source.device, shape: [2, 4, 8] });
    };
    const [x, y] = [start(b % 3), start(c % 3)];
    return c % 2 === 0 ? [x.add_(source), y.add_(source)] : [x, y.slice(1).fill_(c)];
  },
  window: (pool, a, b, c) => {
    const x = pick(pool, a).reshape([-1]);
    const [rows, columns] = [1 + b % 4, 1 + c % 5];
    const from = x.size < rows * columns ? -1 : (b + c) % (x.size - rows * columns + 1);
    return from < 0 ? [] : [x.narrow(0, from, rows * columns).reshape([rows, columns])];
  },
  opaque: (pool, a, b) => {
    const x = pick(floats(pool), a);
    return x.ndim === 0 ? [] : [x.cumsum(b % x.ndim)];
  },
  store: (pool, a, b, c) => {
    const like = pick(floats(pool).filter((t) => t.ndim > 0 && isWritable(t)), a);
    const source = pick(floats(pool).filter((t) => fits(like.shape, t.shape)), b);
    const whole = source.add(zerosLike(like));
    const value = [whole.cumsum(0), whole.tanh(), whole.sort().values][c % 3];
    const before = b % 3 === 0 ? [like.cumsum(0)] : [];
    if (b % 5 === 0) like.slice({ stop: 1 }).fill_(b);
    like.copy_(value);
    const [first, last] = [like.slice({ stop: 1 }), like.slice({ start: -1 })];
    if (a % 4 === 0) last.add_(value.slice({ stop: 1 }));
    if (a % 4 === 1) first.fill_(c);
    const after = c % 4 === 0 ? [value.square().cumsum(0)] : [];
    return [value, ...before, ...after];
  },
  product: (pool, a, b, c) => {
    const x = pick(floats(pool).filter((t) => t.ndim === 2 && isWritable(t)), a);
    const square = x.matmul(x.flip(0).t());
    const fitting = floats(pool).filter((t) => t.ndim === 2 && t.shape[0] === x.shape[1]);
    const other = x.matmul(pick(fitting, b) ?? x.t());
    if (c % 3 === 0) return [square.add(square.t()).tanh(), other];
    if (c % 3 === 1) return [square, other.relu(), other.sub(1)];
    if (square.shape[0] === x.shape[1]) x.copy_(c % 2 === 0 ? square : square.sub(x));
    return [square.add(x.slice(null, { stop: 1 }))];
  },
  full: (pool, a, b) => {
    const x = pick(pool, a);
    return [b % 2 === 0 ? onesLike(x) : full(x.shape, b % 3, { device: x.device })];
  },
  gradient: (pool, a, b, c) => {
    const x = pick(floats(pool), a).detach();
    x.requiresGrad = true;
    const y = x.mul(partner(floats(pool), x, b));
    const z = pick([
      () => y.tanh(),
      () => y.ndim > 1 ? y.matmul(y.transpose(-1, -2)) : y.square(),
      () => y.ndim > 0 ? y.softmax(-1).square() : y,
      () => y.sub(y.mean()).square(),
      () => concat([y.reshape([-1]), x.reshape([-1])]).square(),
    ], c)();
    return grad(z.sum(), [x]);
  },
  constant: (pool, a, b) => {
    const x = pick(pool, a);
    const values = Array.from({ length: 4 }, (_, i) => b % 5 + i);
    return [tensor(values, { device: x.device })];
  },
  random: (pool, a) => [bernoulli([2 + a % 3, 4], 0.5, { device: pool[0].device })],
};

const names = Object.keys(ops);

/** How many kinds of instructions there are. */
export const KINDS = names.length;

/** A step in words, for a property that fails. */
export function describe({ instructions, results }: RandomStep): string {
  const lines = instructions.map(([kind, a, b, c]) => `${pick(names, kind)} ${a} ${b} ${c}`);
  return `${lines.join("; ")}; return ${results.join(", ")}`;
}

/** Tensors for a step: arguments of which two share memory, and persistent ones of which two do. */
export function memoryOf(device: Device): StepMemory {
  const make = (shape: Shape) => tensor(new Float32Array(product(shape)), { device, shape });
  const [image, row, matrix, store] = [make([2, 4, 8]), make([8]), make([4, 4]), make([6, 8])];
  const flat = make([100]);
  // Rows that begin where a range may be bound.
  const rows = make([3, 64]);
  return {
    args: [image, row, image.permute([2, 0, 1]), flat.narrow(0, 66, 32).reshape([4, 8])],
    persistent: [
      matrix,
      store,
      store.slice({ start: 1, stop: 5 }, { step: 2 }),
      make([]),
      rows.select(0, 0),
      rows.select(0, 2).reshape([2, 4, 8]),
    ],
  };
}

function product(shape: Shape): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Gives the arguments the values of a turn; the persistent tensors too, before the first. */
export function fillMemory({ args, persistent }: StepMemory, turn: number): void {
  noGrad(() => {
    const some = turn === 0 ? [...args, ...persistent] : args;
    some.forEach((t, i) => {
      using values = tensor(randomValues(t.size, 100 * turn + i, -2, 2), {
        device: t.device,
        shape: t.shape,
      });
      t.copy_(values);
    });
  });
}

/** The step as a function of its arguments. */
export function functionOf(
  { instructions, results }: RandomStep,
  persistent: readonly Tensor[],
): (...args: readonly Tensor[]) => Tensor[] {
  return (...args) => {
    const pool = [...args, ...persistent];
    for (const [kind, a, b, c] of instructions) {
      const made = ops[pick(names, kind)](pool, a, b, c);
      pool.push(...made.filter((t) => t.size > 0 && t.size <= MOST));
    }
    return results.map((n) => pick(pool, n));
  };
}

/** Fails at a call that reads and writes one buffer, which a GPU refuses. */
function watchHazards(device: Device): Disposable {
  const stop = device.intercept({
    record: (call) => {
      const written = new Set(call.outputs.map((o) => o.buffer));
      if (call.inputs.some((o) => written.has(o.buffer))) {
        throw new Error(`one dispatch reads and writes a buffer: ${call.kernel.key}`);
      }
      device.backend.run(call);
    },
  });
  return { [Symbol.dispose]: stop };
}

/** All that can be seen after each of some turns: results, arguments and persistent tensors. */
export async function observe(
  device: Device,
  step: RandomStep,
  captured: boolean,
  turns = 3,
): Promise<{ values: ArrayLike<number>[][]; shapes: Shape[] }> {
  using _ = device.scope();
  using _watch = watchHazards(device);
  const memory = memoryOf(device);
  const eager = functionOf(step, memory.persistent);
  const run: typeof eager | Jitted<readonly Tensor[], Tensor[]> = captured ? jit(eager) : eager;
  const values: ArrayLike<number>[][] = [];
  const held: Tensor[] = [];
  let shapes: Shape[] = [];
  manualSeed(7);
  for (let turn = 0; turn < turns; turn++) {
    fillMemory(memory, turn);
    const results = run(...memory.args);
    shapes = results.map((t) => t.shape);
    // Later turns leave the results of earlier ones alone.
    const seen = [...results, ...memory.args, ...memory.persistent, ...held];
    held.push(...results);
    values.push(await Promise.all(seen.map((t) => t.data())));
  }
  if (captured) (run as Jitted<readonly Tensor[], Tensor[]>).reset();
  return { values, shapes };
}
