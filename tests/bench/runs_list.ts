/**
 * How long `legoml runs list` takes on a folder of many runs.
 *
 *   deno task bench:runs [--runs 100] [--rows 10000] [--rounds 5] [--dir DIR] [--json]
 *
 * The runs are written by `run` and `logScalars`, ten values at a time; with --dir they stay for the
 * next call. Each round is a process of its own, so its start is part of the time, and stands beside it.
 */

import { parseArgs } from "@std/cli/parse-args";
import { listRuns, run } from "../../track/mod.ts";
import { countOf, refuse } from "./flags.ts";

const USAGE = "--runs N, --rows N, --rounds N, --dir DIR or --json";
const KEYS = [
  "loss",
  "accuracy",
  "lr",
  "gradNorm",
  "f1",
  "recall",
  "time",
  "memory",
  "wait",
  "ece",
];

const args = parseArgs(Deno.args, {
  string: ["runs", "rows", "rounds", "dir"],
  boolean: ["json"],
  default: { runs: "100", rows: "10000", rounds: "5" },
  unknown: refuse(USAGE),
});
const [runs, rows, rounds] = (["runs", "rows", "rounds"] as const).map((name) =>
  countOf(name, args[name])
);

/** Writes the runs that are missing. */
async function fill(dir: string): Promise<void> {
  for (let i = listRuns(dir).length; i < runs; i++) {
    await run({ dir, name: `run ${i}`, config: { lr: 1e-3 * (i + 1), seed: i } }, (session) => {
      for (let row = 0; row < rows; row += KEYS.length) {
        const names = KEYS.slice(0, rows - row);
        const step = row / KEYS.length + 1;
        const at = { step, epoch: Math.floor(step / 100), samples: 64 * step };
        const values = names.map((name, k) => [name, Math.sin(i + k) + 1 / (step + k)]);
        session.logScalars(Object.fromEntries(values), { ...at, split: "train" });
      }
    });
  }
}

async function seconds(command: readonly string[]): Promise<number> {
  const cli = new URL("../../track/cli.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", cli, ...command],
    stdout: "null",
    stderr: "inherit",
  });
  const start = performance.now();
  const { success } = await child.output();
  if (!success) throw new Error(`Cannot measure legoml ${command.join(" ")}: it failed`);
  return (performance.now() - start) / 1000;
}

const median = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1];

const dir = args.dir ?? await Deno.makeTempDir();
try {
  await fill(dir);
  const [list, start]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    start.push(await seconds(["--help"]));
    list.push(await seconds(["runs", "list", "--dir", dir, "--json"]));
  }
  const result = {
    runs,
    rows,
    rounds,
    startSeconds: median(start),
    listSeconds: median(list),
    worstSeconds: Math.max(...list),
  };
  console.log(
    args.json
      ? JSON.stringify(result)
      : `runs list: ${result.listSeconds.toFixed(2)} s, of which ` +
        `${result.startSeconds.toFixed(2)} s to start, for ${runs} runs of ${rows} rows`,
  );
} finally {
  if (args.dir === undefined) await Deno.remove(dir, { recursive: true });
}
