/** Reading event files by other means than those that write them: a library, and slow checksums. */

import protobuf from "protobufjs";

/** The messages by the field numbers that TensorFlow publishes (event.proto, summary.proto). */
const SCHEMA = `
syntax = "proto3";
message Event {
  double wall_time = 1;
  int64 step = 2;
  oneof what {
    string file_version = 3;
    bytes graph_def = 4;
    Summary summary = 5;
    LogMessage log_message = 6;
    SessionLog session_log = 7;
    TaggedRunMetadata tagged_run_metadata = 8;
    bytes meta_graph_def = 9;
  }
}
message LogMessage { int32 level = 1; string message = 2; }
message SessionLog {
  enum SessionStatus { STATUS_UNSPECIFIED = 0; START = 1; STOP = 2; CHECKPOINT = 3; }
  SessionStatus status = 1;
  string checkpoint_path = 2;
  string msg = 3;
}
message TaggedRunMetadata { string tag = 1; bytes run_metadata = 2; }
message Summary {
  message Value {
    string node_name = 7;
    string tag = 1;
    oneof value { float simple_value = 2; bytes histo = 5; bytes tensor = 8; }
  }
  repeated Value value = 1;
}`;

const type = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType("Event");

/** One record, as the library reads it. */
export interface ReadEvent {
  readonly wallTime: number;
  readonly step: number;
  /** The field of `what` that is set. */
  readonly what: "file_version" | "summary" | "session_log";
  readonly fileVersion?: string;
  readonly session?: string;
  readonly values?: readonly (readonly [tag: string, value: number])[];
}

/** The whole records of a file; a torn tail ends them. @throws {Error} if a checksum is wrong */
export function readEvents(bytes: Uint8Array): ReadEvent[] {
  return [...messages(bytes)].map((content) => {
    const decoded = type.decode(content);
    const unknown = type.encode(decoded).finish();
    if (unknown.length !== content.length) throw new Error("Found fields that are not known");
    const event = type.toObject(decoded, { longs: Number, enums: String, oneofs: true });
    return {
      wallTime: event.wall_time,
      step: event.step ?? 0,
      what: event.what,
      fileVersion: event.file_version,
      session: event.session_log?.status,
      values: event.summary?.value.map((value: { tag: string; simple_value: number }) =>
        [value.tag, value.simple_value] as const
      ),
    };
  });
}

function* messages(bytes: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 12 <= bytes.length;) {
    check(bytes.subarray(at, at + 8), view.getUint32(at + 8, true), `length at ${at}`);
    const length = Number(view.getBigUint64(at, true));
    if (at + length + 16 > bytes.length) return;
    const content = bytes.subarray(at + 12, at + 12 + length);
    check(content, view.getUint32(at + 12 + length, true), `message at ${at}`);
    yield content;
    at += length + 16;
  }
}

function check(bytes: Uint8Array, masked: number, what: string): void {
  const rotated = BigInt(masked) - 0xa282ead8n & 0xffffffffn;
  const crc = (rotated << 15n | rotated >> 17n) & 0xffffffffn;
  if (crc !== remainder(bytes)) throw new Error(`Wrong checksum of the ${what}`);
}

/** CRC-32C bit by bit, by the polynomial in the order of the bits of the message. */
function remainder(bytes: Uint8Array): bigint {
  let rest = 0xffffffffn;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const out = rest & 1n ^ BigInt(byte >> bit & 1);
      rest = rest >> 1n ^ (out === 1n ? 0x82f63b78n : 0n);
    }
  }
  return rest ^ 0xffffffffn;
}
