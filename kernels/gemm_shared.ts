/**
 * The body of matrix product and convolution for hardware adapters: a workgroup loads a slab of both sides into its memory,
 * as vec4 along rows and along columns, and each thread sums a small tile from there.
 *
 * Sides are loaded in blocks of four rows by four steps, one block a thread and turn, and turned in registers where they
 * lie along the summed axis; what lies beyond that axis is replaced by zeros.
 */

import { declareSums } from "./gemm.ts";
import { quadsOf, type SharedTile, type Slab, slabWidth } from "./tiles.ts";

/** One side of a product, as blocks of four rows (or columns) by four steps of the summed axis. */
export interface Side {
  /** Whether neighbours along the summed axis lie in one vec4, so that neighbouring threads should run along it. */
  readonly alongDepth: boolean;
  /** Statements before the loop, of names that begin with `prefix`, for the four rows from `first` on. */
  setup(prefix: string, first: string): string;
  /** Statements that load the block at step `k`, and texts of the vec4 of its rows at each of the four steps. */
  load(prefix: string, k: string): { readonly lines: string; readonly values: readonly string[] };
}

/** What is summed: `until` and `low` are texts, `whole` says that all slabs are full. */
export interface Summed {
  readonly low: string;
  readonly until: string;
  readonly whole: boolean;
}

/** A block that a thread loads in one turn. */
interface Turn {
  readonly name: Slab;
  readonly side: Side;
  /** Text of the number of the block among those of its side. */
  readonly block: string;
  readonly prefix: string;
  /** Condition on the thread, or null where all threads take part. */
  readonly when: string | null;
}

/** The turns in which the threads of a workgroup load both slabs. */
function turnsOf(tile: SharedTile, left: Side, right: Side): Turn[] {
  const threads = tile.lanesX * tile.lanesY;
  const steps = tile.depth / 4;
  const turns: Turn[] = [];
  let begin = 0;
  for (const [name, side] of [["a", left], ["b", right]] as const) {
    const blocks = quadsOf(tile, name) * steps;
    for (let at = begin; at < begin + blocks;) {
      const turn = Math.floor(at / threads);
      const end = Math.min((turn + 1) * threads, begin + blocks);
      const conditions = [
        at % threads === 0 ? "" : `thread >= ${at % threads}u`,
        end % threads === 0 ? "" : `thread < ${end % threads}u`,
      ].filter((text) => text !== "");
      const shift = turn * threads - begin;
      turns.push({
        name,
        side,
        block: `(thread + ${shift >>> 0}u)`,
        prefix: `${name}${turn}`,
        when: conditions.length === 0 ? null : conditions.join(" && "),
      });
      at = end;
    }
    begin += blocks;
  }
  return turns;
}

/** Sums `acc<row>_<group>` of the thread's tile over the summed axis. */
export function sharedSums(tile: SharedTile, left: Side, right: Side, summed: Summed): string {
  const turns = turnsOf(tile, left, right);
  const lines = [
    `  let thread = lid.y * ${tile.lanesX}u + lid.x;`,
    `  let slabRow = row0 - lid.y * ${tile.rows}u;`,
    `  let slabColumn = col0 - lid.x * ${tile.columns}u;`,
    ...turns.map((turn) => setupTurn(tile, turn)),
    declareSums(tile),
    `  let until = ${summed.until};`,
    `  for (var k0 = ${summed.low}; k0 < until; k0 += ${tile.depth}u) {`,
    ...turns.map((turn) => loadTurn(tile, turn, summed)),
    "    workgroupBarrier();",
  ];
  for (let step = 0; step < tile.depth; step++) lines.push(sumStep(tile, step));
  lines.push("    workgroupBarrier();", "  }");
  return lines.join("\n");
}

function setupTurn(tile: SharedTile, { name, side, block, prefix }: Turn): string {
  const [quads, steps] = [quadsOf(tile, name), tile.depth / 4];
  const [quad, step] = side.alongDepth
    ? [`${block} / ${steps}u % ${quads}u`, `${block} % ${steps}u`]
    : [`${block} % ${quads}u`, `${block} / ${quads}u % ${steps}u`];
  const origin = name === "a" ? "slabRow" : "slabColumn";
  return `  let ${prefix}Quad = ${quad};
  let ${prefix}Step = ${step} * 4u;
${side.setup(prefix, `(${origin} + ${prefix}Quad * 4u)`)}`;
}

function loadTurn(tile: SharedTile, turn: Turn, { whole }: Summed): string {
  const { name, side, prefix, when } = turn;
  const { lines, values } = side.load(prefix, `${prefix}K`);
  const slab = name === "a" ? "slabA" : "slabB";
  const stores = values.map((value, s) => {
    const kept = whole ? value : `select(vec4<f32>(0.0), ${value}, ${prefix}K + ${s}u < until)`;
    const at = `(${prefix}Step + ${s}u) * ${slabWidth(tile, name)}u + ${prefix}Quad`;
    return `      ${slab}[${at}] = ${kept};`;
  });
  return `    ${when === null ? "" : `if (${when}) `}{
      let ${prefix}K = k0 + ${prefix}Step;
${lines}
${stores.join("\n")}
    }`;
}

function sumStep(tile: SharedTile, step: number): string {
  const lines = ["    {"];
  for (let q = 0; q < tile.rows / 4; q++) {
    const at = `lid.y * ${tile.rows / 4}u + ${step * slabWidth(tile, "a") + q}u`;
    lines.push(`      let l${q} = slabA[${at}];`);
  }
  for (let g = 0; g < tile.columns / 4; g++) {
    const at = `lid.x * ${tile.columns / 4}u + ${step * slabWidth(tile, "b") + g}u`;
    lines.push(`      let r${g} = slabB[${at}];`);
  }
  for (let r = 0; r < tile.rows; r++) {
    for (let g = 0; g < tile.columns / 4; g++) {
      lines.push(`      acc${r}_${g} += l${r >> 2}.${"xyzw"[r & 3]} * r${g};`);
    }
  }
  lines.push("    }");
  return lines.join("\n");
}
