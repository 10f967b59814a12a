/** Files of NumPy, Pillow and tarfile, and what the tests of formats share. */

import { assert } from "@std/assert";
import { inflateSync } from "node:zlib";
import fc from "fast-check";
import golden from "../golden/data_files.json" with { type: "json" };

/** What `tests/golden/generate/data_files.py` wrote. */
export const dataFiles: typeof golden = golden;

/** The bytes of base64. */
export function base64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(text);
}

/** The bytes of base64 that were packed with zlib. */
export function packed(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(inflateSync(base64(text)));
}

/** Changed bytes, or a cut or longer file: whatever may happen to a file. */
export function damaged(file: Uint8Array): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const change = fc.tuple(fc.nat(file.length - 1), fc.nat(255));
  return fc.oneof(
    fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
      const bytes = new Uint8Array(file);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    }),
    fc.nat(file.length - 1).map((length) => new Uint8Array(file.subarray(0, length))),
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((more) =>
      new Uint8Array([...file, ...more])
    ),
  );
}

/** A damaged file gives a value or an error of the format, whose message names the file. */
export async function survives(
  file: Uint8Array,
  read: (bytes: Uint8Array<ArrayBuffer>) => unknown,
  error: new (...args: never[]) => Error,
  numRuns = 300,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(damaged(file), async (bytes) => {
      try {
        await read(bytes);
      } catch (caught) {
        assert(caught instanceof error, `${caught} is not of the format`);
        assert(caught.message.includes("bad file"), caught.message);
      }
    }),
    { numRuns, seed: 1 },
  );
}
