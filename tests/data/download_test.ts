import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  cacheFolder,
  download,
  DownloadError,
  type DownloadOptions,
  type DownloadProgress,
} from "../../data/mod.ts";
import { canUseEnv, canUseFiles, canUseNet, temporaryFolder } from "./permissions.ts";

const ignore = !canUseFiles || !canUseNet;

// The SHA-256 of "abc" that FIPS 180-2 publishes
const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const text = new TextEncoder();

/** A server on this machine with a few files that go wrong in their own ways. */
function startServer(): AsyncDisposable & { url: string; asked: string[] } {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    if (pathname === "/abc") return new Response("abc");
    if (pathname === "/other") return new Response("abd");
    if (pathname === "/chunks") return new Response(chunks(["a", "b", "c"]));
    if (pathname === "/stalls") return new Response(chunks(["a"], false));
    return new Response("no such file", { status: 404 });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function chunks(parts: string[], end = true): ReadableStream<Uint8Array> {
  const rest = parts.slice();
  return new ReadableStream({
    pull(controller): Promise<void> | void {
      const part = rest.shift();
      if (part !== undefined) controller.enqueue(text.encode(part));
      else if (end) controller.close();
      else return new Promise(() => {});
    },
  });
}

/** A server that announces ten bytes, sends three, and hangs up. */
function startCutServer(): Disposable & { url: string } {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  async function answer(): Promise<void> {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4096));
      await connection.write(text.encode("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
      connection.close();
    }
  }
  answer();
  return {
    url: `http://127.0.0.1:${listener.addr.port}/cut`,
    [Symbol.dispose]: () => listener.close(),
  };
}

/** The address of a server that is not there any more. */
function closedUrl(): string {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  listener.close();
  return `http://127.0.0.1:${listener.addr.port}/closed`;
}

async function filesOf(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name)).sort();
}

async function read(path: string): Promise<string> {
  return await Deno.readTextFile(path);
}

Deno.test({
  name: "download() writes the file, makes its folder, and reports progress",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    const path = `${folder.path}/a/b/abc.txt`;
    const reports: DownloadProgress[] = [];
    const urls = [`${server.url}/abc`];
    const onProgress = (progress: DownloadProgress) => reports.push(progress);
    assertEquals(await download({ urls, path, sha256: abc, onProgress }), path);
    assertEquals(await read(path), "abc");
    assertEquals(await filesOf(`${folder.path}/a/b`), ["abc.txt"]);
    assertEquals(reports.at(-1), { file: "abc.txt", url: urls[0], loadedBytes: 3, totalBytes: 3 });
  },
});

Deno.test({
  name: "download() counts bytes that come without a length",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    const loaded: [number, number | undefined][] = [];
    await download({
      urls: [`${server.url}/chunks`],
      path: `${folder.path}/abc`,
      sha256: abc.toUpperCase(),
      onProgress: ({ loadedBytes, totalBytes }) => loaded.push([loadedBytes, totalBytes]),
    });
    assertEquals(loaded.at(-1), [3, undefined]);
    assertEquals(loaded.every(([bytes], i) => i === 0 || bytes > loaded[i - 1][0]), true);
  },
});

Deno.test({
  name: "download() asks nobody for a file that is there and right",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    await Deno.writeTextFile(`${folder.path}/abc`, "abc");
    await download({ urls: [`${server.url}/abc`], path: `${folder.path}/abc`, sha256: abc });
    assertEquals(server.asked, []);
  },
});

Deno.test({
  name: "download() replaces a file whose checksum is wrong",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    await Deno.writeTextFile(`${folder.path}/abc`, "ab");
    await download({ urls: [`${server.url}/abc`], path: `${folder.path}/abc`, sha256: abc });
    assertEquals([server.asked, await read(`${folder.path}/abc`)], [["/abc"], "abc"]);
  },
});

Deno.test({
  name: "download() says that it deleted a wrong file when no mirror gives a right one",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    await Deno.writeTextFile(`${folder.path}/abc`, "ab");
    const error = await assertRejects(
      () => download({ urls: [`${server.url}/none`], path: `${folder.path}/abc`, sha256: abc }),
      DownloadError,
    );
    assertMatch(error.message, /the file that was there had SHA-256 \w{64} .* was deleted/);
    assertEquals(await filesOf(folder.path), []);
  },
});

