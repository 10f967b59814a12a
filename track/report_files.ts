/** The files of a run as a report shows them: links, pictures, confusion matrices. */

import { heatmap } from "./charts.ts";
import { trackError } from "./errors.ts";
import { escapeText, hrefOf, type Markup, note, section, table, tag } from "./report_html.ts";
import { showBytes } from "./report_state.ts";

/**
 * What a report draws as a confusion matrix: an artifact whose name ends in `.json`, of this form.
 * A file called `confusion….json` may hold the bare matrix as well.
 *
 * @example
 * ```ts
 * import { type ConfusionArtifact, reportHtml, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await using session = await run({ dir });
 * const confusion: ConfusionArtifact = {
 *   kind: "confusionMatrix",
 *   classNames: ["cat", "dog"],
 *   matrix: [[48, 2], [5, 45]],
 * };
 * session.saveArtifact("test.json", confusion);
 * assert(reportHtml(session.dir).includes(">48</text>"));
 * ```
 */
export interface ConfusionArtifact {
  /** The word by which the file is known. */
  kind: "confusionMatrix";
  /** Names of the classes. @default {their numbers} */
  classNames?: readonly string[];
  /** The counts or shares: a row for each target, in it a column for each prediction. */
  matrix: readonly (readonly number[])[];
}

/** A file of a run. */
export interface RunFile {
  /** Where it is in the folder of the run, with slashes. */
  readonly path: string;
  readonly bytes: number;
}

const IMAGE_BYTES = 1_000_000;
const ALL_IMAGE_BYTES = 8_000_000;
const JSON_BYTES = 1_000_000;
const CLASSES = 64;
const LISTED = 500;
const TYPES: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  svg: "image/svg+xml",
};

/** The files of a run in the order of their names; links, temporary files and the report are left out. */
export function filesOf(dir: string): RunFile[] {
  const found: RunFile[] = [];
  const visit = (folder: string) => {
    for (const { name, isDirectory, isFile } of entries(`${dir}/${folder}`)) {
      const path = folder + name;
      if (name.startsWith(".") || path === "report.html") continue;
      if (isDirectory) visit(`${path}/`);
      else if (isFile) found.push({ path, bytes: sizeOf(`${dir}/${path}`) });
    }
  };
  visit("");
  return found.sort((a, b) => a.path < b.path ? -1 : 1);
}

function entries(path: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    throw trackError("list", path, error);
  }
}

// A run that is being written may remove a file between listing and asking.
function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw trackError("read", path, error);
  }
}

function read(path: string): Uint8Array<ArrayBuffer> {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    throw trackError("read", path, error);
  }
}

const extension = (path: string) => path.slice(path.lastIndexOf(".") + 1).toLowerCase();

function link(path: string): Markup {
  return tag("a", { href: hrefOf(path) }, escapeText(path));
}

/** All files with their sizes, as links. */
export function filesSection(files: readonly RunFile[]): Markup {
  const rows = files.slice(0, LISTED)
    .map(({ path, bytes }) => [{ markup: link(path) }, showBytes(bytes)]);
  const more = files.length - rows.length;
  return section(
    "files",
    "Files",
    table(["file", "size"], rows, [1]),
    ...more > 0 ? [note(`and ${more} more`)] : [],
  );
}

/** Pictures among the artifacts, as part of the page; those that are too large as links. */
export function imagesSection(dir: string, files: readonly RunFile[]): Markup {
  const images = files.filter(({ path }) =>
    path.startsWith("artifacts/") && Object.hasOwn(TYPES, extension(path))
  );
  if (images.length === 0) return "";
  let room = ALL_IMAGE_BYTES;
  const figures = images.map(({ path, bytes }) => {
    if (bytes > Math.min(IMAGE_BYTES, room)) {
      return tag("p", { class: "note" }, link(path), ` is not shown here: ${showBytes(bytes)}`);
    }
    room -= bytes;
    const src = `data:${TYPES[extension(path)]};base64,${read(`${dir}/${path}`).toBase64()}`;
    const caption = tag("figcaption", {}, link(path));
    return tag("figure", {}, tag("img", { src, alt: path }), caption);
  });
  return section("images", "Images", ...figures);
}

/** Confusion matrices among the artifacts. */
export function confusionSection(dir: string, files: readonly RunFile[]): Markup {
  const parts = files
    .filter(({ path }) => path.startsWith("artifacts/") && extension(path) === "json")
    .flatMap(({ path, bytes }) => {
      if (bytes > JSON_BYTES) return [];
      const confusion = confusionOf(path, read(`${dir}/${path}`));
      return confusion === null ? [] : [confusionFigure(path, confusion)];
    });
  return parts.length === 0 ? "" : section("confusion", "Confusion", ...parts);
}

function confusionFigure(path: string, { matrix, classNames }: ConfusionArtifact): Markup {
  const caption = tag("figcaption", {}, link(path));
  if (matrix.length > CLASSES) {
    return tag("p", { class: "note" }, link(path), ` is not drawn here: ${matrix.length} classes`);
  }
  const svg = heatmap({
    title: path.slice(path.lastIndexOf("/") + 1).replace(/\.json$/i, ""),
    values: matrix,
    rowLabels: classNames,
    columnLabels: classNames,
    xLabel: "predicted",
    yLabel: "target",
    shade: "row",
  });
  return tag("figure", {}, svg, caption);
}

/** The confusion matrix that a file holds; null where it holds something else. */
export function confusionOf(path: string, bytes: Uint8Array): ConfusionArtifact | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (Array.isArray(value)) {
    const bare = /^confusion/i.test(name) && isSquare(value);
    return bare ? { kind: "confusionMatrix", matrix: value as number[][] } : null;
  }
  const { kind, matrix, classNames } = (value ?? {}) as Record<string, unknown>;
  if (kind !== "confusionMatrix" || !isSquare(matrix)) return null;
  if (classNames === undefined) return { kind, matrix };
  const named = Array.isArray(classNames) && classNames.length === matrix.length &&
    classNames.every((label) => typeof label === "string");
  return named ? { kind, matrix, classNames } : { kind, matrix };
}

function isSquare(value: unknown): value is number[][] {
  return Array.isArray(value) && value.length > 0 &&
    value.every((row) =>
      Array.isArray(row) && row.length === value.length &&
      row.every((cell) => typeof cell === "number")
    );
}
