/** A folder of checkpoints that survives being killed at any moment. */

import {
  type CheckpointContent,
  type CheckpointDraft,
  type CheckpointParts,
  decodeCheckpoint,
  draftCheckpoint,
  hashTensors,
  sealCheckpoint,
} from "./checkpoint_file.ts";
import { CheckpointFolder } from "./checkpoint_folder.ts";
import { encodeIndex } from "./checkpoint_index.ts";
import {
  type CheckpointEntry,
  checkpointFile,
  type CheckpointRecord,
  isCount,
} from "./checkpoint_record.ts";
import {
  bestFirst,
  type BestRule,
  keptFiles,
  newestFirst,
  type RetentionOptions,
  type RetentionRule,
  retentionRule,
} from "./checkpoint_retention.ts";
import { CheckpointError } from "./errors.ts";
import { denoFileOps, type FileOps } from "./file_ops.ts";
import { describeValue } from "./json_values.ts";

/** How a store keeps checkpoints, and where it writes. */
export interface CheckpointStoreOptions extends RetentionOptions {
  /** How to read and write; by default on the real file system. */
  readonly files?: FileOps;
  /** The clock; by default the real one. */
  readonly now?: () => Date;
}

/** How to save one checkpoint. */
export interface SaveOptions {
  /**
   * Whether this one is never pruned.
   *
   * @default {false}
   */
  readonly keep?: boolean;
  /** Labels to find it by. */
  readonly tags?: readonly string[];
}

/** A checkpoint that was read and verified. */
export interface Checkpoint extends CheckpointParts {
  /** Errors of damaged checkpoints that would, or might, have been loaded in its place. */
  readonly skipped: readonly CheckpointError[];
}

/** Which checkpoint to load: the last saved, the best by the rule, or that of a step. */
export type WhichCheckpoint = "last" | "best" | number;

/**
 * The checkpoints of one run, in one folder.
 *
 * ```text
 * checkpoints/
 *   step-00000100.safetensors   tensors, state and hashes of one checkpoint
 *   index.json                  all of them; which is the last, which the best
 * ```
 *
 * Kill the program at any moment: the newest complete checkpoint loads. A checkpoint is written to a
 * temporary file, synced, read back and compared, renamed, the folder synced; the index is written
 * the same way; only then are older ones removed. One that is found damaged is never loaded
 * in part: the one before is loaded instead, with a warning and the error in `skipped`.
 *
 * A folder belongs to one store that saves at a time. Two that save at once lose no checkpoint that
 * either of them keeps, but each prunes by its own rule, and may remove the other's temporary file,
 * so that a save fails. Reading is always free. It needs the permissions to read and write the
 * folder, and to read the one above it.
 *
 * @example Save, and continue from the last
 * ```ts
 * import { CheckpointStore } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const store = new CheckpointStore(`${dir}/checkpoints`, {
 *   last: 2,
 *   best: { metric: "val/loss", mode: "min" },
 * });
 * for (const [step, loss] of [[10, 0.5], [20, 0.1], [30, 0.3], [40, 0.2]]) {
 *   const weight = { shape: [2], dtype: "f32", data: Float32Array.of(step, loss) } as const;
 *   await store.save({
 *     tensors: { "model.weight": weight },
 *     state: { seed: 42, loader: { epoch: 1, position: step * 64 } },
 *     step,
 *     epoch: 1,
 *     metrics: { "val/loss": loss },
 *   });
 * }
 * const kept = (await store.entries()).map((entry) => entry.step);
 * assert(kept.join() === "20,30,40");
 *
 * const { entry, tensors } = await new CheckpointStore(`${dir}/checkpoints`).load("last");
 * assert(entry.step === 40 && tensors["model.weight"].data[0] === 40);
 * assert((await store.load("best")).entry.step === 20);
 * ```
 */
export class CheckpointStore {
  /** The folder. */
  readonly dir: string;
  #rule: RetentionRule;
  #files: FileOps;
  #folder: CheckpointFolder;
  #now: () => Date;
  #resumed: string | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * Makes a store; nothing is read or written yet.
   *
   * @param dir the folder, such as `session.checkpointsDir`; the first save makes it
   * @param options what to keep, and how to write
   * @throws {TypeError} if the metric or the direction of `best` is none
   * @throws {RangeError} if a number of checkpoints is no count from 1
   */
  constructor(dir: string, options: CheckpointStoreOptions = {}) {
    if (typeof dir !== "string" || dir === "") {
      throw new TypeError(`CheckpointStore: expected a folder, found ${describeValue(dir)}`);
    }
    this.dir = dir;
    this.#rule = retentionRule(options);
    this.#files = options.files ?? denoFileOps;
    this.#folder = new CheckpointFolder(this.#files, dir);
    this.#now = options.now ?? (() => new Date());
  }