Deno.test({
  name: "download() tries the mirrors in order until one is right",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    const urls = ["/none", "/other", "/abc", "/chunks"].map((path) => server.url + path);
    await download({ urls, path: `${folder.path}/abc`, sha256: abc });
    assertEquals(await read(`${folder.path}/abc`), "abc");
    assertEquals(server.asked, ["/none", "/other", "/abc"]);
  },
});

Deno.test({
  name: "download() lists every mirror with its reason, and leaves no file",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    using cut = startCutServer();
    const paths = ["/none", "/other", "/stalls"];
    const urls = [...paths.map((path) => server.url + path), cut.url, closedUrl()];
    const path = `${folder.path}/abc`;
    const error = await assertRejects(
      () => download({ urls, path, sha256: abc, stallMs: 200 }),
      DownloadError,
    );
    assertEquals(error.attempts.map(({ url }) => url), urls);
    const reasons = error.attempts.map(({ reason }) => reason);
    assertEquals(reasons[0], "HTTP 404 Not Found");
    assertStringIncludes(reasons[1], `SHA-256 must be ${abc}: got `);
    assertStringIncludes(reasons[1], "deleted");
    assertEquals(reasons[2], "no data came for 200 ms");
    assertMatch(reasons[4], /refused/i);
    for (const { url, reason } of error.attempts) {
      assertStringIncludes(error.message, `\n  ${url}: ${reason}`);
    }
    assertEquals(await filesOf(folder.path), []);
  },
});

Deno.test({
  name: "download() gives up a mirror that sends too much",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    const error = await assertRejects(
      () => download({ urls: [`${server.url}/abc`], path: `${folder.path}/a`, maxBytes: 2 }),
      DownloadError,
    );
    assertEquals(error.attempts[0].reason, "more than 2 bytes came");
  },
});

Deno.test({
  name: "download() hands on an error of onProgress",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    const failure = new Error("stop");
    const error = await assertRejects(() =>
      download({
        urls: [`${server.url}/abc`],
        path: `${folder.path}/abc`,
        onProgress: () => {
          throw failure;
        },
      })
    );
    assertEquals(error === failure, true);
    assertEquals(await filesOf(folder.path), []);
  },
});

Deno.test({
  name: "download() leaves nothing behind when the file cannot be put in place",
  ignore,
  fn: async () => {
    await using folder = await temporaryFolder();
    await using server = startServer();
    await Deno.mkdir(`${folder.path}/abc/full`, { recursive: true });
    const options = { urls: [`${server.url}/abc`], path: `${folder.path}/abc`, sha256: abc };
    await assertRejects(() => download(options), Error);
    assertEquals(await filesOf(folder.path), ["abc"]);
  },
});

Deno.test("download() rejects options that cannot work", async () => {
  const wrong: [DownloadOptions, string][] = [
    [{ urls: [], path: "a" }, "no address"],
    [{ urls: ["http://127.0.0.1:1/"], path: "a", sha256: "12ab" }, 'hex digits: got "12ab"'],
  ];
  for (const [options, part] of wrong) {
    await assertRejects(() => download(options), RangeError, part);
  }
});

/** Runs a function with other environment variables. */
function withEnv(values: Record<string, string | undefined>, fn: () => void): void {
  const before = Object.keys(values).map((name) => [name, Deno.env.get(name)] as const);
  const set = ([name, value]: readonly [string, string | undefined]) =>
    value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  try {
    Object.entries(values).forEach(set);
    fn();
  } finally {
    before.forEach(set);
  }
}

Deno.test({
  name: "cacheFolder() takes the first of the three variables that is set",
  ignore: !canUseEnv,
  fn: () => {
    const none = {
      LEGOML_CACHE: undefined,
      XDG_CACHE_HOME: undefined,
      HOME: undefined,
      USERPROFILE: undefined,
    };
    const all = { ...none, LEGOML_CACHE: "/a", XDG_CACHE_HOME: "/b", HOME: "/c" };
    withEnv(all, () => assertEquals(cacheFolder(), "/a"));
    withEnv({ ...all, LEGOML_CACHE: "" }, () => assertEquals(cacheFolder(), "/b/legoml/datasets"));
    withEnv(
      { ...none, HOME: "/c" },
      () => assertEquals(cacheFolder(), "/c/.cache/legoml/datasets"),
    );
    withEnv(none, () => assertThrows(cacheFolder, Error, "LEGOML_CACHE, XDG_CACHE_HOME and HOME"));
  },
});
