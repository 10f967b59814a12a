/** Nodes whose modules can do more than turn one tensor into another. */

import { defineNode, type FieldsOf, type NodeClass } from "../define_node.ts";
import type { TensorModule } from "../module.ts";
import type { BuildOptions, MakeOptions, Node } from "../node.ts";

/** A kind of nodes whose `build` is known to give a certain class of modules. */
export interface TypedNodeClass<O, M extends TensorModule> {
  /**
   * Checks the options.
   *
   * @param options what is not as usual
   * @throws {NodeError} if an option is unknown, missing, or not allowed
   */
  new (...options: Record<never, never> extends O ? [options?: O] : [options: O]):
    & { build(options?: BuildOptions): M }
    & Node
    & Readonly<Required<O>>;
}

/**
 * Makes a kind of nodes as `defineNode` does, and keeps the class of its modules in the type.
 *
 * @param type the tag in JSON, and the name of the class
 * @param fields what each option may be, and what it is where it was left out
 * @param make the module from the values of the options
 * @returns the class
 */
export function typedNode<O extends object, M extends TensorModule>(
  type: string,
  fields: FieldsOf<O>,
  make: (values: Readonly<Required<O>>, options: MakeOptions) => M,
): TypedNodeClass<O, M> {
  const kind: NodeClass<O> = defineNode<O>(type, fields, make);
  // `build` gives what `make` gave.
  return kind as TypedNodeClass<O, M>;
}
