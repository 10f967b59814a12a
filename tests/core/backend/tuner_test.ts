import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Device, startProfile, tensor, zeros } from "../../../core/mod.ts";
import { TuneStore, tuneStoreFor } from "../../../core/backend/tune_store.ts";
import type { TunerLimits } from "../../../core/backend/tuner.ts";
import type { Kernel } from "../../../kernels/types.ts";
import {
  backendOf,
  canTime,
  increment,
  plainDevice,
  runKernel,
  slowKernel,
  tunedDevice,
} from "./fixtures.ts";
import { stderrOf } from "./stderr.ts";

const COUNT = 4096;
/** Enough for everything at once. */
const generous: Partial<TunerLimits> = { initialMs: 60_000, perReadMs: 60_000 };

/** A kernel with a variant for each entry, which takes so many turns; `built` tells which were asked for. */
function variantKernel(key: string, turns: Record<string, number>) {
  const built: string[] = [];
  const names = Object.keys(turns);
  const kernel: Kernel = {
    op: "fake",
    key,
    params: null,
    inputs: ["f32"],
    outputs: ["f32"],
    scalars: [],
    variants: () => names,
    wgsl: (_, variant = names[0]) => {
      built.push(variant);
      return { code: increment(COUNT, turns[variant]), groups: [COUNT / 64, 1, 1] };
    },
    reference: () => {},
  };
  return { kernel, built };
}

/** Runs a kernel and reads its result until nothing is left to measure, ten times at most. */
async function runUntilTuned(device: Device, kernel: Kernel): Promise<void> {
  const x = tensor(Float32Array.from({ length: COUNT }, (_, i) => i % 7), { device });
  const y = zeros([COUNT], { device });
  for (let round = 0; round < 10 && (round === 0 || backendOf(device).tuning > 0); round++) {
    for (let call = 0; call < 3; call++) runKernel(kernel, x, y);
    const data = await y.data();
    assert(data.every((v, i) => v === i % 7 + 1));
  }
}

Deno.test({
  name: "Tuner replaces the rule's variant by a faster one, and another device begins with that",
  ignore: !canTime,
  fn: async () => {
    const store = new TuneStore("test adapter", null);
    const { kernel, built } = variantKernel("slow first", { slow: 4000, slower: 8000, fast: 1 });
    const device = await tunedDevice({ store, limits: generous });
    await runUntilTuned(device, kernel);
    assertEquals(backendOf(device).tuning, 0);
    assertEquals(store.get(kernel.key)?.variant, "fast");
    assertEquals([...new Set(built)].sort(), ["fast", "slow", "slower"]);
    const x = tensor(new Float32Array(COUNT).fill(3), { device });
    const y = zeros([COUNT], { device });
    runKernel(kernel, x, y);
    await device.sync();
    const { bindGroups } = device.work();
    const session = startProfile({ device });
    const asSlow = slowKernel("as slow", COUNT, 4000);
    for (let call = 0; call < 5; call++) {
      runKernel(kernel, x, y);
      runKernel(asSlow, x, y);
    }
    const { rows } = await session.stop();
    assertEquals((await y.data())[17], 4);
    const [fast, slow] = ["fake", "slow [4096]"].map((name) =>
      rows.find((r) => r.kernel === name)!
    );
    assert(fast.meanUs! * 5 < slow.meanUs!, `${fast.meanUs} and ${slow.meanUs} µs`);
    // Bind groups serve all variants; the one more is that of the other kernel.
    assertEquals(device.work().bindGroups, bindGroups + 1);
    device.close();

    built.length = 0;
    const next = await tunedDevice({ store, limits: generous });
    await runUntilTuned(next, kernel);
    assertEquals(built, ["fast"]);
    next.close();
  },
});

Deno.test({
  name: "Tuner keeps the rule's variant where the others are slower, and remembers that",
  ignore: !canTime,
  fn: async () => {
    const store = new TuneStore("test adapter", null);
    const { kernel } = variantKernel("fast first", { fast: 400, slow: 4000 });
    const device = await tunedDevice({ store, limits: generous });
    await runUntilTuned(device, kernel);
    assertEquals([store.get(kernel.key)?.variant, backendOf(device).tuning], ["fast", 0]);
    device.close();
  },
});

