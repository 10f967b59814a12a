import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "@std/csv/parse";
import { run } from "../../track/mod.ts";
import { canRun, legoml, legomlProcess, threeRuns } from "./cli_parts.ts";
import { readPage } from "./html_check.ts";

const ignore = !canRun;
const lines = (text: string) => text.split("\n").map((line) => line.split(/ {2,}/));

Deno.test("every command has a help text", async () => {
  const { out, code } = await legoml("--help");
  assertEquals(code, 0);
  const names = [...out.matchAll(/^ {2}((?:runs )?[a-z]+)/gm)].map(([, name]) => name);
  assertEquals(names, [
    "runs list",
    "runs show",
    "runs compare",
    "runs best",
    "runs export",
    "runs report",
    "serve",
    "sweep",
  ]);
  for (const name of names) {
    const help = await legoml(...name.split(" "), "--help");
    assertEquals(help.code, 0);
    assert(help.out.startsWith(`legoml ${name}`), help.out);
    assertStringIncludes(help.out, "--help");
  }
  assertEquals((await legoml("runs")).out, out);
  assertEquals((await legoml()).out, out);
});

Deno.test("a command line that cannot be understood is one sentence and exit code 1", async () => {
  const cases: [string[], string][] = [
    [["walk"], 'Cannot understand "walk": expected runs list, runs show,'],
    [["runs", "walk"], 'Cannot understand "runs walk": expected runs list, runs show,'],
    [["constructor"], 'Cannot understand "constructor"'],
    [
      ["runs", "list", "--all"],
      "Cannot understand --all: runs list has --dir, --metric, --json and",
    ],
    [["runs", "list", "--dir"], "Cannot use --dir: expected FOLDER behind it"],
    [["runs", "list", "--json=1"], "Cannot use --json=1: expected no value"],
    [["runs", "list", "--dir", "a", "--dir", "b"], "Cannot use --dir twice: expected it once"],
    [["runs", "list", "x"], "Cannot run runs list with 1 argument: expected no arguments"],
    [["runs", "show"], "Cannot run runs show with 0 arguments: expected RUN"],
    [
      ["serve", "--port", "99999"],
      "Cannot use --port 99999: expected a whole number from 0 to 65535",
    ],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await legoml(...args);
    assertEquals([code, out], [1, ""]);
    assert(err.startsWith(`error: ${message}`), err);
    assertEquals(err.split("\n").length, 1);
  }
});

Deno.test({
  name: "runs list and best go by the direction that a run has recorded, whatever its name says",
  ignore: !canRun,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    for (const [name, values] of [["a", [1, 3]], ["b", [2, 0]]] as const) {
      await run({ dir, name }, (session) => {
        session.logEvent("engineStart", { better: { "val/loss": "up" } });
        values.forEach((value, i) =>
          session.logScalars({ "val/loss": value }, { step: i, epoch: i })
        );
      });
    }
    const list = JSON.parse((await legoml("runs", "list", "--dir", dir, "--json")).out);
    assertEquals(list.map((row: { best: number }) => row.best).toSorted(), [2, 3]);
    const best = await legoml("runs", "best", "--dir", dir, "--metric", "val/loss", "--json");
    const { direction, runs } = JSON.parse(best.out);
    assertEquals([direction, runs[0].value, runs[1].value], ["max", 3, 2]);
  },
});

Deno.test({
  name: "runs list shows the newest run first, with its best value and the settings that differ",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    const { out, code } = await legoml("runs", "list", "--dir", dir);
    assertEquals(code, 0);
    const [head, c, b, a] = lines(out);
    assertEquals(head, [
      "run",
      "state",
      "age",
      "epochs",
      "metric",
      "best",
      "last",
      "lr",
      "model.width",
    ]);
    const row = (list: string[]) => list.toSpliced(2, 1);
    assertEquals(row(a), [ids[0], "completed", "3", "test/accuracy", "0.75", "0.625", "0.1", "8"]);
    assertEquals(row(b), [
      ids[1],
      "completed",
      "2",
      "test/accuracy",
      "0.875",
      "0.875",
      "0.01",
      "16",
    ]);
    assertEquals(row(c), [ids[2], "completed", "1", "test/accuracy", "–", "NaN", "0.1", "–"]);

    const [, loss] = lines((await legoml("runs", "list", "--dir", dir, "--metric=train/loss")).out);
    assertEquals(loss.slice(4, 6), ["train/loss", "–"]);
    const json = JSON.parse((await legoml("runs", "list", "--dir", dir, "--json")).out);
    assertEquals(json.map((each: { id: string }) => each.id), ids.toReversed());
    assertEquals([json[0].last, json[2].best, json[2].config.model], ["NaN", 0.75, { width: 8 }]);

    const unknown = await legoml("runs", "list", "--dir", dir, "--metric", "f1");
    assertEquals(unknown, {
      code: 1,
      out: "",
      err: `error: Cannot find the metric f1 in ${dir}: there are test/accuracy, train/loss`,
    });
  },
});

