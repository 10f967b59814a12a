/** What tests of checkpoints share: contents, a reader that knows nothing of the store, comparison. */

import { configureSync, resetSync } from "@logtape/logtape";
import { assert, assertEquals } from "@std/assert";
import type {
  Checkpoint,
  CheckpointContent,
  CheckpointEntry,
  CheckpointTensor,
} from "../../track/mod.ts";

const warnings: string[] = [];

/** A test during which warnings go to `warnings`. */
export function catchWarnings(test: () => Promise<void>): () => Promise<void> {
  return async () => {
    warnings.length = 0;
    configureSync({
      sinks: { list: (record) => void warnings.push(record.message.join("")) },
      loggers: [
        { category: ["legoml", "track"], lowestLevel: "warning", sinks: ["list"] },
        { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["list"] },
      ],
    });
    try {
      await test();
    } finally {
      resetSync();
    }
  };
}

/** Takes the warnings that came so far. */
export function takeWarnings(): string[] {
  return warnings.splice(0);
}

/** Content that says by each of its values of which step it is. */
export function contentOf(step: number, metrics: Record<string, number> = {}): CheckpointContent {
  return { tensors: tensorsOf(step), state: stateOf(step), step, epoch: step % 7, metrics };
}

/** Fails unless a checkpoint is all of what `contentOf` its step gives. */
export function checkContent({ entry, tensors, state }: Checkpoint): CheckpointEntry {
  const { step } = entry;
  assertEquals(state, stateOf(step) as typeof state);
  assertEquals(Object.keys(tensors).sort(), ["7", "model.weight", "optimizer.mask", "steps"]);
  for (const [name, { shape, dtype, data }] of Object.entries(tensorsOf(step))) {
    assertEquals([tensors[name].shape, tensors[name].dtype], [shape, dtype]);
    assertEquals([...tensors[name].data], [...data]);
  }
  assertEquals(entry.epoch, step % 7);
  return entry;
}

/** A tensor of halves, floats, integers, bools, one with the name of a number. */
function tensorsOf(step: number): Record<string, CheckpointTensor> {
  return {
    "model.weight": { shape: [2, 2], dtype: "f32", data: Float32Array.of(step, 0.1, -0, 3e-41) },
    "7": { shape: [], dtype: "f16", data: Float16Array.of(step / 2) },
    "steps": { shape: [1], dtype: "i32", data: Int32Array.of(-step) },
    "optimizer.mask": { shape: [3], dtype: "bool", data: Uint8Array.of(1, 0, step % 2) },
  };
}

function stateOf(step: number): unknown {
  return { seed: 42, loader: { position: step * 64, order: "0f3a" }, list: [step, null, 'é\n"'] };
}

/** One array of a file, as plain values. */
export interface PlainTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

/** Reads a safetensors file by the text of the format alone. */
export function readPlainly(file: Uint8Array): {
  metadata: Record<string, string>;
  tensors: Record<string, PlainTensor>;
  header: Uint8Array;
} {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = file.slice(0, 8 + length);
  const { __metadata__: metadata, ...named } = JSON.parse(
    new TextDecoder().decode(header.subarray(8)),
  );
  const tensors: Record<string, PlainTensor> = {};
  let end = 0;
  for (const [name, info] of Object.entries(named)) {
    const { dtype, shape, data_offsets: [from, to] } = info as {
      dtype: string;
      shape: number[];
      data_offsets: [number, number];
    };
    tensors[name] = { dtype, shape, bytes: file.slice(8 + length + from, 8 + length + to) };
    end = Math.max(end, to);
  }
  assert(8 + length + end === file.length, "the file ends with the last tensor");
  return { metadata, tensors, header };
}
