/** Where finished sums go: through the formulas of an epilogue, to any places and element types. */

import type { Epilogue } from "../../epilogue.ts";
import type { Expr } from "../../expr.ts";
import { exprFunction } from "../../expr_code.ts";
import type { StridedOperand } from "../../map.ts";
import { helpersFor } from "../../math_wgsl.ts";
import { bytesPerElement, type DType, type Kernel, type Shape } from "../../types.ts";
import { type Code, f32x4, get, i32, type Local, set, v128 } from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import { loadFour, storeFour } from "./operands.ts";
import { argOffsets } from "../program.ts";
import { WgslFunctions } from "../wgsl/functions.ts";

/** How a kernel counts through its result: matrices, rows of each and columns. */
export interface Site {
  /** Axes that the number of a matrix runs over. */
  readonly lead: Shape;
  /** Axes that the number of a row runs over. */
  readonly rows: Shape;
  /** Size of the last axis. */
  readonly columns: number;
}

/** Part of the result that one call of the stores has: first row and column, and the number of the matrix. */
export interface TilePlace {
  readonly item: Local;
  readonly row: Local;
  readonly column: Local;
}

/** An axis of an operand: its size, its step in bytes, and the size of all axes below it. */
interface Step {
  readonly size: number;
  readonly bytes: number;
  readonly below: number;
}

/** An operand with the words that lead to it. */
interface Place {
  readonly o: StridedOperand;
  readonly index: number;
  readonly lead: readonly Step[];
  readonly rows: readonly Step[];
  readonly columnBytes: number;
}

/** Stores tiles of sums. */
export class TileStores {
  readonly #epilogue: Epilogue;
  readonly #site: Site;
  readonly #formulas: WgslFunctions;
  readonly #inputs: readonly Place[];
  readonly #outputs: readonly Place[];
  readonly #bias: number | null;
  readonly #args: number;

  /**
   * @param args number of the global that holds the address of the arguments
   * @param own operands that the kernel has before those of the epilogue
   * @param bias number of the operand that is added, one number a column; null where there is none
   */
  constructor(
    module: ModuleBuilder,
    kernel: Kernel,
    epilogue: Epilogue,
    site: Site,
    args: number,
    own: number,
    bias: number | null,
  ) {
    this.#epilogue = epilogue;
    this.#site = site;
    this.#args = args;
    this.#bias = bias;
    const place = (o: StridedOperand, index: number) => placeOf(o, index, site);
    this.#inputs = epilogue.inputs.map((o, n) => place(o, own + n));
    const behind = kernel.inputs.length;
    this.#outputs = epilogue.outputs.map(({ target }, n) => place(target, behind + n));
    const types: DType[] = ["f32", ...epilogue.inputs.map((o) => o.dtype)];
    const text = epilogue.outputs.map(({ expr }, n) =>
      isSum(expr) ? "" : exprFunction(`f${n}`, expr, types)
    ).join("\n");
    this.#formulas = new WgslFunctions(module, `${helpersFor(text)}\n${text}`, {
      global: args,
      operands: kernel.inputs.length + kernel.outputs.length,
      types: kernel.scalars,
    });
  }

  /**
   * Statements that store a tile.
   *
   * @param counts columns of each vector of the tile that belong to the result
   */
  store(
    fn: FunctionBuilder,
    sums: readonly (readonly Local[])[],
    counts: readonly number[],
    place: TilePlace,
  ): Code {
    const head: Code[] = [];
    if (this.#bias !== null) head.push(this.#addBias(fn, sums, place.column));
    const operands = [...this.#inputs, ...this.#outputs];
    const bases = operands.map((p) => {
      const base = fn.local("i32");
      head.push(set(base, this.#base(p, place)));
      return base;
    });
    const still = this.#inputs.map((p, n) =>
      p.rows.length > 0 ? null : counts.map((count, g) => {
        const value = fn.local("v128");
        head.push(
          set(
            value,
            loadFour(fn, p.o.dtype, get(bases[n]), {
              offset: 4 * g * p.columnBytes,
              step: p.columnBytes,
              count,
            }),
          ),
        );
        return value;
      })
    );
    const rows = sums.map((row, r) => this.#storeRow(fn, row, r, counts, place, bases, still));
    return [head, rows];
  }

  #addBias(fn: FunctionBuilder, sums: readonly (readonly Local[])[], column: Local): Code {
    const at = i32.add(this.#operand(this.#bias!), i32.shl(get(column), i32.const(2)));
    const pointer = fn.local("i32");
    const value = fn.local("v128");
    return [
      set(pointer, at),
      sums[0].map((_, g) => [
        set(value, v128.load(get(pointer), 16 * g)),
        sums.map((row) => set(row[g], f32x4.add(get(row[g]), get(value)))),
      ]),
    ];
  }

  /** Statements for one row of the tile. */
  #storeRow(
    fn: FunctionBuilder,
    sums: readonly Local[],
    r: number,
    counts: readonly number[],
    place: TilePlace,
    bases: readonly Local[],
    still: readonly (readonly Local[] | null)[],
  ): Code {
    const head: Code[] = [];
    const pointers = [...this.#inputs, ...this.#outputs].map((p, n) =>
      this.#rowPointer(fn, p, bases[n], place.row, r, head)
    );
    const stores = counts.map((count, g) => {
      const lines: Code[] = [];
      const values = this.#inputs.map((p, n) => {
        const kept = still[n];
        if (kept !== null) return get(kept[g]);
        const value = fn.local("v128");
        const { pointer, offset } = pointers[n];
        lines.push(
          set(
            value,
            loadFour(fn, p.o.dtype, get(pointer), {
              offset: offset + 4 * g * p.columnBytes,
              step: p.columnBytes,
              count,
            }),
          ),
        );
        return get(value);
      });
      // All is computed before anything is stored: a result may lie where an input lay.
      const results = this.#epilogue.outputs.map(({ expr }, n) => {
        if (isSum(expr)) return sums[g];
        const { before, value } = this.#formulas.inline(fn, `f${n}`, [get(sums[g]), ...values], 4);
        const result = fn.local("v128");
        lines.push(before, set(result, value));
        return result;
      });
      this.#outputs.forEach((p, n) => {
        const { pointer, offset } = pointers[this.#inputs.length + n];
        lines.push(storeFour(fn, p.o.dtype, get(pointer), results[n], {
          offset: offset + 4 * g * p.columnBytes,
          step: p.columnBytes,
          count,
        }));
      });
      return lines;
    });
    return [head, stores];
  }

  /** Where an operand's row `r` begins: a variable and a constant distance. */
  #rowPointer(
    fn: FunctionBuilder,
    p: Place,
    base: Local,
    row: Local,
    r: number,
    head: Code[],
  ): { pointer: Local; offset: number } {
    if (p.rows.length === 0) return { pointer: base, offset: 0 };
    if (isEven(p)) return { pointer: base, offset: r * p.rows[0].bytes };
    const pointer = fn.local("i32");
    const number = i32.add(get(row), i32.const(r));
    head.push(set(pointer, i32.add(get(base), offsetOf(number, p.rows))));
    return { pointer, offset: 0 };
  }

  /** Address of what an operand has for the first column of the matrix and, where rows are one axis, of the first row. */
  #base(p: Place, { item, row, column }: TilePlace): Code {
    const constant = p.o.offset * bytesPerElement(p.o.dtype);
    let at: Code = i32.add(this.#operand(p.index), i32.const(constant));
    at = i32.add(at, i32.mul(get(column), i32.const(p.columnBytes)));
    if (p.lead.length > 0) at = i32.add(at, offsetOf(get(item), p.lead));
    if (isEven(p)) at = i32.add(at, i32.mul(get(row), i32.const(p.rows[0].bytes)));
    return at;
  }

  #operand(index: number): Code {
    return i32.load([0x23, this.#args], argOffsets.operand(index));
  }
}