  /**
   * Says what the best checkpoint is, and how many of the best are kept, from the next save on; for
   * a store that was made without `best`.
   *
   * @param best metric, better direction, how many to keep (1)
   * @throws {TypeError} if a value is none, or the store has another rule
   * @throws {RangeError} if `keep` is no count from 1
   */
  setBest(best: BestRule & { readonly keep?: number }): void {
    const rule = retentionRule({ best }).best!;
    const own = this.#rule.best;
    if (own !== null && (own.metric !== rule.metric || own.mode !== rule.mode)) {
      throw new TypeError(
        `CheckpointStore: expected one rule of what is best, found "${own.metric}" (${own.mode}) ` +
          `and "${rule.metric}" (${rule.mode})`,
      );
    }
    this.#rule = { ...this.#rule, best: rule };
  }

  /**
   * Saves a checkpoint, then removes those that are no longer kept.
   *
   * Tensors and state are copied when this is called. A checkpoint of the same step is replaced.
   * Saves and loads of one store happen one after the other.
   *
   * Kept are the last ones, the best ones, those of every so many steps, those saved with `keep`,
   * and the one that was loaded last, as a run may be resumed from it once more.
   *
   * @param content tensors on the host (f32, f16, i32, u32, bool), state of values that JSON can
   * hold and finite numbers, completed steps and epochs, metrics
   * @param options whether it is kept for ever, labels
   * @returns what the index says of it
   * @throws {TypeError} naming the tensor, or the path of the state, that cannot be stored
   * @throws {RangeError} if a count is none, a tensor does not fit its shape, the state is too deep
   * @throws {CheckpointError} if something cannot be written or removed, or the folder is of a newer
   * version; the checkpoints that were there still are
   */
  async save(content: CheckpointContent, options: SaveOptions = {}): Promise<CheckpointEntry> {
    const draft = draftCheckpoint(content, this.#recordOf(content, options));
    return await this.#inTurn(() => this.#save(draft));
  }

  /**
   * Loads a checkpoint, after verifying all its hashes.
   *
   * If the last or the best one is damaged or gone, the next in that order is loaded, with a warning
   * that names file, tensor and offset. A step is loaded or refused, never replaced by another one.
   *
   * @param which "last" saved, "best" by the metric of the store or of the index, or a step
   * @returns tensors, state and record, and the errors of those that were skipped
   * @throws {TypeError} if it is none of these, or "best" where no metric was ever given
   * @throws {CheckpointError} by its `reason`: "absent" if there is none; "damaged" if none is sound;
   * "unreadable" if it cannot be read for want of permission; "newer" if it is intact but of a later
   * version of the layout
   *
   * @example Start anew only where there is nothing to continue
   * ```ts
   * import { CheckpointError, CheckpointStore } from "@legoml/legoml/track";
   * import { assert } from "@std/assert";
   *
   * const store = new CheckpointStore(`${await Deno.makeTempDir()}/checkpoints`);
   * const last = await store.load("last").catch((error: unknown) => {
   *   if (error instanceof CheckpointError && error.reason === "absent") return null;
   *   throw error;
   * });
   * assert(last === null);
   * ```
   */
  async load(which: WhichCheckpoint = "last"): Promise<Checkpoint> {
    if (which !== "last" && which !== "best" && !isCount(which)) {
      throw new TypeError(
        `Cannot load a checkpoint: expected "last", "best" or a step, found ${
          describeValue(which)
        }`,
      );
    }
    return await this.#inTurn(() => this.#load(which));
  }

  /**
   * Lists the checkpoints in the order of saving; tensors are not verified.
   *
   * @returns what is known of each; empty where the folder holds none or does not exist
   * @throws {CheckpointError} if the folder cannot be read, or is of a newer version
   */
  async entries(): Promise<CheckpointEntry[]> {
    const { entries } = await this.#inTurn(() => this.#folder.scan());
    return newestFirst(entries).reverse();
  }

  async #save(draft: CheckpointDraft): Promise<CheckpointEntry> {
    await hashTensors(draft);
    this.#folder.prepare();
    const { entries, rule } = await this.#folder.scan();
    const others = entries.filter(({ step }) => step !== draft.record.step);
    const sequence = others.reduce((most, entry) => Math.max(most, entry.sequence), 0) + 1;
    const saved = await sealCheckpoint(draft, sequence);
    const all = [...others, saved];
    const isSound = (entry: CheckpointEntry) => entry === saved || !this.#folder.isDamaged(entry);
    const names = keptFiles(all, this.#rule, this.#resumed, isSound);
    const kept = newestFirst(all.filter(({ file }) => names.has(file))).reverse();
    const bestRule = this.#rule.best ?? rule;
    const best = bestRule && bestFirst(kept.filter(isSound), bestRule)[0]?.file;
    const index = { entries: kept, last: saved.file, best: best ?? null, rule: bestRule };
    const indexBytes = await encodeIndex(index, this.#folder.indexPath);
    this.#folder.write(saved.file, draft.bytes);
    this.#folder.writeIndex(indexBytes);
    this.#folder.remove(all.filter(({ file }) => !names.has(file)), saved);
    return saved;
  }

  async #load(which: WhichCheckpoint): Promise<Checkpoint> {
    const { entries, rule, refused } = await this.#folder.scan();
    const isAsked = ({ path }: CheckpointError) =>
      typeof which !== "number" || path.endsWith(`/${checkpointFile(which)}`);
    const skipped = refused.filter(isAsked);
    const candidates = this.#candidates(entries, which, this.#rule.best ?? rule);
    if (candidates.length + skipped.length === 0) throw this.#absent(entries, which);
    for (const [i, entry] of candidates.entries()) {
      try {
        const parts = await this.#folder.read(entry, decodeCheckpoint);
        this.#resumed = entry.file;
        return { ...parts, skipped };
      } catch (error) {
        if (!this.#folder.mayFallBack(error)) throw error;
        skipped.push(error);
        const next = candidates.at(i + 1);
        if (next === undefined) continue;
        this.#folder.warn(`${error.message}; trying ${next.file}, of step ${next.step}, instead`);
      }
    }
    throw noneSound(this.dir, skipped);
  }

  #candidates(
    entries: readonly CheckpointEntry[],
    which: WhichCheckpoint,
    rule: BestRule | null,
  ): CheckpointEntry[] {
    let found = newestFirst(entries);
    if (typeof which === "number") found = found.filter(({ step }) => step === which);
    if (which === "best") {
      if (rule === null && entries.length > 0) {
        throw new TypeError(
          `Cannot load the best checkpoint of ${this.dir}: ` +
            `expected the option best: { metric, mode }, found none, nor one in the index`,
        );
      }
      found = rule === null ? [] : bestFirst(entries, rule);
    }
    return found;
  }

  #absent(entries: readonly CheckpointEntry[], which: WhichCheckpoint): CheckpointError {
    const asked = typeof which === "number" ? `one of step ${which}` : `a ${which} one`;
    const steps = newestFirst(entries).slice(0, 10).map(({ step }) => step).join(", ");
    return new CheckpointError(
      `Cannot load a checkpoint from ${this.dir}: expected ${asked}, ` +
        `found ${steps === "" ? "none" : `those of steps ${steps}`}`,
      { path: this.dir, reason: "absent" },
    );
  }

