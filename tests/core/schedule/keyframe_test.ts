import {
  createCyclicSchedule,
  createExponentialSchedule,
  createLinearSchedule,
  KeyframeLR,
  type KeyframeOptions,
  type Schedule,
  schedule,
} from "../../../core/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose } from "../../util.ts";

const BASE = 0.5;

/** The rates of the steps from 0 on, for an optimizer that was made with 0.5. */
function rates(made: Schedule, steps: number, total?: number): number[] {
  return Array.from({ length: steps }, (_, step) => made.lr({ step, total }, BASE));
}

// What the original's KeyframeLR gave, from its first step() on; it began one step late.
const originals: readonly [string, Schedule, readonly number[]][] = [
  ["linear", createLinearSchedule(0, 1), [0, 0.25, 0.5, 0.75, 1, 1]],
  [
    "held to the end",
    new KeyframeLR({ frames: [{ position: 0, lr: 1 }, { position: 2, lr: 0.5 }], end: 6 }),
    [1, 0.75, 0.5, 0.5, 0.5, 0.5, 0.5],
  ],
  [
    "percent",
    new KeyframeLR({
      frames: [{ position: 0, lr: 0 }, { position: 0.5, lr: 1 }, { position: "end", lr: 0 }],
      units: "percent",
      end: 4,
    }),
    [0, 0.5, 1, 0.5, 0, 0],
  ],
  [
    "exponential",
    createExponentialSchedule(1, 0.01, 4),
    [1, 10 ** -0.5, 0.1, 10 ** -1.5, 0.01, 0.01],
  ],
  [
    "cyclic",
    createCyclicSchedule(0.1, 1, 3, 8),
    [0.1, 0.4, 0.7, 1, 0.7, 0.4, 0.1, 0.1, 0.1],
  ],
];

for (const [name, made, want] of originals) {
  Deno.test(`keyframes give the original's rates: ${name}`, () => {
    assertClose(rates(made, want.length, 4), want, 1e-15);
    const copy = schedule.fromJSON(JSON.parse(JSON.stringify(made)));
    assertEquals(rates(copy, want.length, 4), rates(made, want.length, 4));
    assertEquals([made.watches, made.state()], [false, null]);
  });
}

const plateau = { type: "plateau", mode: "max", patience: 1, factor: 0.5 } as const;

Deno.test("a plateau between keyframes gives the original's rates, and holds the last", () => {
  const made = new KeyframeLR({
    frames: [{ position: 0, lr: 1 }, plateau, { position: 8 }],
    end: 8,
  });
  const found = Array.from({ length: 10 }, (_, step) => {
    made.observe(0.7, step);
    return made.lr(step, BASE);
  });
  // The original jumped from 0.125 to the rate of its end frame, 0.9.
  assertEquals(found, [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.125]);
  assert(made.watches);
  const copy = schedule.fromJSON(JSON.parse(JSON.stringify(made)));
  assertEquals(copy.lr(8, BASE), 1);
  copy.load(JSON.parse(JSON.stringify(made.state())));
  assertEquals(copy.lr(8, BASE), 0.125);
  assertThrows(() => copy.load(null), TypeError, "a list of 2");
  assertThrows(() => copy.load([{ best: "much" }, null]), TypeError, "best, bad");
});

Deno.test("a transition behind a plateau starts where the metric left the rate", () => {
  const made = new KeyframeLR({
    frames: [
      { position: 0, lr: 1 },
      { position: 2, lr: 0.8 },
      { ...plateau, patience: 0, minLr: 0.15 },
      { position: 10 },
      "linear",
      { position: 12, lr: 0 },
    ],
  });
  made.observe(1, 1); // before the plateau: does not count
  for (let step = 3; step < 10; step++) made.observe(step === 3 ? 5 : 1, step);
  assertEquals([made.lr(2, BASE), made.lr(5, BASE)], [0.8, 0.15]);
  assertEquals([made.lr(10, BASE), made.lr(11, BASE), made.lr(12, BASE)], [0.15, 0.075, 0]);
});

Deno.test("before the first keyframe its rate is held", () => {
  const frames = [{ position: 3, lr: 1 }, { position: 5, lr: 0 }];
  assertEquals(rates(new KeyframeLR({ frames }), 7), [1, 1, 1, 1, 0.5, 0, 0]);
});

Deno.test("equal ratios are measured from the frame before", () => {
  const made = new KeyframeLR({
    frames: [
      { position: 0, lr: 1 },
      { position: 4, lr: 1 },
      "exponential",
      { position: 8, lr: 0.0625 },
    ],
  });
  assertClose([4, 5, 6, 8].map((t) => made.lr(t, BASE)), [1, 0.5, 0.25, 0.0625], 1e-15);
});

