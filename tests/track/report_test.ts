import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { readScalars, reportHtml, run, type RunSession, writeReport } from "../../track/mod.ts";
import { smoothed } from "../../track/report_charts.ts";
import { confusionOf } from "../../track/report_files.ts";
import {
  directionOf,
  extremeOf,
  finalValue,
  mainMetric,
  readSeries,
  seriesOf,
} from "../../track/report_series.ts";
import { readHead } from "../../track/report_state.ts";
import { readPage } from "./html_check.ts";

const granted = async (name: "read" | "write" | "run") =>
  (await Deno.permissions.query({ name })).state === "granted";
const ignore = !(await granted("read") && await granted("write") && await granted("run"));

const START = Date.UTC(2026, 0, 31, 23, 59, 58);
const PNG = Uint8Array.fromBase64(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
);

function clock(): () => Date {
  let seconds = 0;
  return () => new Date(START + 1000 * seconds++);
}

/** A run of three epochs with all that a report shows. */
async function madeUp(name = "digits"): Promise<string> {
  const dir = await Deno.makeTempDir();
  const config = { lr: 0.125, seed: 7, model: { dims: [8, 3] }, context: { device: "cpu vector" } };
  return await run({ dir, name, config, notes: "first try", now: clock() }, (session) => {
    session.logEvent("engineStart", { maxEpochs: 3 });
    for (let epoch = 1; epoch <= 3; epoch++) {
      const at = { step: 10 * epoch, epoch };
      session.logScalars({ loss: 1 / epoch, lr: 0.125 / epoch, gradNorm: 2 }, {
        ...at,
        split: "train",
      });
      session.logScalars({ loss: [0.9, 0.375, 0.5][epoch - 1], accuracy: 0.3 * epoch }, {
        ...at,
        split: "test",
      });
    }
    for (let step = 1; step <= 60; step++) {
      session.logScalars({ loss: step }, { step, split: "step" });
    }
    session.logEvent("alert", { severity: "warning", text: "loss rose" });
    session.saveArtifact("confusion.json", {
      kind: "confusionMatrix",
      classNames: ["cat", "dog"],
      matrix: [[48, 2], [5, 45]],
    });
    session.saveArtifact("plots/pixel.png", PNG);
    session.saveArtifact("plots/large.png", new Uint8Array(1_000_001));
    session.logEvent("engineEnd", { engine: "trainer", reason: "done", epoch: 3 });
    return session.dir;
  });
}

Deno.test({
  name: "reportHtml() shows a run on one page that needs nothing else",
  ignore,
  fn: async () => {
    const dir = await madeUp();
    const html = reportHtml(dir);
    const { ids, text, names } = readPage(html);
    assertEquals(ids, [
      "summary",
      "alerts",
      "metrics",
      "curves",
      "optimization",
      "confusion",
      "images",
      "config",
      "environment",
      "events",
      "files",
    ]);
    assert(!names.has("script") && !names.has("link"));
    const outside = [...html.matchAll(/(?:src|href|url)[=(]"?([^"\s)]*)/g)].map(([, url]) => url);
    assert(outside.every((url) => !/^(https?:)?\/\//.test(url)), outside.join());
    assertStringIncludes(html, "prefers-color-scheme: dark");
    for (
      const words of [
        "digits",
        "state completed",
        "device cpu vector",
        "seed 7",
        "epochs 3",
        "began 2026-01-31T23:59:58.000Z",
        "lr 0.125",
        "model.dims [8,3]",
        "first try",
        "test/accuracy 0.9 0.9 largest 30 3 3",
        "test/loss 0.5 0.375 least 20 2 3",
        "severity warning, text loss rose",
        "step/loss, smoothed",
        "cat dog predicted target",
        "artifacts/plots/large.png is not shown here: 1 MB",
        `deno ${Deno.version.deno}`,
        "logs/scalars.csv",
      ]
    ) assertStringIncludes(text, words);
    assertStringIncludes(html, `src="data:image/png;base64,${PNG.toBase64()}"`);
    assertStringIncludes(html, `href="logs/scalars.csv"`);
  },
});

