/** Gradients of several batches as one step, whatever their sizes. */

import { scalar } from "../../kernels/expr.ts";
import { mapKernel } from "../../kernels/map.ts";
import { scaledInPlaceKernel } from "../../kernels/optimizer_mean.ts";
import { isFloat } from "../../kernels/types.ts";
import { type Capture, currentCapture, effect } from "../backend/capture.ts";
import { showShape } from "../errors.ts";
import { copyInto } from "../tensor/in_place.ts";
import { denseOperand } from "../tensor/launch.ts";
import { noGrad } from "../tensor/tape.ts";
import { empty, Tensor } from "../tensor/tensor.ts";
import { type Arena, placeOf, rangeOperand } from "./arena.ts";
import type { LossScaler } from "./loss_scaler.ts";
import type { Optimizer } from "./optimizer.ts";
import type { OptimizerOptions } from "./options.ts";
import { placeGradient } from "./parameters.ts";
import { OptimizerStateError } from "./state_dict.ts";

/** How gradients are accumulated. */
export interface GradientAccumulatorOptions {
  /** Batches of a window, at least 1: the parameters change once in so many. */
  readonly every: number;
  /** Scales the losses, and steps the optimizer in its place. @default {null, none} */
  readonly scaler?: LossScaler | null;
}

/** A window that is not complete, as a checkpoint needs it. */
export interface GradientAccumulatorStateDict {
  /** Batches so far. */
  readonly microBatches: number;
  /** Samples so far. */
  readonly samples: number;
  /** Samples of the first batch, in whose units the others count. */
  readonly firstSamples: number;
  /**
   * Sums of gradients by the number of the parameter in the optimizer, as in its state dict: "0",
   * "1" … Views of living memory: read them before the next backward().
   */
  readonly gradients: Readonly<Record<string, Tensor>>;
}

interface Window {
  readonly microBatches: number;
  readonly samples: number;
  readonly firstSamples: number;
}

const CLOSED: Window = { microBatches: 0, samples: 0, firstSamples: 0 };

/**
 * Several small batches as one large one: `backward()` adds up gradients, and every so many batches
 * `step()` changes the parameters by the mean over all samples of the window.
 *
 * Batches count by their samples, so a window with a ragged batch, or one that `flush()` ends early,
 * gives the very mean over the samples that were in it: the step of one batch of all of them, up to
 * rounding. (Layers that look at a whole batch, such as BatchNorm, see the small ones.) The mean is
 * taken before anything else: `maxGradNorm`, `skipNonFinite` and a loss scale judge it once for each
 * window.
 *
 * In a step captured by `jit`, the first batch of a window, those between, and the one that ends it
 * are captures of their own; the number of samples may change between calls only with the shape of
 * an argument, or with an argument that holds it. Gradients stay until the next window begins; do
 * not call `zeroGrad()` within one.
 *
 * @example
 * ```ts
 * import { GradientAccumulator, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const w = tensor([0], { device, requiresGrad: true });
 * const accumulator = new GradientAccumulator(new SGD([w], { lr: 1 }), { every: 4 });
 * for (const batch of [[1, 2], [3, 4], [5]]) {
 *   const loss = w.mul(tensor(batch, { device })).mean();
 *   accumulator.backward(loss, batch.length);
 *   accumulator.step(); // false: the window has room for a fourth
 * }
 * accumulator.flush();
 * assertAlmostEquals(await w.item(), -(1 + 2 + 3 + 4 + 5) / 5, 1e-6);
 * ```
 */
export class GradientAccumulator<O extends OptimizerOptions = OptimizerOptions> {
  /** The optimizer that changes the parameters. */
  readonly optimizer: Optimizer<O>;
  /** Batches of a window. */
  readonly every: number;
  readonly #scaler: LossScaler | null;
  #window: Window = CLOSED;
  #updated = false;
  /** The capture under way that has asked for the window. */
  #capture: Capture | null = null;
  /** Batches that it has added since it began; null once it knows the window by itself. */
  #added: number | null = 0;
  #updatedCapture: Capture | null = null;

  /**
   * Begins with an empty window.
   *
   * @param optimizer what changes the parameters
   * @param options batches of a window, and a loss scale
   * @throws {RangeError} if `every` is no integer of at least 1
   */
  constructor(optimizer: Optimizer<O>, { every, scaler = null }: GradientAccumulatorOptions) {
    if (!Number.isInteger(every) || every < 1) {
      throw new RangeError(
        `Cannot accumulate gradients of ${every} batches: expected an integer of at least 1`,
      );
    }
    this.optimizer = optimizer;
    this.every = every;
    this.#scaler = scaler;
  }

