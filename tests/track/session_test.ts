import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { referenceDevice, tensor } from "../../core/mod.ts";
import { decodeSafetensors, safetensorsValues } from "../../data/safetensors.ts";
import type { RunMeta } from "../../track/meta.ts";
import { run, type RunOptions, type RunSession, TrackError } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

const START = Date.UTC(2026, 0, 31, 23, 59, 58, 250);

// the clock moves on by a second at every look
function ticking(): () => Date {
  let seconds = 0;
  return () => new Date(START + 1000 * seconds++);
}

async function memoryRun(
  options: RunOptions = {},
): Promise<{ files: MemoryFiles; session: RunSession; meta: () => RunMeta }> {
  const files = new MemoryFiles();
  const session = await run({ dir: "/runs", files, now: ticking(), ...options });
  return { files, session, meta: () => JSON.parse(files.text(`${session.dir}/meta.json`)) };
}

Deno.test("RunSession.logScalars() writes one line a value in long form", async () => {
  const { files, session } = await memoryRun();
  session.logScalars({ "loss": 0.5, "acc": null, "train/x": 1 }, {
    step: 1,
    split: "train",
    epoch: 0,
  });
  session.logScalars({ "eval/acc": 0.1 }, { step: 2, epoch: 1, samples: 128 });
  session.logScalars({ lr: 1e-7 });
  await session.close();
  assertEquals(
    files.text(`${session.dir}/logs/scalars.csv`),
    "time,segment,step,epoch,samples,key,value\r\n" +
      "2026-01-31T23:59:59.250Z,1,1,0,,train/loss,0.5\r\n" +
      "2026-01-31T23:59:59.250Z,1,1,0,,train/acc,\r\n" +
      "2026-01-31T23:59:59.250Z,1,1,0,,train/x,1\r\n" +
      "2026-02-01T00:00:00.250Z,1,2,1,128,eval/acc,0.1\r\n" +
      "2026-02-01T00:00:01.250Z,1,,,,lr,1e-7\r\n",
  );
});

Deno.test("RunSession.logScalars() writes special values as words and quotes names", async () => {
  const { files, session } = await memoryRun();
  const time = new Date(0);
  session.logScalars({ a: NaN, b: Infinity, c: -Infinity, d: -0 }, { time });
  session.logScalars({ 'say "x", é': 5e-324, "1,5": 1.7976931348623157e308 }, { time });
  await session.close();
  const [, ...lines] = files.text(`${session.dir}/logs/scalars.csv`).split("\r\n");
  assertEquals(lines, [
    "1970-01-01T00:00:00.000Z,1,,,,a,NaN",
    "1970-01-01T00:00:00.000Z,1,,,,b,Infinity",
    "1970-01-01T00:00:00.000Z,1,,,,c,-Infinity",
    "1970-01-01T00:00:00.000Z,1,,,,d,-0",
    '1970-01-01T00:00:00.000Z,1,,,,"say ""x"", é",5e-324',
    '1970-01-01T00:00:00.000Z,1,,,,"1,5",1.7976931348623157e+308',
    "",
  ]);
});

Deno.test("RunSession.logScalars() writes the lines of a call in one write", async () => {
  const { files, session } = await memoryRun();
  for (let step = 1; step <= 3; step++) session.logScalars({ a: 1, b: 2, c: 3 }, { step });
  session.logScalars({});
  const writes = files.log.filter((line) => line === `write ${session.dir}/logs/scalars.csv`);
  assertEquals(writes.length, 3);
  await session.close();
});

