/**
 * What one thread of the CPU device can do at most, and what the inner loop of its products reaches.
 *
 *   deno task bench:cpu
 *
 * Multiply-adds on twelve vectors in registers are the limit; the tile of `kernels/wasm/sums/tile.ts` reads its operands from the
 * first cache. Both take turns, and the best of many short runs counts, since other programs only take time away.
 */

import { detectFeatures } from "../../core/backend/cpu/features.ts";
import { type Code, countUp, f32x4, get, i32, set, v128 } from "../../kernels/wasm/instructions.ts";
import { ModuleBuilder } from "../../kernels/wasm/module.ts";
import { addProducts, sumsOf, TILE_ROWS, TILE_VECTORS } from "../../kernels/wasm/sums/tile.ts";

const features = { ...detectFeatures(true), maxPages: 16 };
/** Steps of the summed axis of a tile, and turns of a run. */
const DEPTH = 288;
const TURNS = 500;
const ROUNDS = 200;

/** The function (turns) of a module, whose body is made of code for one turn. */
function runner(
  body: (module: ModuleBuilder, fn: ReturnType<ModuleBuilder["function"]>) => Code,
): (turns: number) => void {
  const module = new ModuleBuilder(features);
  const fn = module.function(["i32"], null, "run");
  const turn = fn.local("i32");
  fn.emit(countUp(turn, i32.const(0), get(fn.params[0]), 1, body(module, fn)));
  const memory = new WebAssembly.Memory({ initial: 2, maximum: features.maxPages, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), {
    host: { memory },
  });
  return exports.run as (turns: number) => void;
}

/** As many multiply-adds as a tile has, on values that never leave the registers. */
const inRegisters = runner((_, fn) => {
  const sums = fn.locals(TILE_ROWS * TILE_VECTORS, "v128");
  const [a, b] = fn.locals(2, "v128");
  const step = sums.map((sum) =>
    set(
      sum,
      features.relaxed
        ? f32x4.relaxed_madd(get(a), get(b), get(sum))
        : f32x4.add(f32x4.mul(get(a), get(b)), get(sum)),
    )
  );
  const steps: Code = Array.from({ length: 8 }, () => step);
  return [
    countUp(fn.local("i32"), i32.const(0), i32.const(DEPTH), 8, steps),
    sums.map((sum, n) => v128.store(i32.const(0), get(sum), 16 * n)),
  ];
});

/** A whole tile of a product. */
const tile = runner((_, fn) => {
  const sums = sumsOf(fn, TILE_ROWS, TILE_VECTORS);
  const pointers = fn.locals(TILE_ROWS, "i32");
  const right = fn.local("i32");
  const depth = {
    runs: 1,
    length: DEPTH,
    leftStep: 4,
    leftJump: 0,
    rightStep: 16 * TILE_VECTORS,
    rightJump: 0,
  };
  const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
  return [
    pointers.map((p, r) => set(p, i32.const(65536 + 4 * DEPTH * r))),
    set(right, i32.const(1024)),
    addProducts(fn, sums, places, right, depth, features.relaxed),
    sums.map((row, r) => row.map((sum, g) => v128.store(i32.const(0), get(sum), 32 * r + 16 * g))),
  ];
});

const programs = { "multiply-adds in registers": inRegisters, "tile of a product": tile };
const best = new Map<string, number>();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, run] of Object.entries(programs)) {
    const start = performance.now();
    run(TURNS);
    const ms = performance.now() - start;
    best.set(name, Math.min(best.get(name) ?? Infinity, ms));
  }
}
const flops = 2 * 4 * TILE_ROWS * TILE_VECTORS * DEPTH * TURNS;
for (const [name, ms] of best) {
  console.log(`${name}: ${(flops / ms / 1e6).toFixed(1)} GFLOP/s on one thread`);
}
