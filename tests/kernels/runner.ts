/** Runs elementwise formulas on a WebGPU adapter, without tensors. */

import { assert } from "@std/assert";
import { openWebGpu } from "../../core/backend/adapter.ts";
import type { HostArray } from "../../core/backend/backend.ts";
import { dtypeOf, type Expr } from "../../kernels/expr.ts";
import { mapKernel } from "../../kernels/map.ts";
import type { DType } from "../../kernels/types.ts";

const hasAdapter = (await navigator.gpu?.requestAdapter() ?? null) !== null;

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

type Backend = Awaited<ReturnType<typeof openWebGpu>>;

/** A device that formulas run on. */
export class Runner {
  readonly #backend: Backend;

  private constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** The best adapter there is. */
  static async open(): Promise<Runner> {
    return new Runner(await openWebGpu({ software: false, memoryBudget: 2 ** 28 }));
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

/** Declares a test that runs on a device, and is skipped by name where there is no adapter. */
export function onDevice(
  name: string,
  fn: (runner: Runner, t: Deno.TestContext) => Promise<void>,
): void {
  Deno.test({
    name,
    ignore: !hasAdapter,
    fn: async (t) => {
      const runner = await Runner.open();
      try {
        await fn(runner, t);
      } finally {
        runner.close();
      }
    },
  });
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
