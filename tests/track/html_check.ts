/** Whether a page is well formed, by a stack of its tags, and what it says. */

const VOID = new Set(["meta", "link", "br", "hr", "img"]);

/** What a page holds. */
export interface Page {
  /** The ids of its sections, in order. */
  readonly ids: string[];
  /** Its text without tags, with entities read. */
  readonly text: string;
  /** The names of its elements. */
  readonly names: Set<string>;
}

/** Reads a page. @throws {Error} naming the first tag that is out of place */
export function readPage(html: string): Page {
  const [ids, texts, names, open]: [string[], string[], Set<string>, string[]] = [
    [],
    [],
    new Set(),
    [],
  ];
  const body = html.replace(/^<!DOCTYPE html>\n/, "");
  if (body === html) throw new Error("Expected a document type");
  const attribute = `\\s+[\\w:-]+="[^"<]*"`;
  const token = new RegExp(
    `<style>[^<]*</style>|<(/?)([\\w-]+)((?:${attribute})*)\\s*(/?)>|[^<]+`,
    "y",
  );
  while (token.lastIndex < body.length) {
    const at = token.lastIndex;
    const match = token.exec(body);
    if (match === null) throw new Error(`Cannot read ${JSON.stringify(body.slice(at, at + 80))}`);
    const [all, closing, name, attributes, single] = match;
    if (name === undefined) {
      if (!all.startsWith("<style>")) texts.push(readText(all));
      continue;
    }
    names.add(name);
    if (closing === "/") {
      const last = open.pop();
      if (last !== name) throw new Error(`Expected </${last}>, found </${name}>`);
    } else if (single === "") {
      if (VOID.has(name)) throw new Error(`Expected <${name}/>`);
      open.push(name);
    }
    const id = attributes.match(/ id="([^"]*)"/)?.[1];
    if (id !== undefined) ids.push(id);
  }
  if (open.length > 0) throw new Error(`Expected </${open.at(-1)}> at the end`);
  return { ids, text: texts.join(" ").replaceAll(/\s+/g, " "), names };
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
};

function readText(text: string): string {
  return text.replaceAll(/&[^;\s]*;?/g, (entity) => {
    const letter = ENTITIES[entity];
    if (letter === undefined) throw new Error(`Unknown entity ${entity}`);
    return letter;
  });
}
