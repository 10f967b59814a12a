/**
 * Workgroups whose threads wait for each other: between two barriers all threads run one after another. What a thread keeps
 * across a barrier lies in memory meanwhile; what is the same for all threads is computed once.
 */

import { freelyAssigned } from "./addresses.ts";
import { BARRIER, flatBody, waits } from "./barrier_text.ts";
import type { Context } from "./context.ts";
import { lowerExpression, valueOfBinding } from "./expressions.ts";
import {
  block,
  type Code,
  countUp,
  f32,
  get,
  i32,
  type Local,
  loop,
  set,
  v128,
  type ValueType as CodeType,
} from "../instructions.ts";
import { lowerStatement, lowerStatements } from "./statements.ts";
import { codeType, held, type Value } from "./value.ts";
import {
  eachExpression,
  eachStatement,
  type Expression,
  type FunctionNode,
  type LoopNode,
  partsOf,
  type Statement,
  unsupported,
} from "./ast.ts";

/** What is run between barriers, or a loop around some of them. */
type Step =
  | { readonly kind: "segment"; readonly statements: readonly Statement[] }
  | { readonly kind: "loop"; readonly node: LoopNode; readonly steps: readonly Step[] };

/** Where a name is kept across barriers: its value's form, and the place of the first thread's parts. */
interface Slot {
  readonly form: Pick<Value, "scalar" | "size" | "lanes">;
  readonly offsets: readonly number[];
  readonly wraps: boolean;
}

/** How a workgroup with barriers is run. */
export interface Team {
  readonly entry: FunctionNode;
  readonly threads: number;
  /** The thread that runs. */
  readonly lane: Local;
  /** Address of the memory of the workgroup. */
  readonly scratch: Code;
  /** Declares what differs from thread to thread, and what does not. */
  declareLane(): void;
  declareShared(): void;
}

/**
 * The code of one workgroup.
 *
 * @param bytes of workgroup memory
 * @returns bytes of memory with what threads keep
 */
export function lowerTeam(c: Context, team: Team, bytes: number): number {
  const run = new TeamRun(c, team, bytes);
  run.whole();
  return run.bytes;
}

class TeamRun {
  readonly #c: Context;
  readonly #team: Team;
  readonly #slots = new Map<string, Slot>();
  /** Names that are the same for all threads. */
  readonly #shared = new Set<string>();
  /** In how many segments each name occurs. */
  readonly #segmentsOf = new Map<string, number>();
  /** Bytes of memory that are in use. */
  bytes: number;
  #leave = 0;

  constructor(c: Context, team: Team, bytes: number) {
    this.#c = c;
    this.#team = team;
    this.bytes = bytes;
    for (const p of team.entry.params) {
      if (!p.builtin!.startsWith("local")) this.#shared.add(p.name);
    }
  }

