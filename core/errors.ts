/** Error classes that a caller may want to catch. */

export { DTypeError, ShapeError, showShape } from "../kernels/errors.ts";

/** No device of the kind asked for can be had. */
export class DeviceError extends Error {
  /** Name of the class. */
  override readonly name: string = "DeviceError";
}

/** The device is gone: work and buffers on it are lost. */
export class DeviceLostError extends DeviceError {
  /** Name of the class. */
  override readonly name = "DeviceLostError";
}

/** The device reported an error, or dropped work: results since then cannot be trusted. */
export class GpuFaultError extends DeviceError {
  /** Name of the class. */
  override readonly name = "GpuFaultError";
}

/** An allocation would exceed the byte budget. */
export class OutOfMemoryError extends DeviceError {
  /** Name of the class. */
  override readonly name = "OutOfMemoryError";
  /**
   * An error with the sizes.
   *
   * @param message the whole story
   * @param bytesRequested size of the allocation
   * @param bytesLive bytes in use before it
   */
  constructor(
    message: string,
    /** Size of the allocation. */
    readonly bytesRequested: number,
    /** Bytes in use before it. */
    readonly bytesLive: number,
  ) {
    super(message);
  }
}

/** A gradient that cannot be computed: second backward, a root that is not a scalar, changed saved values. */
export class AutogradError extends Error {
  /** Name of the class. */
  override readonly name = "AutogradError";
}

/** A step that cannot be captured: it reads a value, or keeps a tensor that it made. */
export class CaptureError extends Error {
  /** Name of the class. */
  override readonly name = "CaptureError";
}

/** A captured step whose results differ from those of the same step run op by op. */
export class ReplayMismatchError extends Error {
  /** Name of the class. */
  override readonly name = "ReplayMismatchError";
}