Deno.test("RunSession.logScalars() refuses what is no scalar and writes nothing", async () => {
  const { files, session } = await memoryRun();
  const log = (scalars: unknown, options = {}) => () =>
    session.logScalars(scalars as Record<string, number>, options);
  assertThrows(
    log({ ok: 1, loss: { item: () => Promise.resolve(1) } }),
    TypeError,
    'scalar "loss": expected a number or null, found an Object; read it first with item()',
  );
  assertThrows(log({ loss: "0.5" }), TypeError, 'found "0.5"');
  assertThrows(log({ loss: undefined }), TypeError, "found undefined");
  assertThrows(log({ "": 1 }), RangeError, "expected a name");
  assertThrows(log({ "a\nb": 1 }), RangeError, 'found "a\\nb"');
  assertThrows(log({ a: 1 }, { split: "" }), RangeError, "expected a name");
  assertThrows(log({ a: 1 }, { step: 1.5 }), RangeError, "expected step to be a whole number");
  assertThrows(log({ a: 1 }, { epoch: -1 }), RangeError, "expected epoch to be a whole number");
  assertThrows(log({ a: 1 }, { samples: "3" }), RangeError, 'found "3"');
  assertEquals(files.files.has(`${session.dir}/logs/scalars.csv`), false);
  await session.close();
});

Deno.test("RunSession.logText() appends lines to a file of that name", async () => {
  const { files, session } = await memoryRun();
  session.logText("notes", "first");
  session.logText("notes", "second\nthird\n");
  session.logText("other", "");
  assertEquals(files.text(`${session.dir}/logs/notes.txt`), "first\nsecond\nthird\n");
  assertEquals(files.text(`${session.dir}/logs/other.txt`), "\n");
  for (const name of ["../notes", "a/b", "", ".hidden", "x\0", "x ", "C:x"]) {
    assertThrows(() => session.logText(name, "x"), RangeError, "as the name of a text log");
  }
  await session.close();
});

Deno.test("RunSession.logEvent() writes one JSON line", async () => {
  const { files, session } = await memoryRun();
  session.logEvent("start", { a: 1, nested: { loss: NaN, list: [Infinity, "x\ny"] } });
  session.logEvent("end");
  assertEquals(
    files.text(`${session.dir}/logs/events.jsonl`),
    '{"time":"2026-01-31T23:59:59.250Z","event":"start",' +
      '"fields":{"a":1,"nested":{"loss":"NaN","list":["Infinity","x\\ny"]}}}\n' +
      '{"time":"2026-02-01T00:00:00.250Z","event":"end","fields":{}}\n',
  );
  await session.close();
});

Deno.test("RunSession.logParams() merges into meta.json at once", async () => {
  const { session, meta } = await memoryRun({ config: { lr: 0.1, seed: 7 } });
  assertEquals(meta().params, { lr: 0.1, seed: 7 });
  const nested = { dims: [128, 10], act: null, date: new Date(0), absent: undefined };
  session.logParams({ lr: 0.01, model: nested });
  nested.dims.push(1);
  const expected = {
    lr: 0.01,
    seed: 7,
    model: { dims: [128, 10], act: null, date: "1970-01-01T00:00:00.000Z" },
  };
  assertEquals(meta().params, expected);
  assertEquals(meta().status, "running");
  await session.close();
  assertEquals(meta().params, expected);
});

Deno.test("RunSession.logParams() refuses values without a JSON form by path", async () => {
  const { session, meta } = await memoryRun();
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const cases: [unknown, string][] = [
    [{ lr: NaN }, "params.lr as JSON: expected a finite number, found NaN"],
    [
      { a: { b: [1, Infinity] } },
      "params.a.b[1] as JSON: expected a finite number, found Infinity",
    ],
    [{ "log lr": () => 1 }, 'params["log lr"] as JSON: expected a value that JSON can hold'],
    [{ a: [undefined] }, "params.a[0] as JSON"],
    [{ a: 1n }, "found a bigint"],
    [{ a: Symbol("x") }, "found a symbol"],
    [{ a: new Map() }, "params.a as JSON: expected a plain object, found a Map"],
    [{ a: new Float32Array(2) }, "found a Float32Array"],
    [JSON.parse('{"__proto__":{"x":1}}'), "params.__proto__ as JSON: expected another name"],
    [[1], "params as JSON: expected a plain object, found an Array"],
    [null, "params as JSON: expected a plain object, found null"],
  ];
  for (const [params, message] of cases) {
    const error = assertThrows(
      () => session.logParams(params as Record<string, unknown>),
      TypeError,
      message,
    );
    assertMatch(error.message, /^Cannot store params.* as JSON: expected .*, found .*[^.]$/);
  }
  assertThrows(() => session.logParams(cycle), RangeError, "found more or a cycle");
  assertEquals(meta().params, {});
  await session.close();
});

