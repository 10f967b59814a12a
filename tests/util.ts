/** What tests share: devices, keyed data, comparison by tolerance, and the gradient check by projection. */

import {
  type Device,
  DeviceError,
  getDevice,
  grad,
  referenceDevice,
  type Tensor,
  tensor,
} from "../core/mod.ts";
import { threefry2x32 } from "../core/tensor/random.ts";
import type { DType, Shape } from "../kernels/types.ts";

/** The f64 reference. */
export const reference: Device = referenceDevice();

/** The CPU device, or null where the runtime lacks what it needs. */
export const cpu: Device | null = await open("cpu");

/** The WebGPU device, or null where there is no adapter; tests of WebGPU itself say `ignore: gpu === null`. */
export const gpu: Device | null = await open("webgpu");

/** The devices that compute in f32, by kind; null where there is none. */
const candidates: readonly (readonly [string, Device | null])[] = [["webgpu", gpu], ["cpu", cpu]];

/** The devices that compute in f32 and are there. */
export const f32Devices: readonly Device[] = candidates.flatMap(([, d]) => d === null ? [] : [d]);

/** The reference and all other devices that are there. */
export const devices: readonly Device[] = [reference, ...f32Devices];

async function open(kind: "cpu" | "webgpu"): Promise<Device | null> {
  try {
    return await getDevice({ kind });
  } catch (error) {
    if (error instanceof DeviceError) return null;
    throw error;
  }
}

/** A test that runs on every device that computes in f32. */
export interface DeviceTest {
  /** What holds; the kind of the device is put behind it. */
  readonly name: string;
  /** Whether it needs f16 storage. @default {false} */
  readonly f16?: boolean;
  /** The test on one device. */
  readonly fn: (device: Device, t: Deno.TestContext) => void | Promise<void>;
}

/** Registers a test for each device that computes in f32; one that is missing is skipped by name. */
export function testOnDevices({ name, f16 = false, fn }: DeviceTest): void {
  for (const [kind, device] of candidates) {
    Deno.test({
      name: `${name}, ${kind}`,
      ignore: device === null || (f16 && !device.traits.f16),
      fn: (t) => fn(device!, t),
    });
  }
}

/** Bounds: `|got − want| ≤ abs + rel·|want|`. */
export interface Bounds {
  readonly rel: number;
  readonly abs: number;
}

/** Numbers in [low, high), the same for the same seed, rounded to f32. */
export function randomValues(count: number, seed: number, low = -1, high = 1): Float64Array {
  return Float64Array.from(
    { length: count },
    (_, i) => Math.fround(low + (high - low) * threefry2x32(seed, 0x7e57, i, 0)[0] / 2 ** 32),
  );
}

/** Fails unless all numbers agree: NaN with NaN, infinities exactly, the rest within bounds. */
export function assertClose(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  bounds: Bounds | number,
  label = "values",
): void {
  const { rel, abs } = typeof bounds === "number" ? { rel: bounds, abs: bounds } : bounds;
  if (got.length !== want.length) {
    throw new Error(`${label}: expected ${want.length} numbers, found ${got.length}`);
  }
  let worst = 0;
  let at = -1;
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i], want[i]];
    if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const excess = Math.abs(a - b) / (abs + rel * Math.abs(b));
    if (!(excess <= worst)) {
      worst = Number.isFinite(excess) ? excess : Infinity;
      at = i;
    }
  }
  if (worst > 1) {
    throw new Error(
      `${label}: element ${at} is ${got[at]}, expected ${want[at]} within ${abs} + ${rel}·|x| ` +
        `(${worst.toPrecision(3)} times the bound)`,
    );
  }
}

/** One input of an op under test. */
export interface Sample {
  readonly shape: Shape;
  readonly data: ArrayLike<number>;
  readonly dtype?: DType;
  /** Whether gradients are checked; floats by default. */
  readonly differentiable?: boolean;
}

/** A sample of keyed numbers. */
export function sample(shape: Shape, seed: number, low = -1, high = 1): Sample {
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, data: randomValues(count, seed, low, high) };
}

/** An op under test, written in tensor ops. */
export type TensorFunction = (...inputs: Tensor[]) => Tensor;

function place(device: Device, s: Sample): Tensor {
  const dtype = s.dtype ?? "f32";
  const t = tensor(Float64Array.from(s.data), { device, shape: s.shape, dtype });
  if (s.differentiable ?? dtype === "f32") t.requiresGrad = true;
  return t;
}

interface Outcome {
  readonly output: ArrayLike<number>;
  readonly shape: Shape;
  readonly gradients: (ArrayLike<number> | null)[];
}

