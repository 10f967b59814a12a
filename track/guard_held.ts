/** The steps since a guard last looked, with what a second look needs. */

import type { StepEndEvent, TensorLike } from "../core/engine/mod.ts";
import { type Optimizer, Tensor } from "../core/mod.ts";
import { mapTensors, tensorsIn } from "../core/tensor/structure.ts";

/** One step. */
export interface HeldStep {
  /** Its number, from 1. */
  readonly step: number;
  /** The number of its epoch. */
  readonly epoch: number;
  /** Its loss, not read yet; null where it gave none. */
  readonly loss: TensorLike | number | null;
  /** Its batch, with handles of its own. */
  readonly batch: unknown;
  /** The learning rates that it was taken with. */
  readonly lrs: readonly number[];
}

/**
 * Takes hold of a step's batch and loss, which would be released at its end.
 *
 * @param event the end of the step
 * @param optimizer whose learning rates are noted
 * @param withBatch whether the batch is needed
 */
export function holdStep(
  { state, batch, output }: StepEndEvent,
  optimizer: Optimizer | null,
  withBatch: boolean,
): HeldStep {
  const loss = output.get("loss");
  const { step, epoch } = state.current;
  return {
    step,
    epoch,
    loss: loss instanceof Tensor ? own(loss) : typeof loss === "number" ? loss : null,
    batch: withBatch ? mapTensors(batch, own) : null,
    lrs: optimizer?.groups.map(({ lr }) => lr) ?? [],
  };
}

/** Gives the memory of a step back. */
export function releaseStep({ loss, batch }: HeldStep): void {
  if (loss instanceof Tensor) loss.dispose();
  for (const tensor of tensorsIn(batch)) tensor.dispose();
}

/** The tensors of a batch with their names. */
export function namedTensors(batch: unknown): [string, Tensor][] {
  if (batch instanceof Tensor) return [["batch", batch]];
  if (typeof batch !== "object" || batch === null) return [];
  const { inputs, targets } = batch as { inputs?: unknown; targets?: unknown };
  const entries = Object.entries({ inputs, targets, ...batch });
  const named = entries.flatMap(([name, value]) =>
    tensorsIn(value).map((tensor, i): [string, Tensor] => [i === 0 ? name : `${name}.${i}`, tensor])
  );
  return named.filter(([, tensor], i) => named.findIndex(([, other]) => other === tensor) === i);
}

/** The numbers of some samples in the data set, where the batch has `indices`. */
export async function sampleIdsOf(batch: unknown, positions: readonly number[]): Promise<number[]> {
  const indices: unknown = (batch as { indices?: unknown } | null)?.indices;
  if (positions.length === 0 || indices === undefined || indices === null) return [];
  const all = indices instanceof Tensor ? await indices.data() : indices as ArrayLike<number>;
  return positions.flatMap((position) => {
    const id = all[position];
    return typeof id === "number" ? [id] : [];
  });
}

function own(tensor: Tensor): Tensor {
  return tensor.alias().keep();
}
