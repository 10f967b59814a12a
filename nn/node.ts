/** Descriptions of models: plain data that builds modules, and comes back from JSON. */

import { type Device, seedScope, type Shape } from "../core/mod.ts";
import type { TensorModule } from "./module.ts";
import { buildNamed, inferShape } from "./node_shapes.ts";
import {
  describe,
  type Field,
  type Fields,
  type FieldValues,
  NodeError,
  readFields,
} from "./node_fields.ts";

/** How a module is built from a node. */
export interface BuildOptions {
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
  /**
   * Restarts the stream of random numbers for this build: the same seed gives the same bits.
   * @default {the default stream goes on}
   */
  readonly seed?: number;
  /** Sizes of one input without the batch, where the node does not say them itself. */
  readonly inputShape?: Shape;
}

/** What a node makes its module from. */
export interface MakeOptions {
  /** Where the parameters shall live. */
  readonly device: Device | undefined;
  /** Sizes of one input without the batch, or null where nobody said. */
  readonly inputShape: Shape | null;
}

/** A node as JSON: the type tag, and its fields. */
export interface NodeJson {
  /** Name under which the kind of node is registered. */
  readonly type: string;
  /** Numbers, texts, lists, and nodes in the same form. */
  readonly [field: string]: unknown;
}

interface Kind {
  readonly fields: Fields;
  readonly make: (values: never) => Node;
}

const kinds = new Map<string, Kind>();
const DEEPEST = 32;
/** Nodes that were made from others by `with`. */
const originals = new WeakMap<Node, Node>();

/**
 * The description of a module: what to build, without weights and without a device.
 *
 * A node is plain data. `build()` makes a new module each time; `JSON.stringify` writes it and
 * `Node.fromJSON` reads it back, checked field by field.
 *
 * @example Build, save, and build the same again
 * ```ts
 * import { MLPNode, Node } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const node = new MLPNode({ inFeatures: 4, dims: [8, 3] });
 * const model = node.build({ device, seed: 42 });
 * const copy = Node.fromJSON(JSON.parse(JSON.stringify(node))).build({ device, seed: 42 });
 * assertEquals(
 *   await model.parameters()[0].data(),
 *   await copy.parameters()[0].data(),
 * );
 * ```
 *
 * @example A node of one's own
 * ```ts
 * import { field, type MakeOptions, Node, Softplus, type TensorModule } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * class SharpNode extends Node {
 *   readonly type = "SharpNode";
 *   constructor(readonly beta: number) {
 *     super();
 *   }
 *   protected override make(_options: MakeOptions): TensorModule {
 *     return new Softplus({ beta: this.beta });
 *   }
 * }
 * const fields = { beta: field.number(0.1, 10, 1) };
 * Node.register("SharpNode", fields, ({ beta }) => new SharpNode(beta));
 *
 * const node = Node.fromJSON({ type: "SharpNode", beta: 2 });
 * assertEquals(node.toJSON(), { type: "SharpNode", beta: 2 });
 * ```
 */
export abstract class Node {
  /** The type tag in JSON. */
  abstract readonly type: string;

  /**
   * Makes a new module.
   *
   * With `inputShape` the sizes are followed through the model, with nothing executed, before it is
   * given.
   *
   * @param options device, seed, inputShape
   * @returns the module, in training mode
   * @throws {ShapeError} if a part does not fit what comes before it; the message names the part
   * @throws {RangeError} if a part cannot be made of the sizes; the message names the part
   */
  build(options: BuildOptions = {}): TensorModule {
    const { device, seed, inputShape = null } = options;
    using _ = seed === undefined ? null : seedScope(seed);
    return buildNamed(this, inputShape, () => this.make({ device, inputShape }));
  }

  /**
   * The same node with some fields replaced.
   *
   * @param values the new values by field
   * @returns a new node; this one stays as it is
   * @throws {NodeError} if a field is unknown, or a value not allowed
   * @throws {TypeError} if the kind of node was not registered
   *
   * @example
   * ```ts
   * import { MLPNode } from "@legoml/legoml/nn";
   * import { assertEquals } from "@std/assert";
   *
   * const node = new MLPNode({ inFeatures: 4, dims: [8, 3] });
   * assertEquals(node.with({ dims: [16, 3] }).dims, [16, 3]);
   * ```
   */
  with(values: Readonly<Record<string, unknown>>): this {
    const kind = kinds.get(this.type);
    if (kind === undefined) {
      throw new TypeError(
        `Cannot change a ${this.type}: expected a type that was registered by Node.register()`,
      );
    }
    const own = Object.entries(this).filter(([name]) => Object.hasOwn(kind.fields, name));
    const given = { ...Object.fromEntries(own), ...values };
    const copy = kind.make(readFields(kind.fields, given, this.type) as never);
    originals.set(copy, originalOf(this));
    return copy as this;
  }

