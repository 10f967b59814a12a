import type { Page } from "playwright-core";
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { type DeviceKind, getDevice } from "../../core/mod.ts";
import { answer, buildPage } from "../../examples/browser/serve.ts";
import { trainDigits } from "../../examples/browser/training.ts";
import { bundle } from "../../examples/bundle.ts";
import { canRun } from "../examples/command.ts";
import { chromiumPath, needsChromium, withPage } from "./chromium.ts";

const ignore = chromiumPath === null;
const folder = ignore ? "" : await Deno.makeTempDir();
if (!ignore) addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
let built: ReturnType<typeof buildPage> | undefined;

/** Opens the page, which is built once. */
async function onPage(use: (page: Page) => Promise<void>, isolated = true): Promise<void> {
  await (built ??= buildPage(folder));
  await withPage((request) => answer(folder, request, isolated), use);
}

/** How a comparison trains. */
interface Short {
  readonly steps: number;
  readonly seed: number;
  readonly batchSize: number;
  readonly images: number;
}

/** What a training leaves. */
interface Outcome {
  readonly losses: readonly number[];
  /** Parameters and statistics by name. */
  readonly weights: Readonly<Record<string, readonly number[]>>;
}

async function trainHere(kind: DeviceKind, short: Short): Promise<Outcome> {
  const device = await getDevice({ kind });
  const { model, losses } = await trainDigits({ ...short, device });
  const weights: Record<string, number[]> = {};
  for (const [name, t] of Object.entries(model.stateDict())) weights[name] = [...await t.data()];
  return { losses, weights };
}

async function trainThere(page: Page, kind: DeviceKind, short: Short): Promise<Outcome> {
  return await page.evaluate(`(async () => {
    const { getDevice, trainDigits } = await import("/train.js");
    const device = await getDevice({ kind: "${kind}" });
    const { model, losses } = await trainDigits({ ...${JSON.stringify(short)}, device });
    const weights = {};
    for (const [name, t] of Object.entries(model.stateDict())) weights[name] = [...await t.data()];
    return { losses, weights };
  })()`);
}

/**
 * The bias of a convolution that batch normalisation follows changes no output: its exact gradient is 0, and AdamW makes full
 * steps of what is rounding alone. The means that the normalisation counts follow it.
 */
const FREE = /^[01]\.(0\.bias|1\.running_mean)$/;

/** Where two outcomes differ by more than the bound of ten losses of a whole model. */
function differences(there: Outcome, exact: Outcome): string[] {
  assertEquals(Object.keys(there.weights), Object.keys(exact.weights));
  const apart = there.losses.map((loss, i) => [`loss ${i}`, distance([loss], [exact.losses[i]])]);
  for (const [name, values] of Object.entries(there.weights)) {
    if (!FREE.test(name)) apart.push([name, distance(values, exact.weights[name])]);
  }
  return apart.filter(([, share]) => !((share as number) <= 1e-5)).map((pair) => pair.join(": "));
}

/** Distance of two vectors as a share of the second one's length. */
function distance(a: readonly number[], b: readonly number[]): number {
  assertEquals(a.length, b.length);
  const length = (x: readonly number[]) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
  return length(a.map((v, i) => v - b[i])) / length(b);
}

Deno.test({
  name: `the page trains, draws its losses and shows what it learnt${needsChromium}`,
  ignore,
  fn: () =>
    onPage(async (page) => {
      assertEquals(await page.evaluate("crossOriginIsolated"), true);
      await page.selectOption("#device", "cpu");
      await page.fill("#steps", "40");
      await page.click("#train");
      await page.waitForFunction("document.querySelectorAll('#digits figure').length === 30");
      const status = await page.textContent("#status") ?? "";
      assertMatch(status, /^step 40 of 40, loss \d\.\d+, \d+ images\/s, accuracy [\d.]+ % on/);
      const accuracy = Number(status.match(/accuracy ([\d.]+) %/)![1]);
      assert(accuracy > 80, `digits are recognised: ${status}`);
      assertMatch(await page.textContent("#choice") ?? "", /^cpu: WebAssembly .+ \(asked for\)$/);
      const chart = await page.innerHTML("#chart");
      assertMatch(chart, /^<svg[^]+each step[^]+mean of 10 steps[^]+<\/svg>$/);
      const right = await page.locator("figure.right").count();
      assert(right > 20, `${right} of the 30 digits that are shown`);
    }),
});

