import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { OutOfMemoryError } from "../../../../core/mod.ts";
import { ALIGNMENT, type Block, Heap, PAGE } from "../../../../core/backend/cpu/heap.ts";

function newHeap(budget = 2 ** 32, maxPages = 4096): Heap {
  return new Heap(new WebAssembly.Memory({ initial: 1, maximum: maxPages }), { budget, maxPages });
}

/**
 * Fails unless the blocks cover the memory but for its first and last line, without gap or overlap, and no two free ones touch.
 */
function checkBlocks(heap: Heap): void {
  let end = ALIGNMENT;
  let before: Block | null = null;
  for (const block of heap.blocks()) {
    assertEquals(block.address, end);
    assertEquals([block.address % ALIGNMENT, block.bytes % ALIGNMENT], [0, 0]);
    assert(block.bytes > 0);
    assert(block.label !== null || before === null || before.label !== null, "free neighbours");
    assert(block.before === before && (before === null || before.after === block), "broken links");
    end = block.address + block.bytes;
    before = block;
  }
  assertEquals(end, heap.views.bytes.length - ALIGNMENT);
}

/** Requests as a model sees them: what is in use, and what was written there. */
class Model {
  readonly heap = newHeap();
  readonly used: { block: Block; bytes: number; mark: number }[] = [];
  #marks = 0;

  take(bytes: number, own: boolean): void {
    const block = own ? this.heap.reserve(bytes, "own") : this.heap.take(bytes, "test");
    assert(block.bytes >= bytes && block.bytes < bytes + 2 * ALIGNMENT);
    const mark = this.#marks = (this.#marks + 1) % 251;
    this.heap.views.bytes.fill(mark, block.address, block.address + bytes);
    this.used.push({ block, bytes, mark });
  }

  give(index: number): void {
    if (this.used.length === 0) return;
    const [{ block, bytes, mark }] = this.used.splice(index % this.used.length, 1);
    const content = this.heap.views.bytes.subarray(block.address, block.address + bytes);
    assert(content.every((byte) => byte === mark), "content changed while it was in use");
    this.heap.give(block);
  }

  check(): void {
    checkBlocks(this.heap);
    const counted = this.used.filter(({ block }) => block.counted);
    const { liveBuffers, liveBytes, pooledBytes } = this.heap.memory();
    assertEquals(liveBuffers, counted.length);
    assertEquals(liveBytes, counted.reduce((sum, { block }) => sum + block.bytes, 0));
    assert(pooledBytes >= 0);
  }
}

Deno.test("the heap never overlaps blocks, keeps their content, and joins free neighbours", () => {
  const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 3 * PAGE }));
  const request = fc.record({
    give: fc.boolean(),
    own: fc.boolean(),
    bytes: size,
    index: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 60 }), (requests) => {
      const model = new Model();
      for (const { give, own, bytes, index } of requests) {
        if (give) model.give(index);
        else model.take(bytes, own);
        model.check();
      }
      while (model.used.length > 0) model.give(7);
      model.check();
      assertEquals(model.heap.blocks().length, 1);
    }),
    { numRuns: 100 },
  );
});

Deno.test("the heap takes the smallest gap that fits, the lowest of equal ones", () => {
  const heap = newHeap();
  const sizes = [640, 64, 128, 64, 256, 64, 128, 64];
  const blocks = sizes.map((bytes) => heap.take(bytes, "test"));
  for (const i of [0, 2, 4, 6]) heap.give(blocks[i]);
  assertEquals(heap.take(100, "test").address, blocks[2].address);
  assertEquals(heap.take(128, "test").address, blocks[6].address);
  assertEquals(heap.take(129, "test").address, blocks[4].address);
  assertEquals(heap.take(512, "test").address, blocks[0].address);
});

Deno.test("the heap counts blocks in use, kept and at the peak, and its own apart", () => {
  const heap = newHeap();
  heap.reserve(100, "own");
  const [a, b] = [heap.take(1, "a"), heap.take(1000, "b")];
  assertEquals(heap.memory(), { liveBuffers: 2, liveBytes: 1088, pooledBytes: 0, peakBytes: 1088 });
  heap.give(b);
  assertEquals(heap.memory(), {
    liveBuffers: 1,
    liveBytes: 64,
    pooledBytes: 1024,
    peakBytes: 1088,
  });
  heap.give(a);
  heap.take(64, "again");
  assertEquals(heap.memory(), {
    liveBuffers: 1,
    liveBytes: 64,
    pooledBytes: 1024,
    peakBytes: 1088,
  });
});

Deno.test("a heap beyond its budget says what is in use, and stays as it is", () => {
  const heap = newHeap(2 ** 20);
  const kept = heap.take(2 ** 19, "weights");
  heap.take(2 ** 18, "batch");
  const before = heap.memory();
  const error = assertThrows(() => heap.take(2 ** 19, "gradient"), OutOfMemoryError);
  assertEquals(
    error.message,
    'Cannot allocate 524288 bytes for "gradient" within the budget of 1048576: 786432 are in use, ' +
      "786432 at the peak; largest: weights 0.5 MiB, batch 0.3 MiB; a smaller batch or a larger " +
      "memoryBudget would help",
  );
  assertEquals([error.bytesRequested, error.bytesLive], [2 ** 19, 786432]);
  assertEquals(heap.memory(), before);
  heap.give(kept);
  heap.take(2 ** 19, "gradient");
  checkBlocks(heap);
});

Deno.test("a heap whose memory cannot grow any more says so, whatever the budget", () => {
  const heap = newHeap(2 ** 40, 16);
  heap.take(8 * PAGE, "weights");
  const error = assertThrows(() => heap.take(8 * PAGE, "batch"), OutOfMemoryError);
  assertEquals(
    error.message,
    'Cannot allocate 524288 bytes for "batch": one WebAssembly memory holds at most 1048576, of ' +
      "which 1048576 could be had; 524288 are in use, 524288 at the peak; largest: weights 0.5 MiB; " +
      "a smaller batch would help",
  );
  // What is left can still be had.
  heap.take(8 * PAGE - 2 * ALIGNMENT, "batch");
  checkBlocks(heap);
});

Deno.test("a block that is given back twice is an internal error", () => {
  const heap = newHeap();
  const [a, b] = [heap.take(64, "a"), heap.take(64, "b")];
  heap.give(a);
  assertThrows(() => heap.give(a), Error, "internal: the block at 64 was given back twice");
  // Also where the block has been joined with others or taken anew.
  heap.give(b);
  assertThrows(() => heap.give(b), Error, "given back twice");
  heap.take(64, "c");
  assertThrows(() => heap.give(a), Error, "given back twice");
  checkBlocks(heap);
});

Deno.test("a memory grows by large steps, and arrays over it are made anew", () => {
  const heap = newHeap(2 ** 32, 65536);
  const first = heap.take(PAGE, "first");
  const bytes = heap.views.bytes.length;
  assertEquals(bytes, 1025 * PAGE);
  heap.views.f32[first.address / 4] = 5;
  heap.take(1024 * PAGE, "second");
  assertEquals(heap.views.bytes.length, bytes + 1024 * PAGE);
  assertEquals(heap.pieces, 3);
  assertEquals(heap.views.f32[first.address / 4], 5);
});
