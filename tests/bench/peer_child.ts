/** One library on one model in a process of its own; prints one JSON line. Started by peers.ts. */

import { parseArgs } from "@std/cli/parse-args";
import { type Model, modelOf } from "./models.ts";
import { measure, type Trainer } from "./trainer.ts";
import { watchAdapter } from "./webgpu_counts.ts";

interface Flags {
  readonly eager: boolean;
  readonly device: string;
}

/** The trainer of a library, which is loaded only here. */
async function open(library: string, model: Model, flags: Flags): Promise<Trainer> {
  const { eager, device } = flags;
  const cpu = device === "cpu";
  if (library === "ours") {
    const { openOurs } = await import("./ours.ts");
    return await openOurs(model, { eager, kind: cpu ? "cpu" : "webgpu" });
  }
  if (library === "jax-js") {
    return await (await import("./jax.ts")).openJax(model, cpu ? "wasm" : "webgpu");
  }
  if (library === "tfjs") return await (await import("./tfjs.ts")).openTfjs(model);
  throw new RangeError(
    `Cannot open library "${library}": expected ours, jax-js or tfjs`,
  );
}

const flags = parseArgs(Deno.args, {
  string: ["library", "model", "repeats", "device"],
  boolean: ["eager"],
  default: { library: "ours", model: "small", repeats: "3", device: "webgpu" },
});
const model = modelOf(flags.model);
const adapter = watchAdapter();
const trainer = await open(flags.library, model, flags);
const measurement = await measure(trainer, {
  stepsPerRead: model.stepsPerRead,
  repeats: Number(flags.repeats),
});
const { library } = trainer;
console.log(
  JSON.stringify({ model: model.name, library, adapter: adapter() || "CPU", ...measurement }),
);
trainer.close();
// Workers of some libraries would keep the process alive.
Deno.exit();
