import { assert, assertEquals, assertMatch } from "@std/assert";
import { currentScalars, listRuns, readRun, run } from "../../track/mod.ts";
import { processLives } from "../../track/environment.ts";
import { canRun } from "./cli_parts.ts";

const entry = new URL("../../track/mod.ts", import.meta.url).href;
const config = new URL("../../deno.json", import.meta.url).pathname;

/** A program that does something with `dir` for each line that it is told, and answers with a line. */
class Child implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(folder: string, body: string) {
    const path = `${folder}/child-${crypto.randomUUID()}.ts`;
    const source = `import { run } from "${entry}";
      ${body}
      let input = "";
      for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
        input += text;
        for (let end; (end = input.indexOf("\\n")) >= 0; input = input.slice(end + 1)) {
          const dir = input.slice(0, end);
          console.log(JSON.stringify(await answer(dir)));
        }
      }`;
    Deno.writeTextFileSync(path, source);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "-A", "--no-check", "--config", config, path],
      cwd: folder,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  get pid(): number {
    return this.#child.pid;
  }

  async ask<T>(dir: string): Promise<T> {
    await this.#writer.write(new TextEncoder().encode(`${dir}\n`));
    return await this.hear();
  }

  async hear<T>(): Promise<T> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#lines.read();
      assert(!done, "the child ended");
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return JSON.parse(line);
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#lines.cancel();
    await this.#child.status;
  }
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "several processes that open runs in one folder at once never share one",
  ignore: !canRun,
  fn: () =>
    inFolder(async (folder) => {
      // one time for all, and few names, so that they do collide
      const body = `crypto.getRandomValues = (list) => list.fill(Math.floor(32 * Math.random()));
        const now = () => new Date(Date.UTC(2026, 0, 1));
        async function answer(dir) {
          return await Promise.all(Array.from({ length: 6 }, (_, i) =>
            run({ dir, now }, async (session) => {
              for (let step = 1; step <= 20; step++) {
                session.logScalars({ a: 100 * Deno.pid + i }, { step });
                if (step % 5 === 0) await new Promise((resolve) => setTimeout(resolve));
              }
              return session.id;
            })));
        }`;
      await using a = new Child(folder, body);
      await using b = new Child(folder, body);
      await using c = new Child(folder, body);
      const ids = (await Promise.all([a, b, c].map((child) => child.ask<string[]>("runs")))).flat();
      assertEquals(new Set(ids).size, 18);
      const listed = listRuns(`${folder}/runs`);
      assertEquals(listed.map(({ problem }) => problem), Array(18).fill(null));
      for (const { dir } of listed) {
        const { meta, scalars } = readRun(dir);
        assertEquals([meta.status, scalars.length], ["completed", 20]);
        assertEquals(new Set(scalars.map(({ value }) => value)).size, 1, "rows of one run alone");
      }
    }),
});

const RESUMER = `let session;
  async function answer(dir) {
    if (dir === "close") {
      await session?.close();
      session = undefined;
      return "closed";
    }
    try {
      session = await run({ resume: dir });
      session.logScalars({ a: Deno.pid });
      return { won: true, message: "" };
    } catch (error) {
      return { won: false, message: error.name + ": " + error.message };
    }
  }`;

Deno.test({
  name: "of processes that resume one run at the same time one goes on, the others are refused",
  ignore: !canRun,
  fn: () =>
    inFolder(async (folder) => {
      await using a = new Child(folder, RESUMER);
      await using b = new Child(folder, RESUMER);
      await using c = new Child(folder, RESUMER);
      const children = [a, b, c];
      const gone = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" });
      const dead = gone.spawn();
      await dead.status;
      const dir = await run({ dir: `${folder}/runs` }, (session) => session.dir);
      // with a lock that a dead process left, too, and one that was left before it was signed
      const left: [string, object | null][] = [
        ["resume-1.lock", { pid: dead.pid, hostname: Deno.hostname(), time: new Date() }],
        ["resume-2.lock", { pid: 1, hostname: "elsewhere", time: new Date(Date.now() - 61_000) }],
        ["resume-3.lock", null],
      ];
      for (let round = 0; round < 8; round++) {
        const locks = round < 4 ? [] : left.slice(0, round - 4);
        for (const [name, owner] of locks) {
          await Deno.writeTextFile(`${dir}/${name}`, owner === null ? "" : JSON.stringify(owner));
        }
        const answers = await Promise.all(
          children.map((child) => child.ask<{ won: boolean; message: string }>(dir)),
        );
        const winners = children.filter((_, i) => answers[i].won);
        assertEquals(winners.length, 1, `round ${round}: ${JSON.stringify(answers)}`);
        for (const { won, message } of answers) {
          if (won) continue;
          assertMatch(
            message,
            /^TrackError: Cannot resume \S+: expected (to be the only one|a run that has ended), found that process \d+ /,
          );
        }
        const { meta } = readRun(dir);
        assertEquals([meta.status, meta.segments.length], ["running", round + 2]);
        assertEquals(meta.segments[round + 1].pid, winners[0].pid);
        assert(![...Deno.readDirSync(dir)].some(({ name }) => name.endsWith(".lock")));
        await Promise.all(children.map((child) => child.ask("close")));
      }
      const { scalars } = readRun(dir);
      assertEquals(scalars.map(({ segment }) => segment), [2, 3, 4, 5, 6, 7, 8, 9]);
    }),
});

