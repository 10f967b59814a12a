/** Clipping of gradients, on the device, without reading them. */

import type { Device } from "../backend/device.ts";
import {
  limitKernel,
  normKernel,
  partialNormKernel,
  partialsOf,
  scaleKernel,
} from "../../kernels/clip.ts";
import type { NormKind } from "../../kernels/clip.ts";
import { zeros } from "../tensor/create.ts";
import { checkDevices, denseOperand } from "../tensor/launch.ts";
import { noGrad } from "../tensor/tape.ts";
import { empty, Tensor } from "../tensor/tensor.ts";
import { concat } from "../tensor/view.ts";
import { type Arena, placeOf, rangeOperand } from "./arena.ts";
import type { DType, Operand } from "../../kernels/types.ts";

/** Options of clipGradNorm(). */
export interface ClipGradNormOptions {
  /** p of the p-norm: any number above 0, or Infinity for the largest size. @default {2} */
  readonly normType?: number;
}

/** A range of flat gradients, changed in place. */
interface Span {
  readonly operand: Operand<unknown>;
  readonly dtype: DType;
  readonly owner: Tensor;
}

/** Gradients by where they lie: ranges of arenas, and tensors of their own. */
interface Gradients {
  readonly device: Device;
  readonly spans: readonly Span[];
  readonly loose: readonly Tensor[];
}

/**
 * Scales all gradients together so that their norm, taken over all of them as one vector, is at
 * most `maxNorm`: `g ← g · min(1, maxNorm / (‖g‖ + 1e-6))`, as `torch.nn.utils.clip_grad_norm_`.
 *
 * Gradients in the memory of an optimizer are scaled in place; others are replaced, since they may
 * share memory with each other. Sums run in a fixed order. A NaN or infinite norm spoils the
 * gradients, as it does in PyTorch: look at the result.
 *
 * @param parameters tensors whose `grad` counts; those without one are left out
 * @param maxNorm the largest norm, at least 0; Infinity only measures
 * @param options the kind of norm
 * @returns the norm before clipping, a scalar that is not read yet
 * @throws {RangeError} if maxNorm or normType has no meaning, or there are no parameters
 *
 * @example
 * ```ts
 * import { clipGradNorm, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3, 4], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new SGD([x], { lr: 1 });
 * x.square().sum().backward();
 * const norm = clipGradNorm([x], 1);
 * optimizer.step();
 * assertAlmostEquals(await norm.item(), 10);
 * assertAlmostEquals((await x.data())[0], 2.4, 1e-6);
 * ```
 */
export function clipGradNorm(
  parameters: Iterable<Tensor>,
  maxNorm: number,
  { normType = 2 }: ClipGradNormOptions = {},
): Tensor {
  if (!(maxNorm >= 0)) {
    throw new RangeError(
      `Cannot clip gradients to norm ${maxNorm}: expected a number of at least 0`,
    );
  }
  if (!(normType > 0)) {
    throw new RangeError(`Cannot take a norm of type ${normType}: expected a number above 0`);
  }
  const list = checked("clip gradients", parameters);
  return inScope(list[0].device, () => clipTogether(list, maxNorm, normType));
}

function clipTogether(parameters: readonly Tensor[], maxNorm: number, normType: number): Tensor {
  const { device, spans, loose } = gradientsOf(parameters);
  const flat = flatten(loose);
  const all = flat === null ? spans : [...spans, spanOf(flat)];
  if (all.length === 0) return zeros([], { device });
  const stats = measure(device, all, maxNorm, normType);
  if (maxNorm < Infinity) {
    for (const span of spans) change(device, span, scaleKernel, [denseOperand(stats)], []);
    const factor = stats.alias({ shape: [], strides: [], offset: 1 });
    replace(loose, (gradient) => gradient.mul(factor).to(gradient.dtype));
  }
  return stats.alias({ shape: [], strides: [], offset: 0 });
}

/**
 * Runs a function without recording, frees what it makes, and hands its result to the scope around.
 */
function inScope(device: Device, fn: () => Tensor): Tensor {
  using _ = noGrad();
  const outer = device.currentScope;
  using scope = device.scope();
  const result = fn();
  scope.keep(result);
  if (outer !== null) outer.add(result);
  else result.keep();
  return result;
}

/**
 * Limits every element of all gradients to [-clipValue, clipValue]; NaN stays.
 *
 * @param parameters tensors whose `grad` counts; those without one are left out
 * @param clipValue at least 0
 * @throws {RangeError} if clipValue has no meaning, or there are no parameters
 */
