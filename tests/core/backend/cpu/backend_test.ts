import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { cpuTraits } from "../../../../kernels/wasm/mod.ts";
import { startProfile, waitedMs } from "../../../../core/backend/profiler.ts";
import { DeviceError, OutOfMemoryError, setDebug, ShapeError } from "../../../../core/mod.ts";
import type { DType, Operand } from "../../../../kernels/types.ts";
import { f32, get, i32, set } from "../../../../kernels/wasm/instructions.ts";
import { argOffsets } from "../../../../kernels/wasm/program.ts";
import { stderrOf } from "../stderr.ts";
import { counting, cpuBackend, handMade, programOf, runOver, wordOf } from "./fixtures.ts";

for (const threads of [1, 2]) {
  const memory = threads === 1 ? "memory of its own" : "shared memory";

  Deno.test(`what is written is read, for every type, in ${memory}`, async () => {
    const backend = cpuBackend({ threads });
    const cases: [DType, Float32Array | Int32Array | Uint32Array | Uint8Array][] = [
      ["f32", new Float32Array([0, -0, 1.5, NaN, -Infinity, 1e-45])],
      ["i32", new Int32Array([0, -1, 2 ** 31 - 1, -(2 ** 31), 7, 8])],
      ["u32", new Uint32Array([0, 1, 2 ** 32 - 1, 2 ** 31, 7, 8])],
      ["bool", new Uint8Array([0, 1, 1, 0, 1, 0])],
    ];
    for (const [dtype, data] of cases) {
      const buffer = backend.allocate(10, dtype, dtype);
      backend.write(buffer, 0, dtype, data.map(() => 1));
      backend.write(buffer, 3, dtype, data);
      const got = await backend.read({ buffer, offset: 3, size: 6 }, dtype);
      assertEquals(got, data);
      assert(got.buffer instanceof ArrayBuffer, "a copy that no thread shares");
      const part = await backend.read({ buffer, offset: 2, size: 2 }, dtype);
      assertEquals([...part], [1, data[0]]);
      assertEquals((await backend.read({ buffer, offset: 9, size: 0 }, dtype)).length, 0);
    }
    backend.close();
  });

  Deno.test(`memory that grows keeps everything in place, in ${memory}`, async () => {
    const backend = cpuBackend({ threads });
    const kernel = counting(4, 1);
    const size = 4;
    const first = { buffer: backend.allocate(size, "i32", "first"), size };
    backend.write(first.buffer, 0, "i32", new Int32Array(size));
    runOver(backend, kernel, [first]);
    const large = { buffer: backend.allocate(2 ** 26, "i32", "large"), size };
    backend.write(large.buffer, 0, "i32", new Int32Array(2 ** 26));
    runOver(backend, kernel, [first]);
    runOver(backend, kernel, [large]);
    assertEquals([...await backend.read({ ...first, offset: 0 }, "i32")], [2, 4, 6, 8]);
    assertEquals([...await backend.read({ ...large, offset: 0 }, "i32")], [1, 2, 3, 4]);
    backend.close();
  });
}

Deno.test("a read keeps what was there when it was asked for", async () => {
  const backend = cpuBackend();
  const buffer = backend.allocate(1, "i32", "test");
  backend.write(buffer, 0, "i32", new Int32Array([1]));
  const read = backend.read({ buffer, offset: 0, size: 1 }, "i32");
  backend.write(buffer, 0, "i32", new Int32Array([2]));
  assertEquals([...await read], [1]);
  backend.close();
});

/** The product of a number and the elements of an f16 input as they lie there, plus the other numbers. */
const scaled = handMade("scaled", (features) =>
  programOf(features, [{
    tasks: 3,
    taskNs: 10,
    body: (f, task, args) => {
      const word = f.local("i32");
      const half = i32.add(i32.load(args, argOffsets.operand(0)), i32.shl(task, i32.const(1)));
      const scalar = (n: number) => argOffsets.scalar(n, 2);
      return [
        set(word, i32.load16_u(half)),
        f32.store(
          wordOf(args, 1, task),
          f32.add(
            f32.mul(f32.convert_i32_u(get(word)), f32.load(args, scalar(0))),
            f32.add(
              f32.convert_i32_s(i32.load(args, scalar(1))),
              f32.convert_i32_u(i32.load(args, scalar(2))),
            ),
          ),
        ),
      ];
    },
  }]), { inputs: ["f16"], outputs: ["f32"], scalars: ["f32", "i32", "u32"] });

Deno.test("operands start where they say, and numbers have their types", async () => {
  const backend = cpuBackend();
  const input = backend.allocate(8, "u32", "input");
  const output = backend.allocate(8, "f32", "output");
  backend.write(input, 0, "u32", new Uint32Array([0x0002_0001, 0x0004_0003, 0x0006_0005]));
  backend.write(output, 0, "f32", new Float32Array(8));
  backend.run({
    kernel: scaled,
    inputs: [{ buffer: input, offset: 3, size: 3 }],
    outputs: [{ buffer: output, offset: 2, size: 3 }],
    scalars: [0.5, -3, 2 ** 31],
  });
  const got = await backend.read({ buffer: output, offset: 0, size: 6 }, "f32");
  const want = [4, 5, 6].map((n) => Math.fround(n * 0.5 + Math.fround(2 ** 31 - 3)));
  assertEquals([...got], [0, 0, ...want, 0]);
  backend.close();
});

