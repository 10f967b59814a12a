import { assert, assertAlmostEquals, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { parse } from "@std/csv/parse";
import { seedsOf, settingsOf, type SweepPlan } from "../../track/cli/sweep_settings.ts";
import { settingRows, settingsTable, spreadOf } from "../../track/cli/sweep_tables.ts";
import { canRun, legoml } from "./cli_parts.ts";

const ignore = !canRun;
const plan = (part: Partial<SweepPlan>) =>
  settingsOf({ grid: [], random: [], samples: 3, drawSeed: 0, ...part });

Deno.test("a grid gives all combinations, the last flag fastest", () => {
  assertEquals(plan({ grid: ["lr=1e-3, 1e-2", "act=relu,tanh,relu"] }), [
    { lr: "1e-3", act: "relu" },
    { lr: "1e-3", act: "tanh" },
    { lr: "1e-2", act: "relu" },
    { lr: "1e-2", act: "tanh" },
  ]);
  assertEquals(plan({}), [{}]);
});

Deno.test("draws fill their range, and a longer sweep begins with those of a shorter one", () => {
  const random = ["wd=log:1e-6..1e-2", "p=0..0.5", "n=int:1..3"];
  const long = plan({ random, samples: 2000 });
  assertEquals(long.slice(0, 3), plan({ random }));
  assert(JSON.stringify(plan({ random, drawSeed: 1 })) !== JSON.stringify(plan({ random })));
  const column = (name: string) => long.map((each) => Number(each[name]));
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  // Means of uniform draws: each within five of their standard errors.
  const exponents = column("wd").map(Math.log10);
  assert(exponents.every((e) => e >= -6 && e <= -2));
  assertAlmostEquals(mean(exponents), -4, 5 * 4 / Math.sqrt(12 * 2000));
  assertAlmostEquals(mean(column("p")), 0.25, 5 * 0.5 / Math.sqrt(12 * 2000));
  assertEquals(new Set(column("n")), new Set([1, 2, 3]));
  assertAlmostEquals(mean(column("n")), 2, 5 * Math.sqrt(2 / 3 / 2000));
  assertEquals(plan({ grid: ["lr=1,2"], random }).length, 6);
});

Deno.test("grids, ranges and seeds that cannot be read are refused", () => {
  const cases: [Partial<SweepPlan>, string][] = [
    [{ grid: ["lr"] }, "Cannot use --grid lr: expected a flag and its values, as lr=1e-3,1e-2"],
    [{ grid: ["lr=1,,2"] }, "expected values between the commas"],
    [{ random: ["wd=1e-3"] }, "expected a range such as 0..1"],
    [{ random: ["wd=exp:0..1"] }, "expected a range such as 0..1"],
    [{ random: ["wd=log:0..1"] }, "expected two numbers above 0, the first one less"],
    [{ random: ["wd=2..1"] }, "expected two numbers, the first one less"],
    [{ random: ["wd=int:1..2.5"] }, "expected two whole numbers, the first one less"],
    [{ grid: ["lr=1"], random: ["lr=0..1"] }, "Cannot sweep over lr twice"],
  ];
  for (const [part, message] of cases) assertThrows(() => plan(part), Error, message);
  assertEquals(seedsOf("3, 1,3"), ["3", "1"]);
  assertEquals(seedsOf("2..4"), ["2", "3", "4"]);
  assertEquals(seedsOf(undefined), [null]);
  for (const text of ["", "a", "1,-2", "3..1"]) assertThrows(() => seedsOf(text), SyntaxError);
});

Deno.test("spreadOf() gives mean and sample deviation", () => {
  const { mean, deviation } = spreadOf([2, 4, 4, 4, 5, 5, 7, 9]);
  assertEquals(mean, 5);
  assertAlmostEquals(deviation!, Math.sqrt(32 / 7), 1e-12);
  assertEquals(spreadOf([3]), { mean: 3, deviation: null, count: 1 });
});

Deno.test("a result of null is a number that JSON cannot hold", () => {
  const outcome = (lr: string, loss: number | null) => ({
    id: "0",
    settings: { lr },
    seed: null,
    args: [],
    status: "completed" as const,
    code: 0,
    seconds: 1,
    result: { loss, note: null, name: "x" },
    problem: null,
  });
  const rows = settingRows([outcome("1", 0.5), outcome("1", null), outcome("2", null)]);
  assertEquals(rows.map(({ results }) => [Object.keys(results), results.loss.mean]), [
    [["loss"], NaN],
    [["loss"], NaN],
  ]);
  assertEquals(settingsTable(rows, "loss").split("\n").map((line) => line.trim().split(/ +/)), [
    ["lr", "runs", "loss"],
    ["1", "2", "NaN"],
    ["2", "1", "NaN"],
  ]);
});

/** A program that counts how often it was run, and fails at one rate. */
const PROGRAM = `
const flag = (name) => Deno.args[Deno.args.indexOf("--" + name) + 1];
await Deno.writeTextFile(flag("count"), Deno.args.join(" ") + "\\n", { append: true });
if (flag("lr") === "3") throw new Error("lr is too large");
if (flag("lr") === "4") { console.log("no JSON"); Deno.exit(0); }
console.log("working");
console.log(JSON.stringify({ accuracy: Number(flag("lr")) / 10 + Number(flag("seed")) / 100 }));
`;

async function program(text: string): Promise<{ dir: string; file: string }> {
  const dir = await Deno.makeTempDir();
  const file = `${dir}/train it.ts`;
  await Deno.writeTextFile(file, text);
  return { dir, file };
}

Deno.test({
  name: "sweep runs every setting with every seed, goes on after failures, and does nothing twice",
  ignore,
  fn: async () => {
    const { dir, file } = await program(PROGRAM);
    const out = `${dir}/sweep`;
    const sweep = (...args: string[]) =>
      legoml(
        "sweep",
        file,
        "--out",
        out,
        "--seeds",
        "1,3",
        ...args,
        "--",
        "--count",
        `${dir}/count`,
      );
    const runs = async () => (await Deno.readTextFile(`${dir}/count`)).trim().split("\n").sort();

    const first = await sweep("--grid", "lr=1,3", "--jobs", "2", "--metric", "accuracy");
    assertEquals(first.code, 1);
    assertMatch(first.err, /error: 2 of 4 runs failed: see .*\.log, .*\.log$/);
    assertMatch(first.err, /lr=3 seed=1 failed: .*lr is too large|lr=3 seed=1 failed: at /);
    // 0.11 and 0.13: their mean is 0.12, their deviation √2 / 100.
    assertEquals(first.out.split("\n").map((line) => line.trim().split(/ {2,}/)), [
      ["lr", "runs", "accuracy"],
      ["1", "2", "0.12 ± 0.014"],
      ["3", "0 of 2", "–"],
    ]);
    const fixed = `--count ${dir}/count --json`;
    assertEquals(await runs(), [
      `--lr 1 --seed 1 ${fixed}`,
      `--lr 1 --seed 3 ${fixed}`,
      `--lr 3 --seed 1 ${fixed}`,
      `--lr 3 --seed 3 ${fixed}`,
    ]);
    const rows = parse(await Deno.readTextFile(`${out}/trials.csv`), { skipFirstRow: true });
    assertEquals(
      rows.map((row) => [row.lr, row.seed, row.status, row.code, row["result/accuracy"]]),
      [
        ["1", "1", "completed", "0", "0.11"],
        ["1", "3", "completed", "0", "0.13"],
        ["3", "1", "failed", "1", ""],
        ["3", "3", "failed", "1", ""],
      ],
    );
    assertMatch(await Deno.readTextFile(`${out}/trials/${rows[0].trial}.log`), /^working$/m);

    const second = await sweep("--grid", "lr=1,2", "--metric", "accuracy", "--json");
    assertEquals(second.code, 0);
    assertMatch(second.err, /^2 of 4 runs were completed before\n/);
    assertEquals((await runs()).length, 6);
    const json = JSON.parse(second.out);
    assertEquals(json.settings.map((row: { settings: unknown }) => row.settings), [
      { lr: "2" },
      { lr: "1" },
    ]);
    assertAlmostEquals(json.settings[0].results.accuracy.mean, 0.22, 1e-12);
    const third = await sweep("--grid", "lr=4");
    assertMatch(third.err, /lr=4 seed=1 failed: expected one JSON object as the last line/);
  },
});

Deno.test({
  name: "sweep refuses programs and metrics that do not exist",
  ignore,
  fn: async () => {
    const { dir, file } = await program(`console.log('{"a": 1}')`);
    const none = await legoml("sweep", `${dir}/none.ts`);
    assertMatch(none.err, /^error: Cannot run a sweep of .*none\.ts: ENOENT/);
    const out = ["--out", `${dir}/sweep`];
    const unknown = await legoml("sweep", file, ...out, "--metric", "f1");
    assertMatch(unknown.err, /error: Cannot order by f1: the results that are numbers are a$/);
    const unclear = await legoml("sweep", file, ...out, "--metric", "a");
    assertMatch(unclear.err, /Cannot tell which values of a are good: expected --min or --max/);
  },
});

Deno.test({
  name: "Ctrl-C ends a sweep with its children, and the next one goes on",
  ignore: ignore || Deno.build.os === "windows",
  fn: async () => {
    const { dir, file } = await program(`
      if (Deno.args.includes("2")) {
        await Deno.writeTextFile(Deno.args[Deno.args.indexOf("--pid") + 1], String(Deno.pid));
        await new Promise((resolve) => setTimeout(resolve, 600_000));
      }
      console.log('{"loss": 1}');
    `);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", new URL("../../track/cli.ts", import.meta.url).pathname],
        ...[
          "sweep",
          file,
          "--out",
          `${dir}/sweep`,
          "--grid",
          "lr=1,2,3",
          "--",
          "--pid",
          `${dir}/pid`,
        ],
      ],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let pid = 0;
    while (pid === 0) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      pid = Number(await Deno.readTextFile(`${dir}/pid`).catch(() => "0"));
    }
    child.kill("SIGINT");
    const [{ code }, err] = await Promise.all([
      child.status,
      child.stderr.text(),
      child.stdout.text(),
    ]);
    assertEquals(code, 130);
    assertMatch(err, /stopped with 2 of 3 runs left; start it again to go on/);
    assertThrows(() => Deno.kill(pid, "SIGKILL"));
    const rows = parse(await Deno.readTextFile(`${dir}/sweep/trials.csv`), { skipFirstRow: true });
    assertEquals(rows.map(({ lr, status }) => [lr, status]), [["1", "completed"]]);
  },
});
