/** How the threads of attention share its work, and how they read and write rows as vectors of four columns. */

import type { AttentionParams } from "./attention.ts";
import type { MatrixOperand } from "./matrix_loads.ts";
import type { DeviceTraits } from "./types.ts";
import { address, type Binding, u32 } from "./wgsl.ts";

/** Vectors of four sums that a thread keeps for a row at most; wider results are shared out. */
export const SUMS = 16;
/** The same on software adapters, whose compilers take long; there, wide products are loops over so many vectors. */
export const SOFTWARE_SUMS = 8;
export const LOOPED = 4;

/** Threads of a workgroup, own rows of a thread, and other rows that it takes at a time. */
export interface Plan {
  readonly threads: number;
  readonly own: number;
  readonly others: number;
  /** Vectors of sums for a row, and threads that share its columns. */
  readonly quads: number;
  readonly chunks: number;
  /** Whether products of wide rows are loops. */
  readonly loops: boolean;
}

/** The code is written out for all columns and pairs of rows, and compilers take longer than in proportion to it. */
export function planOf(p: AttentionParams, widest: number, traits: DeviceTraits): Plan {
  const all = quadsOf(widest);
  const loops = traits.software;
  const chunks = Math.ceil(all / (loops ? SOFTWARE_SUMS : SUMS));
  const score = quadsOf(Math.max(p.depth, p.width));
  const step = score <= SUMS / 4 ? 0 : score <= SUMS / 2 ? 1 : score <= SUMS ? 2 : 3;
  const rows = traits.software
    ? { threads: 8, own: [4, 2, 1, 1][step], others: [4, 4, 2, 2][step] }
    : { threads: 64, own: 1, others: [8, 8, 4, 2][step] };
  return { ...rows, quads: Math.ceil(all / chunks), chunks, loops };
}

/** Turns of a thread of a software adapter in all loops. */
export function attentionTurns(p: AttentionParams): number {
  const rows = Math.ceil(Math.max(p.queries, p.keys) / 2);
  return rows * (1 + Math.floor(p.depth / 4 / LOOPED) + Math.floor(p.width / 4 / LOOPED));
}

export function quadsOf(columns: number): number {
  return Math.ceil(columns / 4);
}

/** A matrix whose rows are read or written as vectors of four columns. */
export class Rows {
  readonly #vector: boolean;

  /**
   * @param name the binding
   * @param base name of the place of the first row; several matrices may lie in one binding
   */
  constructor(
    readonly name: string,
    readonly o: MatrixOperand,
    readonly columns: number,
    readonly base: string = name,
    vector = true,
  ) {
    this.#vector = vector && isVector(o, columns);
  }

  binding(): Binding {
    return { name: this.name, dtype: "f32", width: this.#vector ? 4 : 1 };
  }

  head(): string {
    const { batchStrides, offset } = this.o;
    const at = address("c", batchStrides, offset);
    return `  let ${this.base}Base = ${this.#vector ? `(${at}) / 4u` : at};`;
  }

  /** Declares `name`, where a row begins. */
  row(name: string, number: string): string {
    const stride = this.#vector ? this.o.rowStride / 4 : this.o.rowStride;
    return `let ${name} = ${this.base}Base + ${number} * ${u32(stride)};`;
  }

  /** Four columns of a row; columns behind the last are 0. In a loop, all of them exist, and `d` counts vectors. */
  load(row: string, quad: number, looped = false): string {
    if (this.#vector) return `${this.name}[${row} + ${looped ? "d + " : ""}${quad}u]`;
    if (looped) {
      const at = (j: number) => `(d * 4u + ${4 * quad + j}u) * ${u32(this.o.columnStride)}`;
      return `vec4(${[0, 1, 2, 3].map((j) => `${this.name}[${row} + ${at(j)}]`).join(", ")})`;
    }
    const each = [0, 1, 2, 3].map((j) =>
      4 * quad + j < this.columns
        ? `${this.name}[${row} + ${u32((4 * quad + j) * this.o.columnStride)}]`
        : "0.0"
    );
    return `vec4(${each.join(", ")})`;
  }

  /** Four columns from quad `first + quad` on, of which those behind the last hold anything. */
  loadFrom(row: string, { chunks }: Plan, quad: number): string {
    const last = quadsOf(this.columns) - 1;
    if (chunks === 1) return quad > last ? "vec4<f32>()" : this.load(row, quad);
    if (this.#vector) return `${this.name}[${row} + min(first + ${quad}u, ${last}u)]`;
    const each = [0, 1, 2, 3].map((j) => {
      const column = `min((first + ${quad}u) * 4u + ${j}u, ${this.columns - 1}u)`;
      return `${this.name}[${row} + ${column} * ${u32(this.o.columnStride)}]`;
    });
    return `vec4(${each.join(", ")})`;
  }

  /** Statements that store four columns; those behind the last are left out. */
  store(row: string, { chunks }: Plan, quad: number, value: string): string {
    const last = quadsOf(this.columns);
    if (chunks === 1 && quad >= last) return "";
    if (this.#vector) {
      return chunks === 1
        ? `${this.name}[${row} + ${quad}u] = ${value};`
        : `if (first + ${quad}u < ${last}u) { ${this.name}[${row} + first + ${quad}u] = ${value}; }`;
    }
    const each = [0, 1, 2, 3].map((j) => {
      const part = `part.${"xyzw"[j]}`;
      if (chunks > 1) {
        const column = `(first + ${quad}u) * 4u + ${j}u`;
        return `if (${column} < ${this.columns}u) { ${this.name}[${row} + (${column}) * ${
          u32(this.o.columnStride)
        }] = ${part}; }`;
      }
      if (4 * quad + j >= this.columns) return "";
      return `${this.name}[${row} + ${u32((4 * quad + j) * this.o.columnStride)}] = ${part};`;
    });
    return `{ let part = ${value}; ${each.join(" ")} }`;
  }
}

export function isVector(o: MatrixOperand, columns: number): boolean {
  return o.columnStride === 1 && columns % 4 === 0 && o.rowStride % 4 === 0 &&
    o.offset % 4 === 0 && o.batchStrides.every((s) => s % 4 === 0);
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
