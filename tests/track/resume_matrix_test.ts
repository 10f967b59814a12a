import { assert, assertEquals } from "@std/assert";
import { canRun } from "../examples/command.ts";
import { gpu } from "../util.ts";
import { CONFIGS, STEPS } from "./resume_configs.ts";
import { differing, perform, performKilled } from "./resume_jobs.ts";
import type { Done, Job } from "./resume_program.ts";
import { CONTROLS } from "./resume_spoils.ts";

// LEGOML_RESUME=all resumes after every step of every configuration; `webgpu` does so there
const asked = canRun ? Deno.env.get("LEGOML_RESUME") ?? "" : "";
const device: Job["device"] = asked === "webgpu" ? "webgpu" : "cpu";
const ignore = !canRun || (device === "webgpu" && gpu === null);
const names = Object.keys(CONFIGS);

const dir = ignore ? "" : await Deno.makeTempDir();
if (!ignore) globalThis.addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
const wholes = new Map<string, Promise<Done>>();

/** The run of a configuration that never stopped; made once. */
function wholeOf(config: string): Promise<Done> {
  const found = wholes.get(config) ?? perform({
    config,
    device,
    mode: "whole",
    dir: `${dir}/whole-${names.indexOf(config)}`,
  }).then(([done]) => done);
  wholes.set(config, found);
  return found;
}

/** Steps after which a configuration is resumed: all, or others for each, in and at the ends of epochs. */
function cutsOf(index: number): number[] {
  if (asked !== "") return Array.from({ length: STEPS }, (_, i) => i + 1);
  return [(7 * index + 3) % STEPS + 1, 40 - index % 3 * 5];
}

for (const [index, config] of names.entries()) {
  Deno.test({
    name:
      `a run that is resumed in a new process gives the bytes of one that never stopped: ${config} (${device})`,
    ignore,
    fn: async () => {
      const whole = await wholeOf(config);
      assertEquals(whole.step, STEPS);
      const cuts = cutsOf(index);
      const found = await Promise.all(cuts.map(async (at) => {
        const [done] = await perform({ config, device, mode: "resume", dir: whole.dir, at });
        const differs = differing(whole.digest, done.digest);
        await Deno.remove(done.dir, { recursive: true });
        return differs.length === 0 ? [] : [`after step ${at}: ${differs.join("; ")}`];
      }));
      assertEquals(found.flat(), [], `${cuts.length} resumptions`);
    },
  });
}

/** Ways in which a run ends after a step, which `continue` then takes up from its last checkpoint. */
const ENDINGS = [
  ["stop", "everything, evaluated every two epochs", 18],
  ["limit", "stream", 10],
  ["interrupt", "plateau", 20],
  ["interrupt", "early stopping", 33],
  ["kill", "dropout", 21],
  ["kill", "everything, evaluated every two epochs", 27],
] as const;

Deno.test({
  name:
    `a run that was stopped, limited, interrupted or killed goes on as if it had not been (${device})`,
  ignore,
  fn: async () => {
    const found = await Promise.all(ENDINGS.map(async ([mode, config, at], i) => {
      const whole = wholeOf(config);
      const job = { config, device, dir: `${dir}/${i}`, at } as const;
      if (mode === "kill") await performKilled({ ...job, mode });
      else assertEquals((await perform({ ...job, mode }))[0].step, at, `${mode}, ${config}`);
      const [done] = await perform({ ...job, mode: "continue" });
      const differs = differing((await whole).digest, done.digest);
      return differs.map((what) => `${mode} after step ${at}, ${config}: ${what}`);
    }));
    assertEquals(found.flat(), []);
  },
});

for (const [config, at, spoils] of CONTROLS) {
  Deno.test({
    name: `the comparison fails where a resumed run is spoilt: ${config} (${device})`,
    ignore,
    fn: async () => {
      const job = { config, device } as const;
      const whole = await wholeOf(config);
      const names = ["nothing", ...spoils];
      const resumed = await perform(
        ...names.map((spoil) => ({ ...job, mode: "resume" as const, dir: whole.dir, at, spoil })),
      );
      for (const [i, spoil] of names.entries()) {
        const differs = differing(whole.digest, resumed[i].digest);
        assert((spoil === "nothing") === (differs.length === 0), `${spoil}: ${differs.join("; ")}`);
        await Deno.remove(resumed[i].dir, { recursive: true });
      }
    },
  });
}
