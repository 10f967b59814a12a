import type { FileOps, FolderEntry, OpenFile } from "../../track/file_ops.ts";

/**
 * When an operation fails: before its work, after half of the bytes of a write, or after its work.
 * Making a folder, opening and reading a file either happen or fail, so "after" means "before" for
 * them. "short" writes half of the bytes and reports success; other operations are not hurt by it.
 */
export type Fault = "before" | "half" | "after" | "short";

/** When an operation fails, and how. */
export interface FaultPlan {
  /** Number of the operation, from 1. */
  at: number;
  kind: Fault;
  /** What the system calls the reason; by default "ENOSPC". */
  code?: "ENOSPC" | "EACCES" | "EIO";
  /** Whether every later write fails too, as on a full disk; renaming and removing still work. */
  lasting?: boolean;
}

/** What can go wrong at an operation. */
export const FAULTS: readonly Omit<FaultPlan, "at">[] = [
  { kind: "before", code: "ENOSPC" },
  { kind: "before", code: "EACCES" },
  { kind: "before", code: "EIO" },
  { kind: "half", code: "ENOSPC" },
  { kind: "after", code: "EIO" },
  { kind: "short" },
];

const MESSAGES = {
  ENOSPC: "No space left on device (os error 28)",
  EACCES: "Permission denied (os error 13)",
  EIO: "Input/output error (os error 5)",
};

/** A file system in memory that can fail at any operation. */
export class MemoryFiles implements FileOps {
  readonly files = new Map<string, Uint8Array>();
  readonly folders = new Set<string>(["/"]);
  /** The operations so far, such as "write /runs/x/meta.json". */
  readonly log: string[] = [];
  openFiles = 0;
  plan: FaultPlan | null;
  /** Whether reading and listing are operations that count and can fail. */
  countReads = false;

  constructor(plan: FaultPlan | null = null) {
    this.plan = plan;
  }

  text(path: string): string {
    return new TextDecoder().decode(this.read(path));
  }

  makeFolder(path: string, options: { parents?: boolean } = {}): void {
    this.#do("makeFolder", path, () => {
      if (this.folders.has(path)) {
        if (options.parents) return;
        throw new Deno.errors.AlreadyExists(`File exists (os error 17): mkdir '${path}'`);
      }
      for (let at = path; !this.folders.has(at) && at !== ""; at = at.replace(/\/[^/]*$/, "")) {
        this.folders.add(at);
      }
    });
  }

  open(path: string, mode: "create" | "append"): OpenFile {
    this.#do("open", path, () => {
      this.#checkFolder(path);
      if (!this.files.has(path)) this.files.set(path, new Uint8Array());
      else if (mode === "create") throw new Deno.errors.AlreadyExists(path);
    });
    this.openFiles++;
    return {
      write: (bytes) => this.#write(path, bytes),
      truncate: (length) =>
        this.#do("truncate", path, () => this.files.set(path, this.#get(path).slice(0, length))),
      sync: () => this.#do("sync", path, () => {}),
      close: () => {
        this.openFiles--;
        this.#do("close", path, () => {});
      },
    };
  }

  rename(from: string, to: string): void {
    this.#do("rename", to, () => {
      this.files.set(to, this.#get(from));
      this.files.delete(from);
    });
  }

  remove(path: string): void {
    this.#do("remove", path, () => {
      if (this.files.delete(path)) return;
      if ([...this.files.keys(), ...this.folders].some((name) => name.startsWith(`${path}/`))) {
        throw systemError("ENOTEMPTY", "Directory not empty (os error 39)");
      }
      if (!this.folders.delete(path)) throw new Deno.errors.NotFound(path);
    });
  }

  syncFolder(path: string): void {
    this.#do("syncFolder", path, () => {});
  }

  read(path: string): Uint8Array {
    if (this.countReads) this.#do("read", path, () => {});
    return this.#get(path);
  }

  size(path: string): number {
    if (this.countReads) this.#do("size", path, () => {});
    return this.#get(path).length;
  }

  holds(path: string, bytes: Uint8Array): boolean {
    if (this.countReads) this.#do("holds", path, () => {});
    const found = this.#get(path);
    return found.length === bytes.length && found.every((byte, i) => byte === bytes[i]);
  }

  #get(path: string): Uint8Array {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw new Deno.errors.NotFound(`No such file: ${path}`);
    return bytes;
  }

  list(path: string): FolderEntry[] {
    if (this.countReads) this.#do("list", path, () => {});
    if (!this.folders.has(path)) throw new Deno.errors.NotFound(`No such folder: ${path}`);
    const inside = (name: string) => name.replace(/[^/]*$/, "") === `${path}/`;
    const entry = (isFolder: boolean) => (name: string) => ({
      name: name.slice(path.length + 1),
      isFolder,
    });
    return [
      ...[...this.folders].filter(inside).map(entry(true)),
      ...[...this.files.keys()].filter(inside).map(entry(false)),
    ];
  }

  #checkFolder(path: string): void {
    const folder = path.replace(/\/[^/]*$/, "");
    if (!this.folders.has(folder)) throw new Deno.errors.NotFound(`No such folder: ${folder}`);
  }

  #write(path: string, bytes: Uint8Array): void {
    const grow = (more: Uint8Array) => {
      const before = this.#get(path);
      const after = new Uint8Array(before.length + more.length);
      after.set(before);
      after.set(more, before.length);
      this.files.set(path, after);
    };
    this.#do("write", path, () => grow(bytes), () => grow(bytes.slice(0, bytes.length >> 1)));
  }

  #do(name: string, path: string, work: () => void, half: () => void = () => {}): void {
    this.log.push(`${name} ${path}`);
    const { plan } = this;
    const hit = plan !== null && plan.at === this.log.length;
    const still = plan?.lasting && this.log.length > plan.at && name === "write";
    if (!hit && !still) return work();
    if (plan.kind === "short") return name === "write" ? half() : work();
    if (plan.kind === "half") half();
    if (plan.kind === "after" && name !== "makeFolder" && name !== "open") work();
    const { code = "ENOSPC" } = plan;
    throw systemError(code, MESSAGES[code]);
  }
}

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
