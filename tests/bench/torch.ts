/** Runs a benchmarked model in PyTorch, with the same weights and batches, in a process of its own. */

import { ADAM, makeBatches, type Model, NORM, startWeights } from "./models.ts";
import { CHECKED_STEPS, WARM_UP_MS } from "./trainer.ts";

/** How PyTorch is run. */
export interface TorchOptions {
  /** The Python that has PyTorch. */
  readonly python: string;
  /** Runs that are timed. */
  readonly repeats: number;
  /** Seconds that it may take. */
  readonly timeout: number;
}

/** What ran; standard output ends with a JSON line. */
export async function runTorch(model: Model, options: TorchOptions): Promise<Deno.CommandOutput> {
  const folder = await Deno.makeTempDir({ prefix: "torch" });
  try {
    await writeModel(folder, model, options.repeats);
    const script = new URL("torch_child.py", import.meta.url).pathname;
    const command = new Deno.Command(options.python, {
      args: [script, folder],
      // Without these OpenBLAS chooses for the machine that it finds.
      clearEnv: true,
      env: { PATH: Deno.env.get("PATH") ?? "" },
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(options.timeout * 1000),
    });
    return await command.output();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function writeModel(folder: string, model: Model, repeats: number): Promise<void> {
  const batches = makeBatches(model);
  const spec = {
    ...model,
    adam: ADAM,
    norm: NORM,
    repeats,
    checkedSteps: CHECKED_STEPS,
    warmUpSeconds: WARM_UP_MS / 1000,
    threads: navigator.hardwareConcurrency,
  };
  await Deno.writeTextFile(`${folder}/model.json`, JSON.stringify(spec));
  await writeNumbers(`${folder}/weights.bin`, startWeights(model).map((w) => w.values));
  await writeNumbers(`${folder}/inputs.bin`, batches.map((b) => b.inputs));
  await writeNumbers(`${folder}/targets.bin`, batches.map((b) => b.targets));
}

async function writeNumbers(
  path: string,
  parts: readonly (Float32Array<ArrayBuffer> | Int32Array)[],
): Promise<void> {
  const blob = new Blob(parts.map((part) => part as BlobPart));
  await Deno.writeFile(path, blob.stream());
}
