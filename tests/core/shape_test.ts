import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type Tensor, tensor } from "../../core/mod.ts";
import { isAligned, mergeAxes, operandOf, residualOf } from "../../core/tensor/launch.ts";
import {
  axesOf,
  axisOf,
  broadcastShapes,
  broadcastStrides,
  contiguousStrides,
  isContiguous,
  isDense,
  memoryOrder,
  resolveShape,
  viewStrides,
} from "../../core/tensor/shape.ts";
import { reference } from "../util.ts";

const fixed = { seed: 20_251, numRuns: 400 };

interface Layout {
  readonly shape: number[];
  readonly strides: number[];
  readonly offset: number;
}

/** Every address in row-major order, by counting coordinates up one by one. */
function addresses({ shape, strides, offset }: Layout): number[] {
  let points: number[][] = [[]];
  for (const n of shape) {
    points = points.flatMap((p) => Array.from({ length: n }, (_, i) => [...p, i]));
  }
  return points.map((p) => p.reduce((at, i, d) => at + i * strides[d], offset));
}

const size = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 4 }) }, {
  weight: 1,
  arbitrary: fc.constant(0),
});

/** A dense tensor seen through a permutation, strided windows, reversed axes and repeated axes. */
const layouts: fc.Arbitrary<Layout> = fc.array(size, { maxLength: 4 }).chain((shape) =>
  fc.tuple(
    fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
    fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 3 }), fc.boolean(), fc.nat(5)), {
      minLength: shape.length,
      maxLength: shape.length,
    }),
  ).map(([order, windows]) => {
    const dense = contiguousStrides(shape);
    const out = { shape: [] as number[], strides: [] as number[], offset: 0 };
    order.forEach((d, i) => {
      const [start, step, reversed, repeat] = windows[i];
      const from = Math.min(start, shape[d]);
      const count = Math.ceil((shape[d] - from) / step);
      const back = reversed && count > 0;
      out.shape.push(count === 1 && repeat > 1 ? repeat : count);
      out.strides.push(count === 1 && repeat > 1 ? 0 : dense[d] * step * (back ? -1 : 1));
      out.offset += dense[d] * (back ? from + (count - 1) * step : from);
    });
    return out;
  })
);

/** A shape of the same number of elements, from its prime factors and some ones. */
function reshapes(shape: readonly number[]): fc.Arbitrary<number[]> {
  const total = shape.reduce((a, b) => a * b, 1);
  if (total === 0) return fc.constantFrom([0], [2, 0], [0, 3, 1]);
  const factors: number[] = [];
  for (let rest = total, p = 2; rest > 1; p++) {
    for (; rest % p === 0; rest /= p) factors.push(p);
  }
  return fc.tuple(
    fc.shuffledSubarray(factors, { minLength: factors.length }),
    fc.array(fc.boolean(), { minLength: factors.length, maxLength: factors.length }),
    fc.array(fc.nat(6), { maxLength: 2 }),
  ).map(([shuffled, joins, ones]) => {
    const out: number[] = [];
    shuffled.forEach((p, i) => {
      if (joins[i] && out.length > 0) out[out.length - 1] *= p;
      else out.push(p);
    });
    ones.forEach((at) => out.splice(Math.min(at, out.length), 0, 1));
    return out;
  });
}

/** The only strides that could give these addresses under a shape, if any do. */
function stridesFrom(list: readonly number[], shape: readonly number[]): number[] | null {
  const steps = contiguousStrides(shape);
  const strides = shape.map((n, d) => n > 1 ? list[steps[d]] - list[0] : 0);
  const again = addresses({ shape: [...shape], strides, offset: list[0] });
  return String(again) === String(list) ? strides : null;
}

Deno.test("viewStrides() addresses the elements of a copy, and gives up only where no strides can", () => {
  let [views, copies] = [0, 0];
  fc.assert(
    fc.property(
      layouts.chain((l) => reshapes(l.shape).map((to) => [l, to] as const)),
      ([layout, to]) => {
        const want = addresses(layout);
        const strides = viewStrides(layout.shape, layout.strides, to);
        if (strides === null) {
          copies++;
          assertEquals(stridesFrom(want, to), null, "a view was possible");
        } else {
          views++;
          assertEquals(addresses({ shape: to, strides, offset: layout.offset }), want);
        }
      },
    ),
    { ...fixed, numRuns: 1500 },
  );
  assert(views > 300 && copies > 50, `the shapes are too tame: ${views} views, ${copies} copies`);
});

Deno.test("isContiguous() and isDense() agree with the addresses", () => {
  fc.assert(
    fc.property(layouts, (layout) => {
      const list = addresses({ ...layout, offset: 0 });
      const { shape, strides } = layout;
      if (list.length > 0) {
        assertEquals(isContiguous(shape, strides), list.every((at, i) => at === i));
      }
      // A reversed axis also fills a range, but kernels take it for a strided one.
      const forward = shape.every((n, d) => n === 1 || strides[d] >= 0);
      const filled = [...list].sort((a, b) => a - b).every((at, i) => at === i);
      if (list.length > 0) assertEquals(isDense(shape, strides), forward && filled);
    }),
    fixed,
  );
});

Deno.test("memoryOrder() puts dense axes into row-major order", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 }).chain((shape) =>
        fc.tuple(
          fc.constant(shape),
          fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
        )
      ),
      ([shape, order]) => {
        const dense = contiguousStrides(shape);
        const permuted = order.map((d) => shape[d]);
        const strides = order.map((d) => dense[d]);
        const back = memoryOrder(permuted, strides);
        assertEquals([...back].sort(), [...shape.keys()]);
        assert(isContiguous(back.map((d) => permuted[d]), back.map((d) => strides[d])));
      },
    ),
    fixed,
  );
});

