/** The file operations of the tracker: one small interface, so that a test can make each fail. */

/** A file open for writing. */
export interface OpenFile {
  /** Writes all bytes at the end of what was written before, or throws. */
  write(bytes: Uint8Array): void;
  /** Shortens the file to a length in bytes; the next write continues there. */
  truncate(length: number): void;
  /** Waits until the written bytes are on the device. */
  sync(): void;
  /** Closes the file. */
  close(): void;
}

/** What `FileOps.list` says of one name in a folder. */
export interface FolderEntry {
  /** The name, without the folder. */
  readonly name: string;
  /** Whether it is a folder itself. */
  readonly isFolder: boolean;
}

/**
 * The file operations that the tracker uses, all synchronous: a record is on its way to the disk
 * when the call that logs it returns, and an error is thrown from that call.
 */
export interface FileOps {
  /** Makes a folder; with `parents` also those above it, and an existing one is fine. */
  makeFolder(path: string, options?: { parents?: boolean }): void;
  /** Opens a new file ("create", an existing one is an error), or continues one ("append"). */
  open(path: string, mode: "create" | "append"): OpenFile;
  /** Gives a file another name at once, replacing the file of that name. */
  rename(from: string, to: string): void;
  /** Removes a file or an empty folder. */
  remove(path: string): void;
  /** Waits until the names in a folder are on the device. */
  syncFolder(path: string): void;
  /** The whole content of a file. */
  read(path: string): Uint8Array;
  /** The names in a folder. */
  list(path: string): FolderEntry[];
}

/** File operations on the real file system. */
export const denoFileOps: FileOps = {
  makeFolder(path: string, options: { parents?: boolean } = {}): void {
    Deno.mkdirSync(path, { recursive: options.parents ?? false });
  },
  open(path: string, mode: "create" | "append"): OpenFile {
    const options: Deno.OpenOptions = mode === "create"
      ? { write: true, createNew: true }
      : { append: true, create: true };
    return new DenoFile(Deno.openSync(path, options));
  },
  rename: Deno.renameSync,
  remove(path: string): void {
    Deno.removeSync(path);
  },
  syncFolder,
  read: Deno.readFileSync,
  list(path: string): FolderEntry[] {
    return Array.from(Deno.readDirSync(path), ({ name, isDirectory }) => ({
      name,
      isFolder: isDirectory,
    }));
  },
};

class DenoFile implements OpenFile {
  #file: Deno.FsFile;

  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  write(bytes: Uint8Array): void {
    let written = 0;
    while (written < bytes.length) written += this.#file.writeSync(bytes.subarray(written));
  }

  truncate(length: number): void {
    this.#file.truncateSync(length);
    this.#file.seekSync(length, Deno.SeekMode.Start);
  }

  sync(): void {
    this.#file.syncSync();
  }

  close(): void {
    this.#file.close();
  }
}

// Windows cannot sync a folder, and a rename is atomic without
function syncFolder(path: string): void {
  if (Deno.build.os === "windows") return;
  using folder = Deno.openSync(path, { read: true });
  folder.syncSync();
}
