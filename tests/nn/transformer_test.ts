/** Layers and stacks of transformers. */

import { assertEquals, assertThrows } from "@std/assert";
import { type Device, jit, Key, type Tensor, tensor, zeros } from "../../core/mod.ts";
import {
  LayerNorm,
  type Module,
  TransformerDecoder,
  TransformerDecoderLayer,
  TransformerEncoder,
  TransformerEncoderLayer,
} from "../../nn/mod.ts";
import { type AttentionModuleCase, attentionModuleCases } from "../golden/load_attention.ts";
import { type Bounds, randomValues, reference, testOnDevices } from "../util.ts";
import { assertPass, DIGITS, placeAll, placeInputs } from "./golden.ts";

const [EMBED, HEADS] = [6, 2];

function make({ layer, options }: AttentionModuleCase, device: Device): Module {
  const own = { ...options, device };
  const encoder = () => new TransformerEncoderLayer(EMBED, HEADS, own);
  const decoder = () => new TransformerDecoderLayer(EMBED, HEADS, own);
  switch (layer) {
    case "TransformerEncoderLayer":
      return encoder();
    case "TransformerDecoderLayer":
      return decoder();
    case "TransformerEncoder":
      return new TransformerEncoder(2, encoder, { norm: new LayerNorm(EMBED, { device }) });
    case "TransformerDecoder":
      return new TransformerDecoder(2, decoder);
    default:
      throw new Error(`no module ${layer}`);
  }
}

async function runGolden(device: Device, bounds: Bounds): Promise<void> {
  const cases = attentionModuleCases.filter((c) => c.layer.startsWith("Transformer"));
  for (const { ...one } of cases) {
    const { name, params, masks, training } = one;
    const module = make(one, device).train(training);
    assertEquals(Object.keys(module.stateDict()), Object.keys(params), name);
    module.loadStateDict(placeAll(params, device));
    const inputs = placeInputs(one, device);
    const run = module.forward as (...args: unknown[]) => Tensor;
    const output = run.call(module, ...Object.values(inputs), placeAll(masks, device));
    const leaves = { ...inputs, ...Object.fromEntries(module.namedParameters()) };
    await assertPass(output, one, leaves, bounds, name);
  }
}

Deno.test("transformers give PyTorch's outputs and gradients, on the reference device", () =>
  runGolden(reference, DIGITS));

testOnDevices({
  name: "transformers give PyTorch's outputs and gradients",
  // Two layers and five normalisations behind each other.
  fn: (device) => runGolden(device, { rel: 1e-5, abs: 5e-6 }),
});

testOnDevices({
  name: "captured transformers with dropout do what uncaptured ones do",
  fn: async (device) => {
    const options = { dimFeedforward: 16, batchFirst: true, key: new Key(1), device };
    const twins = [0, 1].map(() =>
      new TransformerEncoder(2, () => new TransformerEncoderLayer(8, 2, options))
    );
    const x = tensor(randomValues(2 * 5 * 8, 1), { shape: [2, 5, 8], dtype: "f32", device });
    const step = (model: TransformerEncoder) => (t: Tensor) => {
      model.zeroGrad();
      const y = model.forward(t, { isCausal: true });
      y.mul(y).mean().backward();
      return [y, ...model.parameters().map((p) => p.grad!.mul(1))];
    };
    const [plain, captured] = [step(twins[0]), jit(step(twins[1]))];
    for (let n = 0; n < 3; n++) {
      const [want, got] = [plain(x), captured(x) as Tensor[]];
      for (const [i, t] of want.entries()) {
        assertEquals(await got[i].data(), await t.data(), `step ${n}, result ${i}`);
      }
    }
  },
});

Deno.test("transformers say what does not fit", () => {
  const device = reference;
  assertThrows(
    () => new TransformerEncoderLayer(6, 4, { device }),
    RangeError,
    "embedDim 6 and 4 heads",
  );
  const activation = "tanh" as "relu";
  assertThrows(
    () => new TransformerDecoderLayer(6, 2, { activation, device }),
    RangeError,
    'Cannot make TransformerDecoderLayer with activation "tanh"',
  );
  assertThrows(
    () => new TransformerEncoder(1.5, () => new TransformerEncoderLayer(6, 2, { device })),
    RangeError,
    "numLayers 1.5",
  );
  const layer = new TransformerEncoderLayer(6, 2, { device });
  const srcMask = zeros([3, 3], { device });
  assertThrows(
    () => layer.forward(zeros([4, 2, 6], { device }), { srcMask }),
    Error,
    "attnMask [3, 3]",
  );
});
