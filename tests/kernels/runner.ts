/** Runs elementwise formulas on a WebGPU adapter, without tensors. */

import { openWebGpu } from "../../core/backend/adapter.ts";
import type { HostArray } from "../../core/backend/backend.ts";
import { dtypeOf, type Expr } from "../../kernels/expr.ts";
import { mapKernel } from "../../kernels/map.ts";
import type { DType } from "../../kernels/types.ts";

/** True where tests that need an adapter can run. */
export const hasAdapter: boolean = (await navigator.gpu?.requestAdapter() ?? null) !== null;

/** A column of elements of one type. */
export interface Column {
  readonly dtype: DType;
  readonly data: HostArray;
}

/** A column of f32. */
export function floats(values: Iterable<number>): Column {
  return { dtype: "f32", data: Float32Array.from(values) };
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