function isSum(expr: Expr): boolean {
  return expr.kind === "input" && expr.index === 0;
}

/** Whether all rows of an operand lie at the same distance from each other. */
function isEven({ rows }: Place): boolean {
  return rows.length === 1 && rows[0].below === 1 && rows[0].size === Infinity;
}

/** Axes with a step, the innermost first; axes that lie behind each other count as one. */
function stepsOf(shape: Shape, strides: readonly number[], bytes: number): Step[] {
  const steps: { size: number; bytes: number; below: number }[] = [];
  let below = 1;
  for (let d = shape.length - 1; d >= 0; below *= shape[d--]) {
    if (shape[d] === 1) continue;
    const inner = steps.at(-1);
    if (inner !== undefined && strides[d] * bytes === inner.bytes * inner.size) {
      inner.size *= shape[d];
    } else steps.push({ size: shape[d], bytes: strides[d] * bytes, below });
  }
  return steps.filter((step) => step.bytes !== 0);
}

function placeOf(o: StridedOperand, index: number, site: Site): Place {
  const bytes = bytesPerElement(o.dtype);
  const lead = site.lead.length;
  return {
    o,
    index,
    lead: outermostWhole(stepsOf(site.lead, o.strides.slice(0, lead), bytes), site.lead),
    rows: outermostWhole(stepsOf(site.rows, o.strides.slice(lead, -1), bytes), site.rows),
    columnBytes: o.strides.at(-1)! * bytes,
  };
}

/** Marks the outermost axis by an endless size, since no remainder need be taken there. */
function outermostWhole(steps: Step[], shape: Shape): Step[] {
  const total = shape.reduce((a, b) => a * b, 1);
  return steps.map((s) => s.below * s.size === total ? { ...s, size: Infinity } : s);
}

/** Code of the bytes that follow from a number that runs over axes. */
function offsetOf(number: Code, steps: readonly Step[]): Code {
  const terms = steps.map(({ size, bytes, below }) => {
    let at = below === 1 ? number : i32.div_u(number, i32.const(below));
    if (size !== Infinity) at = i32.rem_u(at, i32.const(size));
    return i32.mul(at, i32.const(bytes));
  });
  return terms.reduce((a, b) => i32.add(a, b));
}
