/**
 * Makes one JavaScript file of a program and all that it imports, packages included.
 *
 *   deno task bundle --entry examples/mnist.ts --out dist/mnist.js
 *   deno run -A --unstable-webgpu dist/mnist.js --help
 *
 * The file needs no checkout, no package and no network. It is made by esbuild, through `deno bundle`,
 * which finds imports as `deno run` does.
 */

import { choiceFlag, program, textFlag, type Values } from "./program.ts";

/** What a bundle is made of and for. */
export interface BundleOptions {
  /** The program. */
  readonly entry: string;
  /** The file to write; its folder is made. */
  readonly out: string;
  /** Where it shall run. @default {"deno"} */
  readonly platform?: "deno" | "browser";
  /**
   * "plain" can be read; "minified" is as short as can be; "sources" carries the sources along, so that
   * errors in Deno tell their places. @default {"plain"}
   */
  readonly form?: "plain" | "minified" | "sources";
}

/** A bundle that was made. */
export interface Bundle {
  /** The file. */
  readonly out: string;
  /** Its size. */
  readonly bytes: number;
  /** Its size as a web server would send it. */
  readonly gzipBytes: number;
}

/**
 * Bundles a program.
 *
 * Modules that are found only at run time stay out: the one that a `WorkerDataset` names by its URL
 * needs a bundle of its own, beside this one.
 *
 * @param options entry, out, platform, form
 * @returns the file and its sizes
 * @throws {Error} with what the bundler says, if an import cannot be found or the file not be written
 */
export async function bundle(options: BundleOptions): Promise<Bundle> {
  const { entry, out, platform = "deno", form = "plain" } = options;
  const args = ["bundle", "--quiet", "--platform", platform, "--output", out];
  // Errors, summaries and saved states call things by their class, which bundles would rename.
  args.push("--keep-names");
  if (form === "minified") args.push("--minify");
  if (form === "sources") args.push("--sourcemap", "inline");
  const command = new Deno.Command(Deno.execPath(), {
    args: [...args, entry],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  });
  const { success, stderr } = await command.output();
  if (!success) {
    throw new Error(`Cannot bundle ${entry}: ${new TextDecoder().decode(stderr).trim()}`);
  }
  const code = await Deno.readFile(out);
  const packed = new Blob([code]).stream().pipeThrough(new CompressionStream("gzip"));
  const gzipBytes = (await new Response(packed).arrayBuffer()).byteLength;
  return { out, bytes: code.length, gzipBytes };
}

const flags = {
  entry: textFlag("examples/mnist.ts", "the program"),
  out: textFlag(null, "the file to write; dist/ and the program's name where none is given"),
  platform: choiceFlag(["deno", "browser"], "deno", "where it shall run"),
  form: choiceFlag(
    ["plain", "minified", "sources"],
    "plain",
    "to read, as short as can be, or with errors that tell places in the sources",
  ),
};

async function main(values: Values<typeof flags>): Promise<Record<string, unknown>> {
  const { entry, out = `dist/${nameOf(entry)}.js` } = values;
  return { ...await bundle({ ...values, entry, out }) };
}

/** The name of a file without folders and ending. */
function nameOf(path: string): string {
  return path.replace(/^.*[\\/]/, "").replace(/\.[^.]*$/, "");
}

if (import.meta.main) {
  await program("Makes one JavaScript file of a program and all that it imports.", flags, main);
}
