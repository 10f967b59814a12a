/** What happens to a finished sum where it is stored: formulas of it and of what is read beside it, to any places. */

import type { Expr } from "./expr.ts";
import { coerced, evaluator, exprFunction } from "./expr_code.ts";
import { dtypeOf } from "./expr.ts";
import { operandKey, type StridedOperand } from "./map.ts";
import type { DType, Kernel, ScalarType, Shape } from "./types.ts";
import { addressesOf, type Binding, loaded, stored, u32 } from "./wgsl.ts";

/** Formulas applied to a finished sum where it is stored. */
export interface Epilogue {
  /**
   * What is stored: formulas of the sum (input 0) and of `inputs` (inputs from 1 on), and where each goes; strides over
   * the axes of the result.
   */
  readonly outputs: readonly { readonly expr: Expr; readonly target: StridedOperand }[];
  /** Read beside the sum: dtype, strides over the axes of the result (0 = broadcast), offset. */
  readonly inputs: readonly StridedOperand[];
  /** Types of the run-time numbers of the formulas. */
  readonly scalars: readonly ScalarType[];
}

/** How a kernel that stores tiles counts through its result. */
export interface Site {
  /** Texts of the coordinates along the axes before the rows. */
  readonly lead: readonly string[];
  /** Axes that the number of a row runs over. */
  readonly rowShape: Shape;
  /** Size of the last axis. */
  readonly columns: number;
}

/** Text that identifies an epilogue. */
export function epilogueKey(e: Epilogue): string {
  const outputs = e.outputs.map(({ expr, target }) => `${expr.key}>${operandKey(target)}`);
  return `${outputs.join(";")}|${e.inputs.map(operandKey).join(";")}|${e.scalars}`;
}

/** The bindings and scalars of a kernel: its own inputs, then those of the epilogue; the targets, or the plain result. */
export function epilogueSignature(
  own: readonly DType[],
  e: Epilogue | undefined,
): Pick<Kernel, "inputs" | "outputs" | "scalars"> {
  if (e === undefined) return { inputs: own, outputs: ["f32"], scalars: [] };
  return {
    inputs: [...own, ...e.inputs.map((i) => i.dtype)],
    outputs: e.outputs.map((o) => o.target.dtype),
    scalars: e.scalars,
  };
}

/** Whether four neighbours along the last axis lie in one aligned vec4. */
export function isVector(o: StridedOperand, columns: number): boolean {
  const last = o.strides.length - 1;
  return columns % 4 === 0 && o.strides[last] === 1 && o.offset % 4 === 0 &&
    o.strides.every((s, d) => d === last || s % 4 === 0);
}

/** Storage of what an epilogue reads (`e0`, `e1` …) and writes (`y0`, `y1` …). */
export function epilogueBindings(
  e: Epilogue,
  columns: number,
): { inputs: Binding[]; outputs: Binding[] } {
  const binding = (name: string, o: StridedOperand): Binding => ({
    name,
    dtype: o.dtype,
    width: isVector(o, columns) ? 4 : 1,
  });
  return {
    inputs: e.inputs.map((o, n) => binding(`e${n}`, o)),
    outputs: e.outputs.map((o, n) => binding(`y${n}`, o.target)),
  };
}

/** The formulas as functions `f0`, `f1` … of the sum and of all that is read beside it. */
export function epilogueFunctions(e: Epilogue): string {
  const types: DType[] = ["f32", ...e.inputs.map((i) => i.dtype)];
  return e.outputs.map((o, n) => isSum(o.expr) ? "" : exprFunction(`f${n}`, o.expr, types))
    .join("\n");
}

function isSum(expr: Expr): boolean {
  return expr.kind === "input" && expr.index === 0;
}

/** Strides over rows and the last axis of an operand, with the unit that its binding is addressed in. */
interface Place {
  readonly o: StridedOperand;
  readonly vector: boolean;
  readonly lead: readonly number[];
  readonly rows: readonly number[];
  readonly column: number;
}

