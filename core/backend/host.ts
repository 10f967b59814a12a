/** What the program's surroundings allow: environment variables and standard error, without ever prompting. */

/** The part of Deno that is used here; browsers have none. */
interface DenoLike {
  readonly permissions: { querySync(wanted: Deno.PermissionDescriptor): { state: string } };
  readonly env: { get(name: string): string | undefined };
  readonly stderr: { writeSync(bytes: Uint8Array): number };
}

function deno(): DenoLike | undefined {
  return (globalThis as { Deno?: DenoLike }).Deno;
}

/** Whether a permission has been granted already; asking for one would stop the program. */
export function isGranted(permission: Deno.PermissionDescriptor): boolean {
  return deno()?.permissions.querySync(permission).state === "granted";
}

/** An environment variable, or undefined where it is not set or may not be read. */
export function environment(variable: string): string | undefined {
  return isGranted({ name: "env", variable }) ? deno()!.env.get(variable) : undefined;
}

/** Writes a line to standard error, or to the console where there is none. */
export function writeError(line: string): void {
  const stderr = deno()?.stderr;
  if (stderr === undefined) return console.error(line);
  let bytes = new TextEncoder().encode(`${line}\n`);
  while (bytes.length > 0) bytes = bytes.subarray(stderr.writeSync(bytes));
}

/** Gives modules of Node by name, where there are such; bundles for browsers need not know them then. */
export function builtinModule(name: string): unknown {
  const { process } = globalThis as unknown as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  return process?.getBuiltinModule?.(name);
}
