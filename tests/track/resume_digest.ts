/** What two runs are compared by: all that the last checkpoint holds, and the scalars that count. */

import { CheckpointStore, currentScalars, readRun } from "../../track/mod.ts";

/**
 * Values and hashes by name. Left out is what says where a run came from and not where it is: times,
 * the place in the order of saving, the checkpoint before, the run's name, rows and segments.
 */
export type Digest = Readonly<Record<string, string>>;

/** The digest of the run in a folder. */
export async function digestOf(dir: string): Promise<Digest> {
  const { tensors, state, entry } = await new CheckpointStore(`${dir}/checkpoints`).load("last");
  const { step, epoch, metrics, tags, keep } = entry;
  const digest: Record<string, string> = {
    record: JSON.stringify({ step, epoch, metrics: spelled(metrics), tags, keep }),
  };
  const flat = state as unknown as Record<string, Record<string, unknown>>;
  const { callbacks, ...engine } = flat.engine;
  for (const [name, value] of Object.entries({ ...flat, engine })) {
    digest[`state ${name}`] = JSON.stringify(value);
  }
  for (const [name, value] of Object.entries(callbacks as Record<string, unknown>)) {
    if (name !== "TrackingCallback") digest[`callback ${name}`] = JSON.stringify(value);
  }
  // In the order of the file
  for (const [name, { shape, dtype, data }] of Object.entries(tensors)) {
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    digest[`tensor ${name}`] = `${dtype} [${shape}] ${await hash(bytes)}`;
  }
  digest.scalars = scalarsOf(dir);
  return digest;
}

/** The scalars that count, one a line, without time and segment. */
export function scalarsOf(dir: string): string {
  return currentScalars(readRun(dir).scalars).map(({ step, epoch, samples, key, value }) =>
    [step, epoch, samples, key, Object.is(value, -0) ? "-0" : value].join()
  ).join("\n");
}

/** The names of what differs between two digests. */
export function differences(a: Digest, b: Digest): string[] {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((n) => a[n] !== b[n]);
  const order = Object.keys(a).join() === Object.keys(b).join() ? [] : ["order of names"];
  return [...names, ...order];
}

/** Copies a run as it would be found after it was killed behind the checkpoint of a step. */
export function copyRun(dir: string, at: number): string {
  const slash = dir.lastIndexOf("/");
  const copy = Deno.makeTempDirSync({ dir: dir.slice(0, slash), prefix: `resume-${at}-` });
  const to = `${copy}/${dir.slice(slash + 1)}`;
  const file = `checkpoints/step-${String(at).padStart(8, "0")}.safetensors`;
  for (const folder of ["", "/logs", "/checkpoints"]) Deno.mkdirSync(to + folder);
  for (const name of ["meta.json", "logs/scalars.csv", "logs/events.jsonl", file]) {
    Deno.copyFileSync(`${dir}/${name}`, `${to}/${name}`);
  }
  return copy;
}

async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function spelled(metrics: Readonly<Record<string, number>>): [string, string][] {
  return Object.entries(metrics).map(([name, value]) => [name, String(value)]);
}
