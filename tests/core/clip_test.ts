import { type Device, referenceDevice, type Tensor, tensor } from "../../core/mod.ts";
import { clipGradNorm, clipGradValue, SGD } from "../../core/optim/mod.ts";
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { assertClose, devices, randomValues, reference, testOnDevices } from "../util.ts";
import { ownDevice } from "./devices.ts";

const tolerance = (device: Device) => device === reference ? 1e-12 : { rel: 2e-6, abs: 1e-12 };

/** Parameters whose gradients are keyed numbers; their sizes leave padding between them. */
function withGradients(device: Device, sizes: readonly number[], scale = 1) {
  const gradients = sizes.map((n, i) => randomValues(n, 31 + i, -scale, scale));
  const parameters = sizes.map((n) =>
    tensor(new Float64Array(n), { device, shape: [n], requiresGrad: true })
  );
  return { gradients, parameters };
}

function bring(parameters: readonly Tensor[], gradients: readonly Float64Array[]): void {
  parameters.forEach((p, i) => {
    if (p.size > 0) p.mul(tensor(gradients[i], { device: p.device })).sum().backward();
  });
}

/** The norm by its definition. */
function normOf(gradients: readonly Float64Array[], power: number): number {
  const all = gradients.flatMap((g) => Array.from(g, Math.abs));
  if (power === Infinity) return Math.max(...all);
  return all.reduce((sum, g) => sum + g ** power, 0) ** (1 / power);
}

const sizes = [5, 64, 131, 1, 0, 1000];

for (const device of devices) {
  for (const held of [true, false]) {
    const where = `${held ? "in an arena" : "on their own"}, ${device.kind}`;
    for (const normType of [1, 2, 3, 2.5, Infinity]) {
      Deno.test(`clipGradNorm() with normType ${normType} (${where})`, async () => {
        const { gradients, parameters } = withGradients(device, sizes);
        using _ = held ? new SGD(parameters) : null;
        bring(parameters, gradients);
        const norm = clipGradNorm(parameters, 0.5, { normType });
        const want = normOf(gradients, normType);
        assertClose([await norm.item()], [want], tolerance(device), "norm");
        const factor = Math.min(1, 0.5 / (want + 1e-6));
        for (const [i, p] of parameters.entries()) {
          if (p.grad === null) continue;
          const expected = gradients[i].map((g) => g * factor);
          assertClose(await p.grad.data(), expected, tolerance(device), `gradient ${i}`);
        }
      });
    }

    Deno.test(`clipGradNorm() leaves gradients below the limit as they are (${where})`, async () => {
      const { gradients, parameters } = withGradients(device, sizes);
      using _ = held ? new SGD(parameters) : null;
      bring(parameters, gradients);
      for (const limit of [1e6, Infinity]) {
        clipGradNorm(parameters, limit);
        for (const [i, p] of parameters.entries()) {
          if (p.grad !== null) {
            assertEquals(Array.from(await p.grad.data()), Array.from(gradients[i]));
          }
        }
      }
    });

    Deno.test(`clipGradValue() limits every element and keeps NaN (${where})`, async () => {
      const x = tensor([0, 0, 0, 0, 0], { device, requiresGrad: true });
      using _ = held ? new SGD([x]) : null;
      x.mul(tensor([-3, 0.25, NaN, Infinity, 0.5], { device })).sum().backward();
      clipGradValue([x], 0.5);
      assertEquals(await x.grad!.array(), [-0.5, 0.25, NaN, 0.5, 0.5]);
    });

    Deno.test(`clipGradNorm() hands on NaN and infinity (${where})`, async () => {
      for (const [bad, norm] of [[NaN, NaN], [Infinity, Infinity]]) {
        const x = tensor([0, 0], { device, requiresGrad: true });
        using _ = held ? new SGD([x]) : null;
        x.mul(tensor([bad, 1], { device })).sum().backward();
        assertEquals(await clipGradNorm([x], 1).item(), norm);
        const clipped = await x.grad!.data();
        assertEquals([clipped[0], clipped[1]], [NaN, Number.isNaN(bad) ? NaN : 0]);
      }
    });
  }

  Deno.test(`clipGradNorm() takes arenas, groups and loose gradients together (${device.kind})`, async () => {
    const { gradients, parameters } = withGradients(device, [70, 3, 200, 9, 14]);
    using _ = new SGD([{ params: parameters.slice(0, 3) }, { params: [parameters[3]] }]);
    bring(parameters, gradients);
    parameters[1].grad = null;
    const counted = gradients.filter((_, i) => i !== 1);
    const norm = clipGradNorm(parameters, 1);
    const want = normOf(counted, 2);
    assertClose([await norm.item()], [want], tolerance(device), "norm");
    for (const i of [0, 2, 3, 4]) {
      const expected = gradients[i].map((g) => g / (want + 1e-6));
      assertClose(await parameters[i].grad!.data(), expected, tolerance(device), `gradient ${i}`);
    }
    assertStrictEquals(parameters[0].grad, parameters[0].gradSlot);
  });

  Deno.test(`clipGradNorm() does not count what zeroGrad() left behind (${device.kind})`, async () => {
    const { gradients, parameters } = withGradients(device, [5, 5]);
    using optimizer = new SGD(parameters);
    bring(parameters, gradients);
    optimizer.zeroGrad();
    assertEquals(await clipGradNorm(parameters, 1).item(), 0);
    bring(parameters.slice(1), gradients.slice(1));
    assertClose(
      [await clipGradNorm(parameters, 1).item()],
      [normOf(gradients.slice(1), 2)],
      tolerance(device),
    );
  });

  Deno.test(`clipGradNorm() is three dispatches for an arena (${device.kind})`, async () => {
    const { gradients, parameters } = withGradients(device, [5, 64, 1000]);
    using _ = new SGD(parameters);
    bring(parameters, gradients);
    const before = device.work().dispatches;
    const norm = clipGradNorm(parameters, 1);
    assertEquals(device.work().dispatches - before, 3);
    await norm.item();
  });
}

