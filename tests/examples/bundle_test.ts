import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { bundle } from "../../examples/bundle.ts";
import { readRun } from "../../track/mod.ts";
import { canRun, lastJson, type Outcome, runDeno, runExample } from "./command.ts";

const ignore = !canRun;
const file = "examples/mnist.ts";
const short = [
  ...["--dataset", "digits", "--limit", "128", "--epochs", "1", "--device", "cpu", "--json"],
];

/** Runs a file by itself: away from the checkout, with no configuration and no package. */
async function runAlone(path: string, args: readonly string[]): Promise<Outcome> {
  const cwd = await Deno.makeTempDir();
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", "--no-remote", "--no-npm", path, ...args],
    cwd,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp", DENO_DIR: `${cwd}/.deno` },
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await command.output();
  await Deno.remove(cwd, { recursive: true });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** What a run of mnist.ts leaves, without times. */
async function leftBy({ code, stdout, stderr }: Outcome): Promise<Record<string, unknown>> {
  assertEquals(code, 0, stderr);
  const { runDir, seconds: _, ...result } = lastJson(stdout);
  const model = await Deno.readFile(`${runDir}/artifacts/model.safetensors`);
  const scalars = readRun(runDir as string).scalars.map(({ key, step, value }) => [
    key,
    step,
    value,
  ]);
  return { result, model, scalars };
}

Deno.test({
  name: "a bundled trainer trains by itself to the bits of the unbundled one",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const made = await bundle({ entry: file, out: `${dir}/out/mnist.js` });
    assertEquals(made.bytes, (await Deno.stat(made.out)).size);
    assert(made.gzipBytes < made.bytes / 2 && made.bytes < 3e6, JSON.stringify(made));
    const help = await runAlone(made.out, ["--help"]);
    assertEquals(help.stdout, (await runExample(file, ["--help"])).stdout);
    const args = [...short, "--runs", dir, "--seed"];
    const bundled = await leftBy(await runAlone(made.out, [...args, "5"]));
    const plain = await leftBy(await runExample(file, [...args, "5"]));
    assertEquals(bundled, plain);
    assertMatch(String((plain.result as { device: string }).device), /^WebAssembly/);
    const other = await leftBy(await runAlone(made.out, [...args, "6"]));
    assertNotEquals(other.model, plain.model);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "what a minified trainer saved, the unbundled one takes up",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const { out } = await bundle({ entry: file, out: `${dir}/mnist.js`, form: "minified" });
    const args = [...short, "--runs", dir];
    const first = await runAlone(out, args);
    assertEquals(first.code, 0, first.stderr);
    const { runDir } = lastJson(first.stdout);
    const more = ["--epochs", "2", "--resume", runDir as string];
    const second = await runExample(file, [...args, ...more]);
    assertEquals(second.code, 0, second.stderr);
    assertMatch(second.stderr, /^resumed after step 2$/m);
    assertEquals(lastJson(second.stdout).steps, 4);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "classes keep their names in bundles; one with its sources tells places in them",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const library = new URL("../../mod.ts", import.meta.url).href;
    const program = [
      `import { Context, jit, Linear, referenceDevice, tensor, type Tensor } from "${library}";`,
      `console.log(Context.name, Linear.name);`,
      `const x = tensor([1, 2], { device: referenceDevice() });`,
      `interface Longer { than: "one line" }`,
      `const step = jit((x: Tensor) => { void x.data(); return x; });`,
      `step(x); step(x);`,
    ];
    const entry = `${dir}/program.ts`;
    await Deno.writeTextFile(entry, program.join("\n"));
    for (const form of ["sources", "plain", "minified"] as const) {
      const { out } = await bundle({ entry, out: `${dir}/${form}.js`, form });
      const { code, stdout, stderr } = await runAlone(out, []);
      assertEquals([code, stdout], [1, "Context Linear\n"]);
      const place = form === "sources" ? `file://${entry}:5:` : "unknown place";
      assert(stderr.includes(`inside a captured step (${place}`), stderr);
    }
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "the bundle command says what it made, and in one sentence what it cannot",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const run = (...args: string[]) => runDeno(["run", "-A", "examples/bundle.ts", ...args]);
    const made = await run("--entry", "track/cli.ts", "--out", `${dir}/legoml.js`, "--json");
    assertEquals(made.code, 0, made.stderr);
    assertEquals(lastJson(made.stdout).bytes, (await Deno.stat(`${dir}/legoml.js`)).size);
    const help = await runAlone(`${dir}/legoml.js`, ["--help"]);
    assertMatch(help.stdout, /^legoml COMMAND/);
    const entry = `${dir}/wrong.ts`;
    await Deno.writeTextFile(entry, `import "./not_there.ts";`);
    const failed = await run("--entry", entry, "--out", `${dir}/wrong.js`);
    assertEquals(failed.code, 1);
    assertMatch(failed.stderr, /^error: Cannot bundle .+wrong\.ts: .*not_there\.ts/s);
    const out = `${dir}/wrong.js`;
    await assertRejects(() => bundle({ entry: `${dir}/none.ts`, out }), Error, "Cannot bundle");
    await Deno.remove(dir, { recursive: true });
  },
});