Deno.test("work() counts kernels, calls, buffers and reads", async () => {
  const backend = cpuBackend();
  const output = { buffer: backend.allocate(4, "i32", "test"), size: 4 };
  for (let i = 0; i < 5; i++) runOver(backend, counting(4, 1, "one"), [output]);
  const kernel = counting(4, 1, "two");
  for (let i = 0; i < 5; i++) runOver(backend, kernel, [output]);
  await backend.read({ ...output, offset: 0 }, "i32");
  const { dispatches, pipelines, buffers, reads, submits, bindGroups } = backend.work();
  // Each of the first five was a kernel of its own.
  assertEquals([dispatches, pipelines, buffers, reads], [10, 6, 1, 1]);
  assertEquals([submits, bindGroups], [0, 0]);
  assertEquals([backend.kind, backend.traits], ["cpu", cpuTraits]);
  assertStringIncludes(backend.name, "WebAssembly");
  backend.close();
});

Deno.test("memory() follows what is allocated and given back; more than the budget is refused", () => {
  const backend = cpuBackend({ memoryBudget: 2 ** 20 });
  const before = backend.memory();
  assertEquals([before.liveBuffers, before.liveBytes], [0, 0]);
  const half = backend.allocate(100, "f16", "half");
  assertEquals([backend.memory().liveBuffers, backend.memory().liveBytes], [1, 256]);
  const error = assertThrows(
    () => backend.allocate(2 ** 18, "f32", "activation"),
    OutOfMemoryError,
  );
  assertStringIncludes(
    error.message,
    'Cannot allocate 1048576 bytes for "activation" within the budget of 1048576: 256 are in use',
  );
  backend.free(half);
  backend.free(backend.allocate(2 ** 18, "f32", "activation"));
  assertEquals(backend.memory().peakBytes, 2 ** 20);
  backend.close();
});

Deno.test("kernels that cannot be compiled, or take too much, are refused by name", async () => {
  const backend = cpuBackend();
  const output = { buffer: backend.allocate(1, "i32", "test"), size: 1 };
  const broken = handMade("broken", () => {
    throw new TypeError("no such builtin");
  });
  assertThrows(
    () => runOver(backend, broken, [output]),
    DeviceError,
    "Cannot compile broken for the CPU: no such builtin",
  );
  const outputs = new Array<DType>(1023).fill("i32");
  const wide = handMade("wide", () => programOf(backendFeatures, []), {
    outputs,
    scalars: ["i32"],
  });
  assertThrows(
    () => runOver(backend, wide, new Array(1023).fill(output), [1]),
    ShapeError,
    "Cannot run wide over 1023 buffers and 1 numbers: this device takes at most 1023 of both",
  );
  // Nothing of it ran, so the device goes on.
  runOver(backend, counting(1, 1), [output]);
  await backend.sync();
  backend.close();
});

const backendFeatures = { shared: false, relaxed: false, maxPages: 65536 };

Deno.test("reads let the event loop have its turn now and then", async () => {
  const backend = cpuBackend();
  const operand: Operand<ReturnType<typeof backend.allocate>> = {
    buffer: backend.allocate(1, "i32", "test"),
    offset: 0,
    size: 1,
  };
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const until = performance.now() + 500;
  while (turns === 0 && performance.now() < until) await backend.read(operand, "i32");
  clearInterval(timer);
  assert(turns > 0, "timers starve while a loop reads");
  backend.close();
});

Deno.test("a profile has the time of every kernel call; the host's time leaves long ones out", async () => {
  const backend = cpuBackend({ threads: 1 });
  const size = 100_000;
  const output = { buffer: backend.allocate(size, "i32", "test"), size };
  const kernel = counting(size, 10);
  runOver(backend, kernel, [output]);
  const before = waitedMs(backend);
  const recording = startProfile(backend);
  assertThrows(() => startProfile(backend), Error, "Cannot start a profile: one of this device");
  const start = performance.now();
  for (let i = 0; i < 3; i++) runOver(backend, kernel, [output]);
  const elapsed = performance.now() - start;
  const { untimed, dispatches, submits, waits } = await recording.stop();
  assertEquals([untimed, submits, waits], [null, [], []]);
  assertEquals(dispatches.map((d) => [d.kernel, d.bytes]), new Array(3).fill([kernel, 4 * size]));
  const us = dispatches.reduce((sum, d) => sum + d.duration!, 0);
  assert(us > 0 && us <= elapsed * 1000 + 1, `${us} µs of ${elapsed} ms`);
  assert(dispatches[1].start! >= dispatches[0].start! + dispatches[0].duration! - 1e-3);
  assert(waitedMs(backend) - before > 0);
  await assertRejects(() => recording.stop(), Error, "Cannot stop a profile");
  runOver(backend, kernel, [output]);
  assertEquals(dispatches.length, 3);
  backend.close();
});

Deno.test("debug levels tell of the device, its kernels and their outputs", async () => {
  const text = await stderrOf(() => {
    const before = setDebug(5);
    try {
      const backend = cpuBackend({ threads: 1 });
      const output = { buffer: backend.allocate(3, "i32", "test"), size: 3 };
      backend.write(output.buffer, 0, "i32", new Int32Array([4, 4, 4]));
      runOver(backend, counting(3, 1), [output]);
      backend.close();
    } finally {
      setDebug(before);
    }
    return Promise.resolve();
  });
  const lines = text.trimEnd().split("\n").map((line) =>
    line.replace(/[\d.]+ (µs|GB\/s)/g, "# $1")
  );
  assertEquals(lines.length, 4);
  assertStringIncludes(lines[0], "legoml 1: cpu WebAssembly");
  assertStringIncludes(lines[1], "bytes of WebAssembly, 3 tasks of 1 ns");
  assertEquals(lines[2], "legoml 2: counting 3  # µs  # GB/s");
  assertEquals(
    lines[3],
    "legoml 5: counting 3 output 0: 3 values, min 5, max 7, mean 6, NaN 0, infinite 0",
  );
});
