/** What a model consists of, and what it costs: parameters, shapes, operations, memory. */

import { type Device, referenceDevice, type Shape, showShape, type Tensor } from "../core/mod.ts";
import { dryRun } from "../core/tensor/dry_run.ts";
import { bytesPerElement } from "../kernels/types.ts";
import type { Module } from "./module.ts";
import { Node } from "./node.ts";
import { located } from "./node_shapes.ts";
import { deviceOf, type Trace, trace, type TracedCall, TraceError } from "./trace.ts";

/** How deep a summary goes. */
export interface SummaryOptions {
  /** How many levels of parts are listed: 0 none, 1 the model's own parts, Infinity all. @default {Infinity} */
  readonly depth?: number;
}

/** One module of a summary. */
export interface SummaryRow {
  /** The path in the model; "" for the model itself. */
  readonly name: string;
  /** The class. */
  readonly type: string;
  /** Elements of all parameters, its parts included, shared ones once. */
  readonly parameters: number;
  /** Those of them that are trained. */
  readonly trainable: number;
  /** Shapes of the inputs, batch included; null where the forward pass does not come by. */
  readonly inputs: readonly Shape[] | null;
  /** Shapes of the outputs, batch included; null where the forward pass does not come by. */
  readonly outputs: readonly Shape[] | null;
  /** Operations of its matrix products and convolutions, two for each multiply-add. */
  readonly flops: number;
  /** Bytes that it made and that backward() needs, beside parameters, buffers and inputs. */
  readonly activationBytes: number;
}

/** What a model consists of, and what it costs. */
export interface Summary {
  /** The model itself, and its parts in the order of the fields. */
  readonly rows: readonly SummaryRow[];
  /** Bytes of parameters and buffers. */
  readonly stateBytes: number;
  /** The rows as a table for people, with totals below. */
  toString(): string;
}

/**
 * Lists the parts of a model with their parameters, shapes, operations and memory, for one input.
 *
 * Nothing is executed: shapes are followed through `forward`, in the mode (training or evaluation)
 * that the model is in; random numbers, statistics and train flags stay as they were. Of a node not
 * even the parameters take memory. Operations are those of matrix products and convolutions alone,
 * as fvcore and ptflops count them, with two for each multiply-add. Memory is what the tape holds
 * between an uncaptured forward pass and its backward pass.
 *
 * @param model a module, or a node
 * @param input shape of the input, batch included; or shapes and tensors of several inputs
 * @param options depth
 * @returns rows, and a table of them
 * @throws {ShapeError} if a part does not take its input; the message names the part
 * @throws {RangeError} if the depth is no number of at least 0
 *
 * @example
 * ```ts
 * import { MLPNode, summarize } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const summary = summarize(new MLPNode({ inFeatures: 4, dims: [8, 3] }), [5, 4]);
 * const [model, first] = summary.rows;
 * assertEquals([model.parameters, model.outputs], [67, [[5, 3]]]);
 * assertEquals([first.name, first.type, first.flops], ["0", "Linear", 2 * 5 * 4 * 8]);
 * console.log(`${summary}`);
 * ```
 */
export function summarize(
  model: Module | Node,
  input: Shape | readonly (Shape | Tensor)[],
  options: SummaryOptions = {},
): Summary {
  const { depth = Infinity } = options;
  if (!(typeof depth === "number" && depth >= 0)) {
    throw new RangeError(`Cannot summarize with depth ${depth}: expected a number of at least 0`);
  }
  const inputs =
    (input.every((n) => typeof n === "number") ? [input] : input) as (Shape | Tensor)[];
  if (!(model instanceof Node)) return summaryOf(model, deviceOf(model), inputs, depth);
  const [first] = inputs;
  const device = first !== undefined && "device" in first ? first.device : referenceDevice();
  return dryRun(device, () => {
    const inputShape = first === undefined ? undefined : shapeOf(first).slice(1);
    return summaryOf(model.build({ device, inputShape }), device, inputs, depth);
  });
}

function shapeOf(input: Shape | Tensor): Shape {
  return "shape" in input ? input.shape : input;
}

function summaryOf(
  model: Module,
  device: Device,
  inputs: readonly (Shape | Tensor)[],
  depth: number,
): Summary {
  const traced = follow(model, device, inputs);
  const rows = model.namedModules()
    .filter(([name]) => levelsOf(name) <= depth)
    .map(([name, module]) => rowOf(name, module, traced));
  const state = new Set([...model.parameters(), ...model.buffers()]);
  const stateBytes = [...state].reduce((n, t) => n + t.size * bytesPerElement(t.dtype), 0);
  return { rows, stateBytes, toString: () => textOf(rows, stateBytes) };
}

function follow(model: Module, device: Device, inputs: readonly (Shape | Tensor)[]): Trace {
  try {
    return trace(model, device, inputs);
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    const [[, root], ...parts] = error.path;
    const inner = parts.at(-1);
    const place = root.constructor.name +
      (inner === undefined ? "" : `.${inner[0]} (${inner[1].constructor.name})`);
    throw located(error.cause, "place", place);
  }
}

function levelsOf(name: string): number {
  return name === "" ? 0 : name.split(".").length;
}

function rowOf(name: string, module: Module, { calls, kept }: Trace): SummaryRow {
  const own = calls.filter((call) => call.module === module);
  const parameters = module.parameters();
  const count = (tensors: readonly Tensor[]) => tensors.reduce((n, t) => n + t.size, 0);
  return {
    name,
    type: module.constructor.name,
    parameters: count(parameters),
    trainable: count(parameters.filter((t) => t.requiresGrad)),
    inputs: own[0]?.inputs ?? null,
    outputs: own[0]?.outputs ?? null,
    flops: own.reduce((n, call) => n + call.flops, 0),
    activationBytes: own.reduce((n, call) => n + keptBy(call, kept), 0),
  };
}

function keptBy({ made: [from, to] }: TracedCall, kept: readonly number[]): number {
  return kept.slice(from, to).reduce((a, b) => a + b, 0);
}

/** 1234567 as 1.23 M. */
function brief(value: number): string {
  const units = ["", " k", " M", " G", " T", " P"];
  let step = 0;
  while (step < units.length - 1 && Number(value.toPrecision(3)) >= 1000) {
    value /= 1000;
    step++;
  }
  return `${step === 0 ? value : value.toPrecision(3)}${units[step]}`;
}

function textOf(rows: readonly SummaryRow[], stateBytes: number): string {
  const shapes = (list: readonly Shape[] | null) => list?.map(showShape).join(" ") ?? "not called";
  const table = [
    ["name", "type", "parameters", "input", "output", "FLOPs", "activations"],
    ...rows.map((row) => [
      "  ".repeat(levelsOf(row.name)) + (row.name || "(model)"),
      row.type,
      row.parameters.toLocaleString("en-US"),
      shapes(row.inputs),
      shapes(row.outputs),
      brief(row.flops),
      `${brief(row.activationBytes)}B`,
    ]),
  ];
  const widths = table[0].map((_, i) => Math.max(...table.map((line) => line[i].length)));
  const right = new Set([2, 5, 6]);
  const lines = table.map((line) =>
    line.map((cell, i) => right.has(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))
      .join("  ").trimEnd()
  );
  const [{ parameters, trainable }] = rows;
  const number = (value: number) => value.toLocaleString("en-US");
  return [
    ...lines,
    `parameters: ${number(parameters)} (trainable ${number(trainable)}, fixed ` +
    `${number(parameters - trainable)}), state ${brief(stateBytes)}B`,
  ].join("\n");
}