for (const { kind } of devices) {
  Deno.test(`clipGradNorm() frees what it makes, and its norm with the step (${kind})`, async () => {
    // What earlier tests left on a shared device is collected at some time.
    const device = await ownDevice({ kind });
    const { gradients, parameters } = withGradients(device, [5, 64, 1000]);
    using _ = new SGD(parameters.slice(1));
    const turn = async (kept: boolean) => {
      const scope = device.scope();
      bring(parameters, gradients);
      const norm = clipGradNorm(parameters, 1);
      if (kept) norm.keep();
      scope.close();
      assertEquals(norm.isReleased, !kept);
      if (kept) assertEquals((await norm.item()) > 1, true);
      norm.dispose();
    };
    await turn(true);
    const { liveBuffers } = device.memory();
    for (let i = 0; i < 3; i++) await turn(i % 2 === 0);
    assertEquals(device.memory().liveBuffers, liveBuffers);
    device.close();
  });
}

testOnDevices({
  name: "clipGradNorm() of four million gradients, and of f16 gradients",
  f16: true,
  fn: async (device) => {
    const n = 4_200_001;
    const { gradients, parameters } = withGradients(device, [n]);
    using large = new SGD(parameters);
    bring(parameters, gradients);
    const norm = await clipGradNorm(parameters, 2).item();
    assertClose([norm], [normOf(gradients, 2)], 1e-6, "norm");
    const got = await parameters[0].grad!.data();
    for (const at of [0, 77777, n - 1]) {
      assertClose([got[at]], [gradients[0][at] * 2 / norm], 1e-6, `gradient ${at}`);
    }
    large.dispose();
    const half = tensor([0, 0, 0], { device, dtype: "f16" }).detach();
    half.requiresGrad = true;
    using _ = new SGD([half]);
    half.mul(tensor([3, 0, 4], { device, dtype: "f16" })).sum().backward();
    assertEquals(await clipGradNorm([half], 2.5).item(), 5);
    assertClose(await half.grad!.data(), [1.5, 0, 2], 1e-3);
  },
});

testOnDevices({
  name: "clipGradNorm() gives the same bits every time",
  fn: async (device) => {
    const { gradients, parameters } = withGradients(device, [100_003]);
    using _ = new SGD(parameters);
    const norms = new Set<number>();
    for (let i = 0; i < 5; i++) {
      parameters[0].grad = null;
      bring(parameters, gradients);
      norms.add(await clipGradNorm(parameters, 1).item());
    }
    assertEquals(norms.size, 1);
  },
});

Deno.test("clipGradNorm() and clipGradValue() refuse what has no meaning", () => {
  const x = tensor([1], { device: reference, requiresGrad: true });
  assertThrows(() => clipGradNorm([x], -1), RangeError, "to norm -1");
  assertThrows(() => clipGradNorm([x], NaN), RangeError, "to norm NaN");
  assertThrows(() => clipGradNorm([x], 1, { normType: 0 }), RangeError, "type 0");
  assertThrows(() => clipGradNorm([], 1), RangeError, "no parameters");
  assertThrows(() => clipGradValue([x], NaN), RangeError, "up to NaN");
  const other = referenceDevice();
  const y = tensor([1], { device: other, requiresGrad: true });
  assertThrows(() => clipGradNorm([x, y], 1), TypeError, "different devices");
});
