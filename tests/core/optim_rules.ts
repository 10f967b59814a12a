/** Optimizers as recurrences of single numbers, in double precision. */

import { randomValues } from "../util.ts";

export const STEPS = 10;

/** A parameter as numbers: start, and the gradient of every step (null where it has none). */
export interface Plain {
  readonly shape: readonly number[];
  readonly start: Float64Array;
  readonly gradients: readonly (Float64Array | null)[];
}

export function plain(shape: readonly number[], seed: number, skip: readonly number[] = []): Plain {
  const size = shape.reduce((a, b) => a * b, 1);
  const gradients = Array.from(
    { length: STEPS },
    (_, t) => skip.includes(t) ? null : randomValues(size, seed * 100 + t, -2, 2),
  );
  return { shape, start: randomValues(size, seed), gradients };
}

/** Changes one number by its gradient at a step from 1 on; keeps what it needs in `slots`. */
export type Recurrence = (p: number, g: number, t: number, slots: number[]) => number;

/** What the recurrence makes of a parameter: steps without gradient do not count. */
export function recur({ start, gradients }: Plain, rule: Recurrence): Float64Array {
  return start.map((p, i) => {
    const slots = [0, 0, 0];
    let t = 0;
    for (const gradient of gradients) if (gradient) p = rule(p, gradient[i], ++t, slots);
    return p;
  });
}

export function sgd(o: {
  lr: number;
  momentum?: number;
  dampening?: number;
  nesterov?: boolean;
  weightDecay?: number;
}): Recurrence {
  const { lr, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 } = o;
  return (p, g, t, slots) => {
    g += weightDecay * p;
    if (momentum === 0) return p - lr * g;
    slots[0] = t === 1 ? g : momentum * slots[0] + (1 - dampening) * g;
    return p - lr * (nesterov ? g + momentum * slots[0] : slots[0]);
  };
}

export function adam(
  o: {
    lr?: number;
    betas?: readonly [number, number];
    eps?: number;
    weightDecay?: number;
    decoupled?: boolean;
  },
): Recurrence {
  const { lr = 1e-3, betas: [b1, b2] = [0.9, 0.999], eps = 1e-8, weightDecay = 0, decoupled } = o;
  return (p, g, t, slots) => {
    if (decoupled) p -= lr * weightDecay * p;
    else g += weightDecay * p;
    slots[0] = b1 * slots[0] + (1 - b1) * g;
    slots[1] = b2 * slots[1] + (1 - b2) * g ** 2;
    const mean = slots[0] / (1 - b1 ** t);
    const square = slots[1] / (1 - b2 ** t);
    return p - lr * mean / (Math.sqrt(square) + eps);
  };
}

export function rmsprop(o: {
  lr?: number;
  alpha?: number;
  eps?: number;
  weightDecay?: number;
  momentum?: number;
  centered?: boolean;
}): Recurrence {
  const { lr = 1e-2, alpha = 0.99, eps = 1e-8, weightDecay = 0, momentum = 0, centered } = o;
  return (p, g, _, slots) => {
    g += weightDecay * p;
    slots[0] = alpha * slots[0] + (1 - alpha) * g ** 2;
    slots[1] = alpha * slots[1] + (1 - alpha) * g;
    const square = centered ? slots[0] - slots[1] ** 2 : slots[0];
    slots[2] = momentum * slots[2] + g / (Math.sqrt(square) + eps);
    return p - lr * slots[2];
  };
}

/** What happens to all gradients of a step before the recurrence sees them. */
export interface Trial {
  /** Largest norm of all gradients together. */
  readonly maxNorm?: number;
  /** Averages of the parameters: d of a step, from 1 on. */
  readonly decay?: (t: number) => number;
}

/** Parameters, their averages, and steps that did not count. */
export interface Outcome {
  readonly values: readonly Float64Array[];
  readonly averages: readonly Float64Array[];
  readonly norms: readonly number[];
  readonly skipped: number;
}

/** All parameters together, with clipping; a step with a NaN or infinite gradient does not happen. */
export function recurTogether(plains: readonly Plain[], rule: Recurrence, trial: Trial): Outcome {
  const values = plains.map(({ start }) => start.slice());
  const averages = plains.map(({ start }) => start.slice());
  const slots = plains.map(({ start }) => Array.from(start, () => [0, 0, 0]));
  const taken = plains.map(() => 0);
  const norms: number[] = [];
  let skipped = 0;
  for (let step = 0; step < STEPS; step++) {
    const gradients = plains.map((p) => p.gradients[step]);
    const all = gradients.flatMap((g) => g === null ? [] : [...g]);
    norms.push(Math.sqrt(all.reduce((sum, g) => sum + g * g, 0)));
    if (!all.every(Number.isFinite)) {
      skipped++;
      continue;
    }
    const factor = Math.min(1, (trial.maxNorm ?? Infinity) / (norms[step] + 1e-6));
    gradients.forEach((gradient, i) => {
      if (gradient === null) return;
      const t = ++taken[i];
      const d = trial.decay?.(t) ?? 1;
      gradient.forEach((g, k) => {
        values[i][k] = rule(values[i][k], g * factor, t, slots[i][k]);
        averages[i][k] = d * averages[i][k] + (1 - d) * values[i][k];
      });
    });
  }
  return { values, averages, norms, skipped };
}
