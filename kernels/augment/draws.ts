/**
 * What random changes of images are drawn from: a row of numbers for each image, each a function of
 * key, column, sample and epoch alone. The counter is (sample, epoch); column j adds j to the key's
 * first word, and a number that needs many blocks counts them in the second. Keys are not derived
 * from keys here, since compilers of shaders take minutes over ciphers of ciphers.
 */

import { operandKey, type StridedOperand } from "../map.ts";
import { threefry2x32, threefryFunction } from "../threefry.ts";
import {
  type DeviceTraits,
  intern,
  type Kernel,
  type ScalarType,
  type WgslProgram,
} from "../types.ts";
import { address, type Binding, grid, perThread, shader, u32 } from "../wgsl.ts";
import { float } from "./text.ts";

/** How a column is distributed. */
export type DrawKind =
  | { readonly kind: "uniform"; readonly low: number; readonly high: number }
  /** The exponential of a uniform number; both ends above 0. */
  | { readonly kind: "logUniform"; readonly low: number; readonly high: number }
  /** 1 with probability p, else 0. */
  | { readonly kind: "flag"; readonly p: number }
  /** 0 to count - 1, count at most 2^16; with a probability of 1 - p count itself. @default p {1} */
  | { readonly kind: "integer"; readonly count: number; readonly p?: number }
  | { readonly kind: "beta"; readonly a: number; readonly b: number };

/** A column; `shared` ones are the same for all images of a batch. */
export type DrawColumn = DrawKind & { readonly shared?: boolean };

/** Parameters of the rows of a batch. */
export interface DrawsParams {
  /** Images. */
  readonly count: number;
  readonly columns: readonly DrawColumn[];
  /** i32 or u32 over [count]: the first word of the counter; null for 0, 1, 2 … */
  readonly samples: StridedOperand | null;
  /** i32 or u32, one element: the second word; null for the scalar. */
  readonly epoch: StridedOperand | null;
}

/** The sample of shared columns. */
const SHARED = 0xffffffff;
/**
 * Twice the attempts at a gamma number, of which each succeeds with more than 95 %. It comes as a
 * run-time number, since compilers would write all attempts out.
 */
export const DRAW_TRIES = 34;
/** The key's two words, the position, the attempts. */
const SCALARS: readonly ScalarType[] = ["u32", "u32", "u32", "u32"];

/** Rows of random numbers, f32 [count, columns]. Inputs: samples, epoch, as far as they are there. */
export function drawsKernel(params: DrawsParams): Kernel {
  const { count, columns, samples, epoch } = params;
  const operands = [samples, epoch].filter((o) => o !== null);
  const key = `augment draws|${count}|${JSON.stringify(columns)}|${samples !== null}|${
    operands.map(operandKey).join("|")
  }`;
  return intern(key, () => ({
    op: "augment draws",
    key,
    params,
    inputs: operands.map((o) => o.dtype),
    outputs: ["f32"],
    scalars: SCALARS,
    wgsl: (traits) => program(params, traits),
    reference: (ins, [out], scalars) => reference(params, ins, out, scalars),
  }));
}

function program(params: DrawsParams, traits: DeviceTraits): WgslProgram {
  const { count, columns, samples, epoch } = params;
  const inputs: Binding[] = [];
  if (samples !== null) inputs.push({ name: "samples", dtype: samples.dtype });
  if (epoch !== null) inputs.push({ name: "epoch", dtype: epoch.dtype });
  const sample = samples === null
    ? "c0"
    : `u32(samples[${address("c", samples.strides, samples.offset)}])`;
  const shared = columns.flatMap((column, j) => column.shared ? [`j == ${j}u`] : []);
  const body = [
    `  let c0 = i / ${columns.length}u;`,
    `  let j = i % ${columns.length}u;`,
    `  let own = ${sample};`,
    `  let sample = ${
      shared.length === 0 ? "own" : `select(own, ${SHARED}u, ${shared.join(" || ")})`
    };`,
    `  let turn = ${epoch === null ? "u.s2" : `u32(epoch[${u32(epoch.offset)}])`};`,
    "  let w = threefry(u.s0 + j, u.s1, sample, turn);",
    "  let share = f32(w.x >> 8u) * 5.9604644775390625e-8;",
    "  var value = 0.0;",
    ...columns.map((column, j) => `  if (j == ${j}u) { value = ${valueText(column)}; }`),
    "  y[i] = value;",
  ].join("\n");
  const betas = columns.some((column) => column.kind === "beta") ? [gammaFunction()] : [];
  const threads = count * columns.length;
  const text = [threefryFunction(), ...betas, perThread(threads, body)].join("\n");
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32" }], SCALARS, text),
    groups: grid(threads, traits),
  };
}

/** A number from the block `w` of the thread's column, or from more blocks of it. */
function valueText(column: DrawColumn): string {
  const uniform = (low: number, high: number) => `(${float(low)} + share * ${float(high - low)})`;
  switch (column.kind) {
    case "uniform":
      return uniform(column.low, column.high);
    case "logUniform":
      return `precise_exp(${uniform(Math.log(column.low), Math.log(column.high))})`;
    case "flag":
      return `select(0.0, 1.0, (w.x >> 8u) < ${threshold(column.p)}u)`;
    case "integer": {
      const { count, p = 1 } = column;
      const whole = `f32(((w.x >> 16u) * ${count}u) >> 16u)`;
      return p === 1 ? whole : `select(${float(count)}, ${whole}, (w.y >> 8u) < ${threshold(p)}u)`;
    }
    case "beta":
      return `beta(u.s0 + j, u.s1, sample, turn, ${float(column.a)}, ${float(column.b)})`;
  }
}

