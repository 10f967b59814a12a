/**
 * One checkpoint as the bytes of one safetensors file, and back.
 *
 * Everything is in the one file, so that one rename makes all of it appear at once: the tensors
 * under their names, and in `__metadata__`, in this order,
 *
 * ```text
 * legoml.seal        SHA-256 of bytes 0 up to the data, with zeros in place of these 64 digits
 * legoml.sequence    place in the order of saving, 16 digits
 * legoml.hashes      SHA-256 of each tensor in the order of the data, 64 digits each
 * legoml.schema      version of the layout
 * legoml.checkpoint  step, epoch, time, metrics, tags as JSON
 * legoml.state       the state as JSON
 * format             pt
 * ```
 *
 * The seal covers the hashes and the hashes cover the data, so each byte is covered and hashed once.
 * It stays at its place in later versions, so that a newer file can be told from a damaged one.
 */

import {
  decodeSafetensors,
  encodeSafetensors,
  type SafetensorsEntry,
  type SafetensorsFile,
} from "../data/safetensors.ts";
import {
  CHECKPOINT_SCHEMA,
  type CheckpointEntry,
  checkpointFile,
  type CheckpointRecord,
  isCount,
  parsePlainJson,
  recordFromJson,
  recordToJson,
  stepOfFile,
} from "./checkpoint_record.ts";
import { HASH_DIGITS, NO_HASH, putText, sealOf, sha256, textAt } from "./checkpoint_seal.ts";
import { type CheckpointTensor, tensorFromEntry, tensorToEntry } from "./checkpoint_tensors.ts";
import { CheckpointError } from "./errors.ts";
import { describeValue, type JsonValue, toJsonValue } from "./json_values.ts";

const MAX_STATE_BYTES = 10_000_000;
const SEQUENCE_DIGITS = 16;

const HEADER_AT = 8;
const SEAL_HEAD = `{"__metadata__":{"legoml.seal":"`;
const SEAL_AT = HEADER_AT + SEAL_HEAD.length;
const SEQUENCE_AT = SEAL_AT + HASH_DIGITS + `","legoml.sequence":"`.length;
const HASHES_AT = SEQUENCE_AT + SEQUENCE_DIGITS + `","legoml.hashes":"`.length;

