/** The error of everything that the tracker could not write or read. */

/** What a `TrackError` carries beside its message. */
export interface TrackErrorOptions {
  /** The file or folder at fault. */
  path: string;
  /** The system's name of the reason, such as "ENOSPC". */
  code?: string;
  /** What the system reported. */
  cause?: unknown;
}

/**
 * A file or folder of a run that could not be written or read.
 *
 * The message says what was being done, to which path, and the system's reason.
 */
export class TrackError extends Error {
  /** The name of the class. */
  override readonly name = "TrackError";
  /** The file or folder at fault. */
  readonly path: string;
  /** The system's name of the reason, such as "ENOSPC" or "EACCES", where it gave one. */
  readonly code: string | undefined;

  /**
   * Makes the error.
   *
   * @param message one sentence: what could not be done, to which path, why
   * @param options the path, the system's code and the cause
   */
  constructor(message: string, options: TrackErrorOptions) {
    super(message, { cause: options.cause });
    this.path = options.path;
    this.code = options.code;
  }
}

/** `Cannot <action> <path>: <reason>[; <note>]`, with the system's error as the cause. */
export function trackError(action: string, path: string, cause: unknown, note = ""): TrackError {
  const details = note === "" ? "" : `; ${note}`;
  return new TrackError(`Cannot ${action} ${path}: ${reasonOf(cause)}${details}`, {
    path,
    code: codeOf(cause),
    cause,
  });
}

/** `ENOSPC: No space left on device (os error 28)`, or the class in place of the code. */
export function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return `${codeOf(cause) ?? cause.name}: ${cause.message}`;
}

function codeOf(cause: unknown): string | undefined {
  const code = (cause as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}
