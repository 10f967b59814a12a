/**
 * Text that walks along rows of strided operands in units of four elements, with vec4 loads where
 * the elements lie next to each other. What is missing in the last unit is filled.
 */

import type { StridedOperand } from "./map.ts";
import type { Teams } from "./teams.ts";
import { type Shape, sizeOf } from "./types.ts";
import { address, type Binding, coordinates, loaded, stored, u32 } from "./wgsl.ts";

/** An operand with its name; strides over `[...outer, ...reduced]`. */
export interface RowOperand extends StridedOperand {
  readonly name: string;
}

/** Rows and the axes along a row, at most two. */
export interface RowShape {
  /** Axes of the rows. */
  readonly outer: Shape;
  /** Axes along a row. */
  readonly reduced: Shape;
}

/** One unit of a row, as text. */
export interface Unit {
  /**
   * The four values of an operand as vec4<f32>, with `fill` for those behind the end of the row.
   */
  load(name: string, fill?: string): string;
  /** A statement that stores four values. */
  store(name: string, value: string): string;
  /**
   * A vec4 that is 1 for elements of the row and 0 behind its end; null where there is nothing
   * behind.
   */
  readonly mask: string | null;
}

/** Units up to which a single lane keeps the values of a row in variables. */
const HELD = 4;

/** How a lane goes through its row. */
export class RowWalk {
  readonly #shape: RowShape;
  readonly #operands: ReadonlyMap<string, RowOperand>;
  readonly #teams: Teams;
  readonly #length: number;
  /** Names of the operands whose values are held in variables. */
  readonly #held: readonly string[];

  /**
   * @param held operands that are read more than once
   */
  constructor(
    shape: RowShape,
    operands: readonly RowOperand[],
    teams: Teams,
    held: readonly string[],
  ) {
    this.#shape = shape;
    this.#operands = new Map(operands.map((o) => [o.name, o]));
    this.#teams = teams;
    this.#length = sizeOf(shape.reduced);
    this.#held = teams.lanes === 1 && this.#length <= 4 * HELD ? held : [];
  }

  /** The bindings of these operands. */
  bindings(names: readonly string[]): Binding[] {
    return names.map((name) => ({
      name,
      dtype: this.#operands.get(name)!.dtype,
      width: this.#wide(name) ? 4 : 1,
    }));
  }

  /** Whether the values of a row stay in variables between walks. */
  get isHeld(): boolean {
    return this.#held.length > 0;
  }