Deno.test({
  name: "a lock of a process that lives, or may live elsewhere, is respected",
  ignore: !canRun,
  fn: () =>
    inFolder(async (folder) => {
      await using child = new Child(folder, RESUMER);
      const dir = await run({ dir: folder }, (session) => session.dir);
      const owners = [
        { pid: Deno.pid, hostname: Deno.hostname(), time: new Date() },
        { pid: 1, hostname: "elsewhere", time: new Date() },
      ];
      for (const owner of owners) {
        await Deno.writeTextFile(`${dir}/resume-1.lock`, JSON.stringify(owner));
        const { won, message } = await child.ask<{ won: boolean; message: string }>(dir);
        assert(!won);
        const found = `process ${owner.pid} on ${owner.hostname} is about to resume it`;
        assert(message.includes(found), message);
        await Deno.remove(`${dir}/resume-1.lock`);
      }
    }),
});

Deno.test({
  name: "a run that is killed again and again loses nothing that was acknowledged",
  ignore: !canRun,
  fn: () =>
    inFolder(async (folder) => {
      const body = `async function answer(dir) {
          const session = await run({ resume: dir });
          const from = session.rows;
          const write = () => {
            for (let i = 0; i < 20; i++) {
              session.logScalars({ a: session.rows }, { step: session.rows + 1 });
              session.logEvent("row", { rows: session.rows });
              session.logParams({ rows: session.rows });
            }
            console.log(JSON.stringify(session.rows));
            setTimeout(write);
          };
          setTimeout(write);
          return from;
        }`;
      const dir = await run({ dir: folder }, (session) => session.dir);
      let acknowledged = 0;
      for (let round = 0; round < 5; round++) {
        const child = new Child(folder, body);
        const from = await child.ask<number>(dir);
        assert(from >= acknowledged, `${from} of ${acknowledged} rows`);
        acknowledged = await child.hear<number>();
        await new Promise((resolve) => setTimeout(resolve, 11 * round));
        await child.kill();
      }
      const { meta, scalars, events } = readRun(dir);
      assertEquals([meta.status, meta.segments.length], ["running", 6]);
      assert(scalars.length >= acknowledged);
      assertEquals(scalars.map(({ value }) => value), scalars.map((_, i) => i));
      assertEquals(currentScalars(scalars), scalars);
      assertEquals(events.filter(({ event }) => event === "reopened").length, 5);
    }),
});

Deno.test({
  name: "processLives() tells processes that are gone, dead but not waited for, or elsewhere",
  ignore: !canRun || Deno.build.os !== "linux",
  fn: async () => {
    const hostname = Deno.hostname();
    const now = new Date().toISOString();
    assertEquals(processLives({ pid: Deno.pid, hostname }, now), true);
    // the same number, but before this program began, as in a container that was started again
    assertEquals(processLives({ pid: Deno.pid, hostname }, "2026-01-01T00:00:00.000Z"), false);
    assertEquals(processLives({ pid: Deno.pid, hostname: "elsewhere" }, now), null);
    assertEquals(processLives({ pid: Deno.pid, hostname: null }, now), null);
    // a shell that does not wait for its child, whose number it tells
    const parent = new Deno.Command("sh", {
      args: ["-c", "sleep 0.2 & echo $!; exec sleep 60"],
      stdout: "piped",
    }).spawn();
    const reader = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const pid = Number((await reader.read()).value);
    assertEquals(processLives({ pid, hostname }, now), true);
    while (processLives({ pid, hostname }, now)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert(Deno.statSync(`/proc/${pid}`).isDirectory, "it is still in the table of processes");
    parent.kill("SIGKILL");
    await Promise.all([parent.status, reader.cancel()]);
    assertEquals(processLives({ pid: parent.pid, hostname }, now), false);
  },
});
