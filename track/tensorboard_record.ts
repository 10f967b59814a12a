/** Records of event files as TensorBoard reads them: the few messages that scalars take, framed. */

/** A value of a summary: its name, and a number that is stored as f32. */
export type TaggedValue = readonly [tag: string, value: number];

/** What one record tells. */
export type EventContent =
  | { readonly fileVersion: string }
  | { readonly scalars: readonly TaggedValue[] }
  | { readonly session: "start" };

// Types of fields on the wire: https://protobuf.dev/programming-guides/encoding
const [VARINT, I64, LENGTH, I32] = [0, 1, 2, 5];
// SessionLog.START of tensorflow/core/util/event.proto.
const SESSION_START = 1;

const utf8 = new TextEncoder();

/**
 * A record: length, checksum of the length, message, checksum of the message.
 *
 * @param time when it happened
 * @param step the step, a whole number from 0
 * @param content what happened
 * @returns the bytes of the record
 */
export function eventRecord(time: Date, step: number, content: EventContent): Uint8Array {
  return frame(eventMessage(time, step, content));
}

/** The message `Event`: field 1 the time in seconds, 2 the step unless 0, 3 to 7 what happened. */
function eventMessage(time: Date, step: number, content: EventContent): number[] {
  const steps = step === 0 ? [] : [...key(2, VARINT), ...varint(step)];
  const head = [...key(1, I64), ...f64(time.getTime() / 1000), ...steps];
  if ("fileVersion" in content) return [...head, ...text(3, content.fileVersion)];
  if ("session" in content) return [...head, ...message(7, [...key(1, VARINT), SESSION_START])];
  return [...head, ...message(5, content.scalars.flatMap(summaryValue))];
}

/** Field 1 of `Summary`: a `Value` with its tag in field 1 and the number in field 2. */
function summaryValue([tag, value]: TaggedValue): number[] {
  return message(1, [...text(1, tag), ...key(2, I32), ...f32(value)]);
}

function key(field: number, type: number): number[] {
  return varint(field * 8 + type);
}

function message(field: number, content: ArrayLike<number>): number[] {
  return [...key(field, LENGTH), ...varint(content.length), ...Array.from(content)];
}

function text(field: number, content: string): number[] {
  return message(field, utf8.encode(content));
}

/** Seven bits a byte, the lowest first; steps go beyond 32 bits. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

function f64(value: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setFloat64(0, value, true);
  return new Uint8Array(bytes.buffer);
}

function f32(value: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setFloat32(0, value, true);
  return new Uint8Array(bytes.buffer);
}

function frame(content: readonly number[]): Uint8Array {
  const record = new Uint8Array(content.length + 16);
  const view = new DataView(record.buffer);
  view.setUint32(0, content.length, true);
  view.setUint32(8, maskedCrc(record.subarray(0, 8)), true);
  record.set(content, 12);
  view.setUint32(12 + content.length, maskedCrc(record.subarray(12, -4)), true);
  return record;
}

/** The checksum as the files hold it, so that a checksum of checksums stays one. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/**
 * CRC-32C, the checksum with Castagnoli's polynomial.
 *
 * @param bytes what to check
 * @returns 32 bits, as a number from 0
 */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ crc >>> 8;
  return ~crc >>> 0;
}
