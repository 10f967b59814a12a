/** SHA-256 of files that hold their own hash at a place of fixed width. */

/** Hexadecimal digits of a hash. */
export const HASH_DIGITS = 64;

/** What stands in place of a hash while it is not known. */
export const NO_HASH: string = "0".repeat(HASH_DIGITS);

/** SHA-256 (FIPS 180-4) of some bytes, as 64 hexadecimal digits. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The seal of a text that contains it: SHA-256 of the text with zeros in place of the seal.
 *
 * @param bytes the text
 * @param at where the 64 digits of the seal begin
 */
export function sealOf(bytes: Uint8Array, at: number): Promise<string> {
  const blank = bytes.slice();
  putText(blank, at, NO_HASH);
  return sha256(blank);
}

/** Writes ASCII text over the bytes at a place. */
export function putText(bytes: Uint8Array, at: number, text: string): void {
  bytes.set(new TextEncoder().encode(text), at);
}

/** The bytes at a place as text, one letter a byte. */
export function textAt(bytes: Uint8Array, at: number, length: number): string {
  return Array.from(bytes.subarray(at, at + length), (b) => String.fromCharCode(b)).join("");
}
