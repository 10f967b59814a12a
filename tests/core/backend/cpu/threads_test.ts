import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { CpuBackend } from "../../../../core/backend/cpu/cpu.ts";
import { sharesOf, Timing } from "../../../../core/backend/cpu/plan.ts";
import { threadCount } from "../../../../core/backend/cpu/threads.ts";
import { DeviceError, DeviceLostError } from "../../../../core/mod.ts";
import { get, i32, set } from "../../../../kernels/wasm/instructions.ts";
import { argOffsets } from "../../../../kernels/wasm/program.ts";
import {
  counting,
  cpuBackend,
  handMade,
  programOf,
  runOver,
  trapping,
  wordOf,
} from "./fixtures.ts";

/** Long enough for a kernel to be shared out, whatever it really does. */
const LONG_NS = 1e8;

async function withBackend(
  threads: number,
  fn: (backend: CpuBackend) => unknown,
): Promise<void> {
  const backend = cpuBackend({ threads });
  try {
    assertEquals(await backend.ready(), threads);
    await fn(backend);
  } finally {
    backend.close();
  }
}

/** A buffer of zeros. */
function zeros(backend: CpuBackend, size: number) {
  const buffer = backend.allocate(size, "i32", "test");
  backend.write(buffer, 0, "i32", new Int32Array(size));
  return { buffer, size };
}

async function words(backend: CpuBackend, of: ReturnType<typeof zeros>): Promise<number[]> {
  return [...await backend.read({ ...of, offset: 0 }, "i32")];
}

for (const threads of [1, 2, 4]) {
  Deno.test(`every task of many short phases runs exactly once, ${threads} threads`, () =>
    withBackend(threads, async (backend) => {
      const kernels = [1, 2, 3, 7, 64, 1000].map((tasks) => counting(tasks, LONG_NS));
      const outputs = kernels.map((_, i) => zeros(backend, [1, 2, 3, 7, 64, 1000][i]));
      const turns = 2000;
      for (let turn = 0; turn < turns; turn++) {
        kernels.forEach((kernel, i) => runOver(backend, kernel, [outputs[i]]));
      }
      for (const output of outputs) {
        const want = Array.from({ length: output.size }, (_, t) => turns * (t + 1));
        assertEquals(await words(backend, output), want);
      }
    }));
}

Deno.test("workers that sleep, or see a kernel first while it runs, change nothing", () =>
  withBackend(4, async (backend) => {
    for (let round = 0; round < 30; round++) {
      const kernel = counting(500, LONG_NS, `round ${round}`);
      const output = zeros(backend, 500);
      runOver(backend, kernel, [output]);
      // Longer than a worker looks for work before it sleeps.
      if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
      runOver(backend, kernel, [output]);
      assertEquals(await words(backend, output), Array.from({ length: 500 }, (_, t) => 2 * t + 2));
      backend.free(output.buffer);
    }
  }));

/** Phase 0 fills the shared scratch memory, phase 1 writes it in reverse through the scratch memory of the thread. */
const reversed = handMade("reversed", (features) =>
  programOf(features, [
    {
      tasks: 4096,
      taskNs: LONG_NS,
      body: (_, task, args) =>
        i32.store(
          i32.add(i32.load(args, argOffsets.shared), i32.shl(task, i32.const(2))),
          i32.mul(task, i32.const(3)),
        ),
    },
    {
      tasks: 4096,
      taskNs: LONG_NS,
      body: (f, task, args, scratch) => {
        const other = f.local("i32");
        const from = i32.add(i32.load(args, argOffsets.shared), i32.shl(get(other), i32.const(2)));
        return [
          set(other, i32.sub(i32.const(4095), task)),
          i32.store(scratch, i32.load(from), 70_000),
          i32.store(wordOf(args, 0, task), i32.load(scratch, 70_000)),
        ];
      },
    },
  ], { sharedBytes: 4 * 4096, threadBytes: 70_004 }));

