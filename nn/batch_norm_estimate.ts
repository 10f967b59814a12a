/** Running statistics of batch normalisations, computed anew. */

import { type Device, noGrad, Tensor } from "../core/mod.ts";
import { BatchReader, checkLoader, type Loader } from "../core/engine/batches.ts";
import { Pacer } from "../core/engine/pacer.ts";
import { isPromiseLike } from "../core/engine/tensor_like.ts";
import { copyInto, copyOf, fillInto } from "../core/tensor/in_place.ts";
import { BatchNorm } from "./batch_norm.ts";
import type { Module } from "./module.ts";

/** How `estimateBatchNorm()` runs the model. */
export interface EstimateBatchNormOptions<B> {
  /**
   * Runs the model on a batch, without waiting. @default {`model.forward` of the batch, of its first
   * element, or of its `inputs`}
   */
  readonly forward?: (batch: B) => unknown;
}

/** A layer with what it must get back. */
interface Estimated {
  readonly layer: BatchNorm;
  readonly momentum: number | null;
  readonly buffers: readonly Tensor[];
  readonly saved: readonly Tensor[];
}

/**
 * Sets the running mean and variance of every BatchNorm to the plain average over batches, each
 * batch with the same weight. As torch.optim.swa_utils.update_bn; needed where parameters are not
 * those of training, such as averages.
 *
 * Only the BatchNorm layers work as in training meanwhile: dropout and the like are off, as they
 * will be when the statistics are used (PyTorch has them on). Every part gets its mode and momentum
 * back; no gradients are recorded. A captured `forward` runs uncaptured.
 *
 * @param model the model, on one device
 * @param batches what to average over, best without augmentation; at least one batch
 * @param options how to run the model
 * @returns the number of batches; 0, and nothing is read, where no BatchNorm keeps statistics
 * @throws {RangeError} if there are no batches; the statistics are then what they were, as after
 * every error
 * @throws {TypeError} if no tensor is found in a batch, or `forward` gives a promise
 *
 * @example
 * ```ts
 * import { BatchNorm1d, estimateBatchNorm } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new BatchNorm1d(1, { device }).eval();
 * const batches = [tensor([[1], [3]], { device }), tensor([[4], [8]], { device })];
 * assertEquals(await estimateBatchNorm(layer, batches), 2);
 * assertEquals(await layer.running_mean!.array(), [4]); // of 2 and 6
 * assertEquals(await layer.running_var!.array(), [5]); // of 2 and 8
 * assertEquals(layer.training, false);
 * ```
 */
export async function estimateBatchNorm<B>(
  model: Module,
  batches: Loader<B>,
  options: EstimateBatchNormOptions<B> = {},
): Promise<number> {
  checkLoader(batches);
  const modules = model.modules();
  const layers = modules.filter((m): m is BatchNorm =>
    m instanceof BatchNorm && m.running_mean !== null
  );
  if (layers.length === 0) return 0;
  const device = layers[0].running_mean!.device;
  const forward = uncapturedForm(options.forward ?? defaultForward(model));
  const modes = modules.map((part) => ({ part, was: part.training }));
  const estimated = layers.map(begin);
  let done = false;
  try {
    for (const { part, was } of modes) {
      const mode = part instanceof BatchNorm && part.running_mean !== null;
      if (was !== mode) part.training = mode;
    }
    const count = await run(device, batches, forward);
    if (count === 0) {
      throw new RangeError("Cannot estimate batch statistics: expected at least one batch");
    }
    done = true;
    return count;
  } finally {
    for (const { part, was } of modes) if (part.training !== was) part.training = was;
    for (const layer of estimated) end(layer, done);
  }
}

async function run<B>(
  device: Device,
  batches: Loader<B>,
  forward: (batch: B) => unknown,
): Promise<number> {
  const reader = new BatchReader(batches);
  const pacer = new Pacer(device);
  let count = 0;
  let open = true;
  try {
    while (open) {
      using _ = device.scope();
      const item = await reader.next();
      open = !item.done;
      if (item.done) break;
      const result = noGrad(() => forward(item.value));
      if (isPromiseLike(result)) {
        await result;
        throw new TypeError(
          "Cannot estimate batch statistics: expected forward to give its result, found a promise",
        );
      }
      count++;
      await pacer.pause();
    }
    await pacer.finish();
  } finally {
    if (open) await reader.close();
  }
  return count;
}

/** Remembers a layer's statistics and starts them anew as a mean over all batches. */
function begin(layer: BatchNorm): Estimated {
  using _ = noGrad();
  const { momentum, running_mean: mean, running_var: variance, num_batches_tracked: count } = layer;
  const buffers = [mean!, variance!, count!];
  const saved = buffers.map((t) => copyOf(t).keep());
  fillInto(mean!, 0);
  fillInto(variance!, 1);
  fillInto(count!, 0);
  setMomentum(layer, null);
  return { layer, momentum, buffers, saved };
}

function end({ layer, momentum, buffers, saved }: Estimated, done: boolean): void {
  using _ = noGrad();
  setMomentum(layer, momentum);
  if (!done) buffers.forEach((t, i) => copyInto(t, saved[i]));
  for (const t of saved) t.dispose();
}

function setMomentum(layer: BatchNorm, momentum: number | null): void {
  (layer as { momentum: number | null }).momentum = momentum;
}

/** A captured step has a momentum of its own. */
function uncapturedForm<B>(forward: (batch: B) => unknown): (batch: B) => unknown {
  return (forward as { eager?: (batch: B) => unknown }).eager ?? forward;
}

function defaultForward(model: Module): (batch: unknown) => unknown {
  return (batch) => {
    const inputs = tensorIn(batch) ?? tensorIn((batch as { inputs?: unknown } | null)?.inputs);
    if (inputs !== null) return (model as { forward(x: Tensor): unknown }).forward(inputs);
    throw new TypeError(
      "Cannot estimate batch statistics: expected batches to be tensors, lists that begin with " +
        `one, or objects with inputs, found ${typeof batch}; pass forward for others`,
    );
  };
}

function tensorIn(value: unknown): Tensor | null {
  if (value instanceof Tensor) return value;
  return Array.isArray(value) && value[0] instanceof Tensor ? value[0] : null;
}
