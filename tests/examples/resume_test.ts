import { assert, assertEquals, assertMatch } from "@std/assert";
import { readRun } from "../../track/mod.ts";
import { canRun, lastJson, runExample } from "./command.ts";

const root = new URL("../..", import.meta.url);
const settings = ["--dataset", "digits", "--limit", "640", "--epochs", "8", "--device", "cpu"];

/** Runs mnist.ts, and sends SIGINT as soon as it shows progress: seven epochs before its end, however slow the machine. */
async function interrupted(runs: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--unstable-webgpu",
      "examples/mnist.ts",
      ...settings,
      "--runs",
      runs,
      "--json",
    ],
    cwd: root,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const deadline = setTimeout(() => child.kill("SIGKILL"), 120_000);
  const output = new Response(child.stdout).text();
  let sent = false;
  let text = "";
  for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (!sent && /epoch 1\/8/.test(text)) {
      sent = true;
      child.kill("SIGINT");
    }
  }
  assertEquals((await child.status).code, 0, text);
  clearTimeout(deadline);
  return await output;
}

Deno.test({
  name:
    "mnist.ts, stopped by Ctrl-C and resumed in a new process, gives the weights of a run that never stopped",
  ignore: !canRun || Deno.build.os === "windows",
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const first = lastJson(await interrupted(runs));
    const steps = first.steps as number;
    assert(steps > 0 && steps < 80, `stopped after ${steps} steps`);
    const from = first.runDir as string;
    const resumed = await runExample("examples/mnist.ts", [
      ...settings,
      "--runs",
      runs,
      "--json",
      "--resume",
      from,
    ]);
    assertEquals(resumed.code, 0, resumed.stderr);
    assertMatch(resumed.stderr, new RegExp(`resumed after step ${steps}\\b`));
    const whole = await runExample("examples/mnist.ts", [...settings, "--runs", runs, "--json"]);
    assertEquals(whole.code, 0, whole.stderr);
    const [a, b] = [lastJson(resumed.stdout), lastJson(whole.stdout)];
    for (const key of ["steps", "epochs", "trainLoss", "testLoss", "testAccuracy"]) {
      assertEquals(a[key], b[key], key);
    }
    const weights = [a, b].map(({ runDir }) =>
      Deno.readFileSync(`${runDir}/artifacts/model.safetensors`)
    );
    assertEquals(weights[0], weights[1]);
    const last = [a, b].map(({ runDir }) =>
      readRun(runDir as string).scalars.filter(({ epoch }) => epoch === 8).map((
        { key, value },
      ) => [key, value])
    );
    assertEquals(
      last[0].filter(([key]) => `${key}`.startsWith("test/")),
      last[1].filter(([key]) => `${key}`.startsWith("test/")),
    );
  },
});

Deno.test({
  name: "mnist.ts says where no checkpoint is that it shall resume",
  ignore: !canRun,
  fn: async () => {
    const runs = await Deno.makeTempDir();
    const args = [...settings, "--runs", runs, "--resume", `${runs}/nowhere`];
    const { code, stderr } = await runExample("examples/mnist.ts", args);
    assertEquals(code, 1);
    assertMatch(stderr, /^error: Cannot resume .*nowhere: no checkpoint is there$/m);
  },
});
