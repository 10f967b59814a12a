/** Zip archives in memory: entries that are stored or deflated, without zip64 and encryption. */

import { gunzip, GzipError } from "./gzip.ts";

/** A file of an archive. */
export interface ZipEntry {
  /** Path inside the archive. */
  readonly name: string;
  /** What it holds. */
  readonly bytes: Uint8Array;
}

const [localMark, centralMark, endMark] = [0x04034b50, 0x02014b50, 0x06054b50];
const localLength = 30;
// Deflate reaches 1,032 to 1; an entry that claims more than this lies
const maxRatio = 1100;
const utf8Flag = 0x800;
// 1 January 1980, so that equal contents give equal bytes
const dosDate = 0x21;

/**
 * Reads an archive.
 *
 * @param bytes the whole archive
 * @param maxBytes most bytes of all unpacked entries
 * @param refuse throws with the reason
 * @returns its entries, in the order of its directory
 */
export async function readZip(
  bytes: Uint8Array,
  maxBytes: number,
  refuse: (reason: string) => never,
): Promise<ZipEntry[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view, refuse);
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (count === 0xffff || start === 0xffffffff) refuse("zip64 archives are not supported");
  if (view.getUint32(end + 4, true) !== 0 || view.getUint16(end + 8, true) !== count) {
    refuse("archives of several disks are not supported");
  }
  if (start + view.getUint32(end + 12, true) !== end) refuse("its directory must lie at its end");
  const entries: ZipEntry[] = [];
  let left = maxBytes;
  let room = start;
  for (let i = 0, at = start; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== centralMark) {
      refuse(`its directory must have ${count} entries: got ${i}`);
    }
    const record = readRecord(bytes, view, at, end, refuse);
    left -= record.size;
    if (left < 0) refuse(`it may unpack to at most ${maxBytes} bytes: got more`);
    // Entries that lie over each other would unpack to any multiple of what is there
    room -= localLength + record.packed;
    if (room < 0) refuse(`its entries must have at most the ${start} bytes before the directory`);
    entries.push({ name: record.name, bytes: await unpack(bytes, view, record, start, refuse) });
    at = record.next;
  }
  return entries;
}

// At the end, before a comment of up to 65,535 bytes
function findEnd(view: DataView, refuse: (reason: string) => never): number {
  const last = view.byteLength - 22;
  for (let at = last; at >= Math.max(0, last - 65_535); at--) {
    if (view.getUint32(at, true) !== endMark) continue;
    if (at + 22 + view.getUint16(at + 20, true) === view.byteLength) return at;
  }
  return refuse("it must end with a zip directory");
}

interface Record {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly local: number;
  readonly next: number;
}

function readRecord(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  refuse: (reason: string) => never,
): Record {
  const nameLength = view.getUint16(at + 28, true);
  const next = at + 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  if (next > end) refuse("an entry of its directory is cut short");
  const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
  const [packed, size, local] = [20, 24, 42].map((by) => view.getUint32(at + by, true));
  if ([packed, size, local].includes(0xffffffff)) refuse(`zip64 is not supported: entry "${name}"`);
  if ((view.getUint16(at + 8, true) & 1) !== 0) refuse(`entry "${name}" is encrypted`);
  const method = view.getUint16(at + 10, true);
  if (method !== 0 && method !== 8) {
    refuse(`entry "${name}" must be stored or deflated: got method ${method}`);
  }
  if (method === 0 ? packed !== size : size > maxRatio * (packed + 1)) {
    refuse(`entry "${name}" cannot unpack from ${packed} to ${size} bytes`);
  }
  return { name, method, crc: view.getUint32(at + 16, true), packed, size, local, next };
}

