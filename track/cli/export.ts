/** `legoml runs export`. */

import { stringify } from "@std/csv/stringify";
import { denoFileOps } from "../file_ops.ts";
import { readRun } from "../read.ts";
import { currentScalars, SCALAR_COLUMNS, type ScalarRow } from "../scalars.ts";
import { writeWhole } from "../writing.ts";
import { type Command, dirFlag, type Input, jsonFlag, jsonText, type Output } from "./command.ts";
import { findRun } from "./runs.ts";

type Value = number | string | null;

/** Prints the scalars of a run as CSV or JSON. */
export const exportRun: Command = {
  usage: "RUN",
  purpose: "Prints the values of a run as CSV, a line for each",
  count: [1, 1],
  flags: {
    wide: { value: "", help: "a line for each step and a column for each metric" },
    out: { value: "FILE", help: "write into this file" },
    dir: dirFlag,
    json: jsonFlag,
  },
  run(input: Input, { out, err }: Output): number {
    const all = readRun(findRun(input.text("dir") ?? "runs", input.args[0])).scalars;
    const scalars = currentScalars(all);
    const { columns, rows } = input.has("wide") ? wideTable(scalars) : longTable(scalars);
    const text = input.has("json")
      ? jsonText(rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))))
      : stringify([columns, ...rows], { headers: false }).trimEnd();
    const file = input.text("out");
    if (file === undefined) {
      out(text);
    } else {
      writeWhole(denoFileOps, file, new TextEncoder().encode(`${text}\n`));
      err(`wrote ${file}`);
    }
    return 0;
  },
};

interface Table {
  readonly columns: string[];
  readonly rows: Value[][];
}

function longTable(scalars: readonly ScalarRow[]): Table {
  const rows = scalars.map(({ time, segment, step, epoch, samples, key, value }) => [
    time.toISOString(),
    segment,
    step,
    epoch,
    samples,
    key,
    cellOf(value),
  ]);
  return { columns: [...SCALAR_COLUMNS], rows };
}

/**
 * A row for each combination of step, epoch and samples, in the order of the file. A metric that was
 * logged again at the same place begins another row, so that nothing is lost.
 */
export function wideTable(scalars: readonly ScalarRow[]): Table {
  const keys = [...new Set(scalars.map(({ key }) => key))];
  const counts = ["step", "epoch", "samples"];
  const column = new Map(keys.map((key, i) => [key, counts.length + i]));
  const rows: Value[][] = [];
  const open = new Map<string, { readonly row: Value[]; readonly filled: Set<string> }>();
  for (const { step, epoch, samples, key, value } of scalars) {
    const place = `${step},${epoch},${samples}`;
    let at = open.get(place);
    if (at === undefined || at.filled.has(key)) {
      at = { row: [step, epoch, samples, ...keys.map(() => null)], filled: new Set() };
      open.set(place, at);
      rows.push(at.row);
    }
    at.row[column.get(key)!] = cellOf(value);
    at.filled.add(key);
  }
  const names = keys.map((key) => counts.includes(key) ? `${key} (value)` : key);
  return { columns: [...counts, ...names], rows };
}

/** A value as it stands in `scalars.csv`. */
function cellOf(value: number | null): Value {
  return Object.is(value, -0) ? "-0" : value;
}
