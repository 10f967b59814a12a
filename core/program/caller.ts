/** Whose code called into the library. */

const OWN = "core/program/caller.ts";
/** Folders of the library; what lies beside them is somebody else's code. */
const FOLDERS = ["core/", "kernels/", "nn/", "data/", "metrics/", "track/"];

/**
 * The place of the innermost caller outside the library, as "file:line:column"; "unknown place" without one, and in a bundle,
 * where library and program are one file.
 */
export function callerOutside(): string {
  const places = (new Error().stack ?? "").split("\n").flatMap((line) =>
    line.match(/\(?((?:file|https?|jsr|npm):[^()\s]+:\d+:\d+)\)?$/)?.[1] ?? []
  );
  if (places.length === 0) return "unknown place";
  // The first place is this function: how it is called here says where the library lies.
  const own = fileOf(places[0]);
  const library = own.endsWith(OWN) ? own.slice(0, -OWN.length) : null;
  const inside = (place: string) =>
    library === null
      ? fileOf(place) === own
      : FOLDERS.some((folder) => place.startsWith(library + folder));
  return places.find((place) => !inside(place)) ?? "unknown place";
}

function fileOf(place: string): string {
  return place.replace(/:\d+:\d+$/, "");
}
