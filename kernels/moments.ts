/**
 * Mean and variance of every column in one pass: batch statistics, together with their running
 * averages.
 *
 * A slice sums differences from its own first rows, so that a mean far from 0 does not cancel;
 * slices are joined by Chan's formula in a fixed order.
 */

import { type ColumnFold, type ColumnParams, columnProgram, rowsOfSlice } from "./columns.ts";
import { operandKey, type StridedOperand } from "./map.ts";
import { type DType, intern, type Kernel, type ScalarType, sizeOf } from "./types.ts";
import { addressesOf, type Binding, loaded, stored, u32 } from "./wgsl.ts";

/** Where running statistics are kept; strides over the columns. */
export interface RunningParams {
  readonly mean: StridedOperand;
  readonly variance: StridedOperand;
  /** Number of batches so far, i32. */
  readonly count: StridedOperand;
  /** Whether each batch weighs one over their number; the count is then read, not written. */
  readonly average: boolean;
}

/** What is made of the statistics of whole columns. */
export interface FinishParams {
  /** Rows of a column in all. */
  readonly count: number;
  readonly running: RunningParams | null;
}

/** Parameters of the statistics of slices, or of columns that are one slice. */
export interface MomentsParams extends ColumnParams {
  /** Only for one slice. */
  readonly finish: FinishParams | null;
}

/** Parameters of joining the statistics of slices. */
export interface JoinParams {
  /** Number of columns. */
  readonly outer: readonly [number];
  /** Number of slices. */
  readonly reduced: readonly [number];
  readonly finish: FinishParams;
}

/** eps, and the share of the batch in the running statistics. */
const SCALARS: readonly ScalarType[] = ["f32", "f32"];

/**
 * Statistics of the columns of one input.
 *
 * Without `finish` the outputs are mean and sum of squared differences of each slice,
 * `[slices, ...outer]`. With it they are mean and 1/√(variance + eps) of each column, then the
 * running mean, the running (unbiased) variance and the count, which is an input if `average`;
 * scalars: eps, share.
 */
export function momentsKernel(params: MomentsParams): Kernel {
  const { outer, reduced, inputs, slices, finish } = params;
  const key = `moments|${outer}|${reduced}|${inputs.map(operandKey)}|${slices}|${
    finishKey(finish)
  }`;
  const chunk = rowsOfSlice(sizeOf(reduced), slices);
  return intern(key, () => ({
    op: "moments",
    key,
    params,
    inputs: [...inputs.map((o) => o.dtype), ...countInput(finish)],
    outputs: outputsOf(finish).map((b) => b.dtype),
    scalars: finish ? SCALARS : [],
    wgsl: (traits) =>
      program(params, finish, traits, {
        names: ["x"],
        first: true,
        terms: ([x]) => [`(${x} - k0)`, `(${x} - k0) * (${x} - k0)`],
        shift: "k0",
        count: finish ? `${finish.count}.0` : "f32(hi - lo)",
      }),
    reference: (ins, outs, scalars) => {
      const [x] = inputs;
      const rank = outer.length;
      const starts = addressesOf(outer, x.strides.slice(0, rank), x.offset);
      const steps = addressesOf(reduced, x.strides.slice(rank), 0);
      starts.forEach((start, c) => {
        for (let s = 0; s < slices; s++) {
          const at = steps.subarray(s * chunk, (s + 1) * chunk);
          const mean = at.reduce((sum, step) => sum + ins[0][start + step], 0) / at.length;
          const m2 = at.reduce((sum, step) => sum + (ins[0][start + step] - mean) ** 2, 0);
          const o = s * starts.length + c;
          if (finish) finishColumn(finish, o, mean, m2, [...outs, ins[1]], scalars);
          else [outs[0][o], outs[1][o]] = [mean, m2];
        }
      });
    },
  }));
}

/** The kernel that joins what momentsKernel() found in slices; outputs and scalars as there. */
export function joinMomentsKernel(params: JoinParams): Kernel {
  const { outer: [columns], reduced: [slices], finish } = params;
  const key = `join moments|${columns}|${slices}|${finishKey(finish)}`;
  const chunk = rowsOfSlice(finish.count, slices);
  const rest = finish.count - chunk * (slices - 1);
  const operand: StridedOperand = { dtype: "f32", strides: [1, columns], offset: 0 };
  const shape = { ...params, inputs: [operand, operand], slices: 1 };
  const weight = `select(${chunk}.0, ${rest}.0, r == ${slices - 1}u)`;
  return intern(key, () => ({
    op: "moments",
    key,
    params,
    inputs: ["f32", "f32", ...countInput(finish)],
    outputs: outputsOf(finish).map((b) => b.dtype),
    scalars: SCALARS,
    wgsl: (traits) =>
      program(shape, finish, traits, {
        names: ["part_means", "part_m2s"],
        first: true,
        terms: ([mean, m2]) => [
          `${weight} * (${mean} - k0)`,
          `(${m2} + ${weight} * (${mean} - k0) * (${mean} - k0))`,
        ],
        shift: "k0",
        count: `${finish.count}.0`,
      }),
    reference: ([means, m2s, count], outs, scalars) => {
      for (let c = 0; c < columns; c++) {
        const weights = Array.from({ length: slices }, (_, s) => s === slices - 1 ? rest : chunk);
        const of = (values: Float64Array, s: number) => values[s * columns + c];
        const mean = weights.reduce((sum, w, s) => sum + w * of(means, s), 0) / finish.count;
        const m2 = weights.reduce(
          (sum, w, s) => sum + of(m2s, s) + w * (of(means, s) - mean) ** 2,
          0,
        );
        finishColumn(finish, c, mean, m2, [...outs, count], scalars);
      }
    },
  }));
}

