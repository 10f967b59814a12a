import { barChart, heatmap, lineChart } from "../../track/mod.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { assertClose } from "../util.ts";

/** Fails unless every element is closed and every character of text is escaped. */
function checkMarkup(svg: string): void {
  const open: string[] = [];
  const rest = svg.replace(
    /<(\/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<>]*")*)(\/?)>/g,
    (_, end, name, _a, self) => {
      if (end === "/") assertEquals(open.pop(), name);
      else if (self !== "/") open.push(name);
      return "";
    },
  );
  assertEquals([open, /[<>]/.test(rest), /&(?!(amp|lt|gt|quot|#39);)/.test(svg)], [
    [],
    false,
    false,
  ]);
  assert(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"'));
}

/** Texts in the order of the picture. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((m) => m[1]);
}

/** Points of the lines, run by run. */
function lines(svg: string): [number, number][][] {
  const paths = [...svg.matchAll(/<path d="([^"]*)" fill="none" stroke="#(?!444444)/g)];
  return paths.flatMap(([, d]) =>
    d.split("M").slice(1).map((run) =>
      run.split("L").map((p) => p.split(" ").map(Number) as [number, number])
    )
  );
}

/** Pixels of the numbers at the x axis (anchor middle) or the y axis (anchor end). */
function tickPlaces(svg: string, anchor: "middle" | "end"): Map<number, number> {
  const found = svg.matchAll(
    /<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)" font-size="12">([^<]*)</g,
  );
  const own = [...found].filter((m) => m[3] === anchor);
  return new Map(own.map((m) => [
    Number(m[4].replace("−", "-").replace(",", "")),
    anchor === "middle" ? Number(m[1]) : Number(m[2]) - 4,
  ]));
}

Deno.test("a line goes through its points, as the axes tell", () => {
  const svg = lineChart({
    series: [{ name: "loss", x: [0, 5, 10], y: [-1, 2, 0.5] }],
    title: "Loss",
    xLabel: "step",
    yLabel: "loss",
  });
  checkMarkup(svg);
  const [xs, ys] = [tickPlaces(svg, "middle"), tickPlaces(svg, "end")];
  assertEquals([...ys.keys()], [-1, -0.5, 0, 0.5, 1, 1.5, 2]);
  const [run] = lines(svg);
  const want = [[0, -1], [5, 2], [10, 0.5]].map(([x, y]) => {
    const [x0, x1, y0, y1] = [xs.get(0)!, xs.get(10)!, ys.get(-1)!, ys.get(2)!];
    return [x0 + (x1 - x0) * x / 10, y0 + (y1 - y0) * (y + 1) / 3];
  });
  run.forEach((p, i) => assertClose(p, want[i], { rel: 0, abs: 0.02 }));
  assertEquals(texts(svg).filter((t) => ["Loss", "step", "loss"].includes(t)), [
    "Loss",
    "step",
    "loss",
  ]);
});

Deno.test("a logarithmic axis spreads ratios evenly, and lines have gaps at what it cannot show", () => {
  const y = [1, 10, 0, 100, 1000, NaN, 5, -1, Infinity];
  const svg = lineChart({
    series: [{ name: "a", x: y.map((_, i) => i), y }],
    yScale: "log",
  });
  checkMarkup(svg);
  const runs = lines(svg);
  assertEquals(runs.map((run) => run.length), [2, 2]);
  const [[a, b], [c, d]] = runs;
  assertClose([a[1] - b[1], b[1] - c[1]], Array(2).fill(c[1] - d[1]), { rel: 0, abs: 0.03 });
  assertEquals(svg.match(/<circle/g)!.length, 1);
  assertEquals(
    [...tickPlaces(svg, "end").keys()].filter((t) => [1, 10, 100, 1000].includes(t)).length,
    4,
  );
});

Deno.test("lines have a legend, different looks, and escaped names", () => {
  const series = Array.from(
    { length: 9 },
    (_, i) => ({ name: `<run> & "${i}"`, x: [0, 1], y: [i, 1] }),
  );
  const svg = lineChart({ series, title: "a < b & c\u0001", height: 500 });
  checkMarkup(svg);
  const names = texts(svg).filter((t) => t.startsWith("&lt;run&gt;"));
  assertEquals(names, series.map((_, i) => `&lt;run&gt; &amp; &quot;${i}&quot;`));
  const looks = [
    ...svg.matchAll(/stroke="(#\w+)"(?: stroke-dasharray="([^"]+)")? stroke-width="1.8"/g),
  ];
  assertEquals(new Set(looks.map((m) => `${m[1]} ${m[2]}`)).size, 9);
  assert(svg.includes("a &lt; b &amp; c\ufffd"));
  const few = lineChart({ series: [...series, ...series], height: 200 });
  assertMatch(texts(few).at(-1)!, /^and \d+ more$/);
});

Deno.test("many points are thinned, and no peak is lost", () => {
  const count = 200_000;
  const x = Float64Array.from({ length: count }, (_, i) => i);
  const y = Float64Array.from(x, (i) => Math.sin(i / 1000));
  y[123_457] = 40;
  const svg = lineChart({ series: [{ name: "a", x, y }] });
  const [run] = lines(svg);
  assert(run.length < 4000, `${run.length} points`);
  const ys = tickPlaces(svg, "end");
  const peak = Math.min(...run.map((p) => p[1]));
  assertClose([peak], [ys.get(40)!], { rel: 0, abs: 0.02 });
  assertEquals(svg.includes("NaN"), false);
});

Deno.test("charts of nothing, of one number and of one point", () => {
  for (const yScale of ["linear", "log"] as const) {
    const svg = lineChart({ series: [{ name: "a", x: [1, 2], y: [NaN, NaN] }], yScale });
    checkMarkup(svg);
    assert(texts(svg).some((t) => t.startsWith("no finite values")));
    const flat = lineChart({ series: [{ name: "a", x: [1, 2], y: [3, 3] }], yScale });
    assertEquals(lines(flat)[0].length, 2);
    const dot = lineChart({ series: [{ name: "a", x: [1], y: [1e-9] }], yScale });
    assert(dot.includes("<circle") && !dot.includes("NaN"));
  }
  const tiny = lineChart({ series: [{ name: "a", x: [0, 4e6], y: [0, 2e-7] }] });
  assert(texts(tiny).includes("1e-7") && texts(tiny).includes("4M"));
});

Deno.test("bars begin at 0 and have their length, names and numbers", () => {
  const svg = barChart({
    bars: [
      { label: "a<b", value: 4 },
      { label: "minus", value: -2 },
      { label: "odd", value: NaN },
    ],
    title: "Bars",
    xLabel: "number",
  });
  checkMarkup(svg);
  const rects = [...svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g)];
  const [four, minus, odd] = rects.map((m) => [Number(m[1]), Number(m[2])]);
  assertClose([four[1], minus[0] + minus[1]], [2 * minus[1], four[0]], { rel: 0, abs: 0.03 });
  assertEquals(odd, [four[0], 0]);
  for (const word of ["a&lt;b", "minus", "odd", "4", "-2", "NaN", "number"]) {
    assert(texts(svg).includes(word), word);
  }
});

Deno.test("a heatmap writes each number and shades it by table or row", () => {
  const values = [[90, 10, 0], [1, 1, 0.5], [0, NaN, 30]];
  const options = { values, rowLabels: ["x", "y", "z"], xLabel: "predicted", yLabel: "true" };
  const svg = heatmap(options);
  checkMarkup(svg);
  assertEquals(texts(svg).slice(0, 9), ["90", "10", "0", "1", "1", "0.5", "0", "NaN", "30"]);
  const fills = (text: string) =>
    [...text.matchAll(/<rect x="[\d.]+" y="[\d.]+"[^>]*fill="(#\w+)"/g)].map((m) => m[1]);
  const [table, rows] = [fills(svg), fills(heatmap({ ...options, shade: "row" }))];
  assertEquals([table[0], table[2], table[7]], ["#004c7d", "#f7f9fc", "#bbbbbb"]);
  assert(table[3] !== "#004c7d");
  assertEquals([rows[3], rows[8]], ["#004c7d", "#004c7d"]);
  // Blue by the share: 30 of 90 is a third of the way from 247 to 0.
  assertEquals(parseInt(table[8].slice(1, 3), 16), Math.round(247 * (1 - 30 / 90)));
  assertEquals(texts(heatmap({ values, cell: 20 })).length, 6);
});

Deno.test("what cannot be drawn is refused", () => {
  const series = [{ name: "a", x: [1], y: [1] }];
  assertThrows(() => lineChart({ series: [] }), RangeError, "at least one series");
  assertThrows(() => lineChart({ series: [{ name: "b", x: [1], y: [] }] }), RangeError, '"b"');
  assertThrows(() => lineChart({ series, width: 50 }), RangeError, "width 50");
  assertThrows(() => lineChart({ series, yScale: "sqrt" as "log" }), RangeError, "yScale sqrt");
  assertThrows(() => barChart({ bars: [] }), RangeError, "at least one bar");
  assertThrows(() => heatmap({ values: [[1], [1, 2]] }), RangeError, "lengths 1, 2");
  assertThrows(() => heatmap({ values: [] }), RangeError, "no rows");
  assertThrows(() => heatmap({ values: [[1]], rowLabels: [] }), RangeError, "1 names of rows");
  assertThrows(() => heatmap({ values: [[1]], cell: 4 }), RangeError, "cell 4");
});