async function unpack(
  bytes: Uint8Array,
  view: DataView,
  { name, method, crc, packed, size, local }: Record,
  end: number,
  refuse: (reason: string) => never,
): Promise<Uint8Array> {
  if (local + localLength > end || view.getUint32(local, true) !== localMark) {
    refuse(`entry "${name}" must begin at byte ${local}`);
  }
  const start = local + localLength + view.getUint16(local + 26, true) +
    view.getUint16(local + 28, true);
  if (start + packed > end) refuse(`entry "${name}" is cut short`);
  const data = bytes.subarray(start, start + packed);
  let whole: Uint8Array = data;
  if (method === 8) {
    try {
      whole = await gunzip(data, size, "deflate-raw");
    } catch (error) {
      if (!(error instanceof GzipError)) throw error;
      return refuse(`entry "${name}" is corrupt: ${error.message}`);
    }
  }
  if (whole.length !== size) {
    refuse(`entry "${name}" must have ${size} bytes: got ${whole.length}`);
  }
  if (crc32(whole) !== crc) refuse(`the checksum of entry "${name}" is wrong`);
  return whole;
}

/**
 * Writes an archive.
 *
 * @param entries its files
 * @param deflate whether they are packed
 * @returns the bytes of the archive; equal entries give equal bytes
 * @throws {RangeError} when it would need zip64
 */
export async function writeZip(
  entries: readonly ZipEntry[],
  deflate: boolean,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (const { name, bytes } of entries) {
    const title = new TextEncoder().encode(name);
    const data = deflate ? await deflated(bytes) : new Uint8Array(bytes);
    checkSize(Math.max(at, bytes.length, data.length), title.length, entries.length);
    const shared = sharedFields(deflate, crc32(bytes), data.length, bytes.length, title.length);
    const local = record(localMark, 4, shared, 30, title);
    directory.push(centralRecord(shared, at, title));
    parts.push(local, data);
    at += local.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  checkSize(at + size, 0, entries.length);
  return new Uint8Array(
    await new Blob([...parts, ...directory, endRecord(entries.length, size, at)]).arrayBuffer(),
  );
}

function checkSize(bytes: number, nameLength: number, count: number): void {
  if (bytes < 0xffffffff && nameLength <= 0xffff && count < 0xffff) return;
  throw new RangeError(
    "Cannot write a zip archive as it may have at most 4 GiB and 65534 entries: got more",
  );
}

/** From the version that is needed to the length of the name: what both records have. */
function sharedFields(
  deflate: boolean,
  crc: number,
  packed: number,
  size: number,
  nameLength: number,
): Uint8Array<ArrayBuffer> {
  const fields = new Uint8Array(26);
  const view = new DataView(fields.buffer);
  view.setUint16(0, 20, true);
  view.setUint16(2, utf8Flag, true);
  view.setUint16(4, deflate ? 8 : 0, true);
  view.setUint16(8, dosDate, true);
  view.setUint32(10, crc, true);
  view.setUint32(14, packed, true);
  view.setUint32(18, size, true);
  view.setUint16(22, nameLength, true);
  return fields;
}

function record(
  mark: number,
  at: number,
  shared: Uint8Array,
  length: number,
  title: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length + title.length);
  new DataView(bytes.buffer).setUint32(0, mark, true);
  bytes.set(shared, at);
  bytes.set(title, length);
  return bytes;
}

function centralRecord(
  shared: Uint8Array,
  local: number,
  title: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = record(centralMark, 6, shared, 46, title);
  const view = new DataView(bytes.buffer);
  view.setUint16(4, 20, true);
  view.setUint32(42, local, true);
  return bytes;
}

function endRecord(count: number, size: number, start: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(22);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, endMark, true);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, size, true);
  view.setUint32(16, start, true);
  return bytes;
}

async function deflated(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const packed = stream.pipeThrough(new CompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = (value & 1) !== 0 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  }
  return value;
});

/**
 * CRC-32 of bytes, as zip, gzip and PNG use it.
 *
 * @param bytes any data
 * @returns a whole number from 0 to 2^32 - 1
 */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = crcTable[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
