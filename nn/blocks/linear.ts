/** Linear maps with normalisation and activation. */

import type { Device } from "../../core/mod.ts";
import { BatchNorm1d } from "../batch_norm.ts";
import { ReLU } from "../activation.ts";
import { Dropout } from "../dropout.ts";
import type { ActivationFactory, NormFactory } from "../factories.ts";
import { Linear } from "../linear.ts";
import type { TensorModule } from "../module.ts";
import { Sequential } from "../sequential.ts";

/** How a linear map with normalisation and activation is made. */
export interface FCNormActOptions {
  /** Features of the input. */
  readonly inFeatures: number;
  /** Features of the output. @default {inFeatures} */
  readonly outFeatures?: number;
  /** Makes the normalisation, or null for none. @default {BatchNorm1d} */
  readonly norm?: NormFactory | null;
  /** Makes the activation, or null for none. @default {ReLU} */
  readonly activation?: ActivationFactory | null;
  /** Probability of dropping an element at the end; 0 leaves the layer out. @default {0} */
  readonly dropout?: number;
  /** Whether the linear map adds a bias. @default {true} */
  readonly bias?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/**
 * Linear map, normalisation, activation, dropout; the parts are named linear, norm, act, dropout.
 *
 * @example
 * ```ts
 * import { FCNormAct } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const block = new FCNormAct({ inFeatures: 64, outFeatures: 10, device: referenceDevice() });
 * assertEquals(block.parameterCount, 64 * 10 + 10 + 10 + 10);
 * ```
 */
export class FCNormAct extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inFeatures, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FCNormActOptions) {
    const { inFeatures, outFeatures = inFeatures, bias, dropout = 0, device } = options;
    const {
      norm = (features: number) => new BatchNorm1d(features, { device }),
      activation = () => new ReLU(),
    } = options;
    const parts: Record<string, TensorModule> = {
      linear: new Linear(inFeatures, outFeatures, { bias, device }),
    };
    if (norm !== null) parts.norm = norm(outFeatures);
    if (activation !== null) parts.act = activation();
    if (dropout > 0) parts.dropout = new Dropout(dropout);
    super(parts);
  }
}
