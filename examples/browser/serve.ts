/**
 * Builds the page that trains in a browser, and serves it on this machine.
 *
 *   deno task browser          then open the address that it prints
 *   deno task build:browser    builds dist/browser/ alone
 */

import { bundle } from "../bundle.ts";
import { choiceFlag, countFlag, program, textFlag, type Values } from "../program.ts";

/** The files of the page, with their types. */
const TYPES: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "train.js": "text/javascript; charset=utf-8",
};

/** Memory that threads share is there only for pages that are isolated from others. */
const HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cache-control": "no-cache",
};

/** What was built. */
export interface Page {
  /** The folder of the files; any web server can serve it. */
  readonly folder: string;
  /** The size of the program. */
  readonly bytes: number;
  /** Its size on the way to a browser. */
  readonly gzipBytes: number;
}

/**
 * Builds the page.
 *
 * @param folder where its files go; made if it is not there
 * @returns the folder and the sizes
 * @throws {Error} if it cannot be bundled or written
 */
export async function buildPage(folder: string): Promise<Page> {
  await Deno.mkdir(folder, { recursive: true });
  const { bytes, gzipBytes } = await bundle({
    entry: new URL("train.ts", import.meta.url).href,
    out: `${folder}/train.js`,
    platform: "browser",
    form: "minified",
  });
  const html = await Deno.readFile(new URL("index.html", import.meta.url));
  await Deno.writeFile(`${folder}/index.html`, html);
  return { folder, bytes, gzipBytes };
}

/**
 * Answers a browser's request with a file of the page.
 *
 * @param folder of the files
 * @param request of a browser
 * @param isolated whether the page may share memory with threads
 */
export async function answer(
  folder: string,
  request: Request,
  isolated = true,
): Promise<Response> {
  const path = new URL(request.url).pathname.slice(1);
  const name = path === "" ? "index.html" : path;
  if (!Object.hasOwn(TYPES, name)) return new Response("not found", { status: 404 });
  const body = await Deno.readFile(`${folder}/${name}`);
  return new Response(body, {
    headers: { "content-type": TYPES[name], ...isolated ? HEADERS : {} },
  });
}

const flags = {
  out: textFlag("dist/browser", "folder for the files of the page"),
  port: countFlag(0, 8000, "where it is served on this machine; 0 for any"),
  serve: choiceFlag(["yes", "no"], "yes", "whether it is served until Ctrl-C, or built alone"),
};

async function main(values: Values<typeof flags>): Promise<Record<string, unknown>> {
  const page = await buildPage(values.out);
  if (values.serve === "no") return { ...page };
  console.error(`${page.bytes} bytes, ${page.gzipBytes} with gzip; Ctrl-C ends it`);
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: values.port },
    (request) => answer(page.folder, request),
  );
  Deno.addSignalListener("SIGINT", () => void server.shutdown());
  await server.finished;
  return { ...page };
}

if (import.meta.main) {
  await program("Builds and serves a page that trains in a browser.", flags, main);
}