for (const threads of [1, 2, 4]) {
  Deno.test(`a phase sees all of the one before; scratch memory is each thread's own, ${threads} threads`, () =>
    withBackend(threads, async (backend) => {
      const output = zeros(backend, 4096);
      for (let turn = 0; turn < 200; turn++) {
        backend.write(output.buffer, 0, "i32", new Int32Array(4096));
        runOver(backend, reversed, [output]);
        const got = await words(backend, output);
        assertEquals(got, Array.from({ length: 4096 }, (_, t) => 3 * (4095 - t)));
      }
    }));
}

for (const threads of [1, 2, 4]) {
  Deno.test(`a trap is a DeviceError with the kernel's name, and ends the device, ${threads} threads`, () =>
    withBackend(threads, async (backend) => {
      const output = zeros(backend, 8);
      runOver(backend, counting(8, LONG_NS), [output]);
      const message = "Cannot run trapping: unreachable";
      // Some tasks are taken by the calling thread, some by the workers.
      const kernel = trapping(100, 0);
      assertThrows(() => runOver(backend, kernel, [output]), DeviceError, message);
      assertThrows(() => runOver(backend, counting(8, LONG_NS), [output]), DeviceError, message);
      await assertRejects(() => words(backend, output), DeviceError, message);
      await assertRejects(() => backend.sync(), DeviceError, message);
    }));
}

Deno.test("a trap on a worker reaches the calling thread", async () => {
  const fails = handMade("fails on workers", (features) =>
    programOf(features, [{
      tasks: 64,
      taskNs: LONG_NS,
      // The scratch memory of the calling thread lies before those of the workers.
      body: (f, _, args, scratch) => {
        const own = f.local("i32");
        return [
          set(own, i32.load(args, argOffsets.scalar(0, 1))),
          [i32.ne(scratch, get(own)), 0x04, 0x40, 0x00, 0x0b],
          i32.store(wordOf(args, 0, i32.const(0)), scratch),
        ];
      },
    }]), { scalars: ["u32"] });
  await withBackend(2, async (backend) => {
    const output = zeros(backend, 1);
    const alone = handMade("alone", (features) =>
      programOf(features, [{
        tasks: 1,
        taskNs: 1,
        body: (_, __, args, scratch) => i32.store(wordOf(args, 0, i32.const(0)), scratch),
      }]));
    runOver(backend, alone, [output]);
    const [own] = await words(backend, output);
    const error = assertThrows(() => {
      for (let i = 0; i < 10_000; i++) runOver(backend, fails, [output], [own]);
    }, DeviceError);
    assertEquals(error.message, "Cannot run fails on workers: unreachable");
  });
});

Deno.test("devices with threads of their own work side by side, and close() ends one of them", async () => {
  const backends = [cpuBackend({ threads: 2 }), cpuBackend({ threads: 3 })];
  assertEquals(await Promise.all(backends.map((backend) => backend.ready())), [2, 3]);
  const kernel = counting(200, LONG_NS);
  const outputs = backends.map((backend) => zeros(backend, 200));
  const both = () => backends.forEach((backend, i) => runOver(backend, kernel, [outputs[i]]));
  for (let turn = 0; turn < 300; turn++) both();
  backends[0].close();
  for (let turn = 0; turn < 300; turn++) runOver(backends[1], kernel, [outputs[1]]);
  assertEquals(
    await words(backends[1], outputs[1]),
    Array.from({ length: 200 }, (_, t) => 600 * (t + 1)),
  );
  assertThrows(() => both(), DeviceLostError, "Cannot use the device: it was closed");
  // Memory of a closed device can still be given back.
  backends[0].free(outputs[0].buffer);
  assertEquals(backends[0].memory().liveBytes, 0);
  backends[1].close();
  backends[1].close();
});

