import { type Device, jit, LossScaler, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import {
  Adadelta,
  Adagrad,
  Adamax,
  clipGradNorm,
  LAMB,
  Lion,
  Muon,
  NAdam,
  type Optimizer,
  type OptimizerStateDict,
  type StepControls,
} from "../../core/optim/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose, devices, randomValues, reference, testOnDevices } from "../util.ts";

const shapes = [[5, 3], [64, 2], [0, 3], [3, 7], [131, 1], [2, 3, 2, 2]];

type Make = (params: readonly Tensor[], controls?: StepControls) => Optimizer;

/** Every optimizer with options that all of its code needs. */
const makes: Readonly<Record<string, Make>> = {
  Adagrad: (p, c) => new Adagrad(p, { lr: 0.1, lrDecay: 0.1, initialAccumulatorValue: 0.2, ...c }),
  Adadelta: (p, c) => new Adadelta(p, { eps: 1e-3, weightDecay: 0.1, ...c }),
  Adamax: (p, c) => new Adamax(p, { lr: 0.1, weightDecay: 0.1, ...c }),
  NAdam: (p, c) => new NAdam(p, { lr: 0.1, momentumDecay: 0.1, weightDecay: 0.1, ...c }),
  Lion: (p, c) => new Lion(p, { lr: 0.1, weightDecay: 0.1, ...c }),
  LAMB: (p, c) => new LAMB(p, { lr: 0.1, ...c }),
  "LAMB without ratios": (p, c) => new LAMB(p, { lr: 0.1, weightDecay: 0, ...c }),
  "LAMB without biasCorrection": (p, c) =>
    new LAMB(p, { lr: 0.1, biasCorrection: false, trustClip: true, ...c }),
  Muon: (p, c) => new Muon(p, { lr: 0.1, weightDecay: 0.1, ...c }),
  "Muon with AdamW": (p, c) =>
    new Muon([{ params: p.slice(0, 3) }, { params: p.slice(3), method: "adamw" }], {
      lr: 0.1,
      nesterov: false,
      ...c,
    }),
};

function place(device: Device): Tensor[] {
  return shapes.map((shape, i) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tensor(randomValues(size, i + 1), { device, shape, requiresGrad: true });
  });
}

function gradientsAt(device: Device, t: number, bad = false): Tensor[] {
  return shapes.map((shape, i) => {
    const values = randomValues(shape.reduce((a, b) => a * b, 1), 100 * (i + 1) + t, -2, 2);
    if (bad && i === 3) values[20] = NaN;
    return tensor(values, { device, shape });
  });
}

function bring(parameters: readonly Tensor[], gradients: readonly Tensor[], skip = -1): void {
  parameters.forEach((p, i) => {
    if (i !== skip && p.size > 0) p.mul(gradients[i]).sum().backward();
  });
}

function numbers(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())));
}

function slotsOf(optimizer: Optimizer): Tensor[] {
  return Object.values(optimizer.stateDict().state).flatMap((entry) =>
    Object.entries(entry).flatMap(([name, value]) =>
      name === "step" || typeof value === "number" ? [] : [value]
    )
  );
}

async function stored({ state, param_groups }: OptimizerStateDict, device: Device) {
  const copy: Record<string, Record<string, number | Tensor>> = {};
  for (const [id, entry] of Object.entries(state)) {
    copy[id] = {};
    for (const [name, value] of Object.entries(entry)) {
      copy[id][name] = typeof value === "number"
        ? value
        : tensor(await value.data(), { device, shape: value.shape, dtype: value.dtype });
    }
  }
  return { state: copy, param_groups: JSON.parse(JSON.stringify(param_groups)) };
}

