import { assert, assertEquals, assertMatch, assertRejects, assertStrictEquals } from "@std/assert";
import { chooseDevice } from "../../../core/backend/choose.ts";
import { DeviceError, getDevice, setDefaultDevice, tensor } from "../../../core/mod.ts";
import { adapterNamed, gpuWith, withGpu } from "../fake_gpu.ts";

const variable = "LEGOML_DEVICE";
const hasEnv = (await Deno.permissions.query({ name: "env" })).state === "granted";

/** Runs with another value of the variable, where it can be set. */
async function withVariable<T>(value: string | undefined, fn: () => Promise<T>): Promise<T> {
  if (!hasEnv) return await fn();
  const before = Deno.env.get(variable);
  const put = (text: string | undefined) =>
    text === undefined ? Deno.env.delete(variable) : Deno.env.set(variable, text);
  put(value);
  try {
    return await fn();
  } finally {
    put(before);
  }
}

const choose = (kind: "auto" | "webgpu" | "cpu" | "reference") => async () => {
  const { kind: chosen, why } = await chooseDevice(kind);
  return [chosen, why];
};

Deno.test("without a hardware adapter the CPU is chosen, and it is said why", () =>
  withVariable(undefined, async () => {
    assertEquals(await withGpu(undefined, choose("auto")), [
      "cpu",
      "this runtime has no WebGPU (navigator.gpu)",
    ]);
    assertEquals(await withGpu(gpuWith(null), choose("auto")), [
      "cpu",
      "no WebGPU adapter was found",
    ]);
    for (
      const [adapter, name] of [
        [adapterNamed("llvmpipe (LLVM 15.0.6, 256 bits)"), "llvmpipe (LLVM 15.0.6, 256 bits)"],
        [adapterNamed("Some Card", true), "Some Card"],
      ]
    ) {
      assertEquals(await withGpu(gpuWith(adapter), choose("auto")), [
        "cpu",
        `the only adapter, ${name}, is a software one, which is slower`,
      ]);
    }
  }));

Deno.test("a hardware adapter is chosen, and asked for only once", () =>
  withVariable(undefined, async () => {
    const adapter = adapterNamed("Fast Card");
    const { kind, why, found } = await withGpu(gpuWith(adapter), () => chooseDevice("auto"));
    assertEquals([kind, why], ["webgpu", "hardware adapter"]);
    assertStrictEquals(found?.adapter, adapter);
  }));

Deno.test("a kind that is asked for is taken, whatever the adapter", () =>
  withGpu(gpuWith(adapterNamed("Fast Card")), async () => {
    for (const kind of ["webgpu", "cpu", "reference"] as const) {
      assertEquals(await choose(kind)(), [kind, "asked for"]);
    }
  }));

Deno.test({
  name: "LEGOML_DEVICE takes the place of auto, and of nothing else",
  ignore: !hasEnv,
  fn: () =>
    withGpu(gpuWith(adapterNamed("Fast Card")), async () => {
      for (const kind of ["webgpu", "cpu", "reference"] as const) {
        await withVariable(kind, async () => {
          assertEquals(await choose("auto")(), [kind, "LEGOML_DEVICE asks for it"]);
          assertEquals(await choose("reference")(), ["reference", "asked for"]);
        });
      }
      for (const value of ["", "auto"]) {
        assertEquals(await withVariable(value, choose("auto")), ["webgpu", "hardware adapter"]);
      }
      const message = 'Cannot use LEGOML_DEVICE "gpu": expected auto, webgpu, cpu or reference';
      await withVariable("gpu", async () => {
        await assertRejects(choose("auto"), RangeError, message);
        await assertRejects(() => getDevice(), RangeError, message);
      });
    }),
});

Deno.test("getDevice() without a hardware adapter opens the CPU device once, for auto and for cpu", () =>
  withVariable(undefined, async () => {
    const previous = setDefaultDevice(null);
    try {
      const device = await withGpu(gpuWith(null), () => getDevice({ threads: 1 }));
      assertMatch(
        device.choice,
        /^cpu: WebAssembly .*SIMD, 1 thread \(no WebGPU adapter was found\)$/,
      );
      assertEquals([device.kind, device.traits.software], ["cpu", true]);
      assertStrictEquals(await getDevice({ kind: "cpu" }), device);
      assertEquals(await tensor([1, 2, 3]).mul(2).sum().item(), 12);
      device.close();
      const next = await getDevice({ kind: "cpu", threads: 2 });
      assert(next !== device);
      assertMatch(next.choice, /^cpu: WebAssembly .*SIMD, 2 threads \(asked for\)$/);
      assertStrictEquals(await withGpu(gpuWith(null), () => getDevice()), next);
      next.close();
    } finally {
      setDefaultDevice(previous);
    }
  }));

Deno.test("getDevice() without an adapter says what to install, and may be tried again", async () => {
  const previous = setDefaultDevice(null);
  try {
    const webgpu = () => getDevice({ kind: "webgpu" });
    await withGpu(gpuWith(null), async () => {
      const missing = "no WebGPU adapter was found; install a Vulkan driver";
      await assertRejects(webgpu, DeviceError, missing);
      await assertRejects(webgpu, DeviceError, "mesa-vulkan-drivers");
    });
    await withGpu(
      undefined,
      () => assertRejects(webgpu, DeviceError, "this runtime has no WebGPU"),
    );
  } finally {
    setDefaultDevice(previous);
  }
});

Deno.test("getDevice() passes on what it is asked for and refuses what cannot be", async () => {
  const previous = setDefaultDevice(null);
  try {
    await assertRejects(
      () => getDevice({ kind: "cpu", threads: 0 }),
      RangeError,
      "Cannot use threads 0: expected a whole number from 1 to 256",
    );
    const device = await getDevice({ kind: "cpu", threads: 1, memoryBudget: 1000 });
    await assertRejects(
      async () => await tensor(new Float32Array(1000)).data(),
      DeviceError,
      "within the budget of 1000",
    );
    device.close();
  } finally {
    setDefaultDevice(previous);
  }
});
