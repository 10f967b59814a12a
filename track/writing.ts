/** Writing that leaves no half of a file under its final name. */

import { reasonOf, trackError } from "./errors.ts";
import type { FileOps, OpenFile } from "./file_ops.ts";

let temporaryCount = 0;

/** The folder part of a path. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}

/**
 * Writes a whole file: into a temporary file beside it, then by renaming.
 *
 * Whenever it throws, the path holds what it held before, or the whole new content.
 *
 * @param files the file operations
 * @param path where the file belongs
 * @param bytes its content
 * @throws {TrackError} if it cannot be written
 */
export function writeWhole(files: FileOps, path: string, bytes: Uint8Array): void {
  const folder = folderOf(path);
  const temporary = `${folder}/.tmp-${Deno.pid}-${temporaryCount++}`;
  let made = false;
  try {
    const file = files.open(temporary, "create");
    made = true;
    try {
      file.write(bytes);
      file.sync();
    } finally {
      file.close();
    }
    files.rename(temporary, path);
    made = false;
    files.syncFolder(folder);
  } catch (error) {
    throw trackError("write", path, error, made ? removeAfter(files, temporary) : "");
  }
}

/** Removes what a failed operation left, if it did; returns "" or a note that this failed too. */
export function removeAfter(files: FileOps, path: string): string {
  try {
    files.remove(path);
    return "";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    return `${path} could not be removed either (${reasonOf(error)})`;
  }
}

/**
 * A file that only grows, by whole records.
 *
 * A record that cannot be written whole is taken back, so that the next one does not continue the
 * half of it.
 */
export class AppendFile {
  /** Where the file is. */
  readonly path: string;
  #files: FileOps;
  #file: OpenFile | null = null;
  #length = 0;
  #torn = false;

  /**
   * @param files the file operations
   * @param path the file; it is made at the first record where it does not exist
   * @param length its length in bytes, up to the end of a record
   */
  constructor(files: FileOps, path: string, length: number = 0) {
    this.#files = files;
    this.path = path;
    this.#length = length;
  }

  /** Whether nothing is in it. */
  get empty(): boolean {
    return this.#length === 0;
  }

  /**
   * Adds one or more whole records in one write.
   *
   * @param content lines, each with its line end, or the bytes of records
   * @throws {TrackError} if they cannot be written; then none of them is in the file
   */
  append(content: string | Uint8Array): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    try {
      this.#file ??= this.#files.open(this.path, "append");
      this.#mend(this.#file);
      this.#torn = true;
      this.#file.write(bytes);
      this.#torn = false;
      this.#length += bytes.length;
    } catch (error) {
      throw trackError("append to", this.path, error, this.#takeBack());
    }
  }

  /**
   * Writes what is buffered to the device.
   *
   * @throws {TrackError} if that fails
   */
  sync(): void {
    const file = this.#file;
    if (file === null) return;
    try {
      this.#mend(file);
      file.sync();
    } catch (error) {
      throw trackError("sync", this.path, error);
    }
  }

  /** Writes what is buffered to the device and closes the file; a second call does nothing. */
  close(): void {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    try {
      try {
        this.#mend(file);
        file.sync();
      } finally {
        file.close();
      }
    } catch (error) {
      throw trackError("finish", this.path, error);
    }
  }

  #mend(file: OpenFile): void {
    if (!this.#torn) return;
    file.truncate(this.#length);
    this.#torn = false;
  }

  #takeBack(): string {
    try {
      if (this.#file !== null) this.#mend(this.#file);
      return "";
    } catch (error) {
      return `the torn line could not be taken back either (${reasonOf(error)})`;
    }
  }
}
