/**
 * Teams of lanes that work on one row together: the whole row with a single lane on adapters that
 * run on CPU cores, where lanes of one workgroup are slow to talk, several lanes on hardware.
 */

import { LOOP_LIMIT } from "./loop_limit.ts";
import { type DeviceTraits, type Shape, sizeOf, type WgslProgram } from "./types.ts";
import { grid, THREADS } from "./wgsl.ts";

/** Lanes of a team, and teams of a workgroup. */
export interface Teams {
  readonly lanes: number;
  readonly teams: number;
}

const WORKGROUP = 128;
const MOST_LANES = 256;
/** Units of four elements that keep a lane busy. */
const UNITS_OF_LANE = 4;

/** How rows of so many elements are shared out. */
export function teamsFor(length: number, traits: DeviceTraits): Teams {
  if (traits.software) return { lanes: 1, teams: THREADS };
  const wanted = Math.ceil(length / 4 / UNITS_OF_LANE);
  const lanes = Math.min(MOST_LANES, 2 ** Math.ceil(Math.log2(Math.max(1, wanted))));
  return { lanes, teams: Math.max(1, WORKGROUP / lanes) };
}

/**
 * Elements of a row that a software adapter goes through `passes` times in a lane; above, rows are
 * long.
 */
function longest(passes: number): number {
  return LOOP_LIMIT / passes * 4;
}

/**
 * Rows from which on lanes of a software adapter are all busy, and the length from which that
 * counts.
 */
const BUSY_ROWS = 16;
const SHORT = 256;
/**
 * Elements of a row for one workgroup on hardware, where there are fewer rows than keep it busy.
 */
const HARDWARE_LONG = 32768;
const HARDWARE_ROWS = 64;

/** Whether rows are better taken each by one team than cut and folded in several kernels. */
export function fitTeams(
  outer: Shape,
  reduced: Shape,
  passes: number,
  traits: DeviceTraits,
): boolean {
  const [count, length] = [sizeOf(outer), sizeOf(reduced)];
  if (reduced.length > 2 || count === 0 || length === 0) return false;
  return traits.software
    ? length <= longest(passes) && (count >= BUSY_ROWS || length <= SHORT)
    : length <= HARDWARE_LONG || count >= HARDWARE_ROWS;
}

/**
 * An entry point that gives each of `count` rows a team: the body sees the row `i`, the lane `l` of
 * the team, and `live`, false in teams without a row, which only keep step at barriers.
 */
export function teamProgram(
  count: number,
  { lanes, teams }: Teams,
  body: string,
  traits: DeviceTraits,
): { text: string; groups: WgslProgram["groups"] } {
  const size = lanes * teams;
  const row = lanes === 1 ? "lane" : `lane / ${lanes}u`;
  const head = lanes === 1
    ? `  if (row >= ${count}u) { return; }\n  let i = row;`
    : `  let live = row < ${count}u;\n  let i = min(row, ${
      count - 1
    }u);\n  let l = lane % ${lanes}u;`;
  const text = `@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) wgs: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = (wg.y * wgs.x + wg.x) * ${teams}u + ${row};
${head}
${body}
}`;
  return { text, groups: grid(count * lanes, traits, size) };
}

/**
 * The function `name(lane, value)` that folds the values of a team's lanes, the same in all of
 * them.
 */
export function teamFold(
  name: string,
  type: "f32" | "vec2<f32>",
  { lanes, teams }: Teams,
  join: (a: string, b: string) => string,
): string {
  if (lanes === 1) return `fn ${name}(lane: u32, value: ${type}) -> ${type} { return value; }`;
  return `var<workgroup> ${name}_parts: array<${type}, ${lanes * teams}>;
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  workgroupBarrier();
  ${name}_parts[lane] = value;
  workgroupBarrier();
  for (var k = ${lanes / 2}u; k > 0u; k /= 2u) {
    if (lane % ${lanes}u < k) {
      ${name}_parts[lane] = ${join(`${name}_parts[lane]`, `${name}_parts[lane + k]`)};
    }
    workgroupBarrier();
  }
  return ${name}_parts[lane - lane % ${lanes}u];
}`;
}
