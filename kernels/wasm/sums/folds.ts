/** Ways to fold values, one by one and in vectors of four. */

import type { ReduceOp } from "../../reduce.ts";
import type { DType } from "../../types.ts";
import { type Code, f32, f32x4, get, i32, i32x4, select, set, v128 } from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";

/** How values of a type are folded. */
export interface Fold {
  /** Type of a variable for one value. */
  readonly scalar: "f32" | "i32";
  /** What folding starts from, alone and in all lanes. */
  readonly start: Code;
  readonly start4: Code;
  readonly join: (a: Code, b: Code) => Code;
  readonly join4: (a: Code, b: Code) => Code;
  /** The fold of the four lanes. */
  readonly across: (fn: FunctionBuilder, value: Code) => Code;
}

type Join = (a: Code, b: Code) => Code;
type Joins = readonly [Join, Join];

const floats: Partial<Record<ReduceOp, Joins>> = {
  sum: [f32.add, f32x4.add],
  prod: [f32.mul, f32x4.mul],
  // Both give NaN where either value is one.
  max: [f32.max, f32x4.max],
  min: [f32.min, f32x4.min],
};

/** The greater (or lesser) of two words, each of which is computed twice. */
const chosen = (compare: Join): Join => (a, b) => select(a, b, compare(a, b));

const integers: Partial<Record<ReduceOp, Joins>> = {
  sum: [i32.add, i32x4.add],
  prod: [i32.mul, i32x4.mul],
  max: [chosen(i32.gt_s), i32x4.max_s],
  min: [chosen(i32.lt_s), i32x4.min_s],
  any: [i32.or, v128.or],
  all: [i32.and, v128.and],
};

const naturals: Partial<Record<ReduceOp, Joins>> = {
  ...integers,
  max: [chosen(i32.gt_u), i32x4.max_u],
  min: [chosen(i32.lt_u), i32x4.min_u],
};

/** The fold of values of a type: f32, i32, u32, or bool as 0 or 1 and as masks. */
export function foldOf(op: ReduceOp, type: DType, neutral: number): Fold {
  const float = type === "f32" || type === "f16";
  const joins = (float ? floats : type === "u32" ? naturals : integers)[op];
  if (joins === undefined) throw new Error(`internal: no ${op} of ${type}`);
  const [join, join4] = joins;
  const word = type === "bool" && neutral !== 0 ? -1 : neutral;
  const across = (fn: FunctionBuilder, value: Code): Code => {
    const vector = fn.local("v128");
    const lanes = fn.locals(4, float ? "f32" : "i32");
    const extract = float ? f32x4.extract_lane : i32x4.extract_lane;
    const lane = (n: number) => {
      const code = extract(get(vector), n);
      return type === "bool" ? i32.and(code, i32.const(1)) : code;
    };
    const [a, b, c, d] = lanes.map(get);
    return [
      set(vector, value),
      lanes.map((local, n) => set(local, lane(n))),
      set(lanes[0], join(a, b)),
      set(lanes[2], join(c, d)),
      join(a, c),
    ];
  };
  return {
    scalar: float ? "f32" : "i32",
    start: float ? f32.const(neutral) : i32.const(neutral | 0),
    start4: float ? f32x4.splat(f32.const(neutral)) : i32x4.splat(i32.const(word | 0)),
    join,
    join4,
    across,
  };
}
