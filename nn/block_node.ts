/** Nodes of blocks: the options of the block, with nodes in place of the makers of its parts. */

import { type Device, ShapeError } from "../core/mod.ts";
import { defineNode, type FieldsOf, type NodeClass } from "./define_node.ts";
import type { ActivationFactory, BlockFactory, BlockSizes, NormFactory } from "./factories.ts";
import type { TensorModule } from "./module.ts";
import { hasField, type MakeOptions, type Node, node } from "./node.ts";
import { type Field, orNull } from "./node_fields.ts";
import { NoopNode } from "./nodes/activation.ts";

/** An option as a field of a node: nodes take the place of functions that make modules. */
export type NodeValue<T> = T extends (...args: never[]) => TensorModule ? Node : T;

/**
 * The options of a node, from those of the block that it builds.
 *
 * Nodes take the place of functions that make parts; `NoopNode` stands for no part at all. What is
 * left out or null is as the block says: `inChannels` comes from the input, and sizes of a part from
 * the block around it.
 */
export type NodeOptions<O> = {
  readonly [K in Exclude<keyof O, "device" | "key">]?: NodeValue<NonNullable<O[K]>> | null;
};

/** A field that holds a node for a part, and how the maker of the part is called. */
export interface SlotField extends Field<Node | null> {
  /** What the maker is told: sizes, channels, or nothing. */
  readonly slot: "block" | "norm" | "activation";
}

function slot(kind: SlotField["slot"]): SlotField {
  return { ...orNull(node()), slot: kind };
}

/** Fields for parts: what their makers are told differs. */
export const slots: {
  /** A convolutional part, which is told inChannels, outChannels and stride. */
  readonly block: SlotField;
  /** A normalisation, which is told its channels. */
  readonly norm: SlotField;
  /** A layer that is told nothing, such as an activation. */
  readonly activation: SlotField;
} = { block: slot("block"), norm: slot("norm"), activation: slot("activation") };

/**
 * Makes a kind of nodes that build a block.
 *
 * @param type the tag in JSON, and the name of the class
 * @param block the class of the block; its constructor takes one object of options
 * @param fields what each option may be; all of them may be null
 * @returns the class of nodes
 */
export function blockNode<O extends { readonly device?: Device }>(
  type: string,
  block: new (options: O) => TensorModule,
  fields: FieldsOf<NodeOptions<O>>,
): NodeClass<NodeOptions<O>> {
  const table = fields as Readonly<Record<string, Field<unknown> & Partial<SlotField>>>;
  return defineNode<NodeOptions<O>>(type, fields, (values, at) => {
    const options: Record<string, unknown> = { device: at.device };
    for (const [name, { slot }] of Object.entries(table)) {
      const value: unknown = values[name as keyof typeof values];
      if (value !== null) options[name] = partOf(slot, value, at.device);
    }
    for (const name of ["inChannels", "inFeatures"]) {
      if (name in table) options[name] ??= sizeOfInput(type, name, at);
    }
    return new block(options as unknown as O);
  });
}

/** An option of a block from the value of a field. */
function partOf(kind: SlotField["slot"] | undefined, value: unknown, device?: Device): unknown {
  if (kind === undefined) return value;
  const part = value as Node;
  if (kind === "block") return blockOf(part, device);
  return kind === "norm" ? normOf(part, device) : activationOf(part, device);
}

/**
 * How many channels or features an input has, where the node does not say it.
 *
 * @param type the node, for messages
 * @param field its field, for messages; channels come first, features last
 * @param options what the node is made with
 * @returns channels or features
 * @throws {ShapeError} if nobody says them
 */
export function sizeOfInput(type: string, field: string, { inputShape }: MakeOptions): number {
  const size = inputShape?.at(field === "inChannels" ? 0 : -1);
  if (size !== undefined) return size;
  throw new ShapeError(
    `Cannot make ${type}: expected ${field}, or an inputShape to take it from`,
  );
}

/**
 * The maker of a convolutional part, from the node in its slot. What the node leaves open
 * (inChannels, outChannels, stride) is filled in as the block says.
 *
 * @param node what is in the slot
 * @param device where the parameters shall live
 * @returns the factory
 */
export function blockOf(node: Node, device?: Device): BlockFactory {
  return (sizes) => {
    const open: Record<string, number> = {};
    for (const [name, wanted] of Object.entries(sizes)) {
      const own = (node as unknown as Record<string, unknown>)[name] ?? null;
      if (own === null && hasField(node, name)) open[name] = wanted;
      else if (!fits(name, own, sizes)) {
        throw new ShapeError(
          `Cannot use a ${node.type} in this block: expected ${name} ${wanted}, as the block ` +
            `around it says, found ${own === null ? "a node without it" : own}`,
        );
      }
    }
    const sized = Object.keys(open).length > 0 ? node.with(open) : node;
    return sized.build({ device });
  };
}

/** Whether a node with this value of a field, or without the field, does what the block says. */
function fits(
  name: string,
  own: unknown,
  { inChannels, outChannels, stride }: BlockSizes,
): boolean {
  if (own !== null) return own === { inChannels, outChannels, stride }[name];
  if (name === "inChannels") return true;
  return name === "stride" ? stride === 1 : outChannels === inChannels;
}

/** The maker of a layer that normalises, from the node in its slot; null for `NoopNode`. */
export function normOf(node: Node, device?: Device): NormFactory | null {
  if (node instanceof NoopNode) return null;
  return (channels) => node.build({ device, inputShape: [channels] });
}

/** The maker of a layer that keeps the shape, from the node in its slot; null for `NoopNode`. */
export function activationOf(node: Node, device?: Device): ActivationFactory | null {
  return node instanceof NoopNode ? null : () => node.build({ device });
}
