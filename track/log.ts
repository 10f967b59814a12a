/** Showing what the framework logs. */

import { configureSync, getTextFormatter, type LogLevel } from "@logtape/logtape";

/** What to show, and where. */
export interface LoggingOptions {
  /**
   * The least level to show.
   *
   * @default {"info"}
   */
  level?: "trace" | "debug" | "info" | "warning" | "error" | "fatal";
  /** Takes each record as a line of text with its line end; by default standard error. */
  write?: (line: string) => void;
}

/**
 * Shows the log records of all `legoml` categories; without it they are silent.
 *
 * A short form for programs that have no logging of their own; others configure LogTape themselves.
 *
 * @param options least level, and where to write
 * @throws {Error} if the program has configured LogTape already
 *
 * @example Collect the records
 * ```ts
 * import { configureLogging, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const lines: string[] = [];
 * configureLogging({ write: (line) => lines.push(line) });
 * await run({ dir: await Deno.makeTempDir() }, () => {});
 * assert(lines.length === 2 && lines[1].includes("completed"));
 * ```
 */
export function configureLogging(options: LoggingOptions = {}): void {
  const { level = "info", write = writeToStandardError } = options;
  const format = getTextFormatter();
  const lowestLevel: LogLevel = level;
  configureSync({
    sinks: { lines: (record) => write(format(record)) },
    loggers: [
      { category: "legoml", lowestLevel, sinks: ["lines"] },
      // LogTape greets at level info otherwise
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["lines"] },
    ],
  });
}

function writeToStandardError(line: string): void {
  let bytes = new TextEncoder().encode(line);
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
}
