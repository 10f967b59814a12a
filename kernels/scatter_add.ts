/**
 * Sums at places that an index tensor names along one axis, without atomics: each element of the
 * result adds up its own contributions in a fixed order.
 *
 * Either it looks through the whole line of the index, or, where that is long, through its segment
 * of the sorted line.
 */

import { operandKey, type StridedOperand } from "./map.ts";
import {
  type DeviceTraits,
  type DType,
  intern,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, addressesOf, coordinates, grid, perThread, shader, u32 } from "./wgsl.ts";

/** The contributions are found by looking through the line of the index. */
export interface ScanSearch {
  readonly kind: "scan";
  /** Strides over the axes of the result, along `dim` the step of the index. */
  readonly index: StridedOperand;
}

/** The contributions are found by segments of the sorted line of the index. */
export interface SegmentSearch {
  readonly kind: "segments";
  /**
   * Where the segment of each place begins; one element more along `dim`, so that the next one is
   * its end.
   */
  readonly starts: StridedOperand;
  /** Positions in the index, sorted by place. */
  readonly order: StridedOperand;
  /**
   * Sorted positions that one thread goes through at most; where there are more, the result is
   * `[slices, ...shape]`.
   */
  readonly chunk: number;
}

/** How an element of the result finds its contributions. */
export type Search = ScanSearch | SegmentSearch;

/** Slices of the sorted line that are summed apart. */
function slicesOf({ search, sourceShape, dim }: ScatterAddParams): number {
  return search.kind === "scan" ? 1 : Math.ceil(sourceShape[dim] / search.chunk);
}

/** Parameters of a scatter-add: `y = base`, then `y[…, index[…, i, …], …] += source[…, i, …]`. */
export interface ScatterAddParams {
  /** Of the result, which is dense and row-major. */
  readonly shape: Shape;
  readonly dim: number;
  /**
   * Sizes of index and source; along other axes than `dim` they may be smaller than those of the
   * result.
   */
  readonly sourceShape: Shape;
  readonly search: Search;
  /** Strides over the axes of the result; f32, i32 or u32. */
  readonly source: StridedOperand;
  /** What is added to; 0 where it is null, as it must be where there are slices. */
  readonly base: StridedOperand | null;
}

function searchOperands(search: Search): StridedOperand[] {
  return search.kind === "scan" ? [search.index] : [search.starts, search.order];
}

/**
 * The scatter-add of these parameters. Inputs: source, index or (starts, order), and the base where
 * there is one.
 */
export function scatterAddKernel(params: ScatterAddParams): Kernel {
  const { shape, dim, sourceShape, search, source, base } = params;
  const operands = [source, ...searchOperands(search), ...(base ? [base] : [])];
  const key = `scatterAdd|${shape}|${dim}|${sourceShape}|${search.kind}|${base !== null}|${
    search.kind === "segments" ? search.chunk : ""
  }|${operands.map(operandKey).join(";")}`;
  return intern(key, () => ({
    op: "scatterAdd",
    key,
    params,
    inputs: operands.map((o) => o.dtype),
    outputs: [source.dtype],
    scalars: [],
    wgsl: (traits) => scatterAddProgram(params, traits),
    reference: (ins, outs) => scatterAddReference(params, ins, outs[0]),
  }));
}

/** Strides without the step along an axis. */
function across(strides: readonly number[], dim: number): number[] {
  return strides.map((s, d) => d === dim ? 0 : s);
}

function scatterAddProgram(params: ScatterAddParams, traits: DeviceTraits): WgslProgram {
  const { shape, dim, sourceShape, search, source, base } = params;
  const { dtype } = source;
  const start = (o: StridedOperand) => address("c", across(o.strides, dim), o.offset);
  const step = (o: StridedOperand) => u32(o.strides[dim]);
  const limits = shape.flatMap((n, d) =>
    d === dim || sourceShape[d] >= n ? [] : [`c${d} < ${sourceShape[d]}u`]
  );
  const first = base === null ? `${dtype}(0)` : `base[${address("c", base.strides, base.offset)}]`;
  const added = `x[from0 + j * ${step(source)}]`;
  const loop = search.kind === "scan"
    ? [
      `    let at0 = ${start(search.index)};`,
      `    for (var j = 0u; j < ${sourceShape[dim]}u; j++) {`,
      `      if (u32(places[at0 + j * ${step(search.index)}]) == c${dim}) { sum += ${added}; }`,
      `    }`,
    ]
    : [
      `    let s0 = ${address("c", search.starts.strides, search.starts.offset)};`,
      `    let at0 = ${start(search.order)};`,
      `    let until = min(u32(starts[s0 + ${
        step(search.starts)
      }]), (slice + 1u) * ${search.chunk}u);`,
      `    for (var s = max(u32(starts[s0]), slice * ${search.chunk}u); s < until; s++) {`,
      `      let j = u32(order[at0 + s * ${step(search.order)}]);`,
      `      sum += ${added};`,
      `    }`,
    ];
  const count = sizeOf(shape);
  const body = [
    `  let slice = i / ${count}u;`,
    `  let place = i % ${count}u;`,
    coordinates("place", shape, "c"),
    `  var sum = ${first};`,
    `  if (${limits.length > 0 ? limits.join(" && ") : "true"}) {`,
    `    let from0 = ${start(source)};`,
    ...loop,
    `  }`,
    `  y[i] = sum;`,
  ].join("\n");
  const names = ["x", ...(search.kind === "scan" ? ["places"] : ["starts", "order"]), "base"];
  const operands = [source, ...searchOperands(search), ...(base ? [base] : [])];
  const inputs = operands.map((o, n) => ({ name: names[n], dtype: o.dtype }));
  return {
    code: shader(inputs, [{ name: "y", dtype }], [], perThread(count * slicesOf(params), body)),
    groups: grid(count * slicesOf(params), traits),
  };
}

