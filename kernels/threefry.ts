/** Threefry-2x32-20 for all who draw random numbers: as WGSL and on the host. */

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;

/**
 * The WGSL function `threefry(k0, k1, c0, c1) -> vec2<u32>`: one block of Threefry-2x32-20,
 * unrolled.
 */
export function threefryFunction(): string {
  const lines = [
    "fn threefry(k0: u32, k1: u32, c0: u32, c1: u32) -> vec2<u32> {",
    "  let k2 = k0 ^ k1 ^ 0x1bd11bdau;",
    "  var x = c0 + k0;",
    "  var y = c1 + k1;",
  ];
  for (let round = 0; round < 20; round++) {
    const r = ROTATIONS[round % 8];
    lines.push(`  x += y;`, `  y = ((y << ${r}u) | (y >> ${32 - r}u)) ^ x;`);
    if (round % 4 !== 3) continue;
    const n = (round + 1) / 4;
    lines.push(`  x += k${n % 3};`, `  y += k${(n + 1) % 3} + ${n}u;`);
  }
  lines.push("  return vec2<u32>(x, y);", "}");
  return lines.join("\n");
}

/**
 * One block of Threefry-2x32-20.
 *
 * @param k0 first word of the key
 * @param k1 second word of the key
 * @param c0 first word of the counter
 * @param c1 second word of the counter
 * @returns two unsigned words
 *
 * @example
 * ```ts
 * import { threefry2x32 } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(threefry2x32(0, 0, 0, 0), [0x6b200159, 0x99ba4efe]);
 * ```
 */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const keys = [k0 | 0, k1 | 0, (k0 ^ k1 ^ 0x1bd11bda) | 0];
  let x = (c0 + keys[0]) | 0;
  let y = (c1 + keys[1]) | 0;
  for (let round = 1; round <= 20; round++) {
    const r = ROTATIONS[(round - 1) % 8];
    x = (x + y) | 0;
    y = ((y << r) | (y >>> (32 - r))) ^ x;
    if (round % 4 > 0) continue;
    x = (x + keys[(round / 4) % 3]) | 0;
    y = (y + keys[(round / 4 + 1) % 3] + round / 4) | 0;
  }
  return [x >>> 0, y >>> 0];
}
