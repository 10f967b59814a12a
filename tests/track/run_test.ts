import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { RunMeta } from "../../track/meta.ts";
import { listRuns, readRun, run, type RunOptions, TrackError } from "../../track/mod.ts";
import { MemoryFiles } from "./memory_files.ts";

async function granted(name: "read" | "write" | "run" | "sys"): Promise<boolean> {
  return (await Deno.permissions.query({ name })).state === "granted";
}
const canWrite = await granted("write") && await granted("read");
const canRun = canWrite && await granted("run");
const hasGit = canRun && await new Promise<boolean>((resolve) =>
  // The spawn itself throws where there is no such program.
  resolve(new Deno.Command("git", { args: ["--version"] }).output().then(({ success }) => success))
).catch(() => false);

const now = () => new Date(Date.UTC(2026, 0, 31, 23, 59, 58));
const only = (files: MemoryFiles, end: string): string =>
  files.text([...files.files.keys()].find((path) => path.endsWith(end))!);

Deno.test("run() makes a folder named by UTC time, four hex digits and the name", async () => {
  const cases: [string | undefined, string][] = [
    [undefined, ""],
    ["mnist", "-mnist"],
    ["My run #2 / λ=0.1", "-My-run-2-λ-0.1"],
    ["../../etc", "-etc"],
    ["日本", "-日本"],
    ["///", ""],
    ["x".repeat(99), "-" + "x".repeat(48)],
  ];
  for (const [name, suffix] of cases) {
    const files = new MemoryFiles();
    const session = await run({ name, dir: "/runs", files, now });
    const [id] = session.dir.split("/").slice(-1);
    assertMatch(id, /^20260131T235958Z-[0-9a-f]{4}/);
    assertEquals(id.slice(21), suffix);
    assertEquals(session.dir, `/runs/${id}`);
    assertEquals([session.id, session.name], [id, name ?? null]);
    await session.close();
  }
});

Deno.test("run() writes meta.json at the start", async () => {
  const files = new MemoryFiles();
  const options: RunOptions = {
    dir: "/runs/",
    name: "a b",
    tags: { kind: "test" },
    notes: "two\nlines",
    config: { lr: 1e-3, dims: [1, 2] },
  };
  const session = await run({ ...options, files, now });
  const meta: RunMeta = JSON.parse(only(files, "/meta.json"));
  const { env, git, ...rest } = meta;
  assertEquals(rest, {
    schema: 2,
    id: session.id,
    name: "a b",
    status: "running",
    createdAt: "2026-01-31T23:59:58.000Z",
    endedAt: null,
    heartbeatAt: "2026-01-31T23:59:58.000Z",
    reason: null,
    error: null,
    segments: [{
      segment: 1,
      startedAt: "2026-01-31T23:59:58.000Z",
      from: null,
      pid: Deno.pid,
      hostname: env.hostname,
    }],
    tags: { kind: "test" },
    notes: "two\nlines",
    params: { lr: 1e-3, dims: [1, 2] },
  });
  assertEquals([env.deno, env.v8, env.pid], [Deno.version.deno, Deno.version.v8, Deno.pid]);
  assertEquals([env.os, env.arch], [Deno.build.os, Deno.build.arch]);
  assertEquals(env.cwd, Deno.cwd());
  assertMatch(env.command[0], /^file:.*\.(ts|js|mjs)$/);
  if (git !== null) assertMatch(git.commit, /^[0-9a-f]{40,64}$/);
  assertEquals([...files.folders].sort(), ["/", "/runs", session.dir, `${session.dir}/logs`]);
  await session.close();
});

Deno.test("run() draws again when a folder exists, and never shares one", async () => {
  class Crowded extends MemoryFiles {
    refusals = 5;
    override makeFolder(path: string, options: { parents?: boolean } = {}): void {
      if (!options.parents && this.refusals-- > 0) throw new Deno.errors.AlreadyExists(path);
      super.makeFolder(path, options);
    }
  }
  const files = new Crowded();
  const session = await run({ dir: "/runs", files, now });
  assertEquals(files.refusals, -1);
  await session.close();
  files.refusals = Infinity;
  await assertRejects(
    () => run({ dir: "/runs", files, now }),
    TrackError,
    "Cannot make a folder of its own for the run /runs/20260131T235958Z-0000",
  );
});

