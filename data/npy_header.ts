/** The header of a `.npy` file: magic, version, length, and a Python dictionary as text. */

/** What the header says. */
export interface NpyHeader {
  /** Element type as NumPy writes it, as in `<f4`. */
  readonly descr: string;
  /** Whether elements are in column-major order. */
  readonly fortran: boolean;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** First byte of the elements. */
  readonly start: number;
}

type Refuse = (reason: string) => never;

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const maxDims = 64;
// As in NumPy; those of simple arrays have 118 bytes
const maxLength = 10_000;

/**
 * Reads a header.
 *
 * @param bytes the whole file
 * @param refuse throws with the reason
 * @returns what it says; the number of elements is one that numbers hold exactly
 */
export function readHeader(bytes: Uint8Array, refuse: Refuse): NpyHeader {
  if (!magic.every((byte, i) => bytes[i] === byte)) refuse('it must begin with "\\x93NUMPY"');
  const [major, minor] = [bytes[6], bytes[7]];
  if (!(major >= 1 && major <= 3) || minor !== 0) {
    refuse(`its version must be 1.0, 2.0 or 3.0: got ${major}.${minor}`);
  }
  const prefix = major === 1 ? 10 : 12;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < prefix) refuse(`it must have at least ${prefix} bytes: got ${bytes.length}`);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maxLength) {
    refuse(`its header may have at most ${maxLength} bytes: got ${length}`);
  }
  const start = prefix + length;
  if (start > bytes.length) {
    refuse(`its header must end within ${bytes.length} bytes: got ${start}`);
  }
  return { ...parseHeader(textOf(bytes.subarray(prefix, start), major, refuse), refuse), start };
}

function textOf(bytes: Uint8Array, major: number, refuse: Refuse): string {
  try {
    return new TextDecoder(major === 3 ? "utf-8" : "latin1", { fatal: true }).decode(bytes);
  } catch {
    return refuse("its header must be UTF-8");
  }
}

const token = /\s*(?:('[^'\\]*'|"[^"\\]*")|(\d+)L?|(True|False)|([{}():,[\]]))/y;

function parseHeader(text: string, refuse: Refuse): Omit<NpyHeader, "start"> {
  const tokens = tokensOf(text, refuse);
  const fields = new Map<string, unknown>();
  let at = 0;
  const expect = (mark: string): void => {
    if (tokens[at] !== mark) refuse(`its header must have "${mark}" at "${show(tokens[at])}"`);
    at++;
  };
  const value = (): unknown => {
    const first = tokens[at++];
    if (first === "[") refuse("its elements must be of one simple type: got a record");
    if (first !== "(") return first;
    const items: unknown[] = [];
    while (tokens[at] !== ")") {
      items.push(tokens[at++]);
      if (tokens[at] === ",") at++;
      else if (items.length === 1 || tokens[at] !== ")") refuse("its shape must be a tuple");
    }
    at++;
    return items;
  };
  expect("{");
  while (tokens[at] !== "}") {
    const key = tokens[at++];
    if (!(key instanceof Quoted)) refuse(`its header must have a name at "${show(key)}"`);
    const { text } = key as Quoted;
    if (fields.has(text)) refuse(`its header must have "${text}" once`);
    expect(":");
    fields.set(text, value());
    if (tokens[at] === ",") at++;
    else if (tokens[at] !== "}") refuse(`its header must have "," at "${show(tokens[at])}"`);
  }
  if (at + 1 !== tokens.length) refuse("its header must end with the dictionary");
  return checkFields(fields, refuse);
}

class Quoted {
  constructor(readonly text: string) {}
}

function tokensOf(text: string, refuse: Refuse): unknown[] {
  const tokens: unknown[] = [];
  const end = text.trimEnd().length;
  for (let at = 0; at < end; at = token.lastIndex) {
    token.lastIndex = at;
    const match = token.exec(text);
    if (match === null) {
      return refuse(`its header cannot be read from ${JSON.stringify(text.slice(at, at + 20))}`);
    }
    const [, quoted, number, truth, mark] = match;
    if (quoted !== undefined) tokens.push(new Quoted(quoted.slice(1, -1)));
    else if (number !== undefined) tokens.push(Number(number));
    else tokens.push(truth === undefined ? mark : truth === "True");
  }
  return tokens;
}

function checkFields(fields: Map<string, unknown>, refuse: Refuse): Omit<NpyHeader, "start"> {
  const names = [...fields.keys()].sort().join(", ");
  if (names !== "descr, fortran_order, shape") {
    refuse(`its header must have descr, fortran_order and shape: got ${names || "nothing"}`);
  }
  const [descr, fortran, shape] = ["descr", "fortran_order", "shape"].map((k) => fields.get(k));
  if (!(descr instanceof Quoted)) {
    return refuse("its elements must be of one simple type: got a record");
  }
  if (typeof fortran !== "boolean") return refuse("fortran_order must be True or False");
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size))) {
    return refuse("its shape must be a tuple of whole numbers");
  }
  if (shape.length > maxDims) {
    refuse(`it may have at most ${maxDims} dimensions: got ${shape.length}`);
  }
  // Sizes of 0 do not hide what the others would need
  const count = shape.reduce((product, size) => product * Math.max(size, 1), 1);
  if (!Number.isSafeInteger(count * 8)) refuse(`its shape (${shape.join(", ")}) is too large`);
  return { descr: descr.text, fortran, shape };
}

function show(token: unknown): string {
  return token instanceof Quoted ? token.text : String(token ?? "its end");
}

/**
 * Writes a header, padded so that the elements begin at a multiple of 64, as NumPy does.
 *
 * @param descr element type as NumPy writes it
 * @param fortran whether elements are in column-major order
 * @param shape sizes
 * @returns magic, version, length, text
 */
export function headerText(
  descr: string,
  fortran: boolean,
  shape: readonly number[],
): Uint8Array<ArrayBuffer> {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const order = fortran ? "True" : "False";
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${sizes}), }`;
  const total = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = new Uint8Array(total).fill(0x20);
  header.set([...magic, 1, 0]);
  new DataView(header.buffer).setUint16(8, total - 10, true);
  header.set(new TextEncoder().encode(text), 10);
  header[total - 1] = 0x0a;
  return header;
}
