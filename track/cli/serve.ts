/** `legoml serve`: a page on this machine that lists runs and shows their reports. */

import { reportHtml } from "../report.ts";
import { escapeText, hrefOf, note, page, section, table, tag } from "../report_html.ts";
import { directionIn } from "../report_series.ts";
import { flatConfig, showSetting, showSpan, showValue } from "../report_state.ts";
import { listRuns } from "../read.ts";
import { type Command, dirFlag, type Input, type Output, wholeNumber } from "./command.ts";
import { keySettings } from "./list.ts";
import { bestOf, type ListCache, loadAll } from "./runs.ts";
import { whenStopped } from "./signals.ts";

const REFRESH_SECONDS = 5;
const HOST = "127.0.0.1";
const TYPES: Readonly<Record<string, string>> = {
  csv: "text/plain; charset=utf-8",
  jsonl: "text/plain; charset=utf-8",
  txt: "text/plain; charset=utf-8",
  json: "application/json",
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
};

/** Serves the runs until it is stopped. */
export const serve: Command = {
  usage: "",
  purpose: "Shows the runs of a folder in the browser, on this machine alone, until Ctrl-C",
  count: [0, 0],
  flags: {
    dir: dirFlag,
    port: { value: "N", help: "the port; 0 takes a free one (8088)" },
    json: { value: "", help: "print the address as JSON, in one line" },
  },
  async run(input: Input, { out, err }: Output): Promise<number> {
    const dir = input.text("dir") ?? "runs";
    const port = wholeNumber(input, "port", 8088, [0, 65_535]);
    using stopped = whenStopped();
    const server = serveRuns(dir, port);
    const url = `http://${HOST}:${server.addr.port}/`;
    if (input.has("json")) out(JSON.stringify({ url, dir }));
    err(`${url} shows the runs in ${dir}; Ctrl-C ends it`);
    await stopped.first;
    await server.shutdown();
    return 0;
  },
};

/**
 * Opens the server.
 *
 * @param dir the folder of the runs
 * @param port the port, 0 for a free one
 * @throws {RangeError} if the port is taken
 */
export function serveRuns(dir: string, port: number): Deno.HttpServer<Deno.NetAddr> {
  const cache: ListCache = new Map();
  try {
    return Deno.serve(
      { hostname: HOST, port, onListen: () => {} },
      (request) => answer(dir, request, cache),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new RangeError(`Cannot use --port ${port}: another program has it`, { cause: error });
  }
}

/**
 * The answer to a request: `/` lists the runs, `/<run>/` is a report, `/<run>/<path>` a file of it.
 *
 * @param dir the folder of the runs
 * @param request what was asked for
 * @param cache what was read for earlier answers
 */
export function answer(
  dir: string,
  request: Request,
  cache: ListCache = new Map(),
): Response {
  const url = new URL(request.url);
  // A page elsewhere can let its own name point here; a browser tells the name that was asked for.
  if (![HOST, "localhost"].includes(url.hostname)) return refuse(403, "Expected a local address");
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(405, "Expected GET");
  const path = segmentsOf(url.pathname);
  if (path === null) return refuse(404, "There is no such page");
  try {
    if (path.length === 0) return html(listPage(dir, cache));
    const [id, ...rest] = path;
    const folder = listRuns(dir).find((run) => run.dir === `${dir}/${id}`)?.dir;
    if (folder === undefined) return refuse(404, `There is no run ${id}`);
    if (rest.length > 0 && rest.join("/") !== "report.html") return file(folder, rest);
    if (rest.length === 0 && !url.pathname.endsWith("/")) {
      return new Response(null, { status: 308, headers: { location: `/${hrefOf(id)}/` } });
    }
    return html(reportHtml(folder, { refreshSeconds: REFRESH_SECONDS }));
  } catch (error) {
    return refuse(500, (error as Error).message);
  }
}

/** The names in a path, decoded; null where one of them would lead elsewhere. */
export function segmentsOf(path: string): string[] | null {
  let names: string[];
  try {
    names = path.split("/").filter((name) => name !== "").map(decodeURIComponent);
  } catch {
    return null;
  }
  // deno-lint-ignore no-control-regex -- a name with NUL ends there for the system
  return names.some((name) => /^\.|[/\\:\u0000]/.test(name)) ? null : names;
}

/** A file of a run; links that lead out of its folder are not followed. */
function file(folder: string, path: readonly string[]): Response {
  const wanted = `${folder}/${path.join("/")}`;
  let content: Uint8Array<ArrayBuffer>;
  try {
    const [root, real] = [folder, wanted].map((each) => Deno.realPathSync(each));
    const inside = real.startsWith(root + (Deno.build.os === "windows" ? "\\" : "/"));
    if (!inside || !Deno.statSync(real).isFile) return refuse(404, "There is no such file");
    content = Deno.readFileSync(real);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return refuse(404, "There is no such file");
    }
    throw error;
  }
  const ending = wanted.slice(wanted.lastIndexOf(".") + 1).toLowerCase();
  return respond(content, 200, TYPES[ending] ?? "application/octet-stream", "sandbox");
}

function html(text: string): Response {
  return respond(text, 200, "text/html; charset=utf-8", "");
}

function refuse(status: number, reason: string): Response {
  return respond(`${reason}.\n`, status, "text/plain; charset=utf-8", "sandbox");
}

function respond(body: BodyInit, status: number, type: string, policy: string): Response {
  const headers = new Headers({
    "content-type": type,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
  });
  if (policy !== "") headers.set("content-security-policy", policy);
  return new Response(body, { status, headers });
}

function listPage(dir: string, cache: ListCache): string {
  const now = new Date();
  const { runs, broken } = loadAll(dir, { now, cache });
  runs.reverse();
  const settings = keySettings(runs);
  const rows = runs.map((run) => {
    const { id, meta, state, metric, range } = run;
    const direction = metric === null ? null : directionIn([run], metric);
    const best = range === null ? null : bestOf(range, direction);
    const config = flatConfig(meta.params);
    return [
      { markup: tag("a", { href: `/${hrefOf(id)}/` }, escapeText(id)) },
      { markup: tag("span", { class: state }, escapeText(state)) },
      showSpan(now.getTime() - Date.parse(meta.createdAt)),
      showValue(run.epochs),
      metric ?? "–",
      showValue(best?.value ?? null),
      ...settings.map((name) => showSetting(config.get(name))),
    ];
  });
  const head = ["run", "state", "age", "epochs", "metric", "best", ...settings];
  const running = runs.some(({ state }) => state === "running");
  return page(
    { title: `Runs in ${dir}`, refreshSeconds: running ? REFRESH_SECONDS : 0 },
    tag("h1", {}, escapeText(`Runs in ${dir}`)),
    rows.length === 0 ? note("There are no runs yet.") : table(head, rows, [2, 3, 5]),
    ...broken.length === 0 ? [] : [
      section(
        "broken",
        "Cannot be read",
        table(["run", "why"], broken.map((b) => [b.id, b.problem])),
      ),
    ],
  );
}
