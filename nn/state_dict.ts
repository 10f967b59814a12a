/** Loading of named tensors into those of a module: all of it, or nothing. */

import { noGrad, showShape, Tensor, zerosLike } from "../core/mod.ts";

/** A state dict that does not fit, with everything that is wrong with it. */
export class StateDictError extends RangeError {
  /** The name of the class. */
  override readonly name = "StateDictError";

  /**
   * Made by `loadStateDict()`.
   *
   * @param message the whole story
   * @param missing keys of the module that have no value
   * @param unexpected keys that the module does not have
   * @param misshapen keys whose value has another shape, lies on another device, or is no tensor
   */
  constructor(
    message: string,
    readonly missing: readonly string[],
    readonly unexpected: readonly string[],
    readonly misshapen: readonly string[],
  ) {
    super(message);
  }
}

/** How a state dict is loaded. */
export interface LoadOptions {
  /**
   * Refuse a dict with missing or unexpected keys; misshapen values are always refused. @default
   * {true}
   */
  readonly strict?: boolean;
}

/** What a state dict left out, and what it held beside. */
export interface LoadReport {
  /** Keys of the module that had no value, and were not changed. */
  readonly missing: readonly string[];
  /** Keys of the dict that the module does not have. */
  readonly unexpected: readonly string[];
}

/**
 * Copies values into tensors by key.
 *
 * @param name the module, for messages
 * @param own the tensors that take the values
 * @param dict the values
 * @param options whether missing and unexpected keys are refused
 * @returns the keys without a value, and the keys without a place
 * @throws {StateDictError} if the dict does not fit; then nothing was changed
 */
export function loadInto(
  name: string,
  own: Readonly<Record<string, Tensor>>,
  dict: Readonly<Record<string, Tensor>>,
  { strict = true }: LoadOptions,
): LoadReport {
  const missing = Object.keys(own).filter((key) => !Object.hasOwn(dict, key));
  const unexpected = Object.keys(dict).filter((key) => !Object.hasOwn(own, key));
  const shared = Object.keys(own).filter((key) => Object.hasOwn(dict, key));
  const misfits = shared.flatMap((key) => misfit(key, own[key], dict[key]));
  if (misfits.length > 0 || (strict && missing.length + unexpected.length > 0)) {
    const problems = [
      ...listed("missing", strict ? missing : []),
      ...listed("unexpected", strict ? unexpected : []),
      ...listed("misshapen", misfits.map(({ text }) => text)),
    ];
    const keys = misfits.map(({ key }) => key);
    throw new StateDictError(
      `Cannot load the state dict into ${name}: expected its ${
        Object.keys(own).length
      } keys with ` +
        `their shapes, found ${problems.join("; ")}`,
      missing,
      unexpected,
      keys,
    );
  }
  copyAll(shared.map((key) => [own[key], dict[key]]));
  return { missing, unexpected };
}

function misfit(key: string, own: Tensor, value: unknown): { key: string; text: string }[] {
  if (!(value instanceof Tensor)) {
    return [{
      key,
      text: `${key} (expected a tensor, found ${value === null ? "null" : typeof value})`,
    }];
  }
  if (value.device !== own.device) {
    return [{ key, text: `${key} (on another device: ${value.device.name})` }];
  }
  if (String(value.shape) === String(own.shape)) return [];
  const [want, found] = [showShape(own.shape), showShape(value.shape)];
  return [{ key, text: `${key} (expected ${want}, found ${found})` }];
}

function listed(what: string, keys: readonly string[]): string[] {
  return keys.length === 0 ? [] : [`${keys.length} ${what}: ${keys.join(", ")}`];
}

/** Values that lie in memory that is about to be overwritten are copied out first. */
function copyAll(pairs: readonly (readonly [Tensor, Tensor])[]): void {
  using _ = noGrad();
  const moves = pairs.filter(([own, value]) => own !== value);
  const taken = new Set(moves.map(([own]) => own.storage));
  const sources = moves.map(([, value]) =>
    taken.has(value.storage) ? zerosLike(value).copy_(value) : value
  );
  moves.forEach(([own], i) => {
    own.copy_(sources[i]);
    if (sources[i] !== moves[i][1]) sources[i].dispose();
  });
}