Deno.test({
  name: "Tuner runs variants on memory of its own",
  ignore: !canTime,
  fn: async () => {
    const code = (turns: number) =>
      `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
struct Scalars { s0: u32, s1: f32 }
@group(0) @binding(1) var<uniform> u: Scalars;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var s = y[id.x];
  for (var k = 0u; k < ${turns}u; k++) { s = s * 0.5 + y[(id.x + k) % 4096u]; }
  y[id.x] += f32(u.s0) * u.s1 + select(0.0, 1.0, s == 12345.5);
}`;
    const kernel: Kernel = {
      op: "fake",
      key: "in place",
      params: null,
      inputs: [],
      outputs: ["f32"],
      scalars: ["u32", "f32"],
      variants: () => ["slow", "fast"],
      wgsl: (_, variant) => ({
        code: code(variant === "fast" ? 1 : 2000),
        groups: [COUNT / 64, 1, 1],
      }),
      reference: () => {},
    };
    const store = new TuneStore("test adapter", null);
    const device = await tunedDevice({ store, limits: generous });
    const y = zeros([COUNT], { device });
    const output = { buffer: y.storage.buffer, offset: 0, size: COUNT };
    let runs = 0;
    for (let round = 0; round < 6; round++) {
      for (let call = 0; call < 4; call++, runs++) {
        device.record({ kernel, inputs: [], outputs: [output], scalars: [3, 0.5] });
      }
      const data = await y.data();
      assert(data.every((v) => v === runs * 1.5));
    }
    assertEquals([backendOf(device).tuning, store.get("in place")?.variant], [0, "fast"]);
    // Its buffers and submissions are not those of the program.
    assertEquals([device.work().buffers, device.work().dispatches], [1, 1 + runs]);
    device.close();
  },
});

Deno.test({
  name: "Tuner waits until its share of the time has grown, and for kernels that come again",
  ignore: !canTime,
  fn: async () => {
    const { kernel, built } = variantKernel("no time", { slow: 400, fast: 1 });
    const store = new TuneStore("test adapter", null);
    const broke = await tunedDevice({ store, limits: { initialMs: 0, share: 0 } });
    await runUntilTuned(broke, kernel);
    assertEquals([backendOf(broke).tuning, built], [1, ["slow"]]);
    broke.close();
    const rare = await tunedDevice({ store, limits: { ...generous, minCalls: 100 } });
    await runUntilTuned(rare, kernel);
    assertEquals([backendOf(rare).tuning, built], [1, ["slow", "slow"]]);
    rare.close();
  },
});

Deno.test({
  name: "Tuner leaves a variant out that does not compile, and the device stays sound",
  ignore: !canTime,
  fn: async () => {
    const { kernel } = variantKernel("broken variant", { slow: 4000, fast: 1 });
    const wgsl: Kernel["wgsl"] = (traits, variant) =>
      variant === "fast"
        ? { code: "@compute @workgroup_size(1) fn main() { nonsense(); }", groups: [1, 1, 1] }
        : kernel.wgsl(traits, variant);
    const store = new TuneStore("test adapter", null);
    const device = await tunedDevice({ store, limits: generous });
    const text = await stderrOf(() => runUntilTuned(device, { ...kernel, wgsl }));
    assertStringIncludes(text, "legoml: fake cannot be measured: ");
    assertStringIncludes(text, "nonsense");
    assertEquals([backendOf(device).tuning, store.get(kernel.key)], [0, undefined]);
    assertEquals(await tensor([1, 2], { device }).add(1).array(), [2, 3]);
    device.close();
  },
});

Deno.test({
  name: "Tuner measures nothing where the device has no timestamps",
  ignore: !canTime,
  fn: async () => {
    const { kernel, built } = variantKernel("no clock", { slow: 400, fast: 1 });
    const store = new TuneStore("test adapter", null);
    const device = await plainDevice({ store, limits: generous });
    await runUntilTuned(device, kernel);
    assertEquals([backendOf(device).tuning, built], [0, ["slow"]]);
    device.close();
  },
});

Deno.test({
  name: "a remembered variant counts only as long as its shader is the same",
  ignore: !canTime,
  fn: async () => {
    const store = new TuneStore("test adapter", null);
    store.set("changed", { variant: "fast", code: "0123456789abcdef" });
    store.set("gone", { variant: "vanished", code: "0123456789abcdef" });
    const device = await tunedDevice({ store });
    for (const key of ["changed", "gone"]) {
      const { kernel, built } = variantKernel(key, { slow: 400, fast: 1 });
      const x = zeros([COUNT], { device });
      runKernel(kernel, x, zeros([COUNT], { device }));
      assertEquals(built.at(-1), "slow");
    }
    assertEquals(backendOf(device).tuning, 2);
    await device.sync();
    device.close();
  },
});

const canEnv = (await Deno.permissions.query({ name: "env" })).state === "granted";

Deno.test({
  name: "LEGOML_TUNE=0 turns measuring off",
  ignore: !canEnv,
  fn: () => {
    const before = Deno.env.get("LEGOML_TUNE");
    try {
      Deno.env.set("LEGOML_TUNE", "0");
      assertEquals(tuneStoreFor("some adapter"), null);
      Deno.env.delete("LEGOML_TUNE");
      const store = tuneStoreFor("some adapter");
      assert(store !== null && tuneStoreFor("some adapter") === store);
      assert(tuneStoreFor("another adapter") !== store);
    } finally {
      if (before !== undefined) Deno.env.set("LEGOML_TUNE", before);
    }
  },
});
