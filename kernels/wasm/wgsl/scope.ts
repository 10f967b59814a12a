/** What names stand for while code is made. */

import type { Code, Local } from "../instructions.ts";
import type { Lanes, Value } from "./value.ts";
import type { ArrayType, Type, ValueType } from "./types.ts";

/** A name whose value does not change. */
export interface ValueBinding {
  readonly kind: "value";
  readonly value: Value;
  /** Whether it may be a negative number that has wrapped round. */
  readonly wraps: boolean;
}

/** A variable of the WGSL text in variables of the code. */
export interface VariableBinding {
  readonly kind: "variable";
  readonly type: ValueType;
  readonly lanes: Lanes;
  readonly locals: readonly Local[];
  readonly wraps: boolean;
}

/** A variable of the WGSL text whose value at this point of the text is known as code. */
export interface SymbolBinding {
  readonly kind: "symbol";
  readonly type: ValueType;
  value: Value;
}

/** A number that is loaded when it is first used, so that four neighbours may be loaded at once. */
export interface LoadBinding {
  readonly kind: "load";
  readonly load: Load;
  /** Loads it, the first time that it is called. */
  value(): Value;
}

/** One component of a variable of four numbers. */
export interface LaneBinding {
  readonly kind: "lane";
  readonly type: ValueType;
  readonly vector: Local;
  readonly lane: number;
}

/** A vector that does not change, whose components are known apart. */
export interface PartsBinding {
  readonly kind: "parts";
  readonly parts: readonly Value[];
}

/** What a name stands for. */
export type Binding =
  | ValueBinding
  | VariableBinding
  | SymbolBinding
  | LoadBinding
  | LaneBinding
  | PartsBinding;

/** Names, those of the surrounding text included. */
export class Scope {
  readonly #names = new Map<string, Binding>();

  /** @param outer the surrounding names, or null */
  constructor(readonly outer: Scope | null) {}

  /** Declares a name. */
  declare(name: string, binding: Binding): void {
    this.#names.set(name, binding);
  }

  /** What a name stands for. */
  find(name: string): Binding | undefined {
    return this.#names.get(name) ?? this.outer?.find(name);
  }

  /** The names that are declared here. */
  own(): Iterable<Binding> {
    return this.#names.values();
  }
}

/** An array in memory. */
export interface ArrayInMemory {
  readonly name: string;
  readonly type: ArrayType;
  /** Code of its address, which is the same wherever it stands. */
  address(): Code;
}

/** An element of an array. */
export interface Place {
  readonly array: ArrayInMemory;
  readonly type: Type;
  readonly address: Code;
  /** Bytes that are added to the address. */
  readonly offset: number;
  /** Bytes that each of four threads adds, where they are different ones; u32. */
  readonly spread: Value | null;
}

/** A load of a number from a place whose address does not change. */
export interface Load {
  readonly place: Place;
  readonly type: ValueType;
  /** Text that is the same for loads whose addresses differ by their offset alone. */
  readonly key: string;
}