Deno.test({
  name: `the page ends a training when told, and tells what went wrong${needsChromium}`,
  ignore,
  fn: () =>
    onPage(async (page) => {
      await page.selectOption("#device", "cpu");
      await page.fill("#steps", "100000");
      await page.click("#train");
      await page.waitForFunction("document.getElementById('status').textContent.includes('step')");
      await page.click("#train");
      await page.waitForFunction("document.querySelectorAll('#digits figure').length === 30");
      await page.fill("#steps", "-1");
      await page.click("#train");
      await page.waitForSelector("#status.failed");
      assertMatch(await page.textContent("#status") ?? "", /^Cannot loop: .+ found -1$/);
      assertEquals(await page.textContent("#train"), "Train");
    }),
});

Deno.test({
  name: "the page's server gives its own files, and nothing else",
  ignore: !canRun,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const { bytes, gzipBytes } = await buildPage(`${dir}/page`);
    assert(bytes < 1e6 && gzipBytes < 350_000, `small enough: ${bytes}, ${gzipBytes}`);
    await Deno.writeTextFile(`${dir}/secret.txt`, "secret");
    await Deno.writeTextFile(`${dir}/page/other.txt`, "other");
    const status = async (path: string) => {
      const response = await answer(`${dir}/page`, new Request(`http://127.0.0.1${path}`));
      await response.body?.cancel();
      return [response.status, response.headers.get("content-type")?.split(";")[0]];
    };
    assertEquals(await status("/"), [200, "text/html"]);
    assertEquals(await status("/train.js?x=1"), [200, "text/javascript"]);
    for (const path of ["/other.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/constructor"]) {
      assertEquals((await status(path))[0], 404);
    }
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: `on the CPU a browser trains the bits that Deno trains${needsChromium}`,
  ignore,
  fn: async (t) => {
    const short = { steps: 12, seed: 3, batchSize: 32, images: 200 };
    const here = await trainHere("cpu", short);
    assertEquals(here.losses.length, 12);
    for (const isolated of [true, false]) {
      await t.step(
        isolated ? "with threads" : "in one thread, without isolation",
        () =>
          onPage(async (page) => {
            assertEquals(await page.evaluate("crossOriginIsolated"), isolated);
            assertEquals(await trainThere(page, "cpu", short), here);
          }, isolated),
      );
    }
    const other = await trainHere("cpu", { ...short, seed: 4 });
    assertNotEquals(other.losses, here.losses);
    assertNotEquals(other.weights, here.weights);
  },
});

Deno.test({
  name: `on WebGPU a browser trains what Deno trains${needsChromium}`,
  ignore,
  fn: (t) =>
    onPage(async (page) => {
      const found = await page.evaluate("navigator.gpu?.requestAdapter().then(Boolean)");
      await t.step({
        name: found ? "within the bounds of a whole model" : "skipped: the browser has no adapter",
        ignore: !found,
        fn: async () => {
          const short = { steps: 3, seed: 3, batchSize: 8, images: 40 };
          const there = await trainThere(page, "webgpu", short);
          const exact = await trainHere("reference", short);
          assertEquals(differences(there, exact), []);
          const name = "3.0.weight";
          const moved = exact.weights[name].map((v) => v * (1 + 2e-5));
          const wrong = { ...exact, weights: { ...exact.weights, [name]: moved } };
          assertEquals(differences(there, wrong).length, 1);
        },
      });
    }),
});

Deno.test({
  name: `a page that reports an error fails its test${needsChromium}`,
  ignore,
  fn: async () => {
    const html = "<link rel=icon href=data:,><script>console.error('something is wrong')</script>";
    const serve = () => new Response(html, { headers: { "content-type": "text/html" } });
    await assertRejects(() => withPage(serve, async () => {}), Error, "something is wrong");
  },
});

Deno.test({
  name: `the whole package loads in a page${needsChromium}`,
  ignore,
  fn: async () => {
    const entry = new URL("../../mod.ts", import.meta.url).href;
    await bundle({ entry, out: `${folder}/mod.js`, platform: "browser", form: "minified" });
    const code = await Deno.readFile(`${folder}/mod.js`);
    const serve = (request: Request) =>
      new URL(request.url).pathname === "/mod.js"
        ? new Response(code, { headers: { "content-type": "text/javascript" } })
        : new Response("<link rel=icon href=data:,>", { headers: { "content-type": "text/html" } });
    await withPage(serve, async (page) => {
      // In a checkout @std/csv stands on a package for Node, which makes two byte-order marks when it is loaded.
      await page.evaluate("globalThis.Buffer = { from: (bytes) => Uint8Array.from(bytes) }");
      const sum = await page.evaluate(`(async () => {
        const { getDevice, tensor } = await import("/mod.js");
        const device = await getDevice({ kind: "cpu" });
        return await tensor([1, 2, 3.5], { device }).sum().item();
      })()`);
      assertEquals(sum, 6.5);
    });
  },
});
