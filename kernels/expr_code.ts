/** A formula as WGSL, and as a function of double-precision numbers. */

import { computeType, dtypeOf, type Expr, rowOf, topological } from "./expr.ts";
import { type DType, isFloat } from "./types.ts";
import { valueType } from "./wgsl.ts";

/** A constant as a WGSL literal of its type. */
export function literal(value: number, type: DType): string {
  if (type === "bool") return value ? "true" : "false";
  if (type === "i32") return `i32(${Math.trunc(value)})`;
  if (type === "u32") return `${Math.trunc(value)}u`;
  if (Number.isNaN(value)) return "nan()";
  if (!Number.isFinite(value)) return value > 0 ? "inf()" : "(-inf())";
  return Object.is(value, -0) ? "-0.0f" : `${Math.fround(value)}f`;
}

function converted(text: string, from: DType, to: DType): string {
  return valueType(from) === valueType(to) ? text : `${valueType(to)}(${text})`;
}

/**
 * The WGSL function `name(i0, i1, …)` of a formula; scalars are read from `u`.
 *
 * @param inputTypes element types of the inputs
 */
export function exprFunction(name: string, root: Expr, inputTypes: readonly DType[]): string {
  const names = new Map<string, string>();
  const lines: string[] = [];
  for (const e of topological(root)) {
    const type = dtypeOf(e, inputTypes);
    if (e.kind === "input") names.set(e.key, `i${e.index}`);
    else if (e.kind === "scalar") names.set(e.key, `u.s${e.index}`);
    else if (e.kind === "const") names.set(e.key, literal(e.value, e.type));
    else {
      const local = `t${lines.length}`;
      lines.push(`  let ${local} = ${expression(e, inputTypes, names)};`);
      names.set(e.key, local);
      void type;
    }
  }
  const parameters = inputTypes.map((t, i) => `i${i}: ${valueType(t)}`).join(", ");
  const result = valueType(dtypeOf(root, inputTypes));
  return `fn ${name}(${parameters}) -> ${result} {\n${lines.join("\n")}\n  return ${
    names.get(root.key)
  };\n}`;
}

function expression(
  e: Extract<Expr, { kind: "op" | "cast" }>,
  inputTypes: readonly DType[],
  names: ReadonlyMap<string, string>,
): string {
  const types = e.args.map((a) => dtypeOf(a, inputTypes));
  const texts = e.args.map((a) => names.get(a.key)!);
  if (e.kind === "cast") return converted(texts[0], types[0], e.to);
  const row = rowOf(e.op);
  const type = computeType(row, types);
  const args = texts.map((text, i) =>
    row.kind === "select" && i === 0
      ? converted(text, types[0], "bool")
      : converted(text, types[i], type)
  );
  const template = type === "f32" || row.wgslInt === undefined ? row.wgsl : row.wgslInt;
  return template.replace(
    /\b[abcT]\b/g,
    (name) => name === "T" ? valueType(type) : args["abc".indexOf(name)],
  );
}

/** Brings a number into the range of its type: integers wrap, bools are 0 or 1. */
export function coerced(value: number, type: DType): number {
  return type === "i32"
    ? value | 0
    : type === "u32"
    ? value >>> 0
    : type === "bool"
    ? (value ? 1 : 0)
    : value;
}

/** Converts a float as a cast does: towards zero, clamped to the floats that the type can hold. */
function castNumber(value: number, to: DType): number {
  if (to === "bool") return value !== 0 ? 1 : 0;
  if (to === "i32") return Math.max(-2147483648, Math.min(2147483520, Math.trunc(value))) || 0;
  if (to === "u32") return Math.max(0, Math.min(4294967040, Math.trunc(value))) || 0;
  return value;
}

/** The formula as a function of numbers, by the references of its rows. */
export function evaluator(
  root: Expr,
  inputTypes: readonly DType[],
): (inputs: ArrayLike<number>, scalars: readonly number[]) => number {
  type Fn = (inputs: ArrayLike<number>, scalars: readonly number[]) => number;
  const build = (e: Expr): Fn => {
    switch (e.kind) {
      case "input":
        return (inputs) => inputs[e.index];
      case "scalar":
        return (_, scalars) => scalars[e.index];
      case "const":
        return () => e.value;
      case "cast": {
        const arg = build(e.args[0]);
        const float = isFloat(dtypeOf(e.args[0], inputTypes));
        return float ? (x, s) => castNumber(arg(x, s), e.to) : (x, s) => coerced(arg(x, s), e.to);
      }
      case "op": {
        const row = rowOf(e.op);
        const types = e.args.map((a) => dtypeOf(a, inputTypes));
        const within = computeType(row, types);
        const integer = within === "i32" || within === "u32";
        const ref = integer && row.refInt ? row.refInt : row.ref;
        const args = e.args.map((a, i): Fn => {
          const arg = build(a);
          const condition = row.kind === "select" && i === 0;
          return integer && !condition ? (x, s) => coerced(arg(x, s), within) : arg;
        });
        const none = () => 0;
        const [fa, fb, fc] = [args[0] ?? none, args[1] ?? none, args[2] ?? none];
        const type = dtypeOf(e, inputTypes);
        return (x, s) => {
          const value = ref(fa(x, s), fb(x, s), fc(x, s));
          return type === "f32" ? value : coerced(value, type);
        };
      }
    }
  };
  return build(root);
}
