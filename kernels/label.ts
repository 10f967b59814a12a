/** Kernels in a few words, for people: "matmul 1000×784×256", "map mul,add [64, 32, 28, 28]". */

import { type Expr, topological } from "./expr.ts";
import type { Kernel } from "./types.ts";

type Fields = Readonly<Record<string, unknown>>;

const labels = new WeakMap<Kernel, string>();

/**
 * What a kernel does and over which sizes, in a few words; kernels that differ only in how their operands lie in memory
 * share them.
 *
 * @param kernel any kernel
 * @returns its family, formula and sizes
 */
export function kernelLabel(kernel: Kernel): string {
  let label = labels.get(kernel);
  if (label === undefined) {
    const params = isObject(kernel.params) ? kernel.params : {};
    const formula = formulaOf(kernel.op, formulasIn(params));
    const parts = [kernel.op, ...wordsOf(kernel), formula, sizesOf(params), slicesOf(params)];
    label = parts.filter((part) => part !== "").join(" ");
    labels.set(kernel, label);
  }
  return label;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

/** The words of a key that stand between the family and the first parameter that is none. */
function wordsOf({ op, key }: Kernel): string[] {
  const [head, ...rest] = key.split("|");
  const words = head.startsWith(`${op} `) ? [head.slice(op.length + 1)] : [];
  for (const part of rest) {
    if (!/^[a-zA-Z][a-zA-Z ]*$/.test(part) || /^(true|false|null|undefined)$/.test(part)) break;
    if (!op.endsWith(part)) words.push(part);
  }
  return words;
}

function isExpr(value: unknown): value is Expr {
  return isObject(value) && typeof value.key === "string" &&
    ["input", "scalar", "const", "cast", "op"].includes(value.kind as string);
}

/** Formulas among the parameters, those of fused work included. */
function formulasIn(value: unknown, depth = 0): Expr[] {
  if (isExpr(value)) return [value];
  if (!isObject(value) || depth > 5) return [];
  return Object.values(value).flatMap((inner) => formulasIn(inner, depth + 1));
}

/** The ops of formulas, each once; a map without any hands its input or a number on. */
function formulaOf(family: string, formulas: readonly Expr[]): string {
  const ops = [...new Set(formulas.flatMap(opsOf))];
  if (ops.length > 0 || family !== "map") return ops.join(",");
  return formulas.some((e) => e.kind === "input") ? "copy" : "fill";
}

function opsOf(formula: Expr): string[] {
  return topological(formula).flatMap((e) =>
    e.kind === "op" ? [e.op] : e.kind === "cast" ? [e.to] : []
  );
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((n) => typeof n === "number");
}

function list(...sizes: readonly unknown[]): string {
  return `[${sizes.flat().join(", ")}]`;
}

function sizesOf(p: Fields): string {
  const has = (...names: readonly string[]) => names.every((name) => typeof p[name] === "number");
  if (has("m", "n", "k")) {
    const batch = isNumbers(p.batch) && p.batch.length > 0 ? `${list(p.batch)} ` : "";
    return `${batch}${p.m}×${p.k}×${p.n}`;
  }
  if (has("inChannels", "outChannels")) return convolution(p);
  if (isNumbers(p.outer) && isNumbers(p.reduced)) return `${list(p.outer)} over ${list(p.reduced)}`;
  if (isNumbers(p.outer) && has("length")) return list(p.outer, p.length);
  if (has("lines", "length")) return list(p.lines, p.length);
  if (isNumbers(p.shape)) return list(p.shape);
  if (isNumbers(p.rows) && has("classes")) return list(p.rows, p.classes);
  return has("count") ? list(p.count) : "";
}

function convolution(p: Fields): string {
  const image = isNumbers(p.input) ? p.input : [p.height, p.width];
  const kernel = isNumbers(p.kernel) ? `${p.kernel.join("×")} ` : "";
  return `${list(p.batch, p.inChannels, image)} ${kernel}→ ${p.outChannels}`;
}

function slicesOf({ splits, slices }: Fields): string {
  const count = splits ?? slices;
  return typeof count === "number" && count > 1 ? `in ${count} slices` : "";
}
