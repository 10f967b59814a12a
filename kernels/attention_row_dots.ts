/** The WGSL of what the gradients of attention read of each query. */

import type { RowDotsParams } from "./attention.ts";
import { quadsOf, range, Rows } from "./attention_rows.ts";
import { type DeviceTraits, sizeOf, type WgslProgram } from "./types.ts";
import { coordinates, grid, perThread, shader } from "./wgsl.ts";

/** The sum of g · out of each query, beside its logarithm. */
export function rowDotsProgram(p: RowDotsParams, traits: DeviceTraits): WgslProgram {
  const [g, out] = [new Rows("g", p.g, p.width), new Rows("y", p.out, p.width)];
  const count = sizeOf(p.batch) * p.queries;
  const products = range(quadsOf(p.width)).map((d) =>
    `  sum += ${g.load("gr", d)} * ${out.load("yr", d)};`
  );
  const body = `  let item = i / ${p.queries}u;
  let row = i % ${p.queries}u;
${coordinates("item", p.batch, "c")}
${g.head()}
${out.head()}
  ${g.row("gr", "row")}
  ${out.row("yr", "row")}
  var sum = vec4<f32>();
${products.join("\n")}
  rows[(2u * item) * ${p.queries}u + row] = logs[i];
  rows[(2u * item + 1u) * ${p.queries}u + row] = (sum.x + sum.y) + (sum.z + sum.w);`;
  const code = shader(
    [g.binding(), out.binding(), { name: "logs", dtype: "f32" }],
    [{ name: "rows", dtype: "f32" }],
    [],
    perThread(count, body),
  );
  return { code, groups: grid(count, traits) };
}
