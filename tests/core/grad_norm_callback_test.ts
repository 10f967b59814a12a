import {
  Context,
  type Device,
  Engine,
  GradNormCallback,
  type GradNormOptions,
  SGD,
  supervisedStep,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { Linear, Module, mseLoss } from "../../nn/mod.ts";
import { stepScalarsOf } from "../../core/engine/step_scalars.ts";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { assertClose, randomValues, reference, testOnDevices } from "../util.ts";

class Net extends Module {
  readonly first: Linear;
  readonly second: Linear;
  constructor(device: Device) {
    super();
    this.first = new Linear(5, 7, { device });
    this.second = new Linear(7, 2, { device });
    this.parameters().forEach((p, i) => {
      p.detach().copy_(tensor(randomValues(p.size, i, -1, 1), { device, shape: p.shape }));
    });
  }
  forward(x: Tensor): Tensor {
    return this.second.forward(this.first.forward(x).tanh());
  }
}

function batches(device: Device) {
  return [0, 1, 2, 3].map((i) => ({
    inputs: tensor(randomValues(30, 10 + i), { device, shape: [6, 5] }),
    targets: tensor(randomValues(12, 20 + i, 1, 3), { device, shape: [6, 2] }),
  }));
}

/** Norms by hand in f64: of every parameter's gradient, at each step of an uncaptured run on the reference. */
async function byHand(norm: (values: number[]) => number): Promise<Record<string, number>[]> {
  const net = new Net(reference);
  const optimizer = new SGD(net.parameters(), { lr: 0.05 });
  const found: Record<string, number>[] = [];
  for (const { inputs, targets } of batches(reference)) {
    using _ = reference.scope();
    optimizer.zeroGrad();
    mseLoss(net.forward(inputs), targets).backward();
    optimizer.step();
    const named: [string, number[]][] = [];
    for (const [name, p] of net.namedParameters()) {
      named.push([name, [...await p.grad!.data()] as number[]]);
    }
    const of = (start: string) =>
      norm(named.flatMap(([name, values]) => name.startsWith(start) ? values : []));
    found.push({
      gradNorm: of(""),
      "gradNorm/first": of("first"),
      "gradNorm/second": of("second"),
      ...Object.fromEntries(named.map(([name]) => [`gradNorm/${name}`, of(name)])),
    });
  }
  return found;
}

const two = (values: number[]) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
const most = (values: number[]) => Math.max(...values.map(Math.abs));

interface Case {
  readonly options?: GradNormOptions;
  readonly maxGradNorm?: number;
  readonly capture?: boolean;
}

async function run(device: Device, { options, maxGradNorm, capture = true }: Case) {
  const net = new Net(device);
  const optimizer = new SGD(net.parameters(), {
    lr: 0.05,
    ...maxGradNorm === undefined ? {} : { maxGradNorm },
  });
  const callback = new GradNormCallback({ epochMax: true, ...options });
  const engine = new Engine(
    supervisedStep({ capture }),
    new Context({ model: net, optimizer, lossFn: mseLoss, device }),
    { callbacks: [callback] },
  );
  const held: [string, Tensor][][] = [];
  engine.on("stepEnd", (event) => {
    const values = stepScalarsOf(event as never) as [string, Tensor][];
    held.push(values.map(([name, value]) => [name, value.alias().keep()]));
  });
  const { metrics } = await engine.loop(batches(device), { maxSteps: 4 });
  // Read at the end alone, as a tracker does.
  const norms = await Promise.all(held.map(async (values) =>
    Object.fromEntries(
      await Promise.all(values.map(async ([name, value]) => [name, await value.item()] as const)),
    )
  ));
  return { norms, metrics, optimizer, callback, engine };
}

function compare(got: Record<string, number>[], want: Record<string, number>[], names: string[]) {
  got.forEach((values, i) => {
    assertEquals(Object.keys(values), names, `step ${i}`);
    assertClose(Object.values(values), names.map((name) => want[i][name]), 1e-5, `step ${i}`);
  });
}

const LAYERS = ["gradNorm", "gradNorm/first", "gradNorm/second"];
const PARAMETERS = ["first.weight", "first.bias", "second.weight", "second.bias"];

for (const capture of [true, false]) {
  testOnDevices({
    name: `norms agree with the f64 reference, captured ${capture}`,
    fn: async (device) => {
      const want = await byHand(two);
      const layers = await run(device, { capture, options: { each: "layer" } });
      compare(layers.norms, want, LAYERS);
      const largest = Math.max(...want.map(({ gradNorm }) => gradNorm));
      assertClose([layers.metrics.maxGradNorm!], [largest], 1e-5);
      const { norms } = await run(device, { capture, options: { each: "parameter" } });
      compare(norms, want, ["gradNorm", ...PARAMETERS.map((name) => `gradNorm/${name}`)]);
    },
  });
}

testOnDevices({
  name: "the largest size is the norm of type Infinity",
  fn: async (device) => {
    const { norms } = await run(device, { options: { normType: Infinity, each: "layer" } });
    compare(norms, await byHand(most), LAYERS);
  },
});

testOnDevices({
  name: "where the optimizer limits the norm, its own is told, before clipping",
  fn: async (device) => {
    const free = await run(device, {});
    // A limit above all norms changes no update, so the run is the same one.
    const high = await run(device, { maxGradNorm: 1000 });
    compare(high.norms, await byHand(two), ["gradNorm"]);
    const low = await run(device, { maxGradNorm: 0.5 });
    const [first] = low.norms;
    assertClose([first.gradNorm], [free.norms[0].gradNorm], 1e-6);
    assertEquals(first.gradNorm > 1, true);
    assertEquals(await low.optimizer.gradNorm!.item(), low.norms[3].gradNorm); // to the bit
  },
});

testOnDevices({
  name: "training is the same to the bit with norms and without",
  fn: async (device) => {
    const weights = async (options?: GradNormOptions) => {
      const net = new Net(device);
      const optimizer = new SGD(net.parameters(), { lr: 0.05, momentum: 0.9 });
      const context = new Context({ model: net, optimizer, lossFn: mseLoss, device });
      const engine = new Engine(supervisedStep(), context);
      if (options) {
        engine.add(new GradNormCallback(options));
        engine.on("stepEnd", (event) => void stepScalarsOf(event as never));
      }
      await engine.loop(batches(device), { maxEpochs: 3 });
      return await Promise.all(net.parameters().map((p) => p.array()));
    };
    assertEquals(await weights({ each: "parameter", epochMax: true }), await weights());
  },
});

Deno.test("the largest norm is one of the epoch, NaN wins, and it is saved", async () => {
  const device = reference;
  const x = tensor([1], { device, requiresGrad: true });
  const optimizer = new SGD([x], { lr: 0 });
  const make = () =>
    new Engine(
      (_e, factor: number) => {
        optimizer.zeroGrad();
        x.mul(factor).sum().backward();
        optimizer.step();
      },
      new Context({ model: null, optimizer, device }),
      { callbacks: [new GradNormCallback({ epochMax: true })] },
    );
  const engine = make();
  const seen: unknown[] = [];
  engine.on("epochEnd", ({ state }) => void seen.push(state.metrics.maxGradNorm));
  await engine.loop([3, -7, 5]);
  await engine.loop([2, 1]);
  await engine.loop([2, NaN, 1]);
  assertEquals(seen, [7, 2, NaN]);
  await engine.loop([9, 1, 4], { maxSteps: 2 });
  const snapshot = JSON.parse(JSON.stringify(await engine.snapshot()));
  assertEquals(snapshot.callbacks, { GradNormCallback: { max: 9 } });
  const again = make();
  await again.restore(snapshot);
  const { metrics } = await again.loop([4], { maxEpochs: 1 });
  assertEquals(metrics.maxGradNorm, 9);
});

Deno.test("options and contexts that cannot work are refused", async () => {
  assertThrows(
    () => new GradNormCallback({ normType: 0 }),
    RangeError,
    "Cannot follow norms of gradients: expected normType to be a number above 0, found 0",
  );
  assertThrows(
    () => new GradNormCallback({ each: "group" as never }),
    RangeError,
    'expected each to be "layer", "parameter" or null, found "group"',
  );
  const engine = new Engine(() => {}, new Context({ model: null }), {
    callbacks: [new GradNormCallback()],
  });
  await assertRejects(
    () => engine.loop([0]),
    TypeError,
    "expected an optimizer with groups in the context, found nothing",
  );
  assertThrows(
    () => new GradNormCallback().load({ max: true }),
    TypeError,
    'expected max to be a number or null, found {"max":true}',
  );
});
