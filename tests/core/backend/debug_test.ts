import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { type Device, setDebug, startProfile, tensor } from "../../../core/mod.ts";
import { statisticsOf } from "../../../core/backend/debug.ts";
import { gpu } from "../../util.ts";
import { canTime, plainDevice, tunedDevice } from "./fixtures.ts";
import { stderrOf } from "./stderr.ts";

const needsGpu = gpu === null;

/** What is written at a level. */
function linesAt(level: number, fn: () => unknown): Promise<string[]> {
  return stderrOf(async () => {
    const before = setDebug(level);
    try {
      await fn();
      // Lines about a read are written after its own promise.
      await new Promise((resolve) => setTimeout(resolve, 1));
    } finally {
      setDebug(before);
    }
  }).then((text) => text.split("\n").filter((line) => line !== ""));
}

async function withDevice(fn: (device: Device) => Promise<void>): Promise<void> {
  const device = await tunedDevice(null);
  await fn(device);
  device.close();
}

Deno.test("setDebug() takes whole numbers from 0 to 5 and returns the level before", () => {
  const before = setDebug(3);
  assertEquals(setDebug(before), 3);
  for (const level of [-1, 6, 1.5, NaN]) {
    assertThrows(
      () => setDebug(level),
      RangeError,
      `Cannot set the debug level: expected a whole number from 0 to 5, found ${level}`,
    );
  }
  assertEquals(setDebug(before), before);
});

Deno.test("statisticsOf() keeps NaN and infinities apart", () => {
  assertEquals(
    statisticsOf([1, NaN, -3, Infinity, 4, -Infinity]),
    "6 values, min -3, max 4, mean 0.66667, NaN 1, infinite 2",
  );
  assertEquals(statisticsOf([NaN]), "1 values, min –, max –, mean –, NaN 1, infinite 0");
});

Deno.test({
  name: "debug level 0 writes nothing, level 1 the adapter",
  ignore: needsGpu,
  fn: async () => {
    const use = () =>
      withDevice(async (device) => void await tensor([1, 2], { device }).exp().array());
    assertEquals(await linesAt(0, use), []);
    const [line, ...more] = await linesAt(1, use);
    assertEquals(more, []);
    assert(line.startsWith(`legoml 1: adapter ${gpu!.name}, `), line);
    assertMatch(line, /features .*; maxBufferSize \d+, maxStorageBufferBindingSize \d+/);
  },
});

Deno.test({
  name: "debug level 2 writes every kernel with its time at the next read",
  ignore: !canTime,
  fn: () =>
    withDevice(async (device) => {
      const x = tensor(new Float32Array(100).fill(3), { device });
      const lines = await linesAt(2, async () => {
        assertEquals(await x.relu().sum().item(), 300);
      });
      assertMatch(lines[0], /^legoml 2: map relu \[100\] {2}[\d.]+ µs {2}[\d.]+ GB\/s$/);
      assertMatch(lines[1], /^legoml 2: reduce sum \[\] over \[100\] {2}[\d.]+ µs/);
      assertEquals(lines.length, 2);
      // Levels can be changed between two calls of one submission.
      const before = setDebug(0);
      const y = x.add(1);
      const mixed = await linesAt(2, async () => {
        const z = y.mul(2);
        setDebug(0);
        const last = z.add(0.5);
        setDebug(2);
        assertEquals((await last.data())[99], 8.5);
      });
      setDebug(before);
      // What ran before a profile does not belong to it, whether it was written or not.
      await linesAt(2, () => void x.exp());
      const session = startProfile({ device });
      y.sqrt();
      assertEquals((await session.stop()).rows.map((row) => row.kernel), ["map sqrt [100]"]);
      assertEquals(mixed.length, 1);
      assertMatch(mixed[0], /map mul \[100\]/);
    }),
});

Deno.test({
  name: "debug level 2 says where kernels cannot be timed",
  ignore: needsGpu,
  fn: async () => {
    const device = await plainDevice();
    const x = tensor([1, 2], { device });
    assertEquals(await linesAt(2, () => x.exp().array()), [
      "legoml 2: map exp [2]  not timed: the adapter has no timestamp queries",
    ]);
    device.close();
  },
});

Deno.test({
  name: "debug level 2 lets no times pile up where nobody reads",
  ignore: !canTime,
  fn: () =>
    withDevice(async (device) => {
      const x = tensor([1, 2], { device });
      const lines = await linesAt(2, async () => {
        for (let batch = 0; batch < 40; batch++) {
          x.exp();
          device.flush();
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
      });
      assert(lines.length >= 16, `${lines.length} lines`);
    }),
});

Deno.test({
  name: "debug level 3 writes bytes in use, level 4 shaders, level 5 what outputs hold",
  ignore: needsGpu,
  fn: () =>
    withDevice(async (device) => {
      const x = tensor([1, 2, -3, 4], { device });
      await device.sync();
      const lines = await linesAt(5, async () => {
        using _ = device.scope();
        assertEquals(await x.relu().add(1).array(), [2, 3, 1, 5]);
      });
      const text = lines.join("\n");
      assertMatch(
        text,
        /legoml 3: submission \d+ of 2 kernels, 0\.00 MiB live in \d buffers, peak/,
      );
      assertMatch(text, /legoml 4: map\|.*workgroups\n@group\(0\) @binding\(0\)/);
      const values = lines.filter((line) => line.startsWith("legoml 5: "));
      assertEquals(values, [
        "legoml 5: map relu [4] output 0: 4 values, min 0, max 4, mean 1.75, NaN 0, infinite 0",
        "legoml 5: map add [4] output 0: 4 values, min 1, max 5, mean 2.75, NaN 0, infinite 0",
      ]);
    }),
});

const canRun = (await Deno.permissions.query({ name: "run" })).state === "granted" &&
  (await Deno.permissions.query({ name: "read" })).state === "granted";

/** What a program writes that is told nothing but `LEGOML_DEBUG`. */
async function output(level: string, permissions: readonly string[]): Promise<string[]> {
  const code = `import { setDebug } from "${new URL("../../../core/mod.ts", import.meta.url)}";
console.log(setDebug(0));`;
  const config = new URL("../../../deno.json", import.meta.url).pathname;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--config", config, ...permissions, "-"],
    env: { LEGOML_DEBUG: level },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = command.stdin.getWriter();
  await writer.write(new TextEncoder().encode(code));
  await writer.close();
  const { stdout, stderr } = await command.output();
  return [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim());
}

Deno.test({
  name: "LEGOML_DEBUG sets the level from the start, and says what it cannot use",
  ignore: !canRun,
  fn: async () => {
    const allowed = ["--allow-env=LEGOML_DEBUG"];
    assertEquals(await output("2", allowed), ["2", ""]);
    assertEquals(await output("", allowed), ["0", ""]);
    const [level, error] = await output("loud", allowed);
    assertEquals(level, "0");
    assertMatch(error, /legoml: LEGOML_DEBUG is left out: expected 0 to 5, found "loud"/);
    // Without the permission the variable is not looked at, and nobody is asked.
    assertEquals(await output("2", []), ["0", ""]);
  },
});
