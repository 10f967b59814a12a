/** The part of the browser that the page uses; outside of a browser it is not there. */

/** An element of the page. */
export interface PageElement {
  textContent: string | null;
  innerHTML: string;
  value: string;
  disabled: boolean;
  className: string;
  title: string;
  width: number;
  height: number;
  addEventListener(type: "click", listener: () => void): void;
  replaceChildren(...elements: PageElement[]): void;
  append(...elements: (PageElement | string)[]): void;
  getContext(kind: "2d"): { putImageData(image: unknown, x: number, y: number): void };
}

interface Browser {
  readonly document: {
    getElementById(id: string): PageElement | null;
    createElement(tag: string): PageElement;
  };
  readonly crossOriginIsolated: boolean;
  readonly ImageData: new (pixels: Uint8ClampedArray, width: number) => unknown;
  requestAnimationFrame(draw: () => void): void;
}

/** The page's window. */
export const browser: Browser = globalThis as unknown as Browser;

/**
 * An element that index.html has.
 *
 * @param id its id
 * @throws {Error} if there is none
 */
export function element(id: string): PageElement {
  const found = browser.document.getElementById(id);
  if (found === null) throw new Error(`Cannot find the element "${id}" in the page`);
  return found;
}
