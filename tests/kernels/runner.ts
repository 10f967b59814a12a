/** Runs elementwise formulas on backends, without tensors. */

import { assert } from "@std/assert";
import type { Backend, HostArray } from "../../core/backend/backend.ts";
import { dtypeOf, type Expr } from "../../kernels/expr.ts";
import { mapKernel } from "../../kernels/map.ts";
import type { DType } from "../../kernels/types.ts";
import { usualKernels } from "./backends.ts";

/** A column of elements of one type. */
export interface Column {
  readonly dtype: DType;
  readonly data: HostArray;
}

/** A column of f32. */
export function floats(values: Iterable<number>): Column {
  return { dtype: "f32", data: Float32Array.from(values) };
}

/** Columns of the given types. */
export function columnsOf(types: readonly DType[], values: readonly number[][]): Column[] {
  return types.map((dtype, k) => {
    const column = values[k];
    switch (dtype) {
      case "bool":
        return { dtype, data: Uint8Array.from(column, (x) => (x === 0 ? 0 : 1)) };
      case "i32":
        return { dtype, data: Int32Array.from(column) };
      case "u32":
        return { dtype, data: Uint32Array.from(column) };
      default:
        return floats(column);
    }
  });
}

/** A device that formulas run on. */
export class Runner {
  readonly #backend: Backend;

  /** @param backend that nobody else uses */
  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** The adapter, in words. */
  get name(): string {
    return this.#backend.name;
  }

  /** The formula over columns of one length, element by element. */
  async run(expr: Expr, columns: readonly Column[]): Promise<HostArray> {
    const backend = this.#backend;
    const count = columns[0].data.length;
    const dtype = dtypeOf(expr, columns.map((c) => c.dtype));
    const kernel = mapKernel({
      expr,
      shape: [count],
      inputs: columns.map((c) => ({ dtype: c.dtype, strides: [1], offset: 0 })),
      output: { dtype, strides: [1], offset: 0 },
      scalars: [],
    });
    const operand = (type: DType) => ({
      buffer: backend.allocate(count, type, "test"),
      offset: 0,
      size: count,
    });
    const inputs = columns.map((column) => {
      const o = operand(column.dtype);
      backend.write(o.buffer, 0, column.dtype, column.data);
      return o;
    });
    const output = operand(dtype);
    backend.run({ kernel, inputs, outputs: [output], scalars: [] });
    const result = await backend.read(output, dtype);
    for (const o of [...inputs, output]) backend.free(o.buffer);
    return result;
  }

  /** Gives the device back. */
  close(): void {
    this.#backend.close();
  }
}

/** Declares a test for each kind of device; one that is missing is skipped by name. */
export function onDevice(
  name: string,
  fn: (runner: Runner, t: Deno.TestContext) => Promise<void>,
): void {
  for (const { name: kind, ignore, open } of usualKernels) {
    Deno.test({
      name: `${name}, ${kind}`,
      ignore,
      fn: async (t) => {
        const runner = new Runner(await open());
        try {
          await fn(runner, t);
        } finally {
          runner.close();
        }
      },
    });
  }
}

/** Fails with the first disagreements; `check` gives a text for each element that is wrong. */
export function assertAll(count: number, check: (i: number) => string | null): void {
  const wrong: string[] = [];
  for (let i = 0; i < count; i++) {
    const text = check(i);
    if (text !== null) wrong.push(text);
  }
  const shown = wrong.slice(0, 8).join("\n");
  assert(wrong.length === 0, `${wrong.length} of ${count} results are wrong:\n${shown}`);
}
