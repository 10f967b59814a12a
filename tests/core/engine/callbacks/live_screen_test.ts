import { assert, assertEquals } from "@std/assert";
import { Context, Engine, ProgressBarCallback } from "../../../../core/engine/mod.ts";
import type { ProgressBarOptions } from "../../../../core/engine/mod.ts";

interface Host {
  terminal?: boolean;
  env?: Record<string, string>;
  noColor?: boolean;
  /** Whether the program may read the environment without asking. */
  granted?: boolean;
  size?: () => { columns: number; rows: number };
}

/** What a run of one step writes on a system, by stream. */
async function written(host: Host | null, options: ProgressBarOptions = {}) {
  const real = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
  const texts = { stdout: "", stderr: "", console: "" };
  const stream = (name: "stdout" | "stderr") => ({
    // As pipes do: not all at once.
    writeSync: (bytes: Uint8Array) => {
      const part = bytes.subarray(0, Math.max(1, Math.floor(bytes.length / 2)));
      decoders[name] ??= new TextDecoder();
      texts[name] += decoders[name].decode(part, { stream: true });
      return part.length;
    },
    isTerminal: () => host?.terminal ?? false,
  });
  const decoders: Record<string, TextDecoder> = {};
  const fake = host === null ? undefined : {
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    noColor: host.noColor ?? false,
    consoleSize: host.size ?? (() => ({ columns: 60, rows: 24 })),
    permissions: { querySync: () => ({ state: host.granted === false ? "prompt" : "granted" }) },
    env: {
      get(name: string) {
        if (host.granted === false) throw new Error("a person would have been asked");
        return host.env?.[name];
      },
    },
  };
  const { log } = console;
  console.log = (text: string) => void (texts.console += `${text}\n`);
  Object.defineProperty(globalThis, "Deno", { value: fake, configurable: true, writable: true });
  try {
    const engine = new Engine(() => ({ loss: 0.5 }), new Context({ model: null }), {
      callbacks: [new ProgressBarCallback(options)],
    });
    await engine.loop([0], { signals: false });
  } finally {
    Object.defineProperty(globalThis, "Deno", real);
    console.log = log;
  }
  return texts;
}

const isLive = (text: string) => text.includes("\r") && text.includes("\x1b[J");
// deno-lint-ignore no-control-regex -- what a log must not hold
const isPlain = (text: string) => /^epoch 1\/1 [^\r\x1b]*\n$/.test(text);

Deno.test("progress is drawn in place on a terminal that can, else it is plain lines", async () => {
  const cases: [string, Host, boolean][] = [
    ["a terminal", { terminal: true, env: { TERM: "xterm-256color" } }, true],
    ["one whose environment nobody may read", { terminal: true, granted: false }, true],
    ["a pipe", { terminal: false, env: { TERM: "xterm" } }, false],
    ["a terminal that cannot", { terminal: true, env: { TERM: "dumb" } }, false],
    ["a service of builds", { terminal: true, env: { TERM: "xterm", CI: "true" } }, false],
  ];
  for (const [name, host, live] of cases) {
    const { stdout, stderr, console } = await written(host);
    assertEquals([stdout, console], ["", ""], name);
    assertEquals([isLive(stderr), isPlain(stderr)], [live, !live], `${name}: ${stderr}`);
  }
});

Deno.test("progress is coloured unless NO_COLOR is set", async () => {
  const terminal = { terminal: true, env: { TERM: "xterm" } };
  const color = "\x1b[36m";
  assert((await written(terminal)).stderr.includes(color));
  const { stderr } = await written({ ...terminal, noColor: true });
  assert(isLive(stderr) && !stderr.includes(color));
});

Deno.test("progress fits into a terminal that tells no size", async () => {
  const fail = () => {
    throw new Error("not a terminal");
  };
  for (const size of [fail, () => ({ columns: 0, rows: 0 })]) {
    const { stderr } = await written({ terminal: true, noColor: true, size });
    assert(
      stderr.split("\n").some((line) => line.startsWith("epoch 1/1") && line.length > 70),
      stderr,
    );
  }
});

Deno.test("progress as JSON goes to standard output", async () => {
  const { stdout, stderr } = await written({ terminal: true }, { mode: "json" });
  assertEquals(stderr, "");
  const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line).event);
  assertEquals(events, ["start", "step", "epoch", "end"]);
});

Deno.test("progress goes to the console where there is no Deno, as in browsers", async () => {
  const { console: plain } = await written(null);
  assert(isPlain(plain), plain);
  const { console: json } = await written(null, { mode: "json" });
  assertEquals(json.trimEnd().split("\n").map((line) => JSON.parse(line).event)[0], "start");
});
