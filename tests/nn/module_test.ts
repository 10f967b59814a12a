import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { Key, ones, referenceDevice, type Tensor, tensor, zeros } from "../../core/mod.ts";
import {
  BatchNorm1d,
  Dropout,
  Linear,
  Module,
  ReLU,
  Sequential,
  StateDictError,
} from "../../nn/mod.ts";
import { evaluationMode } from "../../core/engine/model_mode.ts";
import { reference as device } from "../util.ts";

class Block extends Module {
  readonly scale: Tensor = this.registerParameter("scale", tensor([2], { device }));
  readonly seen: Tensor = this.registerBuffer("seen", zeros([], { dtype: "i32", device }));
  readonly cache: Tensor = this.registerBuffer("cache", zeros([1], { device }), {
    persistent: false,
  });
  readonly layer = new Linear(2, 2, { key: new Key(1), device });

  forward(x: Tensor): Tensor {
    return this.layer.forward(x).mul(this.scale);
  }
}

class Net extends Module {
  readonly blocks = [new Block(), new Block()];
  readonly heads = { main: new Linear(2, 1, { key: new Key(2), device }) };
  readonly drop = new Dropout(0.5, { key: new Key(3) });

  forward(x: Tensor): Tensor {
    const features = this.blocks.reduce((value, block) => block.forward(value), x);
    return this.heads.main.forward(this.drop.forward(features));
  }
}

async function values(dict: Readonly<Record<string, Tensor>>): Promise<Record<string, number[]>> {
  const read = Object.entries(dict).map(async ([k, t]): Promise<[string, number[]]> => [
    k,
    [...await t.data()],
  ]);
  return Object.fromEntries(await Promise.all(read));
}

Deno.test("Module finds parts in fields, arrays and objects, own tensors first", () => {
  const net = new Net();
  assertEquals(Object.keys(net.stateDict()), [
    "blocks.0.scale",
    "blocks.0.seen",
    "blocks.0.layer.weight",
    "blocks.0.layer.bias",
    "blocks.1.scale",
    "blocks.1.seen",
    "blocks.1.layer.weight",
    "blocks.1.layer.bias",
    "heads.main.weight",
    "heads.main.bias",
  ]);
  assertEquals(net.namedChildren().map(([name]) => name), [
    "blocks.0",
    "blocks.1",
    "heads.main",
    "drop",
  ]);
  assertEquals(net.namedBuffers().map(([name]) => name), [
    "blocks.0.seen",
    "blocks.0.cache",
    "blocks.1.seen",
    "blocks.1.cache",
  ]);
  assertEquals(net.modules().length, 7);
  assertEquals(net.parameterCount, 2 * (1 + 4 + 2) + 2 + 1);
  assert(net.parameters().every((p) => p.requiresGrad));
  assert(net.buffers().every((b) => !b.requiresGrad));
});

Deno.test("Module lists shared parts once, but under each key in the state dict", () => {
  const shared = new Linear(2, 2, { device });
  const model = new Sequential(shared, new ReLU(), shared);
  assertEquals(model.parameters().length, 2);
  assertEquals(model.parameterCount, 6);
  assertEquals(model.modules().length, 3);
  assertEquals(Object.keys(model.stateDict()), ["0.weight", "0.bias", "2.weight", "2.bias"]);
  assertStrictEquals(model.stateDict()["0.weight"], model.stateDict()["2.weight"]);
});

Deno.test("Module refuses to hold itself", () => {
  const model = new Sequential({ inner: new Sequential() });
  const inner = model.at(0) as Sequential;
  inner.registerModule("outer", model);
  assertThrows(
    () => model.parameters(),
    RangeError,
    'Cannot list the parts of Sequential: it holds itself at "inner.outer"',
  );
});

Deno.test("Module.train() and eval() reach all parts, and the engine puts modes back", () => {
  const net = new Net();
  net.blocks[1].eval();
  {
    using _ = evaluationMode(net);
    assert(net.modules().every((module) => !module.training));
  }
  assertEquals(net.modules().filter((module) => !module.training).length, 2);
  net.train();
  assert(net.modules().every((module) => module.training));
  assertStrictEquals(net.eval(), net);
});

