/**
 * Reverse-mode automatic differentiation: visits the nodes of the tape from the newest to the oldest.
 *
 * With `createGraph` the rules are recorded while they run, and gradients can be differentiated again.
 */

import { AutogradError, showShape } from "../errors.ts";
import { debugLine } from "../backend/debug.ts";
import type { StepScope } from "../backend/device.ts";
import { accumulate, addInto, copyInto, copyOf, fullLike } from "./in_place.ts";
import { setGradEnabled, type TapeNode } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** What to keep of the tape. */
export interface BackwardOptions {
  /** Gradient of the root, of its shape; 1 by default, for scalars only. */
  readonly gradient?: Tensor;
  /** Keep the tape, so that backward can run again. @default {createGraph} */
  readonly retainGraph?: boolean;
  /** Record the backward ops too, so that gradients can be differentiated. @default {false} */
  readonly createGraph?: boolean;
}

/** What to keep of the tape, and what to give for inputs without influence. */
export interface GradOptions extends BackwardOptions {
  /** Give zeros for inputs that the root does not depend on, instead of an error. @default {false} */
  readonly materializeGrads?: boolean;
}

/**
 * Adds the gradients of a scalar to the `grad` of every leaf that requires one.
 *
 * @param root what to differentiate
 * @param options gradient of the root, and what to keep of the tape
 * @throws {AutogradError} if the root has no history, is no scalar, was differentiated before, or if a saved value has changed
 */
export function backward(root: Tensor, options: BackwardOptions = {}): void {
  const { createGraph = false } = options;
  run(root, options, (leaf, gradient) => {
    if (leaf.node === null && leaf.requiresGrad) deposit(leaf, gradient, createGraph);
  });
}

/**
 * Gradients of a scalar with respect to the given tensors; leaves their `grad` alone.
 *
 * @param root what to differentiate
 * @param inputs with respect to what
 * @param options gradient of the root, and what to keep of the tape
 * @returns one gradient for each input, of its shape
 * @throws {AutogradError} as backward(), and if the root does not depend on an input
 *
 * @example
 * ```ts
 * import { grad, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor(3, { device: referenceDevice(), requiresGrad: true });
 * const [first] = grad(x.mul(x).mul(x), [x], { createGraph: true });
 * const [second] = grad(first, [x]);
 * assertEquals([await first.item(), await second.item()], [27, 18]);
 * ```
 */
export function grad(
  root: Tensor,
  inputs: readonly Tensor[],
  options: GradOptions = {},
): Tensor[] {
  const found = new Map<Tensor, Tensor>();
  const wanted = new Set(inputs);
  run(root, options, (tensor, gradient) => {
    if (wanted.has(tensor)) found.set(tensor, options.createGraph ? gradient : gradient.alias());
  });
  const missing = inputs.findIndex((input) => !found.has(input));
  if (missing >= 0 && !options.materializeGrads) {
    if (!options.createGraph) found.forEach((gradient) => gradient.dispose());
    throw new AutogradError(
      `Cannot give the gradient of input ${missing} (${
        inputs[missing]
      }): the root does not depend ` +
        "on it, or it does not require a gradient",
    );
  }
  return inputs.map((input) => found.get(input) ?? fullLike(input, 0));
}

/** Visits every tensor with its whole gradient, the newest first. */
function run(
  root: Tensor,
  options: BackwardOptions,
  visit: (tensor: Tensor, gradient: Tensor) => void,
): void {
  const { createGraph = false, retainGraph = createGraph } = options;
  const gradients = new Map<Tensor, Tensor>([[root, rootGradient(root, options.gradient)]]);
  using _ = setGradEnabled(createGraph);
  const drop = (gradient: Tensor) => {
    if (!createGraph && gradient !== options.gradient) gradient.dispose();
  };
  try {
    for (const tensor of reachable(root)) {
      const gradient = gradients.get(tensor);
      if (gradient === undefined) continue;
      visit(tensor, gradient);
      if (tensor.node !== null) {
        using scope = createGraph ? null : tensor.device.scope();
        propagate(tensor.node, gradient, gradients, scope);
        if (!retainGraph) tensor.node.rule = null;
      }
      gradients.delete(tensor);
      drop(gradient);
    }
  } finally {
    // After an error some gradients are still waiting for their tensors.
    gradients.forEach(drop);
  }
}