  /** Batches in the window so far. */
  get microBatches(): number {
    return this.#window.microBatches;
  }

  /** Samples in the window so far. */
  get samples(): number {
    return this.#window.samples;
  }

  /** Whether the latest `step()` or `flush()` has changed the parameters; false before the first. */
  get isUpdateStep(): boolean {
    const found = this.#updated;
    const capture = currentCapture();
    if (capture !== this.#updatedCapture) capture?.guard(() => this.#updated === found);
    return found;
  }

  /**
   * Adds the gradients of a batch, and opens a window where there is none.
   *
   * @param loss the mean over the samples of the batch: one number that was computed from the
   * parameters, without a loss scale
   * @param samples how many samples the mean is over, or another weight above 0, such as a number of
   * tokens
   * @throws {RangeError} if samples is not a finite number above 0
   * @throws {AutogradError} if the loss has no history or is no single number
   * @throws {Error} if the window is complete, and step() was not called
   */
  backward(loss: Tensor, samples: number): void {
    if (!(Number.isFinite(samples) && samples > 0)) {
      throw new RangeError(
        `Cannot accumulate gradients of ${samples} samples: expected a finite number above 0`,
      );
    }
    if (this.#ask((n) => n >= this.every)) {
      throw new Error(
        `Cannot add a batch to a window of ${this.every} that has all of them: expected step()`,
      );
    }
    const opens = this.#ask((n) => n === 0);
    if (opens) this.optimizer.zeroGrad();
    const scaled = this.#scaler?.scale(loss) ?? loss;
    if (opens || scaled.size !== 1) scaled.backward();
    else this.#weighted(scaled, samples);
    this.#change(({ microBatches, samples: before, firstSamples }) => ({
      microBatches: microBatches + 1,
      samples: before + samples,
      firstSamples: microBatches === 0 ? samples : firstSamples,
    }));
    if (this.#added !== null) this.#added++;
  }

  /**
   * Changes the parameters if the window is complete, and leaves them alone if not.
   *
   * @returns whether it has changed them
   * @throws {Error} if there was no backward() since the last change
   */
  step(): boolean {
    if (this.#ask((n) => n === 0)) {
      throw new Error("Cannot step without gradients: expected a backward() of this accumulator");
    }
    const complete = this.#ask((n) => n >= this.every);
    if (complete) this.#apply();
    this.#report(complete);
    return complete;
  }

  /**
   * Ends the window early, as at the end of an epoch: changes the parameters by the mean over what
   * is in it.
   *
   * @returns whether it has changed them; false where the window is empty
   */
  flush(): boolean {
    const open = !this.#ask((n) => n === 0);
    if (open) this.#apply();
    this.#report(open);
    return open;
  }

  /** Forgets the window and its gradients. */
  reset(): void {
    this.#ask((n) => n === 0);
    this.optimizer.zeroGrad();
    this.#close();
  }

  /** What a checkpoint in the midst of a window needs beside the state of the optimizer. */
  stateDict(): GradientAccumulatorStateDict {
    const gradients: Record<string, Tensor> = {};
    if (this.#window.microBatches > 0) {
      this.#parameters().forEach(({ grad }, id) => {
        if (grad !== null) gradients[id] = grad.alias();
      });
    }
    return { ...this.#window, gradients };
  }

  /**
   * Goes on in the midst of a window. All of it is checked first; nothing changes if anything does
   * not fit.
   *
   * @param stateDict as stateDict() gives it, with tensors on the device of the parameters
   * @throws {OptimizerStateError} naming everything that does not fit
   */
  loadStateDict(stateDict: GradientAccumulatorStateDict): void {
    const parameters = this.#parameters();
    const { microBatches, samples, firstSamples, gradients } = stateDict;
    const problems = [
      ...windowProblems(stateDict, this.every),
      ...Object.entries(gradients ?? {}).flatMap(([id, value]) =>
        gradientProblems(id, value, parameters)
      ),
    ];
    if (problems.length > 0) throw new OptimizerStateError("GradientAccumulator", problems);
    using _ = noGrad();
    parameters.forEach((parameter, id) => {
      const values = gradients[id];
      if (values !== undefined) copyInto(parameter.gradSlot!, values);
      parameter.grad = values === undefined ? null : parameter.gradSlot;
    });
    this.#window = { microBatches, samples, firstSamples };
  }

  /** Asks for the batches in the window; a captured step asks again before each replay. */
  #ask(test: (microBatches: number) => boolean): boolean {
    const found = test(this.#window.microBatches);
    const capture = currentCapture();
    if (capture === null) return found;
    if (capture !== this.#capture) {
      this.#capture = capture;
      this.#added = 0;
    }
    const added = this.#added;
    // Guards are asked before a replay, which then adds what this step has added until here.
    if (added !== null) {
      capture.guard(() => test(this.#window.microBatches + added) === found);
    }
    return found;
  }

  #change(next: (window: Window) => Window): void {
    let before = this.#window;
    const run = () => {
      before = this.#window;
      this.#window = next(before);
    };
    effect(run, () => void (this.#window = before));
  }

  #close(): void {
    this.#change(() => CLOSED);
    this.#added = null;
  }

  #report(updated: boolean): void {
    let before = this.#updated;
    this.#updatedCapture = currentCapture();
    const run = () => {
      before = this.#updated;
      this.#updated = updated;
    };
    effect(run, () => void (this.#updated = before));
  }

  /** Runs backward with a gradient of the loss that weighs it like a sample of the first batch. */
  #weighted(loss: Tensor, samples: number): void {
    const { device, dtype, shape } = loss;
    using weight = empty(device, shape, dtype, "accumulator");
    const output = { dtype, strides: [], offset: 0 };
    const live = () => [samples / this.#window.firstSamples];
    device.record({
      kernel: mapKernel({
        expr: scalar(0, "f32"),
        shape: [],
        inputs: [],
        output,
        scalars: ["f32"],
        inPlace: false,
      }),
      inputs: [],
      outputs: [denseOperand(weight)],
      scalars: live(),
      live,
    });
    loss.backward({ gradient: weight });
  }

  #apply(): void {
    // One batch alone is the mean already.
    if (!this.#ask((n) => n === 1)) this.#average();
    if (this.#scaler === null) {
      this.optimizer.step();
    } else {
      this.#scaler.step(this.optimizer);
      this.#scaler.update();
    }
    this.#close();
  }

  /** Divides the sums by the samples, in the units of the first batch. */
  #average(): void {
    const live = () => [this.#window.firstSamples / this.#window.samples];
    for (const arena of this.#arenas()) {
      const { gradients, tensors, dtype } = arena;
      for (const range of arena.ranges((index) => tensors[index].grad === null ? null : 0)) {
        if (range.count === 0) continue;
        gradients.device.record({
          kernel: scaledInPlaceKernel(range.count, dtype),
          inputs: [],
          outputs: [rangeOperand(gradients, range)],
          scalars: live(),
          live,
        });
        gradients.storage.version++;
      }
    }
  }

  /** The memory of the parameters, with all gradients in their places. */
  #arenas(): Set<Arena> {
    const arenas = new Set<Arena>();
    for (const parameter of this.#parameters()) {
      const { grad, gradSlot } = parameter;
      if (grad !== null && grad !== gradSlot) {
        noGrad(() => placeGradient("a GradientAccumulator", parameter, grad, gradSlot!));
        parameter.grad = gradSlot;
      }
      arenas.add(placeOf(parameter)!.arena);
    }
    return arenas;
  }

  #parameters(): Tensor[] {
    return this.optimizer.groups.flatMap((group) => group.params);
  }
}

