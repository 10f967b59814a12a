/** What is known of a checkpoint beside its tensors and its state, and its form as JSON. */

import { describeValue, type JsonValue, toJsonValue } from "./json_values.ts";

/** Version of the layout of checkpoints and of their index. */
export const CHECKPOINT_SCHEMA = 1;

/** What a checkpoint says of itself. */
export interface CheckpointRecord {
  /** Completed training steps. */
  readonly step: number;
  /** Completed epochs. */
  readonly epoch: number;
  /** When it was saved, in ISO 8601, UTC. */
  readonly createdAt: string;
  /** Values by which checkpoints are compared; NaN and infinities are allowed, and never best. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Labels. */
  readonly tags: readonly string[];
  /** Whether it is never pruned. */
  readonly keep: boolean;
  /** File of the checkpoint that was loaded before it was saved, or null. */
  readonly parent: string | null;
}

/** A checkpoint as the index lists it. */
export interface CheckpointEntry extends CheckpointRecord {
  /** Name of the file in the folder. */
  readonly file: string;
  /** Place in the order of saving, from 1. */
  readonly sequence: number;
  /** Length of the file in bytes. */
  readonly bytes: number;
  /** SHA-256 of the file's header, which holds the hashes of all tensors; 64 digits. */
  readonly seal: string;
}

/** A field, what it should be in words, and whether a value is that. */
export type FieldRule = readonly [
  field: string,
  expected: string,
  valid: (value: unknown) => boolean,
];

/** Name of a checkpoint's file. */
export function checkpointFile(step: number): string {
  return `step-${String(step).padStart(8, "0")}.safetensors`;
}

/** The step in the name of a checkpoint's file, or null where it is none. */
export function stepOfFile(name: string): number | null {
  const step = Number(/^step-(\d{8,16})\.safetensors$/.exec(name)?.[1] ?? NaN);
  return isCount(step) && checkpointFile(step) === name ? step : null;
}

const RECORD_RULES: readonly FieldRule[] = [
  ["step", "a count", isCount],
  ["epoch", "a count", isCount],
  ["createdAt", "a date", isDate],
  ["metrics", "numbers by name", isMetrics],
  ["tags", "a list of strings", (value) => Array.isArray(value) && value.every(isString)],
  ["keep", "true or false", (value) => typeof value === "boolean"],
  ["parent", "the file of a checkpoint or null", (value) => value === null || isFile(value)],
];

const ENTRY_RULES: readonly FieldRule[] = [
  ...RECORD_RULES,
  ["file", "the file of a checkpoint", isFile],
  ["sequence", "a count from 1", (value) => isCount(value) && value > 0],
  ["bytes", "a count", isCount],
  ["seal", "64 hexadecimal digits", isHash],
];

/** A record in the form in which JSON stores it: non-finite metrics as words. */
export function recordToJson<T extends CheckpointRecord>(record: T): JsonValue {
  return toJsonValue(record, "checkpoint", { nonFiniteAsWords: true });
}

/**
 * Reads a record from JSON.
 *
 * @throws {SyntaxError} naming the field that is not as it should be
 */
export function recordFromJson(value: unknown): CheckpointRecord {
  const { metrics, ...fields } = checkFields(value, RECORD_RULES) as unknown as CheckpointRecord;
  const { step, epoch, createdAt, tags, keep, parent } = fields;
  return { step, epoch, createdAt, metrics: toNumbers(metrics), tags, keep, parent };
}

/**
 * Reads an entry of the index from JSON.
 *
 * @throws {SyntaxError} naming the field that is not as it should be
 */
export function entryFromJson(value: unknown): CheckpointEntry {
  const entry = checkFields(value, ENTRY_RULES) as unknown as CheckpointEntry;
  const { file, sequence, bytes, seal } = entry;
  if (stepOfFile(file) !== entry.step) {
    throw new SyntaxError(`expected the file of step ${entry.step}, found "${file}"`);
  }
  return { ...recordFromJson(value), file, sequence, bytes, seal };
}

/** The value as an object whose fields follow the rules, or a SyntaxError. */
export function checkFields(
  value: unknown,
  rules: readonly FieldRule[],
): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw new SyntaxError(`expected an object, found ${describeValue(value)}`);
  for (const [field, expected, valid] of rules) {
    const found = Object.hasOwn(value, field) ? value[field] : undefined;
    if (valid(found)) continue;
    throw new SyntaxError(`expected "${field}" to be ${expected}, found ${describeValue(found)}`);
  }
  return value;
}

/**
 * Parses JSON that somebody else may have written.
 *
 * @throws {SyntaxError} if it is no JSON
 * @throws {TypeError} if it has a name `__proto__` or a number beyond the finite ones
 * @throws {RangeError} if it is nested deeper than 32 levels
 */
export function parsePlainJson(text: string, what: string): JsonValue {
  return toJsonValue(JSON.parse(text), what);
}

/** Whether a value is an integer from 0 that numbers hold exactly. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Whether a value is the text of a SHA-256. */
export function isHash(value: unknown): boolean {
  return isString(value) && /^[0-9a-f]{64}$/.test(value);
}

/** Whether a value is the name of a checkpoint's file. */
export function isFile(value: unknown): boolean {
  return isString(value) && stepOfFile(value) !== null;
}

/** Whether a value is a string. */
export function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDate(value: unknown): boolean {
  if (!isString(value)) return false;
  const time = new Date(value);
  return !Number.isNaN(time.getTime()) && time.toISOString() === value;
}

function isMetrics(value: unknown): boolean {
  const valid = (item: unknown) => typeof item === "number" || isWord(item);
  return isObject(value) && Object.values(value).every(valid);
}

function isWord(value: unknown): boolean {
  return value === "NaN" || value === "Infinity" || value === "-Infinity";
}

function toNumbers(metrics: Readonly<Record<string, unknown>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, Number(value)]));
}
