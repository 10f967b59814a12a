import { assert, assertEquals } from "@std/assert";
import { Context, Engine, ProgressBarCallback } from "../../../../core/engine/mod.ts";
import { type Show, show } from "./progress_run.ts";
import { Terminal } from "./terminal.ts";

/** What stands on a terminal after a run. */
async function shown(columns: number, options: Partial<Show> & { rows?: number } = {}) {
  const { rows = 24, ...more } = options;
  const terminal = new Terminal(columns, rows);
  const { text, reads } = await show({
    mode: "live",
    write: terminal.write,
    size: { columns, rows },
    color: false,
    ...more,
  });
  return { terminal, text, reads };
}

const training: Partial<Show> = {
  loss: (step) => 2.3 * Math.exp(-step / 25) + 0.05 * Math.sin(step),
  optimizer: { groups: [{ lr: 0.001 }], gradNorm: 1.25 },
  evaluation: (epoch) => ({
    loss: 2 - 0.3 * epoch,
    "test/accuracy": [0, 0.5, 0.7, 0.69, 0.68, 0.66][epoch],
    "test/loss": 1.8 - 0.2 * epoch,
  }),
  loop: { maxEpochs: 5, maxSteps: 47 },
};

const golden: Record<number, string[]> = {
  20: [
    "epoch 5/5  70% 7/10",
    "0:12",
    "loss 0.5000",
    "lr 0.001000",
    "grad norm 1.250",
    "test/accuracy",
    "0.6600",
    "o test/loss 0.8000",
    "best test/accuracy",
    "0.7000 3 epochs ago",
    "256 samples/s",
    "data wait 5%",
  ],
  40: [
    "epoch 5/5  ━━━━━━━────   70% 7/10  0:12",
    "    2.252 ┤⠙⠦⣄⡀",
    "          │   ⠉⠙o⢤⣀⡀  o",
    "          │        ⠉⠓⠒⠒⢦⣀⣀⣀⡀o     o   o",
    "   0.3571 ┤                ⠉⠓⠒⠒⠦⠤⠤⠤⢤⣀⡤⣄",
    "loss 0.5000  lr 0.001000",
    "grad norm 1.250  test/accuracy 0.6600",
    "o test/loss 0.8000",
    "best test/accuracy 0.7000 3 epochs ago",
    "256 samples/s  data wait 5%",
  ],
  80: [
    "epoch 5/5  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━────────────────   70% 7/10  0:12",
    "    2.252 ┤⠉⠓⠲⠤⢤⣀⣀⣀",
    "          │       ⠈⠉⠉⠙⠒⠲o⠤⠤⣄⣀⣀⡀        o",
    "          │                   ⠉⠉⠉⠓⠒⠒⠒⠒⠒⠒⠦⠤⣄⣀⣀⣀⣀⣀⣀⣀⣀  o              o         o",
    "   0.3571 ┤                                       ⠈⠉⠉⠓⠒⠒⠒⠒⠒⠲⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⣄⣀⣀⣠⠤⠤⣄⣀",
    "loss 0.5000  lr 0.001000  grad norm 1.250  test/accuracy 0.6600",
    "o test/loss 0.8000  best test/accuracy 0.7000 3 epochs ago  256 samples/s",
    "data wait 5%",
  ],
  120: [
    "epoch 5/5  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━────────────────────────────   70% 7/10  0:12",
    "    2.252 ┤⠉⠙⠒⠲⠤⠤⠤⣄⣀⣀⣀⣀⡀",
    "          │            ⠉⠉⠉⠉⠙⠒⠒⠒⠦o⠤⠤⠤⠤⣄⣀⣀⣀⣀             o",
    "          │                              ⠈⠉⠉⠉⠉⠓⠒⠒⠒⠒⠒⠒⠒⠒⠒⠲⠤⠤⠤⣄⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀    o                      o               o",
    "   0.3571 ┤                                                               ⠈⠉⠉⠉⠓⠒⠒⠒⠒⠒⠒⠒⠒⠒⠲⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⣄⣀⣀⣀⣀⡤⠤⠤⠤⢤⣀⣀",
    "loss 0.5000  lr 0.001000  grad norm 1.250  test/accuracy 0.6600  o test/loss 0.8000",
    "best test/accuracy 0.7000 3 epochs ago  256 samples/s  data wait 5%",
  ],
};

for (const columns of [20, 40, 80, 120]) {
  Deno.test(`the live display fits into ${columns} columns and leaves its last state`, async () => {
    const { terminal, reads } = await shown(columns, training);
    assertEquals(terminal.text, golden[columns]);
    assertEquals(terminal.row, golden[columns].length);
    // A step takes 250 ms, a drawing is due every 500: 24 of 47 steps, and the ends of four epochs.
    assertEquals(reads, 28);
    for (const line of terminal.text) assert(line.length < columns, line);
  });
}

