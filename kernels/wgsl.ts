/** Pieces of WGSL that every kernel is put together from. */

import { helpersFor } from "./math_wgsl.ts";
import { type DeviceTraits, type DType, type ScalarType, type Shape, sizeOf } from "./types.ts";

/** Threads of a workgroup in kernels that give each thread its own elements. */
export const THREADS = 64;

/** How a value of this type stands in a storage buffer. */
export function storageType(dtype: DType): string {
  return dtype === "bool" ? "u32" : dtype;
}

/** How a value of this type stands in a variable. */
export function valueType(dtype: DType): string {
  return dtype === "f16" ? "f32" : dtype;
}

/** Text of a loaded storage word as a value. */
export function loaded(dtype: DType, text: string): string {
  return dtype === "f16" ? `f32(${text})` : dtype === "bool" ? `(${text} != 0u)` : text;
}

/** Text of a value as a storage word. */
export function stored(dtype: DType, text: string): string {
  return dtype === "f16" ? `f16(${text})` : dtype === "bool" ? `select(0u, 1u, ${text})` : text;
}

/** Storage of one binding: its name, element type and vector width. */
export interface Binding {
  readonly name: string;
  readonly dtype: DType;
  readonly width?: 1 | 4;
}

/**
 * A whole shader: bindings in order (inputs read-only, then outputs), the scalars `u.s0`, `u.s1` …, helper functions and text.
 */
export function shader(
  inputs: readonly Binding[],
  outputs: readonly Binding[],
  scalars: readonly ScalarType[],
  text: string,
): string {
  const lines: string[] = [];
  const all = [...inputs, ...outputs];
  if (all.some((b) => b.dtype === "f16")) lines.push("enable f16;");
  all.forEach((b, i) => {
    const type = storageType(b.dtype);
    const element = b.width === 4 ? `vec4<${type}>` : type;
    const access = i < inputs.length ? "read" : "read_write";
    lines.push(`@group(0) @binding(${i}) var<storage, ${access}> ${b.name}: array<${element}>;`);
  });
  if (scalars.length > 0) {
    lines.push(`struct Scalars { ${scalars.map((t, i) => `s${i}: ${t}`).join(", ")} }`);
    lines.push(`@group(0) @binding(${all.length}) var<uniform> u: Scalars;`);
  }
  lines.push(helpersFor(text), text);
  return lines.join("\n");
}

/** Workgroups for so many threads, spread over two dimensions where one is not enough. */
export function grid(
  threads: number,
  traits: DeviceTraits,
  size: number = THREADS,
): [number, number, number] {
  const groups = Math.max(1, Math.ceil(threads / size));
  if (groups <= traits.maxGroups) return [groups, 1, 1];
  const x = Math.ceil(Math.sqrt(groups));
  return [x, Math.ceil(groups / x), 1];
}

/** Head of an entry point whose threads count through `i`, from 0 to `count - 1`. */
export function perThread(count: number, body: string, size: number = THREADS): string {
  return `@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) wgs: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wg.y * wgs.x + wg.x) * ${size}u + lane;
  if (i >= ${count}u) { return; }
${body}
}`;
}

/** A number as an unsigned literal; negative ones wrap round, as additions then do. */
export function u32(value: number): string {
  return `${value >>> 0}u`;
}

/** Statements that split the linear index `from` into coordinates `prefix0`, `prefix1` … over a shape. */
export function coordinates(from: string, shape: Shape, prefix: string): string {
  const lines: string[] = [];
  let rest = from;
  for (let d = shape.length - 1; d > 0; d--) {
    lines.push(`  let ${prefix}${d} = ${rest} % ${shape[d]}u;`);
    lines.push(`  let ${prefix}q${d} = ${rest} / ${shape[d]}u;`);
    rest = `${prefix}q${d}`;
  }
  if (shape.length > 0) lines.push(`  let ${prefix}0 = ${rest};`);
  return lines.join("\n");
}

/** Text of the address `offset + Σ coordinate·stride`. */
export function address(prefix: string, strides: readonly number[], offset: number): string {
  const terms = strides.flatMap((stride, d) =>
    stride === 0 ? [] : stride === 1 ? [`${prefix}${d}`] : [`${prefix}${d} * ${u32(stride)}`]
  );
  if (offset !== 0 || terms.length === 0) terms.push(u32(offset));
  return terms.join(" + ");
}

/** Addresses of all elements of a strided range in order, for references. */
export function addressesOf(shape: Shape, strides: readonly number[], offset: number): Int32Array {
  const out = new Int32Array(sizeOf(shape));
  const index = new Array<number>(shape.length).fill(0);
  let at = offset;
  for (let i = 0; i < out.length; i++) {
    out[i] = at;
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d];
      if (++index[d] < shape[d]) break;
      at -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
  return out;
}
