import {
  autocast,
  conv2d,
  convTranspose2d,
  Device,
  grad,
  jit,
  linear,
  LossScaler,
  matmul,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import { autocastDType } from "../../core/tensor/autocast.ts";
import { ReferenceBackend } from "../../core/backend/reference.ts";
import { SGD } from "../../core/optim/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose, randomValues, reference, testOnDevices } from "../util.ts";
import { devices } from "./devices.ts";

const halves = devices.filter((d) => d.traits.f16);

/** The device keeps 11 bits of a stored f16, the reference all. */
const stored = (device: Device, x: number) => device === reference ? x : Math.f16round(x);

function leaf(device: Device, shape: number[], seed: number): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(randomValues(size, seed), { device, shape, requiresGrad: true });
}

for (const device of halves) {
  Deno.test(`autocast() gives f16 products of rounded operands (${device.kind})`, async () => {
    const [x, w, b] = [leaf(device, [3, 5], 1), leaf(device, [4, 5], 2), leaf(device, [4], 3)];
    const y = autocast("f16", () => linear(x, w, b));
    assertEquals(y.dtype, "f16");
    const [xv, wv, bv] = await Promise.all([x.data(), w.data(), b.data()]);
    const want = Array.from({ length: 12 }, (_, i) => {
      const [row, column] = [Math.floor(i / 4), i % 4];
      let sum: number = bv[column];
      for (let k = 0; k < 5; k++) {
        sum += stored(device, xv[row * 5 + k]) * stored(device, wv[column * 5 + k]);
      }
      return stored(device, sum);
    });
    assertClose(await y.data(), want, device === reference ? 1e-12 : 1e-6);
    const plainProduct = await linear(x, w, b).data();
    if (device !== reference) assert(want.some((v, i) => v !== plainProduct[i]));

    const product = autocast("f16", () => matmul(x, w.t()));
    assertEquals([product.dtype, matmul(x, w.t()).dtype], ["f16", "f32"]);
    assertClose((await product.data()).map((v, i) => v + bv[i % 4]), want, 2e-3);
  });

  Deno.test(`autocast() gives gradients in f32 to parameters in f32 (${device.kind})`, async () => {
    const x = tensor(randomValues(2 * 3 * 6 * 6, 1), { device, shape: [2, 3, 6, 6] });
    const [w, b] = [leaf(device, [4, 3, 3, 3], 2), leaf(device, [4], 3)];
    const v = leaf(device, [4, 2, 2, 2], 4);
    const forward = () => convTranspose2d(conv2d(x, w, b, { padding: 1 }).relu(), v, null);
    const mixed = autocast("f16", forward);
    assertEquals(mixed.dtype, "f16");
    const got = grad(mixed.to("f32").square().mean(), [w, b, v]);
    const full = forward();
    assertEquals(full.dtype, "f32");
    const want = grad(full.square().mean(), [w, b, v]);
    for (const [i, gradient] of got.entries()) {
      assertEquals(gradient.dtype, "f32");
      const bound = device === reference ? 1e-12 : 4e-3;
      assertClose(await gradient.data(), await want[i].data(), bound, `gradient ${i}`);
    }
    // Sums and losses stay in f32.
    assertEquals([mixed.sum().dtype, mixed.mean(0).dtype], ["f32", "f32"]);
  });

  Deno.test(`ten steps in f16 follow the formulas, overflow included (${device.kind})`, async () => {
    const [rows, ins, outs] = [6, 7, 5];
    const xs = randomValues(rows * ins, 1);
    const ts = randomValues(rows * outs, 2, -2, 2);
    const start = randomValues(outs * ins, 3);
    const options = { initScale: 2 ** 24, growthInterval: 3, growthFactor: 4 };
    const [lr, mu] = [0.25, 0.5];
    const weight = tensor(start, { device, shape: [outs, ins], requiresGrad: true });
    const bias = tensor(new Float64Array(outs), { device, requiresGrad: true });
    using optimizer = new SGD([weight, bias], { lr, momentum: mu });
    using scaler = new LossScaler({ ...options, device });
    const scales: Tensor[] = [];
    const [x, t] = [
      tensor(xs, { device, shape: [rows, ins] }),
      tensor(ts, { device, shape: [rows, outs] }),
    ];
    const step = jit((x: Tensor, t: Tensor) => {
      optimizer.zeroGrad();
      const y = autocast("f16", () => linear(x, weight, bias).relu());
      scaler.scale(y.to("f32").sub(t).square().mean()).backward();
      scaler.step(optimizer);
      scaler.update();
      return scaler.getScale();
    }, { verify: 3 });
    for (let k = 0; k < 10; k++) scales.push(step(x, t));
    await step.verified();
    assertEquals(step.stats().captures, 1);

    const emulate = (round: (v: number) => number) => {
      const [w, b] = [start.slice(), new Float64Array(outs)];
      const [mw, mb] = [new Float64Array(w.length), new Float64Array(outs)];
      let [scale, good, begun] = [options.initScale, 0, false];
      const trace = Array.from({ length: 10 }, () => {
        const [gw, gb] = [new Float64Array(w.length), new Float64Array(outs)];
        for (let r = 0; r < rows; r++) {
          for (let o = 0; o < outs; o++) {
            let sum = b[o];
            for (let k = 0; k < ins; k++) {
              sum += round(xs[r * ins + k]) * round(w[o * ins + k]);
            }
            const y = Math.max(0, round(sum));
            const at = r * outs + o;
            const g = sum > 0 ? round(2 * (y - ts[at]) / (rows * outs) * scale) : 0;
            gb[o] += g;
            for (let k = 0; k < ins; k++) gw[o * ins + k] += g * round(xs[r * ins + k]);
          }
        }
        gw.forEach((g, i) => gw[i] = round(g));
        if (![...gw, ...gb].every(Number.isFinite)) {
          good = 0;
          return scale *= 0.5;
        }
        const apply = (p: Float64Array, m: Float64Array, g: Float64Array) =>
          p.forEach((_, i) => {
            m[i] = begun ? mu * m[i] + g[i] / scale : g[i] / scale;
            p[i] -= lr * m[i];
          });
        apply(w, mw, gw);
        apply(b, mb, gb);
        begun = true;
        if (++good < options.growthInterval) return scale;
        good = 0;
        return scale *= options.growthFactor;
      });
      return { w, b, trace, skipped: trace.filter((s, i) => s < (trace[i - 1] ?? 2 ** 24)).length };
    };
    const want = emulate((v) => stored(device, v));
    const bound = device === reference ? 1e-12 : 2e-5;
    assertEquals(await Promise.all(scales.map((s) => s.item())), want.trace);
    assertEquals(await optimizer.skippedSteps!.item(), want.skipped);
    assertClose(await weight.data(), want.w, bound, "weight");
    assertClose(await bias.data(), want.b, bound, "bias");
    if (device === reference) return;
    assert(want.skipped > 0 && want.skipped < 8, `${want.skipped} steps skipped`);
    const smooth = emulate((v) => v);
    assert(smooth.w.some((v, i) => Math.abs(v - want.w[i]) > 1e-4), "rounding is visible");
  });

  Deno.test(`jit() takes autocast() as part of the arguments (${device.kind})`, async () => {
    const w = leaf(device, [4, 5], 2);
    const apply = jit((x: Tensor) => linear(x, w));
    const x = tensor(randomValues(10, 1), { device, shape: [2, 5] });
    const types = [
      apply(x).dtype,
      autocast("f16", () => apply(x)).dtype,
      apply(x).dtype,
      autocast("f16", () => apply(x)).dtype,
    ];
    assertEquals(types, ["f32", "f16", "f32", "f16"]);
    assertEquals(apply.stats().captures, 2);
    await apply(x).data();
  });
}

