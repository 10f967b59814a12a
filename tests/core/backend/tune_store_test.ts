import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { hashOf, tuneFile, TuneStore } from "../../../core/backend/tune_store.ts";
import { stderrOf } from "./stderr.ts";

const granted = async (name: "read" | "write" | "env") =>
  (await Deno.permissions.query({ name })).state === "granted";
const canWrite = await granted("read") && await granted("write");
const canEnv = await granted("env");

const choice = (variant: string) => ({ variant, code: "0123456789abcdef" });

async function withFolder(fn: (folder: string) => unknown): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await fn(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name);

Deno.test("hashOf() tells thousands of similar keys apart", () => {
  const hashes = new Set(Array.from({ length: 20_000 }, (_, i) => hashOf(`matmul|{"m":${i}}`)));
  assertEquals(hashes.size, 20_000);
  assert([...hashes].every((hash) => /^[0-9a-f]{16}$/.test(hash)));
});

Deno.test("TuneStore remembers in memory where there is no file", () => {
  const store = new TuneStore("a", null);
  assertEquals([store.file, store.get("k")], [null, undefined]);
  store.set("k", choice("wide"));
  store.save();
  assertEquals(store.get("k"), choice("wide"));
});

Deno.test({
  name: "TuneStore keeps the choices of several adapters and programs in one file",
  ignore: !canWrite,
  fn: () =>
    withFolder(async (folder) => {
      const file = `${folder}/cache/legoml/tune.json`;
      const [a, b] = [new TuneStore("a", file), new TuneStore("b", file)];
      // Both have looked before either writes.
      assertEquals([a.get("k"), b.get("k")], [undefined, undefined]);
      a.set("k", choice("wide"));
      b.set("k", choice("narrow"));
      const text = await stderrOf(() => [a, b].forEach((store) => store.save()));
      const another = new TuneStore("a", file);
      another.set("l", choice("tall"));
      another.save();
      assertEquals(text, "");
      const again = new TuneStore("a", file);
      assertEquals([again.get("k"), again.get("l")], [choice("wide"), choice("tall")]);
      assertEquals(new TuneStore("b", file).get("k"), choice("narrow"));
      assertEquals(names(`${folder}/cache/legoml`), ["tune.json"]);
    }),
});

for (
  const [what, content] of [
    ["no JSON", '{"version":1,"adapters":{"a":{'],
    ["no object", "[]"],
    ["no choices", '{"version":1,"adapters":{"a":{"k":{"variant":3}}}}'],
  ]
) {
  Deno.test({
    name: `TuneStore reports a broken file once and replaces it, ${what}`,
    ignore: !canWrite,
    fn: () =>
      withFolder(async (folder) => {
        const file = `${folder}/tune.json`;
        Deno.writeTextFileSync(file, content);
        const store = new TuneStore("a", file);
        const text = await stderrOf(() => {
          assertEquals(store.get("k"), undefined);
          store.get("l");
        });
        assertEquals(text.match(/is no record of measured kernels/g)?.length, 1);
        store.set("k", choice("wide"));
        await stderrOf(() => store.save());
        const after = await stderrOf(() =>
          assertEquals(new TuneStore("a", file).get("k"), choice("wide"))
        );
        assertEquals(after, "");
      }),
  });
}

Deno.test({
  name: "TuneStore leaves the records of another version alone until it has its own",
  ignore: !canWrite,
  fn: () =>
    withFolder(async (folder) => {
      const file = `${folder}/tune.json`;
      const text = '{"version":2,"other":true}';
      Deno.writeTextFileSync(file, text);
      const store = new TuneStore("a", file);
      assertEquals(await stderrOf(() => store.get("k")), "");
      store.save();
      assertEquals(Deno.readTextFileSync(file), text);
    }),
});

Deno.test({
  name: "TuneStore says that it cannot write, and goes on in memory",
  ignore: !canWrite,
  fn: () =>
    withFolder(async (folder) => {
      Deno.writeTextFileSync(`${folder}/file`, "");
      const store = new TuneStore("a", `${folder}/file/tune.json`);
      const text = await stderrOf(() => {
        store.set("k", choice("wide"));
        store.save();
        store.set("l", choice("tall"));
        store.save();
      });
      assertStringIncludes(text, "measured kernels are forgotten: ");
      assertEquals(text.split("\n").length, 2);
      assertEquals([store.file, store.get("l")], [null, choice("tall")]);
    }),
});

Deno.test({
  name: "tuneFile() lies in the user's cache folder",
  ignore: !canEnv || Deno.build.os !== "linux",
  fn: () => {
    const before = Deno.env.get("XDG_CACHE_HOME");
    try {
      Deno.env.set("XDG_CACHE_HOME", "/some/cache");
      assertEquals(tuneFile(), "/some/cache/legoml/tune.json");
      Deno.env.delete("XDG_CACHE_HOME");
      const home = Deno.env.get("HOME");
      assertEquals(tuneFile(), home ? `${home}/.cache/legoml/tune.json` : null);
    } finally {
      if (before !== undefined) Deno.env.set("XDG_CACHE_HOME", before);
    }
  },
});
