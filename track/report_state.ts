/** How a run stands, seen from outside: also whether one that says "running" still does. */

import { denoFileOps } from "./file_ops.ts";
import type { JsonValue } from "./json_values.ts";
import type { RunMeta } from "./meta.ts";
import { type EventRow, readRun } from "./read.ts";

/** How a run stands; "crashed?" says running, but its process is gone or has long been silent. */
export type RunState = "running" | "completed" | "failed" | "interrupted" | "crashed?";

/** The record and the events of a run, without its scalars. */
export interface RunHead {
  readonly dir: string;
  readonly meta: RunMeta;
  readonly events: readonly EventRow[];
  readonly state: RunState;
}

/** Milliseconds of silence after which a run whose process cannot be looked for counts as gone. */
const SILENCE = 10 * 60_000;
/** The same where a process of that number lives, which may be another one. */
const LONG_SILENCE = 24 * 3_600_000;

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
  return { dir, meta, events, state: stateOf(dir, meta, events, now) };
}

function stateOf(dir: string, meta: RunMeta, events: readonly EventRow[], now: Date): RunState {
  if (meta.status === "running") return isGone(dir, meta, now) ? "crashed?" : "running";
  const end = events.findLast(({ event }) => event === "engineEnd");
  return end?.fields.reason === "interrupted" && meta.status === "completed"
    ? "interrupted"
    : meta.status;
}

function isGone(dir: string, { env, createdAt }: RunMeta, now: Date): boolean {
  const alive = isAlive(env);
  if (alive === false) return true;
  const silence = now.getTime() - Math.max(Date.parse(createdAt), lastWrite(dir));
  return silence > (alive === null ? SILENCE : LONG_SILENCE);
}

/** Whether the process lives; null where that cannot be known, as for another machine. */
function isAlive({ hostname, pid }: RunMeta["env"]): boolean | null {
  if (typeof hostname !== "string" || typeof pid !== "number" || hostname !== hostName()) {
    return null;
  }
  if (Deno.build.os !== "linux") return null;
  try {
    Deno.statSync(`/proc/${pid}`);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? false : null;
  }
}

function hostName(): string | null {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "hostname" });
  return state === "granted" ? Deno.hostname() : null;
}

/** When something was last written, in milliseconds; 0 where that is not known. */
function lastWrite(dir: string): number {
  const paths = ["meta.json", "logs/scalars.csv", "logs/events.jsonl"];
  return Math.max(...paths.map((path) => {
    try {
      return Deno.statSync(`${dir}/${path}`).mtime?.getTime() ?? 0;
    } catch {
      return 0;
    }
  }));
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
