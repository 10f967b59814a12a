import { assert, assertEquals } from "@std/assert";

const canRun = (await Deno.permissions.query({ name: "run" })).state === "granted";
const program = new URL("idle_program.ts", import.meta.url);
const webProgram = new URL("web_program.ts", import.meta.url);

/** Runs a command to its end; `ms` counts from its start. */
async function outcome(command: string, args: readonly string[]) {
  const start = performance.now();
  const child = new Deno.Command(command, { args: [...args], stdout: "piped", stderr: "piped" });
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return {
    code,
    stdout: text(stdout),
    stderr: text(stderr),
    ms: performance.now() - start,
  };
}

Deno.test({
  name: "a program ends while the threads of its device sleep; it needs no permission for them",
  ignore: !canRun,
  fn: async () => {
    const args = ["run", "--no-prompt", "--no-check", program.pathname];
    const { code, stdout, stderr, ms } = await outcome(Deno.execPath(), args);
    assertEquals([code, stdout], [0, "3 threads, 10000\n"], stderr);
    assert(ms < 20_000, `${ms} ms`);
  },
});

Deno.test({
  name: "web workers take part where there are none of Node's kind, and end with the device",
  ignore: !canRun,
  fn: async () => {
    const args = ["run", "--no-prompt", "--no-check", webProgram.pathname];
    const { code, stdout, stderr } = await outcome(Deno.execPath(), args);
    assertEquals([code, stdout], [0, "3 threads, 100000\n"], stderr);
  },
});
