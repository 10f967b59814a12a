/** What the tests of the command share. */

import { main } from "../../track/cli.ts";
import { run, type RunOptions } from "../../track/mod.ts";

const granted = async (name: "read" | "write" | "run" | "env" | "net") =>
  (await Deno.permissions.query({ name })).state === "granted";

/** True where tests may write files, start processes and listen. */
export const canRun: boolean =
  (await Promise.all((["read", "write", "run", "env", "net"] as const).map(granted)))
    .every(Boolean);

/** What a command printed and how it ended. */
export interface Printed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process. */
export async function legoml(...args: string[]): Promise<Printed> {
  const [out, err]: [string[], string[]] = [[], []];
  const code = await main(args, {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
  });
  return { code, out: out.join("\n"), err: err.join("\n") };
}

/** Runs a command line in a process of its own. */
export async function legomlProcess(...args: string[]): Promise<Printed> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("../../track/cli.ts", import.meta.url).pathname,
      ...args,
    ],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

/** A run of some epochs with its accuracies of evaluation; gives its id. */
export async function recorded(
  dir: string,
  options: RunOptions & { readonly accuracy?: readonly number[] },
): Promise<string> {
  const { accuracy = [], ...rest } = options;
  return await run({ dir, ...rest }, (session) => {
    accuracy.forEach((value, i) => {
      const at = { step: 10 * (i + 1), epoch: i + 1 };
      session.logScalars({ loss: 1 - value }, { ...at, split: "train" });
      session.logScalars({ accuracy: value }, { ...at, split: "test" });
    });
    return session.id;
  });
}

/** A folder with three runs, in the order of their names; gives it and their ids. */
export async function threeRuns(): Promise<{ dir: string; ids: string[] }> {
  const dir = await Deno.makeTempDir();
  const at = (hour: number) => () => new Date(Date.UTC(2026, 0, 31, hour));
  const ids = [
    await recorded(dir, {
      name: "a",
      now: at(1),
      config: { lr: 0.1, depth: 2, model: { width: 8 } },
      accuracy: [0.5, 0.75, 0.625],
    }),
    await recorded(dir, {
      name: "b",
      now: at(2),
      config: { lr: 0.01, depth: 2, model: { width: 16 } },
      accuracy: [0.25, 0.875],
    }),
    await recorded(dir, { name: "c", now: at(3), config: { lr: 0.1, depth: 2 }, accuracy: [NaN] }),
  ];
  return { dir, ids };
}
