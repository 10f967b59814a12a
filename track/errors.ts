/** The errors of everything that the tracker could not write or read. */

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
  override readonly name: string = "TrackError";
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

/**
 * Why a checkpoint could not be used.
 *
 * `absent`: there is none, or not the one asked for. `damaged`: its bytes are not those that were
 * written, or no checkpoint's. `newer`: intact, but of a later version of the layout. `unreadable`
 * and `unwritable`: the system refused, as for want of permission or space.
 */
export type CheckpointFault = "absent" | "damaged" | "newer" | "unreadable" | "unwritable";

/** What a `CheckpointError` carries beside its message. */
export interface CheckpointErrorOptions extends TrackErrorOptions {
  /** Why the checkpoint could not be used. */
  reason: CheckpointFault;
  /** The tensor at fault, where it is one. */
  tensor?: string;
  /** Where in the file the part at fault begins, in bytes. */
  offset?: number;
}

/** A checkpoint that could not be saved or loaded; `path` is its file, or the folder. */
export class CheckpointError extends TrackError {
  /** The name of the class. */
  override readonly name: string = "CheckpointError";
  /** Why the checkpoint could not be used. */
  readonly reason: CheckpointFault;
  /** The tensor at fault, where it is one. */
  readonly tensor: string | undefined;
  /** Where in the file the part at fault begins, in bytes, where it is known. */
  readonly offset: number | undefined;

  /**
   * Makes the error.
   *
   * @param message one sentence: what could not be done, to which file, why
   * @param options file, reason, tensor, offset, the system's code and the cause
   */
  constructor(message: string, options: CheckpointErrorOptions) {
    super(message, options);
    this.reason = options.reason;
    this.tensor = options.tensor;
    this.offset = options.offset;
  }
}

/** A `CheckpointError` `Cannot <action> <path>: <the system's reason>`. */
export function checkpointError(
  action: string,
  path: string,
  cause: unknown,
  reason: "unreadable" | "unwritable",
): CheckpointError {
  const code = codeOf(cause);
  return new CheckpointError(`Cannot ${action} ${path}: ${reasonOf(cause)}`, {
    path,
    reason,
    code,
    cause,
  });
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
