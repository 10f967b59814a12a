/** The page: trains where the button says, draws the losses as they come, and shows what was learnt. */

import { type DeviceKind, getDevice } from "../../core/mod.ts";
import { lineChart } from "../../track/charts.ts";
import { browser, element, type PageElement } from "./page.ts";
import { type Guess, guessDigits, testAccuracy, trainDigits } from "./training.ts";

export { getDevice, testAccuracy, trainDigits };

const DIGITS = 30;

/** The losses as a picture: each one, and their mean over the last ones. */
function chartOf(losses: readonly number[]): string {
  const x = losses.map((_, i) => i + 1);
  const smooth = losses.map((_, i) => {
    const last = losses.slice(Math.max(0, i - 9), i + 1);
    return last.reduce((sum, loss) => sum + loss, 0) / last.length;
  });
  return lineChart({
    series: [{ name: "each step", x, y: losses }, { name: "mean of 10 steps", x, y: smooth }],
    xLabel: "step",
    yLabel: "loss",
    width: 720,
    height: 300,
  });
}

/** A digit with what it was taken for. */
function figureOf({ image, label, guess }: Guess): PageElement {
  const { document, ImageData } = browser;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 28;
  const pixels = Uint8ClampedArray.from(
    { length: 4 * 784 },
    (_, i) => i % 4 === 3 ? 255 : image[i >> 2],
  );
  canvas.getContext("2d").putImageData(new ImageData(pixels, 28), 0, 0);
  const figure = document.createElement("figure");
  figure.className = guess === label ? "right" : "wrong";
  figure.title = `a ${label}, taken for a ${guess}`;
  figure.append(canvas, String(guess));
  return figure;
}

/** Draws at most once a frame. */
function painter(losses: readonly number[]): () => void {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    browser.requestAnimationFrame(() => {
      waiting = false;
      element("chart").innerHTML = chartOf(losses);
    });
  };
}

/** Trains once, and tells of it in the page. */
async function train(signal: AbortSignal): Promise<void> {
  const status = element("status");
  status.className = "";
  status.textContent = "opening the device …";
  const device = await getDevice({ kind: element("device").value as DeviceKind });
  element("choice").textContent = device.choice;
  status.textContent = "drawing digits, compiling kernels …";
  const steps = Number(element("steps").value);
  const losses: number[] = [];
  const paint = painter(losses);
  let first = 0;
  const { model } = await trainDigits({
    device,
    steps,
    seed: Number(element("seed").value),
    signal,
    onLoss(loss, step) {
      losses.push(loss);
      // The first step compiles kernels.
      if (step === 1) first = performance.now();
      const rate = step === 1 ? 0 : (step - 1) * 64_000 / (performance.now() - first);
      status.textContent = `step ${step} of ${steps}, loss ${loss.toFixed(3)}, ` +
        `${Math.round(rate)} images/s`;
      paint();
    },
  });
  element("chart").innerHTML = chartOf(losses);
  const accuracy = await testAccuracy(model, device);
  status.textContent += `, accuracy ${(100 * accuracy).toFixed(1)} % on digits not seen before`;
  const guesses = await guessDigits(model, device, DIGITS);
  element("digits").replaceChildren(...guesses.map(figureOf));
}

/** The button starts a training, and ends it. */
function listen(): void {
  const button = element("train");
  let running: AbortController | null = null;
  button.addEventListener("click", async () => {
    if (running !== null) return running.abort();
    running = new AbortController();
    button.textContent = "Stop";
    try {
      await train(running.signal);
    } catch (error) {
      const status = element("status");
      status.className = "failed";
      status.textContent = error instanceof Error ? error.message : String(error);
    } finally {
      running = null;
      button.textContent = "Train";
    }
  });
  element("threads").textContent = browser.crossOriginIsolated
    ? "This page is isolated, so the CPU trains with all cores."
    : "This page is not isolated (COOP and COEP headers), so the CPU trains with one core.";
}

listen();
