/** Reading and writing of places. */

import type { Context } from "./context.ts";
import { convert } from "./conversions.ts";
import {
  floatOfHalf,
  floatsOfHalves,
  halfOfFloat,
  halvesOfFloats,
  loadHalves,
  storeHalves,
} from "../half.ts";
import { type Code, f32, get, i32, i32x4, set, v128 } from "../instructions.ts";
import { heldPlace } from "./addresses.ts";
import type { Place } from "./scope.ts";
import { shaped } from "./shapes.ts";
import { computed, gathered, isFloatScalar, type Value } from "./value.ts";
import { unsupported } from "./ast.ts";
import { strideOf, type ValueType } from "./types.ts";

const LANES = [0, 1, 2, 3];

/** The value at a place. */
export function loadPlace(c: Context, place: Place): Value {
  const type = valueTypeOf(place);
  const { scalar, size } = type;
  if (place.spread !== null) return loadSpread(c, place, place.spread);
  if (size === 4) return computed(scalar, 4, 1, [loadVector(c, place, scalar === "f16")]);
  if (size === 1) return computed(scalar, 1, 1, [loadNumber(c, place, type)]);
  const held = heldPlace(c, place);
  const parts = Array.from({ length: size }, (_, n) => {
    const offset = held.offset + 4 * n;
    return loadNumber(c, { ...held, offset }, type);
  });
  return computed(scalar, size, 1, parts);
}

/** The type of what is at a place. */
export function valueTypeOf({ type, array }: Place): ValueType {
  if (type.kind !== "value") throw unsupported(`all of ${array.name} as a value`, 0);
  return type;
}

/** Four neighbouring numbers as a v128. */
export function loadVector(
  c: Context,
  { address, offset }: Pick<Place, "address" | "offset">,
  halves: boolean,
): Code {
  return halves ? loadHalves(c.w, address, offset) : v128.load(address, offset);
}

function loadNumber(c: Context, { address, offset }: Place, { scalar }: ValueType): Code {
  if (scalar === "f16") return floatOfHalf(c.w, i32.load16_u(address, offset));
  return (isFloatScalar(scalar) ? f32 : i32).load(address, offset);
}

/** Four numbers of 32 bits from places apart, as a v128. */
export function loadApart(address: Code, offsets: readonly number[]): Code {
  return offsets.slice(1).reduce<Code>(
    (all, offset, n) => v128.load32_lane(address, all, n + 1, offset),
    v128.load32_zero(address, offsets[0]),
  );
}

/** Numbers that four threads read. */
function loadSpread(c: Context, place: Place, spread: Value): Value {
  const { scalar, size } = valueTypeOf(place);
  if (size !== 1) throw unsupported("vectors of several threads", 0);
  const { offset } = place;
  const half = scalar === "f16";
  const { sequence } = spread;
  if (sequence?.step === strideOf(place.type)) {
    const address = i32.add(place.address, sequence.first);
    return computed(scalar, 1, 4, [loadVector(c, { address, offset }, half)]);
  }
  const addresses = laneAddresses(c, place, spread);
  if (half) {
    const words = addresses.map((address) => i32.load16_u(address, offset));
    return computed(scalar, 1, 4, [floatsOfHalves(c.w, gathered("u32", words))]);
  }
  const all = addresses.slice(1).reduce<Code>(
    (loaded, address, n) => v128.load32_lane(address, loaded, n + 1, offset),
    v128.load32_zero(addresses[0], offset),
  );
  return computed(scalar, 1, 4, [all]);
}

/** The addresses of the places of four threads, which are read or written one by one. */
function laneAddresses(c: Context, { address }: Place, spread: Value): Code[] {
  if (c.wide !== null) c.wide.apart += c.loops.length > 0 ? Infinity : 1;
  const { sequence } = spread;
  if (sequence !== null && sequence.step > 0) {
    const first = c.w.local("i32");
    c.w.emit(set(first, i32.add(address, sequence.first)));
    return LANES.map((n) =>
      n === 0 ? get(first) : i32.add(get(first), i32.const(n * sequence.step))
    );
  }
  const [bytes] = c.w.keep(spread).parts;
  return LANES.map((n) => i32.add(address, i32x4.extract_lane(bytes, n)));
}

/** Writes a value, whose type is that of the place up to literals. */
export function storePlace(c: Context, place: Place, v: Value, line: number): void {
  const type = valueTypeOf(place);
  const { scalar, size } = type;
  if (v.scalar !== scalar && v.scalar !== "int" && v.scalar !== "float") {
    throw unsupported(`${v.scalar} in place of ${scalar}`, line);
  }
  const value = convert(c.w, v, scalar, line);
  if (c.wide !== null) storeSpread(c, place, value, line);
  else if (size === 1) storeNumber(c, place, value.parts[0], type);
  else storeVector(c, place, shaped(c.w, value, size, 1));
}

function storeVector(c: Context, place: Place, value: Value): void {
  const { scalar, size } = value;
  const { address, offset } = place;
  if (size < 4) {
    const held = heldPlace(c, place);
    c.w.hold(value).parts.forEach((part, n) =>
      storeNumber(c, { ...held, offset: held.offset + 4 * n }, part, valueTypeOf(place))
    );
  } else if (scalar === "f16") c.w.emit(storeHalves(c.w, address, value.parts[0], offset));
  else c.w.emit(v128.store(address, value.parts[0], offset));
}

function storeNumber(
  c: Context,
  { address, offset }: Place,
  part: Code,
  { scalar }: ValueType,
): void {
  if (scalar === "f16") c.w.emit(i32.store16(address, halfOfFloat(c.w, part), offset));
  else c.w.emit((isFloatScalar(scalar) ? f32 : i32).store(address, part, offset));
}

/** Writes what four threads store. */
function storeSpread(c: Context, place: Place, v: Value, line: number): void {
  const wide = c.wide!;
  const { spread, offset } = place;
  if (spread === null || v.size !== 1 || wide.mask !== null) {
    throw unsupported("a store of some threads, or of all to one place", line);
  }
  wide.stores = true;
  const half = v.scalar === "f16";
  const [part] = shaped(c.w, v, 1, 4).parts;
  if (spread.sequence?.step === strideOf(place.type)) {
    const address = i32.add(place.address, spread.sequence.first);
    c.w.emit(half ? storeHalves(c.w, address, part, offset) : v128.store(address, part, offset));
    return;
  }
  const words = c.w.local("v128");
  c.w.emit(set(words, half ? halvesOfFloats(c.w, part) : part));
  laneAddresses(c, place, spread).forEach((address, lane) =>
    c.w.emit(
      half
        ? i32.store16(address, i32x4.extract_lane(get(words), lane), offset)
        : v128.store32_lane(address, get(words), lane, offset),
    )
  );
}
