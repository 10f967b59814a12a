import { assert, assertEquals } from "@std/assert";
import {
  block,
  br,
  brIf,
  call,
  countUp,
  drop,
  f32,
  get,
  getGlobal,
  i32,
  ifElse,
  loop,
  ret,
  set,
  setGlobal,
  signed,
  tee,
  typeCode,
  unsigned,
  v128,
} from "../../../kernels/wasm/instructions.ts";
import { ModuleBuilder } from "../../../kernels/wasm/module.ts";
import { features, machine, paramsOf } from "./machine.ts";

Deno.test("LEB128 has as few bytes as each number needs", () => {
  const cases: [number, number[]][] = [
    [0, [0]],
    [127, [127]],
    [128, [0x80, 1]],
    [16383, [0xff, 0x7f]],
    [16384, [0x80, 0x80, 1]],
    [624485, [0xe5, 0x8e, 0x26]],
    [2 ** 32 - 1, [0xff, 0xff, 0xff, 0xff, 0x0f]],
  ];
  for (const [n, bytes] of cases) assertEquals(unsigned(n), bytes, `${n}`);
  const signs: [number, number[]][] = [
    [0, [0]],
    [63, [63]],
    [64, [0xc0, 0]],
    [-1, [0x7f]],
    [-64, [0x40]],
    [-65, [0xbf, 0x7f]],
    [-123456, [0xc0, 0xbb, 0x78]],
    [2 ** 31 - 1, [0xff, 0xff, 0xff, 0xff, 7]],
    [-(2 ** 31), [0x80, 0x80, 0x80, 0x80, 0x78]],
  ];
  for (const [n, bytes] of signs) assertEquals(signed(n), bytes, `${n}`);
});

Deno.test("types have the bytes of the specification", () => {
  const bytes = (["i32", "i64", "f32", "f64", "v128"] as const).map(typeCode);
  assertEquals([...bytes, typeCode(null)], [0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x40]);
});

Deno.test("locals of all types keep apart, in runs of any length", () => {
  const { f } = machine(["i32"], "i32", (fn) => {
    const [x] = fn.params;
    const many = fn.locals(200, "i32");
    const float = fn.local("f32");
    const vector = fn.local("v128");
    const last = fn.local("i32");
    return [
      many.map((local, n) => set(local, i32.add(get(x), i32.const(n)))),
      set(float, f32.const(2)),
      set(vector, v128.const([1, 2, 3, 4])),
      drop(tee(last, i32.const(5))),
      i32.add(get(many[199]), i32.mul(get(last), i32.trunc_sat_f32_s(get(float)))),
    ];
  });
  assertEquals(f(1000), 1000 + 199 + 10);
});

Deno.test("blocks, loops and branches go where they say", () => {
  // The sum of the odd numbers below n, by a loop with a break and a skipped turn.
  const { f } = machine(["i32"], "i32", (fn) => {
    const [n] = fn.params;
    const [at, sum] = fn.locals(2, "i32");
    return [
      block(loop([
        brIf(1, i32.ge_u(get(at), get(n))),
        block([
          brIf(0, i32.eqz(i32.and(get(at), i32.const(1)))),
          set(sum, i32.add(get(sum), get(at))),
        ]),
        set(at, i32.add(get(at), i32.const(1))),
        br(0),
      ])),
      get(sum),
    ];
  });
  assertEquals([f(0), f(1), f(2), f(10)], [0, 0, 1, 25]);
  const early = machine(["i32"], "i32", (fn) => {
    const [x] = paramsOf(fn);
    return [
      ifElse(x, [i32.const(7), ret]),
      ifElse(i32.eqz(x), i32.const(1), i32.const(2), "i32"),
    ];
  });
  assertEquals([early.f(3), early.f(0)], [7, 1]);
});

Deno.test("countUp() takes every number once, and none where there is none", () => {
  const { f } = machine(["i32", "i32"], "i32", (fn) => {
    const [from, until] = paramsOf(fn);
    const [at, seen] = fn.locals(2, "i32");
    const note = set(seen, i32.add(i32.mul(get(seen), i32.const(10)), get(at)));
    return [countUp(at, from, until, 3, note), get(seen)];
  });
  assertEquals([f(1, 8), f(2, 2), f(5, 3), f(0, 1)], [147, 0, 0, 0]);
});

Deno.test("functions call each other, and globals belong to an instance", () => {
  const module = new ModuleBuilder(features);
  const global = module.global();
  const square = module.function(["i32"], "i32");
  const [x] = paramsOf(square);
  square.emit(setGlobal(global, x), i32.mul(x, x));
  const f = module.function(["i32"], "i32", "f");
  f.emit(i32.sub(call(square.index, paramsOf(f)[0]), getGlobal(global)));
  const bytes = module.encode();
  assert(WebAssembly.validate(bytes));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: features.maxPages });
  const made = new WebAssembly.Instance(new WebAssembly.Module(bytes), { host: { memory } });
  assertEquals((made.exports.f as (x: number) => number)(9), 72);
});

Deno.test("a module for shared memory takes only shared memory", () => {
  const module = new ModuleBuilder({ ...features, shared: true });
  module.function([], null, "f");
  const compiled = new WebAssembly.Module(module.encode());
  const memory = (shared: boolean) =>
    new WebAssembly.Memory({ initial: 1, maximum: features.maxPages, shared });
  new WebAssembly.Instance(compiled, { host: { memory: memory(true) } });
  let refused = false;
  try {
    new WebAssembly.Instance(compiled, { host: { memory: memory(false) } });
  } catch {
    refused = true;
  }
  assert(refused);
});