  /**
   * Makes the module; parts are made by their own `build`, without a seed.
   *
   * @param options device and inputShape
   * @returns the module
   */
  protected abstract make(options: MakeOptions): TensorModule;

  /**
   * Sizes of one output, from those of one input, both without the batch.
   *
   * By default the module is built and followed with nothing executed and no memory taken.
   *
   * @param input sizes such as [C, H, W] or [features]
   * @param path the place of this node in the model, for messages
   * @returns sizes of the output
   * @throws {ShapeError} if the input does not fit; the message names the part that it does not fit
   */
  outputShape(input: Shape, path: string = this.type): Shape {
    return inferShape(this, input, path);
  }

  /**
   * The node as plain data: its own fields, nodes among them in the same form.
   *
   * @returns the type tag and the fields
   */
  toJSON(): NodeJson {
    return { type: this.type, ...plain({ ...this }) as Record<string, unknown> };
  }

  /**
   * The node that JSON describes. Fields that were left out get their defaults.
   *
   * @param json what JSON.parse gave, or the node's `toJSON`
   * @returns the node
   * @throws {NodeError} for an unknown type, a field that is unknown, missing or of the wrong type,
   * or more than 32 nodes inside each other; the message names the path
   */
  static fromJSON(json: unknown): Node {
    return readNode(json, null, 1);
  }

  /**
   * Makes a kind of node known to `fromJSON`.
   *
   * @param type the tag
   * @param fields what its JSON may hold beside the tag
   * @param make the node from the values of the fields
   * @throws {RangeError} if the tag is taken
   */
  static register<F extends Fields>(
    type: string,
    fields: F,
    make: (values: FieldValues<F>) => Node,
  ): void {
    if (kinds.has(type)) {
      throw new RangeError(`Cannot register a node type "${type}": it is registered already`);
    }
    kinds.set(type, { fields, make });
  }
}

/** The node that this one was made from, or itself. */
export function originalOf(node: Node): Node {
  return originals.get(node) ?? node;
}

/** Whether nodes of this kind have a field. */
export function hasField(node: Node, name: string): boolean {
  return Object.hasOwn(kinds.get(node.type)?.fields ?? {}, name);
}

/** Nodes inside a value become plain data. */
function plain(value: unknown): unknown {
  if (value instanceof Node) return value.toJSON();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}

/** Reads a node at a place; the root is named by its type. */
function readNode(json: unknown, place: string | null, depth: number): Node {
  const where = place ?? "the description of a model";
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new NodeError(
      `Cannot use ${where}: expected an object with a type, found ${describe(json)}`,
      where,
    );
  }
  if (depth > DEEPEST) {
    throw new NodeError(
      `Cannot use ${where}: expected at most ${DEEPEST} nodes inside each other`,
      where,
    );
  }
  const { type, ...given } = json as Record<string, unknown>;
  const kind = typeof type === "string" ? kinds.get(type) : undefined;
  if (kind === undefined) {
    const found = Object.hasOwn(json, "type") ? describe(type) : "nothing";
    throw new NodeError(
      `Cannot use ${where}: expected a type among ${[...kinds.keys()].join(", ")}, found ${found}`,
      where,
    );
  }
  const values = readFields(kind.fields, given, place ?? type as string, depth);
  return kind.make(values as never);
}

/**
 * A field that holds a node, or the JSON of one.
 *
 * @param fallback makes the node where it was left out
 * @returns the field
 */
export function node(fallback?: () => Node): Field<Node> {
  const read: Field<Node>["read"] = (value, path, depth) =>
    value instanceof Node ? value : readNode(value, path, depth + 1);
  return { expected: "a node", read, fallback };
}

/**
 * A field that holds a list of nodes of one class, or the JSON of such.
 *
 * @param wanted the class
 * @param count the least length
 * @param fallback makes the list where it was left out
 * @returns the field
 */
export function nodes<N extends Node>(
  wanted: abstract new (...args: never[]) => N,
  count: number,
  fallback?: () => readonly N[],
): Field<readonly N[]> {
  const one = node();
  const read: Field<readonly N[]>["read"] = (value, path, depth) => {
    if (!Array.isArray(value) || value.length < count) return undefined;
    const list: unknown[] = value.map((part, i) => one.read(part, `${path}[${i}]`, depth));
    return list.every((part): part is N => part instanceof wanted) ? list : undefined;
  };
  return { expected: `at least ${count} of ${wanted.name} in a list`, read, fallback };
}
