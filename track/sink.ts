/** Other places that a run's scalars go to. */

import { getLogger } from "@logtape/logtape";
import { reasonOf } from "./errors.ts";
import type { FileOps } from "./file_ops.ts";

/** The run that a sink belongs to. */
export interface SinkRun {
  /** The folder of the run. */
  readonly dir: string;
  /** Name of that folder. */
  readonly id: string;
  /** How the run writes its files. */
  readonly files: FileOps;
  /** Which start of the run it is, from 1. */
  readonly segment: number;
}

/** Where in training some values belong, and when they were taken. */
export interface SinkPlace {
  /** Completed steps, or null where not given. */
  readonly step: number | null;
  /** Completed epochs, or null where not given. */
  readonly epoch: number | null;
  /** Completed samples, or null where not given. */
  readonly samples: number | null;
  /** When they were taken. */
  readonly time: Date;
}

/**
 * Another place that the scalars of a run go to, such as the files of another viewer.
 *
 * A sink gets what has been written into `scalars.csv`. If one of its methods throws, the run goes
 * on without it: there is one warning, and the event "sinkFailed".
 *
 * @example A sink that counts
 * ```ts
 * import { run, type RunSink } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const seen: string[] = [];
 * const sink: RunSink = {
 *   name: "count",
 *   open: ({ segment }) => void seen.push(`segment ${segment}`),
 *   scalars: (values, { step }) => void seen.push(`${Object.keys(values)} at ${step}`),
 *   close: () => void seen.push("end"),
 * };
 * await run({ dir: await Deno.makeTempDir(), sinks: [sink] }, (session) => {
 *   session.logScalars({ loss: 0.5 }, { step: 1, split: "train" });
 * });
 * assertEquals(seen, ["segment 1", "train/loss at 1", "end"]);
 * ```
 */
export interface RunSink {
  /** How warnings call it. */
  readonly name: string;
  /** Called once, when the run is opened or reopened. */
  open(run: SinkRun): void;
  /** Called with values logged together; their names carry their split already. */
  scalars(values: Readonly<Record<string, number | null>>, at: SinkPlace): void;
  /** Called when the run goes on from a checkpoint of a step: what was logged behind it is void. */
  resumed?(step: number): void;
  /** Called once, when the run ends, or when another method threw. */
  close(): void;
}

/** The sinks of a run; one that throws is told of, and dropped. */
export class SinkSet {
  #sinks: readonly RunSink[];
  #tell: (fields: { sink: string; action: string; reason: string }) => void;

  /**
   * @param sinks the sinks
   * @param tell takes what is known of one that failed
   */
  constructor(
    sinks: readonly RunSink[],
    tell: (fields: { sink: string; action: string; reason: string }) => void,
  ) {
    this.#sinks = [...sinks];
    this.#tell = tell;
  }

  /** Calls a method of every sink. */
  each(action: "open" | "scalars" | "resumed" | "close", call: (sink: RunSink) => void): void {
    for (const sink of this.#sinks) {
      try {
        call(sink);
      } catch (error) {
        this.#drop(sink, action, error);
      }
    }
  }

  #drop(sink: RunSink, action: string, error: unknown): void {
    this.#sinks = this.#sinks.filter((other) => other !== sink);
    if (action !== "close") closeAfter(sink);
    const fields = { sink: sink.name, action, reason: reasonOf(error) };
    getLogger(["legoml", "track"]).warn(
      "The run goes on without the sink {sink}, which failed to {action}: {reason}",
      fields,
    );
    this.#tell(fields);
  }
}

/** Lets a sink that failed give back what it holds; the first failure is the one that is told. */
function closeAfter(sink: RunSink): void {
  try {
    sink.close();
  } catch (error) {
    getLogger(["legoml", "track"]).debug("The sink {sink} failed to close, too: {reason}", {
      sink: sink.name,
      reason: reasonOf(error),
    });
  }
}
