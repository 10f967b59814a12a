/** An open run: the methods that write into its folder. */

import { getLogger } from "@logtape/logtape";
import { ArtifactFolder } from "./artifacts.ts";
import { thisProcess } from "./environment.ts";
import { reasonOf, TrackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { toJsonObject, toJsonValue } from "./json_values.ts";
import { checkOwner, type RunError, type RunMeta, toRunError, writeMeta } from "./meta.ts";
import { checkFileName } from "./names.ts";
import { mergedErrors, RunLogs } from "./run_logs.ts";
import { namedScalars, placeOf } from "./scalars.ts";
import { checkCursor, type RunCursor } from "./segments.ts";
import type { EndStatus, ScalarOptions, SessionParts } from "./session_parts.ts";
import { SinkSet } from "./sink.ts";
import { encodeModel, type SavableModel } from "./state_dict.ts";

/** Milliseconds between two notes in `meta.json` that the run lives. */
const HEARTBEAT_MS = 10_000;

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
  #tried: RunMeta;
  #files: FileOps;
  #now: () => Date;
  #logs: RunLogs;
  #sinks: SinkSet;
  #report: ((dir: string) => void) | null;
  /** Rows that were there when the present segment began. */
  #firstRow: number;
  #beatAt: number;
  #artifacts: ArtifactFolder;
  #failure: RunError | null = null;
  #interruption: string | null = null;
  #unwritable = false;
  #state: "open" | "closing" | "closed" = "open";

  /**
   * Makes a session for a folder that `run` has made.
   *
   * @param parts folder, record, file operations and clock
   */
  constructor(parts: SessionParts) {
    const { dir, meta, files, now, sinks = [], report = null } = parts;
    this.dir = dir;
    this.#meta = this.#tried = meta;
    this.#files = files;
    this.#now = now;
    this.#report = report;
    this.#logs = new RunLogs(files, `${dir}/logs`, parts.lengths ?? { rows: 0, bytes: new Map() });
    this.#artifacts = new ArtifactFolder(files, this.artifactsDir);
    this.#firstRow = this.#logs.rows;
    this.#beatAt = Date.parse(meta.heartbeatAt);
    this.#sinks = new SinkSet(sinks, (fields) => this.#noteLoss("sinkFailed", fields));
    const { id, segment } = this;
    this.#sinks.each("open", (sink) => sink.open({ dir, id, files, segment }));
  }

  /** Name of the folder: unique among the runs beside it, and in the order of their start. */
  get id(): string {
    return this.#meta.id;
  }

  /** The name given to `run`, or null. */
  get name(): string | null {
    return this.#meta.name;
  }

  /** Which start of the run this is, from 1; a later one where the run went back to a checkpoint. */
  get segment(): number {
    return this.#meta.segments.length;
  }

  /** How many rows `logs/scalars.csv` holds, those of earlier segments included. */
  get rows(): number {
    return this.#logs.rows;
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
    const now = this.#now();
    const { split, time = now, ...progress } = options;
    const place = placeOf(progress);
    const named = namedScalars(scalars, split);
    if (named.length === 0) return;
    this.#beat(now);
    this.#logs.addScalars(named, place, time, this.segment);
    const values = Object.fromEntries(named);
    this.#sinks.each("scalars", (sink) => sink.scalars(values, { ...place, time }));
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
    this.#beat(this.#now());
    this.#logs.addText(name, text);
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
    const now = this.#now();
    this.#beat(now);
    this.#logs.addEvent(JSON.stringify({ time: now.toISOString(), event, fields: values }));
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
    return this.#artifacts.save(name, data);
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
   * Says that the run lives: notes the time in `meta.json`, at most every ten seconds. All methods
   * that log do it too; call it where nothing is logged for long.
   *
   * @throws {TrackError} if it cannot be written
   */
  heartbeat(): void {
    this.#checkOpen("write a heartbeat");
    this.#beat(this.#now());
  }

  /**
   * Waits until everything that was logged is on the device, so that it outlives a loss of power; a run
   * that was closed has done so.
   *
   * @throws {TrackError} if that fails
   */
  sync(): void {
    if (this.#state === "open") this.#logs.sync();
  }

  /**
   * Says where the run goes on, after a checkpoint was loaded: the rows of earlier segments behind the
   * cursor are superseded from here on. Nothing is deleted. A `TrackingCallback` calls it.
   *
   * Where the present segment has logged values already, a new one begins.
   *
   * @param cursor rows, steps and epochs that were complete when the checkpoint was saved
   * @throws {RangeError} if a number is no count, or there are fewer rows
   * @throws {TrackError} if it cannot be written
   *
   * @example Go back behind the second of three values
   * ```ts
   * import { currentScalars, readRun, run } from "@legoml/legoml/track";
   * import { assertEquals } from "@std/assert";
   *
   * await using session = await run({ dir: await Deno.makeTempDir() });
   * for (const step of [1, 2, 3]) session.logScalars({ loss: 1 / step }, { step });
   * session.resumeFrom({ rows: 2, step: 2, epoch: 0 });
   * session.logScalars({ loss: 0.25 }, { step: 3 });
   * const { scalars } = readRun(session.dir);
   * assertEquals(scalars.map((row) => row.superseded), [false, false, true, false]);
   * assertEquals(currentScalars(scalars).map((row) => row.value), [1, 0.5, 0.25]);
   * ```
   */
  resumeFrom(cursor: RunCursor): void {
    this.#checkOpen("resume");
    checkCursor(cursor, this.rows);
    const from = { rows: cursor.rows, step: cursor.step, epoch: cursor.epoch };
    const earlier = this.#meta.segments.slice(0, -1);
    const last = this.#meta.segments[this.#meta.segments.length - 1];
    const startedAt = this.#now().toISOString();
    const segments = this.rows === this.#firstRow
      ? [...earlier, { ...last, from }]
      : [...earlier, last, { segment: last.segment + 1, startedAt, from, ...thisProcess() }];
    this.#update({ segments });
    this.#firstRow = this.rows;
    this.logEvent("resume", { segment: this.segment, ...from });
    this.#sinks.each("resumed", (sink) => sink.resumed?.(from.step));
  }

  /**
   * Remembers that somebody stopped the run; `close` writes it, with the status "interrupted", unless
   * the run also failed. It writes nothing and never throws. A `TrackingCallback` calls it.
   *
   * @param reason why, such as the name of a signal
   */
  interrupt(reason: string = "interrupted"): void {
    this.#interruption = String(reason);
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
   * @param status how the run ended; by default "failed" after `fail`, "interrupted" after `interrupt`,
   * else "completed"
   * @throws {TrackError} if something cannot be written
   */
  close(status?: EndStatus): Promise<void> {
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
      log().error("{message}", { message: (error as Error).message });
    }
  }

  #end(status: EndStatus | undefined): void {
    if (this.#state === "closed") return;
    if (this.#state === "open") this.#sinks.each("close", (sink) => sink.close());
    this.#state = "closing";
    const errors = this.#logs.finish();
    if (errors.length > 0) this.#failure ??= toRunError(errors[0]);
    const end = errors.length > 0 ? "failed" : status ?? this.#likelyEnd();
    try {
      this.#update({
        status: end,
        endedAt: this.#now().toISOString(),
        error: end === "failed" ? this.#failure : null,
        reason: end === "interrupted" ? this.#interruption : null,
      });
      this.#state = "closed";
    } catch (error) {
      errors.push(error as TrackError);
    }
    if (this.#state === "closed") this.#writeReport();
    if (errors.length > 0) throw mergedErrors(errors);
    log().info("Run {id} {status}", { id: this.id, status: end });
  }

  #likelyEnd(): EndStatus {
    if (this.#failure !== null) return "failed";
    return this.#interruption === null ? "completed" : "interrupted";
  }

  #writeReport(): void {
    try {
      this.#report?.(this.dir);
    } catch (error) {
      const reason = reasonOf(error);
      const { id } = this;
      log().warn("No report of run {id}: {reason}", { id, reason });
      this.#noteLoss("reportFailed", { reason });
      for (const { message } of this.#logs.finish()) log().warn("{message}", { message });
    }
  }

  /** Notes an event of something that the run can go on without, which has been told of already. */
  #noteLoss(event: string, fields: Readonly<Record<string, unknown>>): void {
    try {
      const time = this.#now().toISOString();
      this.#logs.addEvent(JSON.stringify({ time, event, fields }));
    } catch (error) {
      log().warn("{message}", { message: (error as Error).message });
    }
  }

  #beat(now: Date): void {
    if (now.getTime() - this.#beatAt >= HEARTBEAT_MS) this.#update({}, now);
  }

  #update(change: Partial<RunMeta>, now: Date = this.#now()): void {
    const meta = { ...this.#meta, heartbeatAt: now.toISOString(), ...change };
    // a write that failed may have taken place all the same
    const own = [this.#meta, this.#tried].map(({ segments }) => segments[segments.length - 1]);
    checkOwner(this.#files, this.dir, own);
    this.#tried = meta;
    writeMeta(this.#files, this.dir, meta);
    this.#meta = meta;
    this.#beatAt = now.getTime();
  }

  #checkOpen(action: string): void {
    if (this.#state === "open") return;
    throw new TrackError(`Cannot ${action}: expected an open run, but ${this.dir} is closed`, {
      path: this.dir,
    });
  }
}

function log(): ReturnType<typeof getLogger> {
  return getLogger(["legoml", "track"]);
}