export function clipGradValue(parameters: Iterable<Tensor>, clipValue: number): void {
  if (!(clipValue >= 0)) {
    throw new RangeError(
      `Cannot clip gradients to values up to ${clipValue}: expected a number of at least 0`,
    );
  }
  const list = checked("clip gradients", parameters);
  using _ = noGrad();
  const { device, spans, loose } = gradientsOf(list);
  for (const span of spans) change(device, span, limitKernel, [], [clipValue]);
  replace(loose, (gradient) => gradient.clamp(-clipValue, clipValue).to(gradient.dtype));
}

function checked(action: string, parameters: Iterable<Tensor>): Tensor[] {
  const list = [...new Set(parameters)];
  if (list.length === 0) {
    throw new RangeError(`Cannot ${action} of no parameters: expected at least one`);
  }
  for (const parameter of list) {
    if (!(parameter instanceof Tensor)) {
      throw new TypeError(`Cannot ${action} of ${typeof parameter}: expected tensors`);
    }
  }
  checkDevices(`${action} of`, list);
  return list;
}

function gradientsOf(parameters: readonly Tensor[]): Gradients {
  const arenas = new Map<Arena, Set<number>>();
  const loose: Tensor[] = [];
  for (const parameter of parameters) {
    const { grad } = parameter;
    const place = placeOf(parameter);
    if (grad === null) continue;
    if (place === null || grad !== parameter.gradSlot) {
      loose.push(parameter);
    } else {
      const indices = arenas.get(place.arena) ?? new Set();
      arenas.set(place.arena, indices.add(place.index));
    }
  }
  const spans = [...arenas].flatMap(([arena, indices]) =>
    arena.ranges((index) => indices.has(index) ? 0 : null)
      .filter((range) => range.count > 0)
      .map((range): Span => ({
        operand: rangeOperand(arena.gradients, range),
        dtype: arena.dtype,
        owner: arena.gradients,
      }))
  );
  return { device: parameters[0].device, spans, loose };
}

/**
 * Gradients of their own, behind each other in f32, padded to whole vec4s; null where there are
 * none.
 */
function flatten(parameters: readonly Tensor[]): Tensor | null {
  const rows = parameters.map((p) => p.grad!.detach().to("f32").reshape([p.size]));
  const size = rows.reduce((sum, row) => sum + row.size, 0);
  if (size === 0) return null;
  const rest = (4 - size % 4) % 4;
  return concat(rest === 0 ? rows : [...rows, zeros([rest], { device: rows[0].device })]);
}

function spanOf(flat: Tensor): Span {
  return { operand: denseOperand(flat), dtype: "f32", owner: flat };
}

/** Two numbers on the device: the norm, and the factor that brings it down to the limit. */
function measure(device: Device, spans: readonly Span[], limit: number, power: number): Tensor {
  const kind: NormKind = power === 1
    ? "one"
    : power === 2
    ? "two"
    : power < Infinity
    ? "power"
    : "max";
  const counts = spans.map((span) => partialsOf(span.operand.size));
  const total = counts.reduce((a, b) => a + b, 0);
  const partials = empty(device, [total], "f32", "clip");
  let at = 0;
  spans.forEach(({ operand, dtype }, i) => {
    device.record({
      kernel: partialNormKernel(kind, operand.size, dtype),
      inputs: [operand],
      outputs: [{ buffer: partials.storage.buffer, offset: at, size: counts[i] }],
      scalars: [power],
    });
    at += counts[i];
  });
  const stats = empty(device, [2], "f32", "clip");
  device.record({
    kernel: normKernel(kind, total),
    inputs: [denseOperand(partials)],
    outputs: [denseOperand(stats)],
    scalars: [1 / power, limit],
  });
  return stats;
}

function change(
  device: Device,
  { operand, dtype, owner }: Span,
  kernelOf: typeof scaleKernel,
  inputs: readonly Operand<unknown>[],
  scalars: readonly number[],
): void {
  owner.storage.version++;
  device.record({ kernel: kernelOf(operand.size, dtype), inputs, outputs: [operand], scalars });
}

function replace(parameters: readonly Tensor[], fn: (gradient: Tensor) => Tensor): void {
  for (const parameter of parameters) {
    const gradient = parameter.grad!;
    parameter.grad = fn(gradient.detach()).keep();
  }
}