Deno.test("threads come by themselves when there is much to do", async () => {
  const backend = cpuBackend({ threads: 2 });
  const size = 300_000;
  const output = zeros(backend, size);
  const kernel = counting(size, LONG_NS);
  const until = performance.now() + 20_000;
  let turns = 0;
  for (; backend.workers === 0 && performance.now() < until; turns++) {
    runOver(backend, kernel, [output]);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals(backend.workers, 1);
  for (let more = 0; more < 20; more++, turns++) runOver(backend, kernel, [output]);
  assertEquals((await words(backend, output))[999], turns * 1000);
  backend.close();
});

Deno.test("short kernels stay on the calling thread, long ones are taken in parts", () => {
  const shares = (tasks: number, ns: number, workers: number) =>
    sharesOf([{ tasks, taskNs: 1 }], ns, workers)[0];
  assertEquals(shares(100, 24_000, 3), null);
  assertEquals(shares(1, 1e9, 3), null);
  assertEquals(shares(100, 1e9, 0), null);
  assertEquals(shares(1000, 1e6, 3), { phase: 0, tasks: 1000, chunk: 42, helpers: 3 });
  // Short ones only go to workers that are awake; of those that sleep, no more are woken than there is work for.
  assertEquals(shares(100, 50_000, 15)!.helpers, 0);
  assertEquals(shares(100, 80_000, 15)!.helpers, 1);
  assertEquals(shares(3, 1e9, 15), { phase: 0, tasks: 3, chunk: 1, helpers: 2 });
  // A short phase of a long kernel is not worth sharing; estimates count by their ratio.
  const phases = [{ tasks: 1000, taskNs: 10 }, { tasks: 10, taskNs: 10 }];
  assertEquals(sharesOf(phases, 1e6, 3)[0], { phase: 0, tasks: 1000, chunk: 42, helpers: 3 });
  assertEquals(sharesOf(phases, 1e6, 3)[1], null);
});

Deno.test("kernels that may be short are timed: the best of some runs counts, but the first ones", () => {
  const timing = new Timing([{ tasks: 10, taskNs: 500 }, { tasks: 1, taskNs: 20 }]);
  assertEquals([timing.ns, timing.onTrial], [5020, true]);
  const ends = [1, 2, 900, 700, 800, 700, 950].map((ns) => timing.note(ns));
  assertEquals([...ends, timing.onTrial, timing.ns], [...ends.map(() => false), true, 5020]);
  assertEquals([timing.note(720), timing.onTrial, timing.ns], [true, false, 700]);
  assertEquals(new Timing([{ tasks: 5000, taskNs: 1000 }]).onTrial, false);
});

Deno.test("a kernel is shared by the time that it really takes", async () => {
  await withBackend(2, async (backend) => {
    const size = 400_000;
    const [long, short] = [counting(size, 0.001, "long"), counting(4, 1e6, "short")];
    const outputs = [zeros(backend, size), zeros(backend, 4)];
    const turns = 20;
    for (let turn = 0; turn < turns; turn++) {
      runOver(backend, long, [outputs[0]]);
      runOver(backend, short, [outputs[1]]);
    }
    assertEquals((await words(backend, outputs[0])).at(-1), turns * size);
    assertEquals(await words(backend, outputs[1]), [1, 2, 3, 4].map((n) => turns * n));
    assertEquals([backend.threadsFor(long), backend.threadsFor(short)], [2, 1]);
  });
});

Deno.test("threadCount() takes whole numbers from 1 to 256", () => {
  assertEquals(threadCount(3), 3);
  for (const threads of [0, -1, 1.5, NaN, 257]) {
    assertThrows(
      () => threadCount(threads),
      RangeError,
      `Cannot use threads ${threads}: expected a whole number from 1 to 256`,
    );
  }
  assert(threadCount(undefined) >= 1);
});

Deno.test({
  name: "LEGOML_THREADS takes the place of the number of cores, and of nothing else",
  ignore: (await Deno.permissions.query({ name: "env" })).state !== "granted",
  fn: () => {
    const before = Deno.env.get("LEGOML_THREADS");
    try {
      Deno.env.set("LEGOML_THREADS", "3");
      assertEquals([threadCount(undefined), threadCount(5)], [3, 5]);
      for (const text of ["0", "two", "1.5"]) {
        Deno.env.set("LEGOML_THREADS", text);
        assertThrows(
          () => threadCount(undefined),
          RangeError,
          `Cannot use LEGOML_THREADS ${text}: expected a whole number from 1 to 256`,
        );
      }
      Deno.env.set("LEGOML_THREADS", "");
      assertEquals(threadCount(undefined), Math.min(16, navigator.hardwareConcurrency));
    } finally {
      if (before === undefined) Deno.env.delete("LEGOML_THREADS");
      else Deno.env.set("LEGOML_THREADS", before);
    }
  },
});
