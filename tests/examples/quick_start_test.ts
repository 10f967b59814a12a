import { assert, assertEquals, assertMatch } from "@std/assert";
import { canRun, lastJson, noAdapter, runDeno } from "./command.ts";

/** The commands of the README's quick start, without what brings Deno. */
async function quickStart(): Promise<string[][]> {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const [, section] = readme.split("## Quick start");
  const blocks = section.split("\n## ")[0].matchAll(/```sh\n(.*)\n```/g);
  return Array.from(blocks, ([, line]) => {
    const [start, ...words] = line.split("deno@2.9.6 ");
    assertEquals(start, "npx -y ");
    return words[0].split(" ");
  });
}

Deno.test({
  name: "the quick start trains and passes tests where no adapter is to be seen",
  ignore: !canRun,
  fn: async () => {
    const [train, test, ...others] = await quickStart();
    assertEquals(others, []);
    const runs = await Deno.makeTempDir();
    const short = ["--dataset", "digits", "--limit", "512", "--epochs", "2", "--json"];
    const trained = await runDeno([...train, ...short, "--runs", runs], noAdapter);
    assertEquals(trained.code, 0, trained.stderr);
    assertMatch(trained.stderr, /cpu: WebAssembly .+ \(no WebGPU adapter was found\)$/m);
    const { testAccuracy } = lastJson(trained.stdout);
    assert((testAccuracy as number) > 0.3, `better than guessing: ${trained.stdout}`);
    await Deno.remove(runs, { recursive: true });
    const tested = await runDeno([...test, "tests/core/softmax_test.ts"], noAdapter);
    assertEquals(tested.code, 0, tested.stdout + tested.stderr);
    assertMatch(tested.stdout, /cpu .* ok/);
    assertMatch(tested.stdout, /webgpu .* ignored/);
  },
});
