/** A training that is killed from outside: `kill_program.ts DIR` begins a run in a folder, or goes on with the one that is there. */

import { getDevice } from "../../core/mod.ts";
import { CheckpointStore, listRuns, run } from "../../track/mod.ts";
import { wholeTraining } from "./whole_training.ts";

const [dir] = Deno.args;
const write = (line: string) => void Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));

const [begun] = listRuns(dir).filter(({ meta }) => meta !== null);
await run(begun === undefined ? { dir } : { resume: begun.dir }, async (session) => {
  write(`run ${session.segment}`);
  const device = await getDevice({ kind: "cpu", threads: 1 });
  const store = new CheckpointStore(session.checkpointsDir, { last: 2 });
  const training = wholeTraining({
    device,
    session,
    store,
    width: 256,
    epochs: 4,
    callbacks: [{
      name: "teller",
      phase: "display",
      onStepEnd: ({ state }) => write(`saved ${state.globalStep}`),
    }],
  });
  const entry = await training.checkpoints!.resume(training.trainer);
  write(`loaded ${entry?.step ?? 0}`);
  await training.run();
});
write("done");
