import { Context, Engine, SGD, supervisedStep, type Tensor, tensor } from "../../core/mod.ts";
import {
  crossEntropy,
  Embedding,
  Linear,
  ModelSummaryCallback,
  Sequential,
  summarize,
} from "../../nn/mod.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { reference as device } from "../util.ts";

const model = () => new Sequential(new Embedding(10, 4, { device }), new Linear(4, 3, { device }));

Deno.test("the summary is that of the first batch, written once", async () => {
  const net = model();
  const written: string[] = [];
  const callback = new ModelSummaryCallback({ write: (table) => void written.push(table) });
  const engine = new Engine(
    (_e, _batch: { inputs: unknown }) => {},
    new Context({ model: net, device }),
    { callbacks: [callback] },
  );
  const inputs = tensor([[1, 2, 3]], { dtype: "i32", device });
  assertEquals(callback.summary, null);
  await engine.loop([{ inputs }, { inputs }]);
  await engine.loop([{ inputs }]);
  const want = summarize(net, [inputs]);
  assertEquals([written, callback.summary!.rows], [[`${want}`], want.rows]);
  assertEquals(want.rows[0].outputs, [[1, 3, 3]]);
});

Deno.test("with an input it is written before the first batch, to the depth asked for", async () => {
  const events: string[] = [];
  const write = (_table: string, { rows }: { rows: readonly unknown[] }) => {
    events.push(`summary of ${rows.length}`);
  };
  const input = [tensor([1, 2], { dtype: "i32", device })];
  const other = new Linear(2, 2, { device });
  const engine = new Engine(
    (_e, _b: number) => void events.push("step"),
    new Context({ model: other }),
    {
      callbacks: [new ModelSummaryCallback({ input, write, depth: 0, model: model() })],
    },
  );
  await engine.loop([0]);
  assertEquals(events, ["summary of 1", "step"]);
});

Deno.test("what cannot be summarized is said", async () => {
  const loop = (model: unknown, batch: unknown) =>
    new Engine((_e, _b: unknown) => {}, new Context({ model }), {
      callbacks: [new ModelSummaryCallback({ write() {} })],
    }).loop([batch]);
  await assertRejects(
    () => loop(null, 0),
    TypeError,
    "expected the context's model to be a module",
  );
  await assertRejects(() => loop(model(), 0), TypeError, "expected its inputs to be a tensor");
  const inputs = tensor([[0.5]], { device });
  await assertRejects(() => loop(model(), { inputs }), Error, "Embedding");
});

Deno.test("training goes on as without a summary", async () => {
  const weights = async (callbacks: ModelSummaryCallback[]) => {
    const net = model();
    net.parameters().forEach((p, i) => p.detach().fill_(0.1 * (i + 1)));
    const optimizer = new SGD(net.parameters(), { lr: 0.1 });
    const engine = new Engine(
      supervisedStep(),
      new Context({
        model: net,
        optimizer,
        lossFn: (p: Tensor, t: Tensor) => crossEntropy(p.reshape([-1, 3]), t),
        device,
      }),
      { callbacks },
    );
    const batch = {
      inputs: tensor([[1, 2, 3]], { dtype: "i32", device }),
      targets: tensor([0, 1, 2], { dtype: "i32", device }),
    };
    await engine.loop([batch, batch]);
    return await Promise.all(net.parameters().map((p) => p.array()));
  };
  assertEquals(await weights([new ModelSummaryCallback({ write() {} })]), await weights([]));
});