function windowProblems(window: GradientAccumulatorStateDict, every: number): string[] {
  const { microBatches, samples, firstSamples, gradients } = window;
  const problems: string[] = [];
  if (!(Number.isInteger(microBatches) && microBatches >= 0 && microBatches <= every)) {
    problems.push(
      `expected microBatches to be an integer from 0 to ${every}, found ${microBatches}`,
    );
  }
  const open = microBatches > 0;
  for (const [name, value] of [["samples", samples], ["firstSamples", firstSamples]] as const) {
    if (Number.isFinite(value) && (open ? value > 0 : value === 0)) continue;
    problems.push(`expected ${name} to be ${open ? "a number above 0" : "0"}, found ${value}`);
  }
  if (typeof gradients !== "object" || gradients === null) problems.push("it has no gradients");
  return problems;
}

function gradientProblems(id: string, value: unknown, parameters: readonly Tensor[]): string[] {
  const parameter = parameters[Number(id)];
  const label = `gradient ${id}`;
  if (parameter === undefined) return [`the optimizer has no parameter ${id}`];
  if (!(value instanceof Tensor)) return [`${label} is ${typeof value}, expected a tensor`];
  if (value.isReleased) return [`${label} was released`];
  if (!isFloat(value.dtype)) return [`${label} has dtype ${value.dtype}, expected f32 or f16`];
  if (value.device !== parameter.device) return [`${label} is on another device`];
  const [found, expected] = [showShape(value.shape), showShape(parameter.shape)];
  return found === expected ? [] : [`${label} has shape ${found}, expected ${expected}`];
}
