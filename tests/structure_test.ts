import { assertEquals } from "@std/assert";

const canRead = (await Deno.permissions.query({ name: "read" })).state === "granted";
const root = new URL("..", import.meta.url);

/** What each part may import at run time; `import type` is free except for kernels. */
const allowed: Record<string, readonly string[]> = {
  kernels: ["kernels"],
  // The seam to captured steps knows no device, nor do leaves, which are any values, and turns of the event loop.
  "core/engine": [
    "core/engine",
    "core/errors.ts",
    "core/leaves.ts",
    "core/turn.ts",
    "core/backend/capture.ts",
  ],
  core: ["core", "kernels"],
  nn: ["nn", "core", "kernels"],
  data: ["data", "core"],
  metrics: ["metrics", "core"],
  track: ["track", "metrics", "data", "core"],
  examples: [
    "mod.ts",
    "nn",
    "data",
    "metrics",
    "track",
    "core",
    "examples/browser",
    "examples/bundle.ts",
    "examples/images.ts",
    "examples/program.ts",
    "examples/stories.ts",
    "examples/training.ts",
  ],
};

/** Packages that a part may import; parts that are not named may import none. */
const packages: Record<string, readonly string[]> = {
  data: ["@std/csv", "@logtape/logtape", "fast-png", "hyparquet", "jpeg-js", "node:zlib"],
  track: ["@std/csv", "@logtape/logtape", "d3-scale", "node:zlib"],
  examples: ["@std/cli", "@std/csv", "@legoml/legoml"],
};

/** Files that are longer than a reader likes, with the reason. */
const longFiles: Record<string, string> = {};

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(new URL(folder, root))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

function partOf(path: string): string {
  if (path.startsWith("core/engine/")) return "core/engine";
  return path.split("/")[0];
}

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

function importsOf(text: string): Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
  const found = code.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^;"']*?from\s+)?"([^"]+)"/gm);
  return [...found].map(([, type, from]) => ({ from, typeOnly: type !== undefined }));
}

Deno.test({
  name: "imports point from examples to kernels and never back",
  ignore: !canRead,
  fn: async () => {
    const wrong: string[] = [];
    for (const folder of ["kernels", "core", "nn", "data", "metrics", "track", "examples"]) {
      for await (const path of sources(folder)) {
        const part = partOf(path);
        const text = await Deno.readTextFile(new URL(path, root));
        for (const { from, typeOnly } of importsOf(text)) {
          if (from.startsWith(".")) {
            const target = new URL(from, new URL(path, root)).pathname.slice(root.pathname.length);
            const inside = allowed[part].some((a) => target === a || target.startsWith(`${a}/`));
            const typesOfCore = part === "core/engine" && typeOnly && target.startsWith("core/");
            const types = typeOnly && part !== "kernels" &&
              allowed[part].includes(target.split("/")[0]);
            if (!inside && !typesOfCore && !types) wrong.push(`${path} imports ${target}`);
          } else if (!(packages[part] ?? []).some((p) => from === p || from.startsWith(`${p}/`))) {
            wrong.push(`${path} imports ${from}`);
          }
        }
      }
    }
    assertEquals(wrong, []);
  },
});

Deno.test({
  name: "the CPU device and its compiler are loaded when one is opened, and not before",
  ignore: !canRead,
  fn: async () => {
    const own = /^(core\/backend\/cpu|kernels\/wasm)\//;
    const wrong: string[] = [];
    for (const folder of ["kernels", "core", "nn", "data", "metrics", "track"]) {
      for await (const path of sources(folder)) {
        if (own.test(path)) continue;
        const text = await Deno.readTextFile(new URL(path, root));
        for (const { from, typeOnly } of importsOf(text)) {
          const target = new URL(from, new URL(path, root)).pathname.slice(root.pathname.length);
          if (own.test(target) && !typeOnly) wrong.push(`${path} imports ${target}`);
        }
      }
    }
    assertEquals(wrong, []);
  },
});

Deno.test({
  name: "files keep to one subject: at most 400 lines",
  ignore: !canRead,
  fn: async () => {
    const long: string[] = [];
    for (
      const folder of ["kernels", "core", "nn", "data", "metrics", "track", "examples", "tests"]
    ) {
      for await (const path of sources(folder)) {
        const lines = (await Deno.readTextFile(new URL(path, root))).split("\n").length;
        if (lines > 420 && !(path in longFiles)) long.push(`${path}: ${lines}`);
      }
    }
    assertEquals(long, []);
  },
});

Deno.test({
  name: "only the readback file maps buffers",
  ignore: !canRead,
  fn: async () => {
    const others: string[] = [];
    for await (const path of sources("core")) {
      const text = await Deno.readTextFile(new URL(path, root));
      if (text.includes("getMappedRange") && path !== "core/backend/readback.ts") others.push(path);
    }
    assertEquals(others, []);
  },
});