Deno.test({
  name: "runs list shows runs that run, and says which cannot be read",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    await Deno.writeTextFile(`${dir}/${ids[0]}/meta.json`, "{");
    await Deno.writeTextFile(`${dir}/${ids[1]}/logs/scalars.csv`, "2026,", { append: true });
    await using session = await run({ dir });
    const { out, err, code } = await legoml("runs", "list", "--dir", dir);
    assertEquals(code, 0);
    const rows = lines(out);
    assertEquals(rows.length, 4);
    assertEquals(rows[1].slice(0, 2), [session.id, "running"]);
    assertStringIncludes(err, `${ids[0]} cannot be read: Cannot read ${dir}/${ids[0]}/meta.json`);
    const json = JSON.parse((await legoml("runs", "list", "--dir", dir, "--json")).out);
    assertEquals(json.at(-1).state, "unreadable");
    const empty = await legoml("runs", "list", "--dir", `${dir}/none`);
    assertEquals(empty, { code: 0, out: "", err: `${dir}/none holds no runs` });
  },
});

Deno.test({
  name: "a run is found by the beginning of its folder, its name, latest, or a path",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    const find = async (word: string) => {
      const { code, out, err } = await legoml("runs", "show", word, "--dir", dir, "--json");
      return code === 0 ? JSON.parse(out).id : err;
    };
    assertEquals(await find(ids[1]), ids[1]);
    assertEquals(await find("20260131T02"), ids[1]);
    assertEquals(await find("a"), ids[0]);
    assertEquals(await find("latest"), ids[2]);
    assertEquals(await find(`${dir}/${ids[0]}/`), ids[0]);
    assertEquals(
      await find("20260131"),
      `error: Cannot tell which run 20260131 is: it may be ${ids.join(", ")}`,
    );
    assertEquals(
      await find("x"),
      `error: Cannot find the run x in ${dir}: there are ${ids.toReversed().join(", ")}`,
    );
    const none = await legoml("runs", "show", "x", "--dir", `${dir}/none`);
    assertEquals(none.err, `error: Cannot find the run x: ${dir}/none holds no runs`);
  },
});

Deno.test({
  name: "runs show tells settings, last and best values",
  ignore,
  fn: async () => {
    const { dir } = await threeRuns();
    const { out } = await legoml("runs", "show", "a", "--dir", dir);
    assertMatch(out, /^state +completed$/m);
    assertMatch(out, /^model\.width +8$/m);
    assertMatch(out, /^test\/accuracy +0\.625 +0\.75 +20 +2 +3$/m);
    assertMatch(out, /^train\/loss +0\.375 +0\.25 +20 +2 +3$/m);
    const json = JSON.parse((await legoml("runs", "show", "a", "--dir", dir, "--json")).out);
    assertEquals(json.metrics["test/accuracy"], {
      last: 0.625,
      best: { value: 0.75, step: 20, epoch: 2 },
      direction: "max",
      count: 3,
    });
  },
});

Deno.test({
  name: "runs show leaves nothing in names that could steer a terminal",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await run({ dir, name: "x\u001b[2J", config: { "a\u001b[2J": "b\nc" } }, () => {});
    const { out } = await legoml("runs", "show", "latest", "--dir", dir);
    // deno-lint-ignore no-control-regex -- what is looked for
    assert(!/[\u0000-\u0009\u000b-\u001f]/.test(out));
    assertStringIncludes(out, "b\ufffdc");
  },
});

Deno.test({
  name: "runs compare shows the settings that differ, then the metrics, and draws them",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    const out = `${await Deno.makeTempDir()}/charts`;
    const by = (setting: string) => ["--out", `${out}/by-${setting}`, "--by", setting];
    const printed = await legoml("runs", "compare", "a", "b", "--dir", dir, "--out", out);
    const [settings, metrics] = printed.out.split("\n\n");
    assertEquals(lines(settings), [
      ["setting", ids[0], ids[1]],
      ["lr", "0.1", "0.01"],
      ["model.width", "8", "16"],
    ]);
    assertMatch(metrics, /^test\/accuracy +0\.625 +0\.75 +0\.875 +0\.875 +\+0\.25$/m);
    assertMatch(metrics, /^train\/loss +0\.375 +0\.25 +0\.125 +0\.125 +-0\.25$/m);
    assertEquals([...Deno.readDirSync(out)].map(({ name }) => name).sort(), [
      "test-accuracy.svg",
      "train-loss.svg",
    ]);
    const svg = await Deno.readTextFile(`${out}/test-accuracy.svg`);
    assertStringIncludes(svg, "<title>test/accuracy</title>");
    assertEquals(svg.match(/<path[^>]* stroke="#(0072B2|D55E00)"/g)?.length, 2);

    const json = JSON.parse(
      (await legoml("runs", "compare", "a", "c", "--dir", dir, "--json")).out,
    );
    assertEquals(json.config, { "model.width": { [ids[0]]: 8, [ids[2]]: null } });
    assertEquals(json.metrics["test/accuracy"][ids[2]].last, "NaN");
    const means = await legoml("runs", "compare", "a", "b", "c", ...["--dir", dir], ...by("lr"));
    assertEquals(means.code, 0, means.err);
    const groups = Deno.readTextFileSync(`${out}/by-lr/test-accuracy.svg`);
    assertMatch(groups, /lr 0\.1 \(2\)/);
    assertMatch(groups, /lr 0\.01</);
    assertMatch(
      (await legoml("runs", "compare", "a", "b", "--dir", dir, ...by("rate"))).err,
      /Cannot group by the setting rate: there are .*model\.width/,
    );
    assertMatch((await legoml("runs", "compare", "a", "b", "--by", "lr")).err, /expected --out/);
    const same = await legoml("runs", "compare", "a", ids[0], "--dir", dir);
    assertMatch(same.err, /^error: Cannot compare .* with itself: expected two runs$/);
    const unknown = await legoml("runs", "compare", "a", "b", "--dir", dir, "--metric", "f1");
    assertMatch(unknown.err, /Cannot find the metric f1 in these runs: there are test\/accuracy/);
  },
});

