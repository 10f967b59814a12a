/** Nodes of activation functions. */

import { GELU } from "../activation_options.ts";
import { ReLU, Sigmoid, Tanh } from "../activation.ts";
import { Node } from "../node.ts";
import { choice, readFields } from "../node_fields.ts";
import type { TensorModule } from "../module.ts";
import { Identity } from "../shape.ts";

/** Does nothing; stands where a node may be left out. Builds `Identity`. */
export class NoopNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "NoopNode";

  /** Makes the module. */
  protected override make(): TensorModule {
    return new Identity();
  }
}

/** The rectifier. Builds `ReLU`. */
export class ReluNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "ReluNode";

  /** Makes the module. */
  protected override make(): TensorModule {
    return new ReLU();
  }
}

/** The logistic function. Builds `Sigmoid`. */
export class SigmoidNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "SigmoidNode";

  /** Makes the module. */
  protected override make(): TensorModule {
    return new Sigmoid();
  }
}

/** The hyperbolic tangent. Builds `Tanh`. */
export class TanhNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "TanhNode";

  /** Makes the module. */
  protected override make(): TensorModule {
    return new Tanh();
  }
}

const geluFields = { approximate: choice(["none", "tanh"], "none") };

/** What a `GeluNode` describes. */
export interface GeluNodeOptions {
  /** "tanh" for the approximation by a hyperbolic tangent. @default {"none"} */
  readonly approximate?: "none" | "tanh";
}

/** The Gaussian error unit. Builds `GELU`. */
export class GeluNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "GeluNode";
  /** "tanh" for the approximation by a hyperbolic tangent. */
  readonly approximate: "none" | "tanh";

  /**
   * Checks the options.
   *
   * @param options approximate
   * @throws {NodeError} if an option is unknown or not allowed
   */
  constructor(options: GeluNodeOptions = {}) {
    super();
    this.approximate = readFields(geluFields, { ...options }, "GeluNode").approximate;
  }

  /** Makes the module. */
  protected override make(): TensorModule {
    return new GELU({ approximate: this.approximate });
  }
}

Node.register("NoopNode", {}, () => new NoopNode());
Node.register("ReluNode", {}, () => new ReluNode());
Node.register("SigmoidNode", {}, () => new SigmoidNode());
Node.register("TanhNode", {}, () => new TanhNode());
Node.register("GeluNode", geluFields, (values) => new GeluNode(values));
