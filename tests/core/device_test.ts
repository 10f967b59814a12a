import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import {
  Device,
  DeviceError,
  DeviceLostError,
  getDevice,
  GpuFaultError,
  setDefaultDevice,
  ShapeError,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { openWebGpu } from "../../core/backend/adapter.ts";
import { WebGpuBackend } from "../../core/backend/webgpu.ts";
import type { Kernel } from "../../kernels/types.ts";
import { gpu, reference } from "../util.ts";
import { devices, ownDevice } from "./devices.ts";
import { withGpu } from "./fake_gpu.ts";

const needsGpu = gpu === null;

/** A device together with the GPUDevice that it runs on. */
async function rawDevice(): Promise<{ device: Device; raw: GPUDevice }> {
  const adapter = await navigator.gpu.requestAdapter();
  const raw = await adapter!.requestDevice();
  const traits = { software: true, maxGroups: 65535, f16: false };
  return { device: new Device(new WebGpuBackend(raw, "test", traits, 2 ** 28)), raw };
}

/** A kernel that is nothing but its text. */
function handMade(key: string, code: string, rest: Partial<Kernel> = {}): Kernel {
  return {
    op: "handMade",
    key,
    params: null,
    inputs: [],
    outputs: ["f32"],
    scalars: [],
    wgsl: () => ({ code, groups: [1, 1, 1] }),
    reference: () => {},
    ...rest,
  };
}

function runInto(t: Tensor, kernel: Kernel): void {
  const operand = { buffer: t.storage.buffer, offset: 0, size: t.size };
  t.device.record({
    kernel,
    inputs: kernel.inputs.map(() => operand),
    outputs: kernel.outputs.map(() => operand),
    scalars: [],
  });
}

Deno.test("getDevice() opens a kind once and makes it the default", async () => {
  const previous = setDefaultDevice(null);
  try {
    assertThrows(
      () => tensor(1),
      DeviceError,
      "Cannot choose a device: none is open; await getDevice() first",
    );
    const first = await getDevice({ kind: "reference" });
    assertEquals(first.kind, "reference");
    assertStrictEquals(await getDevice({ kind: "reference" }), first);
    assertStrictEquals(tensor(1).device, first);
    assertEquals(await tensor([1, 2]).sum().item(), 3);
    assertStrictEquals(setDefaultDevice(reference), first);
    assertStrictEquals(tensor(1).device, reference);
    first.close();
    assert((await getDevice({ kind: "reference" })) !== first);
  } finally {
    setDefaultDevice(previous);
  }
});

Deno.test("getDevice() refuses unknown kinds and budgets", async () => {
  const kind = "gpu" as "webgpu";
  await assertRejects(
    () => getDevice({ kind }),
    RangeError,
    'Cannot get a device of kind "gpu": expected auto, webgpu, cpu or reference',
  );
  for (const memoryBudget of [0, -1, NaN]) {
    await assertRejects(
      () => getDevice({ memoryBudget }),
      RangeError,
      `Cannot get a device with memoryBudget ${memoryBudget}: expected bytes above 0`,
    );
  }
});

Deno.test({
  name: "openWebGpu() asks for the adapter's best limits",
  ignore: needsGpu,
  fn: async () => {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    let asked: GPUDeviceDescriptor | undefined;
    const watched = new Proxy(adapter!, {
      get: (target, name) => {
        if (name === "requestDevice") {
          return (options: GPUDeviceDescriptor) => target.requestDevice(asked = options);
        }
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const backend = await withGpu(
      { requestAdapter: () => Promise.resolve(watched) },
      () => openWebGpu({ memoryBudget: 2 ** 20 }),
    );
    const limits = asked!.requiredLimits as Record<string, number>;
    assertEquals(limits.maxStorageBufferBindingSize, adapter!.limits.maxStorageBufferBindingSize);
    assertEquals(limits.maxBufferSize, adapter!.limits.maxBufferSize);
    assertEquals(backend.traits.f16, adapter!.features.has("shader-f16"));
    assert(backend.name.length > 0);
    backend.close();
  },
});

Deno.test({
  name:
    "a kernel that does not compile is a GpuFaultError at the next read, with the kernel's name",
  ignore: needsGpu,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor([1, 2], { device });
    assertEquals(await x.array(), [1, 2]);
    runInto(x, handMade("broken kernel", "@compute @workgroup_size(1) fn main() { nonsense(); }"));
    const error = await assertRejects(() => x.array(), GpuFaultError, "The device reported:");
    assert(error.message.includes("nonsense"), error.message);
    assert(error.message.includes("last kernels: handMade"), error.message);
    // The first fault stays: nothing that follows can be trusted.
    await assertRejects(() => x.data(), GpuFaultError, "nonsense");
    assertThrows(() => x.add(1), GpuFaultError, "nonsense");
    await assertRejects(() => device.sync(), GpuFaultError, "nonsense");
    device.close();
  },
});

Deno.test({
  name: "a kernel that writes what it also reads is a GpuFaultError",
  ignore: needsGpu,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor([1, 2], { device });
    const code = `@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = a[0] + 1.0; }`;
    runInto(x, handMade("both", code, { inputs: ["f32"] }));
    await assertRejects(() => x.array(), GpuFaultError, "The device reported:");
    device.close();
  },
});

Deno.test({
  name: "kernels beyond the device's limits are refused before anything runs",
  ignore: needsGpu,
  fn: async () => {
    // With the limits that WebGPU promises, since adapters may have none.
    const { device } = await rawDevice();
    const x = tensor([1, 2], { device });
    const before = device.work();
    const many = handMade("many", "", { inputs: new Array(2000).fill("f32") });
    assertThrows(() => runInto(x, many), ShapeError, "Cannot run handMade over 2001 buffers");
    const wide = handMade("wide", "", { wgsl: () => ({ code: "", groups: [1, 70_000, 1] }) });
    assertThrows(() => runInto(x, wide), ShapeError, "in 1 × 70000 × 1 workgroups");
    assertEquals(device.work(), before);
    assertEquals(await x.array(), [1, 2]);
    device.close();
  },
});

Deno.test({
  name: "a destroyed device is a DeviceLostError at the next use",
  ignore: needsGpu,
  fn: async () => {
    const { device, raw } = await rawDevice();
    const x = tensor([1, 2], { device });
    assertEquals(await x.add(1).array(), [2, 3]);
    raw.destroy();
    await raw.lost;
    await assertRejects(() => x.array(), DeviceLostError, "The device was lost");
    assertThrows(() => x.mul(2), DeviceLostError, "The device was lost");
  },
});

Deno.test({
  name: "a closed device is a DeviceLostError that says so",
  ignore: needsGpu,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor([1, 2], { device });
    device.close();
    await assertRejects(() => x.array(), DeviceLostError, "Cannot use the device: it was closed");
    assertThrows(() => tensor([1], { device }), DeviceLostError, "it was closed");
    x.dispose();
  },
});

Deno.test({
  name: "work that the device drops is a GpuFaultError",
  ignore: needsGpu,
  fn: async () => {
    const { device, raw } = await rawDevice();
    const x = tensor([1, 2], { device });
    assertEquals(await x.add(1).array(), [2, 3]);
    const submit = raw.queue.submit;
    raw.queue.submit = () => {};
    const y = x.mul(2);
    device.flush();
    raw.queue.submit = submit;
    await assertRejects(
      () => y.data(),
      GpuFaultError,
      "The device dropped work: 2 submissions were made, 1 ran",
    );
    assertThrows(() => x.add(1), GpuFaultError, "dropped work");
    device.close();
  },
});

Deno.test({
  name: "reads that start together share one wait",
  ignore: needsGpu,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor([1, 2, 3], { device });
    const before = device.work();
    const values = await Promise.all([
      x.sum().item(),
      x.data(),
      x.mul(2).array(),
      x.gt(1).data(),
      x.to("i32").data(),
      device.sync(),
      x.max().item(),
    ]);
    assertEquals(values.slice(0, 3), [6, new Float32Array([1, 2, 3]), [2, 4, 6]]);
    assertEquals(values.slice(3), [
      new Uint8Array([0, 1, 1]),
      new Int32Array([1, 2, 3]),
      undefined,
      3,
    ]);
    const after = device.work();
    assertEquals([after.reads - before.reads, after.submits - before.submits], [1, 1]);
    await x.data();
    await x.data();
    assertEquals(device.work().reads - after.reads, 2);
    device.close();
  },
});

