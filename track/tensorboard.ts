/** Scalars of a run as event files, which TensorBoard and its relatives read. */

import type { FileOps } from "./file_ops.ts";
import { describeValue } from "./json_values.ts";
import { eventRecord, type TaggedValue } from "./tensorboard_record.ts";
import { trackError } from "./errors.ts";
import type { RunSink, SinkPlace, SinkRun } from "./sink.ts";
import { AppendFile } from "./writing.ts";

/** Where event files belong. */
export interface TensorBoardOptions {
  /**
   * A folder for the files of many runs, each in a folder of its own, called as the run is.
   *
   * @default {the folder `tensorboard` in that of the run}
   */
  readonly dir?: string;
}

const FILE = /^events\.out\.tfevents\.(\d{10,})\./;

let fileCount = 0;

/**
 * Makes a sink that writes a run's scalars as event files, for `tensorboard --logdir runs` and all
 * that reads its files.
 *
 * Each segment of a run writes a file of its own, `events.out.tfevents.<seconds>.<host>.<pid>.<n>`;
 * files sort in the order in which they were begun, whatever the clock says. A value is there when
 * the call that logs it returns, and a file that a kill tore reads up to its last whole record. In a
 * resumed run the record `SessionLog.START` makes TensorBoard drop what an earlier segment wrote
 * beyond the checkpoint.
 *
 * - Values are stored as f32, so those beyond 3.4e38 become infinite; NaN and infinities stay.
 * - A missing value (null) is left out.
 * - A value without a step lies at its epoch; one without either at its number among the values of
 *   its name in this segment, from 1.
 *
 * @param options where the files belong
 * @returns a sink for the option `sinks` of `run`
 * @throws {TypeError} if `dir` is not a string
 * @throws {RangeError} if `dir` is empty
 *
 * @example Write a run for TensorBoard as well
 * ```ts
 * import { run, tensorBoardSink } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const folder = await run({ dir, sinks: [tensorBoardSink()] }, (session) => {
 *   session.logScalars({ loss: 0.5 }, { step: 1, split: "train" });
 *   return session.dir;
 * });
 * const [file] = [...Deno.readDirSync(`${folder}/tensorboard`)];
 * assert(file.name.startsWith("events.out.tfevents."));
 * ```
 */
export function tensorBoardSink(options: TensorBoardOptions = {}): RunSink {
  return new TensorBoardSink(options);
}

class TensorBoardSink implements RunSink {
  readonly name: string = "TensorBoard";
  readonly #dir: string | undefined;
  #file: AppendFile | null = null;
  #counts = new Map<string, number>();

  constructor({ dir }: TensorBoardOptions) {
    if (dir !== undefined && typeof dir !== "string") {
      throw new TypeError(
        `Cannot write event files: expected dir to be a string, found ${describeValue(dir)}`,
      );
    }
    if (dir === "") {
      throw new RangeError("Cannot write event files: expected a folder in dir, found none");
    }
    this.#dir = dir;
  }

  open({ dir, id, files, segment }: SinkRun): void {
    const folder = this.#dir === undefined ? `${dir}/tensorboard` : `${this.#dir}/${id}`;
    try {
      files.makeFolder(folder, { parents: true });
    } catch (error) {
      throw trackError("make folder", folder, error);
    }
    const now = new Date();
    this.#file = new AppendFile(files, `${folder}/${fileName(now, files, folder)}`);
    this.#counts.clear();
    const version = eventRecord(now, 0, { fileVersion: "brain.Event:2" });
    // Only a second START is a restart to newer readers, so the first segment has one, too.
    const start = eventRecord(now, 0, { session: "start" });
    this.#append(segment === 1 ? [version, start] : [version]);
  }

  resumed(step: number): void {
    // Readers keep what lies before the step of this record; that of the checkpoint is to stay.
    this.#append([eventRecord(new Date(), step + 1, { session: "start" })]);
  }

  scalars(values: Readonly<Record<string, number | null>>, at: SinkPlace): void {
    const given = Object.entries(values).filter((pair): pair is [string, number] =>
      pair[1] !== null
    );
    const place = at.step ?? at.epoch;
    const places = Map.groupBy(given, ([tag]) => place ?? this.#next(tag));
    const records = [...places].map(([step, scalars]: [number, TaggedValue[]]) =>
      eventRecord(at.time, step, { scalars })
    );
    if (records.length > 0) this.#append(records);
  }

  close(): void {
    const file = this.#file;
    this.#file = null;
    file?.close();
  }

  #append(records: readonly Uint8Array[]): void {
    const file = this.#file;
    if (file === null) {
      throw new Error("Cannot write event files: expected an open sink, found one that is closed");
    }
    try {
      file.append(joined(records));
    } catch (error) {
      // Who throws is not called again, not even to be closed.
      this.#file = null;
      closeAfter(file, error);
      throw error;
    }
  }

  #next(tag: string): number {
    const count = (this.#counts.get(tag) ?? 0) + 1;
    this.#counts.set(tag, count);
    return count;
  }
}

function closeAfter(file: AppendFile, error: unknown): void {
  try {
    file.close();
  } catch (second) {
    const messages = [error, second].map((each) => (each as Error).message);
    throw new AggregateError([error, second], messages.join("; "));
  }
}

/** A name that sorts behind those of all files that are there, since readers go by the names. */
function fileName(now: Date, files: FileOps, folder: string): string {
  let names: string[];
  try {
    names = files.list(folder).map(({ name }) => name);
  } catch (error) {
    throw trackError("list", folder, error);
  }
  const taken = names.map((name) => Number(FILE.exec(name)?.[1] ?? -1));
  const seconds = Math.max(Math.floor(now.getTime() / 1000), ...taken.map((time) => time + 1));
  const stamp = String(seconds).padStart(10, "0");
  return `events.out.tfevents.${stamp}.${hostName()}.${Deno.pid}.${fileCount++}`;
}

function hostName(): string {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "hostname" });
  const name = state === "granted" ? Deno.hostname() : "";
  return name.replaceAll(/[^\w-]+/g, "-") || "localhost";
}

function joined(records: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(records.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const record of records) {
    all.set(record, at);
    at += record.length;
  }
  return all;
}
