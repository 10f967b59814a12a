/** Start and end times of compute passes, on devices with timestamp queries. */

/** Whether passes can be timed on the device. */
export function canTime(device: GPUDevice): boolean {
  return device.features.has("timestamp-query");
}

/** Takes the times of the passes of one encoder after the other. */
export class PassTimes {
  readonly #device: GPUDevice;
  readonly #set: GPUQuerySet;
  readonly #capacity: number;
  #used = 0;

  /**
   * @param device with the feature "timestamp-query"
   * @param capacity passes between two calls of `resolve`, 2048 at most
   */
  constructor(device: GPUDevice, capacity: number) {
    this.#device = device;
    this.#capacity = capacity;
    this.#set = device.createQuerySet({ label: "times", type: "timestamp", count: 2 * capacity });
  }

  /** What the next pass is to be opened with. */
  next(): GPUComputePassTimestampWrites {
    if (this.#used === this.#capacity) throw new Error("internal: no query is left for a pass");
    const at = 2 * this.#used++;
    return {
      querySet: this.#set,
      beginningOfPassWriteIndex: at,
      endOfPassWriteIndex: at + 1,
    };
  }

  /** Writes the times of all passes since the last call into a new buffer: two words of 64 bits for each. */
  resolve(encoder: GPUCommandEncoder): GPUBuffer {
    const buffer = this.#device.createBuffer({
      label: "times",
      size: 16 * this.#used,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    encoder.resolveQuerySet(this.#set, 0, 2 * this.#used, buffer, 0);
    this.#used = 0;
    return buffer;
  }

  /** Gives the queries back. */
  destroy(): void {
    this.#set.destroy();
  }
}

/** Start and duration of a pass in µs. */
export interface PassTime {
  readonly start: number;
  readonly duration: number;
}

/** Times from the words that `resolve` wrote; starts count from `origin`, in ns. */
export function passTimes(data: ArrayBuffer, origin: bigint): PassTime[] {
  const words = new BigUint64Array(data);
  return Array.from({ length: words.length / 2 }, (_, i) => {
    const [from, to] = [words[2 * i], words[2 * i + 1]];
    // A clock that is set back between the two gives no time.
    const duration = to > from ? Number(to - from) / 1000 : 0;
    return { start: Number(from - origin) / 1000, duration };
  });
}

/** The first time among the words, in ns. */
export function firstTime(data: ArrayBuffer): bigint {
  return new BigUint64Array(data, 0, 1)[0];
}
