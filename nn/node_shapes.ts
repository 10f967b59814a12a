/** How nodes follow sizes through what they build, and name the part that does not fit. */

import { DTypeError, referenceDevice, type Shape, ShapeError } from "../core/mod.ts";
import { dryRun } from "../core/tensor/dry_run.ts";
import type { Module, TensorModule } from "./module.ts";
import { Node, originalOf } from "./node.ts";
import { deviceOf, outputShapeOf, TraceError } from "./trace.ts";

/** What modules were built from. */
const sources = new WeakMap<Module, Node>();

/** How many nodes are being built inside each other. */
let depth = 0;
/** The innermost node that could not be built. */
let failed: { readonly error: unknown; readonly node: Node } | null = null;

/**
 * Builds a module; errors of the outermost node name the part that they come from.
 *
 * @param node what is built
 * @param inputShape sizes of one input; they are followed through the whole model
 * @param make makes the module
 */
export function buildNamed(
  node: Node,
  inputShape: Shape | null,
  make: () => TensorModule,
): TensorModule {
  const outermost = depth === 0;
  depth++;
  try {
    const module = make();
    sources.set(module, node);
    if (outermost && inputShape !== null) shapeAfter(module, inputShape);
    return module;
  } catch (error) {
    if (failed?.error !== error) failed = { error, node };
    if (!outermost) throw error;
    if (error instanceof TraceError) throw placed(node, error, node.type);
    throw located(error, "build", pathTo(node, failed?.node ?? node, node.type) ?? node.type);
  } finally {
    depth--;
    if (outermost) failed = null;
  }
}

/** Sizes of one output of what a node builds; no memory is taken. */
export function inferShape(node: Node, input: Shape, path: string): Shape {
  const device = referenceDevice();
  return dryRun(device, () => {
    try {
      return shapeAfter(node.build({ device, inputShape: input }), input);
    } catch (error) {
      throw error instanceof TraceError ? placed(node, error, path) : error;
    }
  });
}

/**
 * Sizes of one output of a module, from those of one input, both without the batch.
 *
 * @throws {TraceError} where a part does not take its input
 */
export function shapeAfter(module: TensorModule, input: Shape): Shape {
  return outputShapeOf(module, deviceOf(module), input);
}

/** The error of a part that does not take its input, with the place of its node. */
function placed(root: Node, error: TraceError, path: string): unknown {
  const around = error.path.map(([, part]) => sources.get(part)).filter((n) => n !== undefined);
  const places = around.map((part) => pathTo(root, part, path));
  return located(error.cause, "place", places.findLast((found) => found !== null) ?? path);
}

/** The same error with the place in its message, where it does not say one already. */
export function located(error: unknown, action: "build" | "place", place: string): unknown {
  const known = error instanceof RangeError || error instanceof DTypeError;
  if (!known) return error;
  const { message } = error;
  if (/^Cannot (build|place) /.test(message)) return error;
  const text = `Cannot ${action} ${place}: ${message}`;
  const options = { cause: error };
  if (error instanceof ShapeError) return new ShapeError(text, options);
  return error instanceof DTypeError
    ? new DTypeError(text, options)
    : new RangeError(text, options);
}

/** Where a node lies in another, such as `TinyCNNNode.convBlocks[1]`; null if it does not. */
function pathTo(root: Node, wanted: Node, path: string): string | null {
  if (originalOf(root) === originalOf(wanted)) return path;
  return within(Object.entries(root), wanted, (name) => `${path}.${name}`);
}

function within(
  entries: readonly (readonly [string, unknown])[],
  wanted: Node,
  name: (key: string) => string,
): string | null {
  for (const [key, value] of entries) {
    const path = name(key);
    const found = value instanceof Node
      ? pathTo(value, wanted, path)
      : Array.isArray(value)
      ? within(Object.entries(value), wanted, (i) => `${path}[${i}]`)
      : null;
    if (found !== null) return found;
  }
  return null;
}
