/**
 * Files from the network: mirrors, progress, checksum, and a cache folder that never holds half a
 * file.
 */

import { getLogger } from "@logtape/logtape";

const logger = getLogger(["legoml", "data"]);

/** How far a download is. */
export interface DownloadProgress {
  /** Name of the file, without its folder. */
  readonly file: string;
  /** The mirror's address of it. */
  readonly url: string;
  /** Bytes that have come. */
  readonly loadedBytes: number;
  /** Bytes of the whole file, when known. */
  readonly totalBytes?: number;
}

/** Options of {@linkcode download}. */
export interface DownloadOptions {
  /** Addresses of the same file, tried in this order. */
  readonly urls: readonly string[];
  /** Where the file goes; its folder is made. */
  readonly path: string;
  /** SHA-256 of the file, 64 hex digits. */
  readonly sha256?: string;
  /** Called as data comes. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Milliseconds without any data after which a mirror is given up. Default: 30,000. */
  readonly stallMs?: number;
  /** Most bytes that are accepted. Default: 2 GiB. */
  readonly maxBytes?: number;
}

/** What went wrong with one mirror. */
export interface DownloadAttempt {
  /** The mirror's address. */
  readonly url: string;
  /** Why it gave no file. */
  readonly reason: string;
}

/** A file that no mirror gave. */
export class DownloadError extends Error {
  /** "DownloadError". */
  override readonly name = "DownloadError";

  /** Every mirror with its reason, in the order in which they were tried. */
  readonly attempts: readonly DownloadAttempt[];

  /**
   * Makes the error; every mirror gets a line of the message.
   *
   * @param path where the file should have gone
   * @param attempts every mirror with its reason
   * @param note what else must be known
   */
  constructor(path: string, attempts: readonly DownloadAttempt[], note = "") {
    const list = attempts.map(({ url, reason }) => `\n  ${url}: ${reason}`).join("");
    super(`Cannot download "${path}"${note} as no mirror gave it:${list}`);
    this.attempts = attempts;
  }
}

/**
 * The folder that downloaded data sets are kept in.
 *
 * @returns `$LEGOML_CACHE`, else `$XDG_CACHE_HOME/legoml/datasets`, else
 * `$HOME/.cache/legoml/datasets`
 * @throws {Error} when none of the three variables is set
 *
 * @example
 * ```ts ignore
 * console.log(cacheFolder()); // /home/me/.cache/legoml/datasets
 * ```
 */
export function cacheFolder(): string {
  const own = Deno.env.get("LEGOML_CACHE");
  if (own) return own;
  const xdg = Deno.env.get("XDG_CACHE_HOME");
  if (xdg) return `${xdg}/legoml/datasets`;
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE");
  if (home) return `${home}/.cache/legoml/datasets`;
  throw new Error(
    "Cannot find a cache folder as one of LEGOML_CACHE, XDG_CACHE_HOME and HOME must be set",
  );
}

/**
 * Makes sure that a file is on disk, downloading it where it is not.
 *
 * A file that is there already is checked too: when its SHA-256 is wrong it is deleted and fetched
 * again. New data goes to a temporary file that is renamed once it is whole and checked, so that
 * `path` never holds a part of a file.
 *
 * @param options addresses, path, checksum, progress
 * @returns the path
 * @throws {RangeError} when there is no address, or `sha256` is not 64 hex digits
 * @throws {DownloadError} when no mirror gave the file, with each one's reason
 *
 * @example
 * ```ts ignore
 * await download({
 *   urls: ["https://example.com/a.bin", "https://example.org/a.bin"],
 *   path: "cache/a.bin",
 *   onProgress: ({ file, loadedBytes }) => console.log(file, loadedBytes),
 * });
 * ```
 */
export async function download(options: DownloadOptions): Promise<string> {
  const { urls, path, sha256 } = options;
  if (urls.length === 0) throw new RangeError(`Cannot download "${path}" as there is no address`);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new RangeError(
      `Cannot download "${path}" as sha256 must be 64 hex digits: got "${sha256}"`,
    );
  }
  const note = await checkExisting(path, sha256);
  if (note === undefined) return path;

  const attempts: DownloadAttempt[] = [];
  for (const url of urls) {
    const data = await tryMirror(url, options);
    if (!(data instanceof Uint8Array)) {
      attempts.push({ url, reason: data });
      logger.warn("Mirror {url} gave no file: {reason}", { url, reason: data });
      continue;
    }
    await writeWhole(path, data);
    logger.info("Downloaded {path} from {url}: {bytes} bytes", { path, url, bytes: data.length });
    return path;
  }
  throw new DownloadError(path, attempts, note);
}

