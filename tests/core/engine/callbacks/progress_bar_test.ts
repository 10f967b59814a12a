import { assertEquals, assertThrows } from "@std/assert";
import { Context, Engine, ProgressBarCallback } from "../../../../core/engine/mod.ts";
import {
  progressLine,
  showCount,
  showNumber,
  showTime,
} from "../../../../core/engine/callbacks/progress_line.ts";
import { FakeDevice } from "../fakes.ts";

interface Show {
  terminal: boolean;
  width?: number;
  intervalMs?: number;
  stepMs?: number;
  losses?: number[];
  loop?: { maxEpochs?: number; maxSteps?: number };
  setUp?: (engine: Engine) => void;
}

/** What the bar writes over ten steps of 64 samples per epoch, and how often a loss was read. */
async function show(options: Show) {
  const { terminal, width, intervalMs, stepMs = 250, losses = [0.5] } = options;
  let clock = 0;
  let reads = 0;
  const text: string[] = [];
  const write = (part: string) => void text.push(part);
  const bar = new ProgressBarCallback({ write, terminal, width, intervalMs, now: () => clock });
  const device = new FakeDevice();
  const engine: Engine = new Engine(
    (engine, _b: number): object => {
      clock += stepMs;
      const loss = device.make(losses[engine.state.globalStep % losses.length]);
      const { item } = loss;
      loss.item = () => {
        reads++;
        return item.call(loss);
      };
      return { loss, count: 64 };
    },
    new Context({ model: null, device }),
    { callbacks: [bar] },
  );
  options.setUp?.(engine);
  await engine.loop(Array(10).fill(0), options.loop);
  return { text, reads };
}

Deno.test("ProgressBarCallback writes over one line on a terminal", async () => {
  const { text, reads } = await show({ terminal: true, width: 101, intervalMs: 1000 });
  const line = (bar: string, rest: string) => `\repoch 1/1  ${bar}  ${rest}\x1b[K`;
  assertEquals(text, [
    line("━━━" + "─".repeat(27), " 10% 1/10  loss 0.5000  256 samples/s  0:00  ETA 0:02"),
    line("━".repeat(15) + "─".repeat(15), " 50% 5/10  loss 0.5000  256 samples/s  0:01  ETA 0:01"),
    line("━".repeat(27) + "───", " 90% 9/10  loss 0.5000  256 samples/s  0:02  ETA 0:00"),
    line("━".repeat(30), "100% 10/10  loss 0.5000  256 samples/s  0:03"),
    "\n",
  ]);
  assertEquals(reads, 3);
});

Deno.test("ProgressBarCallback writes plain lines where there is no terminal", async () => {
  const { text, reads } = await show({
    terminal: false,
    stepMs: 1500,
    loop: { maxEpochs: 2 },
    setUp: (engine) =>
      void engine.on("epochEnd", ({ state }) => void (state.metrics.accuracy = state.epoch / 4)),
  });
  assertEquals(text, [
    "epoch 1/2   70% 7/10  loss 0.5000  43 samples/s  0:11  ETA 0:20\n",
    "epoch 1/2  100% 10/10  loss 0.5000  accuracy 0.2500  43 samples/s  0:15\n",
    "epoch 2/2   40% 4/10  loss 0.5000  43 samples/s  0:06  ETA 0:09\n",
    "epoch 2/2  100% 10/10  loss 0.5000  accuracy 0.5000  43 samples/s  0:15\n",
  ]);
  assertEquals(reads, 2);
});

Deno.test("ProgressBarCallback smooths the loss without the pull of its start", async () => {
  const { text } = await show({
    terminal: false,
    intervalMs: 0,
    losses: [1, 2, 4, NaN],
    loop: { maxSteps: 5 },
  });
  const losses = text.map((line) => line.match(/loss (\S+)/)?.[1]);
  // (0.8·0.2·1 + 0.2·2) / 0.36, then (0.8·0.56 + 0.2·4) / 0.488; NaN shows and does not stay.
  assertEquals(losses, ["1", "1.556", "2.557", "NaN", "2.030", "2.030"]);
});

