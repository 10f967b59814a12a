/** All that the lowering of a text needs to know at a point of it. */

import type { Local } from "../instructions.ts";
import type { ModuleBuilder } from "../module.ts";
import { type ArrayInMemory, type LoadBinding, Scope } from "./scope.ts";
import type { Value } from "./value.ts";
import type { Expression } from "./ast.ts";
import type { Source } from "./source.ts";
import type { ValueType } from "./types.ts";
import type { Writer } from "./writer.ts";

/** How a function gives its result back and ends. */
export interface Frame {
  /** The construct that `return` leaves. */
  readonly label: number;
  /** Where the result goes. */
  readonly result: readonly Local[];
  readonly type: ValueType | null;
  /** Names that are assigned in ways that may make numbers wrap round. */
  readonly free: ReadonlySet<string>;
}

/** What `break` leaves and `continue` leads to. */
export interface LoopLabels {
  readonly broken: number;
  readonly continued: number;
}

/** Four threads that run at once, in lanes. */
export interface WideThreads {
  /** Names that may be different in these threads. */
  readonly varying: ReadonlySet<string>;
  /** The construct to leave where the threads must run one by one. */
  readonly leave: number;
  /** The threads that the present statements are for; null for all. */
  mask: Value | null;
  /** Whether anything has been stored. */
  stores: boolean;
  /** Elements loaded or stored one by one. */
  apart: number;
}

/** The surroundings of a text. */
export interface Surroundings {
  readonly source: Source;
  readonly module: ModuleBuilder;
  readonly arrays: ReadonlyMap<string, ArrayInMemory>;
  /** The run-time number `u.sN`. */
  scalar(n: number): Value;
  /** Numbers of module functions that have been made for WGSL functions. */
  readonly called: Map<string, number>;
}

/** The state of the lowering of one function of a module. */
export class Context {
  /** Names at this point. */
  scope: Scope = new Scope(null);
  /** How the present function ends. */
  frame: Frame = { label: 0, result: [], type: null, free: new Set() };
  /** Loops around this point, the innermost last. */
  readonly loops: LoopLabels[] = [];
  /** How four threads run at once; null where one does. */
  wide: WideThreads | null = null;
  /** Whether threads of the entry point run four at a time where they can. */
  runsInLanes = false;
  /** Whether all values at this point are those of a single element. */
  single = true;
  /** Trees whose values have been computed ahead, with others like them. */
  readonly ahead = new Map<Expression, Value>();
  readonly #pending = new Set<LoadBinding>();

  /**
   * @param at what the text stands in
   * @param w where code goes
   */
  constructor(readonly at: Surroundings, readonly w: Writer) {}

  /** Runs with names of its own. */
  scoped<T>(run: () => T, outer: Scope | null = this.scope): T {
    const before = this.scope;
    const inner = new Scope(outer);
    this.scope = inner;
    const result = run();
    for (const binding of inner.own()) if (binding.kind === "load") this.#pending.delete(binding);
    this.scope = before;
    return result;
  }

  /** Declares a number that is loaded when it is used. */
  declareLoad(name: string, binding: LoadBinding): void {
    this.scope.declare(name, binding);
    this.#pending.add(binding);
  }

  /** Notes that a number has been loaded. */
  loaded(binding: LoadBinding): void {
    this.#pending.delete(binding);
  }

  /** Loads what is still to be loaded: behind this point memory may change, or code may not always run. */
  settle(): void {
    for (const binding of this.#pending) binding.value();
  }
}
