import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "@std/csv/parse";
import { readRun, run } from "../../track/mod.ts";
import { canRun, legoml } from "./cli_parts.ts";
import { readPage } from "./html_check.ts";

const ignore = !canRun;
const lines = (text: string) => text.split("\n").map((line) => line.split(/ {2,}/));

/** A run whose best values came behind the checkpoint from which it went on, and one beside it. */
async function resumedRun() {
  const dir = await Deno.makeTempDir();
  const at = (hour: number) => () => new Date(Date.UTC(2026, 0, 31, hour));
  const folder = await run({ dir, name: "a", now: at(1), config: { lr: 0.1 } }, (session) => {
    session.logScalars({ accuracy: 0.5, speed: 1 }, { step: 10, epoch: 1, split: "test" });
    session.logScalars({ accuracy: 0.99, lost: 7 }, { step: 20, epoch: 2, split: "test" });
    session.interrupt("SIGTERM");
    return session.dir;
  });
  await run({ resume: folder, now: at(2), config: { lr: 0.2 } }, (session) => {
    session.resumeFrom({ rows: 2, step: 10, epoch: 1 });
    session.logScalars({ accuracy: 0.75 }, { step: 20, epoch: 2, split: "test" });
    session.logScalars({ accuracy: 0.625 }, { step: 30, epoch: 3, split: "test" });
  });
  const other = await run({ dir, name: "b", now: at(3), config: { lr: 0.4 } }, (session) => {
    session.logScalars({ accuracy: 0.8 }, { step: 10, epoch: 1, split: "test" });
    session.interrupt("SIGINT");
    return session.dir;
  });
  const [id, otherId] = [folder, other].map((path) => path.slice(dir.length + 1));
  return { dir, id, otherId, folder };
}

Deno.test({
  name: "runs list and best leave superseded values out, and show interrupted and crashed runs",
  ignore,
  fn: async () => {
    const { dir, id, otherId, folder } = await resumedRun();
    const list = async () => lines((await legoml("runs", "list", "--dir", dir)).out).slice(1);
    const row = (cells: string[]) => cells.toSpliced(2, 1);
    assertEquals((await list()).map(row), [
      [otherId, "interrupted", "1", "test/accuracy", "0.8", "0.8", "0.4"],
      [id, "completed", "3", "test/accuracy", "0.75", "0.625", "0.2"],
    ]);
    const json = JSON.parse((await legoml("runs", "list", "--dir", dir, "--json")).out);
    assertEquals(json.map((each: { segments: number }) => each.segments), [1, 2]);
    const ranked = await legoml("runs", "best", "--dir", dir, "--metric=test/accuracy", "--json");
    assertEquals(
      JSON.parse(ranked.out).runs.map((
        each: { id: string; value: number },
      ) => [each.id, each.value]),
      [[otherId, 0.8], [id, 0.75]],
    );
    // a name that only superseded rows have is no metric any more
    const lost = await legoml("runs", "list", "--dir", dir, "--metric", "test/lost");
    assertMatch(lost.err, /Cannot find the metric test\/lost/);

    const { meta } = readRun(folder);
    const old = new Date(Date.now() - 601_000).toISOString();
    Object.assign(meta, { status: "running", heartbeatAt: old });
    Object.assign(meta.segments[1], { hostname: "elsewhere" });
    await Deno.writeTextFile(`${folder}/meta.json`, JSON.stringify(meta));
    assertEquals((await list())[1][1], "crashed");
    const shown = await legoml("runs", "show", "a", "--dir", dir);
    assertMatch(shown.out, /^state +crashed$/m);
    meta.heartbeatAt = new Date().toISOString();
    await Deno.writeTextFile(`${folder}/meta.json`, JSON.stringify(meta));
    assertEquals((await list())[1][1], "running");
  },
});

Deno.test({
  name: "runs show tells segments and superseded rows",
  ignore,
  fn: async () => {
    const { dir, id } = await resumedRun();
    const { out } = await legoml("runs", "show", "a", "--dir", dir);
    assertMatch(out, /^rows +6, of which 2 superseded$/m);
    const [, , segments, metrics] = out.split("\n\n").map(lines);
    assertEquals(segments.map((row) => row.slice(0, 5)), [
      ["segment", "began", "from step", "epoch", "row"],
      ["1", "2026-01-31T01:00:00.000Z", "–", "–", "–"],
      ["2", "2026-01-31T02:00:00.000Z", "10", "1", "2"],
    ]);
    assertEquals(metrics[1], ["test/accuracy", "0.625", "0.75", "20", "2", "3"]);
    const json = JSON.parse((await legoml("runs", "show", id, "--dir", dir, "--json")).out);
    assertEquals([json.rows, json.superseded, json.epochs], [6, 2, 3]);
    assertEquals(json.meta.segments[1].from, { rows: 2, step: 10, epoch: 1 });
    assertEquals(Object.keys(json.metrics), ["test/accuracy", "test/speed"]);
    const other = await legoml("runs", "show", "b", "--dir", dir);
    assertMatch(other.out, /^state +interrupted$/m);
    assertMatch(other.out, /^reason +SIGINT$/m);
    assert(!other.out.includes("superseded") && !other.out.includes("from step"));
  },
});

