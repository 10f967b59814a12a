/**
 * The base of layers and models: an object whose fields hold parameters, buffers and other modules.
 */

import { type Capture, currentCapture, effect } from "../core/backend/capture.ts";
import { Tensor } from "../core/mod.ts";
import { loadInto, type LoadOptions, type LoadReport } from "./state_dict.ts";

/** A module that turns one tensor into another: what `Sequential` takes and node builders give. */
export interface TensorModule extends Module {
  /**
   * Computes the output.
   *
   * @param input shape and dtype as the layer's documentation says
   * @returns the output, on the device of the input
   */
  forward(input: Tensor): Tensor;
}

/** How a parameter is registered. */
export interface ParameterOptions {
  /** Whether backward() shall reach it; a frozen parameter is one all the same. @default {true} */
  readonly requiresGrad?: boolean;
}

/** How a buffer is registered. */
export interface BufferOptions {
  /** Whether it belongs to the state dict. @default {true} */
  readonly persistent?: boolean;
}

/**
 * A part of a model: parameters, buffers, other modules, and a `forward` over them.
 *
 * Modules in own fields are found by themselves, also in arrays and plain objects: an array
 * `blocks` gives the names `blocks.0`, `blocks.1`. Private `#fields` are not seen. Tensors become
 * parameters or buffers by `registerParameter` and `registerBuffer`, whose names are the keys of
 * the state dict.
 *
 * @example A model of two layers
 * ```ts
 * import { Linear, Module } from "@legoml/legoml/nn";
 * import { referenceDevice, type Tensor, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 *
 * class Net extends Module {
 *   readonly hidden = new Linear(4, 8, { device });
 *   readonly head = new Linear(8, 2, { device });
 *
 *   forward(x: Tensor): Tensor {
 *     return this.head.forward(this.hidden.forward(x).relu()); // [N, 2]
 *   }
 * }
 *
 * const net = new Net();
 * assertEquals(net.parameterCount, 4 * 8 + 8 + 8 * 2 + 2);
 * assertEquals(Object.keys(net.stateDict()), [
 *   "hidden.weight",
 *   "hidden.bias",
 *   "head.weight",
 *   "head.bias",
 * ]);
 * assertEquals(net.forward(zeros([5, 4], { device })).shape, [5, 2]);
 * ```
 */
export abstract class Module {
  #training = true;
  /** The capture that has set the mode. */
  #modeCapture: Capture | null = null;
  /**
   * Names of parameters, in the order of registration; the tensors themselves lie in the fields.
   */
  readonly #parameters = new Set<string>();
  /** Names of buffers, with whether they belong to the state dict. */
  readonly #buffers = new Map<string, boolean>();

  /**
   * Computes the output; each module declares its own inputs.
   *
   * @param inputs what the module declares
   * @returns what the module declares
   */
  abstract forward(...inputs: never[]): unknown;

  /**
   * Puts a tensor into the field of this name and trains it: `weight =
   * this.registerParameter("weight", t)`.
   *
   * @param name a field name, and the key in the state dict
   * @param tensor a leaf of dtype f32 or f16; it outlives the step in which it was made
   * @param options whether it is trained
   * @returns the tensor
   * @throws {RangeError} if the name is taken, empty, or has a dot
   * @throws {TypeError} if the tensor was computed from others that require a gradient, or is no
   * float
   */
  registerParameter(name: string, tensor: Tensor, options: ParameterOptions = {}): Tensor {
    const { requiresGrad = true } = options;
    this.#checkName("parameter", name);
    if (!tensor.isLeaf) {
      throw new TypeError(
        `Cannot register parameter "${name}" of ${this.#label}: expected a tensor without a ` +
          "history, found one that was computed from others; use detach()",
      );
    }
    if (requiresGrad) tensor.requiresGrad = true;
    this.#buffers.delete(name);
    this.#parameters.add(name);
    return this.#place(name, tensor.keep());
  }

  /**
   * Puts a tensor that is not trained, such as a running mean, into the field of this name.
   *
   * @param name a field name, and the key in the state dict
   * @param tensor of any dtype; it outlives the step in which it was made
   * @param options whether it belongs to the state dict
   * @returns the tensor
   * @throws {RangeError} if the name is taken, empty, or has a dot
   */
  registerBuffer(name: string, tensor: Tensor, options: BufferOptions = {}): Tensor {
    this.#checkName("buffer", name);
    this.#parameters.delete(name);
    this.#buffers.set(name, options.persistent ?? true);
    return this.#place(name, tensor.keep());
  }

