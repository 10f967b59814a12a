import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type Device,
  type DispatchRecord,
  profile,
  type ProfileData,
  ProfileReport,
  startProfile,
  tensor,
  zeros,
} from "../../core/mod.ts";
import { gpu, reference } from "../util.ts";
import { canTime, plainDevice, runKernel, slowKernel, tunedDevice } from "./backend/fixtures.ts";
import { devices } from "./devices.ts";

const needsGpu = gpu === null;

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
}

const eventsOf = (report: ProfileReport): TraceEvent[] =>
  JSON.parse(report.chromeTrace()).traceEvents;

for (const device of devices) {
  Deno.test(`profile() counts the kernels of its steps by label, ${device.kind}`, async () => {
    const x = tensor([[1, 2, 3], [4, 5, 6]], { device });
    const w = tensor([[1, 0], [0, 1], [1, 1]], { device });
    const calls: number[] = [];
    const values: number[] = [];
    const report = await profile(async (step) => {
      using _ = device.scope();
      calls.push(step);
      values.push(await x.matmul(w).mul(2).add(1).sum().item());
    }, { device, steps: 4, warmup: 2 });
    assertEquals(calls, [0, 1, 2, 3, 4, 5]);
    // Profiled or not: x·w = [[4, 5], [10, 11]].
    assertEquals(values, [64, 64, 64, 64, 64, 64]);
    const counts = new Map(report.rows.map((row) => [row.kernel, row.calls]));
    assertEquals(counts.get("matmul 2×3×2"), 4);
    assertEquals(report.dispatches, [...counts.values()].reduce((a, b) => a + b));
    assertEquals([report.steps, report.device], [4, device.name]);
    assert(report.hostUsPerDispatch > 0 && report.wallMs > 0);
  });
}

Deno.test({
  name: "profile() times kernels on the device: rates, shares and order agree with the times",
  ignore: !canTime,
  fn: async () => {
    const device = await tunedDevice(null);
    const x = tensor(new Float32Array(4096).fill(1), { device });
    const y = zeros([4096], { device });
    const fast = slowKernel("fast", 4096, 1);
    const slow = { ...slowKernel("slow", 4096, 8000), op: "slower" };
    const report = await profile(() => {
      runKernel(slow, x, y);
      for (let call = 0; call < 3; call++) runKernel(fast, x, y);
    }, { device, steps: 5 });
    assertEquals(report.rows.map((row) => [row.kernel, row.calls]), [
      ["slower [4096]", 5],
      ["slow [4096]", 15],
    ]);
    const [long, short] = report.rows;
    assert(long.meanUs! > 5 * short.meanUs!, `${long.meanUs} and ${short.meanUs} µs`);
    assertEquals(long.meanUs, long.totalMs! * 1000 / 5);
    assertEquals(Math.abs(long.share! + short.share! - 1) < 1e-12, true);
    assert(Math.abs(long.share! * report.deviceMs! - long.totalMs!) < 1e-9);
    // 2 × 4096 × 8000 operations and 32 KiB a call.
    const perSecond = 5 / (long.totalMs! / 1000);
    assert(Math.abs(long.gflops! / (65_536_000 * perSecond / 1e9) - 1) < 1e-9);
    assert(Math.abs(long.gbps! / (32_768 * perSecond / 1e9) - 1) < 1e-9);
    // Kernels run one after the other, within the time that the host waited for them.
    assert(report.deviceMs! <= report.wallMs, `${report.deviceMs} of ${report.wallMs} ms`);
    const kernels = eventsOf(report).filter(({ ph, pid }) => ph === "X" && pid === 2);
    assertEquals(kernels.length, 20);
    kernels.slice(1).forEach(({ ts }, i) => assert(ts >= kernels[i].ts));
    device.close();
  },
});

Deno.test({
  name: "profile() times every call of steps with more calls than one submission takes",
  ignore: !canTime,
  fn: async () => {
    const device = await tunedDevice(null);
    const y = zeros([64], { device });
    const one = tensor(1, { device });
    const report = await profile(() => {
      for (let call = 0; call < 1500; call++) y.add_(one);
    }, { device, steps: 2, warmup: 1 });
    assertEquals((await y.data())[63], 4500);
    assertEquals([report.dispatches, report.rows.length], [3000, 1]);
    const kernels = eventsOf(report).filter(({ ph, pid }) => ph === "X" && pid === 2);
    assertEquals(kernels.length, 3000);
    assert(kernels.every(({ dur }) => dur > 0));
    const submits = eventsOf(report).filter(({ name, ph }) => ph === "X" && name === "submit");
    assertEquals(submits.length, device.traits.software ? 4 : 48);
    device.close();
  },
});

Deno.test({
  name: "profile() says in a sentence that an adapter has no timestamps",
  ignore: needsGpu,
  fn: async () => {
    const device = await plainDevice();
    const x = tensor([1, 2], { device });
    const report = await profile(() => x.add(1).dispose(), { device, steps: 3 });
    assertStringIncludes(report.untimed!, "this adapter has no timestamp queries");
    const row = {
      kernel: "map add [2]",
      calls: 3,
      totalMs: null,
      meanUs: null,
      share: null,
      gflops: null,
      gbps: null,
    };
    assertEquals([report.rows, report.deviceMs], [[row], null]);
    assertStringIncludes(report.table(), "Not timed: this adapter has no timestamp queries");
    assertEquals(eventsOf(report).filter(({ ph, pid }) => ph === "X" && pid === 2), []);
    device.close();
  },
});