Deno.test("run() refuses wrong options", async () => {
  const open = (options: unknown) => () =>
    run({ files: new MemoryFiles(), ...options as RunOptions });
  await assertRejects(open({ name: 3 }), TypeError, "expected name to be a string, found 3");
  await assertRejects(
    open({ notes: null }),
    TypeError,
    "expected notes to be a string, found null",
  );
  await assertRejects(open({ dir: 3 }), TypeError, "expected dir to be a string, found 3");
  await assertRejects(open({ dir: "" }), RangeError, "expected a folder in dir");
  await assertRejects(
    open({ tags: { a: 1 } }),
    TypeError,
    'expected tag "a" to be a string, found 1',
  );
  await assertRejects(open({ config: { lr: NaN } }), TypeError, "Cannot store config.lr as JSON");
});

Deno.test("run() with a function returns its result and completes the run", async () => {
  const files = new MemoryFiles();
  const result = await run({ dir: "/runs", files, now }, async (session) => {
    await Promise.resolve();
    session.logScalars({ a: 1 });
    return 42;
  });
  assertEquals(result, 42);
  assertEquals(JSON.parse(only(files, "/meta.json")).status, "completed");
  assertEquals(files.openFiles, 0);
});

Deno.test("run() with a function throws its error on and fails the run", async () => {
  for (const isAsync of [false, true]) {
    const files = new MemoryFiles();
    const error = new TypeError("no data");
    const running = run({ dir: "/runs", files, now }, (session) => {
      session.logText("a", "b");
      if (isAsync) return Promise.reject(error);
      throw error;
    });
    assert(await assertRejects(() => running) === error);
    const meta = JSON.parse(only(files, "/meta.json"));
    assertEquals(meta.status, "failed");
    assertEquals([meta.error.name, meta.error.message], ["TypeError", "no data"]);
    assertEquals(meta.endedAt, "2026-01-31T23:59:58.000Z");
    assertEquals(files.openFiles, 0);
  }
});

Deno.test("run() with a function reports its error and that of closing together", async () => {
  const files = new MemoryFiles();
  const error = await assertRejects(
    () =>
      run({ dir: "/runs", files, now }, () => {
        files.plan = { at: files.log.length + 1, kind: "before" };
        throw new Error("no data");
      }),
    AggregateError,
    "no data; Cannot write /runs/",
  );
  assertEquals(error.errors.map((one: Error) => one.name), ["Error", "TrackError"]);
});

Deno.test("run() completes at the end of an await using block", async () => {
  const files = new MemoryFiles();
  {
    await using session = await run({ dir: "/runs", files, now });
    session.logScalars({ a: 1 });
  }
  assertEquals(JSON.parse(only(files, "/meta.json")).status, "completed");
  assertEquals(files.openFiles, 0);
});

Deno.test("run() fails at the end of an await using block after fail()", async () => {
  const files = new MemoryFiles();
  const training = async () => {
    await using session = await run({ dir: "/runs", files, now });
    try {
      throw new Error("diverged");
    } catch (error) {
      session.fail(error);
      throw error;
    }
  };
  await assertRejects(training, Error, "diverged");
  const meta = JSON.parse(only(files, "/meta.json"));
  assertEquals([meta.status, meta.error.message], ["failed", "diverged"]);
});

Deno.test("run() on a full disk ends an await using block with one error", async () => {
  const files = new MemoryFiles();
  const training = async () => {
    await using session = await run({ dir: "/runs", files, now });
    files.plan = { at: files.log.length + 2, kind: "half", lasting: true };
    try {
      session.logScalars({ a: 1 });
    } catch (error) {
      session.fail(error);
      throw error;
    }
  };
  const error = await assertRejects(training, TrackError, "ENOSPC: No space left on device");
  assertMatch(error.message, /^Cannot append to \/runs\/.*\/logs\/scalars\.csv: ENOSPC/);
  assertEquals(error.code, "ENOSPC");
});