function finishKey(finish: FinishParams | null): string {
  if (finish === null) return "slices";
  const { count, running } = finish;
  if (running === null) return `${count}`;
  const operands = [running.mean, running.variance, running.count].map(operandKey);
  return `${count}|${operands.join(";")}|${running.average}`;
}

function countInput(finish: FinishParams | null): DType[] {
  return finish?.running?.average ? ["i32"] : [];
}

function outputsOf(finish: FinishParams | null): Omit<Binding, "width">[] {
  if (finish === null) return ["means", "m2s"].map((name) => ({ name, dtype: "f32" }));
  const { running } = finish;
  const made: Omit<Binding, "width">[] = ["means", "scales"].map((name) => ({
    name,
    dtype: "f32",
  }));
  if (running === null) return made;
  made.push({ name: "running_mean", dtype: running.mean.dtype });
  made.push({ name: "running_variance", dtype: running.variance.dtype });
  if (!running.average) made.push({ name: "batches", dtype: "i32" });
  return made;
}

/** What the two kernels differ in. */
interface Pass extends Pick<ColumnFold, "names" | "first" | "terms"> {
  /** What the terms are relative to. */
  readonly shift: string;
  /** Text of the number of values behind the sums. */
  readonly count: string;
}

function program(
  shape: ColumnParams,
  finish: FinishParams | null,
  traits: Parameters<Kernel["wgsl"]>[0],
  { names, first, terms, shift, count }: Pass,
): ReturnType<Kernel["wgsl"]> {
  return columnProgram(
    shape,
    {
      names,
      extra: countInput(finish).map((dtype) => ({ name: "batches", dtype })),
      outputs: outputsOf(finish),
      wide: finish === null,
      scalars: finish ? SCALARS : [],
      functions: finish ? finishFunction(finish) : "",
      first,
      terms,
      store: (width) => {
        const lines = [
          `  let n = ${count};`,
          `  let mean = ${shift} + a / n;`,
          "  let m2 = b - a * a / n;",
        ];
        const parts = width === 4 ? [".x", ".y", ".z", ".w"] : [""];
        if (finish === null) lines.push("  means[o] = mean; m2s[o] = m2;");
        else parts.forEach((p, j) => lines.push(`  finish(c + ${j}u, mean${p}, m2${p});`));
        return lines.join("\n");
      },
    },
    traits,
  );
}

/** The WGSL function that stores what is known of a column. */
function finishFunction({ count, running }: FinishParams): string {
  const lines = [
    // Rounding may leave a sum of squares below 0.
    "  let square = keep_nan(m2, max(m2, 0.0));",
    "  means[c] = mean;",
    `  scales[c] = inverseSqrt(square / ${count}.0 + u.s0);`,
  ];
  if (running !== null) {
    const at = (o: StridedOperand) => `${u32(o.offset)} + c * ${u32(o.strides[0] ?? 0)}`;
    const move = (name: string, o: StridedOperand, to: string) => {
      const place = `${name}[${at(o)}]`;
      const old = loaded(o.dtype, place);
      lines.push(`  ${place} = ${stored(o.dtype, `${old} + share * (${to} - ${old})`)};`);
    };
    const batches = `batches[${u32(running.count.offset)}]`;
    lines.push(`  let share = ${running.average ? `1.0 / f32(${batches})` : "u.s1"};`);
    move("running_mean", running.mean, "mean");
    move("running_variance", running.variance, `square / ${count - 1}.0`);
    if (!running.average) lines.push(`  if (c == 0u) { ${batches} = ${batches} + 1; }`);
  }
  return `fn finish(c: u32, mean: f32, m2: f32) {\n${lines.join("\n")}\n}`;
}

/** The same in double precision; `tensors` are the outputs, then the count where it is an input. */
function finishColumn(
  { count, running }: FinishParams,
  c: number,
  mean: number,
  m2: number,
  tensors: readonly Float64Array[],
  [eps, momentum]: readonly number[],
): void {
  const [means, scales, runningMean, runningVariance, batches] = tensors;
  means[c] = mean;
  scales[c] = 1 / Math.sqrt(m2 / count + eps);
  if (running === null) return;
  const share = running.average ? 1 / batches[running.count.offset] : momentum;
  const move = (values: Float64Array, o: StridedOperand, to: number) => {
    const at = o.offset + c * (o.strides[0] ?? 0);
    values[at] += share * (to - values[at]);
  };
  move(runningMean, running.mean, mean);
  move(runningVariance, running.variance, m2 / (count - 1));
  if (c === 0 && !running.average) batches[running.count.offset]++;
}
