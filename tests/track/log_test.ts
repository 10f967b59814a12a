import { assert, assertEquals, assertThrows } from "@std/assert";
import { configureSync, getLogger, resetSync } from "@logtape/logtape";
import { configureLogging, run } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

Deno.test("configureLogging() shows legoml records from its level on, one a line", () => {
  const lines: string[] = [];
  try {
    configureLogging({ level: "warning", write: (line) => lines.push(line) });
    getLogger(["legoml", "track"]).info("quiet");
    getLogger(["legoml", "data"]).warn("mirror {n} is down", { n: 2 });
    getLogger(["other"]).error("not ours");
  } finally {
    resetSync();
  }
  assertEquals(lines.length, 1);
  assert(/WRN.*legoml.data.*mirror 2 is down\n$/.test(lines[0]), lines[0]);
});

Deno.test("configureLogging() leaves a program's own logging alone", () => {
  const seen: unknown[] = [];
  try {
    configureSync({
      sinks: { mine: (record) => seen.push(record.message.join("")) },
      loggers: [{ category: "legoml", sinks: ["mine"] }, { category: ["logtape", "meta"] }],
    });
    assertThrows(() => configureLogging(), Error, "Already configured");
    getLogger("legoml").info("mine");
  } finally {
    resetSync();
  }
  assertEquals(seen, ["mine"]);
});

Deno.test("run() logs its start and its end", async () => {
  const lines: string[] = [];
  try {
    configureLogging({ write: (line) => lines.push(line) });
    await run({ dir: "/runs", files: new MemoryFiles() }, () => {});
  } finally {
    resetSync();
  }
  assertEquals(lines.length, 2);
  assert(/legoml.track: Run ".*" started in "\/runs\/.*"\n$/.test(lines[0]), lines[0]);
  assert(/legoml.track: Run ".*" "completed"\n$/.test(lines[1]), lines[1]);
});
