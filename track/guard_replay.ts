/** Runs the steps since the last good state again, one by one, until one shows where numbers go bad. */

import type { Context } from "../core/engine/mod.ts";
import { type Optimizer, Tensor } from "../core/mod.ts";
import { copyOf } from "../core/tensor/in_place.ts";
import { type HeldStep, namedTensors, sampleIdsOf } from "./guard_held.ts";
import { type Examination, examine, type FaultOrigin } from "./guard_origin.ts";
import { type GuardedParts, GuardSnapshot } from "./guard_snapshot.ts";
import type { WatchedModel } from "./guard_watch.ts";

/** Runs a batch through the model, without a step: gives the loss, with its history. */
export type GuardForward = (batch: unknown, context: Context) => Tensor;

/** What is needed to run steps again. */
export interface Replay {
  /** Model, loss function and optimizer. */
  readonly context: Context;
  /** What steps change. */
  readonly parts: GuardedParts;
  /** The optimizer, where there is one. */
  readonly optimizer: Optimizer | null;
  /** The state before the first of the steps. */
  readonly before: GuardSnapshot;
  /** Runs a batch; null for the usual way. */
  readonly forward: GuardForward | null;
}

/** Where numbers went bad. */
export interface Found {
  /** The step. */
  readonly step: HeldStep;
  /** Where in it. */
  readonly origin: FaultOrigin;
  /** Whether the weights were those before the step. */
  readonly reproduced: boolean;
  /** What the batch calls the samples. */
  readonly sampleIds: readonly number[];
}

/**
 * Looks for the origin of a fault. Everything that steps change is as before when it is done.
 *
 * The steps run again from the state before them, uncaptured and with every value looked at, each
 * with its own learning rates. Where all of that is finite, the batch that was noticed runs once
 * more with the weights as they are now.
 *
 * @param replay what steps need
 * @param steps those since the state, in order
 * @param noticed the one whose loss was noticed, or the last one
 * @returns what was found, or null
 */
export async function findOrigin(
  replay: Replay,
  steps: readonly HeldStep[],
  noticed: HeldStep,
): Promise<Found | null> {
  const { parts, optimizer, before } = replay;
  const now = new GuardSnapshot(parts);
  const gradients = holdGradients(optimizer);
  try {
    await before.restore();
    for (const step of steps) {
      const found = await take(replay, step, step !== steps.at(-1));
      if (found !== null) return found;
    }
    await now.restore();
    using _ = deviceOf(replay)?.scope();
    const { origin } = await run(replay, noticed);
    return origin === null ? null : await withIds(noticed, origin, false);
  } finally {
    await now.restore();
    now.dispose();
    gradients.restore();
  }
}

/** Runs one step again, with the update where more steps follow. */
async function take(replay: Replay, step: HeldStep, updates: boolean): Promise<Found | null> {
  using _ = deviceOf(replay)?.scope();
  const { optimizer } = replay;
  optimizer?.groups.forEach((group, i) => group.lr = step.lrs[i] ?? group.lr);
  const { origin, gradients } = await run(replay, step);
  if (origin !== null) return await withIds(step, origin, true);
  if (!updates || optimizer === null || gradients.length === 0) return null;
  optimizer.zeroGrad();
  for (const [parameter, gradient] of gradients) parameter.grad = gradient;
  optimizer.step();
  optimizer.zeroGrad();
  return null;
}

async function run({ context, forward }: Replay, { batch }: HeldStep): Promise<Examination> {
  const model = context.model as WatchedModel;
  const usual = () => usualForward(batch, context);
  return await examine({
    model,
    data: namedTensors(batch),
    run: forward === null ? usual : () => forward(batch, context),
  });
}

/** Predictions for `inputs`, compared with `targets`, or with the inputs where there are none. */
function usualForward(batch: unknown, { model, lossFn }: Context): Tensor | null {
  const { inputs = batch, targets } = batch as { inputs?: unknown; targets?: unknown };
  if (!(inputs instanceof Tensor)) {
    throw new TypeError("expected a batch with a tensor inputs; the option forward runs others");
  }
  const predictions: unknown = (model as { forward(x: Tensor): unknown }).forward(inputs);
  if (typeof lossFn !== "function" || !(predictions instanceof Tensor)) return null;
  return lossFn(predictions, targets ?? inputs);
}

async function withIds(step: HeldStep, origin: FaultOrigin, reproduced: boolean): Promise<Found> {
  return { step, origin, reproduced, sampleIds: await sampleIdsOf(step.batch, origin.samples) };
}

function deviceOf({ optimizer, parts }: Replay) {
  return optimizer?.groups[0].params[0]?.device ??
    Object.values(parts.model.stateDict())[0]?.device;
}

/** Keeps the gradients of parameters, which replayed steps overwrite. */
function holdGradients(optimizer: Optimizer | null): { restore(): void } {
  const parameters = optimizer?.groups.flatMap(({ params }) => params) ?? [];
  const held = parameters.map((parameter) => {
    const { grad } = parameter;
    return { parameter, grad, values: grad === null ? null : copyOf(grad.detach()).keep() };
  });
  return {
    restore() {
      for (const { parameter, grad, values } of held) {
        if (grad !== null && values !== null && !grad.isReleased) grad.detach().copy_(values);
        parameter.grad = grad?.isReleased ? null : grad;
        values?.dispose();
      }
    },
  };
}
