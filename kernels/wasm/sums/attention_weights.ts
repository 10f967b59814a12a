/** From scores to weights, and to the gradients of scores, in the memory of a thread: four neighbours at a time. */

import type { AttentionParams } from "../../attention.ts";
import { helpersFor } from "../../math_wgsl.ts";
import { threefryFunction } from "../../threefry.ts";
import type { Kernel } from "../../types.ts";
import { least, type Names, sum as sumOfCode, times } from "./arithmetic.ts";
import {
  type Code,
  countUp,
  f32,
  f32x4,
  get,
  getGlobal,
  i32,
  i32x4,
  type Local,
  select,
  set,
  v128,
} from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import { argOffsets } from "../program.ts";
import { TILE_COLUMNS } from "./tile.ts";
import { WgslFunctions } from "../wgsl/functions.ts";

const WEIGHT = `fn weight(x: f32) -> f32 { return precise_exp(x); }
fn logarithm(x: f32) -> f32 { return precise_log(x); }`;
const KEEP = `fn keep(at: u32) -> f32 {
  return select(u.s4, 0.0, (threefry(u.s1, u.s2, at, 0u).x >> 8u) < u.s3);
}`;

/** A block of scores: where it lies, which rows and panels of columns it has, and where a factor for each row is put. */
export interface ScoreBlock extends Names<"item" | "row0" | "rows" | "from" | "until" | "factors"> {
  /** Addresses of the scores, and of the gradients of the weights where those are computed. */
  readonly scores: readonly Code[];
  /** Bytes of a row of scores. */
  readonly line: number;
}

/** The part of the kernels between their products. */
export class AttentionWeights {
  readonly #kernel: Kernel;
  readonly #p: AttentionParams;
  readonly #args: number;
  readonly #functions: WgslFunctions;

