import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  jit,
  manualSeed,
  MAP_TENSORS,
  noGrad,
  SupervisedStepOutput,
  type Tensor,
  tensor,
  uniform,
} from "../../../core/mod.ts";
import { devices } from "../devices.ts";

async function listOf(t: Tensor): Promise<number[]> {
  return [...await t.data()];
}

/** A class of a user that lets its tensors be exchanged. */
class Pair {
  constructor(readonly left: Tensor, readonly right: Tensor, readonly size: number) {}

  [MAP_TENSORS](map: (t: Tensor) => Tensor): Pair {
    return new Pair(map(this.left), map(this.right), this.size);
  }
}

for (const device of devices) {
  const on = `on ${device.kind}`;
  const vector = (...values: number[]) => tensor(values, { device });

  Deno.test(`jit() takes and gives tensors in arrays, objects and classes, ${on}`, async () => {
    const step = jit((pair: Pair, { more: [a, b], scale }: { more: Tensor[]; scale: number }) => ({
      sum: pair.left.add(pair.right),
      rest: [a.mul(scale), { last: b.sub(1) }] as const,
      name: "fixed",
      pair: new Pair(pair.right, a.neg(), 2),
    }));
    for (const k of [1, 2, 3]) {
      const out = step(new Pair(vector(k), vector(10), 1), {
        more: [vector(k, k), vector(5)],
        scale: 3,
      });
      assertEquals(await listOf(out.sum), [k + 10]);
      assertEquals(await listOf(out.rest[0]), [3 * k, 3 * k]);
      assertEquals(await listOf(out.rest[1].last), [4]);
      assertEquals([out.name, out.pair.size, out.pair instanceof Pair], ["fixed", 2, true]);
      assertEquals(await listOf(out.pair.right), [-k, -k]);
      assertEquals(await listOf(out.pair.left), [10]);
    }
    assertEquals(step.stats().captures, 1);
  });

  Deno.test(`jit() gives out step outputs, ${on}`, async () => {
    const step = jit((x: Tensor, targets: Tensor) =>
      new SupervisedStepOutput({ loss: x.sum(), predictions: x.mul(2), targets })
    );
    for (const k of [1, 2]) {
      const targets = vector(k);
      const out = step(vector(k, 1), targets);
      assert(out instanceof SupervisedStepOutput);
      assertEquals(await out.loss.item(), k + 1);
      assertEquals(await listOf(out.predictions!), [2 * k, 2]);
      assertStrictEquals(out.targets!.storage, targets.storage);
    }
  });

  Deno.test(`jit() captures again for other numbers, texts, shapes and dtypes, ${on}`, async () => {
    const step = jit((x: Tensor, k: unknown) => x.mul(typeof k === "number" ? k : 7));
    const calls: [Tensor, unknown, number, number][] = [
      [vector(1, 2), 2, 2, 1],
      [vector(3, 2), 2, 6, 1],
      [vector(1, 2), -0, 0, 2],
      [vector(1, 2), 0, 0, 3],
      [vector(1, 2), "0", 7, 4],
      [vector(1, 2), null, 7, 5],
      [vector(1, 2), undefined, 7, 6],
      [vector(1, 2), { a: 1 }, 7, 7],
      [vector(1, 2), { a: 1 }, 7, 7],
      [vector(1, 2), { a: "1" }, 7, 8],
      [vector(1, 2), ["1,2"], 7, 9],
      [vector(1, 2), ["1", "2"], 7, 10],
      [vector(1, 2, 3), 2, 2, 11],
      [tensor([1, 2], { device, dtype: "i32" }), 2, 2, 12],
      [tensor([[1], [2]], { device }), 2, 2, 13],
      [tensor([[1, 2], [3, 4]], { device }).slice(null, 0), 2, 2, 14],
      [vector(4, 2), 2, 8, 14],
    ];
    for (const [x, k, first, captures] of calls) {
      assertEquals((await listOf(step(x, k)))[0] + 0, first);
      assertEquals(step.stats().captures, captures);
    }
  });

  Deno.test(`jit() tells views of one memory from views of two, ${on}`, async () => {
    const step = jit((a: Tensor, b: Tensor) => {
      a.add_(b);
      return b.mul(10);
    });
    const both = vector(1, 2, 3, 4);
    const [low, high] = [both.slice({ stop: 2 }), both.slice({ start: 2 })];
    assertEquals(await listOf(step(low, high)), [30, 40]);
    assertEquals(await listOf(both), [4, 6, 3, 4]);
    const twice = vector(1, 2);
    assertEquals(await listOf(step(twice, twice)), [20, 40]);
    const [a, b] = [vector(1, 2), vector(5, 6)];
    assertEquals(await listOf(step(a, b)), [50, 60]);
    assertEquals([await listOf(a), await listOf(b)], [[6, 8], [5, 6]]);
    assertEquals(step.stats().captures, 3);
    // The same kinds again, one of them far into a larger memory.
    const far = tensor(Array.from({ length: 600 }, (_, i) => i), { device });
    const view = far.slice({ start: 256, stop: 260 });
    assertEquals(await listOf(step(view.slice({ stop: 2 }), view.slice({ start: 2 }))), [
      2580,
      2590,
    ]);
    assertEquals(await listOf(view), [256 + 258, 257 + 259, 258, 259]);
    assertEquals(await listOf(far.slice({ start: 254, stop: 256 })), [254, 255]);
  });

  Deno.test(`jit() gives views of arguments and of lasting memory as such, ${on}`, async () => {
    const lasting = vector(7, 8, 9);
    const step = jit((x: Tensor) => [x, x.flip(0), lasting, lasting.slice({ start: 1 }), x.mul(2)]);
    for (const k of [1, 2]) {
      const x = vector(k, 5);
      const [same, flipped, whole, part, made] = step(x);
      for (const t of [same, flipped]) assertStrictEquals(t.storage, x.storage);
      for (const t of [whole, part]) assertStrictEquals(t.storage, lasting.storage);
      assert(same !== x);
      x.fill_(3);
      assertEquals(await listOf(flipped), [3, 3]);
      assertEquals(await listOf(made), [2 * k, 10]);
      lasting.add_(lasting);
    }
    assertEquals(await listOf(lasting), [28, 32, 36]);
    assertEquals(step.stats().captures, 1);
  });

  Deno.test(`jit() gives results that share memory as such, new ones at each call, ${on}`, async () => {
    const step = jit((x: Tensor) => {
      const y = x.cumsum(0);
      return [y, y.slice({ start: 1 }), y.expand([2, 3])];
    });
    const first = step(vector(1, 1, 1));
    const second = step(vector(2, 2, 2));
    assertStrictEquals(first[0].storage, first[1].storage);
    assertStrictEquals(first[0].storage, first[2].storage);
    assert(first[0].storage !== second[0].storage);
    assertEquals(await listOf(first[0]), [1, 2, 3]);
    first[0].dispose();
    assertEquals(await listOf(first[1]), [2, 3]);
    assertEquals(await listOf(second[2]), [2, 4, 6, 2, 4, 6]);
  });

  Deno.test(`jit() gives its results no history, ${on}`, () => {
    const w = tensor([1, 2], { device, requiresGrad: true });
    const step = jit((x: Tensor) => w.mul(x));
    const y = step(vector(1, 1));
    assertEquals([y.requiresGrad, y.isLeaf], [false, true]);
  });

  Deno.test(`jit() draws other numbers at each replay, those of plain calls, ${on}`, async () => {
    const draw = () => uniform([5], { device });
    const step = jit((x: Tensor) => draw().add(draw().mul(x)));
    const rows = async (fn: (x: Tensor) => Tensor) => {
      manualSeed(11);
      const out: number[][] = [];
      for (let i = 0; i < 4; i++) {
        out.push(await listOf(fn(vector(2))));
        out.push(await listOf(draw()));
      }
      return out;
    };
    const want = await rows(step.eager);
    assertEquals(await rows(step), want);
    assertEquals(await rows(step), want);
    assertEquals(new Set(want.map(String)).size, 8);
    assertEquals(step.stats().captures, 1);
  });

  Deno.test(`jit() captures apart where gradients are recorded and where not, ${on}`, async () => {
    const w = tensor([3], { device, requiresGrad: true });
    const step = jit((x: Tensor) => [w.mul(x).requiresGrad ? x.add(1) : x.sub(1)]);
    assertEquals(await step(vector(1))[0].item(), 2);
    assertEquals(await noGrad(() => step(vector(1)))[0].item(), 0);
    assertEquals(await step(vector(1))[0].item(), 2);
    assertEquals(step.stats().captures, 2);
  });

  Deno.test(`jit() takes numbers of the host anew where the step changes them, ${on}`, async () => {
    const step = jit((x: Tensor) => {
      const a = vector(1, 2);
      const b = vector(5, 6);
      a.add_(x);
      b.add_(x);
      return a.mul(b);
    });
    for (let i = 0; i < 3; i++) assertEquals(await listOf(step(vector(10, 20))), [165, 572]);
  });

  Deno.test(`jit() keeps integers apart from floats where it drops a factor of 1, ${on}`, async () => {
    const step = jit((x: Tensor) => {
      const one = tensor([1, 1], { device }).mul(0).add(1);
      return one.mul(x).mul(x);
    });
    const x = tensor([100_000, 3], { device, dtype: "i32" });
    for (let i = 0; i < 2; i++) assertEquals(await listOf(step(x)), [10_000_000_000, 9]);
  });

  Deno.test(`jit() converts there and back as if both were stored, ${on}`, async () => {
    const step = jit((x: Tensor, n: Tensor) => [x.mul(x.to("i32")), n.to("f32").to("i32")]);
    const x = vector(-0.5, 0.5, -1.5, 2);
    const n = tensor([2 ** 24 + 1, -(2 ** 24) - 3, 7, 0], { device, dtype: "i32" });
    const want = await Promise.all(step.eager(x, n).map((t) => t.data()));
    assert(Object.is(want[0][0], -0));
    for (let i = 0; i < 2; i++) {
      const got = await Promise.all(step(x, n).map((t) => t.data()));
      assertEquals(got.map((values) => Array.from(values)), want.map((v) => Array.from(v)));
    }
  });

  Deno.test(`jit() stores halves like any other value, ${on}`, async () => {
    if (!device.traits.f16) return;
    const step = jit((x: Tensor) => x.to("f16").sum());
    const x = tensor(Array.from({ length: 300 }, (_, i) => i / 64), { device });
    const want = await step.eager(x).item();
    for (let i = 0; i < 2; i++) assertEquals(await step(x).item(), want);
  });
}
