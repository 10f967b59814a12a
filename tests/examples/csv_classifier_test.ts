import { assert, assertEquals, assertMatch } from "@std/assert";
import { readRun } from "../../track/mod.ts";
import { canRun, lastJson, runExample } from "./command.ts";

Deno.test({
  name: "csv_classifier.ts writes a table, learns it, and leaves a run",
  ignore: !canRun,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const table = `${runs}/spirals.csv`;
    const args = ["--file", table, "--runs", runs, "--device", "cpu", "--json"];
    const { code, stdout, stderr } = await runExample("examples/csv_classifier.ts", args);
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /test rows; cpu: WebAssembly .+ \(asked for\)$/m);
    assertEquals((await Deno.readTextFile(table)).split(/\r?\n/)[0], "x,y,color");
    const result = lastJson(stdout);
    // Guessing gives 0.33; a linear model about 0.5.
    assert((result.testAccuracy as number) > 0.9, stdout);
    assertEquals(readRun(result.runDir as string).meta.status, "completed");
  },
});
