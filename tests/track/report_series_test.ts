import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { readScalars, run, type RunSession } from "../../track/mod.ts";
import {
  directionOf,
  extremeOf,
  finalValue,
  mainMetric,
  readSeries,
  recordedDirections,
  seriesOf,
} from "../../track/report_series.ts";

const granted = async (name: "read" | "write" | "run") =>
  (await Deno.permissions.query({ name })).state === "granted";
const ignore = !(await granted("read") && await granted("write") && await granted("run"));

const START = Date.UTC(2026, 0, 31, 23, 59, 58);

async function open(): Promise<RunSession> {
  return await run({ dir: await Deno.makeTempDir() });
}

Deno.test({
  name: "readSeries() reads what readScalars() reads, whatever the names and values",
  ignore,
  fn: async () => {
    const count = fc.option(fc.nat(), { nil: undefined });
    const value = fc.option(fc.double(), { nil: null });
    const key = fc.oneof(fc.constantFrom("a", "train/b", 'q"', "x,y"), fc.string({ minLength: 1 }))
      .filter((text) => !/\p{Cc}/u.test(text) && text.isWellFormed());
    const rows = fc.array(fc.tuple(key, value, count, count, count), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(rows, async (list) => {
        await using session = await open();
        for (const [name, number, step, epoch, samples] of list) {
          session.logScalars({ [name]: number }, { step, epoch, samples });
        }
        const path = `${session.dir}/logs/scalars.csv`;
        const expected = list.length === 0 ? [] : readScalars(path);
        assertEquals(readSeries(session.dir), seriesOf(expected));
      }),
      { numRuns: 30 },
    );
  },
});

Deno.test({
  name: "readSeries() refuses lines as readScalars() does",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await Deno.mkdir(`${dir}/logs`);
    const path = `${dir}/logs/scalars.csv`;
    for (
      const line of [
        "yesterday,1,0,64,a,1",
        "2026-01-31T23:59:59Z,1.5,0,64,a,1",
        "2026-01-31T23:59:59Z,1,0,64,a,nan",
        "2026-01-31T23:59:59Z,1,0,64,a, 1",
        "2026-01-31T23:59:59Z,1,0,64,a",
        "2026-01-31T23:59:59Z,1,0,64,a,1,2",
      ]
    ) {
      const good = "2026-01-31T23:59:59Z,1,0,64,a,1";
      const withSegment = (line: string) => line.replace(",", ",1,");
      for (const form of [(line: string) => line, withSegment]) {
        const head = form === withSegment ? "time,segment" : "time";
        const lines = [`${head},step,epoch,samples,key,value`, form(good), form(line)];
        await Deno.writeTextFile(path, lines.map((each) => `${each}\r\n`).join(""));
        const { message } = assertThrows(() => readScalars(path), SyntaxError);
        assertEquals(assertThrows(() => readSeries(dir), SyntaxError).message, message);
      }
    }
    const lines = [
      "time,segment,step,epoch,samples,key,value",
      "2026-01-31T23:59:59Z,2,1,0,64,a,1",
    ];
    await Deno.writeTextFile(path, lines.map((each) => `${each}\r\n`).join(""));
    const { message } = assertThrows(() => readScalars(path), SyntaxError, "segment 2");
    assertEquals(assertThrows(() => readSeries(dir), SyntaxError).message, message);
  },
});

Deno.test({
  name: "readSeries() keeps what restarts superseded apart, however often the run went back",
  ignore,
  fn: async () => {
    const cursor = fc.double({ min: 0, max: 1, noNaN: true });
    const segments = fc.array(fc.tuple(cursor, fc.array(fc.nat(3), { maxLength: 5 })), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(segments, fc.boolean(), async (list, quoted) => {
        const dir = await open().then(async (session) => (await session.close(), session.dir));
        // By the definition: what stands behind the row from which a later segment goes on is void.
        let current: string[] = [];
        const void_: string[] = [];
        let rows = 0;
        for (const [i, [share, values]] of list.entries()) {
          await using session = await run({ resume: dir });
          const from = i === 0 ? rows : Math.floor(share * rows);
          if (i > 0) session.resumeFrom({ rows: from, step: from, epoch: 0 });
          for (const value of values) {
            session.logScalars({ [quoted ? 'a"' : "a"]: value }, { step: rows });
            current.push(`${rows++} ${value}`);
          }
          void_.push(...current.filter((text) => {
            const row = Number(text.split(" ")[0]);
            return row >= from && row < rows - values.length;
          }));
          current = current.filter((text) => !void_.includes(text));
        }
        const read = readSeries(dir);
        const texts = (of: typeof read.series) =>
          [...of.values()].flatMap(({ steps, values }) =>
            steps.map((at, k) => `${at} ${values[k]}`)
          );
        assertEquals(texts(read.series), current);
        assertEquals(texts(read.superseded).toSorted(), void_.toSorted());
        assertEquals(read.rows, rows);
        assertEquals(read, seriesOf(rows === 0 ? [] : readScalars(`${dir}/logs/scalars.csv`)));
      }),
      { numRuns: 15 },
    );
  },
});

Deno.test("recordedDirections() takes what events say is better, later ones before earlier ones", () => {
  const event = (better: unknown) => ({
    time: new Date(START),
    event: "engineStart",
    fields: { better } as never,
  });
  const events = [
    event({ a: "up", b: "down" }),
    event({ a: "down", c: 1 }),
    event(null),
    event([]),
  ];
  assertEquals([...recordedDirections(events)], [["a", "min"], ["b", "min"]]);
});

Deno.test("extremeOf() takes the first of the best finite values", () => {
  const row = (value: number | null, step: number) => ({
    time: new Date(START),
    segment: 1,
    key: "a",
    value,
    step,
    epoch: null,
    samples: null,
    superseded: false,
  });
  const values = [NaN, 3, null, 1, -Infinity, 1, 3, Infinity, NaN];
  const series = seriesOf(values.map((value, i) => row(value, i))).series.get("a")!;
  assertEquals(extremeOf(series, "min"), { value: 1, step: 3, epoch: null });
  assertEquals(extremeOf(series, "max"), { value: 3, step: 1, epoch: null });
  assertEquals(finalValue(series), NaN);
  assertEquals(extremeOf(seriesOf([row(NaN, 1)]).series.get("a")!, "min"), null);
});

Deno.test("names tell which values of a metric are good", () => {
  for (const key of ["loss", "test/loss", "trainLoss", "eval/perplexity", "val_loss", "mae"]) {
    assertEquals(directionOf(key), "min", key);
  }
  for (
    const key of ["test/accuracy", "testAccuracy", "report/f1", "accuracy@5", "top5_acc", "r2"]
  ) {
    assertEquals(directionOf(key), "max", key);
  }
  for (const key of ["lr", "train/gradNorm", "seconds", "glossary", "facc"]) {
    assertEquals(directionOf(key), null, key);
  }
  assertEquals(
    mainMetric(["step/loss", "train/accuracy", "test/loss", "test/accuracy"]),
    "test/accuracy",
  );
  assertEquals(mainMetric(["lr", "step/loss", "train/loss"]), "train/loss");
  assertEquals(mainMetric(["lr"]), null);
});
