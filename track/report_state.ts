/** How a run stands, seen from outside: also whether one that says "running" still does. */

import { denoFileOps } from "./file_ops.ts";
import type { JsonValue } from "./json_values.ts";
import type { RunMeta } from "./meta.ts";
import { type EventRow, readRun } from "./read.ts";
import { type RunState, runState } from "./run_state.ts";

export type { RunState };

/** The record and the events of a run, without its scalars. */
export interface RunHead {
  readonly dir: string;
  readonly meta: RunMeta;
  readonly events: readonly EventRow[];
  readonly state: RunState;
}

/**
 * Reads record and events of a run, and how it stands.
 *
 * @param dir the folder of the run
 * @param now the present time
 * @throws {TrackError} if a file cannot be read
 * @throws {SyntaxError} if a file is not as the tracker writes it
 */
export function readHead(dir: string, now: Date): RunHead {
  const files = {
    ...denoFileOps,
    read(path: string): Uint8Array {
      if (path.endsWith("/logs/scalars.csv")) throw new Deno.errors.NotFound();
      return denoFileOps.read(path);
    },
  };
  const { meta, events } = readRun(dir, { files });
  return { dir, meta, events, state: stateOf(meta, events, now) };
}

// The first version of the layout knew interrupted runs by their last event alone.
function stateOf(meta: RunMeta, events: readonly EventRow[], now: Date): RunState {
  const end = events.findLast(({ event }) => event === "engineEnd");
  const wasInterrupted = meta.schema === 1 && meta.status === "completed" &&
    end?.fields.reason === "interrupted";
  return wasInterrupted ? "interrupted" : runState(meta, now);
}

/** Settings with those in settings by a dotted name, as "model.dims"; lists stay whole. */
export function flatConfig(params: Readonly<Record<string, JsonValue>>): Map<string, JsonValue> {
  const flat = new Map<string, JsonValue>();
  const visit = (value: JsonValue, path: string) => {
    const isTable = typeof value === "object" && value !== null && !Array.isArray(value) &&
      Object.keys(value).length > 0;
    if (!isTable) return void flat.set(path, value);
    for (const [name, item] of Object.entries(value)) visit(item, `${path}.${name}`);
  };
  for (const [name, value] of Object.entries(params)) visit(value, name);
  return flat;
}

/** A setting as text: strings as they are, the rest as JSON. */
export function showSetting(value: JsonValue | undefined): string {
  if (value === undefined) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A number with at most six digits that count, or the word for it. */
export function showValue(value: number | null): string {
  if (value === null) return "–";
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e9) return String(Number(value.toPrecision(4)));
  return String(Number(value.toPrecision(6)));
}

/** A time span in milliseconds in its largest unit, such as "3 h". */
export function showSpan(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A size in bytes, such as "1.5 MB". */
export function showBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const power = Math.min(3, Math.floor(Math.log10(bytes) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${["B", "kB", "MB", "GB"][power]}`;
}
