/** Where a compiled kernel finds its arrays and run-time numbers. */

import type { Kernel } from "../../types.ts";
import type { Surroundings } from "./context.ts";
import { type Code, f32, get, i32, type ValueType } from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import { argOffsets } from "../program.ts";
import { Prologue } from "./prologue.ts";
import type { ArrayInMemory } from "./scope.ts";
import { held } from "./value.ts";
import type { ArrayDeclaration, Source } from "./source.ts";
import { type ArrayType, resolveType, strideOf } from "./types.ts";

/** Workgroup memory begins and ends at multiples of this. */
const ALIGNMENT = 64;

/** Where the arrays of a workgroup lie in the memory of a thread. */
export interface WorkgroupMemory {
  readonly arrays: readonly { readonly declared: ArrayDeclaration; readonly offset: number }[];
  readonly bytes: number;
}

/** The arrays of a workgroup, behind each other. */
export function workgroupMemory(source: Source): WorkgroupMemory {
  let bytes = 0;
  const arrays = source.workgroup.map((declared) => {
    const offset = bytes;
    const size = strideOf(resolveType(declared.type, source.aliases, 0));
    bytes += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    return { declared, offset };
  });
  return { arrays, bytes };
}

/** The surroundings of a phase, whose function has the parameters (args, begin, end, scratch). */
export function surroundingsOf(
  kernel: Kernel,
  source: Source,
  module: ModuleBuilder,
  fn: FunctionBuilder,
  memory: WorkgroupMemory,
): { readonly at: Surroundings; readonly prologue: Prologue } {
  const prologue = new Prologue(fn);
  const [args, , , scratch] = fn.params.map(get);
  const word = (offset: number, type: ValueType): Code =>
    prologue.value(
      `word ${offset}`,
      type,
      () => (type === "f32" ? f32 : i32).load(args, offset),
    );
  const arrays = new Map<string, ArrayInMemory>();
  const add = ({ name, type }: ArrayDeclaration, address: () => Code) => {
    const resolved = resolveType(type, source.aliases, 0) as ArrayType;
    arrays.set(name, { name, type: resolved, address });
  };
  source.storage.forEach((a, n) => add(a, () => word(argOffsets.operand(n), "i32")));
  for (const { declared, offset } of memory.arrays) {
    add(declared, () =>
      prologue.value(
        `workgroup ${declared.name}`,
        "i32",
        () => i32.add(scratch, i32.const(offset)),
      ));
  }
  const operands = kernel.inputs.length + kernel.outputs.length;
  const scalar = (n: number) => {
    const type = kernel.scalars[n];
    const code = word(argOffsets.scalar(n, operands), type === "f32" ? "f32" : "i32");
    return held({ scalar: type, size: 1, lanes: 1 }, [code], true);
  };
  return { at: { source, module, arrays, scalar, called: new Map() }, prologue };
}
