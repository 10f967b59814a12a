import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  calibrationArtifact,
  reportHtml,
  run,
  type RunSession,
  writeReport,
} from "../../track/mod.ts";
import { readSeries } from "../../track/report_series.ts";
import { readHead } from "../../track/report_state.ts";
import { readPage } from "./html_check.ts";

const granted = async (name: "read" | "write" | "run") =>
  (await Deno.permissions.query({ name })).state === "granted";
const ignore = !(await granted("read") && await granted("write") && await granted("run"));

const START = Date.UTC(2026, 0, 31, 23, 59, 58);
const PNG = Uint8Array.fromBase64(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
);

const BINS = [
  { low: 0, high: 0.5, count: 0, confidence: NaN, accuracy: NaN },
  { low: 0.5, high: 0.75, count: 30, confidence: 0.625, accuracy: 0.5 },
  { low: 0.75, high: 1, count: 10, confidence: 0.875, accuracy: 1 },
];

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
    session.saveArtifact("calibration.json", calibrationArtifact(BINS));
    session.saveArtifact("predictions.json", {
      kind: "predictions",
      samples: [
        { image: "samples/0.png", target: "cat", prediction: "cat", confidence: 0.75 },
        { text: "wo<of", target: "dog", prediction: "cat" },
        { image: "samples/none.png", prediction: 7 },
      ],
    });
    session.saveArtifact("samples/0.png", PNG);
    session.saveArtifact("plots/pixel.png", PNG);
    session.saveArtifact("plots/large.png", new Uint8Array(1_000_001));
    session.logEvent("timing", { step: 3, "waiting for data": 0.75 });
    session.logEvent("timing", { step: 0.25, note: "none" });
    session.logEvent("engineEnd", {
      engine: "trainer",
      reason: "done",
      epoch: 3,
      better: { "test/accuracy": "down" },
    });
    session.logText("samples", "once upon a < time");
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
      "calibration",
      "predictions",
      "images",
      "texts",
      "timing",
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
        "test/accuracy 0.9 0.3 least 10 1 3",
        "recorded by the run for 1 of 6 metrics",
        "40 samples: expected calibration error 0.125, largest 0.125",
        "0.5 to 0.75 30 0.625 0.5 -0.125",
        "cat cat 0.75 right",
        "wo<of dog cat – wrong",
        "samples/none.png is not there – 7 –",
        "once upon a < time",
        "step 3.25 81.3 %",
        "waiting for data 0.75 18.8 %",
        "test/loss 0.5 0.375 least 20 2 3",
        "severity warning, text loss rose",
        "step/loss, smoothed",
        "cat dog predicted target",
        "artifacts/plots/large.png is not shown here: 1 MB",
        `deno ${Deno.version.deno}`,
        "logs/scalars.csv",
      ]
    ) assertStringIncludes(text, words);
    assertEquals(html.split(`src="data:image/png;base64,${PNG.toBase64()}"`).length, 3);
    assertEquals(html.includes('<figcaption><a href="artifacts/samples/0.png">'), false);
    assertStringIncludes(html, `href="logs/scalars.csv"`);
  },
});

Deno.test({
  name: "reportHtml() puts training and evaluation of a metric on the same axes",
  ignore,
  fn: async () => {
    const charts = reportHtml(await madeUp()).match(/<svg[\s\S]*?<\/svg>/g)!;
    const titles = charts.map((svg) => svg.match(/<title>(.*?)<\/title>/)![1]);
    assertEquals(titles.slice(0, 4), ["loss", "accuracy", "gradNorm", "lr"]);
    for (const name of ["train/loss", "test/loss", "step/loss, smoothed"]) {
      assertStringIncludes(charts[0], `>${name}</text>`);
    }
    assertStringIncludes(charts[0], ">step</text>");
    assert(charts.every((svg) => /<title>.+<\/title>\n<desc>.{10,}<\/desc>/.test(svg)));
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

async function changeMeta(
  dir: string,
  change: (meta: { segments: Record<string, unknown>[] }) => void,
) {
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
    assertEquals(state(25 * 3_600_000), "crashed");
    await changeMeta(session.dir, ({ segments }) => void (segments[0].hostname = "elsewhere"));
    assertEquals([state(9 * 60_000), state(11 * 60_000)], ["running", "crashed"]);

    const child = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" })
      .spawn();
    await child.status;
    await changeMeta(session.dir, ({ segments }) => {
      Object.assign(segments[0], { hostname: Deno.hostname(), pid: child.pid });
    });
    assertEquals(state(), Deno.build.os === "linux" ? "crashed" : "running");
    session.interrupt("SIGTERM");
    await session.close();
    assertEquals(state(), "interrupted");
    assertStringIncludes(
      readPage(reportHtml(session.dir)).text,
      "state interrupted reason SIGTERM",
    );
    assert(!reportHtml(session.dir, { refreshSeconds: 5 }).includes("refresh"));

    const failing = await open();
    failing.fail(new RangeError("no memory"));
    await failing.close();
    assertEquals(readHead(failing.dir, new Date()).state, "failed");
    assertStringIncludes(readPage(reportHtml(failing.dir)).text, "RangeError: no memory");
  },
});

Deno.test({
  name: "reportHtml() shows restarts: where each went on, how much was superseded, and the trouble",
  ignore,
  fn: async () => {
    const dir = await madeUp();
    await using session = await run({ resume: dir });
    const scalars = [1, 2, 3].map((k) => ({ loss: k / 10, accuracy: 0.5 }));
    session.resumeFrom({ rows: readSeries(dir).rows - 61, step: 20, epoch: 2 });
    scalars.forEach((values, i) => {
      session.logScalars(values, { step: 21 + i, epoch: 3, split: "train" });
    });
    session.logEvent("sinkFailed", { sink: "TensorBoard", reason: "ENOSPC" });
    session.logEvent("checkpointFallback", { file: "a" });
    session.logEvent("checkpointSaved", { file: "b" });
    const html = reportHtml(dir);
    const { ids, text } = readPage(html);
    assert(ids.includes("segments"));
    assertStringIncludes(text, "61 values behind the checkpoints that were loaded are superseded");
    assertStringIncludes(text, "restarts 1");
    assertMatch(text, /Restarts segment began from step from epoch process 1 \S+ – – \d+ on/);
    assertMatch(text, / 2 \S+ 20 2 \d+ on/);
    const alerts = text.slice(text.indexOf("Alerts and errors"), text.indexOf("Metrics metric"));
    assertMatch(alerts, /! sinkFailed sink TensorBoard.*! checkpointFallback file a/);
    assert(!alerts.includes("checkpointSaved"));
    assertStringIncludes(html, "Marked: restart at 20.");
    // The values of steps were superseded, so they are no metric of the run any more.
    assert(
      !text.slice(text.indexOf("Metrics metric"), text.indexOf("Curves")).includes("step/loss"),
    );
  },
});
