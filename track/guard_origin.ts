/** Finds where numbers first went bad in the forward and backward pass of one batch. */

import { grad, type Tensor } from "../core/mod.ts";
import { type BadValues, countBad, describeValues, samplesWithBad } from "./guard_values.ts";
import { watchCalls, type WatchedCall, type WatchedModel } from "./guard_watch.ts";

/** Where values were the first that are NaN or infinite. */
export interface FaultOrigin extends BadValues {
  /**
   * "data": a tensor of the batch; "output": what a layer gave for sound inputs; "loss": the loss of
   * sound predictions; "gradient": what backward gave at a layer, or right at the loss, after sound
   * outputs.
   */
  readonly where: "data" | "output" | "loss" | "gradient";
  /** The path of the layer, "" for the model itself, or the name of the batch's tensor; null for the loss. */
  readonly name: string | null;
  /** The class of the layer; null where it is none. */
  readonly type: string | null;
  /** The first parameter of the layer with bad values, or with a bad gradient; null where there is none. */
  readonly parameter: (BadValues & { readonly name: string }) | null;
  /** Positions in the batch of the samples with bad values, where they can be told. */
  readonly samples: readonly number[];
}

/** What one batch gave. */
export interface Examination {
  /** Null where all numbers are finite. */
  readonly origin: FaultOrigin | null;
  /** The gradients of the parameters; empty where there is no loss to differentiate. */
  readonly gradients: readonly (readonly [Tensor, Tensor])[];
}

/** One batch and the model that gets it. */
export interface Examined {
  /** The model. */
  readonly model: WatchedModel;
  /** The tensors of the batch by name. */
  readonly data: readonly (readonly [string, Tensor])[];
  /** Runs the model, and gives the loss, or null where only the forward pass can be run. */
  readonly run: () => Tensor | null;
}

type Named = readonly (readonly [string, Tensor])[];

/**
 * Runs a batch with every value looked at. Parameters and their `grad` stay as they are; random
 * numbers are drawn and running statistics move as in a step.
 *
 * @param examined model and batch
 * @returns where the first bad value is, and the gradients
 */
export async function examine({ model, data, run }: Examined): Promise<Examination> {
  const parameters = model.namedParameters();
  const [loss, calls] = watchCalls(model, run);
  const passed = calls.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]);
  const given = [...data, ...parameters].map(([, tensor]) => tensor);
  const bad = await countBad([...given, ...passed, ...loss === null ? [] : [loss]]);
  const size = data[0]?.[1].shape[0] ?? 0;
  const isBad = (tensor: Tensor) => (bad.get(tensor) ?? 0) > 0;
  const forward = await forwardOrigin(calls, loss, parameters, isBad, size);
  if (forward !== null) {
    const batch = data.find(([, tensor]) => isBad(tensor));
    return { origin: batch === undefined ? forward : await ofData(batch, size), gradients: [] };
  }
  if (loss === null || !loss.requiresGrad) return { origin: null, gradients: [] };
  return await backward(calls, loss, parameters, size);
}

async function ofData([name, tensor]: readonly [string, Tensor], size: number) {
  return { where: "data", name, type: null, parameter: null, ...await seen(tensor, size) } as const;
}

async function forwardOrigin(
  calls: readonly WatchedCall[],
  loss: Tensor | null,
  parameters: Named,
  isBad: (tensor: Tensor) => boolean,
  size: number,
): Promise<FaultOrigin | null> {
  // Parts end before what holds them, so the first one is the innermost.
  const first = calls.find(({ inputs, outputs }) => outputs.some(isBad) && !inputs.some(isBad)) ??
    calls.find(({ outputs }) => outputs.some(isBad));
  if (first !== undefined) {
    const { name, type, outputs } = first;
    const own = within(name, parameters).find(([, tensor]) => isBad(tensor));
    const parameter = own === undefined ? null : await ofParameter(own[0], own[1]);
    return { where: "output", name, type, parameter, ...await seen(outputs.find(isBad)!, size) };
  }
  if (loss === null || !isBad(loss)) return null;
  return { where: "loss", name: null, type: null, parameter: null, ...await seen(loss, 0) };
}

async function backward(
  calls: readonly WatchedCall[],
  loss: Tensor,
  parameters: Named,
  size: number,
): Promise<Examination> {
  const trained = parameters.filter(([, tensor]) => tensor.requiresGrad);
  const passed = calls.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]);
  const wanted = [...new Set([...trained.map(([, t]) => t), ...passed])]
    .filter((tensor) => tensor.requiresGrad);
  const found = grad(loss, wanted, { materializeGrads: true });
  const of = new Map(wanted.map((tensor, i) => [tensor, found[i]]));
  const bad = await countBad(found);
  const isBad = (tensor: Tensor) => of.has(tensor) && (bad.get(of.get(tensor)!) ?? 0) > 0;
  const gradients = trained.map(([, tensor]) => [tensor, of.get(tensor)!] as const);
  const worst = wanted.find(isBad);
  if (worst === undefined) return { origin: null, gradients };
  // Outputs whose gradient is sound, at parts whose inputs or parameters have a bad one.
  const suspects = calls.filter(({ name, inputs, outputs }) =>
    !outputs.some(isBad) &&
    (inputs.some(isBad) || within(name, trained).some(([, tensor]) => isBad(tensor)))
  );
  const innermost = suspects.filter((call) =>
    !suspects.some((other) => other.begin > call.begin && other.end <= call.end)
  );
  const last = innermost.toSorted((a, b) => b.begin - a.begin)[0];
  const own = last === undefined
    ? undefined
    : within(last.name, trained).find(([, tensor]) => isBad(tensor));
  // Where no part is to blame, the gradient that the loss gave to the model's result was bad.
  const result = calls.at(-1)?.outputs.find(isBad);
  const shown = own?.[1] ?? (last === undefined ? result : last.inputs.find(isBad)) ?? worst;
  const parameter = own === undefined ? null : await ofParameter(own[0], of.get(own[1])!);
  const { name = null, type = null } = last ?? {};
  const values = await seen(of.get(shown)!, own === undefined ? size : 0);
  return { origin: { where: "gradient", name, type, parameter, ...values }, gradients };
}

/** The parameters of a module and its parts. */
function within(name: string, parameters: Named): Named {
  return parameters.filter(([key]) => name === "" || key.startsWith(`${name}.`));
}

async function ofParameter(name: string, values: Tensor) {
  return { name, ...await describeValues(values) };
}

async function seen(tensor: Tensor, size: number): Promise<BadValues & { samples: number[] }> {
  return { ...await describeValues(tensor), samples: await samplesWithBad(tensor, size) };
}
