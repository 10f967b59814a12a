import { assertEquals } from "@std/assert";
import { Adam, type Device, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import { crossEntropy, type Module, type TensorModule, TinyCNNNode } from "../../nn/mod.ts";
import { type GoldenTensor, type Picks, tinyCnn, type TinyCnnRun } from "../golden/load.ts";
import { images, labels, startParameters } from "../golden/tinycnn_data.ts";
import { assertClose, type Bounds, reference, testOnDevices } from "../util.ts";
import { assertGolden } from "./golden.ts";

const { batch, steps, lr } = tinyCnn.settings;

/** The network with the parameters that PyTorch started from. */
function startModel(device: Device): TensorModule {
  const model = new TinyCNNNode().build({ device, seed: 0 });
  const start = startParameters().map(({ name, shape, data }): [string, Tensor] => [
    name,
    tensor(data, { shape, device }),
  ]);
  const { missing, unexpected } = model.loadStateDict(Object.fromEntries(start), { strict: false });
  assertEquals(unexpected, []);
  assertEquals(missing.filter((key) => !/running|tracked/.test(key)), []);
  return model;
}

function imagesOf(step: number, device: Device): Tensor {
  return tensor(images(step), { shape: [batch, 1, 28, 28], device });
}

/** How closely each part of a run is compared. */
interface Allowed {
  readonly losses: Bounds;
  readonly logits: Bounds;
  readonly gradients: Bounds;
  readonly final: Bounds;
  /** Buffers that follow parameters whose gradient is rounding noise. */
  readonly loose: Bounds;
}

async function assertPicks(t: Tensor, picks: Picks, bounds: Bounds, label: string): Promise<void> {
  const data = await t.data();
  assertClose(picks.index.map((i) => data[i]), picks.data, bounds, label);
}

async function norm(t: Tensor): Promise<number> {
  return Math.hypot(...await t.to("f32").square().sum(t.ndim ? t.ndim - 1 : null).sqrt().data());
}

async function assertGradients(model: Module, run: TinyCnnRun, bounds: Bounds): Promise<void> {
  for (const [name, parameter] of model.namedParameters()) {
    if (tinyCnn.noise.includes(name)) continue;
    const gradient = parameter.grad!;
    const { rel } = bounds;
    assertClose([await norm(gradient)], [run.gradNorms[name]], { rel, abs: 0 }, `|grad ${name}|`);
    await assertPicks(gradient, run.grads[name], bounds, `grad ${name}`);
  }
}

async function assertState(model: Module, run: TinyCnnRun, allowed: Allowed): Promise<void> {
  const state = model.stateDict();
  assertEquals(Object.keys(state), Object.keys(run.final));
  for (const [name, { norm: length, ...picks }] of Object.entries(run.final)) {
    if (tinyCnn.noise.includes(name)) continue;
    const bounds = tinyCnn.followNoise.includes(name) ? allowed.loose : allowed.final;
    assertClose([await norm(state[name])], [length], bounds, `|${name}|`);
    await assertPicks(state[name], picks, bounds, name);
  }
}

async function train(device: Device, run: TinyCnnRun, allowed: Allowed): Promise<void> {
  const model = startModel(device);
  const optimizer = new Adam(model.parameters(), { lr });
  const losses: Promise<number>[] = [];
  for (let step = 0; step < steps; step++) {
    using _ = device.scope();
    const targets = tensor(labels(step), { device });
    const logits = model.forward(imagesOf(step, device));
    const loss = crossEntropy(logits, targets);
    optimizer.zeroGrad();
    loss.backward();
    losses.push(loss.item());
    if (step === 0) {
      await assertGolden(logits, run.logits, allowed.logits, "first logits");
      await assertGradients(model, run, allowed.gradients);
    }
    optimizer.step();
  }
  assertClose(await Promise.all(losses), run.losses, allowed.losses, "losses");
  await assertState(model, run, allowed);
  const logits = noGrad(() => model.eval().forward(imagesOf(0, device)));
  await assertGolden(logits, run.evalLogits as GoldenTensor, allowed.loose, "logits in evaluation");
  optimizer.dispose();
}

function runOf(name: TinyCnnRun["name"]): TinyCnnRun {
  return tinyCnn.runs.find((run) => run.name === name)!;
}

Deno.test("TinyCNN trains as PyTorch in double precision, on the reference device", async () => {
  await train(reference, runOf("float64"), {
    losses: { rel: 1e-8, abs: 0 },
    logits: { rel: 1e-8, abs: 1e-8 },
    gradients: { rel: 1e-8, abs: 1e-10 },
    final: { rel: 1e-7, abs: 1e-7 },
    loose: { rel: 1e-6, abs: 1e-6 },
  });
});

testOnDevices({
  name: "TinyCNN trains as PyTorch in single precision",
  fn: async (device) => {
    await train(device, runOf("float32"), {
      losses: { rel: 1e-5, abs: 0 },
      logits: { rel: 1e-5, abs: 1e-6 },
      gradients: { rel: 1e-4, abs: 1e-6 },
      final: { rel: 1e-4, abs: 1e-4 },
      loose: { rel: 5e-3, abs: 5e-3 },
    });
  },
});