Deno.test("RunSession.saveArtifact() writes text, bytes and objects, and replaces", async () => {
  const { files, session } = await memoryRun();
  const text = session.saveArtifact("a.txt", "été");
  assertEquals(text, `${session.dir}/artifacts/a.txt`);
  assertEquals(files.text(text), "été");
  const bytes = session.saveArtifact("deep/er/b.bin", Uint8Array.of(0, 255));
  assertEquals([...files.read(bytes)], [0, 255]);
  session.saveArtifact("c.json", { x: 1 });
  session.saveArtifact("c.json", { confusion: [[1, 0], [0, 2]] });
  assertEquals(
    JSON.parse(files.text(`${session.dir}/artifacts/c.json`)),
    { confusion: [[1, 0], [0, 2]] },
  );
  assertThrows(() => session.saveArtifact("d.json", { x: NaN }), TypeError, "data.x as JSON");
  assertEquals(files.files.has(`${session.dir}/artifacts/d.json`), false);
  await session.close();
});

Deno.test("RunSession.saveArtifact() refuses names that leave the folder", async () => {
  const { files, session } = await memoryRun();
  const before = files.log.length;
  const names = ["../x", "a/../../x", "/etc/passwd", "a//b", "a/", ".", "..", "", "a\\b", "a\0b"];
  for (const name of [...names, ".tmp-1-0", "a/.git/x", "x.", "con:"]) {
    assertThrows(() => session.saveArtifact(name, "x"), RangeError, JSON.stringify(name));
  }
  assertEquals(files.log.length, before);
  await session.close();
});

interface FakeTensor {
  shape: number[];
  dtype: string;
  data(): Promise<Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array>;
}

Deno.test("RunSession.saveModel() reads all tensors in one wait", async () => {
  const { files, session } = await memoryRun();
  let started = 0;
  let finished = 0;
  const fake = (
    dtype: string,
    shape: number[],
    values: Awaited<ReturnType<FakeTensor["data"]>>,
  ) => ({
    dtype,
    shape,
    data: async () => {
      started++;
      assertEquals(finished, 0, "a read began after another had ended");
      await new Promise((resolve) => setTimeout(resolve, 1));
      finished++;
      return values;
    },
  });
  const larger = Float32Array.of(9, 1.5, -2, 9);
  const stateDict = (): Record<string, FakeTensor> => ({
    "fc.weight": fake("f32", [1, 2], larger.subarray(1, 3)),
    "half": fake("f16", [2], Float32Array.of(0.1, -65504)),
    "mask": fake("bool", [2], Uint8Array.of(1, 0)),
    "wide": fake("f32", [1], Float64Array.of(0.1)),
    "bn.num_batches_tracked": fake("i32", [], Int32Array.of(-3)),
    "u": fake("u32", [1], Uint32Array.of(4294967295)),
  });
  const path = await session.saveModel({ stateDict });
  assertEquals(path, `${session.dir}/artifacts/model.safetensors`);
  assertEquals([started, finished], [6, 6]);
  const { tensors, metadata } = decodeSafetensors(files.read(path));
  const read = Object.fromEntries(
    [...tensors].map(([name, entry]) => [
      name,
      [entry.dtype, entry.shape, Array.from<unknown>(safetensorsValues(entry) as never)],
    ]),
  );
  assertEquals(read, {
    "fc.weight": ["F32", [1, 2], [1.5, -2]],
    "half": ["F16", [2], [0.0999755859375, -65504]],
    "mask": ["BOOL", [2], [1, 0]],
    "wide": ["F32", [1], [Math.fround(0.1)]],
    "bn.num_batches_tracked": ["I32", [], [-3]],
    "u": ["U32", [1], [4294967295]],
  });
  assertEquals(metadata.get("format"), "pt");
  await session.close();
});

