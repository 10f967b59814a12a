/** Every view with what it means for plain arrays. */

import { concat, stack, type Tensor } from "../../core/mod.ts";
import { indices, listOf, type Plain, plainOf } from "./plain.ts";

/** A view under test with its meaning. */
export interface ViewCase {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly view: (...inputs: Tensor[]) => Tensor;
  readonly plain: (...inputs: Plain[]) => Plain;
}

const row = (shape: readonly number[]) => (x: Plain) => plainOf(shape, listOf(x));

function permuted(x: Plain, order: readonly number[]): Plain {
  return {
    shape: order.map((d) => x.shape[d]),
    at: (index) => x.at(order.map((_, d) => index[order.indexOf(d)])),
  };
}

/** The elements whose positions along each axis these lists name. */
function picked(x: Plain, lists: readonly (readonly number[])[]): Plain {
  return {
    shape: lists.map((list) => list.length),
    at: (index) => x.at(index.map((i, d) => lists[d][i])),
  };
}

function padded(x: Plain, padding: readonly (readonly number[])[], value: number): Plain {
  return {
    shape: x.shape.map((n, d) => n + padding[d][0] + padding[d][1]),
    at: (index) => {
      const inner = index.map((i, d) => i - padding[d][0]);
      return inner.every((i, d) => i >= 0 && i < x.shape[d]) ? x.at(inner) : value;
    },
  };
}

function joined(arrays: readonly Plain[], axis: number): Plain {
  const [{ shape }] = arrays;
  const total = arrays.reduce((n, x) => n + x.shape[axis], 0);
  return {
    shape: shape.map((n, d) => d === axis ? total : n),
    at: (index) => {
      let i = index[axis];
      for (const x of arrays) {
        if (i < x.shape[axis]) return x.at(index.map((k, d) => d === axis ? i : k));
        i -= x.shape[axis];
      }
      return NaN;
    },
  };
}

function repeated(x: Plain, counts: readonly number[]): Plain {
  const lead = counts.length - x.shape.length;
  return {
    shape: counts.map((n, d) => d < lead ? n : n * x.shape[d - lead]),
    at: (index) => x.at(index.slice(lead).map((i, d) => i % x.shape[d])),
  };
}

const abc = [3, 4, 5];
const one = (
  name: string,
  shape: readonly number[],
  view: (x: Tensor) => Tensor,
  plain: (x: Plain) => Plain,
): ViewCase => ({ name, shapes: [shape], view, plain });

