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
  const { fieldLength = 2 ** 20, rowLength = 2 ** 24, columns = 10_000 } = limits;
  const [quote, feed, split] = ['"', "\n", separator].map((char) => char.charCodeAt(0));
  const lines: number[] = [];
  let [line, rowLine, rowStart, fieldStart, fields] = [1, 1, 0, 0, 1];
  let quoted = false;

  function endField(at: number): void {
    if (at - fieldStart > fieldLength) {
      throw new CsvError(
        `${what} as a field may have at most ${fieldLength} characters: ` +
          `got ${at - fieldStart} on line ${rowLine}`,
        rowLine,
      );
    }
    fieldStart = at + 1;
  }

  function endRow(at: number): void {
    endField(at);
    if (at - rowStart > rowLength) {
      throw new CsvError(
        `${what} as a row may have at most ${rowLength} characters: ` +
          `got ${at - rowStart} on line ${rowLine}`,
        rowLine,
      );
    }
    const length = at > rowStart && text[at - 1] === "\r" ? at - rowStart - 1 : at - rowStart;
    if (length > 0) lines.push(rowLine);
    rowStart = at + 1;
    fields = 1;
  }

  for (let at = text.startsWith("\ufeff") ? 1 : 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0) throw new CsvError(`${what} as it has a NUL character on line ${line}`, line);
    if (code === quote) {
      quoted = !quoted;
    } else if (code === feed) {
      line++;
      if (quoted) continue;
      endRow(at);
      rowLine = line;
    } else if (code === split && !quoted) {
      endField(at);
      if (++fields > columns) {
        throw new CsvError(
          `${what} as a row may have at most ${columns} fields: got more on line ${rowLine}`,
          rowLine,
        );
      }
    }
  }
  endRow(text.length);
  return lines;
}
