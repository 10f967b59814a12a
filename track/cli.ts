/**
 * The command `legoml`: looks at run folders, writes reports, serves them, and runs sweeps.
 *
 * ```text
 * deno run -A track/cli.ts --help
 * deno install --global -A --name legoml jsr:@legoml/legoml/cli
 *
 * legoml runs list
 * legoml runs show latest
 * legoml runs best --metric test/accuracy
 * legoml sweep examples/mnist.ts --grid lr=1e-3,1e-2 --seeds 1,2,3
 * ```
 *
 * @module
 */

import { best } from "./cli/best.ts";
import { columns, type Command, helpOf, type Output, parseLine } from "./cli/command.ts";
import { compare } from "./cli/compare.ts";
import { exportRun } from "./cli/export.ts";
import { list } from "./cli/list.ts";
import { report } from "./cli/report.ts";
import { serve } from "./cli/serve.ts";
import { show } from "./cli/show.ts";
import { sweep } from "./cli/sweep.ts";

export type { Output } from "./cli/command.ts";

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ["runs list", list],
  ["runs show", show],
  ["runs compare", compare],
  ["runs best", best],
  ["runs export", exportRun],
  ["runs report", report],
  ["serve", serve],
  ["sweep", sweep],
]);

const CONSOLE: Output = {
  out: (line) => console.log(line),
  err: (line) => console.error(line),
};

/**
 * Runs a command line of `legoml`. An error is one sentence on `err`, and exit code 1.
 *
 * @param args the words of the command line, such as `["runs", "list", "--json"]`
 * @param output where lines go; by default to the terminal
 * @returns the exit code: 0, 1 after an error, 130 where a sweep was stopped by Ctrl-C
 *
 * @example
 * ```ts
 * import { main } from "@legoml/legoml/cli";
 * import { run } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await run({ dir, name: "first" }, (session) => session.logScalars({ loss: 0.5 }, { step: 1 }));
 * const lines: string[] = [];
 * const output = { out: (line: string) => void lines.push(line), err: () => {} };
 * assertEquals(await main(["runs", "list", "--dir", dir, "--json"], output), 0);
 * assertEquals(JSON.parse(lines[0])[0].best, 0.5);
 * ```
 */
export async function main(args: readonly string[], output: Output = CONSOLE): Promise<number> {
  try {
    return await dispatch(args, output);
  } catch (error) {
    output.err(`error: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

function dispatch(args: readonly string[], output: Output): number | Promise<number> {
  const [first, ...others] = args;
  if (first === undefined || first === "--help" || first === "help") return tell(HELP, output);
  if (first !== "runs") return runOne(first, others, output);
  const [second, ...rest] = others;
  if (second === undefined || second === "--help") return tell(HELP, output);
  return runOne(`runs ${second}`, rest, output);
}

function tell(text: string, { out }: Output): number {
  out(text);
  return 0;
}

function runOne(name: string, line: readonly string[], output: Output): number | Promise<number> {
  const command = COMMANDS.get(name);
  if (command === undefined) {
    const names = [...COMMANDS.keys()].join(", ");
    throw new TypeError(`Cannot understand "${name}": expected ${names} or --help`);
  }
  const end = line.indexOf("--");
  if ((end < 0 ? line : line.slice(0, end)).includes("--help")) {
    return tell(helpOf(name, command), output);
  }
  return command.run(parseLine(name, command, line), output);
}

const HELP = [
  "legoml COMMAND …",
  "",
  "Looks at what trainings recorded, and runs trainings with many settings.",
  "",
  ...columns(
    [...COMMANDS].map(([name, { usage, purpose }]) => [`  ${name} ${usage}`.trimEnd(), purpose]),
  ),
  "",
  "legoml COMMAND --help tells the flags of a command.",
].join("\n");

if (import.meta.main) Deno.exitCode = await main(Deno.args);
