import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { listRuns, readRun, readScalars, run, TrackError } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

async function granted(name: "read" | "write" | "run"): Promise<boolean> {
  return (await Deno.permissions.query({ name })).state === "granted";
}
const canRun = await granted("read") && await granted("write") && await granted("run");

const HEADER = "time,segment,step,epoch,samples,key,value\r\n";

function csv(text: string): MemoryFiles {
  const files = new MemoryFiles();
  files.files.set("/s.csv", new TextEncoder().encode(text));
  return files;
}

function read(text: string) {
  return readScalars("/s.csv", { files: csv(text) });
}

Deno.test("readScalars() gives typed rows", () => {
  const rows = read(
    HEADER +
      "2026-01-31T23:59:59.250Z,1,1,0,64,train/loss,-1.5e-7\r\n" +
      '2026-01-31T23:59:59.250Z,1,,,,"a ""b"", c",NaN\r\n' +
      "2026-01-31T23:59:59.250Z,1,2,,,x,-Infinity\r\n" +
      "2026-01-31T23:59:59.250Z,1,2,,,y,\r\n" +
      "2026-01-31T23:59:59.250Z,1,2,,,z,-0\r\n",
  );
  const time = new Date("2026-01-31T23:59:59.250Z");
  assertEquals(rows.slice(0, 4), [
    {
      time,
      segment: 1,
      superseded: false,
      step: 1,
      epoch: 0,
      samples: 64,
      key: "train/loss",
      value: -1.5e-7,
    },
    {
      time,
      segment: 1,
      superseded: false,
      step: null,
      epoch: null,
      samples: null,
      key: 'a "b", c',
      value: NaN,
    },
    {
      time,
      segment: 1,
      superseded: false,
      step: 2,
      epoch: null,
      samples: null,
      key: "x",
      value: -Infinity,
    },
    {
      time,
      segment: 1,
      superseded: false,
      step: 2,
      epoch: null,
      samples: null,
      key: "y",
      value: null,
    },
  ]);
  assert(Object.is(rows[4].value, -0));
});

Deno.test("readScalars() reads line ends without a carriage return too", () => {
  const text = HEADER + "2026-01-31T23:59:59.250Z,1,1,0,64,a,1\r\n";
  assertEquals(read(text.replaceAll("\r\n", "\n")), read(text));
});

Deno.test("readScalars() skips a torn last line, wherever it is torn", () => {
  const whole = HEADER + "2026-01-31T23:59:59.250Z,1,1,0,64,é,1\r\n";
  const torn = '2026-01-31T23:59:59.250Z,1,2,0,128,"ü, ""x""",2\r\n';
  const bytes = new TextEncoder().encode(whole + torn);
  const keep = new TextEncoder().encode(whole).length;
  for (let length = keep; length < bytes.length; length++) {
    const files = csv("");
    files.files.set("/s.csv", bytes.slice(0, length));
    const rows = readScalars("/s.csv", { files });
    assertEquals(rows.map((row) => row.key), ["é"], `${length} bytes`);
  }
  for (let length = 0; length <= HEADER.length; length++) {
    assertEquals(read(HEADER.slice(0, length)), []);
  }
});

Deno.test("readScalars() names line and column of what it cannot read", () => {
  const row = (line: string) => `${HEADER}2026-01-31T23:59:59.250Z,1,1,0,64,a,1\r\n${line}\r\n`;
  const cases: [string, string][] = [
    ["a,b\r\n", "expected the columns time,segment,step,epoch"],
    ["time,step,epoch,samples,value,key\r\n", "expected the columns time,segment,step,epoch"],
    [
      row("yesterday,1,1,0,64,a,1"),
      '/s.csv, line 3: expected "time" to be a date, found "yesterday"',
    ],
    [
      row("2026-01-31,1,1.5,0,64,a,1"),
      '/s.csv, line 3: expected "step" to be a number, found "1.5"',
    ],
    [row("2026-01-31,1,1,-1,64,a,1"), 'expected "epoch" to be a number, found "-1"'],
    [row("2026-01-31,1,1,0,0x10,a,1"), 'expected "samples" to be a number, found "0x10"'],
    [row("2026-01-31,1,1,0,64,a,nan"), 'expected "value" to be a number, found "nan"'],
    [row("2026-01-31,1,1,0,64,a, 1"), 'expected "value" to be a number, found " 1"'],
    [row("2026-01-31,1,1,0,64,a"), "wrong number of fields"],
    [row('2026-01-31,1,1,0,64,"a,1'), "quote"],
  ];
  for (const [text, message] of cases) {
    const error = assertThrows(() => read(text), SyntaxError, message);
    assert(error.message.startsWith("Cannot read /s.csv"), error.message);
  }
});

