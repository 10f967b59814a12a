/** Trainings in processes of their own that are killed at any moment, again and again, until one gets to its end. */

import { assert, assertEquals } from "@std/assert";
import { CheckpointError, CheckpointStore, listRuns, readRun } from "../../track/mod.ts";
import { canRun } from "../examples/command.ts";
import { dice } from "../fuzz.ts";
import { catchWarnings, takeWarnings } from "./checkpoint_parts.ts";
import { differences, digestOf } from "./resume_digest.ts";

/** LEGOML_KILLS=200 is the run before a release. */
const KILLS = Number((canRun && Deno.env.get("LEGOML_KILLS")) || 5);
const SEED = 2026;
const root = new URL("../..", import.meta.url);

interface Life {
  /** Whether it was killed before it was done. */
  readonly killed: boolean;
  /** What it said. */
  readonly lines: readonly string[];
  readonly ms: number;
}

/** Runs the program; kills it after so many milliseconds. */
async function live(dir: string, killAfter: number | null): Promise<Life> {
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-A", "tests/track/kill_program.ts", dir],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => kill(child), killAfter ?? 120_000);
  const { success, signal, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const killed = signal === "SIGKILL";
  const said = new TextDecoder().decode(stderr);
  assert(success || (killed && killAfter !== null), `the program failed: ${said}`);
  const text = new TextDecoder().decode(stdout);
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n").slice(0, -1);
  return { killed, lines, ms: performance.now() - start };
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // It has just ended by itself.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** The last number that a life has told behind a word. */
function last(lines: readonly string[], word: string): number {
  const line = lines.findLast((line) => line.startsWith(`${word} `));
  return line === undefined ? 0 : Number(line.slice(word.length + 1));
}

/** What a kill has hit, by what it has left. */
type Hit =
  | "before the run"
  | "the start of the run"
  | "before a step"
  | "a training step"
  | "a checkpoint's file"
  | "behind a checkpoint's rename";

/** What is found after a kill: nothing that was told to be saved may be missing. */
async function checkFolder(dir: string, saved: number, { lines }: Life): Promise<Hit> {
  const runs = listRuns(dir);
  const whole = runs.filter(({ meta }) => meta !== null);
  for (const run of runs.filter(({ meta }) => meta === null)) {
    // Killed before it had a record: it has nothing to lose either.
    const inside = [...Deno.readDirSync(run.dir)].filter(({ name }) => !name.startsWith(".tmp-"));
    assert(inside.every(({ name }) => name === "logs"), `${run.dir} has no record: ${run.problem}`);
    assertEquals([...Deno.readDirSync(run.dir)].length <= 2, true);
  }
  assert(whole.length <= 1, `${whole.length} runs where one is resumed`);
  if (whole.length === 0) {
    assertEquals([saved, lines], [0, []]);
    return runs.length === 0 ? "before the run" : "the start of the run";
  }
  const [{ dir: folder }] = whole;
  const { scalars } = readRun(folder);
  const store = new CheckpointStore(`${folder}/checkpoints`);
  takeWarnings();
  const loaded = await store.load("last").catch((error: unknown) => {
    if (error instanceof CheckpointError && error.reason === "absent") return null;
    throw error;
  });
  const step = loaded?.entry.step ?? 0;
  assertEquals(loaded?.skipped ?? [], []);
  assert(step >= saved, `step ${saved} was saved, step ${step} is found`);
  assert(step <= saved + 1, `step ${saved} was saved last, step ${step} is found`);
  const steps = scalars.map((row) => row.step ?? 0);
  assert(step === 0 || Math.max(...steps) >= step, "a checkpoint is ahead of the rows it counts");
  if (lines.length === 0) return "before a step";
  const names = exists(`${folder}/checkpoints`)
    ? [...Deno.readDirSync(`${folder}/checkpoints`)].map(({ name }) => name)
    : [];
  if (names.some((name) => name.startsWith(".tmp-"))) return "a checkpoint's file";
  if (step > saved) return "behind a checkpoint's rename";
  return lines.some((line) => line.startsWith("loaded")) ? "a training step" : "before a step";
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function theRun(dir: string): string {
  const [{ dir: folder }] = listRuns(dir).filter(({ meta }) => meta !== null);
  return folder;
}

Deno.test({
  name:
    `a training that is killed ${KILLS} times at random loses no step and ends with the same bits`,
  ignore: !canRun || Deno.build.os === "windows",
  fn: catchWarnings(async () => {
    const start = performance.now();
    const roll = dice(SEED);
    const base = await Deno.makeTempDir({ prefix: "legoml_kills_" });
    const hits: Record<string, number> = {};
    let [kills, lives, ends] = [0, 0, 0];
    try {
      const { ms: first, lines } = await live(`${base}/whole`, null);
      let ms = first;
      assertEquals([last(lines, "saved"), lines.at(-1)], [12, "done"]);
      const want = await digestOf(theRun(`${base}/whole`));
      for (let number = 0; kills < KILLS || ends === 0; number++) {
        const dir = `${base}/${number}`;
        let saved = 0;
        for (let done = false; !done;) {
          const life = await live(dir, kills < KILLS ? (roll(10_000) / 10_000) * ms : null);
          lives++;
          const told = Math.max(saved, last(life.lines, "saved"));
          // What the file system has already may be told by nobody yet.
          assert(last(life.lines, "loaded") >= saved || !life.lines.join().includes("loaded"));
          if (life.killed) {
            kills++;
            const hit = await checkFolder(dir, told, life);
            hits[hit] = (hits[hit] ?? 0) + 1;
            saved = told;
            if (KILLS > 5 && kills % 25 === 0) console.log(`${kills} kills`, hits);
          } else {
            done = true;
            // The machine may be busier than it was.
            ms = life.ms;
          }
        }
        ends++;
        const folder = theRun(dir);
        assertEquals(differences(await digestOf(folder), want), []);
        const { meta } = readRun(folder);
        assertEquals(meta.status, "completed");
        await Deno.remove(dir, { recursive: true });
      }
    } finally {
      await Deno.remove(base, { recursive: true });
    }
    if (KILLS <= 5) return;
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(
      `${kills} kills of ${lives} processes, ${ends} runs to their end, ${seconds} s`,
      hits,
    );
  }),
});
