/** The files that a run keeps beside its logs. */

import { trackError } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";
import { toJsonValue } from "./json_values.ts";
import { folderOf, writeWhole } from "./writing.ts";

/** The folder `artifacts`, made with the first file in it. */
export class ArtifactFolder {
  #files: FileOps;
  #dir: string;
  #made = new Set<string>();

  /**
   * @param files the file operations
   * @param dir the folder
   */
  constructor(files: FileOps, dir: string) {
    this.#files = files;
    this.#dir = dir;
  }

  /** Writes a file, whole or not at all, in place of one of the same name; gives its path. */
  save(name: string, data: string | Uint8Array | object): string {
    const path = `${this.#dir}/${name}`;
    const bytes = toBytes(data);
    this.#makeFolder(folderOf(path));
    writeWhole(this.#files, path, bytes);
    return path;
  }

  #makeFolder(path: string): void {
    if (this.#made.has(path)) return;
    try {
      this.#files.makeFolder(path, { parents: true });
    } catch (error) {
      throw trackError("make folder", path, error);
    }
    this.#made.add(path);
  }
}

function toBytes(data: string | Uint8Array | object): Uint8Array {
  if (data instanceof Uint8Array) return data;
  const text = typeof data === "string" ? data : JSON.stringify(toJsonValue(data, "data"), null, 2);
  return new TextEncoder().encode(typeof data === "string" ? text : `${text}\n`);
}
