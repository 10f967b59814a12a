/** Vocabularies of characters and bytes, and text files. */

/** A text file that cannot be used, with the line where it goes wrong. */
export class TextError extends SyntaxError {
  /** "TextError". */
  override readonly name = "TextError";

  /** Line of the file, from 1; 0 where no line is to blame. */
  readonly line: number;

  /**
   * Makes the error.
   *
   * @param message what is wrong
   * @param line line of the file, from 1
   * @param options the cause
   */
  constructor(message: string, line: number, options?: ErrorOptions) {
    super(message, options);
    this.line = line;
  }
}

/** Turns text into tokens and back. */
export interface Vocabulary {
  /** Number of tokens; tokens are 0 to `size - 1`. */
  readonly size: number;
  /**
   * Text to tokens.
   *
   * @param text any text
   * @returns tokens
   */
  encode(text: string): Int32Array<ArrayBuffer>;
  /**
   * Tokens to text.
   *
   * @param tokens tokens
   * @returns text
   */
  decode(tokens: ArrayLike<number>): string;
  /**
   * What the vocabulary is restored from.
   *
   * @returns plain data for {@linkcode vocabularyFrom}
   */
  state(): VocabularyState;
}

/** What a vocabulary is restored from. */
export type VocabularyState =
  | { readonly kind: "characters"; readonly characters: readonly string[] }
  | { readonly kind: "bytes" };

/**
 * A vocabulary with a token for each character.
 *
 * Characters are Unicode code points, sorted; a text with others cannot be encoded.
 *
 * @example
 * ```ts
 * import { CharVocabulary } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const vocabulary = CharVocabulary.of("banana");
 * assertEquals([vocabulary.size, vocabulary.characters.join("")], [3, "abn"]);
 * assertEquals([...vocabulary.encode("nab")], [2, 0, 1]);
 * assertEquals(vocabulary.decode([1, 0, 2]), "ban");
 * ```
 */
export class CharVocabulary implements Vocabulary {
  /** The character of each token. */
  readonly characters: readonly string[];
  readonly #tokens: ReadonlyMap<string, number>;

  /**
   * Takes characters in their order.
   *
   * @param characters one code point each, at least one, each once
   * @throws {RangeError} when there is none, one is not a single code point, or there twice
   */
  constructor(characters: readonly string[]) {
    const tokens = new Map<string, number>();
    characters.forEach((character, token) => {
      if (typeof character !== "string" || [...character].length !== 1 || tokens.has(character)) {
        throw new RangeError(
          "Cannot make a vocabulary as characters must be single code points that differ: got " +
            `${JSON.stringify(character)} at index ${token}`,
        );
      }
      tokens.set(character, token);
    });
    if (tokens.size === 0) throw new RangeError("Cannot make a vocabulary of no character");
    this.characters = [...characters];
    this.#tokens = tokens;
  }

  /**
   * The vocabulary of a text.
   *
   * @param text at least one character
   * @returns its characters, sorted by code point
   * @throws {RangeError} when the text is empty
   */
  static of(text: string): CharVocabulary {
    const points = [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
    return new CharVocabulary(points);
  }

  /** Number of characters. */
  get size(): number {
    return this.characters.length;
  }

  /**
   * Text to tokens.
   *
   * @param text characters of this vocabulary
   * @returns one token for each code point
   * @throws {RangeError} when a character is not in the vocabulary
   */
  encode(text: string): Int32Array<ArrayBuffer> {
    const tokens = new Int32Array(text.length);
    let count = 0;
    for (const character of text) {
      const token = this.#tokens.get(character);
      if (token === undefined) {
        throw new RangeError(
          `Cannot encode the text as the vocabulary has no ${JSON.stringify(character)}: got it ` +
            `as character ${count}`,
        );
      }
      tokens[count++] = token;
    }
    return count === tokens.length ? tokens : tokens.slice(0, count);
  }

  /**
   * Tokens to text.
   *
   * @param tokens from 0 to `size - 1`
   * @returns their characters
   * @throws {RangeError} when a token is out of range
   */
  decode(tokens: ArrayLike<number>): string {
    return Array.from(tokens, (token, i) => {
      checkToken(token, i, this.size);
      return this.characters[token];
    }).join("");
  }

  /**
   * What the vocabulary is restored from.
   *
   * @returns plain data for {@linkcode vocabularyFrom}
   */
  state(): VocabularyState {
    return { kind: "characters", characters: [...this.characters] };
  }
}

/**
 * A vocabulary with a token for each byte of UTF-8: 256 tokens for any text.
 *
 * @example
 * ```ts
 * import { ByteVocabulary } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const vocabulary = new ByteVocabulary();
 * assertEquals([...vocabulary.encode("é!")], [0xc3, 0xa9, 0x21]);
 * assertEquals(vocabulary.decode([0xc3, 0xa9, 0x21]), "é!");
 * ```
 */
export class ByteVocabulary implements Vocabulary {
  /** 256. */
  readonly size = 256;

