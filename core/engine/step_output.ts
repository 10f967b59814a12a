/** What a step function returns, in the form in which callbacks and metrics read it. */

import { isPlainObject, MAP_TENSORS, mapLeaves } from "../leaves.ts";
import { describeValue, isTensorLike, type TensorLike } from "./tensor_like.ts";

interface Content {
  readonly values: Record<string, unknown>;
  readonly count: number | undefined;
  /** Number of samples where nothing tells it. */
  readonly fallback: number;
}

/**
 * Named values of one step; base of the three step outputs, and of outputs that you define.
 *
 * Once a step has returned, the engine replaces each tensor by its detached form, so handlers never
 * hold a graph.
 */
export abstract class StepOutput {
  // Not a # field, since copies are made without a constructor.
  private content: Content;

  /**
   * Holds named values.
   *
   * @param values the named values; those that are `undefined` are left out
   * @param count number of samples; by default the first axis of the targets, predictions,
   * reconstructions, embeddings or inputs, whichever comes first, else that of the batch
   * @throws {RangeError} if `count` is no whole number from 0
   */
  constructor(values: Readonly<Record<string, unknown>>, count?: number) {
    if (count !== undefined && !(Number.isSafeInteger(count) && count >= 0)) {
      throw new RangeError(
        `Cannot make a step output: expected count to be a whole number from 0, found ${count}`,
      );
    }
    const named = Object.entries(values).filter(([, v]) => v !== undefined);
    this.content = { values: Object.fromEntries(named), count, fallback: 1 };
  }

  /** The scalar loss, where the step returned one as a tensor. */
  get loss(): TensorLike | undefined {
    const loss = this.get("loss");
    return isTensorLike(loss) ? loss : undefined;
  }

  /** Number of samples: the weight of this step in every mean. */
  get size(): number {
    const { values, count, fallback } = this.content;
    if (count !== undefined) return count;
    for (const name of ["targets", "predictions", "reconstructions", "embeddings", "inputs"]) {
      const size = leadingSize(values[name]);
      if (size !== undefined) return size;
    }
    return fallback;
  }

  /** Whether the step returned a value with this name. */
  has(name: string): boolean {
    return Object.hasOwn(this.content.values, name);
  }

  /** The value with this name, or `undefined`. */
  get(name: string): unknown {
    return this.has(name) ? this.content.values[name] : undefined;
  }

  /** The names of the values, in the order in which they were given. */
  names(): string[] {
    return Object.keys(this.content.values);
  }

  /** The values as a fresh plain object. */
  toDict(): Record<string, unknown> {
    return { ...this.content.values };
  }

  /** Every tensor among the values, also inside arrays and plain objects; each one once. */
  tensors(): TensorLike[] {
    const found = new Set<TensorLike>();
    mapLeaves(this.content.values, isTensorLike, (tensor) => {
      found.add(tensor);
      return tensor;
    });
    return [...found];
  }

  /** Replaces every tensor; the engine detaches the tensors of an output this way. */
  replaceTensors(replace: (tensor: TensorLike) => TensorLike): void {
    const { values, ...rest } = this.content;
    this.content = {
      ...rest,
      values: mapLeaves(values, isTensorLike, replace) as Content["values"],
    };
  }

  /** Sets the size to use where nothing in the output tells it; the engine gives the batch's. */
  assumeSize(size: number): void {
    this.content = { ...this.content, fallback: size };
  }

  /** An output of the same class with every tensor exchanged; how captured steps hand out their results. */
  [MAP_TENSORS](map: (tensor: TensorLike) => TensorLike): this {
    const copy = Object.assign(Object.create(Object.getPrototypeOf(this)), this);
    copy.replaceTensors(map);
    return copy;
  }
}

/** What a `SupervisedStepOutput` is made of. */
export interface SupervisedFields<T extends TensorLike = TensorLike> {
  /** Scalar loss. */
  loss: T;
  /** Model outputs such as logits, samples along the first axis. */
  predictions?: T;
  /** What the predictions should be, samples along the first axis. */
  targets?: T;
  /** Anything else. */
  metadata?: Record<string, unknown>;
  /** Number of samples; by default the first axis of the targets or predictions. */
  count?: number;
}

/**
 * The output of a step that compares predictions with targets.
 *
 * @example Pass loss, predictions and targets on to callbacks
 * ```ts
 * import { SupervisedStepOutput, tensor, referenceDevice } from "@legoml/legoml/core";
 *
 * const device = referenceDevice();
 * const output = new SupervisedStepOutput({
 *   loss: tensor(0.25, { device }),
 *   predictions: tensor([[2, -1], [0, 3]], { device }),
 *   targets: tensor([0, 1], { dtype: "i32", device }),
 * });
 * console.assert(output.size === 2);
 * ```
 */
export class SupervisedStepOutput<T extends TensorLike = TensorLike> extends StepOutput {
  /**
   * Makes the output of one step.
   *
   * @param fields loss, predictions, targets, metadata, and optionally the sample count
   * @throws {TypeError} if the loss is no tensor
   * @throws {RangeError} if the loss has more than one element
   */
  constructor(fields: SupervisedFields<T>) {
    const { loss, predictions, targets, metadata, count } = fields;
    checkLoss(loss, "SupervisedStepOutput");
    super({ loss, predictions, targets, metadata }, count);
  }

  /** The scalar loss. */
  override get loss(): T {
    return this.get("loss") as T;
  }

