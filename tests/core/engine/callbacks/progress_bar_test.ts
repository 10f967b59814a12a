import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine, ProgressBarCallback } from "../../../../core/engine/mod.ts";
import {
  type Progress,
  progressLine,
  showCount,
  showNumber,
  showTime,
} from "../../../../core/engine/callbacks/progress_line.ts";
import { show } from "./progress_run.ts";

const accuracy = (epoch: number) => ({ accuracy: [0, 0.5, 0.25][epoch] });

Deno.test("ProgressBarCallback writes plain lines where there is no terminal", async () => {
  const { text, reads } = await show({
    mode: "plain",
    stepMs: 1500,
    evaluation: accuracy,
    optimizer: { groups: [{ lr: 0.01 }] },
    loop: { maxEpochs: 2 },
  });
  const tail = "43 samples/s  data wait 5%";
  assertEquals(text, [
    `epoch 1/2   70% 7/10  loss 0.5000  lr 0.01000  ${tail}  0:11  ETA 0:20\n`,
    `epoch 1/2  100% 10/10  loss 0.5000  lr 0.01000  accuracy 0.5000  best accuracy 0.5000 now  ${tail}  0:15\n`,
    `epoch 2/2   40% 4/10  loss 0.5000  lr 0.01000  best accuracy 0.5000 1 epoch ago  ${tail}  0:06  ETA 0:09\n`,
    `epoch 2/2  100% 10/10  loss 0.5000  lr 0.01000  accuracy 0.2500  best accuracy 0.5000 1 epoch ago  ${tail}  0:15\n`,
  ]);
  assertEquals(reads, 4);
});

Deno.test("ProgressBarCallback smooths the loss without the pull of its start", async () => {
  const { text } = await show({
    mode: "plain",
    intervalMs: 0,
    loss: (step) => [1, 2, 4, NaN, 1][step - 1],
    loop: { maxSteps: 5 },
  });
  const losses = text.map((line) => line.match(/loss (\S+)/)?.[1]);
  // (0.8·0.2·1 + 0.2·2) / 0.36, then (0.8·0.56 + 0.2·4) / 0.488; NaN shows and does not stay.
  assertEquals(losses, ["1", "1.556", "2.557", "NaN", "2.030", "2.030"]);
});

Deno.test("ProgressBarCallback shows the metric called loss instead of the smoothed one", async () => {
  const { text } = await show({
    mode: "plain",
    intervalMs: 0,
    evaluation: () => ({ loss: 0.25 }),
    loop: { maxSteps: 1 },
  });
  assertMatch(text.at(-1)!, /^epoch 1 {3}10% 1\/10 {2}loss 0\.2500 {2}256 samples\/s/);
});

Deno.test("ProgressBarCallback speeds are those of training, without the evaluation behind it", async () => {
  let clock = 0;
  const text: string[] = [];
  const write = (line: string) => void text.push(line);
  const bar = new ProgressBarCallback({ mode: "plain", write, now: () => clock });
  const step = () => {
    clock += 1000;
    return { count: 8 };
  };
  const engine = new Engine(step, new Context({ model: null }), { callbacks: [bar] });
  engine.on("epochEnd", () => void (clock += 6000), { phase: "evaluate" });
  await engine.loop([1, 2], { maxEpochs: 2 });
  const speeds = text.map((line) => line.match(/\S+ samples\/s/)?.[0]);
  assertEquals(speeds, text.map(() => "8 samples/s"));
  assertMatch(text.at(-1)!, /^epoch 2\/2 .*0:08$/m);
});

Deno.test("ProgressBarCallback tells the remaining time of a limit of samples", async () => {
  const { text } = await show({
    mode: "plain",
    intervalMs: 0,
    loop: { maxEpochs: 5, maxSamples: 40 * 64 },
  });
  assertMatch(text[0], /ETA 0:10\n$/);
});

Deno.test("ProgressBarCallback follows an evaluated metric as soon as there is one", async () => {
  const run = (monitor?: string) =>
    show({
      mode: "plain",
      monitor,
      loop: { maxEpochs: 3 },
      evaluation: (epoch): Record<string, number> =>
        epoch === 1 ? { accuracy: 0.9 } : { accuracy: 0.5, "test/loss": epoch },
    });
  const best = ({ text }: { text: string[] }) =>
    text.map((line) => line.match(/best .*? 0?\S+/)?.[0]);
  assertEquals(best(await run()), ["best accuracy 0.9000", "best test/loss 2", "best test/loss 2"]);
  assertEquals(best(await run("accuracy")), Array(3).fill("best accuracy 0.9000"));
  await assertRejects(
    () => show({ mode: "plain", monitor: "speed", evaluation: () => ({ speed: 1 }) }),
    RangeError,
    'Cannot show the best "speed": expected a metric that knows what is better',
  );
});

Deno.test("ProgressBarCallback takes a loss of another name, and those of evaluations with it", async () => {
  const lines: string[] = [];
  const bar = new ProgressBarCallback({
    mode: "plain",
    loss: "total",
    intervalMs: 0,
    now: () => 0, // a real clock would write digits of its own
    write: (line) => void lines.push(line),
  });
  const engine = new Engine(() => ({ total: 3, loss: 7 }), new Context({ model: null }), {
    callbacks: [bar],
  });
  await engine.loop([0]);
  assertMatch(lines[0], /1\/1 {2}total 3 {2}/);
  assert(!lines[0].includes("7"));
});

Deno.test("ProgressBarCallback tells why a run stopped", async () => {
  const { text } = await show({
    mode: "plain",
    onStep: (step, engine) => void (step === 3 && engine.stop("no progress")),
  });
  assertEquals(text.at(-1), "stopped after 3 steps: no progress\n");
});

Deno.test("ProgressBarCallback refuses bad options", () => {
  const make = (options: object) => () => new ProgressBarCallback(options);
  assertThrows(make({ intervalMs: -1 }), RangeError, "found intervalMs -1");
  assertThrows(make({ size: { columns: 0, rows: 5 } }), RangeError, "0 columns by 5 rows");
  assertThrows(make({ mode: "tty" }), TypeError, 'one of live, json, plain, found "tty"');
});

Deno.test("progressLine() writes what is known", () => {
  const progress: Progress = {
    epoch: 2,
    epochs: Infinity,
    step: 580,
    steps: null,
    values: { loss: 0.123456 },
    best: null,
    rate: 4210.4,
    wait: null,
    seconds: 75,
    total: 200,
    eta: null,
  };
  assertEquals(progressLine(progress), "epoch 2  step 580  loss 0.1235  4,210 samples/s  1:15");
  const best = { metric: "acc", value: 0.5, epoch: 2, since: 7 };
  assertEquals(
    progressLine({ ...progress, epochs: 3, steps: 1160, best, wait: 0.034, eta: 3600 }),
    "epoch 2/3   50% 580/1160  loss 0.1235  best acc since step 7 0.5000 now  4,210 samples/s  " +
      "data wait 3%  1:15  ETA 1:00:00",
  );
  assertEquals(progressLine({ ...progress, step: 0, steps: 0 }).slice(0, 18), "epoch 2  100% 0/0 ");
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
