import { barChart, heatmap, lineChart } from "../../track/mod.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import { assertClose } from "../util.ts";

/** Fails unless every element is closed and every character of text is escaped. */
function checkMarkup(svg: string): void {
  const open: string[] = [];
  const rest = svg.replace(
    /<(\/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<>]*")*)(\/?)>/g,
    (_, end, name, _a, self) => {
      if (end === "/") assert(open.pop() === name);
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

Deno.test("a logarithmic axis of places spreads ratios evenly, and leaves out what is not above 0", () => {
  const x = [0, 1, 10, 100, 1000];
  const svg = lineChart({
    series: [{ name: "a", x, y: [9, 1, 2, 3, 4], faint: [{ x: [-1, 10], y: [1, 1] }] }],
    marks: [{ x: 10, label: "ten" }, { x: 0, label: "none" }],
    xScale: "log",
  });
  checkMarkup(svg);
  const [dot, run] = [svg.match(/<circle/g)!.length, lines(svg).at(-1)!];
  assertEquals([dot, run.length], [1, 4]);
  const steps = [1, 2, 3].map((i) => run[i][0] - run[i - 1][0]);
  assertClose(steps, Array(3).fill((run[3][0] - run[0][0]) / 3), { rel: 0, abs: 0.03 });
  assertClose([tickPlaces(svg, "middle").get(10)!], [run[1][0]], { rel: 0, abs: 0.02 });
  assertEquals([svg.includes(">ten</text>"), svg.includes(">none</text>")], [true, false]);
});

Deno.test("faint curves lie under their line, thinner, in its colour, and count for the axes", () => {
  const series = [{ name: "a", x: [0, 1], y: [1, 2], faint: [{ x: [0, 1, 3], y: [0, 8, 0] }] }];
  const svg = lineChart({ series });
  checkMarkup(svg);
  const drawn = [
    ...svg.matchAll(/stroke="(#0072B2)" stroke-width="([\d.]+)"(?: stroke-opacity="([\d.]+)")?/g),
  ];
  assertEquals(drawn.map((m) => m.slice(1)), [["#0072B2", "1.2", "0.4"], [
    "#0072B2",
    "1.8",
    undefined!,
  ]]);
  const [xs, ys] = [tickPlaces(svg, "middle"), tickPlaces(svg, "end")];
  const [faint, line] = lines(svg);
  assertClose(faint[1], [(2 * xs.get(0)! + xs.get(3)!) / 3, ys.get(8)!], { rel: 0, abs: 0.02 });
  assertClose(line[1], [faint[1][0], (3 * ys.get(0)! + ys.get(8)!) / 4], { rel: 0, abs: 0.02 });
  assertEquals(texts(svg).includes("a"), false, "a single line needs no legend");
});

Deno.test("a band goes along its upper and back along its lower ends, with gaps", () => {
  const svg = lineChart({
    series: [{
      name: "a",
      x: [0, 1, 2, 3, 4],
      y: [1, 1, 1, 1, 1],
      band: { low: [0, 0.5, NaN, 0, 0], high: [2, 3, 2, 2, 4] },
    }],
  });
  checkMarkup(svg);
  const [, d] = svg.match(/<path d="([^"]*)" fill="#0072B2" fill-opacity="0.2"/)!;
  const shapes = d.split("Z").slice(0, -1).map((shape) =>
    shape.slice(1).split("L").map((p) => p.split(" ").map(Number))
  );
  assertEquals(shapes.map((shape) => shape.length), [4, 4]);
  const [xs, ys] = [tickPlaces(svg, "middle"), tickPlaces(svg, "end")];
  const place = (x: number, y: number) => [
    xs.get(0)! + (xs.get(4)! - xs.get(0)!) * x / 4,
    ys.get(0)! + (ys.get(4)! - ys.get(0)!) * y / 4,
  ];
  const want = [place(0, 2), place(1, 3), place(1, 0.5), place(0, 0)];
  shapes[0].forEach((p, i) => assertClose(p, want[i], { rel: 0, abs: 0.03 }));
  const log = lineChart({
    series: [{ name: "a", x: [0, 1], y: [1, 1], band: { low: [-1, 0.5], high: [2, 2] } }],
    yScale: "log",
  });
  assertEquals(/NaN|Infinity/.test(log), false);
  // The end below 0 lies at the lower edge of the box.
  const edge = Number(log.match(/<path d="M[\d.]+ [\d.]+V([\d.]+)H/)![1]);
  const [, shape] = log.match(/<path d="M([^"Z]*)Z" fill="#0072B2"/)!;
  assertEquals(Number(shape.split("L").at(-1)!.split(" ")[1]), edge);
});

Deno.test("marks stand at their places, within the axis, and their labels do not touch", () => {
  const series = [{ name: "a", x: [0, 100], y: [0, 1] }];
  const marks = [{ x: 200, label: "restart 3" }, { x: 50, label: "<1>" }, { x: 51, label: "2" }];
  const svg = lineChart({ series, marks, xLabel: "step" });
  checkMarkup(svg);
  const places = [...svg.matchAll(/<line x1="([\d.]+)"[^>]*stroke-dasharray="2 4"/g)]
    .map((m) => Number(m[1]));
  const xs = tickPlaces(svg, "middle");
  assertClose(
    places,
    [50, 51, 200].map((x) => xs.get(0)! + (xs.get(200)! - xs.get(0)!) * x / 200),
    {
      rel: 0,
      abs: 0.02,
    },
  );
  const words = texts(svg).filter((t) => ["&lt;1&gt;", "2", "restart 3"].includes(t));
  assertEquals(words, ["&lt;1&gt;", "restart 3"]);
  assertMatch(svg, /<desc>[^<]*Marked: restart 3 at 200; &lt;1&gt; at 50; 2 at 51\.<\/desc>/);
});

Deno.test("lines are told apart without colours, and pictures are told in words", () => {
  const series = Array.from({ length: 7 }, (_, i) => ({
    name: `line ${i}`,
    x: [0, 1, 2],
    y: [i, NaN, i + 1],
  }));
  const svg = lineChart({ series, title: "Seven", legend: "below" });
  checkMarkup(svg);
  const signs = (text: string) => [...text.matchAll(/<path d="([^"]+)" transform="([^"]+)"/g)];
  assertEquals(new Set(signs(svg).map((m) => m[1])).size, 7);
  assertEquals(signs(lineChart({ series: series.slice(1, 2) })).length, 0);
  assertEquals(texts(svg).filter((t) => t.startsWith("line")).length, 7);
  const [, title, desc] = svg.match(/<title>(.*?)<\/title>\n<desc>(.*?)<\/desc>/)!;
  assertEquals(title, "Seven");
  assertMatch(
    desc,
    /^7 lines\. line 0: from 0 at 0 to 1 at 2, least 0 at 0, largest 1 at 2; line 1/,
  );
  const bars = barChart({ bars: [{ label: "cat", value: 0.91234 }], xLabel: "recall" });
  assertMatch(bars, /<desc>1 bars of recall: cat 0\.9123\.<\/desc>/);
  const table = heatmap({ values: [[1, 9], [NaN, 4]], rowLabels: ["a", "b"] });
  assertMatch(table, /<desc>Table of 2 rows and 2 columns\. a: largest 9 at 1; b: largest 4 at 1/);
});

/** All numbers that place something. */
function placesOf(svg: string): number[] {
  const shapes = svg.replaceAll(/<(title|desc)>[^<]*<\/\1>|>[^<]*<|rotate\(\S+/g, "");
  assertEquals(
    /NaN|Infinity|undefined/.test(shapes),
    false,
    shapes.match(/.*(NaN|Infinity).*/)?.[0],
  );
  const lists = shapes.matchAll(/ (?:x|y|x1|x2|y1|y2|cx|cy|d|transform|width|height)="([^"]*)"/g);
  return [...lists].flatMap(([, list]) => (list.match(/-?[\d.]+(e[+-]?\d+)?/g) ?? []).map(Number));
}

Deno.test("whatever the numbers, everything has a place in the picture", () => {
  const ends = [1.7976931348623157e308, 1e308, 5e-324, 2.2e-308, 1e-300, 1, 1 + 2 ** -52, 0, NaN];
  const number = fc.oneof(
    fc.double(),
    fc.constantFrom(...ends, ...ends.map((end) => -end), Infinity, -Infinity),
  );
  const list = fc.array(fc.tuple(number, number, number, number), { minLength: 1, maxLength: 6 });
  const scale = fc.constantFrom("linear" as const, "log" as const);
  fc.assert(
    fc.property(list, scale, scale, (rows, xScale, yScale) => {
      const [x, y, low, high] = [0, 1, 2, 3].map((i) => rows.map((row) => row[i]));
      const marks = x.filter(Number.isFinite).map((at) => ({ x: at, label: "m" }));
      const series = { name: "a", x, y, faint: [{ x, y: low }], band: { low, high } };
      const size = { width: 800, height: 400 };
      const svgs = [
        lineChart({ series: [series, { name: "b", x: y, y: x }], xScale, yScale, marks, ...size }),
        barChart({ bars: y.map((value) => ({ label: "b", value })) }),
        heatmap({ values: [y, low] }),
      ];
      for (const svg of svgs) {
        checkMarkup(svg);
        const outside = placesOf(svg).find((place) => !(place >= -20 && place <= 1500));
        assert(outside === undefined, `${outside} in ${svg}`);
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("the whole range of f64 has ticks, and lines from edge to edge", () => {
  const most = Number.MAX_VALUE;
  for (const y of [[-most, most], [0, most], [0, 5e-324], [1e-320, 3e-320], [-1e-310, 0]]) {
    const svg = lineChart({ series: [{ name: "a", x: [0, 1], y }] });
    const [[from, to]] = lines(svg);
    assert(from[1] - to[1] > 150, `${y}: from ${from} to ${to}`);
    assert(tickPlaces(svg, "end").size >= 2, `${y}`);
  }
  const log = lineChart({ series: [{ name: "a", x: [0, 1], y: [5e-324, most] }], yScale: "log" });
  const powers = [...tickPlaces(log, "end").keys()];
  assert(powers.includes(1e-200) && powers.includes(1e200), powers.join());
  const [[from, to]] = lines(log);
  const ys = tickPlaces(log, "end");
  const decade = (ys.get(1e-200)! - ys.get(1e200)!) / 400;
  assertClose([from[1] - to[1]], [decade * (308.2547 + 323.3062)], { rel: 1e-3, abs: 0.02 });
});

Deno.test("what cannot be drawn is refused", () => {
  const series = [{ name: "a", x: [1], y: [1] }];
  assertThrows(() => lineChart({ series: [] }), RangeError, "at least one series");
  assertThrows(() => lineChart({ series: [{ name: "b", x: [1], y: [] }] }), RangeError, '"b"');
  assertThrows(() => lineChart({ series, width: 50 }), RangeError, "width 50");
  assertThrows(() => lineChart({ series, yScale: "sqrt" as "log" }), RangeError, "yScale sqrt");
  assertThrows(() => lineChart({ series, xScale: "ln" as "log" }), RangeError, "xScale ln");
  assertThrows(() => lineChart({ series, legend: "left" as "below" }), RangeError, "legend left");
  const faint = [{ x: [1], y: [1, 2] }];
  assertThrows(() => lineChart({ series: [{ ...series[0], faint }] }), RangeError, "faint curve");
  const band = { low: [1], high: [] };
  assertThrows(() => lineChart({ series: [{ ...series[0], band }] }), RangeError, "high ends");
  const marks = [{ x: NaN, label: "b" }];
  assertThrows(() => lineChart({ series, marks }), RangeError, 'mark "b"');
  assertThrows(() => barChart({ bars: [] }), RangeError, "at least one bar");
  assertThrows(() => heatmap({ values: [[1], [1, 2]] }), RangeError, "lengths 1, 2");
  assertThrows(() => heatmap({ values: [] }), RangeError, "no rows");
  assertThrows(() => heatmap({ values: [[1]], rowLabels: [] }), RangeError, "1 names of rows");
  assertThrows(() => heatmap({ values: [[1]], cell: 4 }), RangeError, "cell 4");
});
