/** A WGSL text taken apart into its declarations, and what is known of its functions. */

import {
  eachExpression,
  eachStatement,
  type FunctionNode,
  partsOf,
  type TypeNode,
  unsupported,
} from "./ast.ts";
import { Parser } from "./parse.ts";
import { linesIn } from "./tokens.ts";

/** An array in storage or workgroup memory. */
export interface ArrayDeclaration {
  readonly name: string;
  readonly type: TypeNode;
}

/** What the body of a function does, what it calls included. */
export interface Facts {
  readonly loops: boolean;
  readonly branches: boolean;
  /** Reads arrays. */
  readonly loads: boolean;
  /** Writes arrays. */
  readonly stores: boolean;
  readonly barriers: boolean;
  /** Reads run-time numbers. */
  readonly scalars: boolean;
}

/** What a function does by itself, and what it calls. */
interface OwnFacts extends Facts {
  readonly calls: ReadonlySet<string>;
}

const parsed = new Map<string, FunctionNode>();
/** Texts of functions that are kept parsed; helpers are few, formulas many. */
const MOST_PARSED = 2000;
const own = new WeakMap<FunctionNode, OwnFacts>();

/** The name of the uniform block. */
const SCALARS = "u";

/** The declarations of a text. */
export class Source {
  /** Functions by name, the entry point included. */
  readonly functions = new Map<string, FunctionNode>();
  /** Storage arrays in the order of their bindings. */
  readonly storage: ArrayDeclaration[] = [];
  /** Arrays in workgroup memory. */
  readonly workgroup: ArrayDeclaration[] = [];
  /** Other names of types. */
  readonly aliases = new Map<string, TypeNode>();
  readonly #facts = new Map<string, Facts>();
  readonly #text: string;
  #at = 0;

  /** @param text WGSL */
  constructor(text: string) {
    this.#text = text.replace(/\/\/[^\n]*/g, "");
    while (this.#skipSpace()) this.#declaration();
  }

  /** The function of this name, if it is declared. */
  function(name: string): FunctionNode | undefined {
    return this.functions.get(name);
  }

  /** The entry point. */
  get entry(): FunctionNode {
    const entry = [...this.functions.values()].find((f) => f.workgroup !== null);
    if (entry === undefined) throw unsupported("a text without an entry point", 1);
    return entry;
  }

  /** What a function and all that it calls does. */
  factsOf(fn: FunctionNode): Facts {
    const known = this.#facts.get(fn.name);
    if (known !== undefined) return known;
    let all: Facts = ownFacts(fn);
    for (const name of ownFacts(fn).calls) {
      const callee = this.functions.get(name);
      if (callee !== undefined) all = either(all, this.factsOf(callee));
    }
    this.#facts.set(fn.name, all);
    return all;
  }

  #skipSpace(): boolean {
    const rest = /\S/g;
    rest.lastIndex = this.#at;
    const found = rest.exec(this.#text);
    this.#at = found === null ? this.#text.length : found.index;
    return found !== null;
  }

  get #line(): number {
    return 1 + linesIn(this.#text.slice(0, this.#at));
  }

  /** Takes the text up to a sign, which is included. */
  #until(sign: string): string {
    const end = this.#text.indexOf(sign, this.#at);
    if (end < 0) throw unsupported("a declaration without an end", this.#line);
    const text = this.#text.slice(this.#at, end + 1);
    this.#at = end + 1;
    return text;
  }

  #declaration(): void {
    const start = this.#text.slice(this.#at, this.#at + 12);
    if (/^(fn\b|@compute)/.test(start)) return this.#function();
    if (/^struct\b/.test(start)) return void this.#until("}");
    const line = this.#line;
    const text = this.#until(";");
    if (/^(enable|;)/.test(text)) return;
    const alias = /^alias (\w+) = ([^;]+);/.exec(text);
    if (alias !== null) {
      this.aliases.set(alias[1], new Parser(alias[2], line).type());
      return;
    }
    this.#variable(text, line);
  }

  #variable(text: string, line: number): void {
    const match =
      /^(?:@group\(0\) @binding\(\d+\) )?var<(storage|workgroup|uniform)[^>]*> (\w+): ([^;]+);/
        .exec(text);
    if (match === null) throw unsupported(`the declaration "${text}"`, line);
    const [, space, name, type] = match;
    if (space === "uniform") {
      if (name !== SCALARS) throw unsupported(`the uniform "${name}"`, line);
      return;
    }
    const list = space === "storage" ? this.storage : this.workgroup;
    list.push({ name, type: new Parser(type, line).type() });
  }

  #function(): void {
    const brace = /[{}]/g;
    brace.lastIndex = this.#at;
    let depth = 0;
    do {
      const found = brace.exec(this.#text);
      if (found === null) throw unsupported("a function without an end", this.#line);
      depth += found[0] === "{" ? 1 : -1;
    } while (depth > 0);
    const text = this.#text.slice(this.#at, brace.lastIndex);
    const fn = parsedFunction(text, () => this.#line);
    this.#at = brace.lastIndex;
    this.functions.set(fn.name, fn);
  }
}

function parsedFunction(text: string, line: () => number): FunctionNode {
  let fn = parsed.get(text);
  if (fn === undefined) {
    fn = new Parser(text, line()).function();
    if (parsed.size >= MOST_PARSED) parsed.clear();
    parsed.set(text, fn);
  }
  return fn;
}

function either(a: Facts, b: Facts): Facts {
  return {
    loops: a.loops || b.loops,
    branches: a.branches || b.branches,
    loads: a.loads || b.loads,
    stores: a.stores || b.stores,
    barriers: a.barriers || b.barriers,
    scalars: a.scalars || b.scalars,
  };
}

/** What the body of a function does by itself. */
function ownFacts(fn: FunctionNode): OwnFacts {
  const known = own.get(fn);
  if (known !== undefined) return known;
  const calls = new Set<string>();
  let [loops, branches, loads, stores, scalars] = [false, false, false, false, false];
  eachStatement(fn.body, (s) => {
    loops ||= s.kind === "loop";
    branches ||= s.kind === "if";
    stores ||= s.kind === "assign" && rootIsIndexed(s.target);
    for (const part of partsOf(s).expressions) {
      eachExpression(part, (e) => {
        if (e.kind === "call") calls.add(e.name);
        loads ||= e.kind === "index";
        scalars ||= e.kind === "name" && e.name === SCALARS;
      });
    }
  });
  const barriers = calls.has("workgroupBarrier");
  const facts = { loops, branches, loads, stores, barriers, scalars, calls };
  own.set(fn, facts);
  return facts;
}

function rootIsIndexed(target: { readonly kind: string; readonly of?: unknown }): boolean {
  return target.kind === "index" ||
    (target.kind === "member" && rootIsIndexed(target.of as typeof target));
}
