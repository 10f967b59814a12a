import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, type Device, Engine, SGD, supervisedStep, tensor } from "../../core/mod.ts";
import { decodeSafetensors, parseNpz } from "../../data/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Flatten,
  Linear,
  ReLU,
  Sequential,
  StateDictError,
} from "../../nn/mod.ts";
import {
  CheckpointCallback,
  CheckpointError,
  CheckpointStore,
  encodeModel,
  loadModel,
  renameKeys,
  saveModel,
} from "../../track/mod.ts";
import golden from "../golden/model_files.json" with { type: "json" };
import { devices, reference } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";

type Kind = keyof typeof golden.files;

/** A file that PyTorch or NumPy wrote. */
function file(kind: Kind): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(golden.files[kind]);
}

/** The network of the golden files, with other weights. */
function network(device: Device): Sequential {
  return new Sequential(
    new Conv2d(1, 2, { kernelSize: 3, device }),
    new BatchNorm2d(2, { device }),
    new ReLU(),
    new Flatten(),
    new Linear(32, 3, { device }),
  );
}

/** The largest distance of a network's results from PyTorch's. */
async function distance(model: Sequential, device: Device): Promise<number> {
  model.eval();
  const inputs = tensor(golden.inputs, { shape: [2, 1, 6, 6], device });
  const found = await model.forward(inputs).data();
  return Math.max(...golden.outputs.flat().map((want, i) => Math.abs(want - Number(found[i]))));
}

// Weights that were rounded to 11 and 8 bits, summed over 32 products of about 1
const ERRORS: { [kind in Kind]?: number } = {
  f32: 1e-5,
  f64: 1e-5,
  npz: 1e-5,
  parallel: 1e-5,
  f16: 1e-2,
  bf16: 6e-2,
};

for (const device of devices) {
  Deno.test(`a model computes with the weights of PyTorch's files what PyTorch computes (${device.kind})`, async () => {
    using _ = device.scope();
    for (const [kind, tolerance] of Object.entries(ERRORS) as [Kind, number][]) {
      const model = network(device);
      assert(await distance(model, device) > 0.1, "the weights are others before");
      const rename = kind === "parallel" ? [["module.", ""]] as const : [];
      const report = await loadModel(model, file(kind), { rename });
      assertEquals(report, { missing: [], unexpected: [] });
      const found = await distance(model, device);
      assert(found < tolerance, `${kind}: off by ${found}`);
      if (kind === "bf16") assert(found > 1e-5, "rounded weights give other results");
      const count = model.stateDict()["1.num_batches_tracked"];
      assertEquals([count.dtype, await count.item()], ["i32", 5]);
    }
  });
}

Deno.test("a model goes through safetensors and npz without a lost bit, under other names", async () => {
  const files = new MemoryFiles();
  const model = network(reference);
  await loadModel(model, file("f32"));
  for (const path of ["/m.safetensors", "/m.npz"]) {
    await saveModel(model, path, { files, rename: (key) => `net.${key}` });
    const other = network(reference);
    await loadModel(other, path, { files, rename: [["net.", ""]] });
    for (const [key, value] of Object.entries(other.stateDict())) {
      assertEquals(await value.data(), await model.stateDict()[key].data(), `${path} ${key}`);
    }
  }
  assert(decodeSafetensors(files.read("/m.safetensors")).tensors.has("net.4.bias"));
  assertEquals(
    (await parseNpz(files.read("/m.npz"))).get("net.1.num_batches_tracked")?.dtype,
    "i32",
  );
  await assertRejects(
    () => saveModel(model, "/m.pt", { files }),
    RangeError,
    ".safetensors or .npz",
  );
});

Deno.test("loadModel takes the model's part of a checkpoint, and refuses a damaged one", async () => {
  const files = new MemoryFiles();
  const store = new CheckpointStore("/run/checkpoints", { files });
  const device = reference;
  const model = network(device);
  const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  const checkpoints = new CheckpointCallback(store);
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const trainer = new Engine(supervisedStep(), context, { callbacks: [checkpoints] });
  const inputs = tensor(golden.inputs, { shape: [2, 1, 6, 6], device });
  await trainer.loop([{ inputs, targets: tensor([0, 2], { dtype: "i32", device }) }]);
  const path = "/run/checkpoints/step-00000001.safetensors";
  const other = network(device);
  await loadModel(other, path, { files });
  const written = Float32Array.from(await model.stateDict()["4.weight"].data());
  assertEquals(Float32Array.from(await other.stateDict()["4.weight"].data()), written);
  const damaged = files.read(path).slice();
  damaged[damaged.length - 5] ^= 1;
  await assertRejects(() => loadModel(network(device), damaged), CheckpointError, "SHA-256");
  await loadModel(network(device), files.read(path), { name: "/elsewhere/best.safetensors" });
});

Deno.test("loadModel changes nothing where a file does not fit, and says all that is wrong", async () => {
  const model = network(reference);
  const before = await model.stateDict()["0.weight"].array();
  const error = await assertRejects(() => loadModel(model, file("parallel")), StateDictError);
  assertEquals(error.missing.length, 9);
  const refused: [Uint8Array, new (message: string) => Error, string][] = [
    [file("torch.save"), SyntaxError, "torch.save"],
    [
      new TextEncoder().encode("no model at all"),
      SyntaxError,
      "expected a safetensors or npz file",
    ],
    [new Uint8Array(0), SyntaxError, "expected a safetensors or npz file"],
  ];
  for (const [bytes, kind, message] of refused) {
    await assertRejects(() => loadModel(model, bytes, { name: "w.bin" }), kind, message);
  }
  const strange = await encodeModel({
    stateDict: () => ({
      ...network(reference).stateDict(),
      "1.num_batches_tracked": tensor(1.5, { device: reference }),
    }),
  });
  await assertRejects(() => loadModel(model, strange), RangeError, "found 1.5 at 0");
  assertEquals(await model.stateDict()["0.weight"].array(), before);
  const some = await loadModel(model, file("f32"), { rename: [["4.", null]], strict: false });
  assertEquals(some.missing, ["4.weight", "4.bias"]);
});

Deno.test("renameKeys refuses two values of one name, and names that are none", () => {
  assertThrows(
    () => renameKeys({ "a.x": 1, x: 2 }, [["a.", ""]]),
    RangeError,
    'Cannot rename "x": expected a name of its own, found "x", which "a.x" has',
  );
  assertThrows(
    () => renameKeys({ a: 1 }, (() => undefined) as unknown as () => string),
    TypeError,
    "expected a string or null, found undefined",
  );
  assertEquals(renameKeys({ b: 1, a: 2 }, [[/^(.)$/, "$1.$1"]]), { "b.b": 1, "a.a": 2 });
});