  /** All of the workgroup. */
  whole(): void {
    const c = this.#c;
    const body = flatBody(c.at.source, this.#team.entry);
    const steps = this.#stepsOf(body);
    this.#count(steps);
    const free = freelyAssigned({ ...this.#team.entry, body });
    this.#leave = c.w.label;
    c.w.emit(block(c.w.nested(() => {
      c.scoped(() => {
        this.#team.declareShared();
        steps.forEach((step, n) => this.#step(step, free, n < steps.length - 1));
      });
    })));
  }

  #stepsOf(statements: readonly Statement[]): Step[] {
    const steps: Step[] = [];
    let segment: Statement[] = [];
    const end = () => {
      if (segment.length > 0) steps.push({ kind: "segment", statements: segment });
      segment = [];
    };
    for (const s of statements) {
      if (s.kind === "do" && s.call.name === BARRIER) end();
      else if (s.kind === "loop" && waits(this.#c.at.source, s)) {
        end();
        steps.push({ kind: "loop", node: s, steps: this.#stepsOf(s.body) });
      } else segment.push(s);
    }
    end();
    return steps;
  }

  #count(steps: readonly Step[]): void {
    for (const step of steps) {
      if (step.kind === "loop") this.#count(step.steps);
      else {
        for (const name of namesIn(step.statements)) {
          this.#segmentsOf.set(name, (this.#segmentsOf.get(name) ?? 0) + 1);
        }
      }
    }
  }

  /** @param more whether barriers follow, so that all threads return or none */
  #step(step: Step, free: ReadonlySet<string>, more: boolean): void {
    if (step.kind === "segment") this.#segment(step.statements, free, more);
    else this.#loop(step.node, step.steps, free);
  }

  #loop(node: LoopNode, steps: readonly Step[], free: ReadonlySet<string>): void {
    const c = this.#c;
    const { init, condition, step, line } = node;
    const shared = init?.kind === "var" && init.value !== null && this.#isShared(init.value);
    if (!shared || condition === null || step === null) {
      throw unsupported("a barrier in a loop whose turns may differ", line);
    }
    this.#shared.add(init.name);
    if (!this.#isShared(condition)) throw unsupported("a barrier in such a loop", line);
    c.frame = { ...c.frame, free };
    c.scoped(() => {
      lowerStatement(c, init);
      const broken = c.w.label;
      const holds = () => lowerExpression(c, condition).parts[0];
      c.w.emit(block(c.w.nested(() => {
        c.w.jumpIf(broken, i32.eqz(holds()));
        const again = c.w.label;
        c.w.emit(loop(c.w.nested(() => {
          steps.forEach((inner) => this.#step(inner, free, true));
          lowerStatement(c, step);
          c.w.jumpIf(again, holds());
        })));
      })));
    });
  }

  #segment(statements: readonly Statement[], free: ReadonlySet<string>, more: boolean): void {
    const c = this.#c;
    const own = statements.filter((s) => !this.#lowerShared(s, free));
    if (own.length === 0) return;
    const { lane, threads } = this.#team;
    const turn = c.w.nested(() => this.#turn(own, free, more), 2);
    c.w.emit(countUp(lane, i32.const(0), i32.const(threads), 1, turn));
  }

  /** Computes what is the same for all threads ahead of them. */
  #lowerShared(s: Statement, free: ReadonlySet<string>): boolean {
    if (s.kind !== "let" || !this.#isShared(s.value!)) return false;
    this.#c.frame = { ...this.#c.frame, free };
    lowerStatement(this.#c, s);
    this.#shared.add(s.name);
    return true;
  }

  #isShared(e: Expression): boolean {
    let same = true;
    eachExpression(e, (part) => {
      if (part.kind === "index") same = false;
      if (part.kind === "name") same &&= part.name === "u" || this.#shared.has(part.name);
      const callee = part.kind === "call" ? this.#c.at.source.function(part.name) : undefined;
      if (callee !== undefined && this.#c.at.source.factsOf(callee).loads) same = false;
    });
    return same;
  }

  /** A segment for one thread: what it kept, the statements, and what it keeps. */
  #turn(statements: readonly Statement[], free: ReadonlySet<string>, more: boolean): void {
    const c = this.#c;
    c.scoped(() => {
      this.#team.declareLane();
      const names = namesIn(statements);
      const kept = [...names].filter((name) => this.#slots.has(name));
      for (const name of kept) this.#load(name);
      const label = more ? this.#leave : c.w.label;
      c.frame = { label, result: [], type: null, free };
      c.w.emit(block(c.w.nested(() => lowerStatements(c, statements))));
      const changed = assignedIn(statements);
      for (const name of kept) if (changed.has(name)) this.#store(name);
      for (const s of statements) {
        if (s.kind !== "let" && s.kind !== "var") continue;
        if ((this.#segmentsOf.get(s.name) ?? 0) > 1) this.#store(s.name);
      }
    });
  }

  #load(name: string): void {
    const { w } = this.#c;
    const { form, offsets, wraps } = this.#slots.get(name)!;
    const type = codeType(form);
    const locals = w.localsFor(form);
    locals.forEach((local, n) => {
      const load = type === "v128" ? v128.load : type === "f32" ? f32.load : i32.load;
      w.emit(set(local, load(this.#address(type), offsets[n])));
    });
    const { scalar, size } = form;
    const value = { kind: "value", scalar, size } as const;
    this.#c.scope.declare(name, { kind: "variable", type: value, lanes: 1, locals, wraps });
  }

  #store(name: string): void {
    const binding = this.#c.scope.find(name)!;
    const value = valueOfBinding(binding);
    const wraps = binding.kind === "value" || binding.kind === "variable" ? binding.wraps : true;
    const slot = this.#slots.get(name) ?? this.#newSlot(name, value, wraps);
    const type = codeType(value);
    const store = type === "v128" ? v128.store : type === "f32" ? f32.store : i32.store;
    value.parts.forEach((part, n) =>
      this.#c.w.emit(store(this.#address(type), part, slot.offsets[n]))
    );
  }

  #newSlot(name: string, value: Value, wraps: boolean): Slot {
    const bytes = codeType(value) === "v128" ? 16 : 4;
    const offsets = value.parts.map((_, n) => this.bytes + n * bytes * this.#team.threads);
    this.bytes += value.parts.length * bytes * this.#team.threads;
    const { scalar, size, lanes } = value;
    const slot = { form: { scalar, size, lanes }, offsets, wraps };
    this.#slots.set(name, slot);
    return slot;
  }

  /** The address that the offsets of slots count from. */
  #address(type: CodeType): Code {
    const { lane, scratch } = this.#team;
    return i32.add(scratch, i32.shl(get(lane), i32.const(type === "v128" ? 4 : 2)));
  }
}

/** The names that occur in statements. */
function namesIn(statements: readonly Statement[]): ReadonlySet<string> {
  const names = new Set<string>();
  eachStatement(statements, (s) => {
    if (s.kind === "let" || s.kind === "var") names.add(s.name);
    for (const part of partsOf(s).expressions) {
      eachExpression(part, (e) => e.kind === "name" && names.add(e.name));
    }
  });
  return names;
}

/** The variables that statements assign. */
function assignedIn(statements: readonly Statement[]): ReadonlySet<string> {
  const names = new Set<string>();
  eachStatement(statements, (s) => {
    if (s.kind !== "assign") return;
    let target = s.target;
    while (target.kind === "member") target = target.of;
    if (target.kind === "name") names.add(target.name);
  });
  return names;
}

/** Whether threads of this entry point wait for each other. */
export function hasBarriers(c: Context, entry: FunctionNode, threads: number): boolean {
  return threads > 1 && c.at.source.factsOf(entry).barriers;
}

/** A number that a variable holds, as a value. */
export function unsignedOf(local: Local): Value {
  return held({ scalar: "u32", size: 1, lanes: 1 }, [get(local)], true);
}
