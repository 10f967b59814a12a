import { assertEquals, assertThrows } from "@std/assert";
import { type DType, ShapeError, type Tensor, tensor } from "../../core/mod.ts";
import { tril, triu } from "../../core/tensor/triangle.ts";
import {
  assertClose,
  compareWithReference,
  evaluate,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";

const ops = { triu, tril };
const kept = {
  triu: (i: number, j: number, diagonal: number) => j - i >= diagonal,
  tril: (i: number, j: number, diagonal: number) => j - i <= diagonal,
};
const shapes = [[1, 1], [3, 5], [5, 3], [2, 3, 4, 4], [0, 3], [3, 0], [0, 2, 2], [131, 67]];
const diagonals = [0, 1, -1, 2, -4, 100, -100];

/** The triangle by its definition. */
function expected(
  op: "triu" | "tril",
  data: ArrayLike<number>,
  shape: readonly number[],
  diagonal: number,
): Float64Array {
  const [m, n] = shape.slice(-2);
  return Float64Array.from(
    data,
    (v, at) => kept[op](Math.floor(at / n) % m, at % n, diagonal) ? v : 0,
  );
}

for (const op of ["triu", "tril"] as const) {
  Deno.test(`${op}() keeps one side of each diagonal and its gradient`, async () => {
    for (const shape of shapes) {
      for (const diagonal of diagonals) {
        const x = sample(shape, 3);
        const got = await evaluate(reference, (t) => ops[op](t, diagonal), [x]);
        const label = `${op} of [${shape}] from ${diagonal}`;
        assertEquals(got.shape, shape);
        assertClose(got.output, expected(op, x.data, shape, diagonal), 0, label);
        const g = randomValues(x.data.length, 99);
        assertClose(got.gradients[0]!, expected(op, g, shape, diagonal), 0, `${label}, gradient`);
      }
    }
    await gradcheck((t) => ops[op](t, 1).square(), [sample([3, 4], 5)], op, { secondOrder: true });
  });

  Deno.test(`${op}() keeps the dtype, and drops NaN and infinities`, async () => {
    const dtypes: DType[] = ["f32", "f16", "i32", "u32", "bool"];
    for (const dtype of dtypes) {
      const t = ops[op](tensor([[1, 1], [1, 1]], { device: reference, dtype }));
      assertEquals(t.dtype, dtype);
      assertEquals(Array.from(await t.data()), Array.from(expected(op, [1, 1, 1, 1], [2, 2], 0)));
    }
    const bad = [[1, NaN], [Infinity, -1]];
    const t = ops[op](tensor(bad, { device: reference }), op === "triu" ? 2 : -2);
    assertEquals(await t.array(), [[0, 0], [0, 0]]);
  });

  testOnDevices({
    name: `${op}() gives the bits of the reference`,
    fn: async (device) => {
      const run = (diagonal: number) => (t: Tensor) => ops[op](t, diagonal);
      for (const shape of shapes) {
        for (const diagonal of [0, -1, 2]) {
          await compareWithReference(
            device,
            run(diagonal),
            [sample(shape, 4)],
            0,
            `${op} ${shape}`,
          );
        }
      }
      const views = (t: Tensor) => ops[op](t.transpose(0, 1).slice({ start: 1 }, { step: 2 }), 1);
      await compareWithReference(device, views, [sample([7, 9], 6)], 0, `${op} of a view`);
      for (const dtype of ["i32", "u32", "bool"] as const) {
        const x = { shape: [3, 4], data: new Float64Array(12).fill(1), dtype };
        await compareWithReference(device, run(1), [x], 0, `${op} of ${dtype}`);
      }
    },
  });

  Deno.test(`${op}() refuses vectors and broken diagonals`, () => {
    const x = tensor([1, 2], { device: reference });
    assertThrows(
      () => ops[op](x),
      ShapeError,
      `Cannot ${op} [2]: expected at least two axes`,
    );
    assertThrows(() => ops[op](x.reshape([1, 2]), 0.5), RangeError, "diagonal 0.5");
  });
}