function placeOf(o: StridedOperand, site: Site): Place {
  const vector = isVector(o, site.columns);
  const unit = vector ? 4 : 1;
  const lead = site.lead.length;
  return {
    o,
    vector,
    lead: o.strides.slice(0, lead).map((s) => s / unit),
    rows: o.strides.slice(lead, -1).map((s) => s / unit),
    column: o.strides.at(-1)!,
  };
}

/** Statements and names of the thread that stores: addresses that do not change with the row, and loads that do not. */
export class EpilogueStores {
  readonly #e: Epilogue;
  readonly #site: Site;
  readonly #groups: number;
  readonly #guarded: boolean;
  readonly #inputs: readonly Place[];
  readonly #outputs: readonly Place[];

  /**
   * @param groups columns of the thread in fours; `col0` is its first column
   * @param guarded whether some of the columns may lie beyond the last axis
   */
  constructor(e: Epilogue, site: Site, groups: number, guarded: boolean) {
    this.#e = e;
    this.#site = site;
    this.#groups = groups;
    this.#guarded = guarded;
    this.#inputs = e.inputs.map((o) => placeOf(o, site));
    this.#outputs = e.outputs.map((o) => placeOf(o.target, site));
  }

  /** Statements before the first row: the columns, the base of each operand, and what is the same for all rows. */
  head(): string {
    const lines: string[] = [];
    const last = this.#site.columns;
    for (let g = 0; g < this.#groups; g++) {
      for (let j = 0; j < 4; j++) lines.push(`  let col${g}_${j} = col0 + ${g * 4 + j}u;`);
    }
    this.#outputs.forEach((p, n) => lines.push(`  let yb${n} = ${this.#base(p)};`));
    this.#inputs.forEach((p, n) => {
      lines.push(`  let eb${n} = ${this.#base(p)};`);
      if (!isStill(p)) return;
      if (p.column === 0) lines.push(`  let v${n} = ${loaded(p.o.dtype, `e${n}[eb${n}]`)};`);
      else {
        for (let g = 0; g < this.#groups; g++) {
          lines.push(...loads(p, n, g, `eb${n}`, last, `v${n}_${g}`));
        }
      }
    });
    return lines.join("\n");
  }

  /** Statements that store the sums of one row, each a vec4 of four columns. */
  row(row: string, sums: readonly string[]): string {
    const lines: string[] = [];
    const { rowShape, columns } = this.#site;
    this.#outputs.forEach((p, n) => {
      lines.push(`    let ya${n} = yb${n}${rowAddress(row, rowShape, p.rows)};`);
    });
    this.#inputs.forEach((p, n) => {
      if (isStill(p)) return;
      lines.push(`    let ea${n} = eb${n}${rowAddress(row, rowShape, p.rows)};`);
      if (p.column === 0) lines.push(`    let v${n} = ${loaded(p.o.dtype, `e${n}[ea${n}]`)};`);
    });
    sums.forEach((sum, g) => {
      const guarded = this.#guarded && columns % 4 === 0;
      lines.push(guarded ? `    if (col${g}_0 < ${columns}u) {` : "    {", `    let sum = ${sum};`);
      this.#inputs.forEach((p, n) => {
        if (!isStill(p) && p.column !== 0) {
          lines.push(...loads(p, n, g, `ea${n}`, columns, `v${n}_${g}`));
        }
      });
      this.#outputs.forEach((p, n) => lines.push(...this.#stores(p, n, g)));
      lines.push("    }");
    });
    return lines.join("\n");
  }

  /** The address of what an operand has for the first row and column of the thread's matrix. */
  #base(p: Place): string {
    const terms = p.lead.flatMap((s, d) => s === 0 ? [] : [`${this.#site.lead[d]} * ${u32(s)}`]);
    const offset = p.o.offset / (p.vector ? 4 : 1);
    if (offset !== 0 || terms.length === 0) terms.push(u32(offset));
    return terms.join(" + ");
  }

  #stores(p: Place, n: number, g: number): string[] {
    const { dtype } = p.o;
    const whole = isSum(this.#e.outputs[n].expr);
    const values = [0, 1, 2, 3].map((j) =>
      stored(dtype, whole ? `sum.${"xyzw"[j]}` : this.#call(n, g, j))
    );
    if (p.vector) {
      const value = whole && dtype === "f32" ? "sum" : `vec4(${values.join(", ")})`;
      return [`    y${n}[ya${n} + col${g}_0 / 4u] = ${value};`];
    }
    const { columns } = this.#site;
    const each = this.#guarded && columns % 4 !== 0;
    return values.map((value, j) => {
      const store = `y${n}[ya${n}${times(`col${g}_${j}`, p.column)}] = ${value};`;
      return each ? `    if (col${g}_${j} < ${columns}u) { ${store} }` : `    ${store}`;
    });
  }

  #call(n: number, g: number, j: number): string {
    const args = this.#inputs.map((p, i) => p.column === 0 ? `v${i}` : `v${i}_${g}_${j}`);
    return `f${n}(${[`sum.${"xyzw"[j]}`, ...args].join(", ")})`;
  }
}