/** The cases, each of which keeps at least one element unless its name says otherwise. */
export const viewCases: readonly ViewCase[] = [
  one("reshape to two axes", abc, (x) => x.reshape([6, -1]), row([6, 10])),
  one("view with more axes", abc, (x) => x.view([3, 2, 2, 5, 1]), row([3, 2, 2, 5, 1])),
  one("reshape across axes", abc, (x) => x.reshape([5, 4, 3]), row([5, 4, 3])),
  one("reshape of a scalar", [], (x) => x.reshape([1, 1]), row([1, 1])),
  one("reshape of nothing", [0, 3], (x) => x.reshape([3, 0, 2]), row([3, 0, 2])),
  one("flatten", abc, (x) => x.flatten(), row([60])),
  one("flatten of some axes", abc, (x) => x.flatten(1, -1), row([3, 20])),
  one("flatten of a scalar", [], (x) => x.flatten(), row([1])),
  one("permute", abc, (x) => x.permute([2, 0, 1]), (x) => permuted(x, [2, 0, 1])),
  one("permute from the end", abc, (x) => x.permute([-1, -3, -2]), (x) => permuted(x, [2, 0, 1])),
  one("transpose", abc, (x) => x.transpose(0, -1), (x) => permuted(x, [2, 1, 0])),
  one("t", abc, (x) => x.t(), (x) => permuted(x, [0, 2, 1])),
  one("contiguous", abc, (x) => x.permute([1, 2, 0]).contiguous(), (x) => permuted(x, [1, 2, 0])),
  one("squeeze", [1, 3, 1, 2], (x) => x.squeeze(), row([3, 2])),
  one("squeeze of named axes", [1, 3, 1, 2], (x) => x.squeeze([-2]), row([1, 3, 2])),
  one("unsqueeze", abc, (x) => x.unsqueeze(1), row([3, 1, 4, 5])),
  one("unsqueeze at the end", abc, (x) => x.unsqueeze(-1), row([3, 4, 5, 1])),
  one("expand", [3, 1, 5], (x) => x.expand([2, -1, 4, 5]), (x) => ({
    shape: [2, 3, 4, 5],
    at: ([, i, , k]) => x.at([i, 0, k]),
  })),
  one("expand of a scalar", [], (x) => x.expand([2, 3]), (x) => ({
    shape: [2, 3],
    at: () => x.at([]),
  })),
  one(
    "slice",
    abc,
    (x) => x.slice({ start: 1 }, null, { step: 2 }),
    (x) => picked(x, [[1, 2], [0, 1, 2, 3], [0, 2, 4]]),
  ),
  one(
    "slice from the end",
    abc,
    (x) => x.slice(null, { start: -3, stop: -1 }, { start: -99, stop: 99, step: 3 }),
    (x) => picked(x, [[0, 1, 2], [1, 2], [0, 3]]),
  ),
  one("slice with an index", abc, (x) => x.slice(-1, { start: 2 }, 0), (x) => ({
    shape: [2],
    at: ([i]) => x.at([2, i + 2, 0]),
  })),
  one(
    "slice to nothing",
    abc,
    (x) => x.slice({ start: 2, stop: 1 }),
    (x) => picked(x, [[], [0, 1, 2, 3], [0, 1, 2, 3, 4]]),
  ),
  one(
    "narrow",
    abc,
    (x) => x.narrow(1, -3, 2),
    (x) => picked(x, [[0, 1, 2], [1, 2], [0, 1, 2, 3, 4]]),
  ),
  one("select", abc, (x) => x.select(-2, -1), (x) => ({
    shape: [3, 5],
    at: ([i, k]) => x.at([i, 3, k]),
  })),
  one("flip", abc, (x) => x.flip(1), (x) => ({
    shape: abc,
    at: ([i, j, k]) => x.at([i, 3 - j, k]),
  })),
  one("flip of two axes", abc, (x) => x.flip([0, -1]), (x) => ({
    shape: abc,
    at: ([i, j, k]) => x.at([2 - i, j, 4 - k]),
  })),
  one("flip of a slice", abc, (x) => x.slice(null, { start: 1, step: 2 }).flip(1), (x) => ({
    shape: [3, 2, 5],
    at: ([i, j, k]) => x.at([i, 3 - 2 * j, k]),
  })),
  one(
    "pad",
    abc,
    (x) => x.pad([[1, 2], [0, 0], [3, 1]]),
    (x) => padded(x, [[1, 2], [0, 0], [3, 1]], 0),
  ),
  one(
    "pad with a number",
    [2, 3],
    (x) => x.pad([[0, 1], [2, 0]], 7),
    (x) => padded(x, [[0, 1], [2, 0]], 7),
  ),
  one(
    "pad of nothing",
    [0, 2],
    (x) => x.pad([[1, 0], [0, 1]], 3),
    (x) => padded(x, [[1, 0], [0, 1]], 3),
  ),
  one("repeat", abc, (x) => x.repeat([2, 1, 3]), (x) => repeated(x, [2, 1, 3])),
  one("repeat along new axes", [2, 3], (x) => x.repeat([2, 1, 2]), (x) => repeated(x, [2, 1, 2])),
  one("repeat no times", [2, 3], (x) => x.repeat([0, 1]), (x) => repeated(x, [0, 1])),
  one(
    "split by a size",
    abc,
    (x) => x.split(2, -1)[2],
    (x) => picked(x, [[0, 1, 2], [0, 1, 2, 3], [4]]),
  ),
  one(
    "split by sizes",
    abc,
    (x) => x.split([1, 0, 3], 1)[2],
    (x) => picked(x, [[0, 1, 2], [1, 2, 3], [0, 1, 2, 3, 4]]),
  ),
  {
    name: "concat",
    shapes: [[2, 3], [2, 1], [2, 4]],
    view: (...xs) => concat(xs, -1),
    plain: (...xs) => joined(xs, 1),
  },
  {
    name: "concat with nothing",
    shapes: [[0, 3], [2, 3]],
    view: (...xs) => concat(xs),
    plain: (...xs) => joined(xs, 0),
  },
  {
    name: "stack",
    shapes: [[2, 3], [2, 3]],
    view: (...xs) => stack(xs, 1),
    plain: (...xs) => joined(xs.map((x) => plainOf([2, 1, 3], listOf(x))), 1),
  },
  {
    name: "stack at the end",
    shapes: [[2], [2], [2]],
    view: (...xs) => stack(xs, -1),
    plain: (...xs) => joined(xs.map((x) => plainOf([2, 1], listOf(x))), 1),
  },
];

/** All elements of a case's result by its meaning. */
export function meaningOf({ shapes, plain }: ViewCase, inputs: readonly Plain[]): Plain {
  if (inputs.length !== shapes.length) throw new Error("a case takes one input for each shape");
  const result = plain(...inputs);
  return plainOf(result.shape, indices(result.shape).map((index) => result.at(index)));
}
