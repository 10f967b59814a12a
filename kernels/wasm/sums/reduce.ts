/**
 * Reductions as loops over vectors: of neighbouring results where the last kept axis is dense, or of neighbouring values where the
 * last folded axis is. The order of every fold follows from the sizes alone.
 */

import { dtypeOf, type Expr } from "../../expr.ts";
import { exprFunction } from "../../expr_code.ts";
import { helpersFor } from "../../math_wgsl.ts";
import { neutralValue, type ReduceParams, splitAxis } from "../../reduce.ts";
import { bytesPerElement, type DType, type Kernel, sizeOf } from "../../types.ts";
import { type Fold, foldOf } from "./folds.ts";
import {
  type Code,
  countUp,
  get,
  i32,
  ifElse,
  type Local,
  select,
  set,
  setGlobal,
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { loadFour, loadOne, storeFour, storeOne } from "./operands.ts";
import { argOffsets, type CpuProgram } from "../program.ts";
import { WgslFunctions } from "../wgsl/functions.ts";
import { least } from "./arithmetic.ts";

/** Values along a row from which on vectors pay. */
const LONG_ROW = 8;
/** Vectors of neighbouring results that a task folds, and folds that take turns for each. */
const VECTORS = 4;
const PARTS = 2;
/** Vectors of neighbouring values that take turns. */
const ROW_VECTORS = 4;

/** The program of a reduction, or null where neither axis is dense. */
export function reduceProgram(kernel: Kernel, features: WasmFeatures): CpuProgram | null {
  const params = kernel.params as ReduceParams;
  const { outer, reduced, inputs } = params;
  const rank = outer.length;
  const dense = (axis: number) =>
    inputs.length > 0 && inputs.some((o) => o.strides[axis] === 1) &&
    inputs.every((o) => o.strides[axis] === 0 || o.strides[axis] === 1);
  const last = rank + reduced.length - 1;
  if (reduced.at(-1)! >= LONG_ROW && dense(last)) return new Reduction(kernel, features).rows();
  if (rank > 0 && outer[rank - 1] >= 4 && dense(rank - 1)) {
    return new Reduction(kernel, features).columns();
  }
  return null;
}

/** A reduction in the making. */
class Reduction {
  readonly #kernel: Kernel;
  readonly #params: ReduceParams;
  readonly #module: ModuleBuilder;
  readonly #args: number;
  readonly #formulas: WgslFunctions;
  readonly #fold: Fold;
  readonly #type: DType;
  readonly #fn: FunctionBuilder;
  /** Where the current values of the inputs are. */
  readonly #pointers: readonly Local[];
  readonly #slice: Local;

  constructor(kernel: Kernel, features: WasmFeatures) {
    const params = kernel.params as ReduceParams;
    const types = params.inputs.map((o) => o.dtype);
    this.#kernel = kernel;
    this.#params = params;
    this.#type = dtypeOf(params.expr, types);
    this.#fold = foldOf(params.fold, this.#type, neutralValue(params.fold, this.#type));
    this.#module = new ModuleBuilder(features);
    this.#args = this.#module.global();
    const text = exprFunction("f", params.expr, types) +
      (params.post ? `\n${exprFunction("post", params.post, [this.#type])}` : "");
    this.#formulas = new WgslFunctions(this.#module, `${helpersFor(text)}\n${text}`, {
      global: this.#args,
      operands: kernel.inputs.length + kernel.outputs.length,
      types: kernel.scalars,
    });
    this.#fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase0");
    this.#pointers = this.#fn.locals(params.inputs.length, "i32");
    this.#slice = this.#fn.local("i32");
  }

  /** A task is one result. */
  rows(): CpuProgram {
    const { outer, reduced } = this.#params;
    const last = reduced.length - 1;
    const fn = this.#fn;
    const lanes = fn.locals(ROW_VECTORS, "v128");
    const rest = fn.local(this.#fold.scalar);
    const index = fn.local("i32");
    const line = (count: Local): Code => {
      const whole = fn.local("i32");
      const counter = fn.local("i32");
      return [
        set(whole, i32.and(get(count), i32.const(-4 * ROW_VECTORS))),
        countUp(counter, i32.const(0), get(whole), 4 * ROW_VECTORS, [
          lanes.map((part, k) => this.#foldFour(part, last, 4 * k)),
          this.#move(last, 4 * ROW_VECTORS),
        ]),
        set(whole, i32.and(get(count), i32.const(-4))),
        ifElse(
          i32.lt_u(get(counter), get(whole)),
          countUp(counter, get(counter), get(whole), 4, [
            this.#foldFour(lanes[0], last, 0),
            this.#move(last, 4),
          ]),
        ),
        ifElse(
          i32.lt_u(get(counter), get(count)),
          countUp(counter, get(counter), get(count), 1, [
            this.#foldOne(rest),
            this.#move(last, 1),
          ]),
        ),
      ];
    };
    const outers = sizeOf(outer);
    const body: Code = [
      this.#position(index, outers),
      lanes.map((part) => set(part, this.#fold.start4)),
      set(rest, this.#fold.start),
      this.#overLines(0, line),
      set(rest, this.#fold.join(get(rest), this.#fold.across(fn, this.#joined(lanes)))),
      this.#storeOne(rest, index),
    ];
    const values = sizeOf(reduced) / this.#params.splits;
    const tasks = outers * this.#params.splits;
    return this.#program(tasks, values * this.#valueNs() / 2 + 20, body, index);
  }

  /** A task is a few vectors of neighbouring results. */
  columns(): CpuProgram {
    const { outer, reduced } = this.#params;
    const columns = outer.at(-1)!;
    const fn = this.#fn;
    const last = reduced.length - 1;
    const wide = 4 * VECTORS;
    const blocks = Math.ceil(columns / wide);
    const rest = columns % wide;
    const index = fn.local("i32");
    const block = fn.local("i32");
    const lead = sizeOf(outer) / columns;
    const sums = (count: number): Code => {
      const vectors = Math.ceil(count / 4);
      const parts = Math.floor(PARTS * VECTORS / vectors);
      const all = Array.from({ length: parts }, () => fn.locals(vectors, "v128"));
      const axis = outer.length - 1;
      const row = (part: readonly Local[], step: number): Code =>
        part.map((sum, g) => this.#foldFour(sum, axis - outer.length, 4 * g, [last, step]));
      const line = (length: Local): Code => {
        const [counter, whole] = fn.locals(2, "i32");
        return [
          set(whole, i32.sub(get(length), i32.rem_u(get(length), i32.const(parts)))),
          countUp(counter, i32.const(0), get(whole), parts, [
            all.map((part, k) => row(part, k)),
            this.#move(last, parts),
          ]),
          ifElse(
            i32.lt_u(get(counter), get(length)),
            countUp(counter, get(counter), get(length), 1, [row(all[0], 0), this.#move(last, 1)]),
          ),
        ];
      };
      return [
        all.flat().map((sum) => set(sum, this.#fold.start4)),
        this.#overLines(0, line),
        all[0].map((sum, g) => [
          set(sum, this.#joined(all.map((part) => part[g]))),
          this.#storeFour(sum, index, g, Math.min(4, count - 4 * g)),
        ]),
      ];
    };
    const whole = sums(wide);
    const body: Code = [
      this.#position(index, lead, block, blocks),
      rest === 0
        ? whole
        : blocks === 1
        ? sums(rest)
        : ifElse(i32.eq(get(block), i32.const(blocks - 1)), sums(rest), whole),
    ];
    const values = sizeOf(reduced) / this.#params.splits;
    const tasks = lead * blocks * this.#params.splits;
    return this.#program(
      tasks,
      values * Math.min(wide, columns) * this.#valueNs() / 2,
      body,
      index,
    );
  }

  /** Nanoseconds that a value takes, about. */
  #valueNs(): number {
    return 0.4 * Math.max(1, this.#params.inputs.length);
  }

  #program(tasks: number, taskNs: number, body: Code, task: Local): CpuProgram {
    const fn = this.#fn;
    const [args, begin, end] = fn.params;
    const counter = fn.local("i32");
    fn.emit(
      setGlobal(this.#args, get(args)),
      countUp(counter, get(begin), get(end), 1, [set(task, get(counter)), body]),
    );
    return {
      code: this.#module.encode(),
      phases: [{ tasks, taskNs }],
      sharedBytes: 0,
      threadBytes: 0,
    };
  }

  /**
   * Takes the number of a task apart: the slice, and the index of the result (of the first one of a block), and sets the pointers
   * to the first values.
   */
  #position(index: Local, outers: number, block?: Local, blocks = 1): Code {
    const { outer, inputs, splits, reduced } = this.#params;
    const columns = block === undefined ? 1 : outer.at(-1)!;
    const axes = block === undefined ? outer : outer.slice(0, -1);
    const split = splitAxis(reduced);
    const chunk = Math.ceil(reduced[split] / splits);
    const row = this.#fn.local("i32");
    const width = 4 * VECTORS;
    return [
      block === undefined ? set(row, get(index)) : [
        set(block, i32.rem_u(get(index), i32.const(blocks))),
        set(row, i32.div_u(get(index), i32.const(blocks))),
      ],
      set(this.#slice, i32.div_u(get(row), i32.const(outers))),
      set(row, i32.rem_u(get(row), i32.const(outers))),
      this.#pointers.map((pointer, n) => {
        const o = inputs[n];
        const bytes = bytesPerElement(o.dtype);
        const operand = i32.load([0x23, this.#args], argOffsets.operand(n));
        const terms: Code[] = [operand, i32.const(o.offset * bytes)];
        let below = 1;
        for (let d = axes.length - 1; d >= 0; below *= axes[d--]) {
          if (o.strides[d] === 0 || axes[d] === 1) continue;
          const at = i32.rem_u(i32.div_u(get(row), i32.const(below)), i32.const(axes[d]));
          terms.push(i32.mul(at, i32.const(o.strides[d] * bytes)));
        }
        const along = o.strides[outer.length - 1];
        if (block !== undefined && along !== 0) {
          terms.push(i32.mul(get(block), i32.const(width * bytes)));
        }
        if (splits > 1) {
          const step = o.strides[outer.length + split] * chunk * bytes;
          terms.push(i32.mul(get(this.#slice), i32.const(step)));
        }
        return set(pointer, terms.reduce((a, b) => i32.add(a, b)));
      }),
      set(index, i32.mul(get(row), i32.const(columns))),
      block === undefined
        ? []
        : set(index, i32.add(get(index), i32.mul(get(block), i32.const(width)))),
    ];
  }

  /** Repeats the line of values for all other folded axes from `d` on; the pointers come back. */
  #overLines(d: number, line: (count: Local) => Code): Code {
    const { reduced } = this.#params;
    const fn = this.#fn;
    const count = fn.local("i32");
    const counted = set(count, this.#countOf(d));
    if (d === reduced.length - 1) return [counted, line(count)];
    const counter = fn.local("i32");
    const kept = fn.locals(this.#pointers.length, "i32");
    return [
      counted,
      countUp(counter, i32.const(0), get(count), 1, [
        this.#pointers.map((p, n) => set(kept[n], get(p))),
        this.#overLines(d + 1, line),
        this.#pointers.map((p, n) => set(p, get(kept[n]))),
        this.#move(d, 1),
      ]),
    ];
  }

  /** Values along a folded axis, in the slice. */
  #countOf(d: number): Code {
    const { reduced, splits } = this.#params;
    const size = reduced[d];
    if (splits === 1 || d !== splitAxis(reduced)) return i32.const(size);
    const chunk = Math.ceil(size / splits);
    const first = i32.mul(get(this.#slice), i32.const(chunk));
    const left = i32.sub(i32.const(size), first);
    const none = i32.ge_u(first, i32.const(size));
    return select(i32.const(0), least(left, i32.const(chunk)), none);
  }

  /** Moves the pointers so many values along a folded axis. */
  #move(d: number, count: number): Code {
    const { outer, inputs } = this.#params;
    return this.#pointers.map((p, n) => {
      const bytes = count * inputs[n].strides[outer.length + d] * bytesPerElement(inputs[n].dtype);
      return bytes === 0 ? [] : set(p, i32.add(get(p), i32.const(bytes)));
    });
  }

  /**
   * Folds four values that lie `at` elements along an axis behind the pointers.
   *
   * @param axis of the folded ones; negative numbers count back from the last kept one
   * @param step another axis, and steps along it
   */
  #foldFour(part: Local, axis: number, at: number, step?: readonly [number, number]): Code {
    const { outer, inputs } = this.#params;
    const rank = outer.length;
    const values = this.#fn.locals(inputs.length, "v128");
    const loads = inputs.map((o, n) => {
      const bytes = bytesPerElement(o.dtype);
      const along = o.strides[rank + axis] * bytes;
      const beside = step ? step[1] * o.strides[rank + step[0]] * bytes : 0;
      const four = { offset: at * along + beside, step: along, count: 4 };
      return set(values[n], loadFour(this.#fn, o.dtype, get(this.#pointers[n]), four));
    });
    const { before, value } = this.#formulas.inline(this.#fn, "f", values.map(get), 4);
    return [loads, before, set(part, this.#fold.join4(get(part), value))];
  }

  #foldOne(part: Local): Code {
    const { inputs } = this.#params;
    const values = inputs.map((o) => this.#fn.local(scalarOf(o.dtype)));
    const loads = inputs.map((o, n) =>
      set(values[n], loadOne(this.#fn, o.dtype, get(this.#pointers[n])))
    );
    const { before, value } = this.#formulas.inline(this.#fn, "f", values.map(get), 1);
    return [loads, before, set(part, this.#fold.join(get(part), value))];
  }

  #joined(parts: readonly Local[]): Code {
    const join = (from: number, to: number): Code => {
      if (to - from === 1) return get(parts[from]);
      const middle = (from + to) >> 1;
      return this.#fold.join4(join(from, middle), join(middle, to));
    };
    return join(0, parts.length);
  }

  /** Address of the result with an index. */
  #resultAt(index: Local): Code {
    const { outer, output, target, splits } = this.#params;
    const bytes = bytesPerElement(output);
    const operand = i32.load([0x23, this.#args], argOffsets.operand(this.#kernel.inputs.length));
    if (target === undefined || splits > 1) {
      const slice = i32.mul(get(this.#slice), i32.const(sizeOf(outer)));
      return i32.add(operand, i32.mul(i32.add(slice, get(index)), i32.const(bytes)));
    }
    let at: Code = i32.add(operand, i32.const(target.offset * bytes));
    let below = 1;
    for (let d = outer.length - 1; d >= 0; below *= outer[d--]) {
      const axis = i32.rem_u(i32.div_u(get(index), i32.const(below)), i32.const(outer[d]));
      at = i32.add(at, i32.mul(axis, i32.const(target.strides[d] * bytes)));
    }
    return at;
  }

  #storeOne(value: Local, index: Local): Code {
    const { output, post } = this.#params;
    const at = this.#fn.local("i32");
    const { before, value: result } = this.#posted(post, get(value), 1);
    return [
      set(at, this.#resultAt(index)),
      before,
      storeOne(this.#fn, output, get(at), result),
    ];
  }

  /** Stores the vector `g` of the results from `index` on. */
  #storeFour(value: Local, index: Local, g: number, count: number): Code {
    const { outer, output, post, target, splits } = this.#params;
    const step = target === undefined || splits > 1 ? 1 : target.strides[outer.length - 1];
    const bytes = step * bytesPerElement(output);
    const at = this.#fn.local("i32");
    const { before, value: result } = this.#posted(post, get(value), 4);
    const four = { offset: 4 * g * bytes, step: bytes, count };
    return [
      set(at, this.#resultAt(index)),
      before,
      set(value, result),
      storeFour(this.#fn, output, get(at), value, four),
    ];
  }

  #posted(post: Expr | null, value: Code, lanes: 1 | 4): { before: Code; value: Code } {
    if (post === null) return { before: [], value };
    return this.#formulas.inline(this.#fn, "post", [value], lanes);
  }
}

/** The type of a variable for an element. */
function scalarOf(dtype: DType): "f32" | "i32" {
  return dtype === "f32" || dtype === "f16" ? "f32" : "i32";
}
