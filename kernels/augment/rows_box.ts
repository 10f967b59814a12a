/** Boxes of images: what is erased, and what comes from another image. */

import { float, roundEven } from "./text.ts";

/** A rectangle inside of the image, by its share of the area and its shape. */
export interface EraseSpec {
  readonly kind: "erase";
  /**
   * First of 3 + 2·tries columns: flag, places along y and x from 0 to 1, then share and aspect of
   * each try.
   */
  readonly column: number;
  readonly tries: number;
  readonly height: number;
  readonly width: number;
}

/** A square round a pixel, as far as it is inside of the image. */
export interface CutoutSpec {
  readonly kind: "cutout";
  /** First of 3 columns: flag, row, column. */
  readonly column: number;
  readonly size: number;
  readonly height: number;
  readonly width: number;
}

/** Mixing of two images, by a share of each pixel or by a box. */
export interface CutMixSpec {
  readonly kind: "mix";
  /** First of 6 columns: flag, flag of a box, share of a mixture, share of a box, row, column. */
  readonly column: number;
  readonly height: number;
  readonly width: number;
}

/** What a row says of a box. */
export type BoxSpec = EraseSpec | CutoutSpec | CutMixSpec;

/** Statements that set the box `r0` ≤ y < `r1`, `r2` ≤ x < `r3`; of mixing also `r4` and `r5`. */
export function boxText(spec: BoxSpec, at: (column: number) => string): string {
  const { column, height, width } = spec;
  const drawn = (k: number) => at(column + k);
  if (spec.kind === "cutout") {
    const { size } = spec;
    const half = Math.floor(size / 2);
    return `  if (${drawn(0)} > 0.5) {
    r0 = max(0.0, ${drawn(1)} - ${float(half)});
    r1 = min(${float(height)}, ${drawn(1)} + ${float(size - half)});
    r2 = max(0.0, ${drawn(2)} - ${float(half)});
    r3 = min(${float(width)}, ${drawn(2)} + ${float(size - half)});
  }`;
  }
  if (spec.kind === "erase") {
    const tries = Array.from({ length: spec.tries }, (_, t) =>
      `  if (!found) {
    let area = ${float(height * width)} * ${drawn(3 + 2 * t)};
    h = round(sqrt(area * ${drawn(4 + 2 * t)}));
    w = round(sqrt(area / ${drawn(4 + 2 * t)}));
    found = h < ${float(height)} && w < ${float(width)};
  }`);
    return `  var h = 0.0;
  var w = 0.0;
  var found = false;
${tries.join("\n")}
  if (found && ${drawn(0)} > 0.5) {
    r0 = min(floor(${drawn(1)} * (${float(height + 1)} - h)), ${float(height)} - h);
    r1 = r0 + h;
    r2 = min(floor(${drawn(2)} * (${float(width + 1)} - w)), ${float(width)} - w);
    r3 = r2 + w;
  }`;
  }
  return `  r4 = 1.0;
  r5 = 1.0;
  if (${drawn(0)} > 0.5) {
    if (${drawn(1)} > 0.5) {
      let reach = 0.5 * sqrt(1.0 - ${drawn(3)});
      let half_h = trunc(reach * ${float(height)});
      let half_w = trunc(reach * ${float(width)});
      r0 = max(0.0, ${drawn(4)} - half_h);
      r1 = min(${float(height)}, ${drawn(4)} + half_h);
      r2 = max(0.0, ${drawn(5)} - half_w);
      r3 = min(${float(width)}, ${drawn(5)} + half_w);
      r5 = 1.0 - (r1 - r0) * (r3 - r2) / ${float(height * width)};
    } else {
      r4 = ${drawn(2)};
      r5 = r4;
    }
  }`;
}

/** The same in double precision. */
export function boxRows(spec: BoxSpec, at: (column: number) => number): number[] {
  const { column, height, width } = spec;
  const drawn = (k: number) => at(column + k);
  const none = spec.kind === "mix" ? [0, 0, 0, 0, 1, 1] : [0, 0, 0, 0];
  if (drawn(0) < 0.5) return padded(none);
  if (spec.kind === "cutout") {
    const half = Math.floor(spec.size / 2);
    return padded([
      Math.max(0, drawn(1) - half),
      Math.min(height, drawn(1) + spec.size - half),
      Math.max(0, drawn(2) - half),
      Math.min(width, drawn(2) + spec.size - half),
    ]);
  }
  if (spec.kind === "erase") return padded(erased(spec, drawn) ?? none);
  if (drawn(1) < 0.5) return padded([0, 0, 0, 0, drawn(2), drawn(2)]);
  const reach = 0.5 * Math.sqrt(1 - drawn(3));
  const [halfH, halfW] = [Math.trunc(reach * height), Math.trunc(reach * width)];
  const [y0, y1] = [Math.max(0, drawn(4) - halfH), Math.min(height, drawn(4) + halfH)];
  const [x0, x1] = [Math.max(0, drawn(5) - halfW), Math.min(width, drawn(5) + halfW)];
  return padded([y0, y1, x0, x1, 1, 1 - (y1 - y0) * (x1 - x0) / (height * width)]);
}

/** The first box that is smaller than the image in both directions, if there is one. */
function erased(
  { tries, height, width }: EraseSpec,
  drawn: (k: number) => number,
): number[] | null {
  for (let t = 0; t < tries; t++) {
    const area = height * width * drawn(3 + 2 * t);
    const h = roundEven(Math.sqrt(area * drawn(4 + 2 * t)));
    const w = roundEven(Math.sqrt(area / drawn(4 + 2 * t)));
    if (!(h < height && w < width)) continue;
    const y = Math.floor(drawn(1) * (height + 1 - h));
    const x = Math.floor(drawn(2) * (width + 1 - w));
    return [y, y + h, x, x + w];
  }
  return null;
}

function padded(row: readonly number[]): number[] {
  return [...row, 0, 0, 0, 0].slice(0, 8);
}
