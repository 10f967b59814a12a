import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { parse } from "@std/csv/parse";
import { readRun } from "../../track/mod.ts";
import { zooNames } from "../../nn/mod.ts";
import { canRun, lastJson, runExample } from "./command.ts";

const file = "examples/lr_finder.ts";
const ignore = !canRun;
const small = ["--limit", "64", "--batch-size", "16", "--device", "cpu"];

interface Row {
  readonly lr: number;
  readonly loss: number;
  readonly smoothed: number;
}

/** The rows of the CSV file of a run. */
async function rowsOf(runDir: string): Promise<Row[]> {
  const text = await Deno.readTextFile(`${runDir}/artifacts/lr_range.csv`);
  const [head, ...rows] = parse(text) as string[][];
  assertEquals(head, ["lr", "loss", "smoothed"]);
  return rows.map((cells) => {
    const [lr, loss, smoothed] = cells.map(Number);
    return { lr, loss, smoothed };
  });
}

for (const optimizer of ["sgd", "adamw"]) {
  Deno.test({
    name: `lr_finder.ts draws the loss over growing rates and suggests one, ${optimizer}`,
    ignore,
    fn: async () => {
      const runs = await Deno.makeTempDir();
      const range = ["--min", "1e-3", "--max", "1e3", "--steps", "61", "--optimizer", optimizer];
      const args = [...range, ...small, "--runs", runs, "--json"];
      const { code, stdout, stderr } = await runExample(file, args);
      assertEquals(code, 0, stderr);
      assertMatch(stderr, /^digits train: 64 images; cpu: /m);
      assertMatch(stderr, /^Try a learning rate of [\d.]+, where .+, or of [\d.]+, a tenth /m);
      const result = lastJson(stdout);
      const { runDir, steps, diverged, steepest, minimum, minimumTenth } = result as Record<
        string,
        never
      >;
      const rows = await rowsOf(runDir);
      assertEquals(rows.length, steps);
      // Ten steps for each factor of ten
      rows.forEach(({ lr }, i) => assertAlmostEquals(lr, 1e-3 * 10 ** (i / 10), lr * 1e-9));
      assertEquals(diverged, rows.length < 61);
      // Before anything was learnt the loss is about that of guessing
      assert(Math.abs(rows[0].loss - Math.log(10)) < 0.5, `${rows[0].loss}`);
      const least = Math.min(...rows.map(({ smoothed }) => smoothed));
      assertEquals(minimum, rows.find(({ smoothed }) => smoothed === least)!.lr);
      assertEquals(minimumTenth, minimum / 10);
      assert(steepest < minimum && rows.some(({ lr }) => lr === steepest), stdout);

      const svg = await Deno.readTextFile(`${runDir}/artifacts/lr_range.svg`);
      assertMatch(svg, /^<svg [^]+<\/svg>\s*$/);
      for (const name of ["loss", "smoothed loss", "steepest descent", "a tenth of the minimum"]) {
        assert(svg.includes(`>${name}</text>`), name);
      }
      const { meta, events } = readRun(runDir);
      assertEquals([meta.status, meta.params.optimizer], ["completed", optimizer]);
      assertEquals(events.at(-1)!.fields.steepest, steepest);
    },
  });
}

Deno.test({
  name: "lr_finder.ts says so where the loss never fell, and draws it all the same",
  ignore,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const range = ["--min", "1e-30", "--max", "1e-29", "--steps", "10", "--smoothing", "0"];
    const constant = ["--limit", "16", "--batch-size", "16", "--dataset", "shapes"];
    const args = [...range, ...constant, "--device", "cpu", "--runs", runs, "--json"];
    const { code, stdout, stderr } = await runExample(file, args);
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /^The loss never fell; try smaller rates than --min 1e-30, or more steps/m);
    assertMatch(stderr, /^The loss did not run away up to --max 1e-29; try a larger one\.$/m);
    const { steepest, minimum, minimumTenth, diverged, runDir } = lastJson(stdout);
    assertEquals([steepest, minimum, minimumTenth, diverged], [null, null, null, false]);
    // One batch again and again, and no change of the weights
    assertEquals(new Set((await rowsOf(runDir as string)).map(({ loss }) => loss)).size, 1);
  },
});

Deno.test({
  name: "lr_finder.ts refuses bad input in one sentence with exit code 1 and makes no run",
  ignore,
  fn: async (t) => {
    const runs = await Deno.makeTempDir();
    const cases: [string, string[], RegExp][] = [
      ["an unknown model", ["--model", "GPT"], new RegExp(zooNames.join(", "))],
      ["an unknown optimizer", ["--optimizer", "lbfgs"], /expected sgd, adamw/],
      ["few steps", ["--steps", "5"], /Cannot use --steps 5: expected a whole number of at least/],
      ["a rate of 0", ["--min", "0"], /minLr 0: expected a number above 0/],
      ["no range", ["--min", "1", "--max", "0.1"], /maxLr 0\.1: expected a number above minLr/],
      ["a weight of 1", ["--smoothing", "1"], /smoothing 1: expected a number from 0 to below 1/],
    ];
    for (const [name, args, message] of cases) {
      await t.step(name, async () => {
        const outcome = await runExample(file, [...small, ...args, "--runs", runs]);
        assertEquals([outcome.code, outcome.stdout], [1, ""], outcome.stderr);
        assertMatch(outcome.stderr, message);
        assertEquals(outcome.stderr.match(/^error: /gm)?.length, 1, outcome.stderr);
        assertEquals([...Deno.readDirSync(runs)].length, 0);
      });
    }
  },
});
