import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { linear, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import { OutOfMemoryError } from "../../core/errors.ts";
import { gpu, randomValues, reference } from "../util.ts";
import { devices, ownDevice } from "./devices.ts";

const MIB = 2 ** 20;

for (const device of devices) {
  Deno.test(`scope() releases at its end what was not kept, ${device.kind}`, async () => {
    const before = device.memory().liveBuffers;
    let kept: Tensor, lost: Tensor;
    {
      using scope = device.scope();
      const x = tensor([1, 2, 3], { device });
      lost = x.mul(2);
      kept = lost.add(1).keep();
      assertEquals([scope.owns(lost), scope.owns(kept)], [true, false]);
      assertEquals(device.memory().liveBuffers, before + 3);
    }
    assertEquals(device.memory().liveBuffers, before + 1);
    assertEquals([lost.isReleased, kept.isReleased], [true, false]);
    assertEquals(await kept.array(), [3, 5, 7]);
    kept.dispose();
    assertEquals(device.memory().liveBuffers, before);
  });

  Deno.test(`scope() nests: an inner one releases its own, keep() outlives them all, ${device.kind}`, () => {
    const before = device.memory().liveBuffers;
    const outer = device.scope();
    const a = tensor([1], { device });
    const inner = device.scope();
    const [b, c] = [a.add(1), a.add(2).keep()];
    assertEquals(device.currentScope, inner);
    inner.close();
    inner.close();
    assertEquals([a.isReleased, b.isReleased, c.isReleased], [false, true, false]);
    assertEquals(device.currentScope, outer);
    outer.close();
    assertEquals([a.isReleased, c.isReleased, device.currentScope], [true, false, null]);
    c.dispose();
    assertEquals(device.memory().liveBuffers, before);
  });

  Deno.test(`scope() ends also when the block throws, ${device.kind}`, () => {
    const before = device.memory().liveBuffers;
    assertThrows(() => {
      using _ = device.scope();
      tensor([1, 2], { device }).add(tensor([1, 2, 3], { device }));
    }, RangeError);
    assertEquals([device.memory().liveBuffers, device.scopes.length], [before, 0]);
  });

  Deno.test(`dispose() gives memory back once its last view is gone, ${device.kind}`, async () => {
    const before = device.memory().liveBuffers;
    const x = tensor([[1, 2], [3, 4]], { device });
    const view = x.t();
    x.dispose();
    x.dispose();
    assertEquals(device.memory().liveBuffers, before + 1);
    assertEquals(await view.array(), [[1, 3], [2, 4]]);
    const text =
      "Cannot use a tensor of shape [2,2]: it was released, by dispose() or at the end of its step";
    assertThrows(() => x.add(1), Error, text);
    assertThrows(() => x.reshape([4]), Error, "call keep() on what should outlive the step");
    assertThrows(() => x.fill_(1), Error, text);
    await assertRejects(() => x.data(), Error, text);
    await assertRejects(() => x.array(), Error, text);
    view.dispose();
    assertEquals(device.memory().liveBuffers, before);
    const none = tensor(new Float64Array(0), { device });
    none.dispose();
    await assertRejects(() => none.data(), Error, "it was released");
    {
      using y = tensor([1], { device });
      assert(!y.isReleased);
    }
    assertEquals(device.memory().liveBuffers, before);
  });

  Deno.test(`data() of a tensor whose scope ends before the wait is still right, ${device.kind}`, async () => {
    const before = device.memory().liveBuffers;
    const values = Float64Array.from({ length: 300 }, (_, i) => i);
    const reads: Promise<ArrayLike<number>>[] = [];
    for (let round = 0; round < 20; round++) {
      using _ = device.scope();
      const x = tensor(values, { device, shape: [300] }).add(round);
      reads.push(x.data(), x.reshape([30, 10]).t().data());
      // Memory of the same size, which must not be that of the reads that still wait.
      x.mul(0).add(-1);
    }
    const got = await Promise.all(reads);
    for (let round = 0; round < 20; round++) {
      assertEquals(Array.from(got[2 * round]), Array.from(values, (v) => v + round));
      assertEquals(got[2 * round + 1][1], 10 + round);
    }
    assertEquals(device.memory().liveBuffers, before);
  });

  Deno.test(`data() leaves the tensor its memory, ${device.kind}`, async () => {
    const x = tensor([1, 2, 3], { device });
    const before = device.memory().liveBuffers;
    for (let i = 0; i < 3; i++) assertEquals(Array.from(await x.data()), [1, 2, 3]);
    assertEquals(device.memory().liveBuffers, before);
    const others = Array.from({ length: 3 }, () => tensor([7, 8, 9], { device }));
    assertEquals(await x.array(), [1, 2, 3]);
    others.forEach((t) => t.dispose());
  });

  Deno.test(`data() gives what the tensor held when it was called, ${device.kind}`, async () => {
    const x = tensor([1, 2, 3], { device });
    const first = x.data();
    x.fill_(5);
    const second = x.data();
    x.copy_(tensor([7, 8, 9], { device }));
    const third = x.narrow(0, 1, 1).item();
    x.add_(x, 10);
    const all = await Promise.all([first, second, third, x.data()]);
    assertEquals(all.map((v) => typeof v === "number" ? v : Array.from(v)), [
      [1, 2, 3],
      [5, 5, 5],
      8,
      [77, 88, 99],
    ]);
  });

  Deno.test(`copies on the way to the host are released, ${device.kind}`, async () => {
    const x = tensor([[1, 2], [3, 4]], { device, requiresGrad: true });
    const half = device.traits.f16 ? noGrad(() => x.to("f16")) : x;
    const before = device.memory().liveBuffers;
    assertEquals(Array.from(await x.t().data()), [1, 3, 2, 4]);
    assertEquals(Array.from(await half.t().data()), [1, 3, 2, 4]);
    assertEquals(device.memory().liveBuffers, before);
  });

  Deno.test(`backward() leaves only the gradients, ${device.kind}`, () => {
    const x = tensor([[1, 2], [3, 4]], { device, requiresGrad: true });
    const w = tensor([[1, 0], [1, 1]], { device, requiresGrad: true });
    const before = device.memory().liveBuffers;
    for (let round = 0; round < 3; round++) {
      using _ = device.scope();
      linear(x, w).tanh().mul(x).mean().backward();
    }
    assertEquals(device.memory().liveBuffers, before + 2);
    [x, w].forEach((t) => t.grad = null);
    assertEquals(device.memory().liveBuffers, before);
    // An error on the way gives back what was there so far.
    {
      using _ = device.scope();
      const y = x.exp();
      const root = y.mul(w).mul(y).sum();
      root.backward({ retainGraph: true });
      [x, w].forEach((t) => t.grad = null);
      const held = device.memory().liveBuffers;
      noGrad(() => y.fill_(1));
      assertThrows(() => root.backward(), Error, "was changed in place");
      assertEquals(device.memory().liveBuffers, held);
    }
    assertEquals(device.memory().liveBuffers, before);
  });
}

/** One step of a small network with an update in place, all of it in one scope. */
function step(x: Tensor, target: Tensor, weights: Tensor[]): void {
  using _ = x.device.scope();
  const hidden = linear(x, weights[0], weights[1]).relu();
  const loss = linear(hidden, weights[2]).sub(target).square().mean();
  loss.backward();
  noGrad(() => {
    for (const w of weights) {
      w.add_(w.grad!, -0.01);
      w.grad = null;
    }
  });
}

for (const kind of devices.map((d) => d.kind)) {
  Deno.test(`2,000 training steps hold as much memory as 100, ${kind}`, async () => {
    // Of its own, since garbage of other tests may be collected meanwhile.
    const device = await ownDevice({ kind });
    const make = (shape: number[], seed: number, requiresGrad = false) =>
      tensor(randomValues(shape.reduce((a, b) => a * b), seed), { device, shape, requiresGrad });
    const x = make([8, 6], 1);
    // Nothing may be left to the collector, which comes when it likes.
    const outside = device.scope();
    const target = x.sum(1, { keepdim: true }).keep();
    outside.close();
    const weights = [make([5, 6], 3, true), make([5], 4, true), make([1, 5], 5, true)];
    const loss = async () => {
      using _ = device.scope();
      return await noGrad(() =>
        linear(linear(x, weights[0], weights[1]).relu(), weights[2]).sub(target).square().mean()
      ).item();
    };
    const start = await loss();
    let early: unknown;
    for (let i = 1; i <= 2000; i++) {
      step(x, target, weights);
      if (i === 100) early = { ...device.memory(), peakBytes: 0 };
      // As the engine does: the device may not fall behind without end.
      if (i % 250 === 0) await device.sync();
    }
    assertEquals({ ...device.memory(), peakBytes: 0 }, early);
    assertEquals(device.scopes.length, 0);
    const end = await loss();
    assert(end < start / 20, `the loss went from ${start} to ${end}`);
    device.close();
  });
}

Deno.test({
  name: "buffers are used again, by size class, without work on the device's side",
  ignore: gpu === null,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor(new Float64Array(1000), { device });
    const run = () => {
      using _ = device.scope();
      return x.add(1).mul(2).sub(3).isReleased;
    };
    run();
    const { buffers, bindGroups, pipelines } = device.work();
    for (let i = 0; i < 50; i++) run();
    const after = device.work();
    assertEquals([after.buffers, after.pipelines], [buffers, pipelines]);
    // The order in which the pool gives buffers out repeats soon, so bind groups do too.
    assert(after.bindGroups - bindGroups < 12, `${after.bindGroups - bindGroups} new bind groups`);
    const { liveBytes, pooledBytes } = device.memory();
    assertEquals(liveBytes, 4096);
    assert(pooledBytes >= 2 * 4096);
    device.close();
  },
});

