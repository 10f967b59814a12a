/** The log files of an open run. */

import { TrackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { type NamedScalars, type Place, scalarHeader, scalarLines } from "./scalars.ts";
import { AppendFile } from "./writing.ts";

/** How long the logs of a run are that goes on. */
export interface LogLengths {
  /** Rows of `scalars.csv`. */
  readonly rows: number;
  /** Bytes of the files in `logs`, by name. */
  readonly bytes: ReadonlyMap<string, number>;
}

/** The files in `logs`: each is made at its first record, and only grows. */
export class RunLogs {
  #files: FileOps;
  #dir: string;
  #bytes: ReadonlyMap<string, number>;
  #open = new Map<string, AppendFile>();
  #rows: number;

  /**
   * @param files the file operations
   * @param dir the folder of the logs
   * @param lengths how long they are
   */
  constructor(files: FileOps, dir: string, { rows, bytes }: LogLengths) {
    this.#files = files;
    this.#dir = dir;
    this.#bytes = bytes;
    this.#rows = rows;
  }

  /** Rows of `scalars.csv`. */
  get rows(): number {
    return this.#rows;
  }

  /** Adds rows to `scalars.csv`, all of them or none. */
  addScalars(named: NamedScalars, place: Place, time: Date, segment: number): void {
    const lines = scalarLines(named, place, time, segment);
    if (lines === "") return;
    const file = this.#file("scalars.csv");
    file.append(file.empty ? scalarHeader() + lines : lines);
    this.#rows += named.length;
  }

  /** Adds a line to `events.jsonl`. */
  addEvent(line: string): void {
    this.#file("events.jsonl").append(`${line}\n`);
  }

  /** Adds whole lines to `<name>.txt`. */
  addText(name: string, text: string): void {
    this.#file(`${name}.txt`).append(text.endsWith("\n") ? text : `${text}\n`);
  }

  /** Writes what is buffered to the device; what was logged outlives a loss of power from here on. */
  sync(): void {
    for (const file of this.#open.values()) file.sync();
  }

  /** Finishes all files, whatever the others do; gives the errors. */
  finish(): TrackError[] {
    const errors: TrackError[] = [];
    for (const file of this.#open.values()) {
      try {
        file.close();
      } catch (error) {
        errors.push(error as TrackError);
      }
    }
    return errors;
  }

  #file(name: string): AppendFile {
    let file = this.#open.get(name);
    if (file === undefined) {
      file = new AppendFile(this.#files, `${this.#dir}/${name}`, this.#bytes.get(name));
      this.#open.set(name, file);
    }
    return file;
  }
}

/** Several errors as one. */
export function mergedErrors(errors: TrackError[]): TrackError {
  if (errors.length === 1) return errors[0];
  return new TrackError(errors.map((error) => error.message).join("; "), {
    path: errors[0].path,
    code: errors[0].code,
    cause: new AggregateError(errors),
  });
}
