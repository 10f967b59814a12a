/** What the training loop needs of tensors and devices: shapes of objects, so that it runs with no device at all. */

/** The part of a tensor that the training loop touches. */
export interface TensorLike {
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** False where the tensor has no graph to leave. */
  readonly requiresGrad?: boolean;
  /** The same values outside the autograd graph. */
  detach(): TensorLike;
  /** Gives the storage back. */
  dispose(): void;
  /** Reads a one-element tensor. */
  item(): Promise<number>;
  /** Computes the gradients of everything that this scalar was made from. */
  backward(): void;
}

/** What one step makes: released when the scope closes, unless kept. */
export interface ScopeLike {
  /** Whether the tensor was made in this scope and would be released with it. */
  owns(tensor: TensorLike): boolean;
  /** Takes a tensor out of the scope. */
  keep(tensor: TensorLike): void;
  /** Releases what is left. */
  close(): void;
}

/** The part of a device that the training loop touches. */
export interface DeviceLike {
  /** Opens a scope that owns what is made until it closes. */
  scope?(): ScopeLike;
  /** Hands recorded work to the device without waiting. */
  flush?(): void;
  /** Resolves when the device has done the work that it was given. */
  sync?(): Promise<void>;
}

/** True for an object with the methods of a tensor that the training loop touches. */
export function isTensorLike(value: unknown): value is TensorLike {
  if (typeof value !== "object" || value === null) return false;
  const tensor = value as Partial<TensorLike>;
  return Array.isArray(tensor.shape) && typeof tensor.detach === "function" &&
    typeof tensor.dispose === "function";
}

/** True for a promise or any other object with a `then` method. */
export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

/** How a value reads in an error message: its class or its type. */
export function describeValue(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  if (typeof value !== "object") return `a ${typeof value}`;
  const name = Object.getPrototypeOf(value)?.constructor?.name;
  if (name === undefined || name === "Object") return "a plain object";
  return `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}`;
}
