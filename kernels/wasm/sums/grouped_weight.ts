/**
 * Weight gradient of a convolution in groups of several channels, as products whose rows are the input channels of a tap and
 * whose summed axis runs over the pixels that the tap reaches. A task sums some output channels over a slice of the lines,
 * block by block of lines, so that what it reads stays in the first cache.
 */

import {
  call,
  type Code,
  countUp,
  f32x4,
  get,
  i32,
  ifElse,
  memoryFill,
  select,
  set,
  v128,
} from "../instructions.ts";
import type { DirectConvParams } from "../../conv2d_direct.ts";
import { PRODUCT_NS } from "./gemm_plan.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { argOffsets, type CpuProgram } from "../program.ts";
import { addProducts, type Depth, sumsOf, tileRowsFor } from "./tile.ts";
import { least, type Names, sum, times } from "./arithmetic.ts";

/** Bytes of either side that a block of lines reads at most, unless it is a single line. */
const BLOCK_BYTES = 16 * 1024;
/** Tasks that are wanted. */
const TASKS = 16;

/** How the sums are cut. */
interface Plan {
  /** Channels of a group on either side. */
  readonly ci: number;
  readonly co: number;
  /** Vectors of a panel of output channels, panels, and those of a task. */
  readonly vectors: number;
  readonly panels: number;
  readonly ofTask: number;
  /** Rows of a tile. */
  readonly rows: number;
  /** Lines of a slice, and of a block. */
  readonly chunk: number;
  readonly block: number;
}

function planOf(p: DirectConvParams, splits: number): Plan {
  const [ci, co] = [p.inChannels / p.groups, p.outChannels / p.groups];
  const vectors = co % 8 === 0 ? 2 : 1;
  const panels = p.outChannels / (4 * vectors);
  const parts = Math.min(panels, Math.ceil(TASKS / splits));
  const line = 4 * Math.max(
    p.output[1] * p.outChannels,
    p.stride[0] * p.input[1] * p.inChannels,
  );
  return {
    ci,
    co,
    vectors,
    panels,
    ofTask: Math.ceil(panels / parts),
    rows: ci < 4 ? ci : tileRowsFor(ci),
    chunk: Math.ceil(p.batch * p.output[0] / splits),
    block: Math.max(1, Math.floor(BLOCK_BYTES / line)),
  };
}

/** The program of a grouped weight gradient in slices; output channels of a group come in fours. */
export function groupedWeightProgram(
  p: DirectConvParams,
  splits: number,
  features: WasmFeatures,
): CpuProgram {
  return new GroupedWeight(p, splits, features).program();
}

/** The pixels of a line that a tap reaches: the first one, how many, and the pixel of the input that the first one takes. */
function reach(p: DirectConvParams, axis: 0 | 1, tap: number) {
  const shift = tap * p.dilation[axis] - p.padding[axis];
  const first = Math.max(0, Math.ceil(-shift / p.stride[axis]));
  const end = Math.floor((p.input[axis] - 1 - shift) / p.stride[axis]) + 1;
  const count = Math.max(0, Math.min(end, p.output[axis]) - first);
  return { first, count, end: first + count, from: first * p.stride[axis] + shift, shift };
}

/** A grouped weight gradient in the making. */
class GroupedWeight {
  readonly #p: DirectConvParams;
  readonly #plan: Plan;
  readonly #splits: number;
  readonly #module: ModuleBuilder;
  readonly #made = new Map<string, FunctionBuilder>();

  constructor(p: DirectConvParams, splits: number, features: WasmFeatures) {
    this.#p = p;
    this.#plan = planOf(p, splits);
    this.#splits = splits;
    this.#module = new ModuleBuilder(features);
  }