Deno.test({
  name: "startProfile() leaves the device as it was once it is stopped",
  ignore: needsGpu,
  fn: async () => {
    const device = await tunedDevice(null);
    const x = tensor([1, 2], { device });
    const first = startProfile({ device });
    assertThrows(() => startProfile({ device }), Error, "one of this device is running");
    x.add(1);
    const report = await first.stop();
    assertEquals(report.dispatches, 1);
    await assertRejects(() => first.stop(), Error, "it was stopped before");
    x.add(1);
    const second = startProfile({ device });
    assertEquals((await second.stop()).dispatches, 0);
    const failing = () => {
      x.add(1);
      throw new TypeError("no such batch");
    };
    await assertRejects(() => profile(failing, { device, warmup: 0 }), TypeError, "no such batch");
    assertEquals((await profile(() => x.add(1), { device, steps: 1 })).dispatches, 1);
    device.close();
  },
});

Deno.test("profile() refuses numbers of steps that are none", async () => {
  for (const options of [{ steps: 0 }, { steps: 1.5 }, { warmup: -1 }, { steps: NaN }]) {
    await assertRejects(
      () => profile(() => {}, { device: reference, ...options }),
      RangeError,
      "Cannot profile: expected steps to be a whole number from 1",
    );
  }
});

Deno.test("a reference device runs as before once it was profiled", async () => {
  const { run } = reference.backend;
  const session = startProfile({ device: reference });
  assertThrows(() => startProfile({ device: reference }), Error, "one of this device is running");
  tensor([1, 2], { device: reference }).exp();
  const report = await session.stop();
  await assertRejects(() => session.stop(), Error, "it was stopped before");
  assertEquals([report.dispatches, report.rows[0].calls], [1, 1]);
  assert(report.rows[0].totalMs! > 0);
  assert(reference.backend.run === run);
  assertEquals(Object.hasOwn(reference.backend, "run"), false);
});

/** Two kernels with times that were made up. */
function invented(device: Device): ProfileData {
  const kernels: DispatchRecord["kernel"][] = [];
  const end = device.intercept({ record: ({ kernel }) => kernels.push(kernel) });
  zeros([10, 20], { device }).matmul(zeros([20, 30], { device }));
  tensor([1, 2, 3, 4], { device }).relu();
  end();
  const [matmul, relu] = [kernels.find((k) => k.op === "matmul")!, kernels.at(-1)!];
  const record = (kernel: DispatchRecord["kernel"], at: number, duration: number) => ({
    kernel,
    bytes: 1000,
    host: { start: 100 + at, end: 100.5 + at },
    start: 1000 * at,
    duration,
  });
  return {
    device: "test device",
    untimed: null,
    steps: 2,
    wallMs: 12.34,
    hostUsPerDispatch: 3.456,
    hostWhileProfiling: false,
    dispatches: [record(relu, 0, 10), record(matmul, 1, 20), record(matmul, 2, 40)],
    submits: [{ start: 101, end: 102 }],
    waits: [{ start: 103, end: 110 }],
  };
}

Deno.test("ProfileReport.table() prints rows by their time, aligned", () => {
  const report = new ProfileReport(invented(reference));
  // 12,000 operations a product in 20 and 40 µs; 1,000 bytes a call.
  assertEquals(
    report.table(),
    `2 steps on test device: 3 dispatches, 1 submission
kernels 0.070 ms, wall 12.3 ms, host 3.46 µs a dispatch

kernel           calls  total ms  mean µs   share  GFLOP/s   GB/s
matmul 10×20×30      2     0.060     30.0  85.7 %    0.400  0.033
map relu [4]         1     0.010     10.0  14.3 %        –  0.100`,
  );
  assertStringIncludes(report.table(1), "2 more      3     0.070     23.3  100.0 %");
  assertThrows(() => report.table(0), RangeError, "expected 1 row or more, found 0");
});

Deno.test("ProfileReport.chromeTrace() puts host and device side by side in µs", () => {
  const events = eventsOf(new ProfileReport(invented(reference)));
  const spans = events.filter(({ ph }) => ph === "X")
    .map(({ name, pid, tid, ts, dur }) => [name, pid, tid, ts, dur]);
  assertEquals(spans, [
    ["map relu [4]", 1, 1, 0, 500],
    ["matmul 10×20×30", 1, 1, 1000, 500],
    ["matmul 10×20×30", 1, 1, 2000, 500],
    ["submit", 1, 2, 1000, 1000],
    ["wait", 1, 3, 3000, 7000],
    // The first kernel starts at the end of the first submission.
    ["map relu [4]", 2, 1, 2000, 10],
    ["matmul 10×20×30", 2, 1, 3000, 20],
    ["matmul 10×20×30", 2, 1, 4000, 40],
  ]);
  assertEquals(events.filter(({ ph }) => ph === "M").length, 6);
});
