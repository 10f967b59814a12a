import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { answer, segmentsOf, serveRuns } from "../../track/cli/serve.ts";
import { run } from "../../track/mod.ts";
import { canRun, threeRuns } from "./cli_parts.ts";
import { readPage } from "./html_check.ts";

const ignore = !canRun;

function get(dir: string, path: string, init?: RequestInit): Response {
  return answer(dir, new Request(`http://127.0.0.1:1${path}`, init));
}

Deno.test({
  name: "serve lists the runs, and shows reports and files",
  ignore,
  fn: async () => {
    const { dir, ids } = await threeRuns();
    const list = await get(dir, "/").text();
    assertStringIncludes(readPage(list).text, "completed");
    assert(ids.every((id) => list.includes(`href="/${id}/"`)));
    assert(!list.includes('"refresh"'));
    const report = get(dir, `/${ids[0]}/`);
    assertEquals(report.headers.get("content-type"), "text/html; charset=utf-8");
    assertStringIncludes(readPage(await report.text()).text, "test/accuracy 0.625 0.75");
    assertEquals(get(dir, `/${ids[0]}`).headers.get("location"), `/${ids[0]}/`);
    const csv = get(dir, `/${ids[0]}/logs/scalars.csv`);
    assertEquals(csv.headers.get("content-type"), "text/plain; charset=utf-8");
    assertEquals(csv.headers.get("content-security-policy"), "sandbox");
    assertEquals(await csv.text(), await Deno.readTextFile(`${dir}/${ids[0]}/logs/scalars.csv`));
  },
});

Deno.test({
  name: "serve lets pages of runs that run load themselves again",
  ignore,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await using session = await run({ dir, name: "<b>" });
    for (const path of ["/", `/${session.id}/`]) {
      const html = await get(dir, path).text();
      readPage(html);
      assertStringIncludes(html, `<meta http-equiv="refresh" content="5"/>`);
    }
  },
});

Deno.test({
  name: "serve gives nothing from outside the folder of the runs",
  ignore,
  fn: async () => {
    const { dir: root, ids } = await threeRuns();
    const dir = `${root}/inner`;
    await Deno.mkdir(dir);
    await Deno.rename(`${root}/${ids[0]}`, `${dir}/${ids[0]}`);
    await Deno.writeTextFile(`${root}/secret.txt`, "hidden words");
    await Deno.writeTextFile(`${dir}/${ids[0]}/.hidden`, "hidden words");
    await Deno.writeTextFile(`${dir}/beside.txt`, "hidden words");
    await Deno.symlink(`${root}/secret.txt`, `${dir}/${ids[0]}/link.txt`);
    await Deno.symlink(root, `${dir}/${ids[0]}/up`);
    const paths = [
      "/../secret.txt",
      "/..%2fsecret.txt",
      `/${ids[0]}/..%2f..%2fsecret.txt`,
      `/${ids[0]}/%2e%2e/beside.txt`,
      `/${ids[0]}/..%5cbeside.txt`,
      `/${ids[0]}/.hidden`,
      `/${ids[0]}/link.txt`,
      `/${ids[0]}/up/secret.txt`,
      `/${ids[0]}/%00`,
      `/${ids[0]}/%ff`,
      `/${ids[0]}/logs`,
      `/${ids[0]}/meta.json/x`,
      `/${ids[1]}/`,
      "/beside.txt",
      "/%2f%2fetc/passwd",
    ];
    for (const path of paths) {
      const response = get(dir, path);
      assertEquals(response.status, 404, path);
      assert(!(await response.text()).includes("hidden words"), path);
    }
    assertEquals(segmentsOf("/a/../b"), null);
    assertEquals(segmentsOf("/a//b%20c/"), ["a", "b c"]);
  },
});

Deno.test({
  name: "serve answers this machine alone, and only to questions",
  ignore,
  fn: async () => {
    const { dir } = await threeRuns();
    const foreign = answer(dir, new Request("http://attacker.example:8088/"));
    assertEquals(foreign.status, 403);
    assertEquals(get(dir, "/", { method: "POST" }).status, 405);

    await using session = await run({ dir });
    const server = serveRuns(dir, 0);
    try {
      assertEquals(server.addr.hostname, "127.0.0.1");
      const { port } = server.addr;
      const response = await fetch(`http://127.0.0.1:${port}/`);
      assertStringIncludes(await response.text(), "Runs in ");
      for (const accuracy of [0.125, 0.25]) {
        session.logScalars({ accuracy }, { step: 1, split: "eval" });
        const again = await (await fetch(`http://127.0.0.1:${port}/`)).text();
        assertStringIncludes(readPage(again).text, `eval/accuracy ${accuracy}`);
      }
      assertThrows(() => serveRuns(dir, port), RangeError, "another program has it");
      // A client of its own takes the dots out; this one does not.
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      const request =
        "GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
      await connection.write(new TextEncoder().encode(request));
      const answered = await new Response(connection.readable).text();
      assert(/^HTTP\/1\.1 404/.test(answered), answered);
    } finally {
      await server.shutdown();
    }
  },
});