/** Whether an operand is the same for all rows of the thread. */
function isStill(p: Place): boolean {
  return p.rows.every((s) => s === 0);
}

/** Loads four neighbours `name_0` … `name_3`, held inside the last axis. */
function loads(
  p: Place,
  n: number,
  g: number,
  base: string,
  columns: number,
  name: string,
): string[] {
  const { dtype } = p.o;
  if (p.vector) {
    const at = `min(col${g}_0, ${columns - 4}u) / 4u`;
    return [
      `    let ${name} = e${n}[${base} + ${at}];`,
      ...[0, 1, 2, 3].map((j) =>
        `    let ${name}_${j} = ${loaded(dtype, `${name}.${"xyzw"[j]}`)};`
      ),
    ];
  }
  return [0, 1, 2, 3].map((j) => {
    const at = times(`min(col${g}_${j}, ${columns - 1}u)`, p.column);
    return `    let ${name}_${j} = ${loaded(dtype, `e${n}[${base}${at}]`)};`;
  });
}

function times(text: string, stride: number): string {
  return stride === 0 ? "" : stride === 1 ? ` + ${text}` : ` + ${text} * ${u32(stride)}`;
}

/** Text of ` + …`, the part of an address that follows from the number of a row; axes that lie behind each other count as one. */
function rowAddress(row: string, shape: Shape, strides: readonly number[]): string {
  const axes: { size: number; stride: number; below: number }[] = [];
  let below = 1;
  for (let d = shape.length - 1; d >= 0; below *= shape[d--]) {
    if (shape[d] === 1) continue;
    const inner = axes.at(-1);
    if (inner !== undefined && strides[d] === inner.stride * inner.size) inner.size *= shape[d];
    else axes.push({ size: shape[d], stride: strides[d], below });
  }
  return axes.map(({ size, stride, below: unit }, n) => {
    const quotient = unit === 1 ? row : `${row} / ${unit}u`;
    return times(n === axes.length - 1 ? `(${quotient})` : `(${quotient} % ${size}u)`, stride);
  }).join("");
}

/** Plain loops in double precision over finished sums, in the order of the axes of the result. */
export function applyEpilogue(
  e: Epilogue,
  shape: Shape,
  sums: Float64Array,
  inputs: readonly Float64Array[],
  outputs: readonly Float64Array[],
  scalars: readonly number[],
): void {
  const types: DType[] = ["f32", ...e.inputs.map((i) => i.dtype)];
  const from = e.inputs.map((o) => addressesOf(shape, o.strides, o.offset));
  const x = new Float64Array(types.length);
  e.outputs.forEach(({ expr, target }, k) => {
    const f = evaluator(expr, types);
    const type = dtypeOf(expr, types);
    const to = addressesOf(shape, target.strides, target.offset);
    for (let i = 0; i < to.length; i++) {
      x[0] = sums[i];
      from.forEach((addresses, n) => x[n + 1] = inputs[n][addresses[i]]);
      outputs[k][to[i]] = coerced(f(x, scalars), type);
    }
  });
}
