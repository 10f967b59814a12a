import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Adam,
  crossEntropy,
  type Device,
  jit,
  type JitOptions,
  noGrad,
  ReplayMismatchError,
  seedScope,
  setDefaultDevice,
  SGD,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import { devices } from "../devices.ts";
import { randomValues } from "../../util.ts";
import { subjects } from "./training.ts";

/** Steps of a small CNN with dropout and Adam; what they leave. */
async function train(device: Device, options: JitOptions | null): Promise<number[]> {
  const previous = setDefaultDevice(device);
  using _seed = seedScope(5);
  using _ = device.scope();
  const model = subjects.cnn.make();
  const optimizer = new Adam(model.parameters(), { lr: 0.01 });
  const body = (inputs: Tensor, targets: Tensor) => {
    const loss = crossEntropy(model.forward(inputs), targets);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  };
  const captured = options && jit(body, options);
  const losses: number[] = [];
  for (let turn = 0; turn < 6; turn++) {
    optimizer.lr = 0.01 / (turn + 1);
    const loss = (captured ?? body)(...subjects.cnn.batch(device, 5, turn));
    losses.push((await loss.data())[0]);
  }
  await captured?.verified();
  const state = Object.values(model.stateDict());
  const values = await Promise.all(state.map((t) => t.data()));
  setDefaultDevice(previous);
  return [...losses, ...values.flatMap((v) => [...v])];
}

for (const device of devices) {
  const on = `on ${device.kind}`;

  Deno.test(`jit() with verify trains to the bits of a plain training, ${on}`, async () => {
    const want = await train(device, null);
    assertEquals(await train(device, { verify: 3 }), want);
    assertEquals(await train(device, { verify: 100 }), want);
  });

  Deno.test(`jit() with verify finds a number that capture has frozen, ${on}`, async () => {
    const w = tensor([1, 2, 3], { device, requiresGrad: true });
    const other = tensor([5], { device, requiresGrad: true });
    const optimizer = new SGD([other, w], { lr: 0.1 });
    let factor = 1;
    const step = jit((x: Tensor) => {
      const loss = w.mul(x).mul(factor).sum().add(other.sum());
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss;
    }, { verify: 2 });
    const x = tensor([1, 1, 1], { device });
    step(x);
    factor = 2;
    step(x);
    const error = await assertRejects(() => step.verified(), ReplayMismatchError);
    assert(/parameter 1 \(shape \[3\]\), element 0/.test(error.message), error.message);
    assert(/op by op/.test(error.message), error.message);
    assertThrows(() => step(x), ReplayMismatchError);
  });

  Deno.test(`jit() with verify compares what is returned, ${on}`, async () => {
    let factor = 1;
    const step = jit((x: Tensor) => [x.mul(2), x.mul(factor)], { verify: 2 });
    const x = tensor([1, 4], { device });
    step(x);
    factor = 3;
    const [, second] = step(x);
    assertEquals([...await second.data()], [1, 4]);
    const error = await assertRejects(() => step.verified(), ReplayMismatchError, "result 1");
    assert(/element 0 is 1 after a replay and 3/.test(error.message), error.message);
  });

  Deno.test(`jit() with verify takes a step that is right, ${on}`, async () => {
    const state = tensor(randomValues(40, 3), { device, shape: [5, 8] });
    const step = jit((x: Tensor) => {
      state.add_(x.mul(state).sum(0, { keepdim: true }), 0.1);
      return state.mul(x);
    }, { verify: 2 });
    for (let turn = 0; turn < 4; turn++) {
      step(tensor(randomValues(40, 10 + turn), { device, shape: [5, 8] }));
    }
    await step.verified();
    assertEquals(step.stats().captures, 1);
  });

  Deno.test(`jit() with verify takes every NaN for the same, ${on}`, async () => {
    const w = tensor([1, 2], { device, requiresGrad: true });
    const step = jit((x: Tensor) => {
      w.grad = null;
      w.mul(x).sum().backward();
      return w.grad!;
    }, { verify: 2 });
    // A signalling NaN, which a multiplication by 1 changes and a copy does not.
    const bits = Uint32Array.of(0x7f800001, 0x40000000);
    for (let turn = 0; turn < 3; turn++) {
      const gradient = await step(tensor(new Float32Array(bits.buffer), { device })).data();
      assertEquals([...gradient], [NaN, 2]);
    }
    await step.verified();
  });

  Deno.test(`jit() with verify adds gradients up as without, ${on}`, async () => {
    const sums: number[][] = [];
    for (const options of [null, {}, { verify: 9 }]) {
      const w = tensor([1, 2], { device, requiresGrad: true });
      const body = (x: Tensor) => {
        const loss = w.mul(x).square().sum();
        loss.backward();
        return loss;
      };
      const step = options === null ? body : jit(body, options);
      for (let turn = 0; turn < 5; turn++) step(tensor([turn, 1], { device }));
      if (options !== null) await (step as ReturnType<typeof jit>).verified();
      sums.push([...await w.grad!.data()]);
    }
    assertEquals(sums[1], sums[0]);
    assertEquals(sums[2], sums[0]);
  });

  Deno.test(`jit() with verify changes an argument once, ${on}`, async () => {
    const step = jit((x: Tensor) => noGrad(() => x.add_(x.mul(2)).sum()), { verify: 5 });
    const x = tensor([1, 2], { device });
    for (const want of [9, 27, 81]) assertEquals(await step(x).item(), want);
    await step.verified();
  });
}
