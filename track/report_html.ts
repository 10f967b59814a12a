/** What pages are put together of: elements, tables, the whole page with its style. */

import { escapeText, type Markup } from "./chart_parts.ts";

export { escapeText, type Markup };

const VOID = new Set(["br", "hr", "img", "meta", "link"]);

/** An element with escaped attributes; the content is markup. Attributes that are "" are left out. */
export function tag(
  name: string,
  attributes: Readonly<Record<string, string>>,
  ...content: readonly Markup[]
): Markup {
  const pairs = Object.entries(attributes).filter(([, value]) => value !== "")
    .map(([key, value]) => ` ${key}="${escapeText(value)}"`).join("");
  return VOID.has(name) ? `<${name}${pairs}/>` : `<${name}${pairs}>${content.join("")}</${name}>`;
}

/** A cell: text to escape, or markup. */
export type Cell = string | { readonly markup: Markup };

/** A table with a row of headings; columns of numbers stand at the right. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
  numbers: readonly number[] = [],
): Markup {
  const kind = (column: number) => numbers.includes(column) ? "number" : "";
  const head = headings.map((text, i) =>
    tag("th", { class: kind(i), scope: "col" }, escapeText(text))
  );
  const lines = rows.map((row) =>
    tag("tr", {}, ...row.map((cell, i) => tag("td", { class: kind(i) }, markupOf(cell))))
  );
  return tag(
    "div",
    { class: "scroll" },
    tag("table", {}, tag("thead", {}, tag("tr", {}, ...head)), tag("tbody", {}, ...lines)),
  );
}

/** A table of names and what belongs to them. */
export function pairs(rows: readonly (readonly [name: string, value: Cell])[]): Markup {
  const lines = rows.map(([name, value]) =>
    tag("tr", {}, tag("th", { scope: "row" }, escapeText(name)), tag("td", {}, markupOf(value)))
  );
  return tag("div", { class: "scroll pairs" }, tag("table", {}, tag("tbody", {}, ...lines)));
}

function markupOf(cell: Cell): Markup {
  return typeof cell === "string" ? escapeText(cell) : cell.markup;
}

/** A part of a page with its heading. */
export function section(id: string, heading: string, ...content: readonly Markup[]): Markup {
  return tag("section", { id }, tag("h2", {}, escapeText(heading)), ...content) + "\n";
}

/** A paragraph in small letters. */
export function note(text: string): Markup {
  return tag("p", { class: "note" }, escapeText(text));
}

/** The address of a file from a page in its folder. */
export function hrefOf(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

const STYLE = `
:root { color-scheme: light dark; --text: #222; --back: #fff; --line: #ddd; --soft: #f5f6f8;
  --faint: #666; --good: #006b4a; --bad: #b03000; --link: #0057a0; }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --back: #171717; --line: #3a3d42; --soft: #232323; --faint: #a0a0a0;
    --good: #4cc79a; --bad: #ff9068; --link: #7fbdf5; }
  figure svg { filter: invert(0.91) hue-rotate(180deg); }
}
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: 1rem 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
a { color: var(--link); }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: 0.2rem 1rem 0.2rem 0; text-align: left;
  vertical-align: top; overflow-wrap: break-word; }
.pairs td { overflow-wrap: anywhere; }
thead th, tbody th { color: var(--faint); font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; }
.note { color: var(--faint); font-size: 0.9em; }
.completed { color: var(--good); }
.failed, .crashed, .alert { color: var(--bad); }
figure { margin: 0.5rem 0; overflow-x: auto; }
figure svg, figure img { max-width: 100%; height: auto; }
td img { max-width: 12rem; height: auto; vertical-align: middle; image-rendering: pixelated; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); }
figcaption { color: var(--faint); font-size: 0.9em; }
pre { background: var(--soft); padding: 0.75rem; overflow-x: auto; font-size: 0.85em;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  :root { color-scheme: light; }
  figure, tr, h2 { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll, figure { overflow: visible; }
  .charts { grid-template-columns: 1fr 1fr; }
}
`;

/** What a page needs beside its content. */
export interface PageOptions {
  readonly title: string;
  /** Seconds after which the page loads itself again; 0 for never. */
  readonly refreshSeconds?: number;
}

/** A whole page. Nothing in it runs, and nothing is loaded from elsewhere. */
export function page({ title, refreshSeconds = 0 }: PageOptions, ...content: Markup[]): string {
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  const head = [
    tag("meta", { charset: "utf-8" }),
    tag("meta", { "http-equiv": "Content-Security-Policy", content: policy }),
    tag("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
    ...refreshSeconds > 0
      ? [tag("meta", { "http-equiv": "refresh", content: String(refreshSeconds) })]
      : [],
    tag("title", {}, escapeText(title)),
    `<style>${STYLE}</style>`,
  ];
  const body = tag("body", {}, "\n", tag("main", {}, "\n", ...content), "\n");
  return "<!DOCTYPE html>\n" +
    tag("html", { lang: "en" }, "\n", tag("head", {}, ...head.map((line) => `${line}\n`)), body) +
    "\n";
}
