/** A store on a file system in memory, and what tests ask of its folder. */

import { CheckpointStore, type CheckpointStoreOptions } from "../../track/mod.ts";
import { catchWarnings } from "./checkpoint_parts.ts";
import { MemoryFiles } from "./memory_files.ts";

/** The folder of the stores. */
export const DIR = "/runs/a/checkpoints";

/** Path of a checkpoint. */
export function fileOf(step: number): string {
  return `${DIR}/step-${String(step).padStart(8, "0")}.safetensors`;
}

/** A file system, a store, and how to open another one on the same folder. */
export function setup(options: CheckpointStoreOptions = {}) {
  const files = new MemoryFiles();
  files.makeFolder("/runs");
  let ticks = 0;
  const now = () => new Date(Date.UTC(2026, 0, 1) + 1000 * ticks++);
  const open = (more: CheckpointStoreOptions = options) =>
    new CheckpointStore(DIR, { files, now, ...more });
  return { files, store: open(), open };
}

/** The steps of the files that are there. */
export function stepsIn(files: MemoryFiles): number[] {
  const names = files.list(DIR).map((entry) => entry.name);
  return names.flatMap((name) => name.startsWith("step-") ? [parseInt(name.slice(5))] : []).sort((
    a,
    b,
  ) => a - b);
}

/** The steps that a store lists, in the order of saving. */
export async function steps(store: CheckpointStore): Promise<number[]> {
  return (await store.entries()).map((entry) => entry.step);
}

/** The index as plain JSON. */
export function indexOf(files: MemoryFiles) {
  return JSON.parse(files.text(`${DIR}/index.json`));
}

/** Flips a bit of a file; a place below 0 counts from its end. */
export function flip(files: MemoryFiles, path: string, at: number): void {
  const bytes = files.read(path).slice();
  bytes[at < 0 ? bytes.length + at : at] ^= 4;
  files.files.set(path, bytes);
}

/** A test whose warnings are taken, not shown. */
export function test(name: string, fn: () => Promise<void>): void {
  Deno.test(name, catchWarnings(fn));
}
