/** Which way of doing a kernel measured best on an adapter: in memory, and in a file of the user's cache folder. */

import { environment, isGranted, writeError } from "./host.ts";

/** The way that measured best. */
export interface TuneChoice {
  /** Name of the variant. */
  readonly variant: string;
  /** Hash of its shader: where the generator has changed, the choice no longer counts. */
  readonly code: string;
}

type Choices = Record<string, TuneChoice>;

interface TuneFile {
  readonly version: 1;
  readonly adapters: Record<string, Choices>;
}

/** Two words of FNV-1a from two bases, as 16 hexadecimal digits. */
export function hashOf(text: string): string {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b ^ text.charCodeAt(i), 0x01000193) ^ (b >>> 15);
  }
  return [a, b].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

/** Measured choices of one adapter. */
export class TuneStore {
  readonly #adapter: string;
  #file: string | null;
  #choices: Choices | null = null;
  #changed = false;

  /**
   * @param adapter what the choices hold for: adapter, driver, and what kernels rely on
   * @param file where they are kept between runs, where the program may read and write it; null for nowhere
   */
  constructor(adapter: string, file: string | null) {
    this.#adapter = adapter;
    this.#file = file !== null && mayUse(file) ? file : null;
  }

  /** Where the choices are kept between runs; null for nowhere. */
  get file(): string | null {
    return this.#file;
  }

  /** What was measured for the kernel of this key. */
  get(key: string): TuneChoice | undefined {
    return this.#loaded()[hashOf(key)];
  }

  /** Remembers what was measured. */
  set(key: string, choice: TuneChoice): void {
    this.#loaded()[hashOf(key)] = choice;
    this.#changed = true;
  }

  /** Writes new choices into the file, beside those of other adapters and programs. */
  save(): void {
    if (!this.#changed || this.#file === null) return;
    this.#changed = false;
    const content = this.#read();
    content.adapters[this.#adapter] = { ...content.adapters[this.#adapter], ...this.#choices };
    try {
      writeWhole(this.#file, `${JSON.stringify(content, null, 1)}\n`);
    } catch (error) {
      this.#giveUp("written", error);
    }
  }

  #loaded(): Choices {
    return this.#choices ??= { ...this.#read().adapters[this.#adapter] };
  }

  #read(): TuneFile {
    const empty: TuneFile = { version: 1, adapters: {} };
    if (this.#file === null) return empty;
    let text: string;
    try {
      text = Deno.readTextFileSync(this.#file);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) this.#giveUp("read", error);
      return empty;
    }
    const content = parse(text);
    if (content !== null) return content;
    writeError(`legoml: ${this.#file} is no record of measured kernels and will be replaced`);
    this.#changed = true;
    return empty;
  }

  #giveUp(what: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    writeError(
      `legoml: ${this.#file} cannot be ${what}, measured kernels are forgotten: ${reason}`,
    );
    this.#file = null;
  }
}

/** The content of a file, or null where it is broken; a file of another version counts as empty. */
function parse(text: string): TuneFile | null {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(content) || typeof content.version !== "number") return null;
  if (content.version !== 1) return { version: 1, adapters: {} };
  const { adapters } = content;
  const isChoice = (c: unknown) =>
    isRecord(c) && typeof c.variant === "string" && typeof c.code === "string";
  const isWhole = isRecord(adapters) &&
    Object.values(adapters).every((a) => isRecord(a) && Object.values(a).every(isChoice));
  return isWhole ? content as unknown as TuneFile : null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function folderOf(file: string): string {
  return file.replace(/[/\\][^/\\]*$/, "");
}

function mayUse(file: string): boolean {
  return isGranted({ name: "read", path: file }) &&
    isGranted({ name: "write", path: folderOf(file) });
}

/** Into a file beside it, then by renaming: a reader sees the old content or the new one. */
function writeWhole(file: string, text: string): void {
  Deno.mkdirSync(folderOf(file), { recursive: true });
  const temporary = `${file}.${crypto.randomUUID()}`;
  try {
    Deno.writeTextFileSync(temporary, text);
    Deno.renameSync(temporary, file);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch (left) {
      if (!(left instanceof Deno.errors.NotFound)) throw new AggregateError([error, left]);
    }
    throw error;
  }
}

/** The file in the user's cache folder; null where the program may not ask where that is. */
export function tuneFile(): string | null {
  const os = (globalThis as { Deno?: typeof Deno }).Deno?.build.os;
  if (os === undefined) return null;
  const base = os === "windows"
    ? environment("LOCALAPPDATA")
    : os === "darwin"
    ? inHome("Library/Caches")
    : environment("XDG_CACHE_HOME") || inHome(".cache");
  return base ? `${base}/legoml/tune.json` : null;
}

function inHome(folder: string): string | undefined {
  const home = environment("HOME");
  return home ? `${home}/${folder}` : undefined;
}

const stores = new Map<string, TuneStore>();

/** The choices for an adapter that all its devices share; null where `LEGOML_TUNE=0` turns measuring off. */
export function tuneStoreFor(adapter: string): TuneStore | null {
  if (environment("LEGOML_TUNE") === "0") return null;
  let store = stores.get(adapter);
  if (store === undefined) stores.set(adapter, store = new TuneStore(adapter, tuneFile()));
  return store;
}
