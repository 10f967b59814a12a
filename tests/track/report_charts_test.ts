import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  chartOf,
  groupsOf,
  meanChart,
  meanCurve,
  overlaidChart,
  smoothed,
} from "../../track/report_charts.ts";
import type { Series } from "../../track/report_series.ts";
import type { RunSegment } from "../../track/segments.ts";
import { assertClose } from "../util.ts";

function seriesAt(key: string, steps: number[], values: (number | null)[]): Series {
  return { key, steps, epochs: steps.map(() => NaN), samples: steps.map(() => NaN), values };
}

function segment(number: number, step: number | null): RunSegment {
  const from = step === null ? null : { rows: step, step, epoch: 0 };
  return { segment: number, startedAt: "2026-01-31T00:00:00Z", from, pid: 1, hostname: null };
}

const markPlaces = (svg: string) =>
  [...svg.matchAll(/<line x1="([\d.]+)"[^>]*stroke-dasharray="2 4"/g)].map((m) => Number(m[1]));

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

Deno.test("a run that was resumed has marks, and what was superseded is faint and sets no line", () => {
  const key = "train/loss";
  const series = new Map([[key, seriesAt(key, [1, 2, 3, 4], [4, 3, 2, 1])]]);
  const superseded = new Map([
    [key, seriesAt(key, [3, 4], [9, 9])],
    ["train/gone", seriesAt("train/gone", [3], [5])],
  ]);
  const groups = groupsOf({ series, superseded, rows: 7, lastTime: null });
  assertEquals(groups.map(({ name }) => name), ["loss", "gone"]);
  const svg = chartOf(groups[0], [segment(1, null), segment(2, 2), segment(3, 3)]);
  assertEquals(markPlaces(svg).length, 2);
  assertMatch(svg, />restart 1<\/text>/);
  assertMatch(
    svg,
    /<desc>One line over step\. train\/loss: from 4 at 1 to 1 at 4, least 1 at 4, largest 4/,
  );
  const faint = [...svg.matchAll(/<path d="M([^"]*)"[^>]*stroke-opacity="0.4"/g)];
  assertEquals(faint.map((m) => m[1].split("L").length), [2]);
  const gone = chartOf(groups[1], [segment(1, null), segment(2, 2)]);
  assertMatch(gone, /<circle[^>]*fill-opacity="0.4"/);
  assertMatch(gone, />restart<\/text>/);
  assertEquals(markPlaces(chartOf(groups[0], [segment(1, null), segment(2, null)])), []);
});

Deno.test("a curve of many values is smoothed, with its values faint under it", () => {
  const steps = Array.from({ length: 60 }, (_, i) => i + 1);
  const one = seriesAt("step/loss", steps, steps.map((i) => i % 2));
  const group = { name: "loss", series: [one], superseded: new Map() };
  const svg = chartOf(group);
  const widths = [...svg.matchAll(/stroke-width="([\d.]+)"(?: stroke-opacity="([\d.]+)")?/g)];
  assertEquals(widths.map((m) => m[1]), ["1.2", "1.8"]);
  const heights = [...svg.matchAll(/<path d="M([^"]*)" fill="none" stroke="#0072B2"/g)].map((m) =>
    m[1].split("L").map((p) => Number(p.split(" ")[1]))
  );
  const swing = (list: number[]) => Math.max(...list.slice(-20)) - Math.min(...list.slice(-20));
  assert(swing(heights[0]) > 5 * swing(heights[1]), `${heights.map(swing)}`);
});

Deno.test("meanCurve() is the mean and the sample deviation where all runs have a value", () => {
  const curves = [
    { x: [1, 2, 3, 5, 6], y: [1, 2, 3, NaN, 1] },
    { x: [5, 3, 2, 1, 4, 6], y: [7, 5, 4, 3, 2, 1] },
    { x: [1, 2, 3, 5, 6], y: [8, 9, 1, 7, Infinity] },
  ];
  const { x, mean, deviation } = meanCurve(curves);
  assertEquals(x, [1, 2, 3, 5, 6]);
  assertClose(mean.slice(0, 3), [4, 5, 3], { rel: 1e-15, abs: 0 });
  // Of 1, 3, 8 the squares of the distances to 4 are 9, 1, 16; of 2, 4, 9 they are as many.
  assertClose(deviation.slice(0, 3), [Math.sqrt(13), Math.sqrt(13), 2], { rel: 1e-14, abs: 0 });
  assertEquals([mean[3], mean[4], deviation[3]], [NaN, NaN, NaN]);
  assertEquals(meanCurve([{ x: [1], y: [5] }]), { x: [1], mean: [5], deviation: [0] });
  assertEquals(meanCurve([{ x: [1], y: [5] }, { x: [2], y: [5] }]).x, []);
  assertEquals(meanCurve([]), { x: [], mean: [], deviation: [] });
});

Deno.test("meanChart() has a band for each group of several runs, overlaidChart() a line for each run", () => {
  const runs = [0, 2, 4].map((y) => seriesAt("loss", [1, 2], [y, y + 1]));
  const svg = meanChart("loss", new Map([["lr=1", runs], ["lr=2", runs.slice(0, 1)]]));
  assertEquals([...svg.matchAll(/fill-opacity="0.2"/g)].length, 1);
  for (const name of ["lr=1 (3)", "lr=2", "step", "loss"]) assert(svg.includes(`>${name}</text>`));
  const points = (svg: string) =>
    [...svg.matchAll(/<path d="M([^"]*)" fill="none" stroke="#(?!444)/g)].map((m) => m[1]);
  const overlaid = overlaidChart("loss", new Map(runs.map((one, i) => [`run ${i}`, one])));
  assertEquals(points(overlaid).length, 3);
  // The mean of 0, 2, 4 is the second run.
  const alone = meanChart("loss", new Map([["all", runs], ["two", runs.slice(1, 2)]]));
  assertEquals(points(alone)[0], points(alone)[1]);
});
