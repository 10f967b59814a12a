import { assertEquals, assertThrows } from "@std/assert";
import {
  crossEntropy,
  type CrossEntropyOptions,
  type Device,
  jit,
  type Tensor,
  tensor,
} from "../../core/mod.ts";
import {
  assertClose,
  compareWithReference,
  devices,
  gradcheck,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";

const LOGITS = [[0.5, -1.25, 2], [1.5, 0.25, -0.75]];
const TARGETS = [[0.25, 0.5, 0.25], [0, 0.875, 0.125]];

/** Losses and gradients of torch.nn.functional.cross_entropy, PyTorch 1.13.1 in float64. */
const cases: readonly [string, (d: Device) => CrossEntropyOptions, number, readonly number[]][] = [
  ["plain", () => ({}), 1.9691472962546284, [
    -0.03658990894627785,
    -0.2346366298367818,
    0.27122653878305963,
    0.35922017057553246,
    -0.3345816980011742,
    -0.024638472574358243,
  ]],
  [
    "smoothed and weighted",
    (device) => ({ labelSmoothing: 0.1, weight: tensor([0.5, 2, 1.25], { device }) }),
    3.368166480108091,
    [
      0.06084848334913497,
      -0.4615365519142675,
      0.40068806856513256,
      0.6528562931322561,
      -0.6313993337167446,
      -0.021456959415511484,
    ],
  ],
  [
    "weighted sum",
    (device) => ({ reduction: "sum", weight: tensor([0.5, 2, 1.25], { device }) }),
    6.9413012623916925,
    [
      0.12917901177945118,
      -0.9558303107807476,
      0.8266512990012964,
      1.3695269003192174,
      -1.3576239736294766,
      -0.011902926689740802,
    ],
  ],
];

for (const device of devices) {
  Deno.test(`crossEntropy() takes probabilities as PyTorch does (${device.kind})`, async () => {
    for (const [name, options, loss, gradient] of cases) {
      const logits = tensor(LOGITS, { device, requiresGrad: true });
      const result = crossEntropy(logits, tensor(TARGETS, { device }), options(device));
      result.backward();
      const bounds = device === reference ? 1e-12 : 4e-6;
      // The weights and probabilities are exact in f32, ε is not.
      assertClose([await result.item()], [loss], bounds, name);
      assertClose(await logits.grad!.data(), gradient, bounds, `${name}, gradient`);
    }
  });

  Deno.test(`crossEntropy() of sure probabilities is that of the class numbers (${device.kind})`, async () => {
    const logits = tensor(LOGITS, { device });
    const numbers = tensor([2, 0], { device, dtype: "i32" });
    const sure = tensor([[0, 0, 1], [1, 0, 0]], { device });
    const step = jit((logits: Tensor, targets: Tensor) =>
      crossEntropy(logits, targets, { reduction: "none", labelSmoothing: 0.25 })
    );
    const [a, b] = [step(logits, numbers), step(logits, sure)];
    assertClose(await b.data(), await a.data(), 1e-6);
  });
}

Deno.test("crossEntropy() with probabilities has right gradients, for images and their probabilities too", async () => {
  const shape = [2, 3, 2, 2];
  const samples = [sample(shape, 1), sample(shape, 2, 0, 1)];
  const fn = (x: Tensor, p: Tensor) => crossEntropy(x, p, { labelSmoothing: 0.1 });
  await gradcheck(fn, samples, "soft cross-entropy", { secondOrder: true });
});

testOnDevices({
  name: "crossEntropy() with probabilities agrees with the reference",
  fn: async (device) => {
    for (const shape of [[5], [7, 3], [2, 4, 3], [1, 1], [0, 3]]) {
      const samples = [sample(shape, 3, -4, 4), sample(shape, 4, 0, 1)];
      for (const reduction of ["none", "sum"] as const) {
        const fn = (x: Tensor, p: Tensor) => crossEntropy(x, p, { reduction });
        await compareWithReference(device, fn, samples, 4e-6, `[${shape}], ${reduction}`);
      }
    }
  },
});

Deno.test("crossEntropy() with probabilities refuses what does not fit", () => {
  const x = tensor(LOGITS, { device: reference });
  const p = tensor(TARGETS, { device: reference });
  assertThrows(() => crossEntropy(x, p.slice({ start: 1 })), RangeError, "[2, 3] and [1, 3]");
  assertThrows(() => crossEntropy(x, p, { ignoreIndex: 1 }), RangeError, "no ignoreIndex");
  assertThrows(() => crossEntropy(x.to("i32"), p), TypeError, "expected logits in f32 or f16");
  assertEquals(crossEntropy(x, p, { reduction: "none" }).shape, [2]);
});
