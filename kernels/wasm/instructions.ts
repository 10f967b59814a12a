/**
 * WebAssembly instructions as functions on code: arguments are the code that computes the operands, results the code that
 * computes the value. Names are those of the WebAssembly specification.
 */

/** Bytes of a function body, nested as they were put together; flattened once, when the module is encoded. */
export type Code = number | readonly Code[];

/** Types of values. */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** A parameter or local variable of a function. */
export interface Local {
  /** Its number in the function. */
  readonly index: number;
  /** What it holds. */
  readonly type: ValueType;
}

/** An unsigned number in LEB128. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  while (rest >= 128) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return [...bytes, rest];
}

/** A signed 32-bit number in LEB128. */
export function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  while (rest < -64 || rest > 63) {
    bytes.push((rest & 127) | 128);
    rest >>= 7;
  }
  return [...bytes, rest & 127];
}

const words = new DataView(new ArrayBuffer(16));

function floatBytes(value: number): number[] {
  words.setFloat32(0, value, true);
  return [0, 1, 2, 3].map((i) => words.getUint8(i));
}

type Unary = (a: Code) => Code;
type Binary = (a: Code, b: Code) => Code;
type Load = (address: Code, offset?: number) => Code;
type Store = (address: Code, value: Code, offset?: number) => Code;

const unary = (...bytes: number[]): Unary => (a) => [a, bytes];
const binary = (...bytes: number[]): Binary => (a, b) => [a, b, bytes];
/** Alignments are hints; that of the element is the one which always holds. */
const load = (bytes: readonly number[], align: number): Load => (address, offset = 0) => [
  behind(address, offset),
  bytes,
  align,
  distance(offset),
];
const store = (bytes: readonly number[], align: number): Store => (address, value, offset = 0) => [
  behind(address, offset),
  value,
  bytes,
  align,
  distance(offset),
];
/** Distances that an instruction cannot hold, since they are below 0, go into the address. */
const behind = (address: Code, offset: number): Code =>
  offset < 0 ? [address, 0x41, signed(offset), 0x6a] : address;
const distance = (offset: number): number[] => unsigned(Math.max(0, offset));
const simd = (code: number): number[] => [0xfd, ...unsigned(code)];
const simd1 = (code: number): Unary => unary(...simd(code));
const simd2 = (code: number): Binary => binary(...simd(code));
/** Loads into a lane, or stores one. */
const laneAccess =
  (code: number) => (address: Code, vector: Code, lane: number, offset = 0): Code => [
    behind(address, offset),
    vector,
    simd(code),
    2,
    distance(offset),
    lane,
  ];
/** Instructions with the number of a lane behind the opcode. */
const extract = (code: number) => (a: Code, lane: number): Code => [a, simd(code), lane];
const replace = (code: number) => (a: Code, lane: number, value: Code): Code => [
  a,
  value,
  simd(code),
  lane,
];

/** Integers of 32 bits. */
export const i32 = {
  const: (value: number): Code => [0x41, signed(value)],
  load: load([0x28], 2),
  load8_u: load([0x2d], 0),
  load16_u: load([0x2f], 1),
  store: store([0x36], 2),
  store8: store([0x3a], 0),
  store16: store([0x3b], 1),
  eqz: unary(0x45),
  eq: binary(0x46),
  ne: binary(0x47),
  lt_s: binary(0x48),
  lt_u: binary(0x49),
  gt_s: binary(0x4a),
  gt_u: binary(0x4b),
  le_s: binary(0x4c),
  le_u: binary(0x4d),
  ge_s: binary(0x4e),
  ge_u: binary(0x4f),
  clz: unary(0x67),
  ctz: unary(0x68),
  popcnt: unary(0x69),
  add: binary(0x6a),
  sub: binary(0x6b),
  mul: binary(0x6c),
  div_s: binary(0x6d),
  div_u: binary(0x6e),
  rem_s: binary(0x6f),
  rem_u: binary(0x70),
  and: binary(0x71),
  or: binary(0x72),
  xor: binary(0x73),
  shl: binary(0x74),
  shr_s: binary(0x75),
  shr_u: binary(0x76),
  rotl: binary(0x77),
  rotr: binary(0x78),
  trunc_sat_f32_s: unary(0xfc, 0),
  trunc_sat_f32_u: unary(0xfc, 1),
  reinterpret_f32: unary(0xbc),
} as const;

