/** Free blocks in the order of their sizes, so that the smallest one that fits is found by halving. */

/** What is kept: a range of memory. */
interface Range {
  readonly address: number;
  readonly bytes: number;
}

/** Free blocks; of equal ones the lowest address comes first, which keeps the end of the memory free. */
export class FreeBlocks<T extends Range> {
  readonly #sorted: T[] = [];

  /** Number of blocks. */
  get count(): number {
    return this.#sorted.length;
  }

  /** Adds a block. */
  add(block: T): void {
    this.#sorted.splice(this.#find(block.bytes, block.address), 0, block);
  }

  /** Takes a block out that was added. */
  remove(block: T): void {
    const at = this.#find(block.bytes, block.address);
    if (this.#sorted[at] !== block) {
      throw new Error(`internal: the block at ${block.address} is not free`);
    }
    this.#sorted.splice(at, 1);
  }

  /** Takes the smallest block of at least so many bytes out; null where there is none. */
  takeBest(bytes: number): T | null {
    const at = this.#find(bytes, 0);
    return at < this.#sorted.length ? this.#sorted.splice(at, 1)[0] : null;
  }

  /** Where the first block stands that is not before this size and address. */
  #find(bytes: number, address: number): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#sorted[middle];
      if (other.bytes < bytes || (other.bytes === bytes && other.address < address)) {
        low = middle + 1;
      } else high = middle;
    }
    return low;
  }
}