for (const device of devices) {
  const where = device.kind;
  for (const [name, make] of Object.entries(makes)) {
    Deno.test(`${name}: steps that skipNonFinite skips leave nothing behind (${where})`, async () => {
      const run = async (counted: boolean) => {
        const parameters = place(device);
        using optimizer = make(parameters, { ema: { decay: 0.5 }, skipNonFinite: counted });
        let taken = 0;
        for (let t = 0; t < 9; t++) {
          const bad = t % 3 === 1;
          if (bad && !counted) continue;
          optimizer.zeroGrad();
          bring(parameters, gradientsAt(device, t, bad), t === 5 ? 1 : -1);
          optimizer.step();
          taken++;
        }
        if (counted) assertEquals(await optimizer.skippedSteps!.item(), 3);
        assertEquals(taken, counted ? 9 : 6);
        const averages = parameters.map((p) => optimizer.ema!.of(p));
        return await numbers([...parameters, ...averages, ...slotsOf(optimizer)]);
      };
      const [got, want] = [await run(true), await run(false)];
      assertEquals(got.length, want.length);
      // Counted steps find their bias corrections on the device.
      const bound = device === reference ? 1e-12 : name.startsWith("Muon") ? 2e-5 : 3e-6;
      got.forEach((values, i) => assertClose(values, want[i], bound, `result ${i}`));
    });

    Deno.test(`${name}: maxGradNorm is clipGradNorm() and step() (${where})`, async () => {
      const run = async (folded: boolean) => {
        const parameters = place(device);
        using optimizer = make(parameters, folded ? { maxGradNorm: 3 } : {});
        for (let t = 0; t < 4; t++) {
          optimizer.zeroGrad();
          bring(parameters, gradientsAt(device, t));
          if (!folded) clipGradNorm(parameters, 3);
          optimizer.step();
        }
        return await numbers([...parameters, ...slotsOf(optimizer)]);
      };
      assertEquals(await run(true), await run(false));
    });

    Deno.test(`${name}: twenty captured steps are the eager ones to the bit (${where})`, async () => {
      for (const controls of [{}, { maxGradNorm: 5, skipNonFinite: true, ema: { decay: 0.9 } }]) {
        const run = async (captured: boolean) => {
          const parameters = place(device);
          using optimizer = make(parameters, controls);
          const scaler = "ema" in controls ? new LossScaler({ device, initScale: 256 }) : null;
          const turn = (gradients: readonly Tensor[]) => {
            optimizer.zeroGrad();
            parameters.forEach((p, i) => {
              if (p.size === 0) return;
              const loss = p.mul(gradients[i]).sum();
              (scaler?.scale(loss) ?? loss).backward();
            });
            if (scaler === null) return optimizer.step();
            scaler.step(optimizer);
            scaler.update();
          };
          const captures = jit(turn);
          for (let t = 0; t < 20; t++) {
            if (t === 10) optimizer.groups.forEach((group) => group.lr *= 0.3);
            const bad = scaler !== null && t % 7 === 3;
            (captured ? captures : turn)(gradientsAt(device, t, bad));
          }
          if (captured) assert(captures.stats().captures <= 2, "captures");
          return await numbers([...parameters, ...slotsOf(optimizer)]);
        };
        assertEquals(await run(true), await run(false));
      }
    });

    Deno.test(`${name}: loadStateDict() continues with the same bits (${where})`, async () => {
      for (const skipNonFinite of [false, true]) {
        const parameters = place(device);
        using first = make(parameters, { skipNonFinite });
        const step = (optimizer: Optimizer, params: readonly Tensor[], t: number) => {
          optimizer.zeroGrad();
          bring(params, gradientsAt(device, t, skipNonFinite && t === 2), t % 4);
          optimizer.step();
        };
        for (let t = 0; t < 4; t++) step(first, parameters, t);
        const dict = await stored(first.stateDict(), device);
        const values = await numbers(parameters);
        for (let t = 4; t < 7; t++) step(first, parameters, t);

        const copies = parameters.map((p, i) =>
          tensor(Float64Array.from(values[i]), { device, shape: p.shape, requiresGrad: true })
        );
        using second = make(copies, { skipNonFinite });
        // What the second one knew before must be gone.
        for (const p of copies) p.grad = p.gradSlot;
        second.groups.forEach((group) => group.lr = 0);
        second.step();
        second.loadStateDict(dict);
        for (let t = 4; t < 7; t++) step(second, copies, t);
        assertEquals(await numbers(copies), await numbers(parameters));
      }
    });
  }

  Deno.test(`step() is one dispatch for each arena, two for NAdam, four for LAMB (${where})`, () => {
    const counts = { Adagrad: 1, Adadelta: 1, Adamax: 1, NAdam: 2, Lion: 1, LAMB: 4 };
    for (const [name, count] of Object.entries(counts)) {
      const parameters = place(device);
      using optimizer = makes[name](parameters);
      for (const parameter of parameters) parameter.grad = parameter.gradSlot;
      optimizer.step();
      const before = device.work().dispatches;
      optimizer.step();
      assertEquals(device.work().dispatches - before, count, name);
    }
  });

  Deno.test(`LAMB has the ratio of each parameter, whatever lies beside it (${where})`, async () => {
    const sizes = [70_000, 3, 4096, 64];
    const start = sizes.map((size, i) => randomValues(size, i + 1));
    const gradients = sizes.map((size, i) => randomValues(size, i + 50, -3, 3));
    const run = async (members: readonly number[]) => {
      const parameters = members.map((i) => tensor(start[i], { device, requiresGrad: true }));
      using optimizer = new LAMB(parameters, { lr: 0.5, weightDecay: 0.1 });
      parameters.forEach((p, k) =>
        p.mul(tensor(gradients[members[k]], { device })).sum().backward()
      );
      optimizer.step();
      return await numbers(parameters);
    };
    const together = await run([0, 1, 2, 3]);
    for (const i of [0, 1, 2, 3]) {
      assertEquals((await run([i]))[0], together[i], `parameter ${i} alone`);
      const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
      const direction = start[i].map((p, k) => {
        const g = gradients[i][k];
        return g / (Math.abs(g) + 1e-6) + 0.1 * p;
      });
      const ratio = norm(start[i]) / norm(direction);
      const want = start[i].map((p, k) => p - 0.5 * ratio * direction[k]);
      assertClose(together[i], want, device === reference ? 1e-12 : 3e-6, `parameter ${i}`);
    }
  });
}

