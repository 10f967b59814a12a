/** Names of run folders and of the files in them. */

const SLUG_LENGTH = 48;
const SEGMENT = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N} ._+=@()-]*$/u;

/**
 * The name of a run's folder: `<UTC stamp>-<4 hex>[-name]`, such as `20260131T235959Z-0f3a-mnist`.
 *
 * What a folder's name should not hold becomes a hyphen; a name of nothing else is left out.
 *
 * @param time when the run began
 * @param random 16 random bits, from 0 to 65535
 * @param name what the user calls the run
 */
export function runId(time: Date, random: number, name: string | undefined): string {
  const stamp = time.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const slug = slugOf(name ?? "");
  return `${stamp}-${random.toString(16).padStart(4, "0")}${slug && `-${slug}`}`;
}

/** Whether a folder's name is one that `runId` gives. */
export function isRunId(name: string): boolean {
  return /^\d{8}T\d{6}Z-[0-9a-f]{4}(-.+)?$/.test(name);
}

function slugOf(name: string): string {
  const clean = name.normalize("NFC").replaceAll(/[^\p{L}\p{M}\p{N}._-]+/gu, "-");
  const short = [...clean].slice(0, SLUG_LENGTH).join("");
  return short.replaceAll(/^[-.]+|[-.]+$/g, "");
}

/**
 * Refuses a file name that would leave its folder, hide, or not exist on every system.
 *
 * @param name the name to look at; with `folders` it may lie in folders, as "plots/loss.json"
 * @param what how messages call it, such as "artifact"
 * @param folders whether slashes are allowed
 * @throws {RangeError} if it is not allowed
 */
export function checkFileName(name: string, what: string, folders = false): void {
  const segments = folders ? String(name).split("/") : [String(name)];
  if (typeof name === "string" && segments.every(isSegment)) return;
  throw new RangeError(
    `Cannot use ${JSON.stringify(name)} as the name of ${what}: ` +
      `expected letters, digits and ._+=@()- not beginning with a dot` +
      (folders ? ", in folders separated by /" : ""),
  );
}

function isSegment(segment: string): boolean {
  return SEGMENT.test(segment) && !/[ .]$/.test(segment);
}
