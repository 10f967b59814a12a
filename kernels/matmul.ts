/**
 * Matrix product `[…, M, K] × [K, N] → […, M, N]` with any strides, an optional bias per column, and K cut into slices where it
 * is long.
 *
 * One thread sums a tile in registers (gemm.ts). Each operand is loaded as vec4 along whichever of its axes is dense, so that
 * the plain product and both products of the backward pass run without copies.
 */

import {
  addProducts,
  chooseTile,
  declareSums,
  storeSums,
  type Tile,
  tileGroups,
  tileHead,
} from "./gemm.ts";
import {
  type DeviceTraits,
  intern,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, addressesOf, coordinates, shader, u32 } from "./wgsl.ts";

/** A matrix operand: steps from row to row and from column to column, and along the batch axes. */
export interface MatrixOperand {
  readonly rowStride: number;
  readonly columnStride: number;
  readonly batchStrides: readonly number[];
  /** First element, from the start of the bound range. */
  readonly offset: number;
}

/** Parameters of a matrix product. All operands are f32. */
export interface MatmulParams {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: Shape;
  readonly a: MatrixOperand;
  readonly b: MatrixOperand;
  readonly bias: boolean;
  /** Slices of K; the result is `[splits, …batch, M, N]` where it is above 1. */
  readonly splits: number;
}