testOnDevices({
  name: "Muon moves a matrix by one whose singular values are near 1",
  fn: async (device) => {
    const [rows, columns] = [96, 40];
    const values = randomValues(rows * columns, 1);
    const weight = tensor(values, { device, shape: [rows, columns], requiresGrad: true });
    using optimizer = new Muon([weight], { lr: 1 });
    const g = tensor(randomValues(rows * columns, 2), { device, shape: [rows, columns] });
    weight.mul(g).sum().backward();
    optimizer.step();
    const moved = tensor(values, { device, shape: [rows, columns] }).sub(weight.detach());
    const d = moved.mul(1 / Math.sqrt(rows / columns));
    // The traces of (dᵀd) and (dᵀd)² are the sums of second and fourth powers of singular values.
    const gram = d.t().matmul(d);
    const second = await gram.mul(tensor(identity(columns), { device })).sum().item() / columns;
    const fourth = await gram.square().sum().item() / columns;
    assert(second > 0.6 && second < 1.3, `mean square ${second}`);
    assert(fourth - second ** 2 < 0.1, `variance of squares ${fourth - second ** 2}`);
    // A gradient of the same direction and another length moves it alike.
    assertClose([await d.mul(g).sum().item()], [await nuclear(g)], 0.35);
  },
});

function identity(n: number): number[][] {
  return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, k) => Number(i === k)));
}

/** The sum of singular values, by Jacobi rotations of the Gram matrix. */
async function nuclear(g: Tensor): Promise<number> {
  const n = g.shape[1];
  const gram = await g.t().matmul(g).data();
  const a = Array.from({ length: n }, (_, i) => Array.from(gram.slice(i * n, (i + 1) * n)));
  for (let sweep = 0; sweep < 12; sweep++) {
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, p, q);
  }
  return a.reduce((sum, row, i) => sum + Math.sqrt(Math.max(0, row[i])), 0);
}