Deno.test("Module.requiresGrad_() freezes parameters, which stay parameters", () => {
  const net = new Net();
  const count = net.parameterCount;
  net.blocks[0].requiresGrad_(false);
  assertEquals(net.parameterCount, count);
  net.forward(ones([3, 2], { device })).sum().backward();
  assertEquals(
    net.namedParameters().filter(([, p]) => p.grad === null).map(([name]) => name),
    ["blocks.0.scale", "blocks.0.layer.weight", "blocks.0.layer.bias"],
  );
  net.zeroGrad();
  assert(net.parameters().every((p) => p.grad === null));
  net.requiresGrad_();
  assert(net.parameters().every((p) => p.requiresGrad));
});

Deno.test("registerParameter() keeps the tensor beyond the step in which it was made", async () => {
  const scope = device.scope();
  const net = new Net();
  const y = net.forward(ones([1, 2], { device }));
  scope.close();
  assert(y.isReleased);
  assert([...net.parameters(), ...net.buffers()].every((t) => !t.isReleased));
  assertEquals(await net.blocks[0].scale.array(), [2]);
});

Deno.test("registerParameter() replaces a parameter and refuses other names", () => {
  const layer = new Linear(2, 1, { device });
  const weight = ones([1, 2], { device });
  layer.registerParameter("weight", weight);
  assertStrictEquals(layer.weight, weight);
  assertStrictEquals(layer.stateDict().weight, weight);
  for (const name of ["forward", "training", "inFeatures", "__proto__", "", "a.b"]) {
    assertThrows(
      () => layer.registerParameter(name, weight),
      RangeError,
      `Cannot register a parameter "${name}" in Linear: expected the name of a free field`,
    );
  }
  const computed = layer.forward(ones([1, 2], { device }));
  assertThrows(
    () => layer.registerParameter("other", computed),
    TypeError,
    'Cannot register parameter "other" of Linear: expected a tensor without a history',
  );
  assertThrows(
    () => layer.registerParameter("other", zeros([1], { dtype: "i32", device })),
    TypeError,
    "Cannot require a gradient of a tensor of dtype i32",
  );
});

Deno.test("parameters() names a trainable tensor that nobody registered", () => {
  class Forgetful extends Module {
    readonly gamma = tensor([1], { device, requiresGrad: true });
    forward(x: Tensor): Tensor {
      return x.mul(this.gamma);
    }
  }
  assertThrows(
    () => new Forgetful().parameters(),
    TypeError,
    'Cannot list the parameters of Forgetful: field "gamma" holds a tensor that requires a ' +
      'gradient; register it by registerParameter("gamma", tensor)',
  );
});

Deno.test("loadStateDict() copies the values of another model into the tensors", async () => {
  const [from, to] = [new Net(), new Net()];
  from.blocks[1].seen.copy_(tensor(7, { dtype: "i32", device }));
  const before = to.parameters();
  assertEquals(to.loadStateDict(from.stateDict()), { missing: [], unexpected: [] });
  assertEquals(await values(to.stateDict()), await values(from.stateDict()));
  assertEquals(await to.blocks[1].seen.item(), 7);
  to.parameters().forEach((p, i) => assertStrictEquals(p, before[i]));
  assert(to.parameters().every((p) => p.requiresGrad && p.isLeaf));
});

