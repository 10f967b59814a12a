/** One change of a list for each image, at a strength of its own or of all: RandAugment and TrivialAugment. */

import { CODES } from "./colour_codes.ts";
import { type AffineNumbers, inverseMatrix, inverseOf, still } from "./rows_affine.ts";
import { float } from "./text.ts";

/** A change that may be chosen. */
export interface PolicyChange {
  readonly code: number;
  /** Strength of bin 0 and of the last bin. */
  readonly first: number;
  readonly last: number;
  /** Whether half of the images get the opposite. */
  readonly signed: boolean;
}

/** What is chosen from. */
export interface PolicySpec {
  readonly kind: "policy";
  /** First of 3 columns: which change, flag of the sign, which bin. */
  readonly column: number;
  readonly changes: readonly PolicyChange[];
  readonly bins: number;
  /** Sizes of the images. */
  readonly height: number;
  readonly width: number;
}

/** Strengths a hair above a whole number, which division may miss, count as that number. */
const HAIR = 1e-4;
/** Levels of bytes are compared with this slack, since pixels are rounded quotients. */
const SLACK = 2 ** -16;

/** Statements that set the matrix, `r6`, the code of a change of colour, and `r7`, its strength. */
export function policyText(spec: PolicySpec, at: (column: number) => string): string {
  const { column, changes, bins, height, width } = spec;
  const chosen = changes.map(({ code, first, last, signed }, k) => {
    const raw = `${float(first)} + bin * ${float(last - first)} / ${float(bins - 1)}`;
    const sign = signed ? " * sign" : "";
    return `  if (which == ${k}u) { code = ${code}u; raw = ${
      code === CODES.posterize ? bitsText(first, last, bins) : raw
    }; strength = ${strengthText(code)}${sign}; }`;
  });
  return `  let which = u32(${at(column)});
  let sign = select(1.0, -1.0, ${at(column + 1)} > 0.5);
  let bin = ${at(column + 2)};
  var code = 0u;
  var raw = 0.0;
  var strength = 0.0;
${chosen.join("\n")}
  let shear = precise_atan(strength) * 57.29578;
  let angle = select(0.0, -strength, code == ${CODES.rotate}u);
  let tx = select(0.0, strength, code == ${CODES.translateX}u);
  let ty = select(0.0, strength, code == ${CODES.translateY}u);
  let size = 1.0;
  let shx = select(0.0, shear, code == ${CODES.shearX}u);
  let shy = select(0.0, shear, code == ${CODES.shearY}u);
  let corner = code == ${CODES.shearX}u || code == ${CODES.shearY}u;
  let cx = select(0.0, ${float(-width / 2)}, corner);
  let cy = select(0.0, ${float(-height / 2)}, corner);
${inverseMatrix}
  r6 = f32(select(code, 0u, code >= 16u));
  r7 = select(strength, 1.0 + strength, ${isFactorText()});`;
}

/** The bits that are left: the first less the rounded share of the way to the last. */
function bitsText(first: number, last: number, bins: number): string {
  const way = Math.round(first - last);
  const turns = `(2u * u32(bin) * ${way}u + ${bins - 1}u)`;
  const up = `${turns} / ${2 * (bins - 1)}u`;
  const tie = `(${turns} % ${2 * (bins - 1)}u == 0u && (${up}) % 2u == 1u)`;
  return `${float(first)} - f32(${up} - select(0u, 1u, ${tie}))`;
}

function strengthText(code: number): string {
  if (code === CODES.translateX || code === CODES.translateY) return `trunc(raw + ${float(HAIR)})`;
  if (code === CODES.solarize) return `raw / 255.0 - ${float(SLACK)}`;
  return "raw";
}

const factors: readonly number[] = [
  CODES.brightness,
  CODES.contrast,
  CODES.saturation,
  CODES.sharpness,
];

function isFactorText(): string {
  return factors.map((code) => `code == ${code}u`).join(" || ");
}

/** The same in double precision. */
export function policyRows(spec: PolicySpec, at: (column: number) => number): number[] {
  const { column, changes, bins, height, width } = spec;
  const { code, first, last, signed } = changes[at(column)];
  const sign = signed && at(column + 1) > 0.5 ? -1 : 1;
  const strength = sign * strengthOf(code, first, last, at(column + 2), bins);
  const corner = { cx: -width / 2, cy: -height / 2 };
  const shear = Math.atan(strength) * 180 / Math.PI;
  const moves: Readonly<Record<number, Partial<AffineNumbers>>> = {
    [CODES.rotate]: { angle: -strength },
    [CODES.translateX]: { tx: strength },
    [CODES.translateY]: { ty: strength },
    [CODES.shearX]: { shx: shear, ...corner },
    [CODES.shearY]: { shy: shear, ...corner },
  };
  const matrix = inverseOf({ ...still, ...moves[code] });
  return [...matrix, code >= 16 ? 0 : code, factors.includes(code) ? 1 + strength : strength];
}

function strengthOf(code: number, first: number, last: number, bin: number, bins: number): number {
  if (code === CODES.posterize) {
    const turns = 2 * bin * Math.round(first - last) + bins - 1;
    const up = Math.floor(turns / (2 * (bins - 1)));
    return first - (turns % (2 * (bins - 1)) === 0 && up % 2 === 1 ? up - 1 : up);
  }
  const raw = first + bin * (last - first) / (bins - 1);
  if (code === CODES.translateX || code === CODES.translateY) return Math.trunc(raw + HAIR);
  return code === CODES.solarize ? raw / 255 - SLACK : raw;
}