/** What to save. */
export interface CheckpointContent {
  /** The tensors by name, as arrays on the host. */
  readonly tensors: Readonly<Record<string, CheckpointTensor>>;
  /** Everything else, of values that JSON can hold; numbers must be finite, and -0 becomes 0. */
  readonly state: unknown;
  /** Completed training steps. */
  readonly step: number;
  /** Completed epochs. */
  readonly epoch: number;
  /** Values by which checkpoints are compared; NaN and infinities are allowed, and never best. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** What a file holds, with all hashes verified. */
export interface CheckpointParts {
  /** The tensors by name. */
  readonly tensors: Record<string, CheckpointTensor>;
  /** The state, as JSON stored it. */
  readonly state: JsonValue;
  /** What the file says of itself. */
  readonly entry: CheckpointEntry;
}

/** A file whose hashes are still zeros. */
export interface CheckpointDraft {
  /** The whole file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What it says of itself. */
  readonly record: CheckpointRecord;
}

/**
 * Makes the file of a checkpoint but for its hashes; what it is made from may change afterwards.
 *
 * @param content tensors and state
 * @param record step, epoch, time, metrics, tags
 * @throws {TypeError} naming the tensor, or the path of the state, that cannot be stored
 * @throws {RangeError} if a tensor does not fit its shape, or the state is too deep or too long
 */
export function draftCheckpoint(
  content: CheckpointContent,
  record: CheckpointRecord,
): CheckpointDraft {
  const tensors = Object.entries(content.tensors);
  const state = JSON.stringify(toJsonValue(content.state, "state"));
  if (state.length > MAX_STATE_BYTES) {
    throw new RangeError(
      `Cannot save a checkpoint: expected a state of at most ${MAX_STATE_BYTES} letters as JSON, ` +
        `found ${state.length}; put arrays into tensors`,
    );
  }
  const entries = tensors.map(([name, tensor]) => [name, tensorToEntry(name, tensor)] as const);
  const bytes = encodeSafetensors(Object.fromEntries(entries), {
    "legoml.seal": NO_HASH,
    "legoml.sequence": "0".repeat(SEQUENCE_DIGITS),
    "legoml.hashes": NO_HASH.repeat(tensors.length),
    "legoml.schema": String(CHECKPOINT_SCHEMA),
    "legoml.checkpoint": JSON.stringify(recordToJson(record)),
    "legoml.state": state,
    "format": "pt",
  });
  return { bytes, record };
}

/** Fills in the hashes of the tensors; all but the seal. */
export async function hashTensors({ bytes }: CheckpointDraft): Promise<void> {
  const tensors = inFileOrder(decodeSafetensors(bytes));
  const hashes = await hashAll(tensors.map(([, { bytes: data }]) => data));
  putText(bytes, HASHES_AT, hashes.join(""));
}

/** Fills in what is known last, the place in the order, and seals the file. */
export async function sealCheckpoint(
  { bytes, record }: CheckpointDraft,
  sequence: number,
): Promise<CheckpointEntry> {
  putText(bytes, SEQUENCE_AT, String(sequence).padStart(SEQUENCE_DIGITS, "0"));
  const seal = await sealOf(bytes.subarray(0, dataStart(bytes)), SEAL_AT);
  putText(bytes, SEAL_AT, seal);
  return { ...record, file: checkpointFile(record.step), sequence, bytes: bytes.length, seal };
}

/**
 * Reads what a file says of itself, and verifies its header and length; not the tensors.
 *
 * @param bytes the whole file
 * @param path how messages call it
 * @throws {CheckpointError} if it is damaged or of a newer version
 */
export async function readHead(bytes: Uint8Array, path: string): Promise<CheckpointEntry> {
  return (await open(bytes, path)).entry;
}

/**
 * Reads a checkpoint, and verifies all of it.
 *
 * @param bytes the whole file
 * @param path how messages call it
 * @throws {CheckpointError} if it is damaged, naming the tensor and where it begins, or newer
 */
export async function decodeCheckpoint(bytes: Uint8Array, path: string): Promise<CheckpointParts> {
  const { file, entry } = await open(bytes, path);
  const state = within(path, () => parsePlainJson(metadataOf(file, "legoml.state"), "state"));
  const tensors = inFileOrder(file);
  const stored = metadataOf(file, "legoml.hashes");
  const hashes = await hashAll(tensors.map(([, { bytes: data }]) => data));
  for (const [i, [name, { bytes: data }]] of tensors.entries()) {
    const expected = stored.slice(i * HASH_DIGITS, (i + 1) * HASH_DIGITS);
    if (hashes[i] === expected) continue;
    const offset = data.byteOffset - bytes.byteOffset;
    throw damaged(
      path,
      `expected tensor ${JSON.stringify(name)}, bytes ${offset} to ${offset + data.length}, ` +
        `to have SHA-256 ${brief(expected)}, found ${brief(hashes[i])}`,
      { tensor: name, offset },
    );
  }
  const named = tensors.map(([name, data]) => [name, tensorOf(path, name, data)]);
  return { tensors: Object.fromEntries(named), state, entry };
}

async function open(
  bytes: Uint8Array,
  path: string,
): Promise<{ file: SafetensorsFile; entry: CheckpointEntry }> {
  const seal = await verifiedSeal(bytes, path);
  within(path, () => checkLength(bytes, path));
  const file = within(path, () => decodeSafetensors(bytes));
  const schema = metadataOf(file, "legoml.schema");
  if (Number(schema) > CHECKPOINT_SCHEMA) throw newer(path, schema);
  return { file, entry: within(path, () => entryOf(file, path, bytes.length, seal)) };
}

// says which tensor a file that is cut short has lost first; the header is as it was written
function checkLength(bytes: Uint8Array, path: string): void {
  const start = dataStart(bytes);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(HEADER_AT, start)));
  const ends = Object.entries(header as Record<string, { data_offsets?: [number, number] }>)
    .flatMap(([name, { data_offsets: span }]) => span ? [{ name, end: start + span[1] }] : [])
    .sort((a, b) => a.end - b.end);
  const cut = ends.find(({ end }) => end > bytes.length);
  if (cut === undefined) return;
  const { length } = bytes;
  throw damaged(
    path,
    `expected ${ends.at(-1)!.end} bytes, found ${length}: ` +
      `tensor ${JSON.stringify(cut.name)} is cut off at byte ${length}`,
    { tensor: cut.name, offset: length },
  );
}

