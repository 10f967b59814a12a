/** Ctrl-C and its like, sent to programs of their own. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine, type LoopOptions, type SignalName } from "../../../core/engine/mod.ts";
import { listenToSignals } from "../../../core/engine/signals.ts";

const canSend = Deno.build.os !== "windows" && (await Promise.all(
  (["run", "read"] as const).map((name) => Deno.permissions.query({ name })),
)).every(({ state }) => state === "granted");

interface Ending {
  readonly lines: readonly string[];
  readonly code: number;
  readonly signal: Deno.Signal | null;
}

/** Runs the program, which needs no permission, and sends one signal each time that it prints "now". */
async function run(where: string, signals: readonly Deno.Signal[]): Promise<Ending> {
  const program = new URL("signals_program.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", program, where],
    cwd: new URL("../../..", import.meta.url),
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const deadline = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const waiting = [...signals];
  const lines: string[] = [];
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      lines.push(text.slice(0, end));
      text = text.slice(end + 1);
      if (lines.at(-1) === "now") child.kill(waiting.shift()!);
    }
  }
  const { code, signal } = await child.status;
  clearTimeout(deadline);
  return { lines, code, signal };
}

function testSignals(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !canSend, fn });
}

testSignals("SIGINT during a step ends after it, saves, and returns to the caller", async () => {
  assertEquals(await run("step", ["SIGINT"]), {
    lines: [
      "now",
      "heard interrupted",
      "epochEnd done 0,2,2,2 at 1,2,2 complete=false",
      'engineEnd done 0,2,2,2 at 1,2,2 interrupted "SIGINT"',
      "saved",
      "returned interrupted after 0 epochs",
    ],
    code: 130,
    signal: null,
  });
});

testSignals("SIGTERM does the same", async () => {
  const { lines, code } = await run("step", ["SIGTERM"]);
  assertEquals(lines.slice(2), [
    "epochEnd done 0,2,2,2 at 1,2,2 complete=false",
    'engineEnd done 0,2,2,2 at 1,2,2 interrupted "SIGTERM"',
    "saved",
    "returned interrupted after 0 epochs",
  ]);
  assertEquals(code, 130);
});

testSignals("a second signal ends the process at once, whichever of the two it is", async () => {
  const lines = ["now", "heard interrupted", "now"];
  assertEquals(await run("hang", ["SIGINT", "SIGINT"]), { lines, code: 130, signal: "SIGINT" });
  assertEquals(await run("hang", ["SIGINT", "SIGTERM"]), { lines, code: 143, signal: "SIGTERM" });
  assertEquals(await run("hang", ["SIGTERM", "SIGINT"]), { lines, code: 130, signal: "SIGINT" });
});

testSignals(
  "SIGINT during an evaluation ends it after its step and drops its metrics",
  async () => {
    assertEquals(await run("evaluation", ["SIGINT"]), {
      lines: [
        "now",
        "evaluator epochEnd done 0,2,2,2 at 1,2,2 complete=false",
        "evaluator engineEnd done 0,2,2,2 at 1,2,2 interrupted",
        "epochEnd done 0,3,3,3 at 1,3,3 complete=false",
        'engineEnd done 0,3,3,3 at 1,3,3 interrupted "SIGINT"',
        "saved",
        "returned interrupted after 0 epochs",
      ],
      code: 130,
      signal: null,
    });
  },
);

testSignals("SIGINT gets through to a loop whose steps never wait", async () => {
  assertEquals(await run("busy", ["SIGINT"]), {
    lines: ["now", "returned interrupted"],
    code: 130,
    signal: null,
  });
});

testSignals("SIGINT after the loop, and with signals: false, ends the process", async () => {
  const after = await run("after", ["SIGINT"]);
  assertEquals([after.lines.at(-1), after.code, after.signal], ["now", 130, "SIGINT"]);
  const deaf = await run("deaf", ["SIGINT"]);
  assertEquals(deaf, { lines: ["now"], code: 130, signal: "SIGINT" });
});