Deno.test({
  name: "kernel calls wait for a read, and go out in parts of 64 on hardware, of 1,024 on software",
  ignore: needsGpu,
  fn: async () => {
    for (const [software, most] of [[false, 64], [true, 1024]] as const) {
      const device = await ownDevice({ traits: { software } });
      let x = tensor([0], { device });
      const counts: number[] = [];
      for (let i = 1; i <= 2 * most + 2; i++) {
        x = x.add(i);
        if ([1, most - 1, most, 2 * most - 1, 2 * most + 2].includes(i)) {
          counts.push(device.work().submits);
        }
      }
      assertEquals(counts, [0, 0, 1, 1, 2]);
      // Each call had a number of its own, also behind the end of a part.
      assertEquals(await x.item(), (2 * most + 2) * (2 * most + 3) / 2);
      assertEquals([device.work().submits, device.work().dispatches], [3, 2 * most + 2]);
      device.close();
    }
  },
});

Deno.test({
  name: "numbers in formulas are read at run time: other numbers need no other kernels",
  ignore: needsGpu,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor([1, 2, 3], { device });
    const first = x.mul(2).add(1);
    const { pipelines } = device.work();
    const more = [3, 0.5, -7, NaN, Infinity].map((n) => x.mul(n).add(n));
    assertEquals(device.work().pipelines, pipelines);
    assertEquals(await first.array(), [3, 5, 7]);
    assertEquals(await Promise.all(more.map((t) => t.array())), [
      [6, 9, 12],
      [1, 1.5, 2],
      [-14, -21, -28],
      [NaN, NaN, NaN],
      [Infinity, Infinity, Infinity],
    ]);
    device.close();
  },
});

