import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Context, type Device, Engine, tensor } from "../../core/mod.ts";
import { ProfilerCallback, type ProfilerOptions } from "../../track/mod.ts";
import { devices } from "../core/devices.ts";
import { reference } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";

/** Profiles a training of ten steps whose n-th step runs n kernels. */
async function train(
  device: Device,
  options: ProfilerOptions,
  step: (n: number) => void = () => {},
): Promise<{ profiler: ProfilerCallback; printed: string[] }> {
  const printed: string[] = [];
  const x = tensor([1, 2], { device });
  const profiler = new ProfilerCallback({ write: (text) => void printed.push(text), ...options });
  const engine = new Engine(
    (_engine, n: number) => {
      for (let call = 0; call < n; call++) x.add(call);
      step(n);
      return {};
    },
    new Context({ model: null, device }),
    { callbacks: [profiler] },
  );
  try {
    await engine.loop([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], { maxEpochs: 1 });
  } finally {
    x.dispose();
  }
  return { profiler, printed };
}

for (const device of devices) {
  Deno.test(`ProfilerCallback profiles the steps asked for and no others, ${device.kind}`, async () => {
    const files = new MemoryFiles();
    const options: ProfilerOptions = { steps: [4, 3], traceFile: "/trace.json", files };
    const { profiler, printed } = await train(device, options);
    const report = profiler.report!;
    assertEquals([report.steps, report.dispatches], [3, 4 + 5 + 6]);
    assertEquals(report.rows.map((row) => [row.kernel, row.calls]), [["map add [2]", 15]]);
    assertEquals(printed, [report.table()]);
    assertStringIncludes(printed[0], `3 steps on ${device.name}: 15 dispatches`);
    // The host was timed in the third step, before the profile.
    assertEquals(printed[0].includes("profiler's own work"), false);
    const { traceEvents } = JSON.parse(files.text("/trace.json"));
    const labels = traceEvents.filter(({ name, pid }: { name: string; pid: number }) =>
      name === "map add [2]" && pid === 1
    );
    assertEquals(labels.length, 15);
    assertEquals([...files.files.keys()], ["/trace.json"]);
  });
}

Deno.test("ProfilerCallback profiles the first step too, with the host as it then is", async () => {
  const { profiler, printed } = await train(reference, { steps: [1, 1] });
  assertEquals(profiler.report?.dispatches, 1);
  assertStringIncludes(printed[0], "(with the profiler's own work)");
});

Deno.test("ProfilerCallback reports what there was where the training ends before", async () => {
  const { profiler, printed } = await train(reference, { steps: [9, 100] });
  assertEquals([profiler.report?.steps, profiler.report?.dispatches], [2, 19]);
  assertEquals(printed.length, 1);
  const never = await train(reference, { steps: [11, 1] });
  assertEquals([never.profiler.report, never.printed], [null, []]);
});

Deno.test("ProfilerCallback leaves the device as it was where a step throws", async () => {
  const failing = train(reference, { steps: [2, 5] }, (n) => {
    if (n === 4) throw new Error("bad batch");
  });
  await assertRejects(() => failing, Error, "bad batch");
  const { profiler } = await train(reference, { steps: [2, 1] });
  assertEquals(profiler.report?.dispatches, 2);
  assert(!Object.hasOwn(reference.backend, "run"));
});

Deno.test("ProfilerCallback refuses steps that are none", () => {
  for (const steps of [[0, 1], [1, 0], [1.5, 2], [1, NaN]] as const) {
    assertThrows(
      () => new ProfilerCallback({ steps }),
      RangeError,
      `Cannot profile steps: expected two whole numbers from 1, found [${steps.join(", ")}]`,
    );
  }
});
