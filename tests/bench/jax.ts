/** The benchmarked models in jax-js: the whole step in one `jit`, on its WebGPU or WebAssembly backend. */

import { defaultDevice, init, jit, lax, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import {
  ADAM,
  CLASSES,
  type Layer,
  makeBatches,
  type Model,
  NORM,
  oneHotRows,
  startWeights,
  type Weight,
} from "./models.ts";
import type { Trainer } from "./trainer.ts";

type Values = np.Array[];
/** Parameters, Adam's two averages, running statistics, and [β₁ᵗ, β₂ᵗ]. */
type State = {
  weights: Values;
  means: Values;
  squares: Values;
  running: Values;
  powers: Values;
};

const [BETA1, BETA2] = ADAM.betas;

/** Parameters as jax-js likes them: matrices of linear layers as [from, to]. */
function toJax({ shape, values }: Weight): np.Array {
  const [to, from] = shape;
  if (shape.length !== 2) return np.array(values).reshape([...shape]);
  const turned = Float32Array.from(values, (_, i) => values[(i % to) * from + Math.floor(i / to)]);
  return np.array(turned).reshape([from, to]);
}

/** Applies a layer; takes ownership of `x` and of the weights that it shifts off the list. */
function apply(layer: Layer, x: np.Array, weights: Values, statistics: Values): np.Array {
  switch (layer.kind) {
    case "conv": {
      const [kernel, bias] = weights.splice(0, 2);
      const pad: [number, number] = [layer.padding, layer.padding];
      const y = lax.convGeneralDilated(x, kernel, [1, 1], [pad, pad]);
      return y.add(bias.reshape([layer.to, 1, 1]));
    }
    case "linear": {
      const [matrix, bias] = weights.splice(0, 2);
      return np.matmul(x, matrix).add(bias);
    }
    case "norm": {
      const [scale, shift] = weights.splice(0, 2);
      const mean = np.mean(x.ref, [0, 2, 3], { keepdims: true });
      const centered = x.sub(mean.ref);
      const variance = np.mean(np.square(centered.ref), [0, 2, 3], { keepdims: true });
      const root = np.sqrt(variance.ref.add(NORM.eps));
      statistics.push(mean, variance);
      const shape = [layer.channels, 1, 1];
      return centered.div(root).mul(scale.reshape(shape)).add(shift.reshape(shape));
    }
    case "pool":
      return lax.reduceWindow(x, np.max, [2, 2], [2, 2]);
    case "relu":
      return nn.relu(x);
    case "flatten": {
      const [batch, ...rest] = x.shape;
      return x.reshape([batch, rest.reduce((a, b) => a * b, 1)]);
    }
  }
}

/** Moves running statistics towards those of the batch; the variance becomes unbiased. */
function track(running: Values, batch: Values, counts: readonly number[]): Values {
  return running.map((old, i) => {
    const count = counts[i >> 1];
    const unbiased = i % 2 === 0 ? 1 : count / (count - 1);
    const fresh = batch[i].reshape(old.shape).mul(NORM.momentum * unbiased);
    return old.mul(1 - NORM.momentum).add(fresh);
  });
}

/** The step of a model: state and a batch in, state and loss out. */
function stepOf(model: Model): (state: State, x: np.Array, y: np.Array) => [State, np.Array] {
  const counts: number[] = [];
  const lossOf = (weights: Values, x: np.Array, y: np.Array): [np.Array, Values] => {
    const left = [...weights];
    const statistics: Values = [];
    let value = x;
    for (const layer of model.layers) {
      if (layer.kind === "norm") counts.push(value.shape[0] * value.shape[2] * value.shape[3]);
      value = apply(layer, value, left, statistics);
    }
    return [nn.logSoftmax(value).mul(y).sum().mul(-1 / model.batch), statistics];
  };
  const gradients = valueAndGrad(lossOf, { hasAux: true });
  return (state, x, y) => {
    const [[loss, statistics], grads] = gradients(state.weights.map((w) => w.ref), x, y);
    const [power1, power2] = [state.powers[0].mul(BETA1), state.powers[1].mul(BETA2)];
    const next: State = { weights: [], means: [], squares: [], running: [], powers: [] };
    grads.forEach((g: np.Array, i: number) => {
      const mean = state.means[i].mul(BETA1).add(g.ref.mul(1 - BETA1));
      const square = state.squares[i].mul(BETA2).add(np.square(g).mul(1 - BETA2));
      next.means.push(mean.ref);
      next.squares.push(square.ref);
      const step = mean.div(power1.ref.mul(-1).add(1));
      const root = np.sqrt(square.div(power2.ref.mul(-1).add(1))).add(ADAM.eps);
      next.weights.push(state.weights[i].sub(step.div(root).mul(ADAM.lr)));
    });
    next.running = track(state.running, statistics, counts);
    next.powers = [power1, power2];
    return [next, loss];
  };
}

function startState(model: Model): State {
  const weights = startWeights(model);
  const zeros = () => weights.map((w) => np.zeros(toJax(w).shape));
  const norms = model.layers.flatMap((layer) => layer.kind === "norm" ? [layer.channels] : []);
  return {
    weights: weights.map(toJax),
    means: zeros(),
    squares: zeros(),
    running: norms.flatMap((channels) => [np.zeros([channels]), np.ones([channels])]),
    powers: [np.ones([]), np.ones([])],
  };
}

/** The trainer of jax-js for a model. */
export async function openJax(model: Model, backend: "webgpu" | "wasm"): Promise<Trainer> {
  const devices = await init(backend);
  if (!devices.includes(backend)) {
    throw new Error(`Cannot run jax-js: its backend "${backend}" cannot be had here`);
  }
  defaultDevice(backend);
  const batches = makeBatches(model).map(({ inputs, targets }) => ({
    x: np.array(inputs).reshape([model.batch, ...model.input]),
    y: np.array(oneHotRows(targets)).reshape([model.batch, CLASSES]),
  }));
  const step = jit(stepOf(model));
  let state = startState(model);
  let last: np.Array | null = null;
  let count = 0;
  return {
    library: "jax-js 0.1.25",
    step: () => {
      const { x, y } = batches[count++ % batches.length];
      last?.dispose();
      [state, last] = step(state, x.ref, y.ref) as [State, np.Array];
    },
    loss: async () => (await last!.ref.data())[0],
    close: () => {},
  };
}
