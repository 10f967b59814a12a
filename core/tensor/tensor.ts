/** The Tensor: a typed view of device memory with a place in the autograd tape. */

import type { HostArray } from "../backend/backend.ts";
import { type Capture, currentCapture, effect } from "../backend/capture.ts";
import type { Device, Storage } from "../backend/device.ts";
import { AutogradError } from "../errors.ts";
import { type DType, type Shape, sizeOf } from "../../kernels/types.ts";
import { noGrad, type TapeNode } from "./tape.ts";
import type { TensorMethods } from "./methods.ts";
import { contiguousStrides, isContiguous } from "./shape.ts";

/** Numbers nested as deep as a tensor has axes. */
export type NestedArray = number | NestedArray[];

/** Where a new handle looks into its storage. */
export interface ViewSpec {
  /** Sizes of the axes. */
  readonly shape: Shape;
  /** Steps along the axes, in elements. */
  readonly strides: readonly number[];
  /** First element, from the start of the storage. */
  readonly offset: number;
}

// A handle that nobody closed gives its memory back when it is collected.
const abandoned = new FinalizationRegistry<{ storage: Storage }>(({ storage }) =>
  storage.device.release(storage)
);

// The ops are attached in methods.ts, so that each family stays in its own file.
/** An n-dimensional array on a device. Shapes, dtypes and limits are checked before any device work. */
export interface Tensor extends TensorMethods {}

/** An n-dimensional array on a device. */
export class Tensor implements Disposable {
  /** Sizes of the axes. */
  readonly shape: Shape;
  /** Steps along the axes, in elements. */
  readonly strides: readonly number[];
  /** First element, from the start of the storage. */
  #offset: number;
  #storage: Storage;
  #released = false;
  #collected = false;
  #requiresGrad = false;
  /** The gradient that backward added up, for leaves. */
  #grad: Tensor | null = null;
  #gradSlot: Tensor | null = null;
  /** The capture that has asked whether a gradient is required. */
  #asked: Capture | null = null;
  /** The capture that has set the gradient. */
  #gradCapture: Capture | null = null;
  #node: TapeNode | null = null;

  /**
   * Made by ops and by `tensor()`; takes over one handle of the storage.
   *
   * @param storage the memory
   * @param view where the elements lie in it; all of it in row-major order by default
   */
  constructor(storage: Storage, view: ViewSpec) {
    this.#storage = storage;
    this.shape = view.shape;
    this.strides = view.strides;
    this.#offset = view.offset;
    const scope = storage.device.currentScope;
    if (scope !== null) scope.add(this);
    else this.#watch();
  }

  /** Element type. */
  get dtype(): DType {
    return this.#storage.dtype;
  }

