/**
 * Fields for nodes of one's own: what each value may be, and what it is where it was left out.
 *
 * @example A node with a node inside
 * ```ts
 * import { field, type MakeOptions, Node, ReluNode, Sequential } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * class TwiceNode extends Node {
 *   readonly type = "TwiceNode";
 *   constructor(readonly inner: Node) {
 *     super();
 *   }
 *   protected override make({ device }: MakeOptions): Sequential {
 *     return new Sequential(this.inner.build({ device }), this.inner.build({ device }));
 *   }
 * }
 * const fields = { inner: field.node(() => new ReluNode()) };
 * Node.register("TwiceNode", fields, ({ inner }) => new TwiceNode(inner));
 *
 * const node = Node.fromJSON({ type: "TwiceNode", inner: { type: "TanhNode" } });
 * assertEquals(node.toJSON(), { type: "TwiceNode", inner: { type: "TanhNode" } });
 * ```
 *
 * @module
 */

export {
  boolean,
  choice,
  type Field,
  type Fields,
  type FieldValues,
  integer,
  integers,
  number,
  orNull,
  pair,
  readFields,
} from "./node_fields.ts";
export { node, nodes } from "./node.ts";
