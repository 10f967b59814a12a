import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { crc32 } from "node:zlib";
import {
  batchNormCases,
  clipCases,
  type GoldenPass,
  type GoldenTensor,
  type GoldenTensors,
  layerCases,
  lossCases,
  opCases,
  optimizerCases,
  tinyCnn,
  typedValues,
  values,
} from "./load.ts";
import { images, labels, startParameters } from "./tinycnn_data.ts";

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function passes(): [string, GoldenPass][] {
  const single = [...layerCases, ...lossCases, ...opCases];
  return [
    ...single.map((c): [string, GoldenPass] => [c.name, c]),
    ...batchNormCases.flatMap((c) => c.steps.map((s): [string, GoldenPass] => [c.name, s])),
  ];
}

function every(tensors: Readonly<Record<string, GoldenTensor | null>>): GoldenTensor[] {
  return Object.values(tensors).filter((t) => t !== null);
}

function allTensors(): GoldenTensor[] {
  const ofPass = (p: GoldenPass) => [p.inputs, p.cotangents, p.outputs, p.grads].flatMap(every);
  return [
    ...passes().flatMap(([, pass]) => ofPass(pass)),
    ...[...layerCases, ...batchNormCases].flatMap((c) => every(c.params)),
    ...batchNormCases.flatMap((c) => c.steps.flatMap((s) => every(s.buffers))),
    ...optimizerCases.flatMap((c) => [c.params, ...c.gradients, ...c.after].flatMap(every)),
    ...clipCases.flatMap((c) => [c.grads, c.clipped].flatMap(every)),
  ];
}

Deno.test("golden vectors hold one value per element of their shape", () => {
  const tensors = allTensors();
  assert(tensors.length > 2000, `expected more than 2000 tensors, found ${tensors.length}`);
  for (const tensor of tensors) {
    assertEquals(tensor.data.length, product(tensor.shape));
    for (const entry of tensor.data) {
      const text = typeof entry === "string";
      assert(!text || ["NaN", "Infinity", "-Infinity"].includes(entry), `odd entry ${entry}`);
      if (tensor.dtype === "i32") assert(Number.isInteger(entry), `not an integer: ${entry}`);
      if (tensor.dtype === "bool") assert(entry === 0 || entry === 1, `not a flag: ${entry}`);
    }
  }
});

Deno.test("golden vectors name every case once", () => {
  const lists = [layerCases, batchNormCases, lossCases, opCases, optimizerCases, clipCases];
  for (const list of lists) {
    assertEquals(new Set(list.map((c) => c.name)).size, list.length);
  }
});

Deno.test("golden vectors pair cotangents with outputs and gradients with inputs", () => {
  for (const [name, pass] of passes()) {
    for (const [key, cotangent] of Object.entries(pass.cotangents)) {
      assertEquals(cotangent.shape, pass.outputs[key].shape, name);
    }
    for (const [key, grad] of Object.entries(pass.grads)) {
      if (key in pass.inputs) assertEquals(grad.shape, pass.inputs[key].shape, name);
    }
  }
});

/** sum(a * b) over two tensors of one shape, in doubles. */
function inner(a: GoldenTensor, b: GoldenTensor): number {
  const right = Float64Array.from(typedValues(b));
  return Float64Array.from(typedValues(a)).reduce((sum, v, i) => sum + v * right[i], 0);
}

// For an op that is linear in its input, <cotangent, f(x)> = <gradient, x>.
Deno.test("golden vectors of linear ops satisfy the adjoint identity", () => {
  const linear = ["sum", "mean", "cumsum", "gather", "indexSelect", "flip", "repeat", "expand"];
  const cases = opCases.filter((c) => linear.includes(c.op) && c.grads.input?.data.length > 0);
  assert(cases.length > 20, `expected more than 20 cases, found ${cases.length}`);
  for (const { name, inputs, cotangents, outputs, grads } of cases) {
    const left = inner(cotangents.output, outputs.output);
    assertAlmostEquals(left, inner(grads.input, inputs.input), 1e-5, name);
  }
});

function caseOf(name: string): { inputs: GoldenTensors; outputs: GoldenTensors } {
  const found = [...layerCases, ...lossCases].find((c) => c.name === name);
  assert(found, `no case ${name}`);
  return found;
}

Deno.test("golden vectors of Linear equal the plain sum", () => {
  const found = layerCases.find((c) => c.name === "Linear: 2-D input")!;
  const [x, w, b] = [found.inputs.input, found.params.weight, found.params.bias].map(typedValues);
  const want = values(found.outputs.output);
  for (let row = 0; row < 4; row++) {
    for (let out = 0; out < 3; out++) {
      let sum = b[out];
      for (let k = 0; k < 5; k++) sum += x[row * 5 + k] * w[out * 5 + k];
      assertAlmostEquals(sum, want[row * 3 + out], 1e-8);
    }
  }
});

Deno.test("golden vectors of crossEntropy equal the formula", () => {
  const { inputs, outputs } = caseOf("crossEntropy: weight, ignoreIndex, mean");
  const [x, target, weight] = [inputs.input, inputs.target, inputs.weight].map(typedValues);
  let [sum, total] = [0, 0];
  for (let row = 0; row < target.length; row++) {
    const label = target[row];
    if (label === 3) continue;
    const logits = Array.from(x.subarray(row * 4, row * 4 + 4));
    const lse = Math.log(logits.reduce((acc, v) => acc + Math.exp(v), 0));
    sum += weight[label] * (lse - logits[label]);
    total += weight[label];
  }
  assertAlmostEquals(values(outputs.output)[0], sum / total, 1e-8);
});

Deno.test("startParameters() gives the bits that PyTorch started from", () => {
  const start = startParameters();
  assertEquals(start.reduce((sum, p) => sum + p.data.length, 0), 241_994);
  for (const [k, { name, data }] of start.entries()) {
    assertEquals(crc32(new Uint8Array(data.buffer)), tinyCnn.parameters[k].crc32, name);
  }
});

Deno.test("images() and labels() give what PyTorch trained on", () => {
  for (let step = 0; step < tinyCnn.settings.steps; step++) {
    assertEquals(crc32(new Uint8Array(images(step).buffer)), tinyCnn.imagesCrc32[step]);
    assertEquals(Array.from(labels(step)), tinyCnn.labels[step]);
  }
});

Deno.test("golden TinyCNN runs agree across precisions", () => {
  const [single, double] = tinyCnn.runs;
  for (const [step, loss] of single.losses.entries()) {
    assertAlmostEquals(loss / double.losses[step], 1, 1e-5);
  }
  assert(double.losses.at(-1)! < 0.3 * double.losses[0]);
  assertEquals(tinyCnn.state.length, 25);
});