  constructor(module: ModuleBuilder, kernel: Kernel, args: number) {
    this.#kernel = kernel;
    this.#p = kernel.params as AttentionParams;
    this.#args = args;
    const text = this.#p.dropout ? [WEIGHT, threefryFunction(), KEEP].join("\n") : WEIGHT;
    this.#functions = new WgslFunctions(module, `${helpersFor(text)}\n${text}`, {
      global: args,
      operands: kernel.inputs.length + kernel.outputs.length,
      types: kernel.scalars,
    });
  }

  get #byKey(): boolean {
    return this.#kernel.op === "attentionKeyGradient";
  }

  #operand(n: number): Code {
    return i32.load(getGlobal(this.#args), argOffsets.operand(n));
  }

  get #scale(): Code {
    const operands = this.#kernel.inputs.length + this.#kernel.outputs.length;
    return f32.load(getGlobal(this.#args), argOffsets.scalar(0, operands));
  }

  /** Statements that turn the scores of a block into what the second products take. */
  block(fn: FunctionBuilder, block: ScoreBlock): Code {
    const [r, row, from, until, at, other] = fn.locals(6, "i32");
    const { item, row0, rows, line, scores } = block;
    const begin = [
      set(from, times(block.from, TILE_COLUMNS)),
      set(until, times(block.until, TILE_COLUMNS)),
    ];
    const scale = fn.local("v128");
    const names = { r, row, item, from, until, at, other, scale, factors: block.factors };
    const body = this.#kernel.op === "attention"
      ? this.#softmax(fn, names)
      : this.#gradient(fn, names);
    return [
      begin,
      set(scale, f32x4.splat(this.#scale)),
      countUp(r, i32.const(0), get(rows), 1, [
        set(row, i32.add(get(row0), get(r))),
        set(at, i32.add(scores[0], times(r, line))),
        scores.length > 1 ? set(other, i32.add(scores[1], times(r, line))) : [],
        body,
      ]),
    ];
  }

  /** Prepares a row: statements to come first, and the score of four columns, −∞ where they do not count. */
  #scores(
    fn: FunctionBuilder,
    { row, item, at, scale }: Names<"row" | "item" | "at" | "scale">,
    j: Local,
    index: Local,
  ): { before: Code; score: (offset: number) => Code } {
    const { causal, queries, keys, mask } = this.#p;
    const lowest = fn.local("v128");
    const bound = fn.local("v128");
    const maskRow = fn.local("i32");
    const size = this.#byKey ? queries : keys;
    const last = causal && !this.#byKey
      ? least(get(row), i32.const(size - 1))
      : i32.const(size - 1);
    const before: Code[] = [
      set(lowest, f32x4.splat(f32.const(-Infinity))),
      set(bound, i32x4.splat(last)),
      mask ? set(maskRow, this.#maskRow(item, row)) : [],
    ];
    const address = i32.add(get(at), times(j, 4));
    const score = (offset: number): Code => {
      let value = f32x4.mul(v128.load(address, 4 * offset), get(scale));
      let counts = i32x4.le_s(get(index), get(bound));
      if (causal && this.#byKey) {
        counts = v128.and(counts, i32x4.ge_s(get(index), i32x4.splat(get(row))));
      }
      if (mask) {
        const words = this.#maskFour(maskRow, j, offset);
        if (mask.dtype === "f32") value = f32x4.add(value, words);
        else counts = v128.and(counts, i32x4.ne(words, v128.const([0, 0, 0, 0])));
      }
      return v128.bitselect(value, get(lowest), counts);
    };
    return { before, score };
  }

  /** Address of the mask of a row's first column. */
  #maskRow(item: Local, row: Local): Code {
    const { batch } = this.#p;
    const mask = this.#p.mask!;
    const own = this.#byKey ? mask.columnStride : mask.rowStride;
    let at: Code = sumOfCode(this.#operand(3), i32.const(4 * mask.offset), times(row, 4 * own));
    let below = 1;
    for (let d = batch.length - 1; d >= 0; below *= batch[d--]) {
      if (mask.batchStrides[d] === 0) continue;
      const index = i32.rem_u(i32.div_u(get(item), i32.const(below)), i32.const(batch[d]));
      at = i32.add(at, i32.mul(index, i32.const(4 * mask.batchStrides[d])));
    }
    return at;
  }

  /** Four neighbours of the mask; columns behind the last are read as the last one. */
  #maskFour(maskRow: Local, j: Local, offset: number): Code {
    const { queries, keys } = this.#p;
    const mask = this.#p.mask!;
    const [step, size] = this.#byKey ? [mask.rowStride, queries] : [mask.columnStride, keys];
    if (step === 0) return v128.load32_splat(get(maskRow));
    if (step === 1) return v128.load(i32.add(get(maskRow), times(j, 4)), 4 * offset);
    const lane = (n: number) => {
      const column = i32.add(get(j), i32.const(offset + n));
      const inside = least(column, i32.const(size - 1));
      return i32.load(i32.add(get(maskRow), i32.mul(inside, i32.const(4 * step))));
    };
    return [1, 2, 3].reduce(
      (value, n) => i32x4.replace_lane(value, n, lane(n)),
      i32x4.splat(lane(0)),
    );
  }

  /** Statements for what four weights are multiplied with, and that value. */
  #keep(
    fn: FunctionBuilder,
    { item, row }: Names<"item" | "row">,
    index: Local,
  ): { before: Code; value: Code } {
    const { queries, keys } = this.#p;
    const at = fn.local("v128");
    const item0 = i32.mul(get(item), i32.const(queries * keys));
    const place = this.#byKey
      ? i32x4.add(
        i32x4.splat(i32.add(item0, get(row))),
        i32x4.mul(get(index), i32x4.splat(i32.const(keys))),
      )
      : i32x4.add(i32x4.splat(i32.add(item0, times(row, keys))), get(index));
    const { before, value } = this.#functions.inline(fn, "keep", [get(at)], 4);
    return { before: [set(at, place), before], value };
  }

  /** Repeats statements for four columns at a time; `index` holds their numbers. */
  #eachFour(
    j: Local,
    index: Local,
    { from, until }: Names<"from" | "until">,
    four: (offset: number) => Code,
  ): Code {
    const next = set(index, i32x4.add(get(index), v128.const([4, 4, 4, 4])));
    return [
      set(index, i32x4.add(i32x4.splat(get(from)), v128.const([0, 1, 2, 3]))),
      countUp(j, get(from), get(until), TILE_COLUMNS, [four(0), next, four(4), next]),
    ];
  }

  /** Weights before they are divided by their sum; the factor of the row does that. */
  #softmax(
    fn: FunctionBuilder,
    names: Names<"r" | "row" | "item" | "from" | "until" | "at" | "other" | "scale" | "factors">,
  ): Code {
    const { r, row, item, at, factors } = names;
    const { queries, dropout } = this.#p;
    const j = fn.local("i32");
    const [index, x, highest, shifts, total] = fn.locals(5, "v128");
    const [top, all, log] = fn.locals(3, "f32");
    const { before, score } = this.#scores(fn, names, j, index);
    const address = i32.add(get(at), times(j, 4));
    const lane = (v: Local, n: number) => f32x4.extract_lane(get(v), n);
    const fold = (v: Local, join: (a: Code, b: Code) => Code) =>
      join(join(lane(v, 0), lane(v, 1)), join(lane(v, 2), lane(v, 3)));
    const weight = this.#functions.inline(fn, "weight", [get(x)], 4);
    const keep = dropout ? this.#keep(fn, names, index) : null;
    const logarithm = this.#functions.inline(fn, "logarithm", [get(all)], 1);
    const finite = i32.and(
      f32.lt(get(top), f32.const(Infinity)),
      f32.gt(get(top), f32.const(-Infinity)),
    );
    const none = f32.eq(get(all), f32.const(0));
    const place = i32.add(times(item, queries), get(row));
    return [
      before,
      set(highest, f32x4.splat(f32.const(-Infinity))),
      this.#eachFour(j, index, names, (offset) => [
        set(x, score(offset)),
        v128.store(address, get(x), 4 * offset),
        set(highest, f32x4.max(get(highest), get(x))),
      ]),
      set(top, fold(highest, f32.max)),
      set(top, select(get(top), f32.const(0), finite)),
      set(shifts, f32x4.splat(get(top))),
      set(total, v128.const([0, 0, 0, 0])),
      this.#eachFour(j, index, names, (offset) => [
        set(x, f32x4.sub(v128.load(address, 4 * offset), get(shifts))),
        weight.before,
        set(x, weight.value),
        set(total, f32x4.add(get(total), get(x))),
        keep ? [keep.before, set(x, f32x4.mul(get(x), keep.value))] : [],
        v128.store(address, get(x), 4 * offset),
      ]),
      set(all, fold(total, f32.add)),
      logarithm.before,
      set(log, f32.add(get(top), logarithm.value)),
      f32.store(
        i32.add(get(factors), times(r, 4)),
        select(f32.const(0), f32.div(f32.const(1), get(all)), none),
      ),
      f32.store(
        i32.add(this.#operand(this.#kernel.inputs.length + 1), i32.mul(place, i32.const(4))),
        select(f32.const(0), get(log), none),
      ),
    ];
  }

  /** Gradients of the scores; for gradients of keys the weights, too, in the place of the scores. */
  #gradient(
    fn: FunctionBuilder,
    names: Names<"row" | "item" | "from" | "until" | "at" | "other" | "scale">,
  ): Code {
    const { row, item, at, other, scale } = names;
    const { queries, dropout } = this.#p;
    const [j, numbers] = fn.locals(2, "i32");
    const [index, x, w, change, logs, rests] = fn.locals(6, "v128");
    const { before, score } = this.#scores(fn, names, j, index);
    const weight = this.#functions.inline(fn, "weight", [get(x)], 4);
    const keep = dropout ? this.#keep(fn, names, index) : null;
    const kept = keep ? fn.local("v128") : null;
    const own = i32.add(times(item, 8 * queries), this.#byKey ? i32.const(0) : times(row, 4));
    const rowsOperand = this.#kernel.inputs.length - 1;
    const numbersOf = (
      load: (address: Code, at: number) => Code,
      address: Code,
      offset: number,
    ) => [
      set(logs, load(address, offset)),
      set(rests, load(address, offset + 4 * queries)),
    ];
    const each = (offset: number): Code => {
      const along = i32.add(get(numbers), times(j, 4));
      const places = [at, other].map((p) => i32.add(get(p), times(j, 4)));
      const ofWeight = v128.load(places[1], 4 * offset);
      return [
        this.#byKey ? numbersOf(v128.load, along, 4 * offset) : [],
        set(x, f32x4.sub(score(offset), get(logs))),
        weight.before,
        set(w, weight.value),
        set(change, ofWeight),
        keep && kept
          ? [
            keep.before,
            set(kept, keep.value),
            set(change, f32x4.mul(get(change), get(kept))),
          ]
          : [],
        set(change, f32x4.mul(get(w), f32x4.sub(get(change), get(rests)))),
        set(change, f32x4.mul(get(change), get(scale))),
        v128.store(this.#byKey ? places[1] : places[0], get(change), 4 * offset),
        this.#byKey
          ? v128.store(places[0], kept ? f32x4.mul(get(w), get(kept)) : get(w), 4 * offset)
          : [],
      ];
    };
    return [
      before,
      set(numbers, i32.add(this.#operand(rowsOperand), own)),
      this.#byKey ? [] : numbersOf(v128.load32_splat, get(numbers), 0),
      this.#eachFour(j, index, names, each),
    ];
  }
}
