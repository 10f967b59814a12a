/** Ops with a gradient that their author writes. */

import { AutogradError, showShape } from "../errors.ts";
import { noGrad, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** What the forward of a custom function may give beside its output: tensors that its backward reads. */
export interface CustomOutput {
  /** The result. */
  readonly output: Tensor;
  /** Handed to the backward as they are, without a history. */
  readonly saved: readonly Tensor[];
}

/** What the backward of a custom function can work with. */
export interface CustomContext<A extends readonly Tensor[]> {
  /** The inputs of the forward. */
  readonly inputs: A;
  /** Its output. */
  readonly output: Tensor;
  /** What it saved; empty if it gave a tensor alone. */
  readonly saved: readonly Tensor[];
}

/** Computes a custom function; ops in it are not recorded. */
export type CustomForward<A extends readonly Tensor[]> = (...inputs: A) => Tensor | CustomOutput;

/**
 * Gradients of the inputs from the gradient of the output, one for each input, of its shape; null where none flows. Ops in it
 * are recorded where the gradient is to be differentiated itself, so that second order works if its formula is right.
 */
export type CustomBackward<A extends readonly Tensor[]> = (
  gradOutput: Tensor,
  context: CustomContext<A>,
) => readonly (Tensor | null)[];

/**
 * An op with a gradient of its own, as torch.autograd.Function.
 *
 * @param name for messages
 * @param forward computes the output, or the output with tensors that backward needs; runs without recording
 * @param backward the gradients of the inputs; it may read inputs, output and saved tensors, so none of them may change in place before
 * @returns the op as a function of its inputs
 * @throws {AutogradError} when backward runs, if it gives another number of gradients or other shapes than there are inputs
 *
 * @example A step function that lets gradients through
 * ```ts
 * import { customFunction, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const binarize = customFunction("binarize", (x) => x.gt(0).to("f32"), (g) => [g]);
 *
 * const x = tensor([-1, 0.5, 2], { device: referenceDevice(), requiresGrad: true });
 * const y = binarize(x);
 * y.mul(3).sum().backward();
 * assertEquals(await y.array(), [0, 1, 1]);
 * assertEquals(await x.grad!.array(), [3, 3, 3]);
 * ```
 */
export function customFunction<A extends readonly Tensor[] = [Tensor]>(
  name: string,
  forward: CustomForward<A>,
  backward: CustomBackward<A>,
): (...inputs: A) => Tensor {
  return (...inputs) => {
    const result = noGrad(() => forward(...inputs));
    const { output: plain, saved } = "saved" in result ? result : { output: result, saved: [] };
    // The tape needs a handle of its own, also where the forward gives an input or a parameter back.
    const foreign = plain.requiresGrad || inputs.includes(plain) || saved.includes(plain);
    const output = foreign ? plain.alias() : plain;
    const rule = (g: Tensor) => checked(name, backward(g, { inputs, output, saved }), inputs);
    return record(name, output, inputs, rule, [...inputs, output, ...saved]);
  };
}

/** The gradients, in number, shape and dtype those of the inputs. */
function checked(
  name: string,
  gradients: readonly (Tensor | null)[],
  inputs: readonly Tensor[],
): (Tensor | null)[] {
  if (gradients.length !== inputs.length) {
    throw new AutogradError(
      `Cannot run backward through ${name}: expected ${inputs.length} gradients, one for each ` +
        `input, found ${gradients.length}`,
    );
  }
  return gradients.map((gradient, i) => {
    if (gradient === null) return null;
    if (String(gradient.shape) !== String(inputs[i].shape)) {
      throw new AutogradError(
        `Cannot run backward through ${name}: expected the gradient of input ${i} to have the ` +
          `shape ${showShape(inputs[i].shape)}, found ${showShape(gradient.shape)}`,
      );
    }
    return inputs[i].requiresGrad ? gradient.to(inputs[i].dtype) : null;
  });
}
