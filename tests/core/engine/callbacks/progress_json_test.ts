import { assertEquals } from "@std/assert";
import type { ProgressRecord } from "../../../../core/engine/mod.ts";
import { type Show, show } from "./progress_run.ts";

/** The records of a run. */
async function records(options: Partial<Show>): Promise<ProgressRecord[]> {
  const { text } = await show({ mode: "json", ...options });
  return text.map((line) => {
    assertEquals(line.match(/\n/g)?.length, 1);
    return JSON.parse(line);
  });
}

Deno.test("the mode json writes one object a line, not finite numbers as words", async () => {
  const found = await records({
    intervalMs: 1000,
    loss: (step) => step === 5 ? NaN : step === 9 ? -Infinity : 0.5,
    optimizer: { groups: [{ lr: 0.01 }], gradNorm: Infinity },
    evaluation: () => ({ "test/accuracy": 0.75, "test/loss": NaN }),
    loop: { maxEpochs: 1 },
  });
  const step = { event: "step", epoch: 1, lr: 0.01, gradNorm: "Infinity" } as const;
  const speed = { samplesPerSecond: 256, dataWait: 0.05 };
  assertEquals(found, [
    {
      event: "start",
      engine: "engine",
      epoch: 0,
      step: 0,
      samples: 0,
      maxEpochs: 1,
      maxSteps: null,
      maxSamples: null,
      stepsPerEpoch: 10,
    },
    { ...step, step: 1, localStep: 1, samples: 64, loss: 0.5, ...speed, seconds: 0.25, eta: 2.25 },
    {
      ...step,
      step: 5,
      localStep: 5,
      samples: 320,
      loss: "NaN",
      ...speed,
      seconds: 1.25,
      eta: 1.25,
    },
    {
      ...step,
      ...{ step: 9, localStep: 9, samples: 576, loss: "-Infinity" },
      ...{ ...speed, seconds: 2.25, eta: 0.25 },
    },
    {
      event: "epoch",
      epoch: 1,
      complete: true,
      step: 10,
      samples: 640,
      metrics: { "test/accuracy": 0.75, "test/loss": "NaN" },
      best: { metric: "test/accuracy", value: 0.75, epoch: 1 },
      seconds: 2.5,
    },
    {
      event: "end",
      ...{ reason: "done", detail: null, error: null },
      ...{ epoch: 1, step: 10, samples: 640, seconds: 2.5 },
    },
  ]);
});

Deno.test("the mode json has null for what is not known", async () => {
  const [start, first] = await records({ known: false, loop: { maxEpochs: 3, maxSteps: 2 } });
  assertEquals(start.event === "start" && start.stepsPerEpoch, null);
  assertEquals(start.event === "start" && start.maxSteps, 2);
  assertEquals(first, {
    event: "step",
    ...{ epoch: 1, step: 1, localStep: 1, samples: 64, loss: 0.5, lr: null, gradNorm: null },
    ...{ samplesPerSecond: 256, dataWait: 0.05, seconds: 0.25, eta: 0.25 },
  });
});

Deno.test("the mode json tells where a resumed run goes on, and how it ended", async () => {
  const from = { epoch: 2, globalStep: 25, localStep: 5, inEpoch: true, samples: 1600 };
  const onStep = (step: number) => {
    if (step === 27) throw new RangeError("a bad batch");
  };
  const lines: ProgressRecord[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line));
  await records({ from, write, onStep, intervalMs: 0 }).catch(() => {});
  assertEquals(lines, [
    {
      event: "start",
      engine: "engine",
      ...{ epoch: 2, step: 25, samples: 1600 },
      ...{ maxEpochs: 3, maxSteps: null, maxSamples: null, stepsPerEpoch: 10 },
    },
    {
      event: "step",
      ...{ epoch: 3, step: 26, localStep: 6, samples: 1664, loss: 0.5, lr: null, gradNorm: null },
      ...{ samplesPerSecond: 256, dataWait: 0.05, seconds: 0.25, eta: 1 },
    },
    {
      event: "end",
      ...{ reason: "failed", detail: null, error: "a bad batch" },
      ...{ epoch: 2, step: 26, samples: 1664, seconds: 0.25 },
    },
  ]);
});
