/** Kinds of nodes from a table of fields and a function that makes the module. */

import type { TensorModule } from "./module.ts";
import { type MakeOptions, Node } from "./node.ts";
import { type Field, readFields } from "./node_fields.ts";

/** The fields of a node with such options. */
export type FieldsOf<O> = { readonly [K in keyof Required<O>]: Field<Required<O>[K]> };

/** A kind of nodes: a class whose objects hold the values of their options. */
export interface NodeClass<O> {
  /**
   * Checks the options.
   *
   * @param options what is not as usual
   * @throws {NodeError} if an option is unknown, missing, or not allowed
   */
  new (...options: Record<never, never> extends O ? [options?: O] : [options: O]):
    & Node
    & Readonly<Required<O>>;
}

/**
 * Makes a kind of nodes, and makes it known to `Node.fromJSON`.
 *
 * @param type the tag in JSON, and the name of the class
 * @param fields what each option may be, and what it is where it was left out
 * @param make the module from the values of the options
 * @returns the class
 * @throws {RangeError} if the tag is taken
 *
 * @example
 * ```ts
 * import { defineNode, field, Node, type NodeClass, Softplus } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const BetaNode: NodeClass<{ readonly beta?: number }> = defineNode<{ readonly beta?: number }>(
 *   "BetaNode",
 *   { beta: field.number(0.1, 10, 1) },
 *   ({ beta }) => new Softplus({ beta }),
 * );
 * const node = new BetaNode({ beta: 2 });
 * assertEquals(Node.fromJSON(JSON.parse(JSON.stringify(node))), node);
 * ```
 */
export function defineNode<O extends object>(
  type: string,
  fields: FieldsOf<O>,
  make: (values: Readonly<Required<O>>, options: MakeOptions) => TensorModule,
): NodeClass<O> {
  const table = fields as Readonly<Record<string, Field<unknown>>>;
  const kind = {
    [type]: class extends Node {
      override readonly type: string = type;

      constructor(options?: O) {
        super();
        Object.assign(this, readFields(table, { ...options }, type));
      }

      protected override make(options: MakeOptions): TensorModule {
        return make(this as unknown as Required<O>, options);
      }
    },
  }[type];
  Node.register(type, table, (values) => new kind(values as O));
  return kind as unknown as NodeClass<O>;
}