  /**
   * Statements in front of all walks: where row `i` starts in each operand, and what is held of it.
   */
  head(): string {
    const { outer } = this.#shape;
    const lines = [coordinates("i", outer, "c")];
    for (const { name, strides, offset } of this.#operands.values()) {
      const part = this.#wide(name) ? 4 : 1;
      const steps = strides.slice(0, outer.length).map((s) => s / part);
      lines.push(`  let ${name}_base = ${address("c", steps, offset / part)};`);
    }
    for (const name of this.#held) {
      this.#units().forEach((_, u) =>
        lines.push(`  let ${name}_${u} = ${this.#read(name, u, "0.0")};`)
      );
    }
    return lines.join("\n");
  }

  /** Statements that visit the lane's units of the row. */
  each(body: (unit: Unit) => string): string {
    const { lanes } = this.#teams;
    const rest = this.#length % 4;
    const whole = (this.#length - rest) / 4;
    if (this.#held.length > 0) {
      return this.#units().map((_, u) => `  {\n${body(this.#unit(u))}\n  }`).join("\n");
    }
    const lines: string[] = [];
    if (whole > 0) {
      const [start, step] = lanes === 1 ? ["0u", 1] : ["l", lanes];
      lines.push(
        `  for (var u = ${start}; u < ${whole}u; u += ${step}u) {`,
        body(this.#unit("u")),
        "  }",
      );
    }
    if (rest > 0) {
      const mine = lanes === 1 ? "" : `if (l == ${whole % lanes}u) `;
      lines.push(`  ${mine}{`, body(this.#unit(whole)), "  }");
    }
    return lines.join("\n");
  }

  /** Text of the first element of the row. */
  first(name: string): string {
    if (this.#held.includes(name)) return `${name}_0.x`;
    const { dtype } = this.#operands.get(name)!;
    const text = `${name}[${name}_base]`;
    return loaded(dtype, this.#wide(name) ? `${text}.x` : text);
  }

  #units(): undefined[] {
    return new Array(Math.ceil(this.#length / 4)).fill(undefined);
  }

  #unit(u: number | string): Unit {
    const count = this.#countOf(u);
    return {
      load: (name, fill = "0.0") => {
        if (!this.#held.includes(name)) return this.#read(name, u, fill);
        const kept = `${name}_${u}`;
        if (count === 4 || fill === "0.0") return kept;
        const parts = [..."xyzw"].map((p, j) => j < count ? `${kept}.${p}` : fill);
        return `vec4<f32>(${parts.join(", ")})`;
      },
      store: (name, value) => this.#write(name, u, value),
      mask: count === 4
        ? null
        : `vec4<f32>(${[0, 1, 2, 3].map((j) => j < count ? "1.0" : "0.0").join(", ")})`,
    };
  }

  /** Elements of a unit: four, but for the last one. */
  #countOf(u: number | string): number {
    return typeof u === "number" ? Math.min(4, this.#length - 4 * u) : 4;
  }

  /** Whether four neighbours along the row lie in one aligned vec4. */
  #wide(name: string): boolean {
    const { strides, offset } = this.#operands.get(name)!;
    const last = strides.length - 1;
    return this.#fours() && strides[last] === 1 && offset % 4 === 0 &&
      strides.every((s, d) => d === last || s % 4 === 0);
  }

  /** Whether units do not reach over the end of the last axis. */
  #fours(): boolean {
    return this.#shape.reduced.length > 0 && this.#shape.reduced.at(-1)! % 4 === 0;
  }

  #read(name: string, u: number | string, fill: string): string {
    const { dtype, strides } = this.#operands.get(name)!;
    if (this.#wide(name)) return `vec4<f32>(${name}[${this.#at(name, u, 4)}])`;
    if (this.#fours() && strides.at(-1) === 0) {
      return `vec4<f32>(${loaded(dtype, `${name}[${this.#at(name, u, 1)}]`)})`;
    }
    const count = this.#countOf(u);
    const parts = [0, 1, 2, 3].map((j) =>
      j < count ? loaded(dtype, `${name}[${this.#at(name, u, 1, j)}]`) : fill
    );
    return `vec4<f32>(${parts.join(", ")})`;
  }

  #write(name: string, u: number | string, value: string): string {
    const { dtype } = this.#operands.get(name)!;
    if (this.#wide(name)) return `    ${name}[${this.#at(name, u, 4)}] = vec4<${dtype}>(${value});`;
    const count = this.#countOf(u);
    const lines = [..."xyzw"].slice(0, count).map((p, j) =>
      `      ${name}[${this.#at(name, u, 1, j)}] = ${stored(dtype, `out.${p}`)};`
    );
    return `    {\n      let out = ${value};\n${lines.join("\n")}\n    }`;
  }

  /** Address of element `4u + j` of the row, in elements of the binding. */
  #at(name: string, u: number | string, part: 1 | 4, j = 0): string {
    const { strides } = this.#operands.get(name)!;
    const { outer, reduced } = this.#shape;
    const along = strides.slice(outer.length);
    const index = typeof u === "number"
      ? u32(part === 4 ? u : 4 * u + j)
      : part === 4
      ? u
      : `(${u} * 4u + ${j}u)`;
    const inner = part === 4 ? reduced.at(-1)! / 4 : reduced.at(-1) ?? 1;
    const terms = [`${name}_base`];
    const add = (text: string, stride: number) => {
      if (stride !== 0) terms.push(stride === 1 ? text : `${text} * ${u32(stride)}`);
    };
    const last = part === 4 ? 1 : along.at(-1) ?? 0;
    if (reduced.length < 2) add(index, last);
    else {
      add(`(${index} / ${inner}u)`, along[0] / part);
      add(`(${index} % ${inner}u)`, last);
    }
    return terms.join(" + ");
  }
}
