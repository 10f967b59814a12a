import {
  type Device,
  jit,
  LossScaler,
  referenceDevice,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { Adam, SGD } from "../../core/optim/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose, reference } from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";
import { adam, type Plain, plain, recurTogether, STEPS } from "./optim_rules.ts";

const all: readonly Device[] = hardwareKernels === null ? devices : [...devices, hardwareKernels];
const shapes = [[5], [3, 7], [131]];
const BAD = [2, 3, 7];

function samples(bad: readonly number[] = BAD): Plain[] {
  return shapes.map((shape, i) => {
    const p = plain(shape, i + 1);
    for (const t of bad) if (i === 2) p.gradients[t]![17] = t % 2 === 0 ? Infinity : NaN;
    return p;
  });
}

function place(device: Device, plains: readonly Plain[]): Tensor[] {
  return plains.map(({ start, shape }) => tensor(start, { device, shape, requiresGrad: true }));
}

function gradientsAt(device: Device, plains: readonly Plain[], t: number): Tensor[] {
  return plains.map((p) => tensor(p.gradients[t]!, { device, shape: p.shape }));
}

function numbers(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())));
}

const options = { initScale: 1024, growthFactor: 4, backoffFactor: 0.25, growthInterval: 2 };

/** The scale after each step, by the rule of GradScaler. */
function scales(bad: readonly number[]): number[] {
  let [scale, good] = [options.initScale, 0];
  return Array.from({ length: STEPS }, (_, t) => {
    if (bad.includes(t)) [scale, good] = [scale * options.backoffFactor, 0];
    else if (++good === options.growthInterval) [scale, good] = [scale * options.growthFactor, 0];
    return scale;
  });
}

for (const device of all) {
  const where = device === hardwareKernels ? "hardware kernels" : device.kind;
  const bound = device === reference ? 1e-12 : 3e-6;

  Deno.test(`LossScaler follows the rules of scale, skip and unscaled norm (${where})`, async () => {
    const plains = samples();
    const want = recurTogether(plains, adam({ lr: 0.05 }), { maxNorm: 6 });
    assertEquals(want.skipped, BAD.length);
    const parameters = place(device, plains);
    using optimizer = new Adam(parameters, { lr: 0.05, maxGradNorm: 6 });
    using scaler = new LossScaler({ ...options, device });
    const found: Tensor[] = [];
    const norms: Tensor[] = [];
    for (let t = 0; t < STEPS; t++) {
      optimizer.zeroGrad();
      const gradients = gradientsAt(device, plains, t);
      const parts = parameters.map((p, i) => p.mul(gradients[i]).sum());
      scaler.scale(parts.reduce((a, b) => a.add(b))).backward();
      scaler.step(optimizer);
      scaler.update();
      found.push(scaler.getScale());
      norms.push(optimizer.gradNorm!);
    }
    assertEquals((await numbers(found)).flat(), scales(BAD));
    assertEquals(await optimizer.skippedSteps!.item(), BAD.length);
    const good = (_: unknown, t: number) => !BAD.includes(t);
    const got = (await numbers(norms)).flat();
    assertClose(got.filter(good), want.norms.filter(good), bound, "norms");
    (await numbers(parameters)).forEach((values, i) =>
      assertClose(values, want.values[i], bound, `parameter ${i}`)
    );
  });

  Deno.test(`LossScaler with a power of two gives the bits of the step without it (${where})`, async () => {
    const plains = samples([]);
    const run = async (scaled: boolean) => {
      const parameters = place(device, plains);
      using optimizer = new Adam(parameters, { skipNonFinite: true });
      using scaler = new LossScaler({ device });
      for (let t = 0; t < STEPS; t++) {
        optimizer.zeroGrad();
        const gradients = gradientsAt(device, plains, t);
        parameters.forEach((p, i) => {
          const loss = p.mul(gradients[i]).sum();
          (scaled ? scaler.scale(loss) : loss).backward();
        });
        if (scaled) scaler.step(optimizer);
        else optimizer.step();
        if (scaled) scaler.update();
      }
      return await numbers(parameters);
    };
    assertEquals(await run(true), await run(false));
  });

  Deno.test(`jit() repeats scaled steps to the bit (${where})`, async () => {
    const plains = samples();
    const run = async (captured: boolean) => {
      const parameters = place(device, plains);
      using optimizer = new Adam(parameters, { lr: 0.05, maxGradNorm: 6, ema: { decay: 0.9 } });
      using scaler = new LossScaler({ ...options, device });
      const turn = (gradients: readonly Tensor[]) => {
        optimizer.zeroGrad();
        const parts = parameters.map((p, i) => p.mul(gradients[i]).sum());
        scaler.scale(parts.reduce((a, b) => a.add(b))).backward();
        scaler.step(optimizer);
        scaler.update();
        return scaler.getScale();
      };
      const captures = jit(turn, { verify: 3 });
      const found: Tensor[] = [];
      for (let t = 0; t < STEPS; t++) {
        if (t === 5) optimizer.lr = 0.01;
        found.push((captured ? captures : turn)(gradientsAt(device, plains, t)));
      }
      await captures.verified();
      if (captured) assertEquals(captures.stats().captures, 1);
      assertEquals((await numbers(found)).flat(), scales(BAD));
      return await numbers([...parameters, ...parameters.map((p) => optimizer.ema!.of(p))]);
    };
    assertEquals(await run(true), await run(false));
  });

  Deno.test(`LossScaler keeps the scale where growing it would overflow (${where})`, async () => {
    const x = tensor([1], { device, requiresGrad: true });
    using optimizer = new SGD([x]);
    using scaler = new LossScaler({ initScale: 2 ** 127, growthInterval: 1, device });
    x.grad = tensor([1], { device });
    scaler.step(optimizer);
    scaler.update();
    assertEquals(await scaler.getScale().item(), 2 ** 127);
  });
}

