/** The verdict of an optimizer on each of its steps: norm, factor and skip, reached on the device. */

import { partialsOf } from "../../kernels/clip.ts";
import type { DType, Operand } from "../../kernels/types.ts";
import { judgeKernel, VERDICT_SIZE, verdictKernel } from "../../kernels/verdict.ts";
import { currentCapture, uncaptured } from "../backend/capture.ts";
import type { Device } from "../backend/device.ts";
import { fullOn } from "../tensor/fill.ts";
import { copyOf } from "../tensor/in_place.ts";
import { denseOperand } from "../tensor/launch.ts";
import { noGrad } from "../tensor/tape.ts";
import { empty, type Tensor } from "../tensor/tensor.ts";

/** A range of flat gradients that takes part in a step. */
export interface JudgedSpan {
  readonly operand: Operand<unknown>;
  readonly dtype: DType;
}

/** The factor by which a loss was multiplied, as it lies on the device. */
export interface GradientScale {
  /** The factor, one f32. */
  readonly scale: Tensor;
  /** Becomes 1 where a gradient was NaN or infinite; one f32. */
  readonly found: Tensor;
}

/** What a step is judged by. */
export interface JudgeOptions {
  /** Largest norm, asked anew by every replay; null where there is none. */
  readonly limit: () => number | null;
  /** Whether flaws lead to a skip. */
  readonly skips: boolean;
  readonly scale: GradientScale | null;
}

/** Keeps verdicts in memory that lasts, where captured steps find it. */
export class Judge {
  /** Norm, factor, and whether the step is taken. */
  readonly #verdict: Tensor;
  readonly #skipped: Tensor;

  /** @param device where the gradients are */
  constructor(device: Device) {
    [this.#verdict, this.#skipped] = uncaptured(() => [
      fullOn(device, [VERDICT_SIZE], "f32", 0).keep(),
      fullOn(device, [1], "u32", 0).keep(),
    ]);
  }

  /** The verdict as updates read it. */
  get operand(): Operand<unknown> {
    return denseOperand(this.#verdict);
  }

  /** The norm of the latest step, in memory of its own. */
  norm(): Tensor {
    return scalarOf(this.#verdict);
  }

  /** How many steps were skipped, in memory of its own. */
  skipped(): Tensor {
    return scalarOf(this.#skipped);
  }

  /** Judges all gradients of a step together. */
  judge(spans: readonly JudgedSpan[], { limit, skips, scale }: JudgeOptions): void {
    const { device } = this.#verdict;
    using _ = device.scope();
    const counts = spans.map(({ operand }) => partialsOf(operand.size));
    const total = counts.reduce((a, b) => a + b, 0);
    const sums = empty(device, [total], "f32", "verdict");
    const flaws = empty(device, [total], "u32", "verdict");
    const scales = scale === null ? [] : [denseOperand(scale.scale)];
    let at = 0;
    spans.forEach(({ operand, dtype }, i) => {
      const part = (t: Tensor) => ({ buffer: t.storage.buffer, offset: at, size: counts[i] });
      device.record({
        kernel: judgeKernel(operand.size, dtype, scale !== null),
        inputs: [operand, ...scales],
        outputs: [part(sums), part(flaws)],
        scalars: [],
      });
      at += counts[i];
    });
    const kernelNow = () =>
      verdictKernel({ count: total, clips: limit() !== null, unscales: scale !== null });
    const kernel = kernelNow();
    currentCapture()?.guard(() => kernelNow() === kernel);
    const live = () => [limit() ?? Infinity, Number(skips)];
    const changed = [this.#verdict, this.#skipped, ...scale === null ? [] : [scale.found]];
    device.record({
      kernel,
      inputs: [denseOperand(sums), denseOperand(flaws), ...scales],
      outputs: changed.map(denseOperand),
      scalars: live(),
      live,
    });
    for (const { storage } of changed) storage.version++;
  }

  /** Gives the memory back. */
  dispose(): void {
    this.#verdict.dispose();
    this.#skipped.dispose();
  }
}

function scalarOf(t: Tensor): Tensor {
  using first = t.alias({ shape: [], strides: [], offset: 0 });
  return noGrad(() => copyOf(first));
}