Deno.test("readScalars() refuses invalid UTF-8 and says which file is missing", () => {
  const files = csv("");
  files.files.set("/s.csv", Uint8Array.of(0xff, 0x0a));
  assertThrows(() => readScalars("/s.csv", { files }), SyntaxError, "Cannot read /s.csv");
  const error = assertThrows(() => readScalars("/none.csv", { files }), TrackError);
  assert(error.message.startsWith("Cannot read /none.csv: NotFound"), error.message);
});

Deno.test("readScalars() gives back every value and name that logScalars() takes", async () => {
  const name = fc.string({ unit: "grapheme", minLength: 1 })
    // deno-lint-ignore no-control-regex -- the names that logScalars refuses
    .filter((text) => !/[\u0000-\u001f\u007f]/.test(text) && text.isWellFormed());
  const scalars = fc.dictionary(name, fc.option(fc.double()), { minKeys: 1 });
  const property = fc.asyncProperty(scalars, fc.nat(), async (values, step) => {
    const files = new MemoryFiles();
    const session = await run({ dir: "/runs", files });
    session.logScalars(values, { step });
    await session.close();
    const { scalars } = readRun(session.dir, { files });
    const back = Object.fromEntries(scalars.map((row) => [row.key, row.value]));
    assertEquals(Object.keys(back).sort(), Object.keys(values).sort());
    for (const [key, value] of Object.entries(values)) assert(Object.is(back[key], value), key);
    assert(scalars.every((row) => row.step === step));
  });
  await fc.assert(property, { seed: 11, numRuns: 200 });
});

async function memoryRun(files: MemoryFiles, name?: string): Promise<string> {
  return await run({ dir: "/runs", files, name }, (session) => {
    session.logScalars({ a: 1 }, { step: 1 });
    session.logEvent("start", { nested: { x: [1] }, loss: NaN });
    session.logParams({ lr: 0.1 });
    return session.dir;
  });
}

Deno.test("readRun() gives back meta, scalars and events", async () => {
  const files = new MemoryFiles();
  const dir = await memoryRun(files, "first");
  const { meta, scalars, events } = readRun(dir, { files });
  assertEquals([meta.name, meta.status, meta.params], ["first", "completed", { lr: 0.1 }]);
  assertEquals(scalars.map(({ key, step, value }) => [key, step, value]), [["a", 1, 1]]);
  assertEquals(events.map(({ event, fields }) => [event, fields]), [
    ["start", { nested: { x: [1] }, loss: "NaN" }],
  ]);
  assert(Math.abs(events[0].time.getTime() - Date.now()) < 60_000);
});

Deno.test("readRun() reads a run that logged nothing, and skips a torn event", async () => {
  const files = new MemoryFiles();
  const session = await run({ dir: "/runs", files });
  const empty = readRun(session.dir, { files });
  assertEquals([empty.scalars, empty.events, empty.meta.status], [[], [], "running"]);
  session.logEvent("é");
  await session.close();
  const path = `${session.dir}/logs/events.jsonl`;
  const line = files.text(path);
  const twice = new TextEncoder().encode(line + line);
  for (let length = twice.length / 2; length < twice.length; length++) {
    files.files.set(path, twice.slice(0, length));
    assertEquals(readRun(session.dir, { files }).events.map((row) => row.event), ["é"]);
  }
  files.files.set(path, Uint8Array.of(0xff, 0x0a));
  assertThrows(() => readRun(session.dir, { files }), SyntaxError, `${path}: expected UTF-8`);
  for (
    const broken of ["{", "[]", "null", '{"time":"x","event":"a","fields":{}}', '{"event":"a"}']
  ) {
    files.files.set(path, new TextEncoder().encode(`${line}${broken}\n`));
    assertThrows(() => readRun(session.dir, { files }), SyntaxError, `${path}, line 2`);
  }
});

