/**
 * What loader workers are good for: an epoch over pictures that must be decoded, beside a program that
 * computes for so many milliseconds a batch.
 *
 *   deno run -A tests/bench/workers.ts [--json]
 *
 * The floor of an epoch is its computing time, or its decoding time divided by the cores, whichever is
 * longer. All numbers of workers take turns in each round; medians count.
 */

import { parseArgs } from "@std/cli/parse-args";
import { referenceDevice } from "../../core/mod.ts";
import {
  DataLoader,
  type Dataset,
  encodePng,
  type LabelledItem,
  shapes,
  workerDataset,
} from "../../data/mod.ts";
import { refuse } from "./flags.ts";
import { digits, textTable } from "./text_table.ts";

const IMAGES = 256;
const SIDE = 128;
const BATCH = 16;
const ROUNDS = 5;
const WORKERS = [0, 1, 2] as const;
const url = new URL("./worker_folder.ts", import.meta.url);

/** Writes pictures of 128 × 128 pixels, made of the 32 × 32 shapes. */
async function writePictures(folder: string): Promise<void> {
  const small = shapes({ split: "train", count: IMAGES, seed: 1 });
  for (let i = 0; i < IMAGES; i++) {
    const { input, label } = small.get(i);
    const data = new Uint8Array(SIDE * SIDE * 3);
    for (let at = 0; at < data.length; at++) {
      const [pixel, channel] = [Math.floor(at / 3), at % 3];
      const [y, x] = [Math.floor(pixel / SIDE), pixel % SIDE];
      const noise = (at * 2654435761 >>> 28) & 7;
      data[at] = Math.min(255, Number(input[channel * 1024 + (y >> 2) * 32 + (x >> 2)]) + noise);
    }
    await Deno.mkdir(`${folder}/${label}`, { recursive: true });
    const file = await encodePng({ width: SIDE, height: SIDE, channels: 3, data });
    await Deno.writeFile(`${folder}/${label}/${i}.png`, file);
  }
}

/** Keeps this thread busy, as recording and computing do. */
function compute(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

async function epochSeconds(dataset: Dataset<LabelledItem>, busyMs: number): Promise<number> {
  const loader = new DataLoader(dataset, {
    batchSize: BATCH,
    prefetch: 4,
    device: referenceDevice(),
    collate: (items) => () => items.length,
  });
  const start = performance.now();
  for await (const _ of loader) compute(busyMs);
  return (performance.now() - start) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

if (import.meta.main) {
  const { json } = parseArgs(Deno.args, { boolean: ["json"], unknown: refuse("--json") });
  const folder = await Deno.makeTempDir();
  await writePictures(folder);
  const datasets = await Promise.all(
    WORKERS.map((workers) => workerDataset<LabelledItem>(url, { workers, args: folder })),
  );
  // The decoders of each thread are compiled by then.
  for (const dataset of datasets) await epochSeconds(dataset, 0);
  const results = [];
  for (const busyMs of [0, 10, 30]) {
    const seconds = WORKERS.map((): number[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, dataset] of datasets.entries()) {
        seconds[i].push(await epochSeconds(dataset, busyMs));
      }
    }
    const medians = seconds.map(median);
    const computing = IMAGES / BATCH * busyMs / 1000;
    results.push({ busyMs, computing, medians, ratios: medians.map((s) => s / medians[0]) });
  }
  for (const dataset of datasets) dataset.dispose();
  await Deno.remove(folder, { recursive: true });
  if (json) console.log(JSON.stringify({ images: IMAGES, side: SIDE, workers: WORKERS, results }));
  else {
    const head = ["ms a batch", "computing s", ...WORKERS.map((n) => `${n} workers s`), "2 : 0"];
    console.log(textTable(
      head,
      results.map(({ busyMs, computing, medians, ratios }) => [
        `${busyMs}`,
        ...[computing, ...medians, ratios[2]].map(digits),
      ]),
    ));
  }
}