/** The matrix product of these parameters. Inputs: a, b and, where asked for, bias [N]. */
export function matmulKernel(params: MatmulParams): Kernel {
  const { m, n, k, batch, bias, splits } = params;
  const key = `matmul|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "matmul",
    key,
    params,
    inputs: bias ? ["f32", "f32", "f32"] : ["f32", "f32"],
    outputs: ["f32"],
    scalars: [],
    flops: 2 * m * n * k * sizeOf(batch) * (splits > 0 ? 1 : 0),
    wgsl: (traits) => matmulProgram(params, traits),
    reference: (inputs, outputs) => matmulReference(params, inputs, outputs[0]),
  }));
}

type Axis = "rows" | "depth" | null;

/** The axis of an operand along which four neighbours make an aligned vec4. */
function vectorAxis(
  along: number,
  depth: number,
  alongSize: number,
  k: number,
  operand: MatrixOperand,
): Axis {
  const aligned = operand.offset % 4 === 0 && operand.batchStrides.every((s) => s % 4 === 0);
  if (!aligned) return null;
  if (depth === 1 && along % 4 === 0 && k % 4 === 0) return "depth";
  if (along === 1 && depth % 4 === 0 && alongSize % 4 === 0) return "rows";
  return null;
}

function matmulProgram(params: MatmulParams, traits: DeviceTraits): WgslProgram {
  const { m, n, k, batch, a, b, bias, splits } = params;
  const tile = chooseTile(m, n, traits);
  const chunk = Math.ceil(k / splits / 4) * 4;
  const aAxis = tile.rows % 4 === 0 ? vectorAxis(a.rowStride, a.columnStride, m, k, a) : null;
  const bAxis = vectorAxis(b.columnStride, b.rowStride, n, k, b);
  const depth = sizeOf(batch) * splits;
  const [across, down] = tileGroups(m, n, depth, tile);
  // More matrices than one dimension may have workgroups lie several times along x.
  const fold = Math.ceil(depth / traits.maxGroups);
  const lines = [
    tileHead(tile, fold > 1 ? `(wg.x % ${across}u)` : "wg.x"),
    fold > 1 ? `  let z = wg.z * ${fold}u + wg.x / ${across}u;` : "  let z = wg.z;",
    fold > 1 ? `  if (z >= ${depth}u) { return; }` : "",
    `  let slice = z / ${sizeOf(batch)}u;`,
    `  let item = z % ${sizeOf(batch)}u;`,
    coordinates("item", batch, "c"),
    `  let aBase = ${address("c", a.batchStrides, a.offset)};`,
    `  let bBase = ${address("c", b.batchStrides, b.offset)};`,
    `  let low = slice * ${chunk}u;`,
    `  let until = min(low + ${chunk}u, ${k}u);`,
    operandRows("a", tile.rows, "row0", m, a.rowStride, aAxis),
    operandRows("b", tile.columns, "col0", n, b.columnStride, bAxis),
    declareSums(tile),
    `  var k = low;`,
    `  for (; k + 4u <= until; k += 4u) {`,
    fourSteps("a", tile.rows, a.columnStride, aAxis),
    fourSteps("b", tile.columns, b.rowStride, bAxis),
  ];
  for (let step = 0; step < 4; step++) lines.push(products(tile, step, aAxis, bAxis));
  lines.push("  }");
  if (k % 4 !== 0) {
    lines.push("  for (; k < until; k++) {", oneStep("a", tile.rows, a.columnStride, aAxis));
    lines.push(oneStep("b", tile.columns, b.rowStride, bAxis));
    const left = (r: number) => aAxis === "rows" ? `at${r >> 2}.${"xyzw"[r & 3]}` : `at${r}`;
    const group = (c: number) => `vec4(${[0, 1, 2, 3].map((j) => `bt${c * 4 + j}`).join(", ")})`;
    const right = (c: number) => bAxis === "rows" ? `bt${c}` : group(c);
    lines.push(addProducts(tile, left, right), "  }");
  }
  const outBase = `z * ${m * n}u`;
  lines.push(storeSums(tile, m, n, (row) => `${outBase} + ${row} * ${n}u`, bias), "}");
  const inputs = [
    { name: "a", dtype: "f32", width: aAxis ? 4 : 1 },
    { name: "b", dtype: "f32", width: bAxis ? 4 : 1 },
    ...(bias ? [{ name: "bias", dtype: "f32" } as const] : []),
  ] as const;
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32" }], [], lines.join("\n")),
    groups: [across * fold, down, Math.ceil(depth / fold)],
  };
}

/** Addresses of the thread's rows (or columns), held inside the matrix at its end. */
function operandRows(
  name: string,
  count: number,
  first: string,
  size: number,
  stride: number,
  axis: Axis,
): string {
  const lines: string[] = [];
  if (axis === "rows") {
    for (let g = 0; g < count / 4; g++) {
      lines.push(`  let ${name}g${g} = ${name}Base + min(${first} + ${g * 4}u, ${size - 4}u);`);
    }
    return lines.join("\n");
  }
  for (let r = 0; r < count; r++) {
    lines.push(
      `  let ${name}r${r} = ${name}Base + min(${first} + ${r}u, ${size - 1}u) * ${u32(stride)};`,
    );
  }
  return lines.join("\n");
}

/** Loads four steps of K: `ax<row>` as vec4 along K, `ag<group>_<step>` along rows, or `as<row>_<step>` one by one. */
function fourSteps(name: string, count: number, depthStride: number, axis: Axis): string {
  const lines: string[] = [];
  if (axis === "depth") {
    for (let r = 0; r < count; r++) {
      lines.push(`    let ${name}x${r} = ${name}[(${name}r${r} + k) / 4u];`);
    }
    return lines.join("\n");
  }
  for (let step = 0; step < 4; step++) {
    const k = `(k + ${step}u) * ${u32(depthStride)}`;
    if (axis === "rows") {
      for (let g = 0; g < count / 4; g++) {
        lines.push(`    let ${name}v${g}_${step} = ${name}[(${name}g${g} + ${k}) / 4u];`);
      }
    } else {
      for (let r = 0; r < count; r++) {
        lines.push(`    let ${name}s${r}_${step} = ${name}[${name}r${r} + ${k}];`);
      }
    }
  }
  return lines.join("\n");
}

/** Loads one step of K after the last four: `at<group>` as vec4 along rows, or `at<row>`. */
function oneStep(name: string, count: number, depthStride: number, axis: Axis): string {
  const lines: string[] = [];
  if (axis === "rows") {
    for (let g = 0; g < count / 4; g++) {
      lines.push(`    let ${name}t${g} = ${name}[(${name}g${g} + k * ${u32(depthStride)}) / 4u];`);
    }
    return lines.join("\n");
  }
  for (let r = 0; r < count; r++) {
    lines.push(`    let ${name}t${r} = ${name}[${name}r${r} + k * ${u32(depthStride)}];`);
  }
  return lines.join("\n");
}

function products(tile: Tile, step: number, aAxis: Axis, bAxis: Axis): string {
  const component = "xyzw"[step];
  const left = (r: number) =>
    aAxis === "depth"
      ? `ax${r}.${component}`
      : aAxis === "rows"
      ? `av${r >> 2}_${step}.${"xyzw"[r & 3]}`
      : `as${r}_${step}`;
  const right = (c: number) => {
    if (bAxis === "rows") return `bv${c}_${step}`;
    const lane = (j: number) =>
      bAxis === "depth" ? `bx${c * 4 + j}.${component}` : `bs${c * 4 + j}_${step}`;
    return `vec4(${[0, 1, 2, 3].map(lane).join(", ")})`;
  };
  return addProducts(tile, left, right);
}

function matmulReference(
  { m, n, k, batch, a, b, bias, splits }: MatmulParams,
  inputs: readonly Float64Array[],
  out: Float64Array,
): void {
  const aStarts = addressesOf(batch, a.batchStrides, a.offset);
  const bStarts = addressesOf(batch, b.batchStrides, b.offset);
  const chunk = Math.ceil(k / splits / 4) * 4;
  let at = 0;
  for (let s = 0; s < splits; s++) {
    for (let item = 0; item < aStarts.length; item++) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = bias ? inputs[2][j] : 0;
          for (let p = s * chunk; p < Math.min(k, (s + 1) * chunk); p++) {
            sum += inputs[0][aStarts[item] + i * a.rowStride + p * a.columnStride] *
              inputs[1][bStarts[item] + p * b.rowStride + j * b.columnStride];
          }
          out[at++] = sum;
        }
      }
    }
  }
}