Deno.test("half cycles of any number alternate", () => {
  const made = createCyclicSchedule(0, 1, 2, 7);
  assertEquals(rates(made, 9), [0, 0.5, 1, 0.5, 0, 0.5, 1, 1, 1]);
});

Deno.test("keyframes: several transitions, a function, and the cosine's middle", () => {
  const square = ({ from, to, share }: { from: number; to: number; share: number }) =>
    from + (to - from) * share ** 2;
  const made = new KeyframeLR({
    frames: [
      { position: 0, lr: 0 },
      square,
      { position: 10, lr: 1 },
      "cosine",
      { position: 20, lr: 0.5 },
      { position: "end", lr: 0.1 },
    ],
  });
  const at = (step: number) => made.lr({ step, total: 40 }, BASE);
  assertClose(
    [at(5), at(10), at(15), at(20), at(30), at(40)],
    [0.25, 1, 0.75, 0.5, 0.3, 0.1],
    1e-15,
  );
  assertThrows(() => made.toJSON(), TypeError, "frame 0 is a function");
  assertThrows(() => made.lr(5, BASE), RangeError, "expected the length of the run to be known");
  assertThrows(() => made.lr({ step: 1, total: 15 }, BASE), RangeError, "20 and 15");
});

Deno.test("one rate is the first group's and keeps proportions, a list is for each group", () => {
  const made = new KeyframeLR({
    frames: [{ position: 0, lr: 0.3 }, { position: 4, lr: [0.1, 9] }],
  });
  const groups = [0.1, 0.2].map((base, index) => ({ base, first: 0.1, index }));
  assertEquals(groups.map((g) => made.lr(0, g)), [0.3, 0.6]);
  assertEquals(groups.map((g) => made.lr(9, g)), [0.1, 9]);
  assertClose(groups.map((g) => made.lr(2, g)), [0.2, 4.8], 1e-15);
  assertThrows(() => made.lr(4, { base: 1, first: 1, index: 2 }), RangeError, "a list of 2");
  assertThrows(() => made.lr(0, { base: 1, first: 0, index: 1 }), RangeError, "base rate above 0");
});

const frame = (position: number | "end", lr?: number) => ({ position, lr });
const refused: readonly [string, KeyframeOptions, string][] = [
  ["none", { frames: [] }, "at least one frame"],
  ["leading transition", { frames: ["linear", frame(0, 1)] }, "before the first transition"],
  ["trailing transition", { frames: [frame(0, 1), "cosine"] }, "after the last transition"],
  ["two", { frames: [frame(0, 1), "cosine", "linear", frame(2, 1)] }, "found two"],
  ["one place", { frames: [frame(3, 1), frame(3, 2)] }, "two at 3"],
  ["order", { frames: [frame(3, 1), "linear", frame(1, 2)] }, "in the order"],
  ["share", { frames: [frame(0, 1), frame(2, 1)], units: "percent" }, "from 0 to 1"],
  ["late", { frames: [frame(0, 1), frame(9, 1)], end: 8 }, "none after the end"],
  ["plateau's end", { frames: [frame(0, 1), plateau, frame(8, 0.9)], end: 8 }, "found 0.9"],
  ["no rate", { frames: [frame(0, 1), { position: 4 }] }, "expected an lr in frame 1"],
  ["negative", { frames: [frame(0, -1)] }, "at least 0"],
  ["unknown", { frames: [frame(0, 1), "sine" as "cosine", frame(1, 1)] }, "linear, cosine"],
  ["end 0", { frames: [frame(0, 1)], end: 0 }, "above 0"],
];

for (const [name, options, message] of refused) {
  Deno.test(`keyframes are refused: ${name}`, () => {
    assertThrows(() => new KeyframeLR(options), RangeError, message);
  });
}

Deno.test("frames without transitions come in any order; helpers check their numbers", () => {
  const made = new KeyframeLR({ frames: [frame("end", 0), frame(0, 1), frame(2, 4)] });
  assertEquals(rates(made, 5, 4), [1, 2.5, 4, 2, 0]);
  assertThrows(() => createExponentialSchedule(0, 1, 4), RangeError, "start 0");
  assertThrows(() => createCyclicSchedule(0, 1, 0, 4), RangeError, "stepSize 0");
  const odd = new KeyframeLR({ frames: [frame(0, 0), "exponential", frame(2, 1)] });
  assertThrows(() => odd.lr(1, 1), RangeError, "by equal ratios");
});
