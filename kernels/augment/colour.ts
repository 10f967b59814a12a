/** Images whose colours change, each by its own row, in one kernel. */

import { operandKey, type StridedOperand } from "../map.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "../types.ts";
import { type Binding, grid, perThread, shader, u32 } from "../wgsl.ts";
import { chainFunctions, chainText, changePixel } from "./chain.ts";
import { CODES } from "./colour_codes.ts";
import { colourKey, type ColourParams, factsWidth } from "./statistics.ts";
import { pixel, pixelAt } from "./text.ts";

/** Parameters of changed images; facts and levels are dense. */
export interface ChangeParams extends ColourParams {
  /** f32 [N, 1 + 2·C]; null where no change needs it. */
  readonly facts: StridedOperand | null;
  /** f32 [N, C, 256]; null where no change needs it. */
  readonly levels: StridedOperand | null;
}

/** Changed images, dense in the order [N, H, W, C]. Inputs: images, rows, facts, levels. */
export function colourKernel(params: ChangeParams): Kernel {
  const { images, chain, facts, levels } = params;
  const operands = [images, chain.rows, facts, levels].filter((o) => o !== null);
  const key = `augment colour|${colourKey(params)}|${facts && operandKey(facts)}|${
    levels && operandKey(levels)
  }`;
  return intern(key, () => ({
    op: "augment colour",
    key,
    params,
    inputs: operands.map((o) => o.dtype),
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(params, traits),
    reference: (ins, [out]) => reference(params, ins, out),
  }));
}

function program(params: ChangeParams, traits: DeviceTraits): WgslProgram {
  const { shape: [count, channels, height, width], images, chain, facts, levels } = params;
  const threads = count * height * width;
  const inputs: Binding[] = [
    { name: "images", dtype: images.dtype },
    { name: "rows", dtype: chain.rows.dtype },
  ];
  if (facts !== null) inputs.push({ name: "facts", dtype: facts.dtype });
  if (levels !== null) inputs.push({ name: "levels", dtype: levels.dtype });
  const names = ["r", "g", "b"].slice(0, channels);
  const fact = (k: number) =>
    `facts[n * ${factsWidth(channels)}u + ${u32((facts?.offset ?? 0) + k)}]`;
  const texts = {
    mean: fact(0),
    low: (c: number) => fact(1 + 2 * c),
    high: (c: number) => fact(2 + 2 * c),
    level: (c: number, level: string) =>
      `levels[(n * ${channels}u + ${c}u) * 256u + ${u32(levels?.offset ?? 0)} + ${level}]`,
    blurred: (c: number) => `blurred(n, ${c}u, py, px)`,
  };
  const body = `  let px = i % ${width}u;
  let py = (i / ${width}u) % ${height}u;
  let n = i / ${height * width}u;
${names.map((x, c) => `  var ${x} = ${pixel(images, "n", `${c}u`, "py", "px")};`).join("\n")}
${chainText(chain, texts)}
${names.map((x, c) => `  y[i * ${channels}u + ${c}u] = ${x};`).join("\n")}`;
  const near = (y: string, x: string) => pixel(images, "n", "c", `(py ${y})`, `(px ${x})`);
  const ring = ["- 1u", "+ 0u", "+ 1u"].flatMap((y) =>
    ["- 1u", "+ 0u", "+ 1u"].map((x) => near(y, x))
  );
  const blurred = `fn blurred(n: u32, c: u32, py: u32, px: u32) -> f32 {
  var value = ${pixel(images, "n", "c", "py", "px")};
  if (py > 0u && py < ${height - 1}u && px > 0u && px < ${width - 1}u) {
    value = (${ring.join(" + ")} + 4.0 * value) / 13.0;
  }
  return value;
}`;
  const around = chain.codes.includes(CODES.sharpness) ? [blurred] : [];
  return {
    code: shader(
      inputs,
      [{ name: "y", dtype: "f32" }],
      [],
      [chainFunctions, ...around, perThread(threads, body)].join("\n"),
    ),
    groups: grid(threads, traits),
  };
}

function reference(
  params: ChangeParams,
  ins: readonly Float64Array[],
  out: Float64Array,
): void {
  const { shape: [count, channels, height, width], images, chain, facts, levels } = params;
  const [pixels, rows, ...rest] = ins;
  const known = facts === null ? undefined : rest[0];
  const table = levels === null ? undefined : rest[facts === null ? 0 : 1];
  const wide = factsWidth(channels);
  const value = new Array<number>(channels);
  let to = 0;
  for (let n = 0; n < count; n++) {
    const fact = (k: number) => known![facts!.offset + n * wide + k];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < channels; c++) value[c] = pixels[pixelAt(images, n, c, y, x)];
        changePixel(chain, rows, n, value, {
          get mean() {
            return fact(0);
          },
          low: (c) => fact(1 + 2 * c),
          high: (c) => fact(2 + 2 * c),
          level: (c, level) => table![levels!.offset + (n * channels + c) * 256 + level],
          blurred: (c) => blurredAt(params, pixels, n, c, y, x),
        });
        for (let c = 0; c < channels; c++) out[to++] = value[c];
      }
    }
  }
}

/** The mean of a pixel, five times, and its eight neighbours; at the edge the pixel itself. */
function blurredAt(
  { shape: [, , height, width], images }: ChangeParams,
  pixels: Float64Array,
  n: number,
  c: number,
  y: number,
  x: number,
): number {
  const centre = pixels[pixelAt(images, n, c, y, x)];
  if (y === 0 || x === 0 || y === height - 1 || x === width - 1) return centre;
  let sum = 4 * centre;
  for (let dy = -1; dy <= 1; dy++) {
    for (let dx = -1; dx <= 1; dx++) sum += pixels[pixelAt(images, n, c, y + dy, x + dx)];
  }
  return sum / 13;
}
