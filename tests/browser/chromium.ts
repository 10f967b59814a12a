/** A page in a headless Chromium, for tests. */

import type { Page } from "playwright-core";
import { canRun } from "../examples/command.ts";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The browser's program; null where there is none, or tests may not start it. */
export const chromiumPath: string | null = canRun ? PLACES.find(isFile) ?? null : null;

/** What the names of tests say where they are skipped. */
export const needsChromium: string = chromiumPath === null
  ? " (skipped without a Chromium to start)"
  : "";

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Kernels for a software adapter compile slowly on a busy machine. */
const PATIENCE_MS = 540_000;

/**
 * Opens a page of a server of its own.
 *
 * @param serve answers its requests
 * @param use what the test does with it
 * @throws {Error} with all that the page's console reported as an error or a warning
 */
export async function withPage(
  serve: (request: Request) => Response | Promise<Response>,
  use: (page: Page) => Promise<void>,
): Promise<void> {
  // Loading it takes permissions.
  const { chromium } = await import("playwright-core");
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, serve);
  const browser = await chromium.launch({
    executablePath: chromiumPath!,
    // Chromium's sandbox refuses root; its software adapter counts as unsafe.
    args: ["--no-sandbox", "--enable-unsafe-webgpu"],
  });
  const faults: string[] = [];
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => faults.push(`${error.message} ${error.stack ?? ""}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) faults.push(message.text());
    });
    await page.goto(`http://127.0.0.1:${server.addr.port}/`);
    await use(page);
  } catch (error) {
    // The page knows best why.
    throw faults.length > 0 ? reported(faults, error) : error;
  } finally {
    await browser.close();
    await server.shutdown();
  }
  if (faults.length > 0) throw reported(faults);
}

function reported(faults: readonly string[], cause?: unknown): Error {
  return new Error(`The page reported: ${faults.join("\n")}`, { cause });
}
