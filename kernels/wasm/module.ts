/** WebAssembly modules in the making: functions, one imported memory, and the binary form. */

import { type Code, type Local, typeCode, unsigned, type ValueType } from "./instructions.ts";

/** What the machine and the surroundings offer. */
export interface WasmFeatures {
  /** Whether memory is shared between threads. */
  readonly shared: boolean;
  /** Whether multiplications and additions may be fused (relaxed SIMD). */
  readonly relaxed: boolean;
  /** Pages of 64 KiB that the memory may have at most. */
  readonly maxPages: number;
}

/** A function in the making. */
export class FunctionBuilder {
  readonly #locals: ValueType[] = [];
  readonly #params: readonly ValueType[];
  /** What stands in the function. */
  readonly #body: Code[] = [];

  /**
   * @param index its number in the module, by which it is called
   * @param params types of the parameters
   * @param result type of the result, if there is one
   */
  constructor(
    readonly index: number,
    params: readonly ValueType[],
    readonly result: ValueType | null,
  ) {
    this.#params = params;
  }

  /** The parameters as variables. */
  get params(): readonly Local[] {
    return this.#params.map((type, index) => ({ index, type }));
  }

  /** A new local variable, 0 at first. */
  local(type: ValueType): Local {
    return { index: this.#params.length + this.#locals.push(type) - 1, type };
  }

  /** So many new local variables of a type. */
  locals(count: number, type: ValueType): Local[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /** Appends code. */
  emit(...code: readonly Code[]): void {
    this.#body.push(...code);
  }

  /** Types of the parameters. */
  get paramTypes(): readonly ValueType[] {
    return this.#params;
  }

  /** The encoded body: locals, then code. */
  encode(): number[] {
    const runs: [number, ValueType][] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last !== undefined && last[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    const head = runs.flatMap(([count, type]) => [...unsigned(count), typeCode(type)]);
    const bytes = [...unsigned(runs.length), ...head];
    flatten(this.#body, bytes);
    bytes.push(0x0b);
    return bytes;
  }
}

function flatten(code: Code, to: number[]): void {
  if (typeof code === "number") to.push(code);
  else for (const part of code) flatten(part, to);
}

/** A module in the making. Its memory is imported as `host.memory`. */
export class ModuleBuilder {
  readonly #features: WasmFeatures;
  readonly #functions: FunctionBuilder[] = [];
  readonly #exports: [string, number][] = [];
  readonly #globals: ValueType[] = [];

  /** @param features what the memory is like */
  constructor(features: WasmFeatures) {
    this.#features = features;
  }

  /** What the machine offers. */
  get features(): WasmFeatures {
    return this.#features;
  }

  /** A new function; it is exported under `name` where that is given. */
  function(
    params: readonly ValueType[],
    result: ValueType | null = null,
    name?: string,
  ): FunctionBuilder {
    const made = new FunctionBuilder(this.#functions.length, params, result);
    this.#functions.push(made);
    if (name !== undefined) this.#exports.push([name, made.index]);
    return made;
  }

  /** A new global variable that may change, 0 at first; i32 only. Each instance (thread) has its own. */
  global(): number {
    return this.#globals.push("i32") - 1;
  }

  /** The binary form. */
  encode(): Uint8Array<ArrayBuffer> {
    const { shared, maxPages } = this.#features;
    const types = this.#functions.map((f) => [
      0x60,
      ...vector(f.paramTypes.map((t) => [typeCode(t)])),
      ...vector(f.result === null ? [] : [[typeCode(f.result)]]),
    ]);
    const memory = [
      ...name("host"),
      ...name("memory"),
      0x02,
      shared ? 0x03 : 0x01,
      ...unsigned(1),
      ...unsigned(maxPages),
    ];
    const sections: readonly (readonly [number, readonly (readonly number[])[]])[] = [
      [1, types],
      [2, [memory]],
      [3, this.#functions.map((f) => unsigned(f.index))],
      [6, this.#globals.map((t) => [typeCode(t), 0x01, 0x41, 0x00, 0x0b])],
      [7, this.#exports.map(([text, index]) => [...name(text), 0x00, ...unsigned(index)])],
      [10, this.#functions.map((f) => sized(f.encode()))],
    ];
    const bytes = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
    for (const [id, items] of sections) {
      if (items.length === 0) continue;
      bytes.push(id);
      for (const byte of sized(vector(items))) bytes.push(byte);
    }
    return Uint8Array.from(bytes);
  }
}

function sized(bytes: readonly number[]): number[] {
  return unsigned(bytes.length).concat(bytes);
}

function vector(items: readonly (readonly number[])[]): number[] {
  return unsigned(items.length).concat(...items);
}

function name(text: string): number[] {
  const bytes = [...new TextEncoder().encode(text)];
  return sized(bytes);
}