  /**
   * Text to tokens.
   *
   * @param text any text; half a surrogate pair becomes U+FFFD
   * @returns one token for each byte
   */
  encode(text: string): Int32Array<ArrayBuffer> {
    return Int32Array.from(new TextEncoder().encode(text));
  }

  /**
   * Tokens to text.
   *
   * @param tokens from 0 to 255
   * @returns the text; bytes that are not UTF-8 become U+FFFD, as a model may give any
   * @throws {RangeError} when a token is out of range
   */
  decode(tokens: ArrayLike<number>): string {
    const bytes = Uint8Array.from(tokens, (token, i) => {
      checkToken(token, i, 256);
      return token;
    });
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /**
   * What the vocabulary is restored from.
   *
   * @returns plain data for {@linkcode vocabularyFrom}
   */
  state(): VocabularyState {
    return { kind: "bytes" };
  }
}

/**
 * Restores a vocabulary.
 *
 * @param state from a vocabulary's `state`, also after a way through JSON
 * @returns the vocabulary
 * @throws {TypeError} when it is no such state
 * @throws {RangeError} when its characters are invalid
 *
 * @example
 * ```ts
 * import { CharVocabulary, vocabularyFrom } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const json = JSON.stringify(CharVocabulary.of("abc").state());
 * assertEquals(vocabularyFrom(JSON.parse(json)).decode([2, 1, 0]), "cba");
 * ```
 */
export function vocabularyFrom(state: VocabularyState): Vocabulary {
  if (state?.kind === "bytes") return new ByteVocabulary();
  if (state?.kind === "characters" && Array.isArray(state.characters)) {
    return new CharVocabulary(state.characters);
  }
  throw new TypeError(
    'Cannot restore a vocabulary as its kind must be "bytes", or "characters" with a list of ' +
      `them: got ${JSON.stringify(state)?.slice(0, 80)}`,
  );
}

/**
 * Reads a text file in UTF-8.
 *
 * @param path the file
 * @param options `maxBytes`, most bytes of the file. Default: 1 GiB
 * @returns its text without a byte-order mark
 * @throws {Deno.errors.NotFound} when there is no such file
 * @throws {TextError} when it is too long or not valid UTF-8
 */
export async function readText(
  path: string,
  options: { maxBytes?: number } = {},
): Promise<string> {
  const { maxBytes = 2 ** 30 } = options;
  let bytes: Uint8Array;
  try {
    const { size } = await Deno.stat(path);
    if (size > maxBytes) {
      throw new TextError(
        `Cannot read "${path}" as it may have at most ${maxBytes} bytes: got ${size}`,
        0,
      );
    }
    bytes = await Deno.readFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot read "${path}" as there is no such file`, { cause });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new TextError(`Cannot read "${path}" as it is not valid UTF-8`, 0, { cause });
  }
}

function checkToken(token: number, index: number, size: number): void {
  if (Number.isInteger(token) && token >= 0 && token < size) return;
  throw new RangeError(
    `Cannot decode as a token must be a whole number from 0 to ${size - 1}: got ${token} at ` +
      `index ${index}`,
  );
}