Deno.test({
  name: "memoryBudget is kept: the error lists what holds the memory",
  ignore: gpu === null,
  fn: async () => {
    const device = await ownDevice({ memoryBudget: 9 * MIB });
    const scope = device.scope();
    const big = tensor(new Float64Array(MIB), { device });
    const sums = [big.slice({ stop: MIB / 4 }).add(1), big.slice({ stop: MIB / 4 }).exp()];
    const before = device.memory();
    assertEquals([before.liveBuffers, before.liveBytes], [3, 6 * MIB]);
    const error = assertThrows(() => big.mul(2), OutOfMemoryError) as OutOfMemoryError;
    assertEquals([error.bytesRequested, error.bytesLive], [4 * MIB, 6 * MIB]);
    for (
      const part of [
        'Cannot allocate 4194304 bytes for "mul" within the budget of 9437184',
        "6291456 are in use",
        "largest: tensor 4.0 MiB, add 1.0 MiB, exp 1.0 MiB",
        "a smaller batch or a larger memoryBudget would help",
      ]
    ) assert(error.message.includes(part), error.message);
    assertEquals(device.memory(), before);
    // What is released makes room, also when it is kept for other sizes meanwhile.
    sums.forEach((t) => t.dispose());
    const double = big.mul(2);
    assertEquals((await double.sum().item()) === 0, true);
    scope.close();
    const whole = tensor(new Float64Array(2 * MIB - 1024), { device });
    assertEquals(await whole.max().item(), 0);
    assert(device.memory().liveBytes + device.memory().pooledBytes <= 9 * MIB);
    device.close();
  },
});

Deno.test({
  name: "one buffer beyond the device's limit is an error that gives the limit",
  ignore: gpu === null,
  fn: async () => {
    const device = await ownDevice({ memoryBudget: 2 ** 50 });
    const x = tensor([1], { device });
    const huge = x.expand([2 ** 40]);
    const before = device.memory();
    assertThrows(() => huge.add(1), OutOfMemoryError, "one buffer of this device holds at most");
    assertEquals(device.memory(), before);
    device.close();
  },
});

Deno.test("memory() counts the reference's memory too", () => {
  const before = reference.memory();
  const x = tensor(new Float64Array(100), { device: reference });
  const during = reference.memory();
  assertEquals(during.liveBytes - before.liveBytes, 800);
  assertEquals(during.liveBuffers - before.liveBuffers, 1);
  x.dispose();
  assertEquals(reference.memory().liveBytes, before.liveBytes);
});
