/** What a session is made of and takes. */

import type { FileOps } from "./file_ops.ts";
import type { RunMeta, RunStatus } from "./meta.ts";
import type { LogLengths } from "./run_logs.ts";
import type { Progress } from "./scalars.ts";
import type { RunSink } from "./sink.ts";

/** Where in training some scalars belong, and whose they are. */
export interface ScalarOptions extends Progress {
  /** Prefix of the names, such as "train"; not repeated where a name has it already. */
  split?: string;
  /** When the values were taken; by default now. */
  time?: Date;
}

/** How a run may end. */
export type EndStatus = Exclude<RunStatus, "running">;

/** What a session is made of; `run` makes it. */
export interface SessionParts {
  /** The folder of the run. */
  dir: string;
  /** What `meta.json` says so far. */
  meta: RunMeta;
  /** How to write. */
  files: FileOps;
  /** The clock. */
  now: () => Date;
  /** How long its logs are already; by default there are none. */
  lengths?: LogLengths;
  /** Other places that its scalars go to. */
  sinks?: readonly RunSink[];
  /** Called when the run has ended, to write its report; what it throws becomes a warning. */
  report?: ((dir: string) => void) | null;
}
