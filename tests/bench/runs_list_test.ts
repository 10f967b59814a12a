import { assert, assertEquals } from "@std/assert";
import { canRun, lastJson, runDeno } from "../examples/command.ts";

Deno.test({
  name: "the benchmark of runs list writes the runs that it lists",
  ignore: !canRun,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const args = ["--runs", "2", "--rows", "25", "--rounds", "1", "--dir", dir, "--json"];
    const { code, stdout, stderr } = await runDeno([
      "run",
      "-A",
      "--no-check",
      "tests/bench/runs_list.ts",
      ...args,
    ]);
    assertEquals(code, 0, stderr);
    const { runs, rows, startSeconds, listSeconds } = lastJson(stdout);
    assertEquals([runs, rows], [2, 25]);
    assert(Number(startSeconds) > 0 && Number(listSeconds) > 0);
    for (const { name } of Deno.readDirSync(dir)) {
      const text = await Deno.readTextFile(`${dir}/${name}/logs/scalars.csv`);
      assertEquals(text.trimEnd().split("\n").length, 26);
    }
    const wrong = await runDeno([
      "run",
      "-A",
      "--no-check",
      "tests/bench/runs_list.ts",
      "--n",
      "1",
    ]);
    assert(wrong.code === 1 && wrong.stderr.includes("Cannot use --n: expected --runs N"));
  },
});