/** Floats of 32 bits. */
export const f32 = {
  const: (value: number): Code => [0x43, floatBytes(value)],
  load: load([0x2a], 2),
  store: store([0x38], 2),
  eq: binary(0x5b),
  ne: binary(0x5c),
  lt: binary(0x5d),
  gt: binary(0x5e),
  le: binary(0x5f),
  ge: binary(0x60),
  abs: unary(0x8b),
  neg: unary(0x8c),
  ceil: unary(0x8d),
  floor: unary(0x8e),
  trunc: unary(0x8f),
  nearest: unary(0x90),
  sqrt: unary(0x91),
  add: binary(0x92),
  sub: binary(0x93),
  mul: binary(0x94),
  div: binary(0x95),
  min: binary(0x96),
  max: binary(0x97),
  copysign: binary(0x98),
  convert_i32_s: unary(0xb2),
  convert_i32_u: unary(0xb3),
  reinterpret_i32: unary(0xbe),
} as const;

/** Vectors of 128 bits, whatever they hold. */
export const v128 = {
  /** Four 32-bit words. */
  const: (w: readonly [number, number, number, number]): Code => {
    w.forEach((word, i) => words.setUint32(4 * i, word, true));
    return [simd(12), Array.from({ length: 16 }, (_, i) => words.getUint8(i))];
  },
  load: load(simd(0), 2),
  load8_splat: load(simd(7), 0),
  load16_splat: load(simd(8), 1),
  load32_splat: load(simd(9), 2),
  load32_zero: load(simd(92), 2),
  load64_zero: load(simd(93), 2),
  store: store(simd(11), 2),
  load32_lane: laneAccess(86),
  store32_lane: laneAccess(90),
  store64_lane: laneAccess(91),
  /** Picks four of the eight 32-bit lanes of two vectors. */
  shuffle32: (a: Code, b: Code, lanes: readonly [number, number, number, number]): Code => [
    a,
    b,
    simd(13),
    lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)),
  ],
  not: simd1(77),
  and: simd2(78),
  /** a and not b */
  andnot: simd2(79),
  or: simd2(80),
  xor: simd2(81),
  /** Bits of `a` where the mask is 1, of `b` elsewhere. */
  bitselect: (a: Code, b: Code, mask: Code): Code => [a, b, mask, simd(82)],
  any_true: simd1(83),
} as const;

/** Four integers of 32 bits. */
export const i32x4 = {
  splat: simd1(17),
  extract_lane: extract(27),
  replace_lane: replace(28),
  eq: simd2(55),
  ne: simd2(56),
  lt_s: simd2(57),
  lt_u: simd2(58),
  gt_s: simd2(59),
  gt_u: simd2(60),
  le_s: simd2(61),
  le_u: simd2(62),
  ge_s: simd2(63),
  ge_u: simd2(64),
  abs: simd1(160),
  neg: simd1(161),
  all_true: simd1(163),
  bitmask: simd1(164),
  shl: simd2(171),
  shr_s: simd2(172),
  shr_u: simd2(173),
  add: simd2(174),
  sub: simd2(177),
  mul: simd2(181),
  min_s: simd2(182),
  min_u: simd2(183),
  max_s: simd2(184),
  max_u: simd2(185),
  /** The lower four of eight 16-bit numbers, without a sign. */
  extend_low_i16x8_u: simd1(169),
  trunc_sat_f32x4_s: simd1(248),
  trunc_sat_f32x4_u: simd1(249),
} as const;

/** Eight integers of 16 bits. */
export const i16x8 = {
  /** Two times four signed 32-bit numbers, held to the range of 16 bits without a sign. */
  narrow_i32x4_u: simd2(134),
} as const;

