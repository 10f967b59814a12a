/** WGSL helper functions that rows and kernels may call; a text gets only those that it names. */

import { exponentials } from "./math/exponential.ts";
import { numbers } from "./math/numbers.ts";
import { specials } from "./math/special.ts";
import { trigonometrics } from "./math/trigonometric.ts";

const helpers: Readonly<Record<string, string>> = {
  ...numbers,
  ...exponentials,
  ...trigonometrics,
  ...specials,
};

const callees = new Map<string, readonly string[]>();

/** The helpers that a text calls itself. */
function calledBy(text: string): string[] {
  const names = new Set(Array.from(text.matchAll(/\b([a-z]\w*)\(/g), (match) => match[1]));
  return [...names].filter((name) => Object.hasOwn(helpers, name));
}

/** The helpers that `text` calls, and those that they call, as WGSL. */
export function helpersFor(text: string): string {
  const found = new Set<string>();
  const visit = (names: readonly string[]) => {
    for (const name of names) {
      if (found.has(name)) continue;
      found.add(name);
      let next = callees.get(name);
      if (next === undefined) {
        next = calledBy(helpers[name]).filter((callee) => callee !== name);
        callees.set(name, next);
      }
      visit(next);
    }
  };
  visit(calledBy(text));
  return [...found].map((name) => helpers[name]).join("\n");
}
