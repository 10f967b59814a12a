import { assert, assertEquals, assertThrows } from "@std/assert";
import { currentScalars, readRun, readScalars, run, type ScalarRow } from "../../track/mod.ts";
import { type RunScalars, scanRun } from "../../track/scalar_scan.ts";

const canWrite = (await Deno.permissions.query({ name: "write" })).state === "granted" &&
  (await Deno.permissions.query({ name: "read" })).state === "granted";

/** A run with two cursors, names in several scripts, and values of all kinds. */
async function recorded(quoted: boolean): Promise<string> {
  const session = await run({ dir: await Deno.makeTempDir() });
  const log = (value: number, step: number) => {
    session.logScalars({ loss: value, "é/日本": -0, x: null }, { step, epoch: step >> 1 });
    session.logScalars({ loss: NaN, inf: -Infinity, small: 5e-324 }, { samples: 7 * step });
    if (quoted) session.logScalars({ 'a, "b"': value }, { step });
    session.logScalars({ big: 1.7976931348623157e308 });
  };
  for (let step = 1; step <= 5; step++) log(1 / step, step);
  session.resumeFrom({ rows: 18, step: 2, epoch: 1 });
  for (let step = 3; step <= 6; step++) log(-1 / step, step);
  session.resumeFrom({ rows: session.rows - 3, step: 5, epoch: 2 });
  log(3e-7, 6);
  await session.close();
  return session.dir;
}

/** What `RunScalars` should say, by the parser that gives rows. */
function expectedOf(rows: readonly ScalarRow[]) {
  const current = currentScalars(rows);
  const ends = [...Map.groupBy(current, ({ key }) => key).values()].map((own) => own.at(-1)!.epoch);
  const epochs = ends.filter((epoch) => epoch !== null);
  return {
    keys: [...new Set(current.map(({ key }) => key))],
    lastEpoch: epochs.length === 0 ? null : Math.max(...epochs),
    rows: rows.length,
    superseded: rows.length - current.length,
    values: current.map(({ key, step, epoch, samples, value }) => ({
      key,
      step: step ?? NaN,
      epoch: epoch ?? NaN,
      samples: samples ?? NaN,
      value,
    })),
  };
}

function foundBy(scan: RunScalars) {
  const { keys, lastEpoch, rows, superseded } = scan;
  const all = new Map(keys.map((key) => [key, scan.series(key)!]));
  return { keys, lastEpoch, rows, superseded, all };
}

function compare(dir: string, what: string): void {
  const { values, ...expected } = expectedOf(readScalars(`${dir}/logs/scalars.csv`));
  const { all, ...found } = foundBy(scanRun(dir));
  assertEquals(found, expected, what);
  for (const [key, series] of all) {
    const own = values.filter((row) => row.key === key);
    assertEquals(series.steps, own.map(({ step }) => step), what);
    assertEquals(series.epochs, own.map(({ epoch }) => epoch), what);
    assertEquals(series.samples, own.map(({ samples }) => samples), what);
    assert(series.values.every((value, i) => Object.is(value, own[i].value)), what);
    assertEquals(series.values.length, own.length, what);
  }
}

Deno.test({
  name: "scanRun() finds what readScalars() reads",
  ignore: !canWrite,
  fn: async () => {
    for (const quoted of [false, true]) {
      const dir = await recorded(quoted);
      assert(readRun(dir).scalars.some(({ superseded }) => superseded));
      compare(dir, quoted ? "with quotes" : "plain");
      const path = `${dir}/logs/scalars.csv`;
      const text = await Deno.readTextFile(path);
      await Deno.writeTextFile(path, text.replaceAll("\r\n", "\n"));
      compare(dir, "without carriage returns");
      const first = text.replaceAll(/^([^,]*),[^,]*,/gm, "$1,");
      await Deno.writeTextFile(path, first);
      compare(dir, "of the first layout");
      await Deno.remove(path);
      assertEquals([scanRun(dir).keys, scanRun(dir).rows], [[], 0]);
    }
  },
});

Deno.test({
  name: "scanRun() agrees with readScalars() about files that were torn or changed",
  ignore: !canWrite,
  fn: async () => {
    const dir = await recorded(false);
    const path = `${dir}/logs/scalars.csv`;
    // without cursors, so that every row counts and every wrong cell has to be told of
    const meta = JSON.parse(await Deno.readTextFile(`${dir}/meta.json`));
    meta.segments.forEach((segment: { from: null }) => segment.from = null);
    await Deno.writeTextFile(`${dir}/meta.json`, JSON.stringify(meta));
    const whole = await Deno.readFile(path);
    let seed = 1;
    const random = (n: number) => (seed = (seed * 48_271) % 0x7fff_ffff) % n;
    const bytes = [...'0123456789,"\r\n-+.eNI aZT:é'].flatMap((
      c,
    ) => [...new TextEncoder().encode(c)]);
    let [broken, sound] = [0, 0];
    for (let round = 0; round < 1500; round++) {
      const length = round % 3 === 0 ? random(whole.length) : whole.length;
      const changed = whole.slice(0, length);
      for (let i = round % 3; i > 0; i--) {
        changed[random(changed.length)] = round % 7 === 0
          ? random(256)
          : bytes[random(bytes.length)];
      }
      await Deno.writeFile(path, changed);
      let expected: string | null = null;
      try {
        readScalars(path);
      } catch (error) {
        expected = (error as Error).message;
      }
      if (expected === null) {
        sound++;
        compare(dir, `round ${round}`);
      } else {
        broken++;
        assertThrows(() => foundBy(scanRun(dir)), SyntaxError, expected);
      }
    }
    assert(broken > 250 && sound > 250, `${broken} broken, ${sound} sound`);
  },
});