function scatterAddReference(
  params: ScatterAddParams,
  [x, ...rest]: readonly Float64Array[],
  out: Float64Array,
): void {
  const { shape, dim, sourceShape, search, source, base } = params;
  const size = sizeOf(shape);
  const from = base && addressesOf(shape, base.strides, base.offset);
  for (let i = 0; i < size * slicesOf(params); i++) out[i] = from ? rest.at(-1)![from[i]] : 0;
  const wrap = (v: number) => source.dtype === "i32" ? v | 0 : source.dtype === "u32" ? v >>> 0 : v;
  const lineShape = sourceShape.map((n, d) => d === dim ? 1 : n);
  const lines = ({ strides, offset }: Omit<StridedOperand, "dtype">) =>
    addressesOf(lineShape, strides, offset);
  const dense = shape.map((_, d) => sizeOf(shape.slice(d + 1)));
  const outputs = lines({ strides: dense, offset: 0 });
  const sources = lines(source);
  const [first, second] = searchOperands(search).map(lines);
  outputs.forEach((output, line) => {
    const add = (k: number, j: number, slice: number) => {
      const at = slice * size + output + k * dense[dim];
      out[at] = wrap(out[at] + x[sources[line] + j * source.strides[dim]]);
    };
    if (search.kind === "scan") {
      for (let j = 0; j < sourceShape[dim]; j++) {
        const k = rest[0][first[line] + j * search.index.strides[dim]];
        if (k >= 0 && k < shape[dim]) add(k, j, 0);
      }
      return;
    }
    const start = (k: number) => rest[0][first[line] + k * search.starts.strides[dim]];
    for (let k = 0; k < shape[dim]; k++) {
      for (let s = start(k); s < start(k + 1); s++) {
        const j = rest[1][second[line] + s * search.order.strides[dim]];
        add(k, j, Math.floor(s / search.chunk));
      }
    }
  });
}

/** Parameters of the search for segments in sorted lines. */
export interface SegmentStartsParams {
  readonly lines: number;
  /** Elements of a line, ascending. */
  readonly length: number;
  /** Places; the result has one more element for each line. */
  readonly size: number;
}

/**
 * Where each place's segment starts: input i32 `[lines, length]`, output i32 `[lines, size + 1]`.
 */
export function segmentStartsKernel(params: SegmentStartsParams): Kernel {
  const { lines, length, size } = params;
  const key = `segmentStarts|${lines}|${length}|${size}`;
  const types: readonly DType[] = ["i32"];
  return intern(key, () => ({
    op: "segmentStarts",
    key,
    params,
    inputs: types,
    outputs: types,
    scalars: [],
    wgsl: (traits) => segmentStartsProgram(params, traits),
    reference: ([x], [out]) => {
      for (let line = 0; line < lines; line++) {
        const row = x.subarray(line * length, (line + 1) * length);
        let at = 0;
        for (let k = 0; k <= size; k++) {
          while (at < length && row[at] < k) at++;
          out[line * (size + 1) + k] = at;
        }
      }
    },
  }));
}

function segmentStartsProgram(
  { lines, length, size }: SegmentStartsParams,
  traits: DeviceTraits,
): WgslProgram {
  const count = lines * (size + 1);
  const body = [
    `  let line = i / ${size + 1}u;`,
    `  let place = i32(i % ${size + 1}u);`,
    `  var low = 0u;`,
    `  var high = ${length}u;`,
    `  while (low < high) {`,
    `    let middle = (low + high) / 2u;`,
    `    let before = x[line * ${length}u + middle] < place;`,
    `    low = select(low, middle + 1u, before);`,
    `    high = select(middle, high, before);`,
    `  }`,
    `  y[i] = i32(low);`,
  ].join("\n");
  const name = (n: string) => [{ name: n, dtype: "i32" } as const];
  return {
    code: shader(name("x"), name("y"), [], perThread(count, body)),
    groups: grid(count, traits),
  };
}