for (const device of devices) {
  Deno.test(`LossScaler takes several optimizers, one flaw counts for the scale (${device.kind})`, async () => {
    const [a, b] = [1, 1].map((v) => tensor([v], { device, requiresGrad: true }));
    using first = new SGD([a], { lr: 1 });
    using second = new SGD([b], { lr: 1 });
    using scaler = new LossScaler({ initScale: 8, device });
    const dispatches = device.work().dispatches;
    scaler.scale(a.mul(NaN).sum()).backward();
    scaler.step(first);
    scaler.scale(b.mul(2).sum()).backward();
    scaler.step(second);
    scaler.update();
    assert(device.work().dispatches - dispatches > 0);
    assertEquals([await a.item(), await b.item(), await scaler.getScale().item()], [1, -1, 4]);
  });

  Deno.test(`LossScaler stateDict() goes on, and takes PyTorch's numbers (${device.kind})`, async () => {
    using scaler = new LossScaler({ ...options, device });
    const x = tensor([1], { device, requiresGrad: true });
    using optimizer = new SGD([x]);
    const turn = (s: LossScaler, gradient: number) => {
      x.grad = tensor([gradient], { device });
      s.step(optimizer);
      s.update();
    };
    turn(scaler, 1);
    const dict = scaler.stateDict();
    assertEquals(Object.keys(dict), [
      "scale",
      "growth_factor",
      "backoff_factor",
      "growth_interval",
      "_growth_tracker",
    ]);
    using second = new LossScaler({ device });
    second.loadStateDict(dict);
    turn(second, 1);
    assertEquals(await second.getScale().item(), 4096, "the second good step");
    second.loadStateDict({
      scale: 512,
      growth_factor: 3,
      backoff_factor: 0.5,
      growth_interval: 7,
      _growth_tracker: 6,
    });
    turn(second, 1);
    assertEquals(await second.getScale().item(), 1536);
    assertThrows(
      () => second.loadStateDict({ ...dict, scale: "1" } as unknown as typeof dict),
      TypeError,
      "scale 1: expected a number",
    );
    assertThrows(() => second.loadStateDict({ ...dict, scale: -1 }), RangeError, "scale of -1");
    assertEquals(second.growthFactor, 3);
  });

  Deno.test(`LossScaler.step() counts for later plain steps too (${device.kind})`, async () => {
    const x = tensor([0], { device, requiresGrad: true });
    using optimizer = new Adam([x], { lr: 1, eps: 0 });
    using scaler = new LossScaler({ initScale: 2, device });
    for (const g of [2, NaN, 1]) {
      x.grad = tensor([g], { device });
      scaler.step(optimizer);
      scaler.update();
    }
    assertClose([await x.item()], [-2], 1e-6);
    x.grad = tensor([1], { device });
    optimizer.step();
    // With equal gradients every step is 1 if it is corrected for three steps.
    assertClose([await x.item()], [-3], 1e-5);
  });
}

Deno.test("LossScaler refuses what has no meaning", () => {
  const device = reference;
  const make = (o: ConstructorParameters<typeof LossScaler>[0]) => () =>
    new LossScaler({ device, ...o });
  assertThrows(make({ initScale: 0 }), RangeError, "scale of 0");
  assertThrows(make({ initScale: 1e39 }), RangeError, "scale of 1e+39");
  assertThrows(make({ growthFactor: 0.5 }), RangeError, "growthFactor 0.5");
  assertThrows(make({ backoffFactor: 1 }), RangeError, "backoffFactor 1");
  assertThrows(make({ growthInterval: 1.5 }), RangeError, "growthInterval 1.5");
  using scaler = new LossScaler({ device });
  assertThrows(() => scaler.update(), Error, "expected a step()");
  const x = tensor([1], { device: referenceDevice(), requiresGrad: true });
  using optimizer = new SGD([x]);
  assertThrows(() => scaler.step(optimizer), TypeError, "another device");
});
