/** How a run ends when a handler of each event stops it, interrupts it or throws: golden transcripts. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { Context, Engine, EVENT_NAMES, type EventName } from "../../../core/engine/mod.ts";
import { FakeDevice, Transcript } from "./fakes.ts";

const ACTIONS = {
  stop: (engine: Engine) => engine.stop("enough"),
  interrupt: (engine: Engine) => engine.stop("interrupted"),
  throw: () => {
    throw new RangeError("handler");
  },
} as const;

/** What each event is written as: two epochs of two steps are `S E [ ( b B ) ( b B ) ] …`. */
const SHORT: Readonly<Record<EventName, string>> = {
  engineStart: "S",
  epochStart: "[",
  stepStart: "(",
  backwardStart: "b",
  backwardEnd: "B",
  stepEnd: ")",
  epochEnd: "]",
  engineEnd: "E",
  exception: "X",
};

/**
 * One line for a run of 2 epochs of 2 steps in which the first handler of an event acts once: the
 * events, the reason of the end, `state.stopReason` after it, and what `loop` threw.
 */
async function ending(event: EventName, action: keyof typeof ACTIONS): Promise<string> {
  let acted = false;
  const act = (engine: Engine) => {
    if (acted) return;
    acted = true;
    ACTIONS[action](engine);
  };
  const device = new FakeDevice();
  const spy = new Transcript({ [event]: act });
  const second = new Transcript();
  const fails = event === "exception";
  const engine = new Engine(
    (engine, _batch: number) => {
      engine.backward(device.make(1));
      if (fails) throw new TypeError("step");
    },
    new Context({ model: null }),
    { callbacks: [spy, second] },
  );
  const thrown = await engine.loop([1, 2], { maxEpochs: 2 })
    .then(() => null, (error) => error instanceof AggregateError ? error.errors : [error]);
  const names = spy.lines.map((line) => line.split(" ")[0] as EventName);
  const last = spy.lines.at(-1)!.split(" ").slice(4).join(" ");
  const complete = spy.lines.filter((line) => line.includes("complete=false")).length;
  assertEquals(names.filter((name) => name === "engineEnd").length, 1);
  assertEquals(engine.running, false);
  // Handlers behind one that throws miss that event, but never the ending ones.
  const ends = (lines: string[]) => lines.filter((line) => /^(exception|engineEnd)/.test(line));
  assertEquals(ends(second.lines), ends(spy.lines));
  return [
    names.map((name) => SHORT[name]).join(""),
    `${last.replace(/^\S+ /, "")}${complete > 0 ? ", a partial epoch" : ""}`,
    `stopReason ${engine.state.stopReason}`,
    thrown === null ? "returned" : `threw ${thrown.join(", ")}`,
  ].join(" | ");
}

async function endings(action: keyof typeof ACTIONS): Promise<string[]> {
  const lines: string[] = [];
  for (const event of EVENT_NAMES) lines.push(`${event}: ${await ending(event, action)}`);
  return lines;
}

Deno.test("Engine.stop() in a handler of each event ends as written", async () => {
  assertEquals(await endings("stop"), [
    'engineStart: SE | stopped "enough" | stopReason enough | returned',
    'epochStart: S[]E | stopped "enough", a partial epoch | stopReason enough | returned',
    'stepStart: S[(bB)]E | stopped "enough", a partial epoch | stopReason enough | returned',
    'backwardStart: S[(bB)]E | stopped "enough", a partial epoch | stopReason enough | returned',
    'backwardEnd: S[(bB)]E | stopped "enough", a partial epoch | stopReason enough | returned',
    'stepEnd: S[(bB)]E | stopped "enough", a partial epoch | stopReason enough | returned',
    'epochEnd: S[(bB)(bB)]E | stopped "enough" | stopReason enough | returned',
    "engineEnd: S[(bB)(bB)][(bB)(bB)]E | done | stopReason enough | returned",
    "exception: S[(bBXE | failed TypeError: step | stopReason enough | threw TypeError: step",
  ]);
});

Deno.test("An interruption in a handler of each event ends as written", async () => {
  assertEquals(await endings("interrupt"), [
    "engineStart: SE | interrupted | stopReason interrupted | returned",
    "epochStart: S[]E | interrupted, a partial epoch | stopReason interrupted | returned",
    "stepStart: S[(bB)]E | interrupted, a partial epoch | stopReason interrupted | returned",
    "backwardStart: S[(bB)]E | interrupted, a partial epoch | stopReason interrupted | returned",
    "backwardEnd: S[(bB)]E | interrupted, a partial epoch | stopReason interrupted | returned",
    "stepEnd: S[(bB)]E | interrupted, a partial epoch | stopReason interrupted | returned",
    "epochEnd: S[(bB)(bB)]E | interrupted | stopReason interrupted | returned",
    "engineEnd: S[(bB)(bB)][(bB)(bB)]E | done | stopReason interrupted | returned",
    "exception: S[(bBXE | failed TypeError: step | stopReason interrupted | threw TypeError: step",
  ]);
});

Deno.test("An error in a handler of each event ends as written", async () => {
  assertEquals(await endings("throw"), [
    "engineStart: SXE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "epochStart: S[XE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "stepStart: S[(XE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "backwardStart: S[(bXE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "backwardEnd: S[(bBXE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "stepEnd: S[(bB)XE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "epochEnd: S[(bB)(bB)]XE | failed RangeError: handler | stopReason null | threw RangeError: handler",
    "engineEnd: S[(bB)(bB)][(bB)(bB)]E | done | stopReason null | threw RangeError: handler",
    "exception: S[(bBXE | failed TypeError: step | stopReason null | threw TypeError: step, RangeError: handler",
  ]);
});

Deno.test("Engine.loop() collects errors of all ending handlers, the first one as the cause", async () => {
  const first = new TypeError("step");
  const engine = new Engine((): void => {
    throw first;
  }, new Context({ model: null }));
  for (const event of ["exception", "engineEnd"] as const) {
    for (const number of [1, 2]) {
      engine.on(event, async () => {
        await Promise.resolve();
        throw new Error(`${event} ${number}`);
      });
    }
  }
  const thrown = await engine.loop([0]).then(() => null, (error) => error);
  assertEquals(thrown.errors.map(String), [
    "TypeError: step",
    "Error: exception 1",
    "Error: exception 2",
    "Error: engineEnd 1",
    "Error: engineEnd 2",
  ]);
  assertEquals(thrown.message, "step (and 4 more errors while ending)");
  assertStrictEquals(thrown.cause, first);
});

Deno.test("Engine.loop() throws errors of the step that are no Error objects as they are", async () => {
  const engine = new Engine((): void => {
    throw "text";
  }, new Context({ model: null }));
  const seen: unknown[] = [];
  engine.on("exception", ({ error }) => void seen.push(error));
  engine.on("engineEnd", ({ error, reason }) => void seen.push(error, reason));
  assertEquals(await engine.loop([0]).then(() => null, (error) => error), "text");
  assertEquals(seen, ["text", "text", "failed"]);
});
