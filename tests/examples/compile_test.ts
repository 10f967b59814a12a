import { assert, assertEquals, assertMatch } from "@std/assert";
import { bundle } from "../../examples/bundle.ts";
import { canRun, lastJson, type Outcome, runDeno, runExample } from "./command.ts";

const ignore = !canRun;

/** `deno compile` of a bundle, as the task does it. */
function compile(entry: string, output: string, env?: Record<string, string>): Promise<Outcome> {
  return runDeno(["compile", "-A", "--unstable-webgpu", "--output", output, entry], env);
}

/** What `deno compile` says where it cannot fetch the runtime that it puts a program into. */
const NO_RUNTIME = /denort[^]*(error sending request|dns error|failed to lookup|404 Not Found)/;

Deno.test({
  name: "a compiled trainer trains to the bits of the program",
  ignore,
  fn: async (t) => {
    const dir = await Deno.makeTempDir();
    const entry = `${dir}/mnist.js`;
    await bundle({ entry: "examples/mnist.ts", out: entry });
    const { code, stderr } = await compile(entry, `${dir}/mnist`);
    const skipped = code !== 0 && NO_RUNTIME.test(stderr);
    assert(code === 0 || skipped, stderr);
    await t.step({
      name: skipped ? "skipped: the runtime of compiled programs cannot be fetched" : "trains",
      ignore: skipped,
      fn: async () => {
        const args = ["--dataset", "digits", "--limit", "128", "--epochs", "1", "--device", "cpu"];
        args.push("--json", "--runs", dir);
        const command = new Deno.Command(`${dir}/mnist`, { args, cwd: dir, stderr: "null" });
        const { code, stdout } = await command.output();
        assertEquals(code, 0);
        const compiled = lastJson(new TextDecoder().decode(stdout));
        const plain = lastJson((await runExample("examples/mnist.ts", args)).stdout);
        const model = (result: Record<string, unknown>) =>
          Deno.readFile(`${result.runDir}/artifacts/model.safetensors`);
        assertEquals(await model(compiled), await model(plain));
      },
    });
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "deno compile puts one file, the bundle, into the program",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const entry = `${dir}/mnist.js`;
    await bundle({ entry: "examples/mnist.ts", out: entry, form: "minified" });
    // Deno takes the place of the runtime: such a file holds the program, but does not start it.
    const done = await compile(entry, `${dir}/mnist`, { DENORT_BIN: Deno.execPath() });
    assertEquals(done.code, 0, done.stderr);
    assertMatch(done.stdout + done.stderr, /Embedded Files\s+mnist\s+└── mnist\.js \([\d.]+KB\)\s/);
    const base = (await Deno.stat(Deno.execPath())).size;
    const { size } = await Deno.stat(`${dir}/mnist`);
    assert(size > base && size < base + 10e6, `${size} bytes on top of ${base}`);
    const text = await Deno.readFile(entry);
    const program = await Deno.readFile(`${dir}/mnist`);
    const middle = text.subarray(text.length >> 1, (text.length >> 1) + 4096);
    assert(indexOf(program, middle) > 0, "the bundle's text is in the program");
    middle[2048] ^= 1;
    assertEquals(indexOf(program, middle), -1);
    await Deno.remove(dir, { recursive: true });
  },
});

/** Where bytes lie in others, or -1. */
function indexOf(bytes: Uint8Array, part: Uint8Array): number {
  for (let at = bytes.indexOf(part[0]); at >= 0; at = bytes.indexOf(part[0], at + 1)) {
    let i = 1;
    while (i < part.length && bytes[at + i] === part[i]) i++;
    if (i === part.length) return at;
  }
  return -1;
}
