/** A first look at CSV text: limits before anything is parsed, and the line of every record. */

/** CSV data that cannot be used, with the line where it goes wrong. */
export class CsvError extends SyntaxError {
  /** "CsvError". */
  override readonly name = "CsvError";

  /** Line of the text, from 1; 0 where no line is to blame. */
  readonly line: number;

  /**
   * Makes the error.
   *
   * @param message what is wrong
   * @param line line of the text, from 1
   * @param options the cause
   */
  constructor(message: string, line: number, options?: ErrorOptions) {
    super(message, options);
    this.line = line;
  }
}

/** Most of everything that CSV text may have. */
export interface CsvLimits {
  /** Characters of a field. Default: 1 MiB. */
  readonly fieldLength?: number;
  /** Characters of a row. Default: 16 MiB. */
  readonly rowLength?: number;
  /** Fields of a row. Default: 10,000. */
  readonly columns?: number;
}

/**
 * Walks over CSV text once.
 *
 * @param text the text
 * @param separator character between fields
 * @param limits most of everything
 * @param what how messages begin, as in `Cannot read CSV "a.csv"`
 * @returns for each record the line where it starts, from 1; blank lines are no records
 * @throws {CsvError} when a limit is exceeded, or there is a NUL character
 */
export function scanCsv(
  text: string,
  separator: string,
  limits: CsvLimits,
  what: string,
): number[] {
  return new Scanner(text, limits, what).run(separator.charCodeAt(0));
}

const [quote, feed] = [34, 10];

class Scanner {
  readonly #text: string;
  readonly #limits: Required<CsvLimits>;
  readonly #what: string;
  readonly #lines: number[] = [];
  #rowLine = 1;
  #rowStart = 0;
  #fieldStart = 0;
  #fields = 1;

  constructor(text: string, limits: CsvLimits, what: string) {
    this.#text = text;
    this.#limits = { fieldLength: 2 ** 20, rowLength: 2 ** 24, columns: 10_000, ...limits };
    this.#what = what;
  }

  run(separator: number): number[] {
    const text = this.#text;
    const start = text.startsWith("\ufeff") ? 1 : 0;
    this.#rowStart = this.#fieldStart = start;
    let line = 1;
    let quoted = false;
    for (let at = start; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0) {
        throw new CsvError(`${this.#what} as it has a NUL character on line ${line}`, line);
      } else if (code === quote) {
        quoted = !quoted;
      } else if (code === feed) {
        line++;
        if (!quoted) this.#endRow(at, line);
      } else if (code === separator && !quoted) {
        this.#endField(at);
        if (++this.#fields > this.#limits.columns) {
          this.#reject(`may have at most ${this.#limits.columns} fields: got more`);
        }
      }
    }
    this.#endRow(text.length, line);
    return this.#lines;
  }

  #endField(at: number): void {
    const length = at - this.#fieldStart;
    if (length > this.#limits.fieldLength) {
      const most = this.#limits.fieldLength;
      this.#reject(`may have at most ${most} characters in a field: got ${length}`);
    }
    this.#fieldStart = at + 1;
  }

  #endRow(at: number, nextLine: number): void {
    this.#endField(at);
    const length = at - this.#rowStart;
    if (length > this.#limits.rowLength) {
      this.#reject(`may have at most ${this.#limits.rowLength} characters: got ${length}`);
    }
    const isBlank = length === 0 || (length === 1 && this.#text[this.#rowStart] === "\r");
    if (!isBlank) this.#lines.push(this.#rowLine);
    this.#rowStart = at + 1;
    this.#rowLine = nextLine;
    this.#fields = 1;
  }

  #reject(reason: string): never {
    throw new CsvError(
      `${this.#what} as the row on line ${this.#rowLine} ${reason}`,
      this.#rowLine,
    );
  }
}
