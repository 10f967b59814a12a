/** Addresses and loads that the shaders of convolution share. */

import type { ConvParams } from "./conv2d.ts";
import type { Tile } from "./tiles.ts";

/** Text of the offset of tap `t` from the first element of a patch. */
export function tapOffset(p: ConvParams, t: string): string {
  const [, kw] = p.kernel;
  return `(${t} / ${kw}u * ${p.dilation[0] * p.width}u + ${t} % ${kw}u * ${
    p.dilation[1]
  }u) * ${p.inChannels}u`;
}

/** Text of the address in the image of the first element of a patch, by output line (of all images) and column. */
export function pixelOffset(p: ConvParams, line: string, ox: string): string {
  const { outHeight: oh, stride } = p;
  const row = `(${line} / ${oh}u * ${p.height}u + ${line} % ${oh}u * ${stride[0]}u)`;
  return `(${row} * ${p.width}u + ${ox} * ${stride[1]}u) * ${p.inChannels}u`;
}

/** Columns `c<group>` of the thread, held inside at the end; in vec4 where the columns lie in them. */
export function columnStarts(tile: Tile, columns: number, wide: boolean): string {
  const lines: string[] = [];
  for (let g = 0; g < tile.columns / 4; g++) {
    if (wide) lines.push(`  let c${g} = min(col0 + ${g * 4}u, ${columns - 4}u) / 4u;`);
    else {
      for (let j = 0; j < 4; j++) {
        lines.push(`  let c${g}_${j} = min(col0 + ${g * 4 + j}u, ${columns - 1}u);`);
      }
    }
  }
  return lines.join("\n");
}

/** Loads `w<group>_<step>`, the columns of some rows of a matrix with `columns` columns, from row `first` on. */
export function weights(
  tile: Tile,
  first: string,
  steps: number,
  columns: number,
  wide: boolean,
  name = "w",
): string {
  const length = wide ? columns / 4 : columns;
  const lines = [`    let wr = ${first} * ${length}u;`];
  for (let s = 0; s < steps; s++) {
    for (let g = 0; g < tile.columns / 4; g++) {
      const at = (column: string) => `${name}[wr + (${column} + ${s * length}u)]`;
      const four = () => [0, 1, 2, 3].map((j) => at(`c${g}_${j}`)).join(", ");
      lines.push(`    let w${g}_${s} = ${wide ? at(`c${g}`) : `vec4(${four()})`};`);
    }
  }
  return lines.join("\n");
}
