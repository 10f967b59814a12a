/** Texts that drivers are known to compile to something else, looked for in the sources of kernels. */

import { assertEquals } from "@std/assert";
import { input } from "../../kernels/expr.ts";
import { reduceKernel } from "../../kernels/reduce.ts";
import { table } from "../../kernels/table.ts";
import type { Row } from "../../kernels/rows/row.ts";

const root = new URL("../../kernels/", import.meta.url);
const canRead = (await Deno.permissions.query({ name: "read" })).state === "granted";

/** Lines of the sources of kernels that write WGSL, without comments. */
function* lines(folder: URL = root): Generator<{ at: string; text: string }> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const url = new URL(isDirectory ? `${name}/` : name, folder);
    // WebAssembly has one meaning.
    if (isDirectory && name !== "wasm") yield* lines(url);
    if (isDirectory || !name.endsWith(".ts")) continue;
    for (const [n, text] of Deno.readTextFileSync(url).split("\n").entries()) {
      const at = `${url.pathname.slice(root.pathname.length)}:${n + 1}`;
      if (!/^\s*(\*|\/\*|\/\/)/.test(text)) yield { at, text };
    }
  }
}

function found(pattern: RegExp): string[] {
  return [...lines()].filter(({ text }) => pattern.test(text)).map(({ at, text }) =>
    `${at}: ${text.trim()}`
  );
}

Deno.test({
  name: "no kernel limits a number by a comparison alone, which loses NaN on hardware",
  ignore: !canRead,
  fn: () => {
    // select(x, limit, x < limit) becomes max(x, limit).
    const value = String.raw`[\w.]+`;
    const limit = String.raw`-?(?:\$\{\w+\}|[\w.]+(?:\([\w.]+\))?)`;
    const limits = new RegExp(String.raw`select\((${value}), (${limit}), \1 [<>]=? \2\)`);
    for (const text of ["select(a, T(0), a < T(0))", "select(v, -${limit}, v >= -${limit})"]) {
      assertEquals(limits.test(text), true, text);
    }
    assertEquals(found(limits), []);
  },
});

Deno.test("reductions of bool keep no bool in workgroup memory, which hardware reads wrongly", () => {
  for (const fold of ["any", "all"] as const) {
    const { code } = reduceKernel({
      fold,
      expr: input(0),
      post: null,
      outer: [],
      reduced: [400],
      inputs: [{ dtype: "bool", strides: [1], offset: 0 }],
      scalars: [],
      splits: 1,
      output: "bool",
    }).wgsl({ software: false, maxGroups: 65535, f16: false });
    assertEquals([/var<workgroup>/.test(code), /var<workgroup>[^;]*\bbool\b/.test(code)], [
      true,
      false,
    ]);
  }
});

Deno.test("no row takes the built-in remainder of i32, which Vulkan leaves open below 0", () => {
  const wrong = (Object.entries(table) as [string, Row][]).filter(([, row]) =>
    (row.wgslInt ?? (row.kind === "numeric" ? row.wgsl : "")).includes("%")
  );
  assertEquals(wrong.map(([name]) => name), []);
});
