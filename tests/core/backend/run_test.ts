import { assert, assertEquals } from "@std/assert";
import { type Device, tensor, zeros } from "../../../core/mod.ts";
import type { Kernel, KernelCall, Operand } from "../../../kernels/types.ts";
import { gpu } from "../../util.ts";
import { backendOf, slowKernel, tunedDevice } from "./fixtures.ts";
import type { PoolBuffer } from "../../../core/backend/pool.ts";

type Call = KernelCall<PoolBuffer>;
type Moving = { buffer: PoolBuffer; offset: number; size: number };

/** What captured steps replay: the calls of a function, kept instead of run. */
function callsOf(device: Device, fn: () => void): Call[] {
  const calls: Call[] = [];
  const end = device.intercept({ record: (call) => calls.push(call as Call) });
  fn();
  end();
  return calls;
}

const needsGpu = gpu === null;

Deno.test({
  name: "run() of the same calls again makes nothing and gives the same results",
  ignore: needsGpu,
  fn: async () => {
    const device = await tunedDevice(null);
    const x = tensor([1, 2, 3], { device });
    const y = zeros([3], { device });
    await device.sync();
    const calls = callsOf(device, () => {
      y.add_(x.mul(2));
      y.copy_(y.mul(0.5));
    });
    const expected = [0, 0, 0];
    for (let round = 0; round < 5; round++) {
      const before = device.work();
      for (const call of calls) backendOf(device).run(call);
      expected.forEach((v, i) => expected[i] = (v + 2 * (i + 1)) / 2);
      assertEquals(await y.array(), expected);
      const { bindGroups, buffers, pipelines } = device.work();
      if (round === 0) continue;
      assertEquals([bindGroups, buffers, pipelines], [
        before.bindGroups,
        before.buffers,
        before.pipelines,
      ]);
    }
    device.close();
  },
});

Deno.test({
  name: "run() sees that operands of a call it knows have moved, or that it has another kernel",
  ignore: needsGpu,
  fn: async () => {
    const device = await tunedDevice(null);
    const inputs = [0, 1, 2].map((k) =>
      tensor(Float32Array.from({ length: 128 }, (_, i) => 1000 * k + i), { device })
    );
    const results = [0, 1].map(() => zeros([64], { device }));
    const bufferOf = (t: typeof inputs[number]) => t.storage.buffer as PoolBuffer;
    const from: Moving = { buffer: bufferOf(inputs[0]), offset: 0, size: 64 };
    const to: Moving = { buffer: bufferOf(results[0]), offset: 0, size: 64 };
    const one = slowKernel("one turn", 64, 1);
    const two: Kernel = {
      ...slowKernel("two turns", 64, 2),
      wgsl: (traits) => {
        const { code, groups } = one.wgsl(traits);
        return { code: code.replace("select(1.0,", "select(7.0,"), groups };
      },
    };
    const call: { -readonly [K in keyof Call]: Call[K] } = {
      kernel: one,
      inputs: [from as Operand<PoolBuffer>],
      outputs: [to as Operand<PoolBuffer>],
      scalars: [],
    };
    for (let round = 0; round < 12; round++) {
      const [k, offset, r] = [round % 3, round % 2 * 64, (round >> 2) % 2];
      from.buffer = bufferOf(inputs[k]);
      from.offset = offset;
      to.buffer = bufferOf(results[r]);
      call.kernel = round % 5 === 4 ? two : one;
      // Twice, so that the call is known when it moves.
      backendOf(device).run(call);
      backendOf(device).run(call);
      const data = await results[r].data();
      const added = call.kernel === two ? 7 : 1;
      assert(data.every((v, i) => v === 1000 * k + offset + i + added), `round ${round}`);
    }
    device.close();
  },
});

Deno.test({
  name: "run() of known calls goes on after bind groups were dropped",
  ignore: needsGpu,
  fn: async () => {
    const device = await tunedDevice(null);
    const y = tensor(new Float32Array(1024), { device });
    const one = tensor(1, { device });
    const calls = callsOf(device, () => y.add_(one));
    for (let run = 0; run < 3; run++) backendOf(device).run(calls[0]);
    assertEquals((await y.data())[1023], 3);
    const { bindGroups } = device.work();
    // More than the budget of 256 MiB, so that pooled buffers are destroyed and bind groups with them.
    for (const mib of [100, 110, 120]) zeros([mib * 2 ** 18], { device }).dispose();
    backendOf(device).run(calls[0]);
    assertEquals((await y.data())[1023], 4);
    assert(device.work().bindGroups > bindGroups);
    device.close();
  },
});

Deno.test({
  name: "run() gives a read that was asked for before what was there then",
  ignore: needsGpu,
  fn: async () => {
    const device = await tunedDevice(null);
    const y = tensor([1, 2], { device });
    const one = tensor(1, { device });
    const [call] = callsOf(device, () => y.add_(one));
    const reads: Promise<ArrayLike<number>>[] = [];
    for (let round = 0; round < 4; round++) {
      reads.push(y.data());
      backendOf(device).run(call);
    }
    assertEquals((await Promise.all(reads)).map((data) => [...Array.from(data)]), [
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
    ]);
    device.close();
  },
});