Deno.test("loadStateDict() lists every wrong key at once, and changes nothing", async () => {
  const net = new Net();
  const before = await values(net.stateDict());
  const { "heads.main.bias": _bias, "blocks.0.scale": _scale, ...rest } = net.stateDict();
  const dict = {
    ...Object.fromEntries(Object.entries(rest).map(([k, t]) => [k, zeros(t.shape, { device })])),
    "blocks.1.scale": zeros([3], { device }),
    "heads.main.weight": zeros([2, 1], { device }),
    "extra": zeros([1], { device }),
    "blocks.2.scale": zeros([1], { device }),
  };
  const error = assertThrows(() => net.loadStateDict(dict), StateDictError);
  assert(error instanceof RangeError);
  assertEquals(
    error.message,
    "Cannot load the state dict into Net: expected its 10 keys with their shapes, found " +
      "2 missing: blocks.0.scale, heads.main.bias; 2 unexpected: extra, blocks.2.scale; " +
      "2 misshapen: blocks.1.scale (expected [1], found [3]), " +
      "heads.main.weight (expected [1, 2], found [2, 1])",
  );
  assertEquals(error.missing, ["blocks.0.scale", "heads.main.bias"]);
  assertEquals(error.unexpected, ["extra", "blocks.2.scale"]);
  assertEquals(error.misshapen, ["blocks.1.scale", "heads.main.weight"]);
  assertEquals(await values(net.stateDict()), before);
});

Deno.test("loadStateDict() without strict takes what fits, but no wrong shapes", async () => {
  const net = new Net();
  const report = net.loadStateDict(
    { "blocks.0.scale": tensor([5], { device }), "other": zeros([1], { device }) },
    { strict: false },
  );
  assertEquals(report.unexpected, ["other"]);
  assertEquals(report.missing.length, 9);
  assertEquals(await net.blocks[0].scale.array(), [5]);
  const error = assertThrows(
    () => net.loadStateDict({ "blocks.0.scale": zeros([], { device }) }, { strict: false }),
    StateDictError,
  );
  assertEquals(error.misshapen, ["blocks.0.scale"]);
});

Deno.test("loadStateDict() moves values within a model without mixing them", async () => {
  const model = new Sequential(new Linear(1, 1, { device }), new Linear(1, 1, { device }));
  const { "0.weight": a, "1.weight": b, ...rest } = model.stateDict();
  const [before] = [await values({ a, b })];
  model.loadStateDict({ ...rest, "0.weight": b, "1.weight": a });
  assertEquals(await values({ a, b }), { a: before.b, b: before.a });
});

Deno.test("loadStateDict() refuses what is no tensor, and tensors of another device", () => {
  const layer = new Linear(1, 1, { device });
  const other = zeros([1], { device: referenceDevice() });
  const dict = { weight: 3, bias: other } as unknown as Record<string, Tensor>;
  assertThrows(
    () => layer.loadStateDict(dict),
    StateDictError,
    "2 misshapen: weight (expected a tensor, found number), " +
      "bias (on another device: f64 reference)",
  );
});

Deno.test("stateDict() holds the live tensors", async () => {
  const norm = new BatchNorm1d(1, { device });
  const dict = norm.stateDict();
  norm.forward(tensor([[1], [3]], { device }));
  assertEquals(await values(dict), {
    weight: [1],
    bias: [0],
    running_mean: [0.2],
    running_var: [1.1],
    num_batches_tracked: [1],
  });
});

Deno.test("Sequential works in order and refuses names that cannot be keys", () => {
  const parts = [new Linear(2, 3, { device }), new ReLU()];
  const model = new Sequential(...parts);
  assertEquals(model.length, 2);
  assertStrictEquals(model.at(-1), parts[1]);
  assertEquals([...model], parts);
  const x = ones([1, 2], { device });
  assertStrictEquals(new Sequential().forward(x), x);
  assertThrows(
    () => new Sequential({ "1": new ReLU(), "0": new ReLU() }),
    RangeError,
    'a part named "0": expected names that are no integers',
  );
  assertThrows(() => new Sequential({ forward: new ReLU() }), RangeError, '"forward"');
  assertThrows(
    () => new Sequential(undefined as unknown as ReLU),
    TypeError,
    'Cannot make a Sequential with part "0": expected a module, found nothing',
  );
});

Deno.test("a released parameter is an error that says so", async () => {
  const layer = new Linear(1, 1, { device });
  layer.weight.dispose();
  await assertRejects(() => layer.weight.data(), Error, "it was released");
});