Deno.test("autocast() nests, and ends with its block and with an error", () => {
  assertEquals(autocastDType(), "f32");
  {
    using _ = autocast("f16");
    assertEquals(autocastDType(), "f16");
    assertEquals(autocast("f32", () => autocastDType()), "f32");
    assertEquals(autocastDType(), "f16");
    assertThrows(() =>
      autocast("f32", () => {
        throw new Error("stop");
      })
    );
    assertEquals(autocastDType(), "f16");
  }
  assertEquals(autocastDType(), "f32");
  assertThrows(() => autocast("f64" as "f16", () => 0), RangeError, "to f64");
});

Deno.test("autocast() says that a device cannot store f16", () => {
  const backend = new ReferenceBackend();
  const traits = { ...backend.traits, f16: false };
  const device = new Device(Object.defineProperty(backend, "traits", { value: traits }));
  const x = tensor([[1]], { device });
  assertThrows(() => autocast("f16", () => linear(x, x)), TypeError, "has no f16 storage");
  assertEquals(linear(x, x).dtype, "f32");
});

testOnDevices({
  name: "f16 tensors take half the memory of f32",
  f16: true,
  fn: (device) => {
    using _ = device.scope();
    const w = tensor(randomValues(64 * 64, 1), { device, shape: [64, 64] });
    const x = tensor(randomValues(4096 * 64, 2), { device, shape: [4096, 64] });
    const bytesOf = (fn: () => Tensor) => {
      const before = device.memory().liveBytes;
      const scope = device.scope();
      const y = fn();
      scope.keep(y);
      scope.close();
      const bytes = device.memory().liveBytes - before;
      y.dispose();
      return bytes;
    };
    const full = bytesOf(() => linear(x, w));
    assertEquals(full, 4096 * 64 * 4);
    assertEquals(bytesOf(() => autocast("f16", () => linear(x, w))), full / 2);
  },
});
