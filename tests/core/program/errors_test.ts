import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  Adam,
  CaptureError,
  type Device,
  jit,
  Key,
  referenceDevice,
  SGD,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import { Dropout } from "../../../nn/mod.ts";
import { devices } from "../devices.ts";
import { reference } from "../../util.ts";

function vector(device: Device, ...values: number[]): Tensor {
  return tensor(values, { device });
}

/** The line of the caller in this file. */
function lineHere(): number {
  return Number(new Error().stack!.split("\n")[2].match(/:(\d+):\d+\)?$/)![1]);
}

for (const device of devices) {
  const on = `on ${device.kind}`;

  Deno.test(`jit() names the line that reads a tensor inside, ${on}`, async () => {
    const x = vector(device, 1, 2);
    let line = 0;
    const reads = {
      data: async (t: Tensor) => {
        line = lineHere() + 1;
        await t.mul(2).data();
      },
      item: async (t: Tensor) => {
        line = lineHere() + 1;
        await t.sum().item();
      },
      array: async (t: Tensor) => {
        line = lineHere() + 1;
        await t.mul(2).array();
      },
      sync: async () => {
        line = lineHere() + 1;
        await device.sync();
      },
    };
    for (const [name, read] of Object.entries(reads)) {
      const error = assertThrows(() => jit(read)(x), CaptureError, undefined, name);
      assertMatch(error.message, new RegExp(`errors_test\\.ts:${line}:`), name);
    }
    assertEquals([...await x.data()], [1, 2]);
  });

  Deno.test(`jit() refuses an asynchronous function that reads nothing, ${on}`, async () => {
    const x = vector(device, 1, 2);
    const step = jit(async (t: Tensor) => await Promise.resolve(t.mul(2)));
    assertThrows(() => step(x), CaptureError, "is asynchronous");
    assertEquals([...await x.data()], [1, 2]);
  });

  Deno.test(`jit() refuses a step that keeps a tensor that it made, ${on}`, async () => {
    const held: Tensor[] = [];
    const step = jit((t: Tensor) => {
      held.push(t.mul(3).keep());
      return t.add(1);
    });
    assertThrows(
      () => step(vector(device, 1)),
      CaptureError,
      'keeps a tensor that it made ("mul")',
    );
    const good = jit((t: Tensor) => t.add(1));
    assertEquals(await good(vector(device, 1)).item(), 2);
  });

  Deno.test(`jit() refuses a step that keeps an argument, ${on}`, async () => {
    const held: Tensor[] = [];
    const step = jit((t: Tensor) => {
      held.push(t.slice({ start: 1 }).keep());
      return t.add(1);
    });
    const x = vector(device, 1, 2);
    assertThrows(() => step(x), CaptureError, "keeps an argument");
    assertEquals([...await x.data()], [1, 2]);
  });

  Deno.test(`jit() goes on with memory that nobody else holds any more, ${on}`, async () => {
    const [used, given] = [vector(device, 1, 2), vector(device, 3, 4)];
    const step = jit((t: Tensor) => [used.mul(t), given]);
    for (const t of step(vector(device, 2, 2))) t.dispose();
    used.dispose();
    given.dispose();
    using _other = vector(device, 9, 9);
    const [product, same] = step(vector(device, 3, 3));
    assertEquals([...await product.data()], [3, 6]);
    assertEquals([...await same.data()], [3, 4]);
    step.reset();
  });

  Deno.test(`jit() refuses an argument with a history, ${on}`, async () => {
    const w = tensor([2, 3], { device, requiresGrad: true });
    const step = jit((t: Tensor) => t.sum());
    assertThrows(() => step(w.mul(2)), CaptureError, "it has a history");
    assertEquals(await step(w.mul(2).detach()).item(), 10);
  });

  Deno.test(`jit() refuses a gradient left in an argument, ${on}`, async () => {
    const w = tensor([2, 3], { device, requiresGrad: true });
    const step = jit((t: Tensor) => {
      const loss = t.square().sum();
      loss.backward();
      return loss;
    });
    assertThrows(() => step(w), CaptureError, "leaves a gradient in an argument");
    assertEquals(w.grad, null);
    assertEquals(await step.eager(w).item(), 13);
  });

  Deno.test(`jit() refuses an argument that is memory which the step changes, ${on}`, async () => {
    const state = vector(device, 1, 1);
    let steps = 0;
    const step = jit((t: Tensor) => {
      steps++;
      state.add_(t);
      return state.mul(2);
    });
    assertThrows(() => step(state), CaptureError, "argument tensor 0 is memory that it also uses");
    assertEquals([...await state.data()], [1, 1]);
    assertEquals([...await step(vector(device, 1, 2)).data()], [4, 6]);
    assertThrows(() => step(state.alias()), CaptureError, "argument tensor 0");
    assertEquals([...await step(vector(device, 1, 2)).data()], [6, 10]);
    assertEquals([...await step(state.add(0)).data()], [12, 20]);
    assert(steps >= 2);
  });

  Deno.test(`jit() refuses an argument that it changes and also uses by itself, ${on}`, async () => {
    const state = vector(device, 1, 2);
    const step = jit((t: Tensor) => t.add_(state).mul(1));
    assertThrows(() => step(state), CaptureError, "argument tensor 0");
    assertEquals([...await state.data()], [1, 2]);
    const other = vector(device, 10, 10);
    assertEquals([...await step(other).data()], [11, 12]);
    assertEquals([...await step(other).data()], [12, 14]);
    assertEquals([...await other.data()], [12, 14]);
  });

  Deno.test(`jit() leaves host state as it was where a call fails, ${on}`, async () => {
    const train = async (failFirst: boolean) => {
      const w = tensor([1, 2, 3, 4], { device, requiresGrad: true });
      const optimizer = new Adam([w], { lr: 0.5 });
      const dropout = new Dropout(0.5, { key: new Key(4) });
      const kept: Tensor[] = [];
      let wrong = failFirst;
      const step = jit((x: Tensor) => {
        const loss = dropout.forward(w.mul(x)).square().sum();
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
        if (wrong) kept.push(loss.mul(2).keep());
        return loss;
      });
      const x = vector(device, 1, 1, 1, 1);
      if (failFirst) {
        assertThrows(() => step(x), CaptureError, "keeps a tensor");
        assertEquals([dropout.position, w.grad], [0, null]);
        assertEquals([...await w.data()], [1, 2, 3, 4]);
      }
      wrong = false;
      step(x);
      step(x);
      const { step: steps } = optimizer.stateDict().state[0];
      return [dropout.position, steps, ...await w.data()];
    };
    assertEquals(await train(true), await train(false));
  });

  Deno.test(`jit() leaves host state as it was where the function throws, ${on}`, async () => {
    const w = tensor([1, 2], { device, requiresGrad: true });
    const optimizer = new SGD([w], { lr: 0.5 });
    const dropout = new Dropout(0.5);
    const step = jit((x: Tensor) => {
      const loss = dropout.forward(w.mul(x)).sum();
      loss.backward();
      optimizer.step();
      if (x.size === 1) throw new RangeError("too small");
      return loss;
    });
    assertThrows(() => step(vector(device, 1)), RangeError, "too small");
    assertEquals([dropout.position, w.grad], [0, null]);
    assertEquals([...await w.data()], [1, 2]);
    step(vector(device, 1, 2));
    assertEquals(dropout.position, 1);
  });
}

