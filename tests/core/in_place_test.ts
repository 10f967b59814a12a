import { assertEquals, assertThrows } from "@std/assert";
import { noGrad, SGD, tensor } from "../../core/mod.ts";
import { updateInto } from "../../core/tensor/in_place.ts";
import { apply, constant, input } from "../../kernels/expr.ts";
import { devices, reference } from "../util.ts";

for (const device of devices) {
  Deno.test(`updateInto() reads and writes the same elements in one dispatch, on ${device.kind}`, async () => {
    const x = tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], { device, shape: [2, 5] });
    const column = tensor([[10], [100]], { device });
    const before = device.work().dispatches;
    const odd = x.slice(null, { start: 0, step: 2 });
    updateInto("try", odd, apply("mul", input(0), input(1)), [column]);
    assertEquals(device.work().dispatches - before, 1);
    assertEquals(await x.array(), [[10, 2, 30, 4, 50], [600, 7, 800, 9, 1000]]);
  });

  Deno.test(`add_() takes a tensor of the same memory, on ${device.kind}`, async () => {
    const x = tensor([1, 2, 3, 4], { device });
    x.add_(x.flip(0), 10);
    assertEquals(await x.array(), [41, 32, 23, 14]);
    x.copy_(x.flip(0));
    assertEquals(await x.array(), [14, 23, 32, 41]);
  });

  Deno.test(`add_() keeps the dtype of its target, on ${device.kind}`, async () => {
    const x = tensor(new Int32Array([1, 2, 3]), { device });
    x.add_(tensor([0.5, 1.5, 2.5], { device }));
    assertEquals([x.dtype, await x.array()], ["i32", [1, 3, 5]]);
  });

  Deno.test(`backward() adds to a gradient that was set by hand on an optimizer's parameter, on ${device.kind}`, async () => {
    const w = tensor([1, 2], { device, requiresGrad: true });
    using _ = new SGD([w], { lr: 1 });
    w.mul(3).sum().backward();
    w.grad = tensor([5, 5], { device });
    w.mul(6).sum().backward();
    assertEquals(await w.grad!.array(), [11, 11]);
  });
}

Deno.test("updateInto() refuses shapes that do not broadcast, and tensors that autograd needs", () => {
  const x = tensor([1, 2], { device: reference });
  const wide = tensor([[1, 2], [3, 4]], { device: reference });
  const sum = apply("add", input(0), input(1));
  assertThrows(
    () => updateInto("add to", x, sum, [wide]),
    RangeError,
    "Cannot add to a tensor of shape [2]",
  );
  const w = tensor([1, 2], { device: reference, requiresGrad: true });
  assertThrows(() => x.add_(w), Error, "would be lost");
  assertThrows(() => x.copy_(w.mul(2)), Error, "would be lost");
  noGrad(() => x.copy_(w));
  x.requiresGrad = true;
  assertThrows(
    () => updateInto("count", x, apply("add", input(0), constant(1)), []),
    Error,
    "use noGrad()",
  );
  noGrad(() => updateInto("count", x, apply("add", input(0), constant(1)), []));
});
