import { assert } from "@std/assert";
import { manualSeed, referenceDevice, tensor } from "../../core/mod.ts";
import { BatchNorm2d, Conv2d, Flatten, Linear, ReLU, Sequential } from "../../nn/mod.ts";
import { saveModel } from "../../track/mod.ts";
import golden from "../golden/model_files.json" with { type: "json" };
import { canRun } from "../examples/command.ts";

const python = "/usr/bin/python3";
const script = new URL("./read_model.py", import.meta.url).pathname;

/** Runs Python, and gives what it writes. */
async function run(args: string[], input: string): Promise<{ ok: boolean; text: string }> {
  const child = new Deno.Command(python, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  return { ok: success, text: new TextDecoder().decode(success ? stdout : stderr) };
}

async function hasTorch(): Promise<boolean> {
  if (!canRun) return false;
  return await run(["-c", "import torch"], "").then(({ ok }) => ok, () => false);
}

Deno.test({
  name: "PyTorch computes with the model files written here what the model computes",
  ignore: !await hasTorch(),
  fn: async () => {
    const device = referenceDevice();
    manualSeed(4);
    const model = new Sequential(
      new Conv2d(1, 2, { kernelSize: 3, device }),
      new BatchNorm2d(2, { device }),
      new ReLU(),
      new Flatten(),
      new Linear(32, 3, { device }),
    );
    const inputs = tensor(golden.inputs, { shape: [2, 1, 6, 6], device });
    // Statistics that are not those of the start
    for (let i = 0; i < 3; i++) model.forward(inputs.mul(i + 1));
    const want = await model.eval().forward(inputs).data();
    const dir = await Deno.makeTempDir();
    for (const name of ["model.safetensors", "model.npz"]) {
      await saveModel(model, `${dir}/${name}`);
      const { ok, text } = await run([script, `${dir}/${name}`], JSON.stringify(golden.inputs));
      assert(ok, text);
      const found = (JSON.parse(text) as number[][]).flat();
      const error = Math.max(...found.map((value, i) => Math.abs(value - Number(want[i]))));
      // The files hold f32, the reference computes in f64.
      assert(error < 1e-5, `${name}: off by ${error}`);
    }
  },
});
