/** Whose code called into the library. */

const library = new URL("../..", import.meta.url).href;
/** Folders of the library; what lies beside them is somebody else's code. */
const folders = ["core/", "kernels/", "nn/", "data/", "metrics/", "track/"].map((f) => library + f);

/** The place of the innermost caller outside the library, as "file:line:column"; "unknown place" without one. */
export function callerOutside(): string {
  for (const line of (new Error().stack ?? "").split("\n").slice(1)) {
    const place = line.match(/\(?((?:file|https?|jsr|npm):[^()\s]+:\d+:\d+)\)?$/)?.[1];
    if (place !== undefined && !folders.some((folder) => place.startsWith(folder))) return place;
  }
  return "unknown place";
}