/** A draw of 24 bits below this one is a flag. */
function threshold(p: number): number {
  return Math.ceil(p * 2 ** 24);
}

/**
 * `beta(k0, k1, sample, turn, a, b)`, from the logarithms of two gamma numbers (Marsaglia and Tsang,
 * "A simple method for generating gamma variables", 2000).
 */
function gammaFunction(): string {
  return `fn unit_log(word: u32) -> f32 {
  return precise_log((f32(word >> 8u) + 1.0) * 5.9604644775390625e-8);
}
fn beta(k0: u32, k1: u32, sample: u32, turn: u32, a: f32, b: f32) -> f32 {
  var logs = 0.0;
  for (var side = 0u; side < 2u; side++) {
    let shape = select(a, b, side == 1u);
    let d = select(shape, shape + 1.0, shape < 1.0) - 0.33333334;
    let c = 1.0 / sqrt(9.0 * d);
    var result = 0.0;
    var boost = 0.0;
    var found = false;
    for (var t = 0u; t < u.s3; t += 2u) {
      let w = threefry(k0, k1 + 64u * side + t, sample, turn);
      let more = threefry(k0, k1 + 64u * side + t + 1u, sample, turn);
      let x = sqrt(-2.0 * unit_log(w.x)) * precise_cos(f32(w.y >> 8u) * 3.7450703e-7);
      let v = 1.0 + c * x;
      let log_v = 3.0 * precise_log(max(v, 1e-30));
      let accepted = v > 0.0 && !found &&
        unit_log(more.x) < 0.5 * x * x + d - d * v * v * v + d * log_v;
      result = select(result, log_v, accepted);
      boost = select(boost, unit_log(more.y) / shape, accepted && shape < 1.0);
      found = found || accepted;
    }
    let log_gamma = precise_log(d) + result + boost;
    logs = select(log_gamma, logs - log_gamma, side == 1u);
  }
  return 1.0 / (1.0 + precise_exp(-logs));
}`;
}

function reference(
  { count, columns, samples, epoch }: DrawsParams,
  ins: readonly Float64Array[],
  out: Float64Array,
  [k0, k1, position]: readonly number[],
): void {
  const turns = ins[samples === null ? 0 : 1];
  const turn = epoch === null ? position : turns[epoch.offset];
  for (let n = 0; n < count; n++) {
    const sample = samples === null ? n : ins[0][samples.offset + n * samples.strides[0]];
    columns.forEach((column, j) => {
      const at: Place = { key: [k0 + j, k1], sample: column.shared ? SHARED : sample, turn };
      out[n * columns.length + j] = valueOf(column, at);
    });
  }
}

/** Where a number is drawn. */
interface Place {
  readonly key: readonly [number, number];
  readonly sample: number;
  readonly turn: number;
}

function valueOf(column: DrawColumn, place: Place): number {
  const { key: [k0, k1], sample, turn } = place;
  const [word, other] = threefry2x32(k0, k1, sample, turn);
  const uniform = (low: number, high: number) => low + (word >>> 8) / 2 ** 24 * (high - low);
  switch (column.kind) {
    case "uniform":
      return uniform(column.low, column.high);
    case "logUniform":
      return Math.exp(uniform(Math.log(column.low), Math.log(column.high)));
    case "flag":
      return (word >>> 8) < threshold(column.p) ? 1 : 0;
    case "integer":
      return (other >>> 8) < threshold(column.p ?? 1)
        ? ((word >>> 16) * column.count) >>> 16
        : column.count;
    case "beta":
      return 1 / (1 + Math.exp(logGamma(place, 64, column.b) - logGamma(place, 0, column.a)));
  }
}

/** The boost of shapes below 1 comes from a word that says nothing about the acceptance. */
function logGamma({ key: [k0, k1], sample, turn }: Place, from: number, a: number): number {
  const words = (t: number) => {
    return threefry2x32(k0, k1 + from + t, sample, turn).map((word) => word >>> 8);
  };
  const unit = (bits: number) => Math.log((bits + 1) / 2 ** 24);
  const d = (a < 1 ? a + 1 : a) - 1 / 3;
  for (let t = 0; t < DRAW_TRIES; t += 2) {
    const [first, second] = words(t);
    const x = Math.sqrt(-2 * unit(first)) * Math.cos(2 * Math.PI * second / 2 ** 24);
    const v = 1 + x / Math.sqrt(9 * d);
    if (v <= 0) continue;
    const logV = 3 * Math.log(v);
    const [limit, boost] = words(t + 1);
    if (unit(limit) < 0.5 * x * x + d - d * v ** 3 + d * logV) {
      return Math.log(d) + logV + (a < 1 ? unit(boost) / a : 0);
    }
  }
  return Math.log(d);
}