/**
 * SHA-256 of bytes.
 *
 * @param bytes any data
 * @returns 64 lower-case hex digits
 */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

// Undefined when the file is there and right; else what a failing download has to say about it
async function checkExisting(
  path: string,
  sha256: string | undefined,
): Promise<string | undefined> {
  let bytes: Uint8Array;
  try {
    if (sha256 === undefined) {
      await Deno.stat(path);
      return undefined;
    }
    bytes = await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
  const actual = await sha256Hex(bytes);
  if (actual === sha256.toLowerCase()) {
    logger.debug("Found {path} in the cache", { path });
    return undefined;
  }
  await Deno.remove(path);
  logger.warn("Deleted {path} as its SHA-256 must be {sha256}: got {actual}", {
    path,
    sha256,
    actual,
  });
  return ` (the file that was there had SHA-256 ${actual} in place of ${sha256} and was deleted)`;
}

async function tryMirror(
  url: string,
  options: DownloadOptions,
): Promise<Uint8Array<ArrayBuffer> | string> {
  let data: Uint8Array<ArrayBuffer>;
  try {
    data = await fetchBytes(url, options);
  } catch (error) {
    // A callback's own error is the caller's, and stays so
    if (error instanceof CallbackFailure) throw error.cause;
    return reasonOf(error);
  }
  const actual = await sha256Hex(data);
  if (options.sha256 === undefined || actual === options.sha256.toLowerCase()) return data;
  return `SHA-256 must be ${options.sha256}: got ${actual} (${data.length} bytes, deleted)`;
}

// `fetch` only says that it failed: the reason is in its innermost cause, after the address once
// more
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause !== undefined) return reasonOf(error.cause);
  return error.message.replace(/^error sending request for url \([^)]*\): /, "");
}

class CallbackFailure extends Error {
  constructor(cause: unknown) {
    super("onProgress failed", { cause });
  }
}

async function fetchBytes(
  url: string,
  options: DownloadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const { stallMs = 30_000, maxBytes = 2 ** 31, path } = options;
  const abort = new AbortController();
  const stalled = new Error(`no data came for ${stallMs} ms`);
  let timer = setTimeout(() => abort.abort(stalled), stallMs);
  try {
    const response = await fetch(url, { signal: abort.signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new Error(`HTTP ${response.status} ${response.statusText}`.trim());
    }
    const totalBytes = plainLength(response);
    const file = path.replace(/^.*[/\\]/, "");
    const chunks: Uint8Array[] = [];
    let loadedBytes = 0;
    for await (const chunk of response.body) {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(stalled), stallMs);
      loadedBytes += chunk.length;
      if (loadedBytes > maxBytes) throw new Error(`more than ${maxBytes} bytes came`);
      chunks.push(chunk);
      report(options, { file, url, loadedBytes, totalBytes });
    }
    if (totalBytes !== undefined && totalBytes !== loadedBytes) {
      throw new Error(`${totalBytes} bytes were announced: got ${loadedBytes}`);
    }
    return concat(chunks, loadedBytes);
  } finally {
    clearTimeout(timer);
  }
}

// With a content encoding the header counts packed bytes, which are not what arrives here
function plainLength(response: Response): number | undefined {
  const text = response.headers.get("content-length");
  return text === null || response.headers.has("content-encoding") ? undefined : Number(text);
}

function report(options: DownloadOptions, progress: DownloadProgress): void {
  try {
    options.onProgress?.(progress);
  } catch (error) {
    throw new CallbackFailure(error);
  }
}

function concat(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

async function writeWhole(path: string, data: Uint8Array): Promise<void> {
  const slash = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  if (slash > 0) await Deno.mkdir(path.slice(0, slash), { recursive: true });
  const temporary = `${path}.${crypto.randomUUID()}.part`;
  try {
    await writeSynced(temporary, data);
    await Deno.rename(temporary, path);
  } catch (error) {
    await removeIfThere(temporary);
    throw error;
  }
}

async function writeSynced(path: string, data: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  for (let at = 0; at < data.length;) at += await file.write(data.subarray(at));
  await file.sync();
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