Deno.test({
  name: "runs compare and export leave superseded values out",
  ignore,
  fn: async () => {
    const { dir, id, otherId } = await resumedRun();
    const out = `${dir}/charts`;
    const flags = ["--metric", "test/accuracy", "--metric", "test/speed", "--out", out, "--json"];
    const compared = await legoml("runs", "compare", "a", "b", "--dir", dir, ...flags);
    const { metrics, charts } = JSON.parse(compared.out);
    assertEquals(metrics["test/accuracy"][id].best, { value: 0.75, step: 20, epoch: 2 });
    assertEquals([metrics["test/accuracy"][id].count, metrics["test/speed"][otherId]], [3, null]);
    assertEquals(charts, [`${out}/test-accuracy.svg`, `${out}/test-speed.svg`]);
    const of = async (...args: string[]) =>
      (await legoml("runs", "export", "a", "--dir", dir, ...args)).out;
    assertEquals(parse(await of("--wide")), [
      ["step", "epoch", "samples", "test/accuracy", "test/speed"],
      ["10", "1", "", "0.5", "1"],
      ["20", "2", "", "0.75", ""],
      ["30", "3", "", "0.625", ""],
    ]);
    assertEquals(parse(await of()).map((row) => [row[1], row[6]]), [
      ["segment", "value"],
      ["1", "0.5"],
      ["1", "1"],
      ["2", "0.75"],
      ["2", "0.625"],
    ]);
    const file = `${dir}/long.json`;
    assertEquals(await of("--out", file, "--json"), "");
    assertEquals(JSON.parse(await Deno.readTextFile(file)).length, 4);
  },
});

Deno.test({
  name: "runs report names the pages it wrote as JSON",
  ignore,
  fn: async () => {
    const { dir, id, otherId } = await resumedRun();
    const { out } = await legoml("runs", "report", "a", "b", "--dir", dir, "--json");
    const paths: string[] = JSON.parse(out);
    assertEquals(paths, [id, otherId].map((each) => `${dir}/${each}/report.html`));
    for (const path of paths) readPage(await Deno.readTextFile(path));
  },
});

Deno.test({
  name: "runs best takes a direction of its own, and shows what it ranks",
  ignore,
  fn: async () => {
    const { dir, id } = await resumedRun();
    const { out } = await legoml("runs", "best", "--dir", dir, "--metric", "test/speed", "--min");
    assertEquals(lines(out)[1].slice(0, 5), [id, "completed", "1", "10", "1"]);
  },
});

Deno.test({
  name: "serve tells its address as JSON, shows the runs, and ends in order at SIGINT",
  ignore: ignore || Deno.build.os === "windows",
  fn: async () => {
    const { dir, id } = await resumedRun();
    const cli = new URL("../../track/cli.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", cli, "serve", "--dir", dir, "--port", "0", "--json"],
      env: { NO_COLOR: "1" },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const told = JSON.parse((await reader.read()).value!);
    assertEquals(told.dir, dir);
    const { text } = readPage(await (await fetch(told.url)).text());
    assertStringIncludes(text, id);
    assertStringIncludes(text, "test/accuracy 0.75");
    child.kill("SIGINT");
    const [{ code }, err] = await Promise.all([child.status, child.stderr.text()]);
    await reader.cancel();
    assertEquals(code, 0);
    assertEquals(err, `${told.url} shows the runs in ${dir}; Ctrl-C ends it\n`);
  },
});

Deno.test({
  name: "sweep draws from ranges, orders either way, and runs again what was completed",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const file = `${dir}/train.ts`;
    await Deno.writeTextFile(
      file,
      `const value = Number(Deno.args[Deno.args.indexOf("--x") + 1]);
       await Deno.writeTextFile("${dir}/count", "x", { append: true });
       console.log(JSON.stringify({ value }));`,
    );
    const flags = ["--random", "x=int:1..1000", "--samples", "3", "--draw-seed", "5", "--json"];
    const sweep = async (...args: string[]) => {
      const line = ["sweep", file, ...flags, "--out", `${dir}/out`, "--metric", "value", ...args];
      const { code, out, err } = await legoml(...line);
      assertEquals(code, 0, err);
      return JSON.parse(out).settings.map((each: { settings: { x: string } }) =>
        Number(each.settings.x)
      );
    };
    const count = async () => (await Deno.readTextFile(`${dir}/count`)).length;
    const up = await sweep("--min");
    assertEquals([up.length, up, await count()], [
      3,
      up.toSorted((a: number, b: number) => a - b),
      3,
    ]);
    assertEquals(await sweep("--max"), up.toReversed());
    assertEquals(await count(), 3);
    assertEquals(await sweep("--max", "--again"), up.toReversed());
    assertEquals(await count(), 6);
  },
});