  /**
   * Puts a module into the field of this name; a plain assignment to a declared field does the
   * same.
   *
   * @param name a field name, and the first part of the keys in the state dict
   * @param module the part
   * @returns the part
   * @throws {RangeError} if the name is taken, empty, or has a dot
   */
  registerModule<M extends Module>(name: string, module: M): M {
    this.#checkName("module", name);
    return this.#place(name, module);
  }

  /**
   * The parameters of this module and of all its parts, each one once.
   *
   * @returns frozen ones too, in the order of `namedParameters()`
   */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, tensor]) => tensor);
  }

  /**
   * The parameters with their keys, each one once: first those of this module, then those of its
   * parts.
   *
   * @returns pairs of key and tensor
   * @throws {TypeError} if a field holds a tensor that requires a gradient and was not registered
   */
  namedParameters(): [string, Tensor][] {
    return unique(this.#gather((module) => module.#ownParameters()));
  }

  /**
   * The buffers of this module and of all its parts, each one once.
   *
   * @returns also those that are not in the state dict
   */
  buffers(): Tensor[] {
    return this.namedBuffers().map(([, tensor]) => tensor);
  }

  /**
   * The buffers with their keys, each one once.
   *
   * @returns pairs of key and tensor
   */
  namedBuffers(): [string, Tensor][] {
    return unique(this.#gather((module) => module.#ownBuffers(false)));
  }

  /**
   * The parts that this module holds itself.
   *
   * @returns in the order of the fields
   */
  children(): Module[] {
    return this.namedChildren().map(([, module]) => module);
  }

  /**
   * The parts that this module holds itself, with their names.
   *
   * @returns pairs of name and module, in the order of the fields
   */
  namedChildren(): [string, Module][] {
    return Object.entries(this).flatMap(([name, value]) => modulesIn(name, value));
  }

  /**
   * This module and all its parts, each one once.
   *
   * @returns a module before its parts
   */
  modules(): Module[] {
    return this.namedModules().map(([, module]) => module);
  }

  /**
   * This module and all its parts with their paths, each one once.
   *
   * @returns pairs of path and module, a module before its parts; the path of this module is ""
   */
  namedModules(): [string, Module][] {
    return unique(this.#tree());
  }

  /** Number of elements of all parameters, shared and frozen ones counted once. */
  get parameterCount(): number {
    return this.parameters().reduce((count, { size }) => count + size, 0);
  }

  /** Whether layers such as dropout and batch normalisation work as in training. */
  get training(): boolean {
    const found = this.#training;
    const capture = currentCapture();
    if (capture !== this.#modeCapture) capture?.guard(() => this.#training === found);
    return found;
  }

  set training(value: boolean) {
    const before = this.#training;
    this.#modeCapture = currentCapture();
    effect(() => void (this.#training = value), () => void (this.#training = before));
  }

  /**
   * Sets this module and all its parts to training, or to evaluation.
   *
   * @param mode true for training
   * @returns this module
   */
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode;
    return this;
  }

  /**
   * Sets this module and all its parts to evaluation.
   *
   * @returns this module
   */
  eval(): this {
    return this.train(false);
  }

  /**
   * Freezes all parameters, or has them trained again.
   *
   * @param flag whether backward() shall reach them
   * @returns this module
   */
  requiresGrad_(flag = true): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = flag;
    return this;
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad = null;
  }

  /**
   * The parameters and persistent buffers by key, in PyTorch's order: of each module its
   * parameters, its buffers, then its parts. Tensors that are shared appear under each of their
   * keys.
   *
   * @returns the live tensors, not copies: training changes them
   */
  stateDict(): Record<string, Tensor> {
    const entries = this.#gather((m) => [...m.#ownParameters(), ...m.#ownBuffers(true)]);
    return Object.fromEntries(entries);
  }

  /**
   * Copies values into the parameters and buffers; either all of it fits, or nothing is changed.
   *
   * Values are converted to the dtype of the tensor that takes them.
   *
   * @param dict tensors by key, on the device of this module
   * @param options whether missing and unexpected keys are refused
   * @returns the keys without a value, and the keys without a place; both empty where strict
   * @throws {StateDictError} with all missing, unexpected and misshapen keys
   *
   * @example The weights of one model in another
   * ```ts
   * import { Linear } from "@legoml/legoml/nn";
   * import { referenceDevice } from "@legoml/legoml/core";
   * import { assertEquals } from "@std/assert";
   *
   * const device = referenceDevice();
   * const [a, b] = [new Linear(3, 2, { device }), new Linear(3, 2, { device })];
   * b.loadStateDict(a.stateDict());
   * assertEquals(await b.weight.array(), await a.weight.array());
   * ```
   */
  loadStateDict(dict: Readonly<Record<string, Tensor>>, options: LoadOptions = {}): LoadReport {
    return loadInto(this.#label, this.stateDict(), dict, options);
  }

  get #label(): string {
    return this.constructor.name;
  }

  /**
   * A name can be taken where there is no field yet, an empty one, or one with a registered tensor.
   */
  #checkName(what: string, name: string): void {
    const held = (this as Record<string, unknown>)[name] ?? null;
    const free = held === null || this.#parameters.has(name) || this.#buffers.has(name);
    if (free && !["", "__proto__"].includes(name) && !name.includes(".")) return;
    throw new RangeError(
      `Cannot register a ${what} "${name}" in ${this.#label}: expected the name of a free field, ` +
        `found ${free ? "an empty name, __proto__, or one with a dot" : "one that is in use"}`,
    );
  }

  #place<T>(name: string, value: T): T {
    Object.defineProperty(this, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
    return value;
  }

  #ownParameters(): [string, Tensor][] {
    for (const [name, value] of Object.entries(this)) {
      const known = this.#parameters.has(name) || this.#buffers.has(name);
      if (!known && value instanceof Tensor && value.requiresGrad && value.isLeaf) {
        throw new TypeError(
          `Cannot list the parameters of ${this.#label}: field "${name}" holds a tensor that ` +
            `requires a gradient; register it by registerParameter("${name}", tensor)`,
        );
      }
    }
    return this.#fields(this.#parameters);
  }

  #ownBuffers(persistentOnly: boolean): [string, Tensor][] {
    const names = [...this.#buffers].filter(([, persistent]) => persistent || !persistentOnly);
    return this.#fields(names.map(([name]) => name));
  }

  /** The tensors in the named fields; a field that was set to null has none. */
  #fields(names: Iterable<string>): [string, Tensor][] {
    const found: [string, Tensor][] = [];
    for (const name of names) {
      const value = (this as Record<string, unknown>)[name];
      if (value instanceof Tensor) found.push([name, value]);
      else if (value !== null && value !== undefined) {
        throw new TypeError(
          `Cannot use field "${name}" of ${this.#label}: expected a tensor or null, found ` +
            `a ${typeof value}`,
        );
      }
    }
    return found;
  }

  /** This module and its parts with their paths, as often as they are held. */
  #tree(path = "", above: readonly Module[] = []): [string, Module][] {
    if (above.includes(this)) {
      throw new RangeError(
        `Cannot list the parts of ${above[0].#label}: it holds itself at "${path}"`,
      );
    }
    const parts = this.namedChildren().flatMap(([name, module]) =>
      module.#tree(join(path, name), [...above, this])
    );
    return [[path, this], ...parts];
  }

  #gather(own: (module: Module) => [string, Tensor][]): [string, Tensor][] {
    return this.#tree().flatMap(([path, module]) =>
      own(module).map(([name, tensor]): [string, Tensor] => [join(path, name), tensor])
    );
  }
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** Modules of a field: itself, or the elements of an array or plain object. */
function modulesIn(name: string, value: unknown): [string, Module][] {
  if (value instanceof Module) return [[name, value]];
  if (typeof value !== "object" || value === null) return [];
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) return [];
  return Object.entries(value).flatMap(([key, part]): [string, Module][] =>
    part instanceof Module ? [[`${name}.${key}`, part]] : []
  );
}

/** The first pair of each value. */
function unique<T>(pairs: readonly [string, T][]): [string, T][] {
  const seen = new Set<T>();
  return pairs.filter(([, value]) => {
    if (seen.has(value)) return false;
    seen.add(value);
    return true;
  });
}
