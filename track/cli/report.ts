/** `legoml runs report`. */

import { writeReport } from "../report.ts";
import { type Command, dirFlag, type Input, jsonFlag, jsonText, type Output } from "./command.ts";
import { findRun } from "./runs.ts";

/** Writes reports. */
export const report: Command = {
  usage: "RUN…",
  purpose: "Writes report.html into the folder of each run: one page that needs nothing else",
  count: [1, 1000],
  flags: { dir: dirFlag, json: jsonFlag },
  run(input: Input, { out }: Output): number {
    const dir = input.text("dir") ?? "runs";
    const paths = input.args.map((word) => findRun(dir, word)).map((folder) => writeReport(folder));
    out(input.has("json") ? jsonText(paths) : paths.join("\n"));
    return 0;
  },
};