Deno.test({
  name: "run() keeps 20 concurrent sessions apart on the real file system",
  ignore: !canWrite,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const sessions = await Promise.all(
        Array.from(
          { length: 20 },
          (_, i) => run({ dir: `${dir}/new/runs`, now, name: `run ${i}` }),
        ),
      );
      for (let step = 1; step <= 50; step++) {
        sessions.forEach((session, i) => session.logScalars({ value: i * 1000 + step }, { step }));
      }
      await Promise.all(sessions.map((session) => session.close()));
      const listed = listRuns(`${dir}/new/runs`);
      assertEquals(listed.length, 20);
      assertEquals(new Set(sessions.map((session) => session.dir)).size, 20);
      for (const [i, session] of sessions.entries()) {
        const { meta, scalars } = readRun(session.dir);
        assertEquals([meta.status, meta.name], ["completed", `run ${i}`]);
        assertEquals(scalars.map((row) => row.value! - i * 1000), scalars.map((row) => row.step!));
        assertEquals(scalars.length, 50);
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "run() leaves exactly the files of the layout",
  ignore: !canWrite,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const folder = await run({ dir }, (session) => {
        session.logScalars({ a: 1 });
        session.logEvent("x");
        session.logText("notes", "n");
        session.logParams({ b: 2 });
        session.saveArtifact("plots/c.json", {});
        return session.dir;
      });
      const found: string[] = [];
      const walk = (at: string) => {
        for (const { name, isDirectory } of Deno.readDirSync(`${folder}${at}`)) {
          if (isDirectory) walk(`${at}/${name}`);
          else found.push(`${at}/${name}`);
        }
      };
      walk("");
      assertEquals(found.sort(), [
        "/artifacts/plots/c.json",
        "/logs/events.jsonl",
        "/logs/notes.txt",
        "/logs/scalars.csv",
        "/meta.json",
      ]);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "run() says in one sentence that a folder cannot be written",
  ignore: !canWrite,
  async fn() {
    const file = await Deno.makeTempFile();
    try {
      const error = await assertRejects(() => run({ dir: `${file}/runs` }), TrackError);
      assertMatch(
        error.message,
        /^Cannot make folder .*\/runs: (ENOTDIR|EEXIST|ENOENT): [^\n]*[^.]$/,
      );
      assertEquals(error.path, `${file}/runs`);
    } finally {
      await Deno.remove(file);
    }
  },
});

// a program of its own: permissions cannot be dropped and taken back within one
async function runScript(source: string, permissions: string[], cwd: string): Promise<string> {
  const entry = new URL("../../track/mod.ts", import.meta.url).href;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  await Deno.writeTextFile(`${cwd}/main.ts`, source.replace("TRACK", entry));
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--config", config, ...permissions, "main.ts"],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test({
  name: "run() needs no permission beyond reading and writing its folder",
  ignore: !canRun,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const source = `import { run } from "TRACK";
        await using session = await run({ dir: "runs" });
        session.logScalars({ a: 1 });
        session.saveArtifact("b.txt", "b");
        console.log(JSON.stringify(session.meta));`;
      const output = await runScript(source, [
        `--allow-write=${dir}/runs`,
        `--allow-read=${dir}/runs`,
      ], dir);
      const { env, git, id }: RunMeta = JSON.parse(output);
      assertEquals([env.hostname, git], [null, null]);
      const { meta, scalars } = readRun(`${dir}/runs/${id}`);
      assertEquals([meta.status, scalars.length], ["completed", 1]);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "run() without the permission to write says which folder it needs",
  ignore: !canRun,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const source = `import { run } from "TRACK";
        await run().catch((error) => console.log(error.name, error.message));`;
      const output = await runScript(source, [], dir);
      assertMatch(output, /^TrackError Cannot make folder runs: NotCapable: Requires write access/);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "run() records commit and dirty tree",
  ignore: !hasGit,
  async fn() {
    const dir = await Deno.makeTempDir();
    const git = async (...args: string[]): Promise<string> => {
      const { stdout, success } = await new Deno.Command("git", { args, cwd: dir }).output();
      assert(success, `git ${args.join(" ")}`);
      return new TextDecoder().decode(stdout).trim();
    };
    try {
      const source = `import { run } from "TRACK";
        const files = { makeFolder() {}, rename() {}, remove() {}, syncFolder() {}, read() {},
          list: () => [], open: () => ({ write() {}, truncate() {}, sync() {}, close() {} }) };
        const { meta } = await run({ files });
        console.log(JSON.stringify(meta.git));`;
      const read = async () => JSON.parse(await runScript(source, ["--allow-run=git"], dir));
      assertEquals(await read(), null);
      await git("init", "--quiet");
      const identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
      await Deno.writeTextFile(`${dir}/.gitignore`, "main.ts\n");
      await git("add", ".gitignore");
      await git(...identity, "commit", "--quiet", "-m", "x");
      const commit = await git("rev-parse", "HEAD");
      assertEquals(await read(), { commit, dirty: false });
      await Deno.writeTextFile(`${dir}/new.txt`, "x");
      assertEquals(await read(), { commit, dirty: true });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