Deno.test("broadcastShapes() follows NumPy's rule, and says which axis does not fit", () => {
  const shapes = fc.array(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(shapes, (list) => {
      const rank = Math.max(...list.map((s) => s.length));
      const want: number[] = [];
      let fits = true;
      for (let back = 1; back <= rank; back++) {
        const sizes = new Set(list.map((s) => s.at(-back) ?? 1).filter((n) => n !== 1));
        fits &&= sizes.size < 2;
        want.unshift(sizes.size === 0 ? 1 : [...sizes][0]);
      }
      if (fits) assertEquals(broadcastShapes("add", list), want);
      else assertThrows(() => broadcastShapes("add", list), RangeError, "and neither is 1");
    }),
    fixed,
  );
  assertThrows(
    () => broadcastShapes("add", [[2, 3], [4]]),
    RangeError,
    "Cannot add [2, 3] and [4]: axis -1 has sizes 3 and 4",
  );
});

Deno.test("broadcastStrides() repeats the elements of axes of size 1", () => {
  fc.assert(
    fc.property(
      layouts.chain((l) =>
        fc.tuple(
          fc.constant(l),
          fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
          fc.array(fc.integer({ min: 1, max: 3 }), {
            minLength: l.shape.length,
            maxLength: l.shape.length,
          }),
        )
      ),
      ([layout, lead, grown]) => {
        const to = [...lead, ...layout.shape.map((n, d) => n === 1 ? grown[d] : n)];
        const strides = broadcastStrides(layout.shape, layout.strides, to);
        const got = addresses({ shape: to, strides, offset: layout.offset });
        const points = addresses({ shape: to, strides: contiguousStrides(to), offset: 0 });
        const own = contiguousStrides(to);
        const want = points.map((point) =>
          layout.shape.reduce((at, n, d) => {
            const i = Math.floor(point / own[d + lead.length]) % to[d + lead.length];
            return at + (n === 1 ? 0 : i) * layout.strides[d];
          }, layout.offset)
        );
        assertEquals(got, want);
      },
    ),
    fixed,
  );
});

Deno.test("mergeAxes() keeps the addresses of all operands", () => {
  fc.assert(
    fc.property(
      layouts.chain((l) =>
        fc.tuple(
          fc.constant(l),
          fc.array(fc.boolean(), { minLength: l.shape.length, maxLength: l.shape.length }),
        )
      ),
      ([{ shape, strides }, repeated]) => {
        const operands = [
          strides,
          contiguousStrides(shape),
          contiguousStrides(shape).map((s, d) => repeated[d] ? 0 : s),
        ];
        const merged = mergeAxes(shape, operands);
        operands.forEach((s, n) =>
          assertEquals(
            addresses({ shape: merged.shape, strides: merged.operands[n], offset: 0 }),
            addresses({ shape, strides: s, offset: 0 }),
          )
        );
      },
    ),
    fixed,
  );
  assertEquals(mergeAxes([2, 3, 4], [[12, 4, 1], [12, 4, 1]]).shape, [24]);
  assertEquals(mergeAxes([2, 3, 4], [[12, 4, 1], [0, 4, 1]]).shape, [2, 12]);
});

Deno.test("operandOf() binds an aligned range that holds every element of a view", () => {
  const base = tensor(new Float64Array(300), { device: reference, shape: [300] });
  fc.assert(
    fc.property(layouts, fc.nat(200), (layout, shift) => {
      if (layout.shape.includes(0)) return;
      const view = base.alias({ ...layout, offset: layout.offset + shift }) as Tensor;
      const { offset, size } = operandOf(view);
      const list = addresses({ ...layout, offset: residualOf(view) });
      assertEquals(offset % 64, 0);
      assertEquals(residualOf(view), layout.offset + shift - offset);
      assertEquals(isAligned(view), (layout.offset + shift) % 64 === 0);
      assert(Math.min(...list) >= 0 && Math.min(...list) < 64 && Math.max(...list) === size - 1);
    }),
    fixed,
  );
});

Deno.test("resolveShape() fills in one -1, and refuses sizes that do not fit", () => {
  assertEquals(resolveShape([2, 6], [3, -1]), [3, 4]);
  assertEquals(resolveShape([], [-1]), [1]);
  assertEquals(resolveShape([0, 4], [-1, 4]), [0, 4]);
  for (const to of [[5], [-1, 5], [-1, -1], [-2, -6], [1.5, 8], [-1, 0]]) {
    assertThrows(() => resolveShape([2, 6], to), RangeError, "Cannot reshape [2, 6] to");
  }
});

Deno.test("axisOf() and axesOf() count from the end, and refuse what is no axis", () => {
  assertEquals([axisOf("sum", -1, 3), axisOf("sum", 0, 3)], [2, 0]);
  assertEquals([axesOf("sum", null, 3), axesOf("sum", [-1, 0], 3)], [[0, 1, 2], [0, 2]]);
  assertThrows(() => axisOf("sum", 3, 3), RangeError, "expected an integer from -3 to 2");
  assertThrows(() => axisOf("sum", 0.5, 3), RangeError, "Cannot sum along dim 0.5");
  assertThrows(() => axesOf("sum", [1, -2], 3), RangeError, "an axis is named twice");
});