Deno.test("RunSession.saveModel() writes tensors of a device", async () => {
  const { files, session } = await memoryRun();
  const device = referenceDevice();
  const stateDict = () => ({
    weight: tensor([[0.1, 2], [3, 4]], { device, requiresGrad: true }).t(),
    steps: tensor(7, { device, dtype: "i32" }),
    mask: tensor([true, false], { device, dtype: "bool" }),
  });
  const { tensors } = decodeSafetensors(files.read(await session.saveModel({ stateDict }, "m.st")));
  const read = (name: string) =>
    Array.from<unknown>(safetensorsValues(tensors.get(name)!) as never);
  assertEquals(read("weight"), [Math.fround(0.1), 3, 2, 4]);
  assertEquals([read("steps"), read("mask")], [[7], [1, 0]]);
  assertEquals(tensors.get("steps")!.dtype, "I32");
  await session.close();
});

Deno.test("RunSession.saveModel() refuses unknown element types and bad names", async () => {
  const { session } = await memoryRun();
  const data = () => Promise.resolve(new Float32Array(1));
  const model = (dtype: string) => ({ stateDict: () => ({ w: { shape: [1], dtype, data } }) });
  await assertRejects(
    () => session.saveModel(model("f8")),
    TypeError,
    'Cannot save tensor "w": expected an element type among f32, f16, i32, u32, bool, found f8',
  );
  await assertRejects(() => session.saveModel(model("toString")), TypeError, "found toString");
  await assertRejects(() => session.saveModel(model("f32"), "../m"), RangeError, '"../m"');
  await session.close();
});

Deno.test("RunSession.close() records status and end, once", async () => {
  const { session, meta } = await memoryRun();
  assertEquals([meta().status, meta().endedAt, meta().error], ["running", null, null]);
  await session.close();
  const ended = meta();
  assertEquals([ended.status, ended.error], ["completed", null]);
  assertEquals(ended.endedAt, "2026-01-31T23:59:59.250Z");
  await session.close("failed");
  assertEquals(meta(), ended);
});

Deno.test("RunSession.fail() makes close() record the error", async () => {
  const { session, meta } = await memoryRun();
  const error = new RangeError("too large");
  session.fail(error);
  assertEquals(meta().status, "running");
  await session.close();
  const { status, error: recorded } = meta();
  assertEquals(status, "failed");
  assertEquals([recorded?.name, recorded?.message], ["RangeError", "too large"]);
  assertMatch(recorded?.stack ?? "", /session_test/);
});

Deno.test("RunSession.close() lets an explicit status win", async () => {
  const one = await memoryRun();
  one.session.fail(new Error("recovered"));
  await one.session.close("completed");
  assertEquals([one.meta().status, one.meta().error], ["completed", null]);
  const two = await memoryRun();
  await two.session.close("failed");
  assertEquals([two.meta().status, two.meta().error], ["failed", null]);
});

Deno.test("RunSession records thrown values that are no errors", async () => {
  const { session, meta } = await memoryRun();
  session.fail("just text");
  await session.close();
  assertEquals(meta().error, { name: "string", message: "just text", stack: null });
});

Deno.test("RunSession refuses every use after close()", async () => {
  const { files, session } = await memoryRun();
  session.logScalars({ a: 1 });
  await session.close();
  const before = files.log.length;
  const uses: [string, () => unknown][] = [
    ["log scalars", () => session.logScalars({ a: 1 })],
    ["log text", () => session.logText("a", "b")],
    ["log params", () => session.logParams({})],
    ["log an event", () => session.logEvent("x")],
    ["save an artifact", () => session.saveArtifact("a", "b")],
  ];
  for (const [action, use] of uses) {
    assertThrows(
      use,
      TrackError,
      `Cannot ${action}: expected an open run, but ${session.dir} is closed`,
    );
  }
  await assertRejects(() => session.saveModel({ stateDict: () => ({}) }), TrackError, "closed");
  assertEquals(files.log.length, before);
  assertEquals(files.openFiles, 0);
});

Deno.test("RunSession.saveModel() fails when the run closes while it reads", async () => {
  const { files, session } = await memoryRun();
  const data = async () => {
    await session.close();
    return new Float32Array(1);
  };
  const saving = session.saveModel({
    stateDict: () => ({ w: { shape: [1], dtype: "f32", data } }),
  });
  await assertRejects(() => saving, TrackError, "closed");
  assert(![...files.files.keys()].some((path) => path.includes("safetensors")));
});