Deno.test("the live display gives up the chart, then its last lines, where rows are missing", async () => {
  const { terminal: six } = await shown(80, { ...training, rows: 6 });
  assertEquals(six.text, golden[80].filter((_, i) => i < 1 || i > 4));
  const { terminal: two } = await shown(80, { ...training, rows: 2 });
  assertEquals(two.text, golden[80].slice(0, 1));
});

Deno.test("the live display shows nothing but its own lines while it is drawn again", async () => {
  const heads = new Set<string>();
  const terminal = new Terminal(80);
  const write = (text: string) => {
    terminal.write(text);
    heads.add(terminal.text.filter((line) => line.startsWith("epoch ")).join(" | "));
    // The cursor waits above the block.
    if (!text.endsWith("\n")) assertEquals([terminal.row, terminal.lines[0]], [0, ""]);
  };
  await shown(80, { write, loop: { maxEpochs: 1 } });
  const bar = (full: number, count: string) =>
    `epoch 1/1  ${"━".repeat(full)}${"─".repeat(41 - full)}  ${count}`;
  assertEquals([...heads], [
    bar(4, " 10% 1/10  0:00  ETA 0:02"),
    bar(12, " 30% 3/10  0:01  ETA 0:02"),
    bar(20, " 50% 5/10  0:01  ETA 0:01"),
    bar(28, " 70% 7/10  0:02  ETA 0:01"),
    bar(36, " 90% 9/10  0:02  ETA 0:00"),
    `epoch 1/1  ${"━".repeat(50)}  100% 10/10  0:03`,
  ]);
});

Deno.test("lines that go through the console appear above the live display, in their order", async () => {
  const own = console.log;
  const terminal = new Terminal(40);
  // What a console does on this terminal.
  console.log = (...values: unknown[]) => terminal.write(`${values.join(" ")}\n`);
  const replaced = console.log;
  try {
    await shown(40, {
      write: terminal.write,
      onStep: (step) => console.log(`step ${step}: ${"a long line ".repeat(step === 7 ? 5 : 1)}`),
      loop: { maxEpochs: 1 },
    });
    assertEquals(console.log, replaced);
  } finally {
    console.log = own;
  }
  const [first, ...rest] = terminal.text;
  assertEquals(first, "step 1: a long line");
  const steps = rest.filter((line) => line.startsWith("step "));
  assertEquals(steps.map((line) => line.split(":")[0].slice(5)).join(), "2,3,4,5,6,7,8,9,10");
  const block = terminal.text.slice(-7);
  assert(block[0].startsWith("epoch 1/1"), terminal.text.join("\n"));
  assertEquals(terminal.text.filter((line) => line.startsWith("epoch")).length, 1);
});

Deno.test("lines that are written past the console are not overwritten", async () => {
  const terminal = new Terminal(60);
  await shown(60, {
    write: terminal.write,
    intervalMs: 0,
    onStep: (step) => terminal.write(`child ${step}\n`),
    loop: { maxEpochs: 1 },
  });
  const children = terminal.text.filter((line) => line.startsWith("child"));
  assertEquals(children, Array.from({ length: 10 }, (_, i) => `child ${i + 1}`));
  assertEquals(terminal.text.slice(-6)[0].startsWith("epoch 1/1"), true);
});

Deno.test("a terminal that gets narrower, which breaks lines anew, has one block afterwards", async () => {
  const terminal = new Terminal(120);
  const size = { columns: 120, rows: 24 };
  await shown(120, {
    ...training,
    size,
    write: terminal.write,
    onStep: (step) => {
      if (step !== 22) return;
      terminal.resize(40);
      size.columns = 40;
    },
  });
  assertEquals(terminal.text, golden[40]);
});

Deno.test("a loss of NaN is shown, leaves a gap in the curve and does not stay", async () => {
  const loss = (step: number) => step >= 4 && step <= 6 ? NaN : 1 / step;
  const at = async (maxSteps: number) =>
    (await shown(60, { loss, intervalMs: 0, color: true, loop: { maxSteps } })).terminal;
  const odd = await at(5);
  assert(odd.written.includes("\x1b[31mloss NaN\x1b[0m"), odd.written);
  assertEquals(odd.text.at(-1), "loss NaN  256 samples/s  data wait 5%");
  const { text } = await at(10);
  assertEquals(text, [
    "epoch 1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  100% 10/10  0:03",
    "        1 ┤⠙⠲⣄",
    "          │  ⠈⠙⢦⣀",
    "          │     ⠈⠙⠒⠦⠤⣄",
    "   0.1000 ┤                               ⠠⠤⠤⢤⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀",
    "loss 0.2289  256 samples/s  data wait 5%",
  ]);
  const all = await shown(60, { loss: () => NaN, loop: { maxSteps: 3 } });
  assertEquals(all.terminal.text, [
    "epoch 1  ━━━━━━━━━────────────────────────   30% 3/10  0:01",
    "loss NaN  256 samples/s  data wait 5%",
  ]);
});