/** Tensors that the root was computed from and gradients flow to; every one before those it was computed from. */
function reachable(root: Tensor): Tensor[] {
  const seen = new Set<Tensor>([root]);
  const stack = [root];
  while (stack.length > 0) {
    const { node } = stack.pop()!;
    for (const input of node?.inputs ?? []) {
      if (!input.requiresGrad || seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return [...seen].sort((a, b) => (b.node?.id ?? -1) - (a.node?.id ?? -1));
}

/** Runs one rule and adds its results to the gradients of the inputs. */
function propagate(
  node: TapeNode,
  gradient: Tensor,
  gradients: Map<Tensor, Tensor>,
  scope: StepScope | null,
): void {
  if (node.rule === null) {
    throw new AutogradError(
      `Cannot run backward through ${node.op} a second time: its saved values were released; ` +
        "pass { retainGraph: true } to the first backward",
    );
  }
  for (const [tensor, version] of node.saved) {
    if (tensor.storage.version !== version) {
      throw new AutogradError(
        `Cannot run backward through ${node.op}: a value that it saved (shape ${
          showShape(tensor.shape)
        }) was changed in place afterwards`,
      );
    }
  }
  debugLine(3, () => `backward of ${node.op}, node ${node.id}, gradient ${gradient}`);
  node.rule(gradient).forEach((part, i) => {
    const input = node.inputs[i];
    if (part === null || !input.requiresGrad) return;
    const before = gradients.get(input);
    let sum = before === undefined ? part : before.add(part);
    // A rule may hand on its own argument or a tensor that others hold; the sum must be a handle of its own.
    if (scope !== null && !scope.owns(sum)) sum = sum.alias();
    gradients.set(input, sum);
    if (scope === null) return;
    moveOut(sum, scope);
    before?.dispose();
  });
}

/** Hands a tensor from the scope of one rule to the scope around it. */
function moveOut(tensor: Tensor, scope: StepScope): void {
  scope.keep(tensor);
  const { scopes } = tensor.device;
  const outer = scopes[scopes.indexOf(scope) - 1];
  if (outer) outer.add(tensor);
  else tensor.keep();
}

function rootGradient(root: Tensor, gradient: Tensor | undefined): Tensor {
  if (!root.requiresGrad) {
    throw new AutogradError(
      `Cannot run backward from ${root}: it does not require a gradient and has no history`,
    );
  }
  if (gradient !== undefined) {
    if (String(gradient.shape) !== String(root.shape)) {
      throw new AutogradError(
        `Cannot run backward from ${root}: expected a gradient of its shape, found ${
          showShape(gradient.shape)
        }`,
      );
    }
    return gradient;
  }
  if (root.size !== 1) {
    throw new AutogradError(
      `Cannot run backward from a tensor of shape ${
        showShape(root.shape)
      }: expected a scalar, or a gradient of that shape`,
    );
  }
  return fullLike(root, 1);
}

/** Adds a gradient to a leaf: into the place that its optimizer gave it, or into a tensor of its own. */
function deposit(leaf: Tensor, gradient: Tensor, createGraph: boolean): void {
  const slot = leaf.gradSlot;
  if (slot !== null && !createGraph) {
    // A gradient that somebody set by hand counts like one that backward left.
    if (leaf.grad !== null && leaf.grad !== slot) copyInto(slot, leaf.grad.detach());
    accumulate(slot, gradient, leaf.grad === null);
    leaf.grad = slot;
  } else {
    const { grad } = leaf;
    if (createGraph) leaf.grad = (grad === null ? gradient : grad.add(gradient)).keep();
    else if (grad === null || grad.requiresGrad) leaf.grad = ownGradient(grad, gradient).keep();
    else addInto(grad, gradient);
  }
}

/** A gradient in memory that nobody else uses, since later ones are added to it in place. */
function ownGradient(before: Tensor | null, gradient: Tensor): Tensor {
  if (before !== null) return before.add(gradient);
  return gradient.storage.handles > 1 ? copyOf(gradient) : gradient.alias();
}
