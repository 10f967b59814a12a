/**
 * Parameters, images and labels of the TinyCNN run, from the formulas in the head of tinycnn.json.
 *
 * They use only double multiplication, addition, floor, square root and division in a fixed
 * order, so every machine gets the bits that PyTorch trained on; checksums in the file prove it.
 */
import { tinyCnn } from "./load.ts";

const PHI = 0.6180339887498949;
const PSI = 0.7548776662466927;
const PIXELS = 784;

function frac(x: number): number {
  return x - Math.floor(x);
}

/** A start value of the model: state-dict name, shape, and values in row-major order. */
export interface StartParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/**
 * The 16 parameters that the run starts from, in PyTorch's order.
 *
 * @returns Weights and biases of convolutions and linear layers by the formula; for BatchNorm
 * weight 1 and bias 0.
 */
export function startParameters(): StartParameter[] {
  return tinyCnn.parameters.map(({ name, shape, fanIn }, k) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    if (fanIn === null) {
      data.fill(name.endsWith("weight") ? 1 : 0);
    } else {
      const root = Math.sqrt(fanIn);
      for (let i = 0; i < data.length; i++) data[i] = (frac(i * PHI + k * PSI) * 2 - 1) / root;
    }
    return { name, shape, data };
  });
}

/**
 * The images of a step.
 *
 * @param step Counted from 0; even and odd steps see one batch each.
 * @returns [8, 1, 28, 28] values in [0, 1).
 */
export function images(step: number): Float32Array<ArrayBuffer> {
  const data = new Float32Array(tinyCnn.settings.batch * PIXELS);
  const first = (step % 2) * data.length;
  for (let i = 0; i < data.length; i++) {
    const n = first + i;
    data[i] = frac((n * n) * PHI + n * PSI);
  }
  return data;
}

/**
 * The labels of a step.
 *
 * @param step Counted from 0.
 * @returns 8 classes in [0, 10).
 */
export function labels(step: number): Int32Array<ArrayBuffer> {
  const rows = Array.from({ length: tinyCnn.settings.batch }, (_, row) => row);
  return Int32Array.from(rows, (row) => ((step % 2) * 3 + row * 7) % 10);
}
