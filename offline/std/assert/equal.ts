/** Deep equality as `assertEquals` means it: NaN equals NaN, and 0 equals -0. */

import { isDeepStrictEqual } from "node:util";

type Pairs = Map<object, object>;

/**
 * Whether two values are deeply equal.
 *
 * @param a any value
 * @param b any value
 * @returns true when the types, the structure and every leaf agree
 */
export function equal(a: unknown, b: unknown): boolean {
  return same(a, b, new Map());
}

function same(a: unknown, b: unknown, seen: Pairs): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return nullPrototypes(a, b, seen);
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (ArrayBuffer.isView(a) && !(a instanceof DataView)) return sameNumbers(a, b);
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && sameKeys(a, b, seen);
  }
  if (a instanceof Map && b instanceof Map) return sameMaps(a, b, seen);
  if (a instanceof Set || hasHiddenState(a)) return isDeepStrictEqual(a, b);
  return sameKeys(a, b, seen);
}

// `{ __proto__: null }` counts as equal to a plain object with the same keys
function nullPrototypes(a: object, b: object, seen: Pairs): boolean {
  const plain = [a, b].every((x) => [null, Object.prototype].includes(Object.getPrototypeOf(x)));
  return plain && sameKeys(a, b, seen);
}

function hasHiddenState(value: object): boolean {
  const kinds = [Date, RegExp, URL, Error, ArrayBuffer, DataView, Number, String, Boolean];
  return kinds.some((kind) => value instanceof kind);
}

function sameNumbers(a: object, b: object): boolean {
  const [left, right] = [a, b] as [ArrayLike<unknown>, ArrayLike<unknown>];
  if (left.length !== right.length) return false;
  for (let i = 0; i < left.length; i++) {
    if (left[i] !== right[i] && !(Number.isNaN(left[i]) && Number.isNaN(right[i]))) return false;
  }
  return true;
}

function sameMaps(a: Map<unknown, unknown>, b: Map<unknown, unknown>, seen: Pairs): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    if (b.has(key)) {
      if (!same(value, b.get(key), seen)) return false;
    } else if (![...b].some(([k, v]) => same(key, k, seen) && same(value, v, seen))) {
      return false;
    }
  }
  return true;
}

function sameKeys(a: object, b: object, seen: Pairs): boolean {
  const keys = enumerableKeys(a);
  if (keys.length !== enumerableKeys(b).length) return false;
  const [left, right] = [a, b] as Record<PropertyKey, unknown>[];
  return keys.every((key) => Object.hasOwn(b, key) && same(left[key], right[key], seen));
}

function enumerableKeys(value: object): PropertyKey[] {
  return Reflect.ownKeys(value).filter((key) =>
    Object.prototype.propertyIsEnumerable.call(value, key)
  );
}