function rotate(a: number[][], p: number, q: number): void {
  if (a[p][q] === 0) return;
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < a.length; k++) {
    [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
  }
  for (let k = 0; k < a.length; k++) {
    [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
  }
}

testOnDevices({
  name: "f16 parameters keep f32 slots in every method",
  f16: true,
  fn: async (device) => {
    for (const [name, make] of Object.entries(makes)) {
      const start = randomValues(30 * 8, 1);
      const half = noGrad(() => tensor(start, { device, dtype: "f16", shape: [30, 8] }));
      half.requiresGrad = true;
      const full = tensor(start, { device, shape: [30, 8], requiresGrad: true });
      using optimizer = make([full, half]);
      for (let t = 0; t < 4; t++) {
        optimizer.zeroGrad();
        const g = tensor(randomValues(240, 10 + t), { device, shape: [30, 8] }).to("f16");
        half.mul(g).sum().backward();
        full.mul(g.to("f32")).sum().backward();
        optimizer.step();
      }
      assertEquals([half.dtype, half.grad!.dtype], ["f16", "f16"], name);
      assert(slotsOf(optimizer).every((slot) => slot.dtype === "f32"), name);
      const [got, want] = await Promise.all([half.data(), full.data()]);
      // Sums of roundings of parameters to 11 bits.
      if (!name.startsWith("Lion")) assertClose(got, want, 8e-3, name);
    }
  },
});

Deno.test("eps 0 leaves elements that never had a gradient, and the padding, alone", async () => {
  for (const device of devices) {
    const zero: readonly Make[] = [
      (p) => new Adagrad(p, { eps: 0, lr: 1 }),
      (p) => new Adadelta(p, { eps: 0, lr: 1 }),
      (p) => new Adamax(p, { eps: 0, lr: 1 }),
      (p) => new NAdam(p, { eps: 0, lr: 1 }),
      (p) => new LAMB(p, { eps: 0, lr: 1, weightDecay: 0, alwaysAdapt: true }),
      (p) => new Muon(p, { lr: 1 }),
      (p) => new Lion(p, { lr: 1 }),
    ];
    for (const make of zero) {
      const parameters = [3, 4].map((v) => tensor([[v, v]], { device, requiresGrad: true }));
      using optimizer = make(parameters);
      parameters[0].mul(tensor([[1, 0]], { device })).sum().backward();
      parameters[1].mul(tensor([[0, 0]], { device })).sum().backward();
      optimizer.step();
      const { storage } = parameters[0];
      const memory = parameters[0].alias({ shape: [storage.count], strides: [1], offset: 0 });
      const values = Array.from(await memory.data());
      assertEquals([values[1], values[64], values[65]], [3, 4, 4]);
      assertEquals(values.filter((v, i) => i % 64 > 1 && v !== 0), []);
    }
  }
});

Deno.test("a zero parameter or a zero direction has LAMB's ratio 1", async () => {
  for (const device of devices) {
    const zero = tensor([0, 0], { device, requiresGrad: true });
    using optimizer = new LAMB([zero], { lr: 0.5, eps: 0 });
    zero.mul(tensor([1, -2], { device })).sum().backward();
    optimizer.step();
    assertClose(await zero.data(), [-0.5, 0.5], 1e-6);
  }
});

Deno.test("new optimizers refuse options without meaning, and Muon what is no matrix", () => {
  const leaf = (shape: number[]) =>
    tensor(new Float64Array(shape.reduce((a, b) => a * b, 1)), {
      device: reference,
      shape,
      requiresGrad: true,
    });
  const x = leaf([2, 2]);
  assertThrows(() => new Adagrad([x], { lrDecay: -1 }), RangeError, "lrDecay -1");
  assertThrows(() => new Adadelta([x], { rho: 1 }), RangeError, "rho 1");
  assertThrows(() => new Adamax([x], { betas: [1, 0] }), RangeError, "betas[0] 1");
  assertThrows(() => new NAdam([x], { momentumDecay: NaN }), RangeError, "momentumDecay NaN");
  assertThrows(() => new Lion([x], { weightDecay: -1 }), RangeError, "weightDecay -1");
  const flag = { trustClip: 1 as unknown as boolean };
  assertThrows(() => new LAMB([x], flag), RangeError, "trustClip 1");
  assertThrows(() => new Muon([x], { nsSteps: 0 }), RangeError, "nsSteps 0");
  const method = { method: "sgd" as "muon" };
  assertThrows(() => new Muon([x], method), RangeError, 'expected "muon" or "adamw"');
  const bias = leaf([3]);
  assertThrows(() => new Muon([x, bias]), RangeError, "parameter 1 of shape [3]");
  assertEquals(x.gradSlot, null, "a refused parameter stays where it is");
  using muon = new Muon([{ params: [x] }, { params: [bias], method: "adamw" }]);
  assertEquals(muon.groups.map(({ lr, eps }) => [lr, eps]), [[0.02, 1e-7], [3e-4, 1e-10]]);
  assertThrows(() => muon.addParamGroup({ params: [leaf([4])] }), RangeError, "shape [4]");
  muon.addParamGroup({ params: [leaf([4])], method: "adamw", lr: 1 });
  assertEquals(muon.groups[2].lr, 1);
});