/** Four floats of 32 bits. */
export const f32x4 = {
  splat: simd1(19),
  extract_lane: extract(31),
  replace_lane: replace(32),
  eq: simd2(65),
  ne: simd2(66),
  lt: simd2(67),
  gt: simd2(68),
  le: simd2(69),
  ge: simd2(70),
  ceil: simd1(103),
  floor: simd1(104),
  trunc: simd1(105),
  nearest: simd1(106),
  abs: simd1(224),
  neg: simd1(225),
  sqrt: simd1(227),
  add: simd2(228),
  sub: simd2(229),
  mul: simd2(230),
  div: simd2(231),
  min: simd2(232),
  max: simd2(233),
  /** b < a ? b : a */
  pmin: simd2(234),
  /** a < b ? b : a */
  pmax: simd2(235),
  convert_i32x4_s: simd1(250),
  convert_i32x4_u: simd1(251),
  /** a · b + c, rounded once where the machine can (relaxed SIMD). */
  relaxed_madd: (a: Code, b: Code, c: Code): Code => [a, b, c, simd(0x105)],
} as const;

/** The value of a local variable. */
export function get({ index }: Local): Code {
  return [0x20, unsigned(index)];
}

/** Gives a local variable a value. */
export function set({ index }: Local, value: Code): Code {
  return [value, 0x21, unsigned(index)];
}

/** Gives a local variable a value, and is that value. */
export function tee({ index }: Local, value: Code): Code {
  return [value, 0x22, unsigned(index)];
}

/** The value of a global variable, by its number. */
export function getGlobal(index: number): Code {
  return [0x23, unsigned(index)];
}

/** Gives a global variable a value. */
export function setGlobal(index: number, value: Code): Code {
  return [value, 0x24, unsigned(index)];
}

/** The first value where the condition is not 0, else the second; for scalars. */
export function select(yes: Code, no: Code, condition: Code): Code {
  return [yes, no, condition, 0x1b];
}

const typeByte: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** The byte of a type, or of none. */
export function typeCode(type: ValueType | null): number {
  return type === null ? 0x40 : typeByte[type];
}

/** Statements that `br(0)` directly inside leaves. */
export function block(body: Code, result: ValueType | null = null): Code {
  return [0x02, typeCode(result), body, 0x0b];
}

/** Statements that `br(0)` directly inside begins anew. */
export function loop(body: Code): Code {
  return [0x03, typeCode(null), body, 0x0b];
}

/** One of two branches; with a result type both leave a value. */
export function ifElse(
  condition: Code,
  yes: Code,
  no: Code | null = null,
  result: ValueType | null = null,
): Code {
  return [condition, 0x04, typeCode(result), yes, no === null ? [] : [0x05, no], 0x0b];
}

/** Leaves (or repeats) the construct that lies so many levels outside. */
export function br(depth: number): Code {
  return [0x0c, unsigned(depth)];
}

/** As br(), where the condition is not 0. */
export function brIf(depth: number, condition: Code): Code {
  return [condition, 0x0d, unsigned(depth)];
}

/** Leaves the function. */
export const ret: Code = 0x0f;

/** Calls the function of this number. */
export function call(index: number, ...args: readonly Code[]): Code {
  return [args, 0x10, unsigned(index)];
}

/** Fills so many bytes from an address on with a byte. */
export function memoryFill(address: Code, byte: Code, count: Code): Code {
  return [address, byte, count, 0xfc, 11, 0];
}

/** Forgets a value. */
export function drop(value: Code): Code {
  return [value, 0x1a];
}

/**
 * Repeats statements while `counter < until` (unsigned), counting by `step` from `from`. In the body, `br(0)` would begin the
 * next turn without counting; nothing is evaluated twice but `until`, which should be a constant or a variable.
 */
export function countUp(counter: Local, from: Code, until: Code, step: number, body: Code): Code {
  return [
    set(counter, from),
    ifElse(
      i32.lt_u(get(counter), until),
      loop([
        body,
        brIf(0, i32.lt_u(tee(counter, i32.add(get(counter), i32.const(step))), until)),
      ]),
    ),
  ];
}
