/** Runs single instructions. */

import {
  type Code,
  get,
  type Local,
  v128,
  type ValueType,
} from "../../../kernels/wasm/instructions.ts";
import { type FunctionBuilder, ModuleBuilder } from "../../../kernels/wasm/module.ts";

/** What modules under test may use. */
export const features = { shared: false, relaxed: true, maxPages: 16 };

/** A module with one exported function `f`, and its memory. */
export interface Machine {
  readonly f: (...args: number[]) => number;
  readonly memory: DataView;
}

/** The function whose body is made by `build`; `others` may be put into the module before it. */
export function machine(
  params: readonly ValueType[],
  result: ValueType | null,
  build: (fn: FunctionBuilder, module: ModuleBuilder) => Code,
): Machine {
  const module = new ModuleBuilder(features);
  const fn = module.function(params, result, "f");
  fn.emit(build(fn, module));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: features.maxPages });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), {
    host: { memory },
  });
  return { f: instance.exports.f as Machine["f"], memory: new DataView(memory.buffer) };
}

/** Four words of a vector. */
export type Words = readonly [number, number, number, number];

/** Words of four floats. */
export function floatWords(numbers: readonly number[]): Words {
  return [...new Uint32Array(Float32Array.from(numbers).buffer)] as never;
}

/** Floats of four words. */
export function wordFloats(words: readonly number[]): number[] {
  return [...new Float32Array(Uint32Array.from(words).buffer)];
}

/**
 * Runs code on vectors, which are given to it as variables; it leaves a v128 (or an i32, which is then the first word).
 */
export function onVectors(
  vectors: readonly Words[],
  code: (vectors: readonly Code[], fn: FunctionBuilder) => Code,
  result: "v128" | "i32" | "f32" = "v128",
): number[] {
  const { f, memory } = machine(["i32"], result === "v128" ? null : result, (fn) => {
    const [base] = fn.params.map(get);
    const values = vectors.map((_, n) => v128.load(base, 16 * n));
    const value = code(values, fn);
    return result === "v128" ? v128.store(base, value, 1024) : value;
  });
  vectors.forEach((words, n) =>
    words.forEach((word, i) => memory.setUint32(16 * n + 4 * i, word, true))
  );
  const direct = f(0);
  if (result !== "v128") return [direct];
  return [0, 1, 2, 3].map((i) => memory.getUint32(1024 + 4 * i, true));
}

/** The parameters of a function as code. */
export function paramsOf(fn: FunctionBuilder): Code[] {
  return fn.params.map((p: Local) => get(p));
}