Deno.test({
  name: "runs best ranks by the best value, in the direction that the name or a flag tells",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    const best = async (...args: string[]) =>
      await legoml("runs", "best", "--dir", dir, "--json", ...args);
    const order = async (...args: string[]) => {
      const { runs } = JSON.parse((await best(...args)).out);
      return runs.map(({ id, value }: { id: string; value: number }) => [id, value]);
    };
    const accuracy = ["--metric", "test/accuracy"];
    assertEquals(await order(...accuracy), [[ids[1], 0.875], [ids[0], 0.75]]);
    assertEquals(await order(...accuracy, "--min"), [[ids[1], 0.25], [ids[0], 0.5]]);
    assertEquals(await order("--metric", "train/loss"), [[ids[1], 0.125], [ids[0], 0.25]]);
    const { out } = await legoml("runs", "best", "--dir", dir, ...accuracy);
    assertEquals(lines(out)[1], [ids[1], "completed", "0.875", "20", "2", "0.01", "16"]);
    assertMatch((await best()).err, /expected --metric NAME/);
    assertMatch((await best("--metric", "f1")).err, /there are test\/accuracy, train\/loss/);
    assertMatch((await best(...accuracy, "--min", "--max")).err, /expected one of them/);

    await run({ dir }, (session) => session.logScalars({ speed: 3 }));
    assertMatch((await best("--metric", "speed")).err, /good: expected --min or --max/);
    assertEquals((await order("--metric", "speed", "--max"))[0][1], 3);
  },
});

Deno.test({
  name: "runs export gives the values long or wide, as CSV or JSON",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await run({ dir }, (session) => {
      session.logScalars({ a: 1, 'b,"c': NaN }, { step: 1 });
      session.logScalars({ a: -0 }, { step: 2, epoch: 1 });
      session.logScalars({ d: null, step: 7 }, { step: 2, epoch: 1 });
      session.logScalars({ a: 4 }, { step: 2, epoch: 1 });
    });
    const of = async (...args: string[]) =>
      (await legoml("runs", "export", "latest", "--dir", dir, ...args)).out;
    const wide = [
      ["step", "epoch", "samples", "a", 'b,"c', "d", "step (value)"],
      ["1", "", "", "1", "NaN", "", ""],
      ["2", "1", "", "-0", "", "", "7"],
      ["2", "1", "", "4", "", "", ""],
    ];
    assertEquals(parse(await of("--wide")), wide);
    const long = parse(await of());
    assertEquals(long[0], ["time", "segment", "step", "epoch", "samples", "key", "value"]);
    assertEquals(long.slice(1).map((row) => row.slice(5)), [
      ["a", "1"],
      ['b,"c', "NaN"],
      ["a", "-0"],
      ["d", ""],
      ["step", "7"],
      ["a", "4"],
    ]);
    assertEquals(JSON.parse(await of("--wide", "--json"))[0], {
      step: 1,
      epoch: null,
      samples: null,
      a: 1,
      'b,"c': "NaN",
      d: null,
      "step (value)": null,
    });
    const file = `${dir}/wide.csv`;
    assertEquals(await of("--wide", "--out", file), "");
    assertEquals(parse(await Deno.readTextFile(file)), wide);
  },
});

Deno.test({
  name: "runs report writes a page, also as a process of its own",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    const { out, code, err } = await legomlProcess("runs", "report", "b", "--dir", dir);
    assertEquals([code, out, err], [0, `${dir}/${ids[1]}/report.html\n`, ""]);
    assertStringIncludes(readPage(await Deno.readTextFile(out.trim())).text, "test/accuracy 0.875");
    const failed = await legomlProcess("runs", "report", "x", "--dir", dir);
    assertEquals([failed.code, failed.out], [1, ""]);
    assertMatch(failed.err, /^error: Cannot find the run x in .*: there are /);
  },
});
