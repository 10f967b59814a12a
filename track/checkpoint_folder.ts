/** The folder of a checkpoint store: what is in it, and each way of changing it. */

import { getConfig, getLogger } from "@logtape/logtape";
import { readHead } from "./checkpoint_file.ts";
import {
  type CheckpointIndex,
  decodeIndex,
  INDEX_FILE,
  MAX_INDEX_BYTES,
} from "./checkpoint_index.ts";
import { type CheckpointEntry, stepOfFile } from "./checkpoint_record.ts";
import type { BestRule } from "./checkpoint_retention.ts";
import { CheckpointError, checkpointError, reasonOf, TrackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { folderOf, writeWhole } from "./writing.ts";

/** What a folder holds. */
export interface FolderContent {
  /** The checkpoints, in no order. */
  readonly entries: CheckpointEntry[];
  /** What "best" means by the index, or null. */
  readonly rule: BestRule | null;
  /** Errors of files that the index does not know and that are damaged. */
  readonly refused: CheckpointError[];
}

/** The folder of a checkpoint store. */
export class CheckpointFolder {
  /** Path of the index. */
  readonly indexPath: string;
  #files: FileOps;
  #dir: string;
  #prepared = false;
  #damaged = new Set<string>();
  #warned = new Set<string>();
  #refused = new Map<string, { bytes: number; error: CheckpointError }>();

  /**
   * @param files the file operations
   * @param dir the folder
   */
  constructor(files: FileOps, dir: string) {
    this.#files = files;
    this.#dir = dir;
    this.indexPath = `${dir}/${INDEX_FILE}`;
  }

  /** Makes the folder, and removes temporary files that a killed program left; once. */
  prepare(): void {
    if (this.#prepared) return;
    try {
      makeFolders(this.#files, this.#dir);
    } catch (error) {
      throw checkpointError("make folder", this.#dir, error, "unwritable");
    }
    this.#prepared = this.#removeLeftovers();
  }

  /**
   * Looks at what is there: the index, corrected by the files.
   *
   * @throws {CheckpointError} if the folder cannot be read, or is of a newer version
   */
  async scan(): Promise<FolderContent> {
    const names = this.#list();
    const files = names.filter((name) => stepOfFile(name) !== null);
    const index = await this.#readIndex(names.includes(INDEX_FILE));
    if (index === null && files.length > 0) {
      this.#warnOnce(`${this.indexPath} is missing or damaged; it is made again from the files`);
    }
    const known = new Map(index?.entries.map((entry) => [entry.file, entry]));
    const entries: CheckpointEntry[] = [];
    const refused: CheckpointError[] = [];
    for (const file of files) {
      const entry = known.get(file) ?? await this.#adopt(file);
      if (entry instanceof CheckpointError) refused.push(entry);
      else entries.push(entry);
      known.delete(file);
    }
    for (const file of known.keys()) {
      this.#warnOnce(`Checkpoint ${this.#dir}/${file} is gone, although ${INDEX_FILE} lists it`);
    }
    // what another store has removed meanwhile is neither
    const damaged = refused.filter((error) => error.reason !== "absent");
    return { entries, rule: index?.rule ?? null, refused: damaged };
  }

  /** Whether an earlier reading found this checkpoint damaged. */
  isDamaged(entry: CheckpointEntry): boolean {
    return this.#damaged.has(keyOf(entry));
  }

  /** Whether another checkpoint may be loaded in place of one that gave this error. */
  mayFallBack(error: unknown): error is CheckpointError {
    return error instanceof CheckpointError &&
      (error.reason === "damaged" || error.reason === "absent" || error.code === "EIO");
  }

  /**
   * Reads a file, and notes it where it is damaged.
   *
   * @throws {CheckpointError} if it cannot be read, or `decode` throws it
   */
  async read<T extends { readonly entry: CheckpointEntry }>(
    entry: CheckpointEntry,
    decode: (bytes: Uint8Array, path: string) => Promise<T>,
  ): Promise<T> {
    const path = `${this.#dir}/${entry.file}`;
    const bytes = this.#readFile(path);
    try {
      const result = await decode(bytes, path);
      if (result.entry.seal !== entry.seal) {
        this.#warnOnce(`${path} is not the one that ${INDEX_FILE} lists; it is sound and used`);
      }
      return result;
    } catch (error) {
      if (isDamage(error)) this.#damaged.add(keyOf(entry));
      throw error;
    }
  }

  /**
   * Writes a checkpoint.
   *
   * @throws {CheckpointError} if it cannot be written, or reads back as something else
   */
  write(file: string, bytes: Uint8Array): void {
    this.#refused.delete(file);
    this.#writeWhole(`${this.#dir}/${file}`, bytes);
  }

  /**
   * Writes the index.
   *
   * @throws {CheckpointError} if it cannot be written, or reads back as something else
   */
  writeIndex(bytes: Uint8Array): void {
    this.#writeWhole(this.indexPath, bytes);
  }

  /**
   * Removes checkpoints; all that can be, even if one cannot.
   *
   * @param entries which
   * @param saved the one that was saved, which messages say
   * @throws {CheckpointError} of the first one that cannot be removed
   */
  remove(entries: readonly CheckpointEntry[], saved: CheckpointEntry): void {
    const errors: CheckpointError[] = [];
    for (const { file } of entries) {
      const path = `${this.#dir}/${file}`;
      try {
        this.#files.remove(path);
      } catch (error) {
        // another store may have removed it
        if (error instanceof Deno.errors.NotFound) continue;
        const action = `prune, after ${saved.file} was saved,`;
        errors.push(checkpointError(action, path, error, "unwritable"));
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Warns through LogTape, or on the console where the program has not configured it. */
  warn(message: string): void {
    if (getConfig() === null) console.warn(`legoml: ${message}`);
    else getLogger(["legoml", "track"]).warn("{message}", { message });
  }

  #warnOnce(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.warn(message);
  }

  #list(): string[] {
    try {
      const found = this.#files.list(this.#dir);
      return found.filter((entry) => !entry.isFolder).map((entry) => entry.name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw checkpointError("list", this.#dir, error, "unreadable");
    }
  }

  async #readIndex(isThere: boolean): Promise<CheckpointIndex | null> {
    if (!isThere) return null;
    try {
      return await decodeIndex(this.#readFile(this.indexPath, MAX_INDEX_BYTES), this.indexPath);
    } catch (error) {
      if (!this.mayFallBack(error)) throw error;
      this.#warnOnce(error.message);
      return null;
    }
  }

  // a file that the index does not know, as after a kill between the two renames
  async #adopt(file: string): Promise<CheckpointEntry | CheckpointError> {
    const path = `${this.#dir}/${file}`;
    try {
      const refused = this.#refused.get(file);
      if (refused !== undefined && refused.bytes === this.#sizeOf(path)) return refused.error;
      return await this.#readHead(file, path);
    } catch (error) {
      if (!this.mayFallBack(error)) throw error;
      if (error.reason !== "absent") this.#warnOnce(`${error.message}; it is left alone`);
      return error;
    }
  }

  // remembers a damaged file, so that it is not read again at every save
  async #readHead(file: string, path: string): Promise<CheckpointEntry> {
    const bytes = this.#readFile(path);
    try {
      return await readHead(bytes, path);
    } catch (error) {
      if (isDamage(error)) this.#refused.set(file, { bytes: bytes.length, error });
      throw error;
    }
  }

  #readFile(path: string, limit = Infinity): Uint8Array {
    const size = limit < Infinity ? this.#sizeOf(path) : 0;
    if (size <= limit) return this.#reading(path, () => this.#files.read(path));
    throw new CheckpointError(
      `Cannot read ${path}: expected at most ${limit} bytes, found ${size}`,
      { path, reason: "damaged" },
    );
  }

  #sizeOf(path: string): number {
    return this.#reading(path, () => this.#files.size(path));
  }

  #reading<T>(path: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw checkpointError("read", path, error, "unreadable");
      }
      throw new CheckpointError(`Cannot read ${path}: ${reasonOf(error)}`, {
        path,
        reason: "absent",
        cause: error,
      });
    }
  }

  #writeWhole(path: string, bytes: Uint8Array): void {
    try {
      writeWhole(comparing(this.#files, bytes), path, bytes);
    } catch (error) {
      if (!(error instanceof TrackError)) throw error;
      const { code, message } = error;
      throw new CheckpointError(message, { path, reason: "unwritable", code, cause: error.cause });
    }
  }

  // a leftover does no harm, so that it stays is no reason to save nothing
  #removeLeftovers(): boolean {
    let clean = true;
    for (const name of this.#list().filter((name) => name.startsWith(".tmp-"))) {
      const path = `${this.#dir}/${name}`;
      try {
        this.#files.remove(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) continue;
        clean = false;
        this.#warnOnce(`Cannot remove the leftover ${path}: ${reasonOf(error)}`);
      }
    }
    return clean;
  }
}

// a disk that takes bytes and loses them must not replace a file that is good
function comparing(files: FileOps, bytes: Uint8Array): FileOps {
  return {
    makeFolder: (path, options) => files.makeFolder(path, options),
    open: (path, mode) => files.open(path, mode),
    rename(from: string, to: string): void {
      if (!files.holds(from, bytes)) {
        throw new Error("expected to read back what was written, found other bytes");
      }
      files.rename(from, to);
    },
    remove: (path) => files.remove(path),
    syncFolder: (path) => files.syncFolder(path),
    read: (path) => files.read(path),
    size: (path) => files.size(path),
    holds: (path, bytes) => files.holds(path, bytes),
    list: (path) => files.list(path),
  };
}

// also when it is there: the program that made it may have been killed before the sync
function makeFolders(files: FileOps, dir: string): void {
  const missing: string[] = [];
  for (let path = dir; !exists(files, path) && path !== folderOf(path); path = folderOf(path)) {
    missing.push(path);
  }
  for (const path of missing.reverse()) {
    files.makeFolder(path, { parents: true });
    files.syncFolder(folderOf(path));
  }
  if (missing.length === 0) files.syncFolder(folderOf(dir));
}

function exists(files: FileOps, path: string): boolean {
  try {
    files.list(path);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}

function isDamage(error: unknown): error is CheckpointError {
  return error instanceof CheckpointError && error.reason === "damaged";
}

function keyOf({ file, seal }: CheckpointEntry): string {
  return `${file} ${seal}`;
}