Deno.test({
  name: "reportHtml() puts training and evaluation of a metric on the same axes",
  ignore,
  fn: async () => {
    const charts = reportHtml(await madeUp()).match(/<svg[\s\S]*?<\/svg>/g)!;
    const titles = charts.map((svg) => svg.match(/<title>(.*?)<\/title>/)![1]);
    assertEquals(titles.slice(0, 4), ["accuracy", "loss", "gradNorm", "lr"]);
    for (const name of ["train/loss", "test/loss", "step/loss"]) {
      assertStringIncludes(charts[1], `>${name}</text>`);
    }
    assertStringIncludes(charts[1], ">step</text>");
  },
});

Deno.test({
  name: "writeReport() writes the same page whenever it is called, and does not list itself",
  ignore,
  fn: async () => {
    const dir = await madeUp();
    const path = writeReport(dir, { now: new Date(START) });
    assertEquals(path, `${dir}/report.html`);
    const first = await Deno.readTextFile(path);
    writeReport(dir, { now: new Date(START + 1e12) });
    assertEquals(await Deno.readTextFile(path), first);
    assert(!readPage(first).text.includes("report.html"));
  },
});

Deno.test({
  name: "reportHtml() escapes names, settings, errors, events and files",
  ignore,
  fn: async () => {
    const evil = `<script>alert("1")</script>&'`;
    const dir = await Deno.makeTempDir();
    let folder = "";
    const options = {
      dir,
      name: evil,
      notes: evil,
      tags: { [evil]: evil },
      config: { [evil]: evil },
    };
    await run(options, (session) => {
      folder = session.dir;
      session.logScalars({ [evil]: 1, [`train/${evil}`]: 2 });
      session.logEvent(evil, { [evil]: evil });
      session.saveArtifact("confusion.json", {
        kind: "confusionMatrix",
        classNames: [evil],
        matrix: [[1]],
      });
      throw new Error(evil);
    }).catch((error) => assertEquals(error.message, evil));
    await Deno.writeTextFile(`${folder}/artifacts/<b>&"c.txt`, "");
    const html = reportHtml(folder);
    const { names, text } = readPage(html);
    assert(!names.has("script") && !names.has("b<"));
    assertStringIncludes(text, `Error: ${evil}`);
    assertStringIncludes(text, `artifacts/<b>&"c.txt`);
    assertStringIncludes(html, `href="artifacts/%3Cb%3E%26%22c.txt"`);
  },
});

