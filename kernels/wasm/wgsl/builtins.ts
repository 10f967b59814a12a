/** The functions that WGSL brings along. */

import { type Code, f32, f32x4, i32, i32x4, select } from "../instructions.ts";
import { type Scalar, unsupported } from "./ast.ts";
import { anyOrAll, binary, choose } from "./operators.ts";
import { concrete, mapParts, unifyAll } from "./shapes.ts";
import { constantOf, isFloatScalar, isWide, type Value } from "./value.ts";
import type { Writer } from "./writer.ts";

type Builtin = (w: Writer, args: readonly Value[], line: number) => Value;

/** A function of floats with an instruction of its own, and the same on doubles. */
function rounding(
  narrow: (a: Code) => Code,
  wide: (a: Code) => Code,
  number: (a: number) => number,
): Builtin {
  return (_, [arg]) => {
    const a = concrete(arg, "f32");
    if (a.constants !== null) return constantOf("f32", a.constants.map(number));
    return mapParts(a.scalar, [a], ([x]) => (isWide(a) ? wide : narrow)(x));
  };
}

function nearestEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  const up = rest > 0.5 || (rest === 0.5 && low % 2 !== 0);
  return up ? low + 1 : Object.is(x, -0) || (x < 0 && x >= -0.5) ? -0 : low;
}

/** The smaller or larger of two values. */
function extreme(largest: boolean): Builtin {
  return (w, args) => {
    const [a, b] = unifyAll(w, args);
    const { scalar } = a;
    const pick = largest ? Math.max : Math.min;
    if (a.constants !== null && b.constants !== null) {
      return constantOf(scalar, a.constants.map((x, n) => pick(x, b.constants![n])));
    }
    if (isWide(a)) return mapParts(scalar, [a, b], ([x, y]) => wideExtreme(largest, scalar)(x, y));
    if (isFloatScalar(scalar)) {
      return mapParts(scalar, [a, b], ([x, y]) => (largest ? f32.max : f32.min)(x, y));
    }
    const [x, y] = [w.keep(a), w.keep(b)];
    return mapParts(scalar, [x, y], ([p, q]) => select(p, q, narrowOrder(largest, scalar)(p, q)));
  };
}

function wideExtreme(largest: boolean, scalar: Scalar): (a: Code, b: Code) => Code {
  if (isFloatScalar(scalar)) return largest ? f32x4.pmax : f32x4.pmin;
  if (scalar === "i32") return largest ? i32x4.max_s : i32x4.min_s;
  return largest ? i32x4.max_u : i32x4.min_u;
}

function narrowOrder(largest: boolean, scalar: Scalar): (a: Code, b: Code) => Code {
  if (scalar === "i32") return largest ? i32.gt_s : i32.lt_s;
  return largest ? i32.gt_u : i32.lt_u;
}

const max = extreme(true);
const min = extreme(false);
const root = rounding(f32.sqrt, f32x4.sqrt, (x) => Math.fround(Math.sqrt(x)));

function absolute(w: Writer, [arg]: readonly Value[]): Value {
  const a = concrete(arg);
  const { scalar, constants } = a;
  if (constants !== null) return constantOf(scalar, constants.map(Math.abs));
  if (scalar === "u32") return a;
  if (isFloatScalar(scalar)) {
    return mapParts(scalar, [a], ([x]) => (isWide(a) ? f32x4.abs : f32.abs)(x));
  }
  if (isWide(a)) return mapParts(scalar, [a], ([x]) => i32x4.abs(x));
  const kept = w.keep(a);
  return mapParts(scalar, [kept], ([x]) => {
    const sign = i32.shr_s(x, i32.const(31));
    return i32.sub(i32.xor(x, sign), sign);
  });
}

/** As `e1 · e2 + e3`, which WGSL allows and every machine does alike. */
function multiplyAdd(w: Writer, [a, b, c]: readonly Value[], line: number): Value {
  return binary(w, "+", binary(w, "*", a, b, line), c, line);
}

const builtins: Readonly<Record<string, Builtin>> = {
  abs: absolute,
  min,
  max,
  clamp: (w, [x, low, high], line) => min(w, [max(w, [x, low], line), high], line),
  select: (w, [no, yes, condition]) => choose(w, no, yes, condition),
  any: (w, [v]) => anyOrAll(w, false, v),
  all: (w, [v]) => anyOrAll(w, true, v),
  round: rounding(f32.nearest, f32x4.nearest, nearestEven),
  trunc: rounding(f32.trunc, f32x4.trunc, Math.trunc),
  floor: rounding(f32.floor, f32x4.floor, Math.floor),
  ceil: rounding(f32.ceil, f32x4.ceil, Math.ceil),
  sqrt: root,
  inverseSqrt: (w, args, line) => binary(w, "/", constantOf("f32", [1]), root(w, args, line), line),
  fma: multiplyAdd,
};

/** Whether WGSL brings a function of this name along. */
export function isBuiltin(name: string): boolean {
  return Object.hasOwn(builtins, name);
}

/** A call of such a function. */
export function callBuiltin(
  w: Writer,
  name: string,
  args: readonly Value[],
  line: number,
): Value {
  if (!isBuiltin(name)) throw unsupported(`the function ${name}`, line);
  return builtins[name](w, args, line);
}
