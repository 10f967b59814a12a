/** gzip and deflate with a cap on what comes out, so that a small file cannot fill the memory. */

/** Why {@linkcode gunzip} stopped. */
export class GzipError extends SyntaxError {
  /** "GzipError". */
  override readonly name = "GzipError";

  /** Bytes that had been unpacked. */
  readonly unpackedBytes: number;

  /**
   * Makes the error.
   *
   * @param message what could not be unpacked
   * @param unpackedBytes bytes that had been unpacked
   * @param options the cause
   */
  constructor(message: string, unpackedBytes: number, options?: ErrorOptions) {
    super(message, options);
    this.unpackedBytes = unpackedBytes;
  }
}

/**
 * Whether data starts as a gzip stream does.
 *
 * @param bytes the data
 * @returns true when the first two bytes are 0x1f 0x8b
 */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Unpacks a gzip stream.
 *
 * @param bytes the packed data, one gzip member
 * @param limit most bytes that may come out, or a function that reads it from the first bytes; it
 * is asked again with more of them while it returns undefined
 * @param format `deflate-raw` for a stream without header and checksum. Default: `gzip`
 * @returns the unpacked data, checked against the stream's checksum
 * @throws {GzipError} when the stream is corrupt, truncated, or gives more than the limit
 *
 * @example
 * ```ts ignore
 * const text = new TextDecoder().decode(await gunzip(packed, 1 << 20));
 * ```
 */
export async function gunzip(
  bytes: Uint8Array,
  limit: number | ((head: Uint8Array) => number | undefined),
  format: "gzip" | "deflate-raw" = "gzip",
): Promise<Uint8Array<ArrayBuffer>> {
  const stream = piecesOf(bytes as Uint8Array<ArrayBuffer>)
    .pipeThrough(new DecompressionStream(format));
  const reader = stream.getReader();
  let buffer = new Uint8Array(64 * 1024);
  let length = 0;
  let cap = typeof limit === "number" ? limit : undefined;
  try {
    while (true) {
      const { done, value } = await readChunk(reader, length, format);
      if (done) break;
      if (length + value.length > buffer.length) {
        // A length read from the data itself is exact; a plain limit is not worth reserving
        const claimed = typeof limit === "function" ? cap ?? 0 : 0;
        buffer = grown(buffer, length, Math.max(length + value.length, claimed));
      }
      buffer.set(value, length);
      length += value.length;
      if (typeof limit === "function") cap ??= limit(buffer.subarray(0, length));
      if (cap !== undefined && length > cap) {
        throw new GzipError(
          `Cannot unpack ${format} data as it must give at most ${cap} bytes: got more`,
          cap,
        );
      }
    }
  } catch (error) {
    await reader.cancel().catch(() => {}); // a stream that failed rejects its own cancel
    throw error;
  }
  return length === buffer.length ? buffer : buffer.slice(0, length);
}

// Whatever is written at once is unpacked at once: a piece can give a thousand times its length before
// the limit is asked
const pieceLength = 1024;

function piecesOf(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream({
    pull(controller): void {
      if (at < bytes.length) controller.enqueue(bytes.subarray(at, at += pieceLength));
      else controller.close();
    },
  });
}

async function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
  length: number,
  format: string,
): Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>> {
  try {
    return await reader.read();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GzipError(`Cannot unpack ${format} data: ${reason}`, length, { cause });
  }
}

function grown(
  buffer: Uint8Array<ArrayBuffer>,
  length: number,
  wanted: number,
): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(
    Math.max(wanted, Math.min(2 * buffer.length, buffer.length + 2 ** 26)),
  );
  larger.set(buffer.subarray(0, length));
  return larger;
}
