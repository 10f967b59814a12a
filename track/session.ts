/** An open run: the methods that write into its folder. */

import { getLogger } from "@logtape/logtape";
import { TrackError, trackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { toJsonObject, toJsonValue } from "./json_values.ts";
import { type RunError, type RunMeta, toRunError, writeMeta } from "./meta.ts";
import { checkFileName } from "./names.ts";
import { type Progress, scalarHeader, scalarLines } from "./scalars.ts";
import { encodeModel, type SavableModel } from "./state_dict.ts";
import { AppendFile, folderOf, writeWhole } from "./writing.ts";

/** Where in training some scalars belong, and whose they are. */
export interface ScalarOptions extends Progress {
  /** Prefix of the names, such as "train"; not repeated where a name has it already. */
  split?: string;
  /** When the values were taken; by default now. */
  time?: Date;
}

/** What a session is made of; `run` makes it. */
export interface SessionParts {
  /** The folder of the run. */
  dir: string;
  /** What `meta.json` says so far. */
  meta: RunMeta;
  /** How to write. */
  files: FileOps;
  /** The clock. */
  now: () => Date;
}

/**
 * A run that is being recorded; `run` opens one.
 *
 * Every method writes at once and throws at once: nothing waits in memory, and what was logged
 * before a crash is in the folder. Use it with `await using`, or close it by hand.
 *
 * At the end of an `await using` block JavaScript does not say whether an error is on its way, so
 * the run would count as completed: call {@linkcode RunSession.fail} where you catch the error, let
 * a `TrackingCallback` do that, or use the function form of `run`.
 */
export class RunSession implements AsyncDisposable {
  /** The folder of the run. */
  readonly dir: string;
  #meta: RunMeta;
  #files: FileOps;
  #now: () => Date;
  #scalars: AppendFile;
  #events: AppendFile;
  #texts = new Map<string, AppendFile>();
  #folders = new Set<string>();
  #failure: RunError | null = null;
  #unwritable = false;
  #state: "open" | "closing" | "closed" = "open";

  /**
   * Makes a session for a folder that `run` has made.
   *
   * @param parts folder, record, file operations and clock
   */
  constructor(parts: SessionParts) {
    this.dir = parts.dir;
    this.#meta = parts.meta;
    this.#files = parts.files;
    this.#now = parts.now;
    this.#scalars = new AppendFile(this.#files, `${this.dir}/logs/scalars.csv`);
    this.#events = new AppendFile(this.#files, `${this.dir}/logs/events.jsonl`);
  }

  /** Name of the folder: unique among the runs beside it, and in the order of their start. */
  get id(): string {
    return this.#meta.id;
  }

  /** The name given to `run`, or null. */
  get name(): string | null {
    return this.#meta.name;
  }

  /** What `meta.json` says, as a copy. */
  get meta(): RunMeta {
    return structuredClone(this.#meta);
  }

  /** The folder of the artifacts; made with the first one. */
  get artifactsDir(): string {
    return `${this.dir}/artifacts`;
  }

  /** The folder for checkpoints; made by who writes the first one. */
  get checkpointsDir(): string {
    return `${this.dir}/checkpoints`;
  }

  /**
   * Adds values to `logs/scalars.csv`, one line each, all with the same time.
   *
   * @param scalars values by name; NaN and infinities are allowed, null stands for a missing value
   * @param options completed steps, epochs and samples, and a prefix for the names
   * @throws {TypeError} if a value is neither a number nor null
   * @throws {RangeError} if a name is empty or has control characters, or a count is no count
   * @throws {TrackError} if the lines cannot be written; then none of them is in the file
   *
   * @example Log two values of a step
   * ```ts
   * import { readScalars, run } from "@legoml/legoml/track";
   * import { assert } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await using session = await run({ dir });
   * session.logScalars({ loss: 0.5, accuracy: 0.9 }, { step: 1, split: "train" });
   * const rows = readScalars(`${session.dir}/logs/scalars.csv`);
   * assert(rows[0].key === "train/loss" && rows[0].value === 0.5);
   * ```
   */
  logScalars(scalars: Readonly<Record<string, number | null>>, options: ScalarOptions = {}): void {
    this.#checkOpen("log scalars");
    const { split, time = this.#now(), ...progress } = options;
    const lines = scalarLines(scalars, progress, split, time);
    if (lines === "") return;
    this.#scalars.append(this.#scalars.empty ? scalarHeader() + lines : lines);
  }

  /**
   * Adds a text to `logs/<name>.txt`, and a line end where it has none.
   *
   * @param name name of the log, without folder or extension
   * @param text what to add
   * @throws {RangeError} if the name cannot be that of a file
   * @throws {TrackError} if it cannot be written
   */
  logText(name: string, text: string): void {
    this.#checkOpen("log text");
    checkFileName(name, "a text log");
    let file = this.#texts.get(name);
    if (file === undefined) {
      file = new AppendFile(this.#files, `${this.dir}/logs/${name}.txt`);
      this.#texts.set(name, file);
    }
    file.append(text.endsWith("\n") ? text : `${text}\n`);
  }

  /**
   * Adds settings to `meta.json`, at once; a name given before takes its new value.
   *
   * @param params settings by name, of values that JSON can hold
   * @throws {TypeError} naming the path of a value that JSON cannot hold, such as NaN or a function
   * @throws {RangeError} if they are nested deeper than 32 levels
   * @throws {TrackError} if they cannot be written
   */
  logParams(params: Readonly<Record<string, unknown>>): void {
    this.#checkOpen("log params");
    const added = toJsonObject(params, "params");
    this.#update({ params: { ...this.#meta.params, ...added } });
  }

  /**
   * Adds a line `{"time", "event", "fields"}` to `logs/events.jsonl`.
   *
   * @param name what happened
   * @param fields details that JSON can hold; NaN and infinities become words
   * @throws {TypeError} naming the path of a value that JSON cannot hold
   * @throws {TrackError} if it cannot be written
   */
  logEvent(name: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#checkOpen("log an event");
    const event = toJsonValue(name, "event");
    const values = toJsonObject(fields, "fields", { nonFiniteAsWords: true });
    const time = this.#now().toISOString();
    this.#events.append(JSON.stringify({ time, event, fields: values }) + "\n");
  }

  /**
   * Writes a file into `artifacts/`, replacing one of the same name.
   *
   * @param name name of the file; may lie in folders, as "plots/loss.json"
   * @param data text, bytes, or an object to write as JSON
   * @returns the path of the file
   * @throws {RangeError} if the name would leave the folder
   * @throws {TypeError} naming the path of a value that JSON cannot hold
   * @throws {TrackError} if it cannot be written; then the file is as it was before, or absent
   */
  saveArtifact(name: string, data: string | Uint8Array | object): string {
    this.#checkOpen("save an artifact");
    checkFileName(name, "an artifact", true);
    const path = `${this.artifactsDir}/${name}`;
    const bytes = toBytes(data);
    this.#makeFolder(folderOf(path));
    writeWhole(this.#files, path, bytes);
    return path;
  }

  /**
   * Writes the parameters and buffers of a model into `artifacts/`, in the safetensors format.
   *
   * @param model anything with a `stateDict()` of tensors
   * @param name name of the file
   * @returns the path of the file
   * @throws {TypeError} if a tensor has an element type that the format does not know
   * @throws {TrackError} if it cannot be written; then the file is as it was before, or absent
   */
  async saveModel(model: SavableModel, name: string = "model.safetensors"): Promise<string> {
    this.#checkOpen("save a model");
    checkFileName(name, "a model file", true);
    return this.saveArtifact(name, await encodeModel(model));
  }

  /**
   * Remembers the error that ends the run; `close` writes it, with the status "failed".
   *
   * It writes nothing and never throws, so it can stand in any `catch` block.
   *
   * @param error what was thrown
   */
  fail(error: unknown): void {
    this.#failure = toRunError(error);
    this.#unwritable = error instanceof TrackError;
  }

  /**
   * Ends the run: finishes the logs, and writes status and time into `meta.json`.
   *
   * A second call does nothing, unless the first could not write `meta.json`: then it tries again.
   *
   * @param status how the run ended; by default "failed" after `fail`, else "completed"
   * @throws {TrackError} if something cannot be written
   */
  close(status?: "completed" | "failed"): Promise<void> {
    return Promise.try(() => this.#end(status));
  }

  /**
   * Closes the run at the end of an `await using` block.
   *
   * @throws {TrackError} as `close` does, unless the run failed by such an error, which says it
   */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.close();
    } catch (error) {
      if (!this.#unwritable) throw error;
      getLogger(["legoml", "track"]).error("{message}", { message: (error as Error).message });
    }
  }

  #end(status: "completed" | "failed" | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "closing";
    const errors = this.#finishLogs();
    if (errors.length > 0) this.#failure ??= toRunError(errors[0]);
    const failed = errors.length > 0 || (status ?? (this.#failure ? "failed" : null)) === "failed";
    try {
      this.#update({
        status: failed ? "failed" : "completed",
        endedAt: this.#now().toISOString(),
        error: failed ? this.#failure : null,
      });
      this.#state = "closed";
    } catch (error) {
      errors.push(error as TrackError);
    }
    if (errors.length > 0) throw merged(errors);
    const { id, status: end } = this.#meta;
    getLogger(["legoml", "track"]).info("Run {id} {status}", { id, status: end });
  }

  #finishLogs(): TrackError[] {
    const errors: TrackError[] = [];
    for (const file of [this.#scalars, this.#events, ...this.#texts.values()]) {
      try {
        file.close();
      } catch (error) {
        errors.push(error as TrackError);
      }
    }
    return errors;
  }

  #update(change: Partial<RunMeta>): void {
    const meta = { ...this.#meta, ...change };
    writeMeta(this.#files, this.dir, meta);
    this.#meta = meta;
  }

  #makeFolder(path: string): void {
    if (this.#folders.has(path)) return;
    try {
      this.#files.makeFolder(path, { parents: true });
    } catch (error) {
      throw trackError("make folder", path, error);
    }
    this.#folders.add(path);
  }

  #checkOpen(action: string): void {
    if (this.#state === "open") return;
    throw new TrackError(`Cannot ${action}: expected an open run, but ${this.dir} is closed`, {
      path: this.dir,
    });
  }
}

function toBytes(data: string | Uint8Array | object): Uint8Array {
  if (data instanceof Uint8Array) return data;
  const text = typeof data === "string" ? data : JSON.stringify(toJsonValue(data, "data"), null, 2);
  return new TextEncoder().encode(typeof data === "string" ? text : `${text}\n`);
}

function merged(errors: TrackError[]): TrackError {
  if (errors.length === 1) return errors[0];
  return new TrackError(errors.map((error) => error.message).join("; "), {
    path: errors[0].path,
    code: errors[0].code,
    cause: new AggregateError(errors),
  });
}