Deno.test("ProgressBarCallback shows the metric called loss instead of the smoothed one", async () => {
  const { text } = await show({
    terminal: false,
    intervalMs: 0,
    loop: { maxSteps: 1 },
    setUp: (engine) => void engine.on("epochEnd", ({ state }) => void (state.metrics.loss = 0.25)),
  });
  assertEquals(text.at(-1), "epoch 1   10% 1/10  loss 0.2500  256 samples/s  0:00\n");
});

Deno.test("ProgressBarCallback ends its line and tells why when the run stops", async () => {
  const { text } = await show({
    terminal: true,
    width: 60,
    setUp: (engine) => void engine.on("stepEnd", () => engine.stop("no progress"), { once: 3 }),
  });
  assertEquals(text.slice(-2), ["\n", "stopped after 3 steps: no progress\n"]);
});

Deno.test("ProgressBarCallback ends an open line when the step fails", async () => {
  const text: string[] = [];
  const bar = new ProgressBarCallback({ write: (part) => void text.push(part), terminal: true });
  const engine = new Engine(
    (_e, batch: number) => {
      if (batch === 1) throw new Error("x");
    },
    new Context({ model: null }),
    { callbacks: [bar] },
  );
  await engine.loop([0, 1]).catch(() => {});
  assertEquals([text.length, text[1]], [2, "\n"]);
});

Deno.test("ProgressBarCallback refuses bad options", () => {
  assertThrows(() => new ProgressBarCallback({ intervalMs: -1 }), RangeError, "intervalMs -1");
  assertThrows(() => new ProgressBarCallback({ width: 0 }), RangeError, "width 0");
});

Deno.test("progressLine() drops the bar, then cuts the text, to fit the width", () => {
  const progress = {
    epoch: 2,
    epochs: Infinity,
    step: 580,
    steps: null,
    values: { loss: 0.123456 },
    rate: 4210.4,
    seconds: 75,
    eta: null,
  };
  const text = "epoch 2  step 580  loss 0.1235  4,210 samples/s  1:15";
  assertEquals(progressLine(progress, 200), text);
  assertEquals(progressLine(progress, 20), text.slice(0, 20));
  const known = { ...progress, epochs: 3, steps: 1160, eta: 3600 };
  const wide = "epoch 2/3   50% 580/1160  loss 0.1235  4,210 samples/s  1:15  ETA 1:00:00";
  assertEquals(progressLine(known, Infinity), wide);
  assertEquals(progressLine(known, wide.length + 9), wide);
  assertEquals(
    progressLine(known, wide.length + 10),
    wide.replace("2/3  ", "2/3  ━━━━────  "),
  );
  for (let width = 0; width < 120; width++) {
    assertEquals(progressLine(known, width).length <= width, true, String(width));
  }
  assertEquals(
    progressLine({ ...known, step: 0, steps: 0 }, Infinity).slice(0, 20),
    "epoch 2/3  100% 0/0 ",
  );
});

Deno.test("showNumber(), showCount() and showTime() write short numbers", () => {
  assertEquals(
    [0, 3, -12, 0.5, 0.97654321, 1234.5678, 1e-5, 1234567, 2.5e6, NaN, -Infinity].map(showNumber),
    [
      ...["0", "3", "-12", "0.5000", "0.9765", "1235", "1.000e-5", "1.235e+6", "2.500e+6"],
      ...["NaN", "-Infinity"],
    ],
  );
  assertEquals([0, 999, 1000, 1234567.4].map(showCount), ["0", "999", "1,000", "1,234,567"]);
  assertEquals([0, 9.4, 59.6, 61, 3599, 3600, 36061].map(showTime), [
    ...["0:00", "0:09", "1:00", "1:01", "59:59", "1:00:00", "10:01:01"],
  ]);
});
