/** The compiler from the WGSL of a kernel to a WebAssembly module, where a task is a workgroup. */

import type { Kernel, WgslProgram } from "../../types.ts";
import { freelyAssigned } from "./addresses.ts";
import { hasBarriers, lowerTeam, unsignedOf } from "./barriers.ts";
import { constantsAhead } from "../constants.ts";
import { Context } from "./context.ts";
import { costOfStatements } from "./cost.ts";
import { declareGroups, declareThread, type Grid } from "./numbers.ts";
import { block, type Code, countUp, get, i32, type Local } from "../instructions.ts";
import { ModuleBuilder, type WasmFeatures } from "../module.ts";
import type { CpuProgram } from "../program.ts";
import { lowerEntry } from "./statements.ts";
import { fourNumbers, lowerFourThreads } from "./threads.ts";
import { surroundingsOf, workgroupMemory } from "./surroundings.ts";
import { Source } from "./source.ts";
import { Writer } from "./writer.ts";

/** Nanoseconds that an operation of the WGSL text takes, about, and how many threads that run in lanes count as. */
const OPERATION = 0.25;
const LANES_SAVE = 3;
/** Constructs that a counting loop is made of. */
const LOOP_LEVELS = 2;

/**
 * The module that runs a kernel by its WGSL.
 *
 * @throws {Error} where the text uses what the kernels of this library do not
 */
export function compileWgsl(
  kernel: Kernel,
  program: WgslProgram,
  features: WasmFeatures,
): CpuProgram {
  const source = new Source(program.code);
  const module = new ModuleBuilder(features);
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase0");
  const memory = workgroupMemory(source);
  const { at, prologue } = surroundingsOf(kernel, source, module, fn, memory);
  const c = new Context(at, new Writer(fn));
  const [, begin, end] = fn.params;
  const group = fn.local("i32");
  let threadBytes = 0;
  const body = c.w.nested(() => {
    threadBytes = lowerWorkgroup(c, program.groups, group, memory.bytes);
  }, LOOP_LEVELS);
  const loops = constantsAhead(prologue, countUp(group, get(begin), get(end), 1, body));
  fn.emit(prologue.code, loops);
  const { entry } = source;
  const threads = threadsOf(source);
  const operations = costOfStatements(source, entry.body, new Map()) /
    (c.runsInLanes ? LANES_SAVE : 1);
  return {
    code: module.encode(),
    phases: [{
      tasks: program.groups.reduce((a, b) => a * b, 1),
      taskNs: Math.ceil(operations * threads * OPERATION),
    }],
    sharedBytes: 0,
    threadBytes,
  };
}

function threadsOf(source: Source): number {
  return source.entry.workgroup!.reduce((a, b) => a * b, 1);
}

/**
 * All threads of one workgroup, one after another or four at a time.
 *
 * @param bytes of workgroup memory
 * @returns bytes of memory with what threads keep across barriers
 */
function lowerWorkgroup(c: Context, groups: Grid, group: Local, bytes: number): number {
  const { entry } = c.at.source;
  const threads = threadsOf(c.at.source);
  const lane = c.w.local("i32");
  const declareShared = () => declareGroups(c, entry, groups, unsignedOf(group));
  const declareLane = () => declareThread(c, entry, unsignedOf(lane));
  if (hasBarriers(c, entry, threads)) {
    const scratch = get(c.w.fn.params[3]);
    return lowerTeam(c, { entry, threads, lane, scratch, declareLane, declareShared }, bytes);
  }
  c.scoped(() => {
    declareShared();
    const run = () =>
      c.scoped(() => {
        declareLane();
        lowerEntry(c, entry.body, freelyAssigned(entry));
      });
    if (threads === 1) run();
    else c.w.emit(lowerThreads(c, threads, lane, c.w.nested(run, LOOP_LEVELS)));
  });
  return bytes;
}

/** @param one the code of thread `lane` */
function lowerThreads(c: Context, threads: number, lane: Local, one: Code): Code {
  const { entry } = c.at.source;
  const first = c.w.local("i32");
  const four = threads % 4 > 0
    ? null
    : lowerFourThreads(c, entry, (inner) => declareThread(inner, entry, fourNumbers(first)));
  if (four === null) return countUp(lane, i32.const(0), i32.const(threads), 1, one);
  c.runsInLanes = true;
  const until = i32.add(get(first), i32.const(4));
  const some = block([block(four), countUp(lane, get(first), until, 1, one)]);
  return countUp(first, i32.const(0), i32.const(threads), 4, some);
}
