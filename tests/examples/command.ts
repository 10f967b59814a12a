/** Runs an example as a user would, in a process of its own. */

const root = new URL("../..", import.meta.url);

/** True where tests may start processes and write files. */
export const canRun: boolean = (await Promise.all(
  (["run", "read", "write", "env"] as const).map((name) => Deno.permissions.query({ name })),
)).every(({ state }) => state === "granted");

/** What a process printed and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Surroundings in which no WebGPU adapter is found. */
export const noAdapter: Readonly<Record<string, string>> = {
  VK_DRIVER_FILES: "/nonexistent",
  VK_ICD_FILENAMES: "/nonexistent",
  DENO_WEBGPU_BACKEND: "vulkan",
};

/** Runs `deno run` on a file of the checkout. */
export function runExample(
  file: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Outcome> {
  return runDeno(["run", "-A", "--unstable-webgpu", file, ...args], env);
}

/** Runs a command of Deno in the checkout. */
export async function runDeno(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Outcome> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: root,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp", ...env },
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** The JSON object on the last line of a text. */
export function lastJson(text: string): Record<string, unknown> {
  return JSON.parse(text.trimEnd().split("\n").at(-1)!);
}