Deno.test({
  name: "reportHtml() takes NaN, infinities, missing values and numbers at the ends of the range",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const folder = await run({ dir }, (session) => {
      const lists = {
        nan: [NaN, NaN],
        empty: [null, null],
        inf: [Infinity, -Infinity],
        huge: [1e308, -1e308],
        tiny: [5e-324, 1e308],
        loss: [0.5, NaN],
      };
      for (const [key, values] of Object.entries(lists)) {
        values.forEach((value, i) => session.logScalars({ [key]: value }, { step: i + 1 }));
      }
      return session.dir;
    });
    const html = reportHtml(folder);
    const { text } = readPage(html);
    assertStringIncludes(text, "loss NaN 0.5 least 1 – 2 1");
    assertStringIncludes(text, "inf -Infinity – – – – 2 2");
    assert(!/[MLx12y]="?-?(NaN|Infinity)/.test(html.replaceAll(/<td.*?<\/td>/g, "")));
    assert(![...html.matchAll(/ d="([^"]*)"/g)].some(([, d]) => /NaN|Infinity/.test(d)));
  },
});

Deno.test({
  name: "reportHtml() skips a torn last line, and shows runs without any values",
  ignore,
  fn: async () => {
    const dir = await madeUp();
    const before = readSeries(dir);
    const torn = new TextEncoder().encode("2026-01-31T23:59:59.250Z,70,é").slice(0, -1);
    await Deno.writeFile(`${dir}/logs/scalars.csv`, torn, { append: true });
    assertEquals(readSeries(dir), before);
    readPage(reportHtml(dir));
    await Deno.remove(`${dir}/logs`, { recursive: true });
    assertStringIncludes(readPage(reportHtml(dir)).text, "No values were logged.");
  },
});

async function open(): Promise<RunSession> {
  return await run({ dir: await Deno.makeTempDir() });
}

async function changeMeta(dir: string, change: (meta: { env: Record<string, unknown> }) => void) {
  const meta = JSON.parse(await Deno.readTextFile(`${dir}/meta.json`));
  change(meta);
  await Deno.writeTextFile(`${dir}/meta.json`, JSON.stringify(meta));
}

Deno.test({
  name: "a run is running, crashed, interrupted, failed or completed",
  ignore,
  fn: async () => {
    const session = await open();
    session.logScalars({ loss: 1 }, { step: 1 });
    const state = (later = 0) => readHead(session.dir, new Date(Date.now() + later)).state;
    assertEquals(state(), "running");
    const loading = reportHtml(session.dir, { refreshSeconds: 5 });
    assertStringIncludes(loading, `<meta http-equiv="refresh" content="5"/>`);
    assertStringIncludes(readPage(loading).text, "state running");
    assertEquals(state(25 * 3_600_000), "crashed?");
    await changeMeta(session.dir, ({ env }) => void (env.hostname = "elsewhere"));
    assertEquals([state(9 * 60_000), state(11 * 60_000)], ["running", "crashed?"]);

    const child = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" })
      .spawn();
    await child.status;
    await changeMeta(session.dir, ({ env }) => {
      Object.assign(env, { hostname: Deno.hostname(), pid: child.pid });
    });
    assertEquals(state(), Deno.build.os === "linux" ? "crashed?" : "running");
    session.logEvent("engineEnd", { engine: "trainer", reason: "interrupted" });
    await session.close();
    assertEquals(state(), "interrupted");
    assert(!reportHtml(session.dir, { refreshSeconds: 5 }).includes("refresh"));

    const failing = await open();
    failing.fail(new RangeError("no memory"));
    await failing.close();
    assertEquals(readHead(failing.dir, new Date()).state, "failed");
    assertStringIncludes(readPage(reportHtml(failing.dir)).text, "RangeError: no memory");
  },
});

Deno.test({
  name: "readSeries() reads what readScalars() reads, whatever the names and values",
  ignore,
  fn: async () => {
    const count = fc.option(fc.nat(), { nil: undefined });
    const value = fc.option(fc.double(), { nil: null });
    const key = fc.oneof(fc.constantFrom("a", "train/b", 'q"', "x,y"), fc.string({ minLength: 1 }))
      .filter((text) => !/\p{Cc}/u.test(text) && text.isWellFormed());
    const rows = fc.array(fc.tuple(key, value, count, count, count), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(rows, async (list) => {
        await using session = await open();
        for (const [name, number, step, epoch, samples] of list) {
          session.logScalars({ [name]: number }, { step, epoch, samples });
        }
        const path = `${session.dir}/logs/scalars.csv`;
        const expected = list.length === 0 ? [] : readScalars(path);
        assertEquals(readSeries(session.dir), seriesOf(expected));
      }),
      { numRuns: 30 },
    );
  },
});

Deno.test({
  name: "readSeries() refuses lines as readScalars() does",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await Deno.mkdir(`${dir}/logs`);
    const path = `${dir}/logs/scalars.csv`;
    for (
      const line of [
        "yesterday,1,0,64,a,1",
        "2026-01-31T23:59:59Z,1.5,0,64,a,1",
        "2026-01-31T23:59:59Z,1,0,64,a,nan",
        "2026-01-31T23:59:59Z,1,0,64,a, 1",
        "2026-01-31T23:59:59Z,1,0,64,a",
        "2026-01-31T23:59:59Z,1,0,64,a,1,2",
      ]
    ) {
      const good = "2026-01-31T23:59:59Z,1,0,64,a,1";
      await Deno.writeTextFile(
        path,
        `time,step,epoch,samples,key,value\r\n${good}\r\n${line}\r\n`,
      );
      const { message } = assertThrows(() => readScalars(path), SyntaxError);
      assertEquals(assertThrows(() => readSeries(dir), SyntaxError).message, message);
    }
  },
});