Deno.test({
  name:
    "work() counts dispatches, buffers and bind groups, and repeated work makes none of the last two",
  ignore: needsGpu,
  fn: async () => {
    const device = await ownDevice();
    const x = tensor([1, 2, 3, 4], { device });
    const step = () => {
      using _ = device.scope();
      x.mul(2).exp().sum();
    };
    for (let i = 0; i < 4; i++) step();
    const before = device.work();
    for (let i = 0; i < 4; i++) step();
    const after = device.work();
    assertEquals(after.dispatches - before.dispatches, 12);
    assertEquals([after.buffers, after.bindGroups, after.pipelines], [
      before.buffers,
      before.bindGroups,
      before.pipelines,
    ]);
    await device.sync();
    device.close();
  },
});

for (const device of devices) {
  Deno.test(`writes from the host keep their place among kernel calls, ${device.kind}`, async () => {
    const x = tensor([1, 2, 3], { device });
    const host = device.kind === "reference" ? Float64Array : Float32Array;
    const before = x.mul(10);
    device.backend.write(x.storage.buffer, 0, "f32", new host([4, 5, 6]));
    const after = x.mul(10);
    device.backend.write(x.storage.buffer, 1, "f32", new host([7]));
    const got = await Promise.all([before.array(), after.array(), x.array()]);
    assertEquals(got, [[10, 20, 30], [40, 50, 60], [4, 7, 6]]);
  });

  Deno.test(`intercept() sends kernel calls elsewhere until it ends, ${device.kind}`, async () => {
    const x = tensor([1, 2], { device });
    const ops: string[] = [];
    const end = device.intercept({ record: (call) => ops.push(call.kernel.op) });
    const { dispatches } = device.work();
    x.add(1).sum();
    assertEquals([ops, device.work().dispatches], [["map", "reduce"], dispatches]);
    end();
    assertEquals(await x.add(1).sum().item(), 5);
  });
}

Deno.test({
  name: "two devices work side by side",
  ignore: needsGpu,
  fn: async () => {
    const [a, b] = await Promise.all([ownDevice(), ownDevice()]);
    const [x, y] = [a, b].map((device, i) => tensor([1, 2, 3], { device }).mul(i + 2).sum());
    assertEquals(await Promise.all([x.item(), y.item()]), [12, 18]);
    a.close();
    assertEquals(await y.mul(2).item(), 36);
    b.close();
  },
});
