/** Damaged files of a run's folder; `LEGOML_FUZZ` gives a tenth of so many of each. */

import { assert, assertEquals } from "@std/assert";
import { readRun, run, type RunRecord } from "../../track/mod.ts";
import { encoded, fuzz, fuzzCount, tellCounts } from "../fuzz.ts";
import { MemoryFiles } from "./memory_files.ts";

const COUNT = fuzzCount(3_000, 0.1);
const now = () => new Date(Date.UTC(2026, 0, 1));

const files = new MemoryFiles();
const session = await run({
  dir: "/runs",
  name: "é",
  tags: { a: "b" },
  config: { lr: 0.1, deep: { list: [1, null, "x"] } },
  files,
  now,
});
session.logScalars({ loss: 0.5, 'odd, "name"': NaN, none: null }, { step: 1, split: "train" });
session.logScalars({ loss: -Infinity, rate: 1e-7 }, { step: 2, epoch: 1, samples: 64 });
session.logEvent("epoch", { number: 1, loss: NaN });
session.logEvent("engineEnd", {});
await session.close();

const words = [
  ...['"', "\n", "\r\n", ",", "{", "}", "[", "]", ":", "null", "1e999", "NaN", "\0", "\xff"],
  ...['"__proto__":1,', "2026-01-01T00:00:00.000Z", "step", "{}\n", "a,b\n", "running", "\\u0000"],
];

for (const file of ["meta.json", "logs/scalars.csv", "logs/events.jsonl"]) {
  const path = `${session.dir}/${file}`;
  const original = files.read(path);

  Deno.test(`${COUNT} damaged ${file} give a run or a SyntaxError that names the file`, async () => {
    const start = performance.now();
    const counts = await fuzz<RunRecord>(
      {
        name: file,
        seeds: [{ bytes: original }],
        words,
        read(bytes) {
          files.files.set(path, bytes);
          return readRun(session.dir, { files });
        },
        isOurs: (error) => error instanceof SyntaxError && error.message.includes(path),
        check({ scalars, events, meta }, bytes) {
          if (file === "meta.json") {
            assert(!Number.isNaN(Date.parse(meta.createdAt)));
            return;
          }
          // Each whole line is a row, unless one is quoted over several; none of them is dropped.
          const lines = new TextDecoder().decode(bytes).split("\n").slice(0, -1);
          if (file.endsWith("jsonl")) assertEquals(events.length, lines.length);
          else assert(scalars.length <= Math.max(0, lines.length - 1));
        },
      },
      COUNT,
      5,
    );
    files.files.set(path, original);
    tellCounts(file, counts, start);
    assert(counts.accepted > COUNT / 100 && counts.refused > COUNT / 10, JSON.stringify(counts));
  });
}

Deno.test("a scalars.csv or events.jsonl cut at any byte still gives all of its whole lines", () => {
  const path = (file: string) => `${session.dir}/logs/${file}`;
  const whole = readRun(session.dir, { files });
  const kinds = [["scalars.csv", "scalars", 1], ["events.jsonl", "events", 0]] as const;
  for (const [file, kind, headers] of kinds) {
    const bytes = files.read(path(file));
    for (let length = 0; length <= bytes.length; length++) {
      files.files.set(path(file), bytes.slice(0, length));
      const rows = readRun(session.dir, { files })[kind];
      const ends = bytes.slice(0, length).filter((byte) => byte === encoded("\n")[0]).length;
      assertEquals(rows, whole[kind].slice(0, Math.max(0, ends - headers)), `${file} to ${length}`);
    }
    files.files.set(path(file), bytes);
  }
});
