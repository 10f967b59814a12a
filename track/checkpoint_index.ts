/**
 * `index.json`: the checkpoints of a folder, and which of them is the last and the best.
 *
 * Its first field is the SHA-256 of the file with zeros in place of these digits. The checkpoints
 * say all of it themselves, so an index that is damaged or gone is made again from them.
 */

import {
  checkFields,
  CHECKPOINT_SCHEMA,
  type CheckpointEntry,
  entryFromJson,
  isFile,
  isString,
  parsePlainJson,
  recordToJson,
} from "./checkpoint_record.ts";
import type { BestRule } from "./checkpoint_retention.ts";
import { HASH_DIGITS, NO_HASH, putText, sealOf, textAt } from "./checkpoint_seal.ts";
import { CheckpointError } from "./errors.ts";

/** The largest index that is read or written, in bytes. */
export const MAX_INDEX_BYTES = 10_000_000;

/** Name of the index in its folder. */
export const INDEX_FILE = "index.json";

const HEAD = `{\n  "seal": "`;

/** The content of `index.json`. */
export interface CheckpointIndex {
  /** The checkpoints in the order of saving. */
  readonly entries: readonly CheckpointEntry[];
  /** File of the last one saved, or null. */
  readonly last: string | null;
  /** File of the best one by the rule, or null. */
  readonly best: string | null;
  /** What "best" means, or null where nobody said. */
  readonly rule: BestRule | null;
}

/** The bytes of an index. */
export async function encodeIndex(index: CheckpointIndex, path: string): Promise<Uint8Array> {
  const { last, best, rule, entries } = index;
  const text = JSON.stringify(
    {
      seal: NO_HASH,
      schema: CHECKPOINT_SCHEMA,
      last,
      best,
      rule: rule && { metric: rule.metric, mode: rule.mode },
      checkpoints: entries.map(recordToJson),
    },
    null,
    2,
  );
  const bytes = new TextEncoder().encode(`${text}\n`);
  if (bytes.length > MAX_INDEX_BYTES) {
    throw new CheckpointError(
      `Cannot write ${path}: expected at most ${MAX_INDEX_BYTES} bytes, found ${bytes.length} ` +
        `for ${entries.length} checkpoints`,
      { path, reason: "unwritable" },
    );
  }
  putText(bytes, HEAD.length, await sealOf(bytes, HEAD.length));
  return bytes;
}

/**
 * Reads the bytes of an index, and verifies all of it.
 *
 * @param bytes the whole file
 * @param path how messages call it
 * @throws {CheckpointError} if it is damaged, or of a newer version
 */
export async function decodeIndex(bytes: Uint8Array, path: string): Promise<CheckpointIndex> {
  if (bytes.length > MAX_INDEX_BYTES) {
    throw damaged(path, `expected at most ${MAX_INDEX_BYTES} bytes, found ${bytes.length}`);
  }
  if (textAt(bytes, 0, HEAD.length) !== HEAD) throw damaged(path, "expected a seal at byte 0");
  const found = textAt(bytes, HEAD.length, HASH_DIGITS);
  const expected = await sealOf(paddedTo(bytes, HEAD.length + HASH_DIGITS), HEAD.length);
  if (found !== expected) {
    throw damaged(path, `expected SHA-256 ${expected.slice(0, 12)}…, found the seal ${found}`);
  }
  try {
    return parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes), path);
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw damaged(path, (error as Error).message, error);
  }
}

function parse(text: string, path: string): CheckpointIndex {
  const fields = parsePlainJson(text, "the index") as Readonly<Record<string, unknown>>;
  const { schema } = fields;
  if (typeof schema === "number" && schema > CHECKPOINT_SCHEMA) throw newer(path, schema);
  checkFields(fields, [
    ["schema", `the layout version ${CHECKPOINT_SCHEMA}`, (value) => value === CHECKPOINT_SCHEMA],
    ["checkpoints", "a list", Array.isArray],
    ["last", "a file or null", (value) => value === null || isFile(value)],
    ["best", "a file or null", (value) => value === null || isFile(value)],
    ["rule", "a rule or null", (value) => value === null || isRule(value)],
  ]);
  const { checkpoints, last, best, rule } = fields as unknown as CheckpointIndex & {
    checkpoints: readonly unknown[];
  };
  const entries = checkpoints.map(entryFromJson);
  const names = new Set(entries.map((entry) => entry.file));
  if (names.size < entries.length) throw new SyntaxError("expected each file once");
  for (const name of [last, best]) {
    if (name === null || names.has(name)) continue;
    throw new SyntaxError(`expected a checkpoint "${name}" among those listed`);
  }
  return { entries, last, best, rule };
}

function isRule(value: unknown): boolean {
  const { metric, mode } = value as { metric?: unknown; mode?: unknown };
  return isString(metric) && (mode === "min" || mode === "max");
}

// a file that is cut short within the seal has none, and is refused as any other with a wrong one
function paddedTo(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes;
  const padded = new Uint8Array(length);
  padded.set(bytes);
  return padded;
}

function damaged(path: string, reason: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`Cannot read ${path}: ${reason}`, { path, reason: "damaged", cause });
}

function newer(path: string, schema: number): CheckpointError {
  return new CheckpointError(
    `Cannot read ${path}: expected the layout version ${CHECKPOINT_SCHEMA} or older, ` +
      `found the newer version ${schema}`,
    { path, reason: "newer" },
  );
}