  /** The device that holds the elements. */
  get device(): Device {
    return this.#storage.device;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Number of axes. */
  get ndim(): number {
    return this.shape.length;
  }

  /** First element, from the start of the storage, in elements. */
  get offset(): number {
    return this.#offset;
  }

  /** The memory behind this handle. @throws {Error} after the tensor was released */
  get storage(): Storage {
    if (this.#released) {
      throw new Error(
        `Cannot use a tensor of shape [${this.shape}]: it was released, by dispose() or at the end ` +
          "of its step; call keep() on what should outlive the step",
      );
    }
    return this.#storage;
  }

  /** True after the memory was given back. */
  get isReleased(): boolean {
    return this.#released;
  }

  /** True where the elements lie in row-major order without gaps. */
  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  /** Whether backward() shall reach this tensor. */
  get requiresGrad(): boolean {
    const capture = currentCapture();
    if (capture !== null && this.#node === null && this.#asked !== capture) {
      this.#asked = capture;
      const found = this.#requiresGrad;
      capture.guard(() => this.#requiresGrad === found);
    }
    return this.#requiresGrad;
  }

  set requiresGrad(value: boolean) {
    if (value && this.dtype !== "f32" && this.dtype !== "f16") {
      throw new TypeError(
        `Cannot require a gradient of a tensor of dtype ${this.dtype}: expected f32 or f16`,
      );
    }
    if (!value && this.#node !== null) {
      throw new AutogradError(
        "Cannot stop requiring the gradient of a computed tensor: use detach()",
      );
    }
    this.#requiresGrad = value;
  }

  /** The accumulated gradient of a leaf, or null. Setting null forgets it. */
  get grad(): Tensor | null {
    const capture = currentCapture();
    if (capture !== null && this.#gradCapture !== capture) {
      // What the step does next depends on what it found here.
      const found = this.#grad;
      capture.guard(() => this.#grad === found);
    }
    return this.#grad;
  }

  set grad(value: Tensor | null) {
    const capture = currentCapture();
    if (capture === null) {
      this.#setGrad(value);
      return;
    }
    this.#gradCapture = capture;
    const before = this.#grad;
    if (value !== null && value !== this.#gradSlot) capture.persist(value.storage);
    // A gradient that was forgotten meanwhile comes back as another handle on the same memory.
    const again = value === null || value === this.#gradSlot
      ? () => value
      : handOut(value.storage, value);
    let first = true;
    const run = () => {
      this.#setGrad(first ? value : again());
      first = false;
    };
    const undo = () => this.#setGrad(before?.isReleased ? null : before);
    effect(run, undo);
  }

  /** A fixed place for the gradient, given by an optimizer; null where there is none. */
  get gradSlot(): Tensor | null {
    return this.#gradSlot;
  }

  /** The step of the tape that made this tensor, or null for a leaf. */
  get node(): TapeNode | null {
    return this.#node;
  }

  set node(node: TapeNode | null) {
    this.#node = node;
    this.#requiresGrad = node !== null || this.#requiresGrad;
  }

  /** True for tensors that no recorded op made. */
  get isLeaf(): boolean {
    return this.#node === null;
  }

  /**
   * Another handle on the same memory, without a place in the tape.
   *
   * @param view shape, strides and offset; those of this tensor by default
   */
  alias(view: ViewSpec = this): Tensor {
    const { storage } = this;
    storage.handles++;
    return new Tensor(storage, { shape: view.shape, strides: view.strides, offset: view.offset });
  }

  /** The same values without a history: backward stops here. Shares memory. */
  detach(): Tensor {
    return this.alias();
  }

  /**
   * Moves the values of this leaf, and its gradients, into memory given by an optimizer.
   *
   * @param storage takes the values from `offset` on
   * @param offset in elements
   * @param gradSlot where backward shall write the gradient
   */
  moveTo(storage: Storage, offset: number, gradSlot: Tensor): void {
    const old = this.storage;
    storage.handles++;
    storage.device.moves++;
    this.#storage = storage;
    this.#offset = offset;
    (this as { strides: readonly number[] }).strides = contiguousStrides(this.shape);
    old.device.release(old);
    if (this.#collected) {
      abandoned.unregister(this);
      this.#collected = false;
    }
    this.#watch();
    this.grad = null;
    this.#gradSlot = gradSlot;
  }

  /** Lets the tensor outlive the step in which it was made. */
  keep(): this {
    const { device } = this.storage;
    for (const scope of device.scopes) scope.keep(this);
    if (!this.#collected) this.#watch();
    return this;
  }

  /** Gives the memory back now; using the tensor afterwards is an error. */
  dispose(): void {
    if (this.#released) return;
    this.#released = true;
    for (const scope of this.device.scopes) scope.keep(this);
    if (this.#collected) abandoned.unregister(this);
    this.device.release(this.#storage);
  }

  /** Gives the memory back at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * The elements in row-major order. Costs a wait for the device (about 11 ms on Deno, whatever the size); reads that
   * start together share it.
   *
   * @returns Float32Array for f32 and f16 (Float64Array on the reference device), Int32Array, Uint32Array, or Uint8Array for bool
   */
  data(): Promise<HostArray> {
    currentCapture()?.refuse(`read ${this}`);
    return this.#data();
  }

  async #data(): Promise<HostArray> {
    const { device } = this.storage;
    if (this.size === 0) return emptyArray(this.dtype);
    const { storage, offset, size } = this.#pinned();
    try {
      return await device.backend.read({ buffer: storage.buffer, offset, size }, storage.dtype);
    } finally {
      device.release(storage);
    }
  }

  /**
   * The only element, as a number (0 or 1 for bool).
   *
   * @throws {RangeError} if there is not exactly one element
   */
  item(): Promise<number> {
    currentCapture()?.refuse(`read ${this}`);
    return this.#item();
  }

  async #item(): Promise<number> {
    if (this.size !== 1) {
      throw new RangeError(
        `Cannot take the item of a tensor of shape [${this.shape}]: expected one element, found ${this.size}`,
      );
    }
    return (await this.data())[0];
  }

  /** The elements as nested arrays; a number for a scalar. */
  array(): Promise<NestedArray> {
    currentCapture()?.refuse(`read ${this}`);
    return this.#array();
  }

  async #array(): Promise<NestedArray> {
    const data = await this.data();
    let at = 0;
    const nest = (d: number): NestedArray =>
      d === this.ndim ? data[at++] : Array.from({ length: this.shape[d] }, () => nest(d + 1));
    return nest(0);
  }

  /** Shape, dtype and device in words. */
  toString(): string {
    const grad = this.requiresGrad ? ", requiresGrad" : "";
    return `Tensor([${this.shape.join(", ")}], ${this.dtype}, ${this.device.kind}${grad})`;
  }

  /** The same words where Deno prints the tensor. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  /** The elements in row-major order and readable, in memory that stays until its handle is released. */
  #pinned(): { storage: Storage; offset: number; size: number } {
    // Copies that are made on the way are released at the end of this scope.
    using _ = this.device.scope();
    const { storage, offset, size } = noGrad(() =>
      this.contiguous().to(this.dtype === "f16" ? "f32" : this.dtype)
    );
    storage.handles++;
    return { storage, offset, size };
  }

  #setGrad(value: Tensor | null): void {
    if (this.#grad !== null && this.#grad !== this.#gradSlot && this.#grad !== value) {
      this.#grad.dispose();
    }
    this.#grad = value;
  }

  #watch(): void {
    this.#collected = true;
    abandoned.register(this, { storage: this.#storage }, this);
  }
}

/** Gives a lasting handle on a view whenever it is asked. */
function handOut(storage: Storage, { shape, strides, offset }: ViewSpec): () => Tensor {
  return () => {
    storage.handles++;
    return new Tensor(storage, { shape, strides, offset }).keep();
  };
}

function emptyArray(dtype: DType): HostArray {
  switch (dtype) {
    case "i32":
      return new Int32Array();
    case "u32":
      return new Uint32Array();
    case "bool":
      return new Uint8Array();
    default:
      return new Float32Array();
  }
}

/** A new tensor with memory of its own and undefined content, in row-major order or with the strides given. */
export function empty(
  device: Device,
  shape: Shape,
  dtype: DType,
  label: string,
  strides: readonly number[] = contiguousStrides(shape),
): Tensor {
  const storage = device.allocate(Math.max(1, sizeOf(shape)), dtype, label);
  return new Tensor(storage, { shape, strides, offset: 0 });
}