/** Runs with listeners that the test can call; gives back what Deno was asked, in order. */
async function withFakeSignals(
  work: (send: (signal: string) => void) => Promise<void>,
): Promise<string[]> {
  const { addSignalListener, removeSignalListener } = Deno;
  const calls: string[] = [];
  const listeners = new Map<string, Set<() => void>>();
  Deno.addSignalListener = (signal, listener) => {
    calls.push(`add ${signal}`);
    listeners.set(signal, (listeners.get(signal) ?? new Set()).add(listener));
  };
  Deno.removeSignalListener = (signal, listener) => {
    calls.push(`remove ${signal}`);
    listeners.get(signal)?.delete(listener);
  };
  try {
    await work((signal) => {
      for (const listener of [...listeners.get(signal) ?? []]) listener();
    });
  } finally {
    Object.assign(Deno, { addSignalListener, removeSignalListener });
  }
  assertEquals([...listeners.values()].map((set) => set.size), [...listeners].map(() => 0));
  return calls;
}

function engineOf(step: (engine: Engine) => void): Engine {
  return new Engine((engine, _batch: number) => step(engine), new Context({ model: null }));
}

Deno.test("Engine.loop() removes its listeners however it ends", async () => {
  const usual = Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
  const pair = [...usual.map((s) => `add ${s}`), ...usual.map((s) => `remove ${s}`)];
  const failing = engineOf(() => {
    throw new Error("step");
  });
  const calls = await withFakeSignals(async (send) => {
    await engineOf(() => {}).loop([1]);
    await assertRejects(() => failing.loop([1]), Error, "step");
    const { stopReason } = await engineOf(() => send("SIGINT")).loop([1, 2]);
    assertEquals(stopReason, "interrupted");
  });
  assertEquals(calls, [...pair, ...pair, ...pair]);
});

Deno.test("Engine.loop() listens to the signals that it is given, and to none for false", async () => {
  const seen = async (signals: LoopOptions["signals"]) => {
    const engine = engineOf(() => {});
    return (await withFakeSignals(async () => void await engine.loop([1], { signals })))
      .filter((call) => call.startsWith("add"));
  };
  assertEquals(await seen(["SIGUSR1"]), ["add SIGUSR1"]);
  assertEquals(await seen(false), []);
  assertEquals(await seen([]), []);
  const engine = engineOf(() => {});
  const bad = ["SIGKILL"] as unknown as SignalName[];
  await assertRejects(
    () => engine.loop([1], { signals: bad }),
    TypeError,
    'expected signals to be true, false or a list of SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGBREAK, SIGUSR1, SIGUSR2, found ["SIGKILL"]',
  );
});

Deno.test("Engine.loop() interrupts nested loops together, and what starts later does not listen", async () => {
  const inner = engineOf(() => {});
  const reasons: (string | null)[] = [];
  const calls = await withFakeSignals(async (send) => {
    const outer = engineOf(() => {});
    outer.on("stepEnd", async () => {
      reasons.push((await inner.loop([1, 2, 3])).stopReason);
    });
    inner.on("stepEnd", ({ state }) => {
      if (state.globalStep === 2) send("SIGTERM");
    });
    outer.on("epochEnd", async () => {
      reasons.push((await inner.loop([4])).stopReason);
    });
    reasons.push((await outer.loop([1, 2])).stopReason);
    // Nothing is on its way to the end any more.
    reasons.push((await inner.loop([5])).stopReason);
  });
  assertEquals(reasons, ["interrupted", null, "interrupted", null]);
  assertEquals(calls.filter((call) => call === "add SIGTERM").length, 3);
});

Deno.test("Engine.loop() runs where there are no signals, and says so where they are asked for", async () => {
  const { addSignalListener } = Deno;
  Object.assign(Deno, { addSignalListener: undefined });
  try {
    await engineOf(() => {}).loop([1]);
    const engine = engineOf(() => {});
    await assertRejects(
      () => engine.loop([1], { signals: ["SIGINT"] }),
      Error,
      "Cannot listen to SIGINT: expected a platform that tells of it",
    );
    assertEquals([engine.running, engine.state.globalStep], [false, 0]);
    assertThrows(() => listenToSignals(["SIGTERM"], () => {}), Error, "Cannot listen to SIGTERM");
  } finally {
    Object.assign(Deno, { addSignalListener });
  }
});
