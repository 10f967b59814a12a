/**
 * One process of a training that is stopped and resumed: `resume_program.ts JOB...`, each job as JSON.
 * Prints a line of JSON for each.
 */

import { type Engine, getDevice, manualSeed } from "../../core/mod.ts";
import {
  CheckpointCallback,
  CheckpointStore,
  run,
  type RunSession,
  TrackingCallback,
} from "../../track/mod.ts";
import { build, STEPS, type Training } from "./resume_configs.ts";
import { copyRun, type Digest, digestOf } from "./resume_digest.ts";

/** What a process is asked to do. */
export interface Job {
  readonly config: string;
  readonly device: "cpu" | "webgpu";
  /**
   * `whole`: to the end, with a checkpoint after each step. `resume`: a copy of such a run, from one
   * of them to the end. `stop`, `limit`, `interrupt`, `kill`: from the start, ended after a step. `continue`: the same
   * folder, from the last checkpoint to the end.
   */
  readonly mode: "whole" | "resume" | "stop" | "limit" | "interrupt" | "kill" | "continue";
  /** The folder of the run; of the whole one, for `resume`. */
  readonly dir: string;
  /** The step. */
  readonly at?: number;
  /** Name of something that is not put back, see `SPOILS`. */
  readonly spoil?: string;
}

/** What a process says of a job. */
export interface Done {
  readonly dir: string;
  readonly step: number;
  readonly digest: Digest | null;
}

/** The parts of a run that a negative control spoils. */
export interface Resumed extends Training {
  readonly checkpoints: CheckpointCallback;
  readonly session: RunSession;
}

async function perform(job: Job, spoils: Spoils): Promise<Done> {
  const { mode, at = 0 } = job;
  const first = mode !== "resume" && mode !== "continue";
  const dir = mode === "resume" ? copyRun(job.dir, at) : job.dir;
  const options = first ? { dir, name: mode } : { resume: runIn(dir), force: true };
  const started = performance.now();
  const result = await run(options, async (session) => {
    const device = await getDevice({ kind: job.device });
    using _ = device.scope();
    const store = new CheckpointStore(session.checkpointsDir, { last: Infinity });
    let checkpoints: CheckpointCallback;
    const training = build(job.config, device, ({ config, parts }) => [
      new TrackingCallback(session, { every: 1, readEveryMs: 5 }),
      checkpoints = new CheckpointCallback(store, {
        parts,
        everySteps: mode === "whole" || mode === "kill" || !first ? 1 : null,
        everyEpochs: config.everyEpochs ? 1 : null,
      }),
    ]);
    const { trainer } = training;
    // What a new process draws before it resumes must not matter.
    if (!first) manualSeed(1000 + at);
    if (!first) await checkpoints!.resume(trainer, mode === "resume" ? at : "last");
    if (job.spoil) await spoils[job.spoil]({ ...training, checkpoints: checkpoints!, session });
    if (first) endAfter(trainer, mode, at);
    const { epoch, globalStep } = trainer.state;
    const limits = mode === "limit" ? { maxSteps: at } : { maxSteps: STEPS - globalStep };
    await trainer.loop(training.loader, { ...limits, maxEpochs: training.epochs - epoch });
    const step = trainer.state.globalStep;
    if (mode === "whole" || !first) await checkpoints!.save(trainer);
    return { dir: session.dir, step };
  });
  const ended = mode === "whole" || !first;
  const digest = ended ? await digestOf(result.dir) : null;
  if (Deno.env.get("LEGOML_DEBUG")) console.error(mode, at, performance.now() - started);
  return { ...result, digest };
}

function runIn(dir: string): string {
  const runs = [...Deno.readDirSync(dir)].filter(({ isDirectory }) => isDirectory);
  return `${dir}/${runs[0].name}`;
}

/** Ends a run after a step, in one of the ways in which runs end. */
function endAfter(trainer: Engine, mode: Job["mode"], at: number): void {
  if (mode === "whole" || mode === "limit") return;
  trainer.on("stepEnd", async ({ state }) => {
    if (mode === "stop") trainer.stop("enough");
    else Deno.kill(Deno.pid, mode === "kill" ? "SIGKILL" : "SIGINT");
    // The listener runs when the event loop does.
    while (state.stopReason === null) await new Promise((done) => setTimeout(done, 5));
  }, { once: at, phase: "display" });
}

/** Ways to spoil a resumed run, by name. */
export type Spoils = Readonly<Record<string, (run: Resumed) => void | Promise<void>>>;

if (import.meta.main) {
  const { SPOILS } = await import("./resume_spoils.ts");
  for (const job of Deno.args) console.log(JSON.stringify(await perform(JSON.parse(job), SPOILS)));
}