  #recordOf(content: CheckpointContent, options: SaveOptions): CheckpointRecord {
    const { step, epoch, metrics = {} } = content;
    const { keep = false, tags = [] } = options;
    for (const [name, value] of Object.entries({ step, epoch })) {
      if (isCount(value)) continue;
      throw new RangeError(
        `Cannot save a checkpoint: expected ${name} to be a count, found ${describeValue(value)}`,
      );
    }
    for (const [name, value] of Object.entries(metrics)) {
      if (typeof value === "number") continue;
      throw new TypeError(
        `Cannot save a checkpoint: expected metric "${name}" to be a number, ` +
          `found ${describeValue(value)}`,
      );
    }
    if (typeof keep !== "boolean") {
      throw new TypeError(
        `Cannot save a checkpoint: expected keep to be true or false, found ${describeValue(keep)}`,
      );
    }
    if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string")) {
      throw new TypeError("Cannot save a checkpoint: expected tags to be a list of strings");
    }
    const createdAt = this.#now().toISOString();
    const parent = this.#resumed;
    return { step, epoch, createdAt, metrics: { ...metrics }, tags: [...tags], keep, parent };
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(action);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

function noneSound(dir: string, skipped: readonly CheckpointError[]): CheckpointError {
  if (skipped.length === 1) return skipped[0];
  const messages = skipped.map((error) => error.message).join("; ");
  return new CheckpointError(`Cannot load a checkpoint from ${dir}, none is sound: ${messages}`, {
    path: dir,
    reason: "damaged",
    cause: new AggregateError(skipped),
  });
}
