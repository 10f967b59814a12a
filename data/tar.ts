/** Files of a tar archive (POSIX ustar), read from memory. */

/** Data that is not a tar archive, with the byte where it goes wrong. */
export class TarError extends SyntaxError {
  /** "TarError". */
  override readonly name = "TarError";

  /** Byte of the unpacked archive, from 0. */
  readonly offset: number;

  /**
   * Makes the error; the byte is added to the message.
   *
   * @param message what is wrong
   * @param offset byte of the unpacked archive, from 0
   */
  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`);
    this.offset = offset;
  }
}

const block = 512;

/**
 * Reads a tar archive.
 *
 * @param bytes the whole archive, not packed
 * @param what how messages begin, as in `Cannot read tar "a.tar"`
 * @returns the regular files by their names, as views of `bytes`
 * @throws {TarError} when a header's checksum is wrong, the archive is cut short, or it has entries
 * other than files and folders
 */
export function readTar(bytes: Uint8Array, what: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (let at = 0;;) {
    if (at + block > bytes.length) {
      throw new TarError(`${what} as it must end with a block of zeros: got its end`, at);
    }
    const header = bytes.subarray(at, at + block);
    if (header.every((byte) => byte === 0)) return files;
    checkHeader(header, what, at);
    const size = octal(header, 124, 12, what, at);
    const start = at + block;
    if (size > bytes.length - start) {
      throw new TarError(
        `${what} as ${nameOf(header)} must have ${size} bytes: got ${bytes.length - start}`,
        at,
      );
    }
    const type = String.fromCharCode(header[156]);
    if (type === "0" || type === "\0") {
      files.set(nameOf(header), bytes.subarray(start, start + size));
    } else if (!"5xg".includes(type)) {
      throw new TarError(
        `${what} as entries must be files or folders: got ${nameOf(header)} of type ` +
          JSON.stringify(type),
        at,
      );
    }
    at = start + Math.ceil(size / block) * block;
  }
}

// The sum of the header's bytes, its own field counted as spaces
function checkHeader(header: Uint8Array, what: string, at: number): void {
  const expected = octal(header, 148, 8, what, at);
  const sum = header.reduce((s, byte, i) => s + (i >= 148 && i < 156 ? 32 : byte), 0);
  if (sum === expected) return;
  throw new TarError(
    `${what} as a header must have the checksum ${sum}: got ${expected}`,
    at,
  );
}

function octal(header: Uint8Array, from: number, length: number, what: string, at: number): number {
  const text = textOf(header, from, length).trim();
  if (/^[0-7]{1,12}$/.test(text)) return parseInt(text, 8);
  throw new TarError(
    `${what} as a header must have octal digits: got ${JSON.stringify(text)}`,
    at + from,
  );
}

function nameOf(header: Uint8Array): string {
  const name = textOf(header, 0, 100);
  const prefix = textOf(header, 257, 5) === "ustar" ? textOf(header, 345, 155) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function textOf(header: Uint8Array, from: number, length: number): string {
  const field = header.subarray(from, from + length);
  const end = field.indexOf(0);
  return new TextDecoder("latin1").decode(end < 0 ? field : field.subarray(0, end));
}
