/** Types of WGSL values and arrays, and how they lie in memory. */

import { type Scalar, type TypeNode, unsupported } from "./ast.ts";

/** Components of a value. */
export type Size = 1 | 2 | 3 | 4;

/** A scalar or vector. */
export interface ValueType {
  readonly kind: "value";
  readonly scalar: Scalar;
  readonly size: Size;
}

/** An array in memory. */
export interface ArrayType {
  readonly kind: "array";
  readonly element: Type;
  /** Elements, or null where there is no end. */
  readonly count: number | null;
}

/** What a name may stand for. */
export type Type = ValueType | ArrayType;

const SCALARS: readonly string[] = ["f32", "i32", "u32", "bool", "f16"];
const SIZES: Readonly<Record<string, Size>> = { vec2: 2, vec3: 3, vec4: 4 };

/** A scalar or vector type. */
export function valueType(scalar: Scalar, size: Size = 1): ValueType {
  return { kind: "value", scalar, size };
}

/** Whether a word names a type that values are made of or converted to. */
export function isTypeName(name: string, aliases: ReadonlyMap<string, TypeNode>): boolean {
  return SCALARS.includes(name) || name in SIZES || aliases.has(name);
}

/** Components of a vector type by its name; 1 for other names. */
export function sizeOfName(name: string): Size {
  return SIZES[name] ?? 1;
}

/** What a written type means. */
export function resolveType(
  node: TypeNode,
  aliases: ReadonlyMap<string, TypeNode>,
  line: number,
): Type {
  const alias = aliases.get(node.name);
  if (alias !== undefined) return resolveType(alias, aliases, line);
  if (SCALARS.includes(node.name)) return valueType(node.name as Scalar);
  if (node.args.length === 1) {
    const element = resolveType(node.args[0], aliases, line);
    if (node.name === "array") return { kind: "array", element, count: node.count };
    const size = SIZES[node.name];
    if (size !== undefined && element.kind === "value" && element.size === 1) {
      return valueType(element.scalar, size);
    }
  }
  throw unsupported(`the type ${node.name}`, line);
}

/** What a written type of a value means. */
export function resolveValueType(
  node: TypeNode,
  aliases: ReadonlyMap<string, TypeNode>,
  line: number,
): ValueType {
  const type = resolveType(node, aliases, line);
  if (type.kind !== "value") throw unsupported(`an array as a value`, line);
  return type;
}

/** Bytes from one element of this type to the next. */
export function strideOf(type: Type): number {
  if (type.kind === "array") return (type.count ?? 0) * strideOf(type.element);
  return (type.scalar === "f16" ? 2 : 4) * (type.size === 3 ? 4 : type.size);
}