  program(): CpuProgram {
    const { panels, ofTask, chunk, vectors, ci } = this.#plan;
    const parts = Math.ceil(panels / ofTask);
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase0");
    const [args, begin, end] = fn.params;
    const [task, slice, panel0, panel1, line, until, result] = fn.locals(7, "i32");
    const lines = i32.const(this.#p.batch * this.#p.output[0]);
    fn.emit(
      countUp(task, get(begin), get(end), 1, [
        set(slice, i32.div_u(get(task), i32.const(parts))),
        set(panel0, i32.mul(i32.rem_u(get(task), i32.const(parts)), i32.const(ofTask))),
        set(panel1, least(i32.add(get(panel0), i32.const(ofTask)), i32.const(panels))),
        set(result, i32.load(get(args), argOffsets.operand(2))),
        set(result, i32.add(get(result), times(slice, this.#sliceBytes()))),
        this.#clear(fn, { result, panel0, panel1 }),
        set(line, times(slice, chunk)),
        set(until, least(i32.add(get(line), i32.const(chunk)), lines)),
        this.#blocks(fn, { args, result, panel0, panel1, line, until }),
      ]),
    );
    const products = ofTask * vectors * 4 * ci * this.#taps() * chunk * this.#p.output[1];
    return {
      code: this.#module.encode(),
      phases: [{ tasks: parts * this.#splits, taskNs: products * PRODUCT_NS }],
      sharedBytes: 0,
      threadBytes: 0,
    };
  }

  #taps(): number {
    return this.#p.kernel[0] * this.#p.kernel[1];
  }

  #sliceBytes(): number {
    return this.#taps() * this.#plan.ci * 4 * this.#p.outChannels;
  }

  /** Clears the sums of a task. */
  #clear(fn: FunctionBuilder, { result, panel0, panel1 }: Names<"result" | "panel0" | "panel1">) {
    const [row, at] = fn.locals(2, "i32");
    const panel = 16 * this.#plan.vectors;
    return [
      set(at, i32.add(get(result), times(panel0, panel))),
      countUp(row, i32.const(0), i32.const(this.#taps() * this.#plan.ci), 1, [
        memoryFill(
          get(at),
          i32.const(0),
          i32.mul(i32.sub(get(panel1), get(panel0)), i32.const(panel)),
        ),
        set(at, i32.add(get(at), i32.const(4 * this.#p.outChannels))),
      ]),
    ];
  }

  /** Adds block by block of lines; none reaches into the next image. */
  #blocks(
    fn: FunctionBuilder,
    names: Names<"args" | "result" | "panel0" | "panel1" | "line" | "until">,
  ): Code {
    const { line, until } = names;
    const [image, first, end] = fn.locals(3, "i32");
    const height = i32.const(this.#p.output[0]);
    const left = i32.sub(get(until), get(line));
    const count = least(i32.const(this.#plan.block), left);
    const block = [
      set(image, i32.div_u(get(line), height)),
      set(first, i32.rem_u(get(line), height)),
      set(end, i32.add(get(first), count)),
      set(end, least(get(end), height)),
      this.#eachTap(fn, { ...names, image, first, end }),
      // The counter goes on by one.
      set(line, sum(get(line), i32.sub(get(end), get(first)), i32.const(-1))),
    ];
    return countUp(line, get(line), get(until), 1, block);
  }

  /** Adds the products of all taps in a block, from one line of an image to another. */
  #eachTap(
    fn: FunctionBuilder,
    names: Names<"args" | "result" | "panel0" | "panel1" | "image" | "first" | "end">,
  ): Code {
    const { kernel, input, inChannels, output, outChannels, stride } = this.#p;
    const [from, lines, x, g] = fn.locals(4, "i32");
    const { args, first, end, image } = names;
    const operand = (n: number) => i32.load(get(args), argOffsets.operand(n));
    const rows = Array.from({ length: kernel[0] }, (_, ky) => reach(this.#p, 0, ky));
    const columns = Array.from({ length: kernel[1] }, (_, kx) => reach(this.#p, 1, kx));
    const xLine = 4 * input[1] * inChannels;
    const gLine = 4 * output[1] * outChannels;
    const until = (row: { end: number }) => least(get(end), i32.const(row.end));
    return rows.map((row, ky) => [
      set(from, i32.const(row.first)),
      set(from, select(get(from), get(first), i32.gt_u(get(from), get(first)))),
      set(lines, i32.sub(until(row), get(from))),
      ifElse(
        i32.gt_s(get(lines), i32.const(0)),
        columns.map((column, kx) =>
          column.count === 0 ? [] : [
            set(x, sum(times(from, stride[0]), i32.const(row.shift))),
            set(x, sum(times(image, input[0] * xLine), times(x, xLine), operand(0))),
            set(x, i32.add(get(x), i32.const(4 * column.from * inChannels))),
            set(g, sum(times(image, output[0] * gLine), times(from, gLine), operand(1))),
            set(g, i32.add(get(g), i32.const(4 * column.first * outChannels))),
            this.#panels(fn, { ...names, x, g, lines }, ky * kernel[1] + kx, column.count),
          ]
        ),
      ),
    ]);
  }

  /** Adds the products of a tap to all panels of a task. */
  #panels(
    fn: FunctionBuilder,
    { result, panel0, panel1, x, g, lines }: Names<
      "result" | "panel0" | "panel1" | "x" | "g" | "lines"
    >,
    tap: number,
    pixels: number,
  ): Code {
    const { ci, co, vectors, rows } = this.#plan;
    const [panel, row, left, right, sums] = fn.locals(5, "i32");
    const rowBytes = 4 * this.#p.outChannels;
    const group = i32.div_u(get(panel), i32.const(co / (4 * vectors)));
    const tile = (count: number): Code => {
      const { index } = this.#adder(count, pixels);
      return call(index, get(left), get(right), get(sums), get(lines));
    };
    return countUp(panel, get(panel0), get(panel1), 1, [
      set(left, i32.add(get(x), i32.mul(group, i32.const(4 * ci)))),
      set(right, i32.add(get(g), times(panel, 16 * vectors))),
      set(sums, sum(get(result), times(panel, 16 * vectors), i32.const(tap * ci * rowBytes))),
      countUp(row, i32.const(0), i32.const(Math.floor(ci / rows)), 1, [
        tile(rows),
        set(left, i32.add(get(left), i32.const(4 * rows))),
        set(sums, i32.add(get(sums), i32.const(rows * rowBytes))),
      ]),
      ci % rows === 0 ? [] : tile(ci % rows),
    ]);
  }

  /** The function that adds a block to a tile: the left side, the right one, the sums, and lines. */
  #adder(rows: number, pixels: number): FunctionBuilder {
    const key = `${rows} ${pixels}`;
    const made = this.#made.get(key);
    if (made !== undefined) return made;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"]);
    this.#made.set(key, fn);
    const [x, right, to, lines] = fn.params;
    const { input, inChannels, output, outChannels, stride } = this.#p;
    const sums = sumsOf(fn, rows, this.#plan.vectors);
    const leftStep = 4 * stride[1] * inChannels;
    const depth: Depth = {
      runs: lines,
      length: pixels,
      leftStep,
      leftJump: 4 * stride[0] * input[1] * inChannels - pixels * leftStep,
      rightStep: 4 * outChannels,
      rightJump: 4 * outChannels * (output[1] - pixels),
    };
    const places = sums.map((_, r) => ({ pointer: x, offset: 4 * r }));
    fn.emit(
      addProducts(fn, sums, places, right, depth, this.#module.features.relaxed),
      sums.map((row, r) =>
        row.map((sum, v) => {
          const offset = 4 * r * outChannels + 16 * v;
          return v128.store(get(to), f32x4.add(v128.load(get(to), offset), get(sum)), offset);
        })
      ),
    );
    return fn;
  }
}