async function verifiedSeal(bytes: Uint8Array, path: string): Promise<string> {
  const end = dataStart(bytes);
  if (end < HASHES_AT || end > bytes.length) {
    const reason = `expected a header within the file of ${bytes.length} bytes, found it cut short`;
    throw damaged(path, reason, { offset: bytes.length });
  }
  if (textAt(bytes, HEADER_AT, SEAL_HEAD.length) !== SEAL_HEAD) {
    throw damaged(path, `expected ${SEAL_HEAD} at byte ${HEADER_AT}`, { offset: HEADER_AT });
  }
  const found = textAt(bytes, SEAL_AT, HASH_DIGITS);
  const expected = await sealOf(bytes.subarray(0, end), SEAL_AT);
  if (found === expected) return found;
  throw damaged(
    path,
    `expected the header, bytes 0 to ${end}, to have SHA-256 ${brief(expected)}, ` +
      `found the seal ${brief(found)}`,
    { offset: 0 },
  );
}

function entryOf(
  file: SafetensorsFile,
  path: string,
  bytes: number,
  seal: string,
): CheckpointEntry {
  const schema = metadataOf(file, "legoml.schema");
  if (schema !== String(CHECKPOINT_SCHEMA)) {
    throw new SyntaxError(
      `expected the layout version ${CHECKPOINT_SCHEMA}, found ${describeValue(schema)}`,
    );
  }
  const sequence = Number(metadataOf(file, "legoml.sequence"));
  if (!isCount(sequence) || sequence === 0) {
    throw new SyntaxError(`expected "legoml.sequence" to be a count from 1, found ${sequence}`);
  }
  const hashDigits = metadataOf(file, "legoml.hashes").length;
  if (hashDigits !== file.tensors.size * HASH_DIGITS) {
    throw new SyntaxError(`expected a hash for each of ${file.tensors.size} tensors`);
  }
  const record = recordFromJson(parsePlainJson(metadataOf(file, "legoml.checkpoint"), "record"));
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (stepOfFile(name) !== record.step) {
    throw new SyntaxError(`expected the file of step ${record.step} under another name`);
  }
  return { ...record, file: name, sequence, bytes, seal };
}

function tensorOf(path: string, name: string, entry: SafetensorsEntry): CheckpointTensor {
  return within(path, () => tensorFromEntry(name, entry));
}

function metadataOf({ metadata }: SafetensorsFile, key: string): string {
  return metadata.get(key) ?? "";
}

// tensors without elements may share a place; their hashes are equal
function inFileOrder({ tensors }: SafetensorsFile): [string, SafetensorsEntry][] {
  return [...tensors].sort(([, { bytes: a }], [, { bytes: b }]) =>
    a.byteOffset - b.byteOffset || a.length - b.length
  );
}

// a few at once use the cores, and copy no more than a few at once
async function hashAll(parts: readonly Uint8Array[]): Promise<string[]> {
  const hashes: string[] = [];
  for (let at = 0; at < parts.length; at += 4) {
    hashes.push(...await Promise.all(parts.slice(at, at + 4).map(sha256)));
  }
  return hashes;
}

function dataStart(bytes: Uint8Array): number {
  if (bytes.length < HEADER_AT) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return HEADER_AT + Number(view.getBigUint64(0, true));
}

function within<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw damaged(path, (error as Error).message, { cause: error });
  }
}

function damaged(
  path: string,
  reason: string,
  details: { tensor?: string; offset?: number; cause?: unknown },
): CheckpointError {
  return new CheckpointError(`Cannot load checkpoint ${path}: ${reason}`, {
    path,
    reason: "damaged",
    ...details,
  });
}

function newer(path: string, schema: string): CheckpointError {
  return new CheckpointError(
    `Cannot load checkpoint ${path}: expected the layout version ${CHECKPOINT_SCHEMA} or older, ` +
      `found the newer version ${schema}`,
    { path, reason: "newer" },
  );
}

function brief(hash: string): string {
  return `${hash.slice(0, 12)}…`;
}