Deno.test("losses that are far apart are drawn on a logarithmic axis, which says so", async () => {
  const { terminal } = await shown(60, {
    loss: (step) => 10 ** -step,
    loop: { maxSteps: 10 },
    intervalMs: 0,
  });
  assertEquals(terminal.text, [
    "epoch 1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  100% 10/10  0:03",
    "   0.1000 ┤⠉⠙⠒⠒⠲⠤⠤⠤⣄⣀⣀⣀⡀",
    "          │            ⠉⠉⠉⠓⠒⠲⠤⠤⣄⣀⣀⣀⡀",
    "      log ┤                        ⠉⠉⠉⠉⠓⠒⠲⠤⠤⣄⣀⣀⡀",
    "1.000e-10 ┤                                    ⠉⠉⠉⠙⠒⠒⠒⠲⠤⠤⢤⣀",
    "loss 0.003437  256 samples/s  data wait 5%",
  ]);
});

Deno.test("the live display of a loader without a length has neither bar nor remaining time", async () => {
  const { terminal } = await shown(80, { known: false, loop: { maxEpochs: 2 } });
  assertEquals(terminal.text[0], "epoch 2/2  step 10  0:05");
  const limited = await shown(80, { known: false, loop: { maxSteps: 15 } });
  assert(limited.text.some((part) => part.includes("epoch 1  step 9  0:02  ETA 0:02")));
});

Deno.test("a run that goes on at step 500 shows its speed since then, and what is left", async () => {
  // Epoch 51 of 60 in its middle: 95 steps of 250 ms are left.
  const from = { epoch: 50, globalStep: 505, localStep: 5, inEpoch: true, samples: 505 * 64 };
  const { text, terminal } = await shown(80, {
    ...training,
    from,
    evaluation: (epoch) => ({ "test/accuracy": (epoch === 53 ? 70 : epoch) / 100 }),
    loop: { maxEpochs: 10 },
  });
  assert(text[0].includes(" 60% 6/10  0:00  ETA 0:24"), text[0]);
  assert(text[0].includes("256 samples/s"), text[0]);
  const best = terminal.text.find((line) => line.includes("best"));
  assertEquals(
    best?.match(/best .* ago/)?.[0],
    "best test/accuracy since step 505 0.7000 7 epochs ago",
  );
});

Deno.test("colours are left out where nobody wants them", async () => {
  const { terminal: plain } = await shown(80, training);
  const { terminal: colored } = await shown(80, { ...training, color: true });
  // deno-lint-ignore no-control-regex -- colours
  assert(!/\x1b\[\d*m/.test(plain.written) && /\x1b\[36m/.test(colored.written));
  assertEquals(colored.text, plain.text);
});

Deno.test("a live display that ends early says why below its block", async () => {
  const onStep = (step: number, engine: Engine) => void (step === 3 && engine.stop("no progress"));
  const { terminal } = await shown(60, { onStep });
  assertEquals(terminal.text.slice(-2), [
    "loss 0.5000  256 samples/s  data wait 5%",
    "stopped after 3 steps: no progress",
  ]);
});

Deno.test("a step that fails leaves the block, the cursor below it, and the console as it was", async () => {
  const { log } = console;
  const terminal = new Terminal(60);
  const onStep = (step: number) => {
    if (step === 4) throw new Error("x");
  };
  await shown(60, { write: terminal.write, onStep }).catch(() => {});
  assertEquals(terminal.text[0].slice(0, 9), "epoch 1/1");
  assertEquals(terminal.row, terminal.text.length);
  assertEquals(console.log, log);
});

Deno.test("of two loops at once the first has the terminal, and the other one writes lines", async () => {
  const terminal = new Terminal(60);
  const lines: string[] = [];
  const size = { columns: 60, rows: 24 };
  const inner = new Engine(() => {}, new Context({ model: null }), {
    callbacks: [
      new ProgressBarCallback({ mode: "live", size, write: (text) => void lines.push(text) }),
    ],
  });
  await shown(60, {
    write: terminal.write,
    onStep: (step) => step === 2 ? void inner.loop([1]) : undefined,
  });
  assertEquals(lines.map((line) => line.slice(0, 9)), ["epoch 1/1", "epoch 1/1"]);
  assert(lines.every((line) => !line.includes("\r") && line.endsWith("\n")));
});
