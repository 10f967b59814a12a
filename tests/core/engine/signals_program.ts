/** A program that is sent signals: prints what its engine does, and how the call of `loop` ended. */

import { Context, Engine, EvalOnEpochEndCallback } from "../../../core/engine/mod.ts";
import { Transcript } from "./fakes.ts";

/** Waits, with turns of the event loop, until something holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

class Printed extends Transcript {
  constructor(prefix: string) {
    const print = (_engine: Engine, line: string) => console.log(`${prefix}${line}`);
    super(Object.fromEntries(
      ["epochEnd", "engineEnd", "exception"].map((event) => [event, print]),
    ));
  }
}

/** Says that the next signal may come, and waits for it in the middle of step 2. */
async function signalAt(step: number, engine: Engine): Promise<void> {
  if (step !== 2) return;
  console.log("now");
  await until(() => engine.state.stopReason !== null);
  console.log(`heard ${engine.state.stopReason}`);
}

const where = Deno.args[0];
const trainer: Engine = new Engine(
  async (engine, _batch: number) => {
    const step = engine.state.current.step;
    if (where === "step" || where === "deaf") await signalAt(step, engine);
    if (where === "hang" && step === 2) {
      await signalAt(step, engine);
      console.log("now");
      await until(() => false);
    }
  },
  new Context({ model: null }),
  { callbacks: [new Printed("")] },
);
trainer.on("engineEnd", () => console.log("saved"), { phase: "persist" });

const evaluator = new Engine(
  async (engine, _batch: number) => {
    if (engine.state.current.step !== 2) return;
    console.log("now");
    await until(() => trainer.state.stopReason !== null);
  },
  new Context({ model: null }),
  { callbacks: [new Printed("evaluator ")] },
);
evaluator.on("epochEnd", ({ state }) => void (state.metrics.count = state.localStep), {
  phase: "metrics",
});
if (where === "evaluation") trainer.add(new EvalOnEpochEndCallback(evaluator, [1, 2, 3]));

/** Steps that never wait: only the engine's own turns let a signal through. */
const busy = new Engine((engine, _batch: number) => {
  if (engine.state.current.step === 2) console.log("now");
  for (const end = performance.now() + 2; performance.now() < end;);
}, new Context({ model: null }));

if (where === "after") {
  await trainer.loop([1]);
  console.log("now");
  await until(() => false);
}
const { stopReason, epoch, metrics } = where === "busy"
  ? await busy.loop([1, 2], { maxEpochs: Infinity })
  : await trainer.loop([1, 2, 3], { maxEpochs: 2, signals: where !== "deaf" });
console.log(`returned ${stopReason}${where === "busy" ? "" : ` after ${epoch} epochs`}`);
if (Object.keys(metrics).length > 0) console.log(JSON.stringify(metrics));
if (stopReason === "interrupted") Deno.exitCode = 130;