  /** Model outputs such as logits. */
  get predictions(): T | undefined {
    return this.get("predictions") as T | undefined;
  }

  /** What the predictions should be. */
  get targets(): T | undefined {
    return this.get("targets") as T | undefined;
  }

  /** Anything else that the step passes on. */
  get metadata(): Record<string, unknown> {
    return (this.get("metadata") ?? {}) as Record<string, unknown>;
  }
}

/** What an `UnsupervisedStepOutput` is made of. */
export interface UnsupervisedFields<T extends TensorLike = TensorLike> {
  /** Scalar loss. */
  loss: T;
  /** What the model makes of its inputs, samples along the first axis. */
  reconstructions?: T;
  /** The inputs' codes, samples along the first axis. */
  embeddings?: T;
  /** Anything else. */
  metadata?: Record<string, unknown>;
  /** Number of samples; by default the first axis of the reconstructions or embeddings. */
  count?: number;
}

/** The output of a step without targets, such as that of an autoencoder. */
export class UnsupervisedStepOutput<T extends TensorLike = TensorLike> extends StepOutput {
  /**
   * Makes the output of one step.
   *
   * @param fields loss, reconstructions, embeddings, metadata, and optionally the sample count
   * @throws {TypeError} if the loss is no tensor
   * @throws {RangeError} if the loss has more than one element
   */
  constructor(fields: UnsupervisedFields<T>) {
    const { loss, reconstructions, embeddings, metadata, count } = fields;
    checkLoss(loss, "UnsupervisedStepOutput");
    super({ loss, reconstructions, embeddings, metadata }, count);
  }

  /** The scalar loss. */
  override get loss(): T {
    return this.get("loss") as T;
  }

  /** What the model makes of its inputs. */
  get reconstructions(): T | undefined {
    return this.get("reconstructions") as T | undefined;
  }

  /** The inputs' codes. */
  get embeddings(): T | undefined {
    return this.get("embeddings") as T | undefined;
  }

  /** Anything else that the step passes on. */
  get metadata(): Record<string, unknown> {
    return (this.get("metadata") ?? {}) as Record<string, unknown>;
  }
}

/**
 * The output of a step that returned a plain object; its keys become names.
 *
 * A number under `count` is the sample count.
 */
export class DictStepOutput<D = unknown> extends StepOutput {
  /**
   * Wraps a plain object.
   *
   * @param values the plain object that the step returned
   * @throws {RangeError} if `count` is there and no whole number from 0
   */
  constructor(values: D) {
    const record = values as Readonly<Record<string, unknown>>;
    super(record, record.count as number | undefined);
  }

  /** The value with this name, or `undefined`. */
  override get<K extends string>(name: K): K extends keyof D ? D[K] : unknown {
    return super.get(name) as K extends keyof D ? D[K] : unknown;
  }
}

/** The step output that the engine makes of what a step function returns. */
export type OutputOf<R> = unknown extends R ? StepOutput
  : Awaited<R> extends StepOutput ? Awaited<R>
  // deno-lint-ignore ban-types -- a step that returns nothing has an output without names
  : Awaited<R> extends void | undefined ? DictStepOutput<{}>
  : DictStepOutput<Awaited<R>>;

/**
 * Wraps what a step function returned.
 *
 * @param value a `StepOutput` (kept as it is), a plain object, or nothing
 * @param size the size to assume where the output does not tell it; 1 where absent
 * @throws {TypeError} if the value is none of these
 */
export function toStepOutput(value: unknown, size?: number): StepOutput {
  const output = value instanceof StepOutput ? value : new DictStepOutput(plainObject(value));
  if (size !== undefined) output.assumeSize(size);
  return output;
}

/**
 * How many samples a batch holds: its `size`, else the first axis of the batch, of its first
 * element, or of its `inputs` or `targets`, else 1.
 */
export function batchSize(batch: unknown): number {
  if (typeof batch !== "object" || batch === null) return 1;
  // Inputs and targets may be made when they are first asked for.
  const { size } = batch as Record<string, unknown>;
  if (Number.isSafeInteger(size) && !isTensorLike(batch)) return size as number;
  const { inputs, targets } = batch as Record<string, unknown>;
  const first = Array.isArray(batch) && isTensorLike(batch[0]) ? batch[0] : batch;
  return leadingSize(first) ?? leadingSize(inputs) ?? leadingSize(targets) ?? 1;
}

function leadingSize(value: unknown): number | undefined {
  if (isTensorLike(value)) return value.shape[0];
  if (Array.isArray(value)) return value.length;
  if (ArrayBuffer.isView(value)) return (value as Uint8Array).length;
  return undefined;
}

function plainObject(value: unknown): Record<string, unknown> {
  if (value === undefined) return {};
  if (isPlainObject(value)) return value;
  const hint = isTensorLike(value) ? "; return { loss } to return one tensor" : "";
  throw new TypeError(
    `Cannot read the step's result: expected a step output, a plain object or nothing, found ${
      describeValue(value)
    }${hint}`,
  );
}

function checkLoss(loss: unknown, what: string): void {
  if (!isTensorLike(loss)) {
    throw new TypeError(
      `Cannot make a ${what}: expected the loss to be a tensor, found ${describeValue(loss)}`,
    );
  }
  if (loss.shape.some((size) => size !== 1)) {
    throw new RangeError(
      `Cannot make a ${what}: expected a loss with one element, found shape [${
        loss.shape.join(", ")
      }]`,
    );
  }
}
