/** Reading the benchmarks' command lines. */

/**
 * A positive integer.
 *
 * @throws {RangeError} if the text is none
 */
export function countOf(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new RangeError(`Cannot use --${name} ${text}: expected a positive integer`);
}

/** All values of an option that may be given several times. */
export function valuesOf(args: readonly string[], name: string): string[] {
  return args.flatMap((arg, i) => {
    if (arg.startsWith(`--${name}=`)) return [arg.slice(name.length + 3)];
    return arg === `--${name}` ? [args[i + 1] ?? ""] : [];
  });
}

/** For parseArgs: refuses what is no option, with the list of those that are. */
export function refuse(usage: string): (name: string) => never {
  return (name) => {
    throw new RangeError(`Cannot use ${name}: expected ${usage}`);
  };
}