Deno.test("readRun() refuses a meta.json that lacks something or is newer", async () => {
  const files = new MemoryFiles();
  const dir = await memoryRun(files);
  const path = `${dir}/meta.json`;
  const good = JSON.parse(files.text(path));
  const refuse = (text: string, message: string) => {
    files.files.set(path, new TextEncoder().encode(text));
    const error = assertThrows(() => readRun(dir, { files }), SyntaxError, message);
    assert(error.message.startsWith(`Cannot read ${path}: `), error.message);
  };
  refuse('{"schema":', "expected JSON");
  refuse("[]", "expected an object, found an Array");
  refuse(JSON.stringify({ ...good, schema: 3 }), "expected a layout version up to 2, found 3");
  refuse(
    JSON.stringify({ ...good, status: "done" }),
    "one of running, completed, interrupted, failed",
  );
  refuse(
    JSON.stringify({ ...good, createdAt: "x" }),
    'expected "createdAt" to be a date, found "x"',
  );
  refuse(JSON.stringify({ ...good, tags: { a: 1 } }), 'expected "tags" to be strings by name');
  for (const field of Object.keys(good)) {
    refuse(JSON.stringify({ ...good, [field]: undefined }), field === "schema" ? "version" : field);
  }
});

Deno.test("listRuns() lists oldest first and shows broken runs", async () => {
  const files = new MemoryFiles();
  assertEquals(listRuns("/runs", { files }), []);
  const seconds = [3, 1, 2];
  for (const second of seconds) {
    const now = () => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    await run({ dir: "/runs", files, now, name: `run${second}` }, () => {});
  }
  files.makeFolder("/runs/20260101T000000Z-abcd-killed");
  files.makeFolder("/runs/notes");
  files.files.set("/runs/readme.txt", new Uint8Array());
  const listed = listRuns("/runs", { files });
  assertEquals(listed.map(({ meta }) => meta?.name ?? null), [null, "run1", "run2", "run3"]);
  assertEquals(listed[0].dir, "/runs/20260101T000000Z-abcd-killed");
  assert(listed[0].problem?.startsWith(`Cannot read ${listed[0].dir}/meta.json: NotFound`));
  assertEquals(listed[1].problem, null);
});

Deno.test({
  name: "readRun() reads what a killed process leaves",
  ignore: !canRun,
  async fn() {
    const dir = await Deno.makeTempDir();
    const entry = new URL("../../track/mod.ts", import.meta.url).href;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const source = `import { run } from "${entry}";
      const session = await run({ dir: "${dir}" });
      for (let step = 1;; step++) {
        session.logScalars({ a: step, b: -step }, { step });
        session.logParams({ step });
        if (step === 20) console.log("ready");
      }`;
    try {
      await Deno.writeTextFile(`${dir}/main.ts`, source);
      for (let round = 0; round < 3; round++) {
        const child = new Deno.Command(Deno.execPath(), {
          args: ["run", "--quiet", "-A", "--config", config, `${dir}/main.ts`],
          stdout: "piped",
        }).spawn();
        const reader = child.stdout.getReader();
        await reader.read();
        await new Promise((resolve) => setTimeout(resolve, 7 * round));
        child.kill("SIGKILL");
        await reader.cancel();
        await child.status;
      }
      const listed = listRuns(dir);
      assertEquals(listed.length, 3);
      for (const { dir: folder, problem } of listed) {
        assertEquals(problem, null);
        const { meta, scalars } = readRun(folder);
        assertEquals(meta.status, "running");
        assert(scalars.length >= 40);
        const expected = scalars.map((
          _,
          i,
        ) => [(i >> 1) + 1, i % 2 ? -(i >> 1) - 1 : (i >> 1) + 1]);
        assertEquals(scalars.map(({ step, value }) => [step, value]), expected);
        assert((meta.params.step as number) >= 19);
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