Deno.test("jit() forgets what was not used for longest, with one warning", async () => {
  const device = referenceDevice();
  const warnings: string[] = [];
  const original = console.warn;
  console.warn = (...words: unknown[]) => warnings.push(words.join(" "));
  try {
    const step = jit((x: Tensor) => x.mul(2).cumsum(0), { maxPrograms: 2 });
    const inputs = [1, 2, 3].map((n) => tensor(Array(n).fill(1), { device }));
    const before = device.memory().liveBuffers;
    const order = [0, 1, 0, 2, 0, 1, 2];
    for (const n of order) {
      const result = step(inputs[n]);
      assertEquals((await result.data()).at(-1), 2 * (n + 1));
      result.dispose();
    }
    // 0 and 1 are captured, 2 drives out 1, which then drives out 2, which drives out 0.
    assertEquals(step.stats().captures, 5);
    assertEquals(warnings.length, 1);
    assertMatch(warnings[0], /more than 2 kinds of arguments/);
    step.reset();
    assertEquals(device.memory().liveBuffers, before);
  } finally {
    console.warn = original;
  }
});

Deno.test("jit() captures again what a state drove out, and uses no memory that was given back", async () => {
  const original = console.warn;
  console.warn = () => {};
  try {
    const w = tensor([1, 2, 3], { device: reference, requiresGrad: true });
    const step = jit((x: Tensor) => {
      const y = x.cumsum(0).cumsum(0);
      return w.requiresGrad ? y.mul(w).cumsum(0) : y.sub(w).cumsum(0);
    }, { maxPrograms: 1 });
    const other = jit((x: Tensor) => x.cumsum(0).cumsum(0).cumsum(0));
    const x = tensor([1, 1, 1], { device: reference });
    for (let turn = 0; turn < 6; turn++) {
      w.requiresGrad = turn % 2 === 0;
      const got = [...await step(x).data()];
      assertEquals(got, turn % 2 === 0 ? [1, 7, 25] : [0, 1, 4]);
      assertEquals([...await other(x).data()], [1, 4, 10]);
    }
    assertEquals(step.stats().captures, 6);
  } finally {
    console.warn = original;
  }
});

Deno.test("jit() refuses options without a meaning", () => {
  const same = (t: Tensor) => t;
  assertThrows(() => jit(same, { verify: -1 }), RangeError, "verify -1");
  assertThrows(() => jit(same, { verify: 1.5 }), RangeError, "verify 1.5");
  assertThrows(() => jit(same, { maxPrograms: 0 }), RangeError, "maxPrograms 0");
});