/** Runs an op forward, and backward with a keyed cotangent. */
export async function evaluate(
  device: Device,
  fn: TensorFunction,
  samples: readonly Sample[],
): Promise<Outcome> {
  using _ = device.scope();
  const inputs = samples.map((s) => place(device, s));
  const output = fn(...inputs);
  if (output.requiresGrad) {
    const g = tensor(randomValues(output.size, 99), { device, shape: output.shape });
    output.backward({ gradient: g });
  }
  return {
    output: await output.data(),
    shape: output.shape,
    gradients: await Promise.all(inputs.map((t) => t.grad === null ? null : t.grad.data())),
  };
}

/** Compares an op on a device with the reference, forward within bounds and backward within four times of them. */
export async function compareWithReference(
  device: Device,
  fn: TensorFunction,
  samples: readonly Sample[],
  bounds: Bounds | number,
  label: string,
): Promise<void> {
  const want = await evaluate(reference, fn, samples);
  const got = await evaluate(device, fn, samples);
  if (String(got.shape) !== String(want.shape)) {
    throw new Error(`${label}: shape [${got.shape}], expected [${want.shape}]`);
  }
  assertClose(got.output, want.output, bounds, `${label} forward`);
  const { rel, abs } = typeof bounds === "number" ? { rel: bounds, abs: bounds } : bounds;
  want.gradients.forEach((gradient, i) => {
    if (gradient === null) return;
    const other = got.gradients[i];
    if (other === null) throw new Error(`${label}: input ${i} has no gradient`);
    assertClose(other, gradient, { rel: 4 * rel, abs: 4 * abs }, `${label} gradient of input ${i}`);
  });
}

/** Options of gradcheck. */
export interface GradcheckOptions {
  /** Step of the central difference. @default {1e-4} */
  readonly step?: number;
  /** Relative error that is allowed. @default {1e-6} */
  readonly tolerance?: number;
  /** Check the gradients of the gradients too. @default {false} */
  readonly secondOrder?: boolean;
}

/**
 * Compares gradients on the reference device with central differences along random directions (projection method): for a
 * cotangent u and a direction v, ⟨u, J v⟩ must equal ⟨Jᵀu, v⟩. Three seeds.
 */
export async function gradcheck(
  fn: TensorFunction,
  samples: readonly Sample[],
  label: string,
  options: GradcheckOptions = {},
): Promise<void> {
  await project(fn, samples, label, options);
  if (options.secondOrder) {
    const first: TensorFunction = (...inputs) => {
      const output = fn(...inputs);
      const u = tensor(randomValues(output.size, 7), { device: reference, shape: output.shape });
      const wanted = inputs.filter((t) => t.requiresGrad);
      const gradients = grad(output, wanted, {
        gradient: u,
        createGraph: true,
        materializeGrads: true,
      });
      return gradients.map((g, i) => {
        const w = tensor(randomValues(g.size, 17 + i), { device: reference, shape: g.shape });
        return g.mul(w).sum();
      }).reduce((a, b) => a.add(b));
    };
    await project(first, samples, `${label}, second order`, options);
  }
}

async function project(
  fn: TensorFunction,
  samples: readonly Sample[],
  label: string,
  { step = 1e-4, tolerance = 1e-6 }: GradcheckOptions,
): Promise<void> {
  for (const seed of [1, 2, 3]) {
    // Finalizers never run between microtasks, and tests on the reference wait for nothing else.
    using _ = reference.scope();
    const inputs = samples.map((s) => place(reference, s));
    const wanted = inputs.filter((t) => t.requiresGrad);
    const output = fn(...inputs);
    const u = randomValues(output.size, 100 + seed);
    const gradients = output.requiresGrad
      ? grad(output, wanted, {
        gradient: tensor(u, { device: reference, shape: output.shape }),
        materializeGrads: true,
      })
      : wanted.map((t) => tensor(new Float64Array(t.size), { device: reference, shape: t.shape }));
    const directions = samples.map((s, i) => randomValues(s.data.length, 200 + seed * 10 + i));
    const shifted = (sign: number) =>
      fn(
        ...samples.map((s, i) =>
          inputs[i].requiresGrad
            ? place(reference, {
              ...s,
              data: Float64Array.from(s.data, (x, k) => x + sign * step * directions[i][k]),
            })
            : inputs[i]
        ),
      ).data();
    const [plus, minus] = [await shifted(1), await shifted(-1)];
    let numeric = 0;
    for (let i = 0; i < u.length; i++) numeric += u[i] * (plus[i] - minus[i]) / (2 * step);
    let analytic = 0;
    let at = 0;
    for (let i = 0; i < inputs.length; i++) {
      if (!inputs[i].requiresGrad) continue;
      const gradient = await gradients[at++].data();
      for (let k = 0; k < gradient.length; k++) analytic += gradient[k] * directions[i][k];
    }
    const error = Math.abs(numeric - analytic) / Math.max(1, Math.abs(numeric), Math.abs(analytic));
    if (!(error <= tolerance)) {
      throw new Error(
        `${label}: numeric ${numeric} and analytic ${analytic} gradients differ by ${
          error.toExponential(2)
        }`,
      );
    }
  }
}