Deno.test("extremeOf() takes the first of the best finite values", () => {
  const row = (value: number | null, step: number) => ({
    time: new Date(START),
    key: "a",
    value,
    step,
    epoch: null,
    samples: null,
  });
  const values = [NaN, 3, null, 1, -Infinity, 1, 3, Infinity, NaN];
  const series = seriesOf(values.map((value, i) => row(value, i))).series.get("a")!;
  assertEquals(extremeOf(series, "min"), { value: 1, step: 3, epoch: null });
  assertEquals(extremeOf(series, "max"), { value: 3, step: 1, epoch: null });
  assertEquals(finalValue(series), NaN);
  assertEquals(extremeOf(seriesOf([row(NaN, 1)]).series.get("a")!, "min"), null);
});

Deno.test("names tell which values of a metric are good", () => {
  for (const key of ["loss", "test/loss", "trainLoss", "eval/perplexity", "val_loss", "mae"]) {
    assertEquals(directionOf(key), "min", key);
  }
  for (
    const key of ["test/accuracy", "testAccuracy", "report/f1", "accuracy@5", "top5_acc", "r2"]
  ) {
    assertEquals(directionOf(key), "max", key);
  }
  for (const key of ["lr", "train/gradNorm", "seconds", "glossary", "facc"]) {
    assertEquals(directionOf(key), null, key);
  }
  assertEquals(
    mainMetric(["step/loss", "train/accuracy", "test/loss", "test/accuracy"]),
    "test/accuracy",
  );
  assertEquals(mainMetric(["lr", "step/loss", "train/loss"]), "train/loss");
  assertEquals(mainMetric(["lr"]), null);
});

Deno.test("smoothed() is the mean with weights that fall by a factor", () => {
  const values = [4, -1, NaN, 2.5, 8];
  const keep = 1 - 2 / 11;
  const finite = [4, -1, 2.5, 8];
  const mean = (n: number) => {
    const weights = finite.slice(0, n).map((_, i) => keep ** (n - 1 - i));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.reduce((sum, weight, i) => sum + weight * finite[i], 0) / total;
  };
  const expected = [mean(1), mean(2), NaN, mean(3), mean(4)];
  smoothed(values, 10).forEach((value, i) => {
    assert(
      Object.is(value, expected[i]) || Math.abs(value - expected[i]) < 1e-12,
      `${i}: ${value}`,
    );
  });
  assertEquals(smoothed([3, 3, 3], 10), [3, 3, 3]);
});

Deno.test("confusionOf() knows the form by its kind, and bare matrices by the file's name", () => {
  const of = (path: string, value: unknown) =>
    confusionOf(path, new TextEncoder().encode(JSON.stringify(value)));
  const kind = "confusionMatrix";
  const matrix = [[1, 2], [3, 4]];
  assertEquals(of("artifacts/a.json", { kind, matrix }), { kind, matrix });
  assertEquals(of("artifacts/confusion-test.json", matrix), { kind, matrix });
  assertEquals(of("artifacts/other.json", matrix), null);
  assertEquals(of("artifacts/a.json", { kind, matrix: [[1, 2]] }), null);
  assertEquals(of("artifacts/a.json", { kind, matrix, classNames: ["a"] }), { kind, matrix });
  assertEquals(of("artifacts/confusion.json", null), null);
  assertEquals(confusionOf("confusion.json", new Uint8Array([0xff])), null);
});
