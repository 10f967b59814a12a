import type { FileOps, FolderEntry, OpenFile } from "../../track/file_ops.ts";

/** What is thrown where the program is killed. */
export class Killed extends Error {}

/** At which operation the program is killed, from 1, and how far that operation gets. */
export interface CrashPlan {
  at: number;
  kind: "before" | "half" | "after";
}

/**
 * What survives of what was not synced: all of it, as when a program is killed; none of it; or what
 * chance picks, which is how a machine without power may leave a disk: names before contents,
 * contents in part or as zeros, a later rename without an earlier one.
 */
export type Survival = "all" | "none" | (() => number);

/** What a disk that lies does not do although it reports success. */
export type Lie = "sync" | "syncFolder";

interface Node {
  bytes: Uint8Array;
  /** The content that is on the device. */
  synced: Uint8Array;
}

type Names = Map<string, Node | "folder">;

interface Pending {
  readonly folder: string;
  apply(names: Names): void;
}

/** A file system in memory that knows what is on the device, and can be cut off at any operation. */
export class CrashingFiles implements FileOps {
  /** The operations so far. */
  readonly log: string[] = [];
  plan: CrashPlan | null = null;
  readonly #lies: readonly Lie[];
  readonly #names: Names;
  #durable: Names;
  #pending: Pending[] = [];
  #dead = false;

  constructor(names: Names = new Map([["/", "folder"]]), lies: readonly Lie[] = []) {
    this.#names = names;
    this.#durable = new Map(names);
    this.#lies = lies;
  }

  /** The file system as it is found after the crash. */
  afterCrash(survival: Survival): CrashingFiles {
    const survives = typeof survival === "function"
      ? () => survival() < 0.5
      : () => survival === "all";
    const names: Names = new Map(this.#durable);
    for (const change of this.#pending) if (survives()) change.apply(names);
    const found: Names = new Map();
    for (const [path, node] of names) {
      // what lies in a folder whose own name is lost is lost
      if (path !== "/" && names.get(folderOf(path)) !== "folder") continue;
      if (node === "folder") found.set(path, node);
      else {
        const bytes = contentAfter(node, survival);
        found.set(path, { bytes, synced: bytes });
      }
    }
    return new CrashingFiles(found, this.#lies);
  }

  makeFolder(path: string): void {
    this.#do("makeFolder", path, () => {
      if (this.#names.has(path)) return;
      this.#change(path, (names) => names.set(path, "folder"));
    });
  }

  open(path: string, mode: "create" | "append"): OpenFile {
    const node: Node = { bytes: new Uint8Array(), synced: new Uint8Array() };
    this.#do("open", path, () => {
      if (mode === "append") throw new Error("not used by checkpoints");
      if (this.#names.has(path)) throw new Deno.errors.AlreadyExists(path);
      this.#change(path, (names) => names.set(path, node));
    });
    const write = (bytes: Uint8Array) => {
      node.bytes = new Uint8Array([...node.bytes, ...bytes]);
    };
    return {
      write: (bytes) =>
        this.#do(
          "write",
          path,
          () => write(bytes),
          () => write(bytes.subarray(0, bytes.length >> 1)),
        ),
      truncate: () => {
        throw new Error("not used by checkpoints");
      },
      sync: () =>
        this.#do("sync", path, () => {
          if (!this.#lies.includes("sync")) node.synced = node.bytes;
        }),
      close: () => this.#do("close", path, () => {}),
    };
  }

  rename(from: string, to: string): void {
    this.#do("rename", to, () => {
      const node = this.#file(from);
      this.#change(to, (names) => {
        names.delete(from);
        names.set(to, node);
      });
    });
  }

  remove(path: string): void {
    this.#do("remove", path, () => {
      this.#file(path);
      this.#change(path, (names) => names.delete(path));
    });
  }

  syncFolder(path: string): void {
    this.#do("syncFolder", path, () => {
      if (this.#lies.includes("syncFolder")) return;
      for (const change of this.#pending) {
        if (change.folder === path) change.apply(this.#durable);
      }
      this.#pending = this.#pending.filter((change) => change.folder !== path);
    });
  }

  read(path: string): Uint8Array {
    this.#do("read", path, () => {});
    return this.#file(path).bytes;
  }

  size(path: string): number {
    return this.read(path).length;
  }

  holds(path: string, bytes: Uint8Array): boolean {
    const found = this.read(path);
    return found.length === bytes.length && found.every((byte, i) => byte === bytes[i]);
  }

  list(path: string): FolderEntry[] {
    this.#do("list", path, () => {});
    if (this.#names.get(path) !== "folder") throw new Deno.errors.NotFound(path);
    return [...this.#names].filter(([name]) => name !== "/" && folderOf(name) === path).map((
      [name, node],
    ) => ({ name: name.slice(name.lastIndexOf("/") + 1), isFolder: node === "folder" }));
  }

  #file(path: string): Node {
    const node = this.#names.get(path);
    if (node === undefined || node === "folder") throw new Deno.errors.NotFound(path);
    return node;
  }

  #change(path: string, apply: (names: Names) => void): void {
    apply(this.#names);
    this.#pending.push({ folder: folderOf(path), apply });
  }

  #do(name: string, path: string, work: () => void, half: () => void = () => {}): void {
    if (this.#dead) throw new Killed();
    this.log.push(`${name} ${path}`);
    const { plan } = this;
    if (plan?.at !== this.log.length) return work();
    if (plan.kind === "half") half();
    if (plan.kind === "after") work();
    this.#dead = true;
    throw new Killed();
  }
}

function contentAfter({ bytes, synced }: Node, survival: Survival): Uint8Array {
  if (survival === "all" || bytes === synced) return bytes;
  if (survival === "none") return synced;
  const length = Math.floor(survival() * (bytes.length + 1));
  const part = bytes.slice(0, length);
  const [whole, zeros] = [survival() < 0.3, survival() < 0.3];
  if (whole) return bytes;
  return zeros ? part.fill(0, length >> 1) : part;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
