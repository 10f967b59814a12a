import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { answer } from "../../track/cli/serve.ts";
import { run } from "../../track/mod.ts";
import { chromiumPath, needsChromium, withPage } from "./chromium.ts";

/** The first curve of a page, as drawn. */
const CURVE = "document.querySelector('svg path[d], svg polyline')?.outerHTML ?? ''";

Deno.test({
  name: `the page of legoml serve follows a run in the browser${needsChromium}`,
  ignore: chromiumPath === null,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    const session = await run({ dir, name: "followed", config: { lr: 0.125 } });
    const log = (step: number, loss: number) =>
      session.logScalars({ loss }, { step, epoch: step, split: "train" });
    log(1, 4);
    log(2, 3.5);
    await withPage((request) => answer(dir, request), async (page) => {
      const list = await page.locator("main, body").first().innerText();
      assertStringIncludes(list, "followed");
      assertStringIncludes(list, "running");
      await page.getByRole("link", { name: session.id }).click();
      await page.getByText("0.125").first().waitFor();
      const before = await page.evaluate(CURVE) as string;
      assert(before !== "", "the loss is drawn");
      log(3, 0.0625);
      // Nobody reloads: the page does so by itself.
      await page.getByText("0.0625").first().waitFor({ timeout: 60_000 });
      const after = await page.evaluate(CURVE) as string;
      assert(after !== before, "the curve has grown");
      await session.close();
      await page.getByText("completed").first().waitFor({ timeout: 60_000 });
      // A page of a run that has ended stays as it is, without scripts.
      assertEquals(await page.locator("script").count(), 0);
      assertEquals(await page.locator("meta[http-equiv=refresh]").count(), 0);
      const box = await page.locator("svg").first().boundingBox();
      assert(box !== null && box.width > 200 && box.height > 100, "the chart has a size");
    });
    await Deno.remove(dir, { recursive: true });
  },
});
