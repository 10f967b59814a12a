/** Values brought to common types, sizes and lanes. */

import type { Code } from "../instructions.ts";
import type { Scalar } from "./ast.ts";
import {
  component,
  computed,
  constantOf,
  extract,
  gathered,
  isPacked,
  isWide,
  type Lanes,
  splat,
  type Value,
  widened,
} from "./value.ts";
import type { Size } from "./types.ts";
import type { Writer } from "./writer.ts";

/** A literal as a number of a type; other values stay. */
export function concrete(v: Value, scalar?: Scalar): Value {
  if (v.scalar !== "int" && v.scalar !== "float") return v;
  const to = scalar ?? (v.scalar === "int" ? "i32" : "f32");
  const one = constantOf(to, v.constants!);
  return v.lanes === 1 ? one : widened(one);
}

/** Values of one size and number of lanes: scalars are repeated, single elements put into all lanes. */
export function conform(w: Writer, values: readonly Value[]): Value[] {
  const size = Math.max(...values.map((v) => v.size)) as Size;
  const lanes = Math.max(...values.map((v) => v.lanes)) as Lanes;
  return values.map((v) => shaped(w, v, size, lanes));
}

/** A value repeated to a size and number of lanes. */
export function shaped(w: Writer, v: Value, size: Size, lanes: Lanes): Value {
  if (v.size === size && v.lanes === lanes) return v;
  if (v.constants !== null) {
    const numbers = v.size === size ? v.constants : new Array(size).fill(v.constants[0]);
    const all = constantOf(v.scalar, numbers);
    return lanes === 1 ? all : widened(all);
  }
  if (v.lanes !== lanes) v = widened(w.keep(v));
  if (v.size === size) return v;
  if (isPacked({ size, lanes })) {
    const part = splat(v.scalar, v.parts[0]);
    return computed(v.scalar, size, lanes, [part]);
  }
  const one = w.keep(v);
  return { ...one, size, parts: new Array(size).fill(one.parts[0]), origin: null };
}

/** Two values of one type, size and number of lanes. */
export function unify(w: Writer, a: Value, b: Value): [Value, Value] {
  const scalar = commonScalar(a.scalar, b.scalar);
  const [x, y] = conform(w, [literalAs(a, scalar), literalAs(b, scalar)]);
  return [x, y];
}

/** Some values of one type, size and number of lanes. */
export function unifyAll(w: Writer, values: readonly Value[]): Value[] {
  const scalar = values.map((v) => v.scalar).reduce(commonScalar);
  return conform(w, values.map((v) => literalAs(v, scalar)));
}

function literalAs(v: Value, scalar: Scalar): Value {
  if (v.scalar !== "int" && v.scalar !== "float") return v;
  return { ...constantOf(scalar, v.constants!) };
}

function commonScalar(a: Scalar, b: Scalar): Scalar {
  if (a === "int") return b;
  if (a === "float") return b === "int" ? "float" : b;
  if (b !== "int" && b !== "float" && a !== b) {
    throw new Error(`internal: ${a} meets ${b} in WGSL`);
  }
  return a;
}

/** Applies code to the parts of values of one shape. */
export function mapParts(
  scalar: Scalar,
  values: readonly Value[],
  code: (parts: readonly Code[]) => Code,
): Value {
  const { size, lanes } = values[0];
  const parts = values[0].parts.map((_, n) => code(values.map((v) => v.parts[n])));
  return computed(scalar, size, lanes, parts);
}

/**
 * Applies an instruction for single numbers to each lane of two values of one shape.
 *
 * @param repeats whether the instruction uses its operands more than once
 */
export function lanewise(
  w: Writer,
  scalar: Scalar,
  a: Value,
  b: Value,
  code: (x: Code, y: Code) => Code,
  repeats = false,
): Value {
  if (!isWide(a)) throw new Error("internal: lanes of a value that has none");
  const [x, y] = [w.keep(a), w.keep(b)];
  return mapParts(scalar, [x, y], ([p, q]) => {
    const lanes = [0, 1, 2, 3].map((lane) => {
      const pair = [[a.scalar, p], [b.scalar, q]] as const;
      const [s, t] = pair.map(([type, part]) => {
        const one = computed(type, 1, 1, [extract(type, part, lane)]);
        return (repeats ? w.hold(one) : one).parts[0];
      });
      return code(s, t);
    });
    return gathered(scalar, lanes);
  });
}

/** The components that a swizzle such as `zw` names. */
export function swizzled(w: Writer, v: Value, name: string): Value[] {
  const places = [...name].map((letter) => "xyzw".indexOf(letter));
  if (places.some((place) => place < 0 || place >= v.size)) {
    throw new Error(`internal: .${name} of a vector of ${v.size}`);
  }
  const all = places.length > 1 || isPacked(v) ? w.hold(v) : v;
  return places.map((place) => component(all, place));
}
