/** The files of a run as a report shows them: links, pictures, texts. */

import { trackError } from "./errors.ts";
import type { FoundArtifact } from "./report_artifacts.ts";
import { escapeText, hrefOf, type Markup, note, section, table, tag } from "./report_html.ts";
import { showBytes } from "./report_state.ts";

/** A file of a run. */
export interface RunFile {
  /** Where it is in the folder of the run, with slashes. */
  readonly path: string;
  readonly bytes: number;
}

const IMAGE_BYTES = 1_000_000;
const ALL_IMAGE_BYTES = 8_000_000;
const SHOWN_TEXTS = 12;
const TEXT_LETTERS = 3000;
/** Beyond this many bytes a text is only a link. */
const TEXT_BYTES = 10_000_000;
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

/** Reads files of a run. */
export function readerOf(dir: string): (path: string) => Uint8Array<ArrayBuffer> {
  return (path) => {
    try {
      return Deno.readFileSync(`${dir}/${path}`);
    } catch (error) {
      throw trackError("read", `${dir}/${path}`, error);
    }
  };
}

const extension = (path: string) => path.slice(path.lastIndexOf(".") + 1).toLowerCase();

/** The path of a file, as a link to it. */
export function link(path: string): Markup {
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

/** The pictures of a page, which may take 8 MB in all. */
export class PagePictures {
  readonly #files: ReadonlyMap<string, number>;
  readonly #read: (path: string) => Uint8Array<ArrayBuffer>;
  readonly #shown = new Map<string, string>();
  #room = ALL_IMAGE_BYTES;

  constructor(files: readonly RunFile[], read: (path: string) => Uint8Array<ArrayBuffer>) {
    const images = files.filter(({ path }) =>
      path.startsWith("artifacts/") && Object.hasOwn(TYPES, extension(path))
    );
    this.#files = new Map(images.map(({ path, bytes }) => [path, bytes]));
    this.#read = read;
  }

  /** The paths of all pictures among the artifacts. */
  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** A picture as part of the page; a link where it is too large; null where there is none. */
  show(path: string, alt: string = path): Markup | null {
    const bytes = this.#files.get(path);
    if (bytes === undefined) return null;
    let src = this.#shown.get(path);
    if (src === undefined) {
      if (bytes > Math.min(IMAGE_BYTES, this.#room)) {
        return tag("p", { class: "note" }, link(path), ` is not shown here: ${showBytes(bytes)}`);
      }
      this.#room -= bytes;
      src = `data:${TYPES[extension(path)]};base64,${this.#read(path).toBase64()}`;
      this.#shown.set(path, src);
    }
    return tag("img", { src, alt });
  }
}

/** Pictures among the artifacts, but those that belong to sample predictions. */
export function imagesSection(
  pictures: PagePictures,
  artifacts: readonly FoundArtifact[],
): Markup {
  const used = new Set(
    artifacts.flatMap(({ artifact }) =>
      artifact.kind === "predictions"
        ? artifact.samples.map(({ image }) => `artifacts/${image}`)
        : []
    ),
  );
  const figures = pictures.paths.filter((path) => !used.has(path)).map((path) => {
    const shown = pictures.show(path)!;
    if (!shown.startsWith("<img")) return shown;
    return tag("figure", {}, shown, tag("figcaption", {}, link(path)));
  });
  return figures.length === 0 ? "" : section("images", "Images", ...figures);
}

/** The ends of texts among the logs and the artifacts. */
export function textsSection(
  files: readonly RunFile[],
  read: (path: string) => Uint8Array,
): Markup {
  const texts = files.filter(({ path }) => /^(logs\/.*\.txt|artifacts\/.*\.(txt|md))$/i.test(path));
  if (texts.length === 0) return "";
  const figures = texts.slice(0, SHOWN_TEXTS).map(({ path, bytes }) => {
    if (bytes > TEXT_BYTES) {
      return tag("p", { class: "note" }, link(path), ` is not shown here: ${showBytes(bytes)}`);
    }
    // Unknown bytes become signs for unknown letters: a log may be torn.
    const letters = [...new TextDecoder().decode(read(path))];
    const cut = letters.length > TEXT_LETTERS;
    const caption = tag(
      "figcaption",
      {},
      link(path),
      cut ? `, its last ${TEXT_LETTERS} letters` : "",
    );
    const shown = letters.slice(-TEXT_LETTERS).join("");
    return tag("figure", {}, tag("pre", {}, escapeText(shown)), caption);
  });
  const more = texts.length - figures.length;
  return section("texts", "Texts", ...figures, ...more > 0 ? [note(`and ${more} more`)] : []);
}
